"""ShuffleNetV2: Ma et al. 2018, https://arxiv.org/abs/1807.11164.

Layer for layer torchvision's, so that weights carried over give the same outputs on inputs of more than 64 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import keras
from keras import layers

from ._arguments import image_shape
from ._blocks import ConvStyle, bn_act, conv_bn_act, depthwise_conv, max_pool
from ._ends import Head, is_small, open_image
from ._variants import variant

_STEM_FILTERS = 24
_UNITS = (4, 8, 4)
"""Units of each stage; the first one of a stage halves the resolution."""
_CHANNELS: Mapping[float, tuple[int, int, int, int]] = MappingProxyType(
    {
        0.5: (48, 96, 192, 1024),
        1.0: (116, 232, 464, 1024),
        1.5: (176, 352, 704, 1024),
        2.0: (244, 488, 976, 2048),
    }
)
"""Table 5: channels that leave each stage and the last convolution, by width."""
_STYLE = ConvStyle()


def _shufflenet(
    units: tuple[int, int, int],
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "shufflenet",
    *,
    width: float = 1.0,
    dropout: float = 0.0,
    activation: str = "relu",
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Default input `(224, 224, 3)`, 1,000 classes. A unit sends half of its channels through convolutions, the other
    half around them, and interleaves both. Interleaving changes shapes, so that height and width must be known.

    Above 64 pixels on the shorter side the network divides the resolution by 32. Up to 64 pixels, and at least 8x8,
    the first convolution has stride 1 and no pooling follows it; the network then divides by 8. The weights are the
    same either way.

    Args:
        {image arguments}
        width: 0.5, 1.0, 1.5 or 2.0, the paper's widths: how many channels, by its table 5.

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import shufflenet_v2
        >>> shufflenet_v2(width=0.5, input_shape=(32, 32, 3), classes=10).output_shape
        (None, 10)
    """
    if width not in _CHANNELS:
        raise ValueError(
            f"`width` must be one of {', '.join(map(str, _CHANNELS))}. Received: width={width!r}. "
            "The paper gives numbers of channels for these."
        )
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    shape = image_shape(
        input_shape, default=(224, 224, 3), minimum=8, fixed_by="Interleaving the channels needs them. Give numbers."
    )
    inputs, x = open_image(shape, pixel_scaling)
    small = is_small(shape)
    *widths, last = _CHANNELS[width]
    x = conv_bn_act(x, _STEM_FILTERS, 3, 1 if small else 2, _STYLE, activation, name="stem")
    if not small:
        x = max_pool(x, name="stem_pool")
    for stage, (count, channels) in enumerate(zip(units, widths, strict=True), start=1):
        for unit in range(1, count + 1):
            x = _unit(x, channels, 2 if unit == 1 else 1, activation, name=f"stage{stage}_unit{unit}")
    x = conv_bn_act(x, last, 1, 1, _STYLE, activation, name="last")
    return head.build(inputs, head.pool(x))


def _unit(x: keras.KerasTensor, channels: int, strides: int, activation: str, name: str) -> keras.KerasTensor:
    """Convolve half of the channels (with strides: all of them, both ways around) and interleave the two halves."""
    half = channels // 2
    if strides == 1:
        around = _crop(x, 0, half, name=f"{name}_around")
        x = _crop(x, half, 0, name=f"{name}_through")
    else:
        around = _depthwise(x, strides, name=f"{name}_around_depthwise")
        around = conv_bn_act(around, half, 1, 1, _STYLE, activation, name=f"{name}_around")
    x = conv_bn_act(x, half, 1, 1, _STYLE, activation, name=f"{name}_1")
    x = _depthwise(x, strides, name=f"{name}_2_depthwise")
    x = conv_bn_act(x, half, 1, 1, _STYLE, activation, name=f"{name}_3")
    return _interleave(around, x, name=f"{name}_shuffle")


def _depthwise(x: keras.KerasTensor, strides: int, name: str) -> keras.KerasTensor:
    return bn_act(depthwise_conv(x, 3, strides, _STYLE, name), _STYLE, None, name)


def _crop(x: keras.KerasTensor, first: int, last: int, name: str) -> keras.KerasTensor:
    """Leave out the first and the last channels."""
    # "channels_first" makes the last two axes the cropped ones: here width, by nothing, and channels.
    return layers.Cropping2D(((0, 0), (first, last)), data_format="channels_first", name=name)(x)


def _interleave(a: keras.KerasTensor, b: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Take channels of `a` and `b` in turn."""
    _, height, width, channels = a.shape
    x = layers.Concatenate(name=f"{name}_concat")([a, b])
    # Rows and columns as one axis: delegates and microcontrollers transpose no more than four axes.
    x = layers.Reshape((height * width, 2, channels), name=f"{name}_split")(x)
    x = layers.Permute((1, 3, 2), name=f"{name}_turn")(x)
    return layers.Reshape((height, width, 2 * channels), name=f"{name}_join")(x)


shufflenet_v2 = variant(_shufflenet, _UNITS, "shufflenet_v2", "Build ShuffleNetV2, width 0.5 to 2.0.")
