"""Weights of keras.applications, in random ones' place, in the models of the zoo: the same answers to 1e-4."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo.pretrained import keras_applications
from kzoo.training.plan import make_plan, resolve_recipe
from kzoo.zoo import load_with_report

Array = Any
NETWORKS = {
    "mobilenet_v1": ("MobileNet", "mobilenet", (96, 128), {"alpha": 0.25}),
    "mobilenet_v2": ("MobileNetV2", "mobilenet_v2", (70, 97), {"alpha": 0.35}),
    "mobilenet_v3_small": ("MobileNetV3Small", "mobilenet_v3", (70, 97), {"alpha": 0.75}),
    "mobilenet_v3_large": ("MobileNetV3Large", "mobilenet_v3", (70, 97), {"minimalistic": True}),
    "vgg16": ("VGG16", "vgg16", (32, 35), {"hidden_units": 4096}),
    "inception_v3": ("InceptionV3", "inception_v3", (139, 130), {}),
    "densenet121": ("DenseNet121", "densenet", (66, 97), {}),
}


def scatter(model: keras.Model, images: Array) -> None:
    """Move every weight off the zeros and ones it may start as; statistics are those of the images."""
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            *factors, offset, mean, variance = layer.get_weights()
            factors = [rng.uniform(0.7, 1.3, each.shape) for each in factors]
            # Mostly above zero: a deep network that cuts half of everything off magnifies rounding.
            layer.set_weights([*factors, rng.normal(1, 0.2, offset.shape), mean, variance])
            layer.momentum = 0.0
        elif getattr(layer, "use_bias", False):
            *kernels, bias = layer.get_weights()
            layer.set_weights([*kernels, rng.normal(0, 0.1, bias.shape)])
    model(images, training=True)


def pixels(*shape: int) -> Array:
    return np.random.default_rng(1).integers(0, 256, shape).astype("float32")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_keras_applications_is_the_zoos(name: str) -> None:
    function, module, size, arguments = NETWORKS[name]
    images = pixels(8, *size, 3)
    shared = {key: value for key, value in arguments.items() if key != "hidden_units"}
    reference = getattr(keras.applications, function)(
        input_shape=(*size, 3), weights=None, classes=10, classifier_activation=None, **shared
    )
    prepared = getattr(keras.applications, module).preprocess_input(images.copy())
    scatter(reference, prepared)
    imported = keras_applications.convert(name, reference, {"classifier_activation": None, **arguments})
    expected, received = reference(prepared, training=False), imported.model(images, training=False)
    expected, received = np.asarray(expected), np.asarray(received)
    scale = np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 1e-3 * scale  # it answers its input
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-4 * max(1.0, scale))


@pytest.fixture
def mobilenet_v2(monkeypatch: pytest.MonkeyPatch) -> list[keras.Model]:
    """Let Keras's MobileNetV2 have random weights where it would download some; gives the networks it built."""
    built: list[keras.Model] = []
    build: Callable[..., keras.Model] = keras.applications.MobileNetV2

    def without_download(**arguments: Any) -> keras.Model:
        assert arguments.pop("weights") == "imagenet"
        sys.stdout.write("Downloading data from https://storage.googleapis.com")  # as Keras does
        built.append(build(weights=None, **arguments))
        return built[-1]

    monkeypatch.setattr(keras.applications, "MobileNetV2", without_download)
    return built


def test_weights_load_for_other_classes_and_images(
    mobilenet_v2: list[keras.Model], capsys: pytest.CaptureFixture[str]
) -> None:
    weights = "keras.applications:imagenet"
    model, report = load_with_report("mobilenet_v2", weights=weights, alpha=0.35, classes=3, input_shape=(96, 128, 3))
    assert capsys.readouterr().out == ""  # which is for results
    assert model.output_shape == (None, 3)
    assert (report.adapted, report.fresh) == ((), ("predictions",))
    images = pixels(2, 96, 128, 3)
    features = keras.applications.MobileNetV2(
        weights="imagenet", input_shape=(96, 128, 3), alpha=0.35, include_top=False, pooling="avg"
    )
    features.set_weights(mobilenet_v2[0].get_weights()[:-2])
    expected = features(images / 127.5 - 1, training=False)
    received = keras.Model(model.input, model.get_layer("avg_pool").output)(images, training=False)
    np.testing.assert_allclose(received, expected, atol=1e-4)


def test_training_begins_with_them_and_records_the_preprocessing(mobilenet_v2: list[keras.Model]) -> None:
    overrides = {"transfer.weights": "keras.applications:imagenet", "model.arguments.alpha": 0.35}
    plan = make_plan(resolve_recipe("mobilenet_v2", "digits", overrides=overrides))
    wanted = {"alpha": 0.35, "pixel_scaling": "signed", "padding": "same"}
    assert plan.recipe.model.arguments == wanted
    assert plan.arguments.items() >= wanted.items()
    assert plan.transfer is not None
    assert plan.dataset.input.shape[-1] == 3  # digits are grey, and the weights are for colour
    assert (plan.transfer.adapted, plan.transfer.fresh) == ((), ("predictions",))
    theirs = mobilenet_v2[0].get_layer("Conv_1").get_weights()[0]
    np.testing.assert_array_equal(plan.model.get_layer("last_conv").get_weights()[0], theirs)


def test_a_failed_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise Exception("URL fetch failure on\nhttps://storage.googleapis.com/x.h5: None -- no route to host")

    monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(kzoo.WeightsError, match=r"no route to host\. Check the network") as caught:
        kzoo.load("mobilenet_v2", weights="keras.applications:imagenet")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "tag", "message"),
    [
        ("resnet50", "imagenet", "layer for layer .* received resnet50. Take timm's, as timm:resnet50"),
        ("lstm", "imagenet", "received lstm"),
        ("mobilenet_v2", "coco", "received keras.applications:coco. There is no other"),
        ("mobilenet_v4", "imagenet", "Unknown model 'mobilenet_v4'"),
    ],
)
def test_what_keras_applications_does_not_have(name: str, tag: str, message: str) -> None:
    with pytest.raises(kzoo.UsageError, match=message):
        kzoo.load(name, weights=f"keras.applications:{tag}")


def test_other_layers_than_keras_has_are_refused() -> None:
    reference = keras.applications.MobileNetV2(input_shape=(96, 96, 3), alpha=0.35, weights=None)
    with pytest.raises(kzoo.WeightsError, match=r"Expected weights \[\(3, 3, 3, 32\)\] for the layer stem_conv"):
        keras_applications.convert("mobilenet_v2", reference, {"alpha": 1.0})
