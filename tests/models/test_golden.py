"""The same weights in an independent implementation give the same outputs.

PyTorch's ResNet18 is written out here as its paper and torchvision say, with jax.lax convolutions and symmetric
padding; MLPerf Tiny's ResNet8 as its reference does.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kzoo.models import attention, resnet8, resnet18

from .golden import Array, Torch, assert_alike, pixels, scatter


def torch_resnet18(model: keras.Model, images: Array, imagenet_stem: bool) -> Array:
    torch = Torch(model, lambda x: np.maximum(x, 0))
    x = torch.activation(torch.conv_bn(images / 255, "stem", 2 if imagenet_stem else 1))
    if imagenet_stem:
        x = torch.max_pool(x, padding=1)
    for stage in range(1, 5):
        for block in range(1, 3):
            name, strides_here = f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1
            y = torch.activation(torch.conv_bn(x, f"{name}_1", strides_here))
            y = torch.conv_bn(y, f"{name}_2")
            if stage > 1 and block == 1:
                x = torch.conv_bn(x, f"{name}_shortcut", strides_here)
            x = torch.activation(x + y)
    return torch.classify(x)


@pytest.mark.parametrize("size", [(75, 102), (32, 32)])
def test_resnet18_computes_what_pytorchs_does(size: tuple[int, int]) -> None:
    model = resnet18(input_shape=(*size, 3), classes=10, classifier_activation=None)
    images = pixels(2, *size, 3)
    scatter(model, images)
    expected = torch_resnet18(model, images, imagenet_stem=min(size) > 64)
    assert_alike(model.predict_on_batch(images), expected)


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
