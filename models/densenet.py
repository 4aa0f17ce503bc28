"""DenseNet, densely connected networks: Huang et al. 2016, https://arxiv.org/abs/1608.06993.

Those for ImageNet are layer for layer torchvision's and keras.applications', so that weights carried over give the same
outputs on inputs of more than 64 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from ._arguments import image_shape
from ._blocks import ConvStyle, bn_act, conv, max_pool
from ._ends import Head, is_small, open_image
from ._variants import variant

_STYLE = ConvStyle()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What tells one network from another.

    Attributes:
        blocks: layers of each dense block; between two blocks the resolution is halved.
        growth: channels that each layer adds, the paper's k.
        stem_filters: of the first convolution.
        bottleneck: 1x1 convolutions of four times the growth before the 3x3 ones, and half the channels between blocks
            ("-BC" in the paper).
        small_stem: always start with a 3x3 convolution alone, as for CIFAR.
    """

    blocks: tuple[int, ...]
    growth: int = 32
    stem_filters: int = 64
    bottleneck: bool = True
    small_stem: bool = False


def _densenet(
    plan: _Plan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "densenet",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Every layer sees the outputs of all layers before it in its block. The networks for ImageNet (default input
    `(224, 224, 3)`, 1,000 classes) look at the shorter side of the input. Above 64 pixels, or where it is unknown, the
    stem is a 7x7 convolution of stride 2 and 3x3 max-pooling, and the network divides the resolution by 32. Up to 64
    pixels the stem is one 3x3 convolution of stride 1, and the network divides by 8; the two stems' weights do not fit
    each other. DenseNet-40 for CIFAR (default input `(32, 32, 3)`, 10 classes) always has the small stem and divides
    by 4.

    Args:
        {image arguments}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import densenet40_12
        >>> densenet40_12(input_shape=(32, 32, 1)).output_shape
        (None, 10)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    side = 32 if plan.small_stem else 224
    shape = image_shape(input_shape, default=(side, side, 3), minimum=2 ** (len(plan.blocks) - 1))
    inputs, x = open_image(shape, pixel_scaling)
    if plan.small_stem or is_small(shape):
        x = conv(x, plan.stem_filters, 3, 1, _STYLE, name="stem")
    else:
        x = conv(x, plan.stem_filters, 7, 2, _STYLE, name="stem")
        x = max_pool(bn_act(x, _STYLE, activation, name="stem"), name="stem_pool")
    for block, count in enumerate(plan.blocks, start=1):
        if block > 1:
            x = _transition(x, plan, activation, name=f"transition{block - 1}")
        for number in range(1, count + 1):
            x = _dense_layer(x, plan, activation, name=f"block{block}_layer{number}")
    return head.build(inputs, head.pool(bn_act(x, _STYLE, activation, name="final")))


def _dense_layer(x: keras.KerasTensor, plan: _Plan, activation: str, name: str) -> keras.KerasTensor:
    """Compute new channels and put them behind those there are."""
    new = x
    sizes = ((4 * plan.growth, 1), (plan.growth, 3)) if plan.bottleneck else ((plan.growth, 3),)
    for number, (filters, size) in enumerate(sizes, start=1):
        new = bn_act(new, _STYLE, activation, name=f"{name}_{number}")
        new = conv(new, filters, size, 1, _STYLE, name=f"{name}_{number}")
    return layers.Concatenate(name=f"{name}_concat")([x, new])


def _transition(x: keras.KerasTensor, plan: _Plan, activation: str, name: str) -> keras.KerasTensor:
    """Halve the resolution, and in bottleneck networks the channels."""
    filters = x.shape[-1] // 2 if plan.bottleneck else x.shape[-1]
    x = conv(bn_act(x, _STYLE, activation, name=name), filters, 1, 1, _STYLE, name=name)
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


densenet40_12 = variant(
    _densenet,
    _Plan((12, 12, 12), growth=12, stem_filters=16, bottleneck=False, small_stem=True),
    "densenet40_12",
    "Build DenseNet-40 for CIFAR: three blocks of 12 layers that add 12 channels each.",
    classes=10,
)
densenet121 = variant(
    _densenet, _Plan((6, 12, 24, 16)), "densenet121", "Build DenseNet-121: 6, 12, 24 and 16 layers of 32 channels."
)
densenet169 = variant(
    _densenet, _Plan((6, 12, 32, 32)), "densenet169", "Build DenseNet-169: 6, 12, 32 and 32 layers of 32 channels."
)
densenet201 = variant(
    _densenet, _Plan((6, 12, 48, 32)), "densenet201", "Build DenseNet-201: 6, 12, 48 and 32 layers of 32 channels."
)
