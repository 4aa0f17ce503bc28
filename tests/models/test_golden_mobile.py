"""The mobile families: the same weights in an independent implementation give the same outputs.

keras.applications has its own MobileNets. What PyTorch's MobileNetV2 and timm's EfficientNet-Lite0 compute is written
out here with jax.lax convolutions, MLPerf Tiny's network for visual wake words as its reference does.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kzoo.models import create_model, efficientnet_lite0, mobilenet_v1, mobilenet_v1_025_96, mobilenet_v2

from .golden import Array, Torch, assert_alike, pixels, scatter

# Expansion, blocks and first strides of each stage.
MOBILENET_V2 = [(1, 1, 1), (6, 2, 2), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 3, 2), (6, 1, 1)]
EFFICIENTNET_LITE0 = [(1, 1, 1), (6, 2, 2), (6, 2, 2), (6, 3, 2), (6, 3, 1), (6, 4, 2), (6, 1, 1)]


def torch_inverted_residuals(model: keras.Model, images: Array, table: list[tuple[int, int, int]]) -> Array:
    torch = Torch(model, lambda x: np.clip(x, 0, 6))
    x = torch.activation(torch.conv_bn(images / 255, "stem", 2))
    for stage, (expansion, blocks, first_strides) in enumerate(table, start=1):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            y = x if expansion == 1 else torch.activation(torch.conv_bn(x, f"{name}_expand"))
            y = torch.activation(torch.conv_bn(y, f"{name}_depthwise", first_strides if block == 1 else 1))
            y = torch.conv_bn(y, f"{name}_project")
            x = x + y if block > 1 else y
    return torch.classify(torch.activation(torch.conv_bn(x, "last")))


@pytest.mark.parametrize(("factory", "table"), [(mobilenet_v2, MOBILENET_V2), (efficientnet_lite0, EFFICIENTNET_LITE0)])
def test_inverted_residuals_compute_what_pytorchs_do(factory: Any, table: list[tuple[int, int, int]]) -> None:
    size = (75, 102)  # odd and even sizes before the strided layers, 102-51-26-13-7 and 75-38-19-10-5
    model = factory(input_shape=(*size, 3), classes=10, classifier_activation=None)
    images = pixels(2, *size, 3)
    scatter(model, images)
    assert_alike(model.predict_on_batch(images), torch_inverted_residuals(model, images, table))


def carry(reference: keras.Model, model: keras.Model, *, turned: bool = False) -> None:
    """Give a model the reference's weights, in order; `turned` turns the kernels by 180 degrees."""
    sources, targets = ([layer for layer in each.layers if layer.get_weights()] for each in (reference, model))
    for source, target in zip(sources, targets, strict=True):
        values = source.get_weights()
        if isinstance(source, layers.BatchNormalization):
            values[3] = values[3] + source.epsilon - target.epsilon
        elif turned:
            values[0] = values[0][::-1, ::-1]
        # The classifier may be a 1x1 convolution there.
        shapes = [weight.shape for weight in target.weights]
        target.set_weights([value.reshape(shape) for value, shape in zip(values, shapes, strict=True)])


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_mobilenet_v1_computes_what_keras_applications_does_upside_down(alpha: float) -> None:
    # It pads even sizes at the far side, PyTorch's padding reaches the near side only: one is the other turned.
    shape = (96, 96, 3)
    reference = keras.applications.MobileNet(shape, alpha, weights=None, classes=10, classifier_activation=None)
    model = mobilenet_v1(input_shape=shape, alpha=alpha, classes=10, classifier_activation=None)
    images = pixels(2, *shape)
    scatter(reference, images / 255)
    carry(reference, model, turned=True)
    assert_alike(model.predict_on_batch(images[:, ::-1, ::-1]), reference.predict_on_batch(images / 255))


@pytest.mark.parametrize("alpha", [0.35, 1.0, 1.4])
def test_mobilenet_v2_computes_what_keras_applications_does(alpha: float) -> None:
    # From 97 pixels on every strided layer meets an odd size, where TensorFlow's padding and PyTorch's are the same.
    shape, classes = (97, 97, 3), 10
    reference = keras.applications.MobileNetV2(shape, alpha, weights=None, classes=classes, classifier_activation=None)
    model = mobilenet_v2(input_shape=shape, alpha=alpha, classes=classes, classifier_activation=None)
    images = pixels(2, *shape)
    scatter(reference, images / 255)
    carry(reference, model)
    assert_alike(model.predict_on_batch(images), reference.predict_on_batch(images / 255))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("small", {"alpha": 1.0}),
        ("large", {"alpha": 0.75}),
        ("small", {"alpha": 1.25, "minimalistic": True}),
        ("large", {"alpha": 1.0, "minimalistic": True}),
    ],
)
def test_mobilenet_v3_computes_what_keras_applications_does(name: str, arguments: dict[str, Any]) -> None:
    shape = (97, 97, 3)
    build = keras.applications.MobileNetV3Small if name == "small" else keras.applications.MobileNetV3Large
    reference = build(shape, weights=None, classes=10, classifier_activation=None, **arguments)
    ends = {"classes": 10, "classifier_activation": None, "pixel_scaling": "signed"}
    model = create_model(f"mobilenet_v3_{name}", input_shape=shape, **ends, **arguments)
    images = pixels(2, *shape)
    scatter(reference, images)
    carry(reference, model)
    assert_alike(model.predict_on_batch(images), reference.predict_on_batch(images))


def mlperf_tiny_visual_wake_words() -> keras.Model:
    """Write the reference's vww_model.py again: https://github.com/mlcommons/tiny."""
    inputs = keras.Input((96, 96, 3))

    def normalized(x: Any) -> Any:
        return layers.Activation("relu")(layers.BatchNormalization()(x))

    x = normalized(layers.Conv2D(8, 3, strides=2, padding="same")(inputs))
    filters = 8
    for strides in (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1):
        x = normalized(layers.DepthwiseConv2D(3, strides=strides, padding="same")(x))
        filters = filters * 2 if strides == 2 or filters == 8 else filters
        x = normalized(layers.Conv2D(filters, 1, padding="same")(x))
    x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    return keras.Model(inputs, layers.Dense(2)(x))


def test_mobilenet_v1_025_96_computes_what_mlperf_tinys_does() -> None:
    reference, model = mlperf_tiny_visual_wake_words(), mobilenet_v1_025_96(classifier_activation=None)
    images = pixels(4, 96, 96, 3)
    scatter(reference, images / 255)
    carry(reference, model)
    assert_alike(model.predict_on_batch(images), reference.predict_on_batch(images / 255))
