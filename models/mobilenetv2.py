"""MobileNetV2: inverted residuals with linear bottlenecks, Sandler et al. 2018, https://arxiv.org/abs/1801.04381.

Strided convolutions pad both sides alike, as in torchvision; with `padding="same"` as in keras.applications.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import keras

from ._arguments import image_shape, width_multiplier
from ._blocks import ConvStyle, conv_bn_act
from ._ends import Head
from ._mobile import inverted_residual, open_mobile, scaled, stage_strides
from ._variants import variant


class Stage(NamedTuple):
    """A row of the paper's table 2; `strides` is the first block's, the others keep the resolution."""

    expansion: int
    channels: int
    blocks: int
    strides: int


_STEM_CHANNELS = 32
_STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
_LAST_CHANNELS = 1280
_STYLE = ConvStyle()


def _mobilenet_v2(
    stages: tuple[Stage, ...],
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v2",
    *,
    alpha: float = 1.0,
    dropout: float = 0.0,
    activation: str = "relu6",
    sparse_inference: bool = False,
    padding: str | None = None,
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Above 64 pixels on the shorter side (or where it is unknown) the network divides the resolution by 32, as in the
    paper. Up to 64 pixels the stem and the first downsampling stage (24 channels) keep the resolution, as is usual for
    CIFAR, and the network divides by 8. The weights are the same either way. Default input `(224, 224, 3)`.

    Args:
        {image arguments}
        alpha: width multiplier: channels are multiplied by it and rounded to multiples of 8, never below 90 % of the
            exact product. The last convolution grows above 1.0 but keeps its 1280 channels below.
        {sparse argument}
        {padding argument}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import mobilenet_v2
        >>> mobilenet_v2(input_shape=(96, 96, 3), classes=2, alpha=0.35).count_params()
        412770
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    alpha = width_multiplier(alpha)
    shape = image_shape(input_shape, default=(224, 224, 3), minimum=8)
    inputs, x, style, small = open_mobile(
        shape,
        scaled(_STEM_CHANNELS, alpha),
        _STYLE,
        activation,
        padding=padding,
        sparse_inference=sparse_inference,
        pixel_scaling=pixel_scaling,
    )
    all_strides = stage_strides((stage.strides for stage in stages), small)
    for number, (stage, strides) in enumerate(zip(stages, all_strides, strict=True), start=1):
        for block in range(stage.blocks):
            x = inverted_residual(
                x,
                scaled(stage.channels, alpha),
                stage.expansion,
                3,
                strides if block == 0 else 1,
                style,
                activation,
                name=f"stage{number}_block{block + 1}",
            )
    x = conv_bn_act(x, scaled(_LAST_CHANNELS, max(alpha, 1.0)), 1, 1, style, activation, name="last")
    return head.build(inputs, head.pool(x, keepdims=sparse_inference))


mobilenet_v2 = variant(_mobilenet_v2, _STAGES, "mobilenet_v2", "Build MobileNetV2.")
