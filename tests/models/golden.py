"""What tests of golden numbers share: weights that tell, images, layers as PyTorch computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

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
        *factors, offset, mean, variance = layer.get_weights()  # without factors in InceptionV3
        factors = [rng.uniform(0.7, 1.3, factor.shape) for factor in factors]
        layer.set_weights([*factors, rng.normal(0, 0.2, offset.shape), mean, variance])
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

    def conv(self, x: Array, name: str, strides: int = 1, padding: int | None = None) -> Array:
        """Convolve; without a number so many pixels are padded that the size stays at stride 1."""
        kernel, *bias = self.model.get_layer(f"{name}_conv").get_weights()
        groups = 1
        if kernel.shape[2] == x.shape[-1] and name.endswith("depthwise"):
            kernel, groups = kernel.transpose(0, 1, 3, 2), x.shape[-1]
        side = kernel.shape[0] // 2 if padding is None else padding
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(strides, strides),
            padding=[(side, side), (side, side)],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
            precision="highest",
        )
        return y + bias[0] if bias else y

    def max_pool(self, x: Array, strides: int = 2, padding: int = 0, over_the_edge: bool = False) -> Array:
        """Take the maximum of 3x3 windows; `over_the_edge` is PyTorch's `ceil_mode`."""
        sides = [(padding, padding + (over_the_edge and (side - 3) % strides)) for side in x.shape[1:3]]
        window, steps = (1, 3, 3, 1), (1, strides, strides, 1)
        return jax.lax.reduce_window(x, -np.inf, jax.lax.max, window, steps, [(0, 0), *sides, (0, 0)])

    def bn(self, x: Array, name: str) -> Array:
        layer = self.model.get_layer(f"{name}_bn")
        gamma, beta, mean, variance = layer.get_weights()
        return (x - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta

    def conv_bn(self, x: Array, name: str, strides: int = 1) -> Array:
        return self.bn(self.conv(x, name, strides), name)

    def classify(self, x: Array) -> Array:
        kernel, bias = self.model.get_layer("predictions").get_weights()
        return np.asarray(x.mean(axis=(1, 2)) @ kernel + bias)
