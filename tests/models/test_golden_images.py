"""The same weights in an independent implementation give the same outputs: image networks of before the mobile ones.

keras.applications has its own VGG16, InceptionV3 and DenseNet121, which get the images as its own preprocessing gives
them. The others are written out here as their papers and torchvision say.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import keras
import numpy as np
import pytest

from kzoo.models import alexnet, densenet121, googlenet, inception_v3, shufflenet_v2, squeezenet, vgg16

from .golden import Array, Torch, assert_alike, pixels, scatter

Model = keras.Model
OURS = {"classes": 10, "classifier_activation": None}
THEIRS = {"weights": None, **OURS}


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def weighted(model: Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.get_weights()]


def hand_over(source: list[keras.layers.Layer], target: list[keras.layers.Layer]) -> None:
    for giver, taker in zip(source, target, strict=True):
        assert type(giver) is type(taker)
        taker.set_weights(giver.get_weights())


def test_vgg16_computes_what_keras_applications_does() -> None:
    shape = (32, 67, 3)
    model = vgg16(input_shape=shape, pixel_scaling="caffe", **OURS)
    images = pixels(2, *shape)
    scatter(model, images)
    reference = keras.applications.VGG16(input_shape=shape, **THEIRS)
    hand_over(weighted(model), weighted(reference))
    kernel, bias = weighted(model)[0].get_weights()
    weighted(reference)[0].set_weights([kernel[:, :, ::-1], bias])  # it takes blue, green, red
    expected = reference.predict_on_batch(keras.applications.vgg16.preprocess_input(images.copy()))
    assert_alike(model.predict_on_batch(images), expected)


def test_densenet121_computes_what_keras_applications_does() -> None:
    shape = (66, 97, 3)
    model = densenet121(input_shape=shape, pixel_scaling="imagenet", **OURS)
    images = pixels(2, *shape)
    scatter(model, images)
    reference = keras.applications.DenseNet121(input_shape=shape, **THEIRS)
    hand_over(weighted(model), weighted(reference))  # every layer has one place in the chain
    expected = reference(keras.applications.densenet.preprocess_input(images.copy()), training=False)
    assert_alike(np.asarray(model(images, training=False)), np.asarray(expected))


def test_inception_v3_computes_what_keras_applications_does() -> None:
    shape = (235, 203, 3)
    model = inception_v3(input_shape=shape, pixel_scaling="signed", **OURS)
    images = pixels(24, *shape)  # many and large: statistics of few values magnify rounding
    scatter(model, images)
    reference = keras.applications.InceptionV3(input_shape=shape, **THEIRS)

    def numbers(layer: keras.layers.Layer) -> list[int]:
        return [int(each) for each in re.findall(r"\d+", layer.name)]

    def theirs(layer: keras.layers.Layer) -> list[int]:
        # Keras numbers a class's layers in the order in which they were made, across all models of a process.
        return numbers(layer)[1:] or [0] if "conv2d" in layer.name else numbers(layer) or [0]

    def ours(layer: keras.layers.Layer) -> tuple[bool, list[int]]:
        order = numbers(layer)
        # A module's pooled branch is its last.
        return not layer.name.startswith("stem"), [*order, 99] if "_pooled" in layer.name else order

    for kind in (keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.Dense):
        source, target = ([each for each in weighted(one) if type(each) is kind] for one in (model, reference))
        hand_over(sorted(source, key=ours), sorted(target, key=theirs))
    expected = reference(keras.applications.inception_v3.preprocess_input(images.copy()), training=False)
    assert_alike(np.asarray(model(images, training=False)), np.asarray(expected))


def written_out_alexnet(model: Model, images: Array) -> Array:
    torch = Torch(model, relu)
    x = torch.max_pool(relu(torch.conv(images / 255, "block1_1", 4, padding=2)))
    x = torch.max_pool(relu(torch.conv(x, "block2_1")))
    for number in (1, 2, 3):
        x = relu(torch.conv(x, f"block3_{number}"))
    x = np.asarray(torch.max_pool(x)).reshape(len(images), -1)
    for name in ("hidden1", "hidden2"):
        kernel, bias = model.get_layer(name).get_weights()
        x = relu(x @ kernel + bias)
    kernel, bias = model.get_layer("predictions").get_weights()
    return x @ kernel + bias


def written_out_googlenet(model: Model, images: Array) -> Array:
    torch = Torch(model, relu)

    def conv(x: Array, name: str, strides: int = 1) -> Array:
        return relu(torch.conv_bn(x, name, strides))

    x = torch.max_pool(conv(images / 255, "stem1", 2), over_the_edge=True)
    x = torch.max_pool(conv(conv(x, "stem2"), "stem3"), over_the_edge=True)
    for number in range(1, 12):
        if number in (3, 9):
            x = torch.max_pool(x, over_the_edge=True)
            continue
        name = f"module{number}"
        branches = [
            conv(x, f"{name}_branch1_1"),
            conv(conv(x, f"{name}_branch2_1"), f"{name}_branch2_2"),
            conv(conv(x, f"{name}_branch3_1"), f"{name}_branch3_2"),
            conv(torch.max_pool(x, strides=1, padding=1), f"{name}_pooled"),
        ]
        assert model.get_layer(f"{name}_branch3_2_conv").kernel_size == (5, 5)
        x = np.concatenate(branches, axis=-1)
    return torch.classify(x)


def written_out_squeezenet(model: Model, images: Array) -> Array:
    torch = Torch(model, relu)
    x = relu(torch.conv(images / 255, "stem", 2, padding=0))
    for stage, fires in enumerate((2, 2, 4), start=1):
        x = torch.max_pool(x, over_the_edge=True)
        for fire in range(1, fires + 1):
            name = f"stage{stage}_fire{fire}"
            x = relu(torch.conv(x, f"{name}_squeeze"))
            x = np.concatenate([relu(torch.conv(x, f"{name}_expand{side}")) for side in (1, 3)], axis=-1)
    kernel, bias = model.get_layer("predictions").get_weights()
    return relu(x @ kernel[0, 0] + bias).mean(axis=(1, 2))


def written_out_shufflenet(model: Model, images: Array) -> Array:
    torch = Torch(model, relu)
    x = torch.max_pool(relu(torch.conv_bn(images / 255, "stem", 2)), padding=1)
    for stage, units in enumerate((4, 8, 4), start=1):
        for unit in range(1, units + 1):
            name, strides = f"stage{stage}_unit{unit}", 2 if unit == 1 else 1
            if unit == 1:
                around, y = torch.conv_bn(x, f"{name}_around_depthwise", 2), x
                around = relu(torch.conv_bn(around, f"{name}_around"))
            else:
                around, y = np.split(np.asarray(x), 2, axis=-1)
            y = relu(torch.conv_bn(y, f"{name}_1"))
            y = torch.conv_bn(y, f"{name}_2_depthwise", strides)
            y = relu(torch.conv_bn(y, f"{name}_3"))
            x = np.stack([around, y], axis=-1).reshape(*y.shape[:3], -1)
    return torch.classify(relu(torch.conv_bn(x, "last")))


@pytest.mark.parametrize(
    ("factory", "written_out", "arguments"),
    [
        (alexnet, written_out_alexnet, {"hidden_units": 64}),
        (googlenet, written_out_googlenet, {}),
        (squeezenet, written_out_squeezenet, {}),
        (shufflenet_v2, written_out_shufflenet, {"width": 0.5}),
        (shufflenet_v2, written_out_shufflenet, {"width": 1.0}),
    ],
)
def test_a_network_computes_what_was_written_out(
    factory: Callable[..., Model], written_out: Callable[[Model, Array], Array], arguments: dict[str, float]
) -> None:
    shape = (75, 102, 3)  # odd and even sizes before the layers that halve them
    model = factory(input_shape=shape, **OURS, **arguments)
    images = pixels(2, *shape)
    scatter(model, images)
    assert_alike(np.asarray(model(images, training=False)), np.asarray(written_out(model, images)))
