"""EfficientNet-Lite: EfficientNet (Tan and Le 2019, https://arxiv.org/abs/1905.11946) without squeeze-and-excitation,
with ReLU6 for swish, so that it quantises well,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.

Strided convolutions pad both sides alike, as timm's `efficientnet_lite` models do; with `padding="same"` as the
original's, and timm's `tf_efficientnet_lite`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import keras

from ._arguments import image_shape
from ._blocks import ConvStyle, conv_bn_act
from ._ends import Head
from ._mobile import inverted_residual, open_mobile, scaled, stage_strides
from ._variants import variant


class Stage(NamedTuple):
    """A row of the paper's table 1; `strides` is the first block's, the others keep the resolution."""

    expansion: int
    kernel_size: int
    channels: int
    blocks: int
    strides: int


class Scale(NamedTuple):
    """What grows from lite0 to lite4: factors of channels and blocks, pixels a side of the default input."""

    width: float
    depth: float
    side: int


_STAGES = (
    Stage(1, 3, 16, 1, 1),
    Stage(6, 3, 24, 2, 2),
    Stage(6, 5, 40, 2, 2),
    Stage(6, 3, 80, 3, 2),
    Stage(6, 5, 112, 3, 1),
    Stage(6, 5, 192, 4, 2),
    Stage(6, 3, 320, 1, 1),
)
# Neither grows with the scale.
_STEM_CHANNELS, _LAST_CHANNELS = 32, 1280
_STYLE = ConvStyle()


def _efficientnet_lite(
    scale: Scale,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "efficientnet_lite",
    *,
    dropout: float = 0.0,
    activation: str = "relu6",
    sparse_inference: bool = False,
    padding: str | None = None,
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Above 64 pixels on the shorter side (or where it is unknown) the network divides the resolution by 32, as in the
    paper. Up to 64 pixels the stem and the first stage that would downsample keep the resolution, as is usual for
    CIFAR, and the network divides by 8. The weights are the same either way.

    Args:
        {image arguments}
        {sparse argument}
        {padding argument}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import efficientnet_lite0
        >>> efficientnet_lite0(include_top=False, input_shape=(96, 96, 3)).output_shape
        (None, 3, 3, 1280)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    shape = image_shape(input_shape, default=(scale.side, scale.side, 3), minimum=8)
    inputs, x, style, small = open_mobile(
        shape,
        _STEM_CHANNELS,
        _STYLE,
        activation,
        padding=padding,
        sparse_inference=sparse_inference,
        pixel_scaling=pixel_scaling,
    )
    all_strides = stage_strides((stage.strides for stage in _STAGES), small)
    for number, (stage, strides) in enumerate(zip(_STAGES, all_strides, strict=True), start=1):
        # The first and the last stage keep their one block, too.
        blocks = stage.blocks if number in (1, len(_STAGES)) else math.ceil(stage.blocks * scale.depth)
        for block in range(blocks):
            x = inverted_residual(
                x,
                scaled(stage.channels, scale.width),
                stage.expansion,
                stage.kernel_size,
                strides if block == 0 else 1,
                style,
                activation,
                name=f"stage{number}_block{block + 1}",
            )
    x = conv_bn_act(x, _LAST_CHANNELS, 1, 1, style, activation, name="last")
    return head.build(inputs, head.pool(x, keepdims=sparse_inference))


efficientnet_lite0 = variant(
    _efficientnet_lite,
    Scale(1.0, 1.0, 224),
    "efficientnet_lite0",
    "Build EfficientNet-Lite0, default input `(224, 224, 3)`.",
)
efficientnet_lite1 = variant(
    _efficientnet_lite,
    Scale(1.0, 1.1, 240),
    "efficientnet_lite1",
    "Build EfficientNet-Lite1: deeper than Lite0, default input `(240, 240, 3)`.",
)
efficientnet_lite2 = variant(
    _efficientnet_lite,
    Scale(1.1, 1.2, 260),
    "efficientnet_lite2",
    "Build EfficientNet-Lite2: 1.1 times as wide as Lite0, default input `(260, 260, 3)`.",
)
efficientnet_lite3 = variant(
    _efficientnet_lite,
    Scale(1.2, 1.4, 280),
    "efficientnet_lite3",
    "Build EfficientNet-Lite3: 1.2 times as wide as Lite0, default input `(280, 280, 3)`.",
)
efficientnet_lite4 = variant(
    _efficientnet_lite,
    Scale(1.4, 1.8, 300),
    "efficientnet_lite4",
    "Build EfficientNet-Lite4: 1.4 times as wide as Lite0, default input `(300, 300, 3)`.",
)
