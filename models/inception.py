"""Inception networks: modules of parallel branches of convolutions.

- GoogLeNet: Szegedy et al. 2014, https://arxiv.org/abs/1409.4842, table 1, without the auxiliary classifiers. Its 5x5
  convolutions are 5x5, where torchvision's are 3x3; as there, batch normalisation stands in place of biases and of
  local response normalisation.
- Inception v3: Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, without the auxiliary classifier, layer for layer
  keras.applications', so that weights carried over give the same outputs on inputs of more than 74 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import keras
from keras import layers

from ._arguments import image_shape
from ._blocks import ConvStyle, conv_bn_act, max_pool_over_the_edge
from ._ends import SMALL_INPUT, Head, is_small, open_image
from ._variants import variant


class _Conv(NamedTuple):
    """A convolution with normalisation and activation; one with strides does not pad."""

    filters: int
    size: int | tuple[int, int] = 1
    strides: int = 1


class _Fork(NamedTuple):
    """The end of a branch in two convolutions side by side."""

    first: _Conv
    second: _Conv


class _Module(NamedTuple):
    """Branches whose outputs are concatenated.

    Attributes:
        branches: each a chain of convolutions.
        pooled: filters of the convolution behind the pooling, which is a further branch; None in a module that halves
            the resolution, where this pooling is a maximum at every second pixel and no convolution follows it.
    """

    branches: tuple[tuple[_Conv | _Fork, ...], ...]
    pooled: int | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What tells one network from another.

    Attributes:
        stem: the layers before the modules, a function of pixels, whether they are few, style and activation.
        modules: in their order; None for max-pooling that halves the resolution.
        style: of every convolution.
        average: whether the pooling in modules that keep the resolution is an average, not a maximum.
        side: of the default input.
        small: pixels up to which the stem keeps more of the resolution.
    """

    stem: Callable[[keras.KerasTensor, bool, ConvStyle, str], keras.KerasTensor]
    modules: tuple[_Module | None, ...]
    style: ConvStyle
    average: bool
    side: int
    small: int


def _inception(
    plan: _Plan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "inception",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Default input: `(224, 224, 3)` for GoogLeNet, `(299, 299, 3)` for Inception v3; 1,000 classes.

    Above 64 pixels on the shorter side, for Inception v3 above 74, or where it is unknown, the network is the paper's
    and divides the resolution by 32. On smaller images, of at least 8x8, GoogLeNet's first convolution is 3x3 of stride
    1 and no pooling follows it, so that it divides by 8; the two stems' weights do not fit each other. Inception v3's
    stem then keeps the resolution, with the same weights, so that it divides by 4.

    Args:
        {image arguments}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import googlenet
        >>> googlenet(input_shape=(32, 32, 3), include_top=False).output_shape
        (None, 4, 4, 1024)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    shape = image_shape(input_shape, default=(plan.side, plan.side, 3), minimum=8)
    inputs, x = open_image(shape, pixel_scaling)
    x = plan.stem(x, is_small(shape, plan.small), plan.style, activation)
    for number, module in enumerate(plan.modules, start=1):
        if module is None:
            x = max_pool_over_the_edge(x, name=f"module{number}_pool")
        else:
            x = _module(x, module, plan, activation, name=f"module{number}")
    return head.build(inputs, head.pool(x))


def _module(x: keras.KerasTensor, module: _Module, plan: _Plan, activation: str, name: str) -> keras.KerasTensor:
    ends = []
    for number, branch in enumerate(module.branches, start=1):
        ends += _branch(x, branch, plan.style, activation, name=f"{name}_branch{number}")
    if module.pooled is None:
        pooled = layers.MaxPooling2D(3, strides=2, name=f"{name}_pool")(x)
    else:
        pooling = layers.AveragePooling2D if plan.average else layers.MaxPooling2D
        pooled = pooling(3, strides=1, padding="same", name=f"{name}_pool")(x)
        pooled = conv_bn_act(pooled, module.pooled, 1, 1, plan.style, activation, name=f"{name}_pooled")
    return layers.Concatenate(name=f"{name}_concat")([*ends, pooled])


def _branch(
    x: keras.KerasTensor, branch: tuple[_Conv | _Fork, ...], style: ConvStyle, activation: str, name: str
) -> list[keras.KerasTensor]:
    """Build a chain of convolutions; gives its one end, or the two of a fork."""
    unpadded = replace(style, padded=False)
    ends, number = [x], 0
    for part in branch:
        sides, x, ends = part if isinstance(part, _Fork) else (part,), ends[0], []
        for each in sides:
            number += 1
            chosen = style if each.strides == 1 else unpadded
            ends.append(conv_bn_act(x, each.filters, each.size, each.strides, chosen, activation, f"{name}_{number}"))
    return ends


def _googlenet_stem(x: keras.KerasTensor, small: bool, style: ConvStyle, activation: str) -> keras.KerasTensor:
    x = conv_bn_act(x, 64, 3 if small else 7, 1 if small else 2, style, activation, name="stem1")
    if not small:
        x = max_pool_over_the_edge(x, name="stem1_pool")
    x = conv_bn_act(x, 64, 1, 1, style, activation, name="stem2")
    x = conv_bn_act(x, 192, 3, 1, style, activation, name="stem3")
    return max_pool_over_the_edge(x, name="stem3_pool")


def _inception_v3_stem(x: keras.KerasTensor, small: bool, style: ConvStyle, activation: str) -> keras.KerasTensor:
    unpadded = style if small else replace(style, padded=False)
    x = conv_bn_act(x, 32, 3, 1 if small else 2, unpadded, activation, name="stem1")
    x = conv_bn_act(x, 32, 3, 1, unpadded, activation, name="stem2")
    x = conv_bn_act(x, 64, 3, 1, style, activation, name="stem3")
    if not small:
        x = layers.MaxPooling2D(3, strides=2, name="stem3_pool")(x)
    x = conv_bn_act(x, 80, 1, 1, unpadded, activation, name="stem4")
    x = conv_bn_act(x, 192, 3, 1, unpadded, activation, name="stem5")
    return x if small else layers.MaxPooling2D(3, strides=2, name="stem5_pool")(x)


def _row(ones: int, reduce3: int, threes: int, reduce5: int, fives: int, pooled: int) -> _Module:
    """Give the module of a row of GoogLeNet's table 1."""
    return _Module(((_Conv(ones),), (_Conv(reduce3), _Conv(threes, 3)), (_Conv(reduce5), _Conv(fives, 5))), pooled)


def _figure5(pooled: int) -> _Module:
    return _Module(
        ((_Conv(64),), (_Conv(48), _Conv(64, 5)), (_Conv(64), _Conv(96, 3), _Conv(96, 3))),
        pooled,
    )


def _figure6(inner: int) -> _Module:
    wide, high = (1, 7), (7, 1)
    return _Module(
        (
            (_Conv(192),),
            (_Conv(inner), _Conv(inner, wide), _Conv(192, high)),
            (_Conv(inner), _Conv(inner, high), _Conv(inner, wide), _Conv(inner, high), _Conv(192, wide)),
        ),
        192,
    )


_FORK = _Fork(_Conv(384, (1, 3)), _Conv(384, (3, 1)))
_FIGURE7 = _Module(((_Conv(320),), (_Conv(384), _FORK), (_Conv(448), _Conv(384, 3), _FORK)), 192)
_TO_FIGURE6 = _Module(((_Conv(384, 3, 2),), (_Conv(64), _Conv(96, 3), _Conv(96, 3, 2))), None)
_TO_FIGURE7 = _Module(
    (
        (_Conv(192), _Conv(320, 3, 2)),
        (_Conv(192), _Conv(192, (1, 7)), _Conv(192, (7, 1)), _Conv(192, 3, 2)),
    ),
    None,
)

_GOOGLENET = _Plan(
    _googlenet_stem,
    (
        _row(64, 96, 128, 16, 32, 32),
        _row(128, 128, 192, 32, 96, 64),
        None,
        _row(192, 96, 208, 16, 48, 64),
        _row(160, 112, 224, 24, 64, 64),
        _row(128, 128, 256, 24, 64, 64),
        _row(112, 144, 288, 32, 64, 64),
        _row(256, 160, 320, 32, 128, 128),
        None,
        _row(256, 160, 320, 32, 128, 128),
        _row(384, 192, 384, 48, 128, 128),
    ),
    ConvStyle(),
    average=False,
    side=224,
    small=SMALL_INPUT,
)
_INCEPTION_V3 = _Plan(
    _inception_v3_stem,
    (
        *(_figure5(pooled) for pooled in (32, 64, 64)),
        _TO_FIGURE6,
        *(_figure6(inner) for inner in (128, 160, 160, 192)),
        _TO_FIGURE7,
        _FIGURE7,
        _FIGURE7,
    ),
    ConvStyle(symmetric_padding=False, epsilon=1e-3, scale=False),
    average=True,
    side=299,
    small=74,
)

googlenet = variant(_inception, _GOOGLENET, "googlenet", "Build GoogLeNet, Inception v1: nine modules.")
inception_v3 = variant(_inception, _INCEPTION_V3, "inception_v3", "Build Inception v3: eleven modules.")
