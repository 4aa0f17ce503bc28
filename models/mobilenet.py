"""MobileNetV2: inverted residuals with linear bottlenecks, Sandler et al. 2018, https://arxiv.org/abs/1801.04381.

Strided convolutions pad both sides alike, as in torchvision, whose weights carry over; keras.applications pads even
inputs on the far side only, so its weights give the same outputs where every strided layer meets an odd size (97 or
225 pixels, say) and sample pixels shifted by one elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers

from ._arguments import image_shape, width_multiplier
from ._blocks import ConvStyle, bn_act, conv_bn_act, depthwise_conv
from ._ends import Head, is_small, open_image


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


def mobilenet_v2(
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
) -> keras.Model:
    """Build MobileNetV2.

    When the shorter side is above 64 pixels (or unknown) the network divides the resolution by 32, as in the paper.
    Up to 64 pixels the stem and the first downsampling stage (24 channels) keep the resolution, as is usual for
    CIFAR, and the network divides by 8. The weights are the same either way.

    Args:
        include_top: end with average pooling and the classifier.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(height, width, channels)`, at least 8x8; default `(224, 224, 3)`.
        pooling: only with `include_top=False`: None gives the feature map `(batch, height, width, 1280)`,
            `"avg"` or `"max"` one vector `(batch, 1280)`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        alpha: width multiplier: channels are multiplied by it and rounded to multiples of 8, never below 90 % of the
            exact product. The last convolution grows above 1.0 but keeps its 1280 channels below.
        dropout: share of the classifier's inputs dropped in training. Used with `include_top` only.
        activation: a Keras activation by name.

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
    small = is_small(shape)
    inputs, x = open_image(shape)
    x = conv_bn_act(x, scaled(_STEM_CHANNELS, alpha), 3, 1 if small else 2, _STYLE, activation, name="stem")
    for number, stage in enumerate(_STAGES, start=1):
        first_strides = 1 if small and number == 2 else stage.strides
        for block in range(stage.blocks):
            x = _inverted_residual(
                x,
                scaled(stage.channels, alpha),
                stage.expansion,
                first_strides if block == 0 else 1,
                activation,
                name=f"stage{number}_block{block + 1}",
            )
    x = conv_bn_act(x, scaled(_LAST_CHANNELS, max(alpha, 1.0)), 1, 1, _STYLE, activation, name="last")
    return head.build(inputs, head.pool(x))


def scaled(channels: int, alpha: float, divisor: int = 8) -> int:
    """Multiply `channels` by `alpha` and round to a multiple of `divisor`, never below 90 % of the exact product."""
    exact = channels * alpha
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * exact else rounded + divisor


def _inverted_residual(
    x: keras.KerasTensor, channels: int, expansion: int, strides: int, activation: str, name: str
) -> keras.KerasTensor:
    """Widen, convolve by channel, narrow without an activation; add the input where the shape stays."""
    bottleneck = x
    if expansion != 1:
        x = conv_bn_act(x, expansion * x.shape[-1], 1, 1, _STYLE, activation, name=f"{name}_expand")
    x = depthwise_conv(x, 3, strides, _STYLE, name=f"{name}_depthwise")
    x = bn_act(x, _STYLE, activation, name=f"{name}_depthwise")
    x = conv_bn_act(x, channels, 1, 1, _STYLE, None, name=f"{name}_project")
    if strides == 1 and bottleneck.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([bottleneck, x])
    return x
