"""What the mobile families share: the stem, rounding of widths, strides for small images, the inverted residual."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import keras
from keras import layers

from ._arguments import sparse_shape
from ._blocks import ConvStyle, bn_act, conv_bn_act, depthwise_conv, squeeze_excite
from ._ends import is_small, open_image

_SQUEEZE = 1 / 4


def scaled(channels: int, factor: float, divisor: int = 8) -> int:
    """Multiply `channels` by `factor` and round to a multiple of `divisor`, never below 90 % of the exact product."""
    exact = channels * factor
    rounded = max(divisor, int(exact + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * exact else rounded + divisor


def open_mobile(
    shape: tuple[int | None, int | None, int],
    filters: int,
    style: ConvStyle,
    activation: str,
    *,
    padding: str | None,
    sparse_inference: bool,
    pixel_scaling: str,
) -> tuple[keras.KerasTensor, keras.KerasTensor, ConvStyle, bool]:
    """Start a mobile network: the input and a 3x3 convolution, of stride 2 unless the image is small.

    Args:
        shape: `(height, width, channels)`.
        filters: of the convolution.
        style: of every convolution of the network, before `padding` and `sparse_inference` have their say.
        activation: a Keras activation by name.
        padding: None, `"symmetric"` or `"same"`.
        sparse_inference: whether XNNPACK's sparse kernels are to take the network.
        pixel_scaling: see `open_image`.

    Returns:
        The model's input, the stem's features, the style of the convolutions to come, and whether the image is small.
    """
    small, style = is_small(shape), padded(style, padding, sparse_inference)
    if sparse_inference:
        sparse_shape(shape, small)
    inputs, x = open_image(shape, pixel_scaling)
    return inputs, conv_bn_act(x, filters, 3, 1 if small else 2, style, activation, name="stem"), style, small


def padded(style: ConvStyle, padding: str | None, sparse_inference: bool) -> ConvStyle:
    """Give the style with another padding; None leaves it, but for XNNPACK's sparse kernels, which need symmetry."""
    if padding not in (None, "symmetric", "same"):
        raise ValueError(
            f"`padding` must be 'symmetric' or 'same'. Received: padding={padding!r}. "
            "Leave it out for models that you train yourself."
        )
    if sparse_inference:
        if padding == "same":
            raise ValueError(
                "`sparse_inference` needs padding on both sides alike. "
                "Received: sparse_inference=True, padding='same'. Leave one of them out."
            )
        return replace(style, symmetric_padding=True)
    return style if padding is None else replace(style, symmetric_padding=padding == "symmetric")


def stage_strides(strides: Iterable[int], small: bool) -> list[int]:
    """Give the strides behind the stem; for small images the first that would downsample does not."""
    found = list(strides)
    if small:
        found[found.index(2)] = 1
    return found


def inverted_residual(
    x: keras.KerasTensor,
    channels: int,
    expansion: float,
    kernel_size: int,
    strides: int,
    style: ConvStyle,
    activation: str,
    name: str,
    squeeze: bool = False,
) -> keras.KerasTensor:
    """Widen, convolve by channel, narrow without an activation; add the input where the shape stays.

    Args:
        x: `(batch, height, width, channels)`.
        channels: that leave the block.
        expansion: how much wider than the input the middle is; 1 leaves the first convolution out.
        kernel_size: of the convolution by channel.
        strides: of the same.
        style: of every convolution.
        activation: a Keras activation by name.
        name: of the layers, which go on `_expand`, `_depthwise`, `_se`, `_project` and `_add`.
        squeeze: weigh the channels before narrowing, by squeeze-and-excitation with a quarter of them and a hard
            sigmoid, as MobileNetV3 does.
    """
    bottleneck, middle = x, scaled(x.shape[-1], expansion)
    if expansion != 1:
        x = conv_bn_act(x, middle, 1, 1, style, activation, name=f"{name}_expand")
    x = depthwise_conv(x, kernel_size, strides, style, name=f"{name}_depthwise")
    x = bn_act(x, style, activation, name=f"{name}_depthwise")
    if squeeze:
        x = squeeze_excite(x, scaled(middle, _SQUEEZE), "relu", "hard_sigmoid", name=f"{name}_se")
    x = conv_bn_act(x, channels, 1, 1, style, None, name=f"{name}_project")
    if strides == 1 and bottleneck.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([bottleneck, x])
    return x
