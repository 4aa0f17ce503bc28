"""MobileNetV1: convolutions by channel, each followed by a 1x1 convolution, Howard et al. 2017,
https://arxiv.org/abs/1704.04861.

Strided convolutions pad both sides alike, as in PyTorch. With `padding="same"` the network is keras.applications' where
every strided layer meets an even size (96 or 224 pixels, say).
`mobilenet_v1_025_96` is the model of MLPerf Tiny's visual wake words,
https://github.com/mlcommons/tiny/tree/master/benchmark/training/visual_wake_words: it pads as Keras does, and its
convolutions have biases.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import keras

from ._arguments import image_shape, width_multiplier
from ._blocks import ConvStyle, bn_act, conv_bn_act, depthwise_conv
from ._ends import Head
from ._mobile import open_mobile, scaled, stage_strides
from ._variants import variant


class Plan(NamedTuple):
    """What tells the two networks apart: pixels a side of the default input, and how convolutions are written."""

    side: int
    style: ConvStyle


_STEM_CHANNELS = 32
# Channels and strides of each pair of convolutions, the paper's table 1.
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


def _mobilenet_v1(
    plan: Plan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "mobilenet_v1",
    *,
    alpha: float = 1.0,
    dropout: float = 0.0,
    activation: str = "relu6",
    sparse_inference: bool = False,
    padding: str | None = None,
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Above 64 pixels on the shorter side (or where it is unknown) the network divides the resolution by 32, as in the
    paper. Up to 64 pixels the stem and the second pair of convolutions keep the resolution, as is usual for CIFAR, and
    the network divides by 8. The weights are the same either way.

    Args:
        {image arguments}
        alpha: width multiplier: channels are multiplied by it and rounded to multiples of 8, never below 90 % of the
            exact product. The paper uses 0.25, 0.5, 0.75 and 1.
        {sparse argument}
        {padding argument}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import mobilenet_v1_025_96
        >>> mobilenet_v1_025_96().count_params()
        221794
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    alpha = width_multiplier(alpha)
    shape = image_shape(input_shape, default=(plan.side, plan.side, 3), minimum=8)
    inputs, x, style, small = open_mobile(
        shape,
        scaled(_STEM_CHANNELS, alpha),
        plan.style,
        activation,
        padding=padding,
        sparse_inference=sparse_inference,
        pixel_scaling=pixel_scaling,
    )
    all_strides = stage_strides((strides for _, strides in _BLOCKS), small)
    for number, ((channels, _), strides) in enumerate(zip(_BLOCKS, all_strides, strict=True), start=1):
        x = depthwise_conv(x, 3, strides, style, name=f"block{number}_depthwise")
        x = bn_act(x, style, activation, name=f"block{number}_depthwise")
        x = conv_bn_act(x, scaled(channels, alpha), 1, 1, style, activation, name=f"block{number}_pointwise")
    return head.build(inputs, head.pool(x, keepdims=sparse_inference))


mobilenet_v1 = variant(
    _mobilenet_v1, Plan(224, ConvStyle()), "mobilenet_v1", "Build MobileNetV1, default input `(224, 224, 3)`."
)
mobilenet_v1_025_96 = variant(
    _mobilenet_v1,
    Plan(96, ConvStyle(use_bias=True, symmetric_padding=False, epsilon=1e-3, momentum=0.99)),
    "mobilenet_v1_025_96",
    "Build MLPerf Tiny's MobileNetV1 for visual wake words: a quarter of the width, default input `(96, 96, 3)`.",
    classes=2,
    alpha=0.25,
    activation="relu",
)
