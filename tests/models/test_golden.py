"""The same weights in an independent implementation give the same outputs.

PyTorch's ResNet18 and MobileNetV2 are written out here as their papers and torchvision say, with jax.lax convolutions
and symmetric padding; MLPerf Tiny's ResNet8 as its reference does. keras.applications has its own MobileNetV2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kzoo.models import attention, mobilenet_v2, resnet8, resnet18

jax = pytest.importorskip("jax", reason="the reference convolutions need jax: pip install kzoo[jax]")

Array = Any
TOLERANCE = 1e-4


def scatter(model: keras.Model, images: Array, seed: int = 7) -> None:
    """Give every weight that starts as zeros or ones a value of its own, so that a lost one shows.

    The moving statistics come from `images`: with made-up ones the signal dies on its way through a deep network and
    the output no longer depends on the input.
    """
    rng = np.random.default_rng(seed)
    normalizations = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in normalizations:
        gamma, _, mean, variance = layer.get_weights()
        layer.set_weights([rng.uniform(0.7, 1.3, gamma.shape), rng.normal(0, 0.2, gamma.shape), mean, variance])
        layer.momentum = 0.0
    model(images, training=True)
    for layer in model.layers:
        if isinstance(layer, (layers.Conv2D, layers.Dense)) and layer.use_bias:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])


def pixels(*shape: int) -> Array:
    return np.random.default_rng(1).integers(0, 256, shape).astype("float32")


def assert_alike(received: Array, expected: Array) -> None:
    scale = np.abs(expected).max()
    assert scale > 1e-3 and np.ptp(expected, axis=0).max() > 1e-3 * scale  # the network answers its input
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE * max(1.0, float(scale)))


class Torch:
    """Forward passes as PyTorch computes them, on a Keras model's weights."""

    def __init__(self, model: keras.Model, activation: Callable[[Array], Array]) -> None:
        self.model = model
        self.activation = activation

    def conv(self, x: Array, name: str, strides: int = 1) -> Array:
        kernel = self.model.get_layer(f"{name}_conv").get_weights()[0]
        groups = 1
        if kernel.shape[2] == x.shape[-1] and name.endswith("depthwise"):
            kernel, groups = kernel.transpose(0, 1, 3, 2), x.shape[-1]
        side = kernel.shape[0] // 2
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(strides, strides),
            padding=[(side, side), (side, side)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
            precision="highest",
        )

    def bn(self, x: Array, name: str) -> Array:
        gamma, beta, mean, variance = self.model.get_layer(f"{name}_bn").get_weights()
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def conv_bn(self, x: Array, name: str, strides: int = 1) -> Array:
        return self.bn(self.conv(x, name, strides), name)

    def classify(self, x: Array) -> Array:
        kernel, bias = self.model.get_layer("predictions").get_weights()
        return np.asarray(x.mean(axis=(1, 2)) @ kernel + bias)


def torch_resnet18(model: keras.Model, images: Array, imagenet_stem: bool) -> Array:
    torch = Torch(model, lambda x: np.maximum(x, 0))
    x = torch.activation(torch.conv_bn(images / 255, "stem", 2 if imagenet_stem else 1))
    if imagenet_stem:
        window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
        x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, strides, [(0, 0), (1, 1), (1, 1), (0, 0)])
    for stage in range(1, 5):
        for block in range(1, 3):
            name, strides_here = f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1
            y = torch.activation(torch.conv_bn(x, f"{name}_1", strides_here))
            y = torch.conv_bn(y, f"{name}_2")
            if stage > 1 and block == 1:
                x = torch.conv_bn(x, f"{name}_shortcut", strides_here)
            x = torch.activation(x + y)
    return torch.classify(x)


def torch_mobilenet_v2(model: keras.Model, images: Array) -> Array:
    torch = Torch(model, lambda x: np.clip(x, 0, 6))
    x = torch.activation(torch.conv_bn(images / 255, "stem", 2))
    table = [(1, 1, 1), (6, 2, 2), (6, 3, 2), (6, 4, 2), (6, 3, 1), (6, 3, 2), (6, 1, 1)]
    for stage, (expansion, blocks, first_strides) in enumerate(table, start=1):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            y = x if expansion == 1 else torch.activation(torch.conv_bn(x, f"{name}_expand"))
            y = torch.activation(torch.conv_bn(y, f"{name}_depthwise", first_strides if block == 1 else 1))
            y = torch.conv_bn(y, f"{name}_project")
            x = x + y if block > 1 else y
    return torch.classify(torch.activation(torch.conv_bn(x, "last")))


@pytest.mark.parametrize("size", [(75, 102), (32, 32)])
def test_resnet18_computes_what_pytorchs_does(size: tuple[int, int]) -> None:
    model = resnet18(input_shape=(*size, 3), classes=10, classifier_activation=None)
    images = pixels(2, *size, 3)
    scatter(model, images)
    expected = torch_resnet18(model, images, imagenet_stem=min(size) > 64)
    assert_alike(model.predict_on_batch(images), expected)


def test_mobilenet_v2_computes_what_pytorchs_does() -> None:
    size = (75, 102)  # odd and even sizes before the strided layers, 102-51-26-13-7 and 75-38-19-10-5
    model = mobilenet_v2(input_shape=(*size, 3), classes=10, classifier_activation=None)
    images = pixels(2, *size, 3)
    scatter(model, images)
    assert_alike(model.predict_on_batch(images), torch_mobilenet_v2(model, images))


@pytest.mark.parametrize("alpha", [0.35, 1.0, 1.4])
def test_mobilenet_v2_computes_what_keras_applications_does(alpha: float) -> None:
    # From 97 pixels on every strided layer meets an odd size, where TensorFlow's padding and PyTorch's are the same.
    shape, classes = (97, 97, 3), 10
    reference = keras.applications.MobileNetV2(shape, alpha, weights=None, classes=classes, classifier_activation=None)
    model = mobilenet_v2(input_shape=shape, alpha=alpha, classes=classes, classifier_activation=None)
    images = pixels(2, *shape)
    scatter(reference, images / 255)
    sources = [layer for layer in reference.layers if layer.get_weights()]
    targets = [layer for layer in model.layers if layer.get_weights()]
    for source, target in zip(sources, targets, strict=True):
        values = source.get_weights()
        if isinstance(source, layers.BatchNormalization):
            values[3] = values[3] + source.epsilon - target.epsilon
        target.set_weights(values)
    assert_alike(model.predict_on_batch(images), reference.predict_on_batch(images / 255))


def mlperf_tiny_resnet8() -> keras.Model:
    """Write the reference's keras_model.py again: https://github.com/mlcommons/tiny."""
    inputs = x = keras.Input((32, 32, 3))
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(x)))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = layers.Conv2D(filters, 3, strides=strides, padding="same")(x)
        y = layers.Activation("relu")(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        if strides == 2:
            x = layers.Conv2D(filters, 1, strides=2, padding="same")(x)
        x = layers.Activation("relu")(layers.add([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def test_resnet8_computes_what_mlperf_tinys_does() -> None:
    reference, model = mlperf_tiny_resnet8(), resnet8(classifier_activation=None)
    images = pixels(4, 32, 32, 3)
    scatter(reference, images / 255)

    def by_kind(network: keras.Model) -> list[Any]:
        # The two graphs may order a shortcut and the branch beside it differently; within a kind the shapes tell.
        weighted = [layer for layer in network.layers if layer.get_weights()]
        return sorted(weighted, key=lambda layer: (type(layer).__name__, str([w.shape for w in layer.weights])))

    for source, target in zip(by_kind(reference), by_kind(model), strict=True):
        target.set_weights(source.get_weights())
    assert_alike(model.predict_on_batch(images), reference.predict_on_batch(images / 255))


def test_attention_knows_the_order_of_its_steps_by_its_positions_alone() -> None:
    model = attention(input_shape=(6, 3), units=8, heads=2)
    x = np.random.default_rng(3).normal(size=(4, 6, 3)).astype("float32")
    ordered, reversed_ = model.predict_on_batch(x), model.predict_on_batch(x[:, ::-1])
    assert np.abs(ordered - reversed_).max() > 1e-4
    projection = model.get_layer("projection_and_position")
    kernel, positions = projection.get_weights()
    assert positions.shape == (6, 8)
    projection.set_weights([kernel, np.zeros_like(positions)])
    np.testing.assert_allclose(model.predict_on_batch(x), model.predict_on_batch(x[:, ::-1]), atol=1e-6)
