"""MobileNetV3: found by search, with squeeze-and-excitation and hard-swish, Howard et al. 2019,
https://arxiv.org/abs/1905.02244.

Layer for layer torchvision's, whose strided convolutions pad both sides alike; with `padding="same"` and
`pixel_scaling="signed"` keras.applications'.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers

from ._arguments import image_shape, width_multiplier
from ._blocks import ConvStyle, activate, conv_bn_act
from ._ends import Head
from ._mobile import inverted_residual, open_mobile, scaled, stage_strides
from ._variants import variant


class Block(NamedTuple):
    """A row of the paper's tables 1 and 2; `expansion` is a factor here, `swish` chooses hard-swish over ReLU."""

    kernel_size: int
    expansion: float
    channels: int
    squeeze: bool
    swish: bool
    strides: int


class Plan(NamedTuple):
    """All blocks, and the channels of the layer between pooling and the classifier."""

    blocks: tuple[Block, ...]
    last_channels: int


_SMALL = Plan(
    (
        Block(3, 1, 16, True, False, 2),
        Block(3, 72 / 16, 24, False, False, 2),
        Block(3, 88 / 24, 24, False, False, 1),
        Block(5, 4, 40, True, True, 2),
        Block(5, 6, 40, True, True, 1),
        Block(5, 6, 40, True, True, 1),
        Block(5, 3, 48, True, True, 1),
        Block(5, 3, 48, True, True, 1),
        Block(5, 6, 96, True, True, 2),
        Block(5, 6, 96, True, True, 1),
        Block(5, 6, 96, True, True, 1),
    ),
    last_channels=1024,
)
_LARGE = Plan(
    (
        Block(3, 1, 16, False, False, 1),
        Block(3, 4, 24, False, False, 2),
        Block(3, 3, 24, False, False, 1),
        Block(5, 3, 40, True, False, 2),
        Block(5, 3, 40, True, False, 1),
        Block(5, 3, 40, True, False, 1),
        Block(3, 6, 80, False, True, 2),
        Block(3, 2.5, 80, False, True, 1),
        Block(3, 2.3, 80, False, True, 1),
        Block(3, 2.3, 80, False, True, 1),
        Block(3, 6, 112, True, True, 1),
        Block(3, 6, 112, True, True, 1),
        Block(5, 6, 160, True, True, 2),
        Block(5, 6, 160, True, True, 1),
        Block(5, 6, 160, True, True, 1),
    ),
    last_channels=1280,
)
_STEM_CHANNELS = 16
_LAST_EXPANSION = 6
_STYLE = ConvStyle(epsilon=1e-3, momentum=0.99)


def _mobilenet_v3(
    plan: Plan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v3",
    *,
    alpha: float = 1.0,
    minimalistic: bool = False,
    dropout: float = 0.0,
    activation: str | None = None,
    sparse_inference: bool = False,
    padding: str | None = None,
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Above 64 pixels on the shorter side (or where it is unknown) the network divides the resolution by 32, as in the
    paper. Up to 64 pixels the stem and the first block that would downsample keep the resolution, as is usual for
    CIFAR, and the network divides by 8. The weights are the same either way. Default input `(224, 224, 3)`.
    `activation` stands where the paper has hard-swish, which is its default (`"hard_silu"`; `"relu"` with
    `minimalistic`).

    Args:
        {image arguments}
        alpha: width multiplier: channels are multiplied by it and rounded to multiples of 8, never below 90 % of the
            exact product. The stem keeps its 16 channels; the layer before the classifier grows above 1.0 but does
            not shrink below.
        minimalistic: leave out what some devices cannot do fast: 3x3 convolutions for 5x5 ones, ReLU for hard-swish,
            no squeeze-and-excitation. `PruneForLatencyOnXNNPack` takes networks of this form only.
        {sparse argument}
        {padding argument}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import mobilenet_v3_small
        >>> mobilenet_v3_small(input_shape=(96, 96, 3), classes=2, alpha=0.75, minimalistic=True).output_shape
        (None, 2)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    alpha = width_multiplier(alpha)
    shape = image_shape(input_shape, default=(224, 224, 3), minimum=8)
    if activation is None:
        activation = "relu" if minimalistic else "hard_silu"
    inputs, x, style, small = open_mobile(
        shape,
        _STEM_CHANNELS,
        _STYLE,
        activation,
        padding=padding,
        sparse_inference=sparse_inference,
        pixel_scaling=pixel_scaling,
    )
    all_strides = stage_strides((block.strides for block in plan.blocks), small)
    for number, (block, strides) in enumerate(zip(plan.blocks, all_strides, strict=True), start=1):
        x = inverted_residual(
            x,
            scaled(block.channels, alpha),
            block.expansion,
            3 if minimalistic else block.kernel_size,
            strides,
            style,
            activation if block.swish else "relu",
            name=f"block{number}",
            squeeze=block.squeeze and not minimalistic,
        )
    x = conv_bn_act(x, scaled(x.shape[-1], _LAST_EXPANSION), 1, 1, style, activation, name="last")
    x = head.pool(x, keepdims=sparse_inference)
    if include_top:
        x = layers.Dense(scaled(plan.last_channels, max(alpha, 1.0)), name="widen")(x)
        x = activate(x, activation, name="widen_act")
    return head.build(inputs, x)


mobilenet_v3_small = variant(
    _mobilenet_v3, _SMALL, "mobilenet_v3_small", "Build MobileNetV3 small: 11 blocks for the tightest budgets."
)
mobilenet_v3_large = variant(_mobilenet_v3, _LARGE, "mobilenet_v3_large", "Build MobileNetV3 large: 15 blocks.")
