"""MobileViT: inverted residuals with transformers in between, Mehta and Rastegari 2021,
https://arxiv.org/abs/2110.02178.

Strided convolutions pad both sides alike, as in the reference (https://github.com/apple/ml-cvnets) and in timm.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers

from ._arguments import fixed_image_shape
from ._blocks import ConvStyle, conv, conv_bn_act
from ._encoder import EncoderBlock
from ._ends import Head, is_small, open_image
from ._mobile import inverted_residual, stage_strides
from ._variants import variant


class Stage(NamedTuple):
    """Inverted residuals, the first of these strides, then a transformer where `units` are given."""

    channels: int
    blocks: int
    strides: int
    units: int = 0
    depth: int = 0


class Plan(NamedTuple):
    """Channels of the stem and of the last convolution, and the stages between; the paper's table 4."""

    stem_channels: int
    stages: tuple[Stage, ...]
    last_channels: int
    expansion: int


_XXS = Plan(
    16,
    (
        Stage(16, 1, 1),
        Stage(24, 3, 2),
        Stage(48, 1, 2, units=64, depth=2),
        Stage(64, 1, 2, units=80, depth=4),
        Stage(80, 1, 2, units=96, depth=3),
    ),
    last_channels=320,
    expansion=2,
)
_PATCH = 2
_HEADS = 4
_MLP_RATIO = 2
_EPSILON = 1e-5
_STYLE = ConvStyle()


def _mobilevit(
    plan: Plan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "mobilevit",
    *,
    dropout: float = 0.0,
    activation: str = "silu",
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Above 64 pixels on the shorter side the network divides the resolution by 32, as in the paper. Up to 64 pixels
    the stem and the first stage that would downsample keep the resolution, as is usual for CIFAR, and the network
    divides by 8. The weights are the same either way. Height and width must be known; default `(256, 256, 3)`. Where
    the transformers' patches of 2x2 pixels do not divide a feature map, it is resized to the next size up and back, as
    in the reference.

    Args:
        {image arguments}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import mobilevit_xxs
        >>> mobilevit_xxs(include_top=False, input_shape=(64, 64, 3)).output_shape
        (None, 8, 8, 320)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    shape = fixed_image_shape(input_shape, default=(256, 256, 3), minimum=8)
    small = is_small(shape)
    inputs, x = open_image(shape, pixel_scaling)
    x = conv_bn_act(x, plan.stem_channels, 3, 1 if small else 2, _STYLE, activation, name="stem")
    all_strides = stage_strides((stage.strides for stage in plan.stages), small)
    for number, (stage, strides) in enumerate(zip(plan.stages, all_strides, strict=True), start=1):
        for block in range(stage.blocks):
            x = inverted_residual(
                x,
                stage.channels,
                plan.expansion,
                3,
                strides if block == 0 else 1,
                _STYLE,
                activation,
                name=f"stage{number}_block{block + 1}",
            )
        if stage.units:
            x = _transformer(x, stage, activation, name=f"stage{number}_vit")
    x = conv_bn_act(x, plan.last_channels, 1, 1, _STYLE, activation, name="last")
    return head.build(inputs, head.pool(x))


def _transformer(x: keras.KerasTensor, stage: Stage, activation: str, name: str) -> keras.KerasTensor:
    """Look at each pixel's surroundings by a convolution, then at the pixels of the same place in all patches."""
    incoming, (height, width) = x, x.shape[1:3]
    x = conv_bn_act(x, stage.channels, 3, 1, _STYLE, activation, name=f"{name}_local")
    x = conv(x, stage.units, 1, 1, _STYLE, name=f"{name}_widen")
    rows, columns = (-(-side // _PATCH) for side in (height, width))
    even = (rows * _PATCH, columns * _PATCH)
    if even != (height, width):
        x = layers.Resizing(*even, name=f"{name}_enlarge")(x)
    x = _unfold(x, rows, columns, name=f"{name}_unfold")
    for number in range(1, stage.depth + 1):
        hidden, block = _MLP_RATIO * stage.units, f"{name}_block{number}"
        x = EncoderBlock(stage.units, _HEADS, hidden, activation, block, epsilon=_EPSILON, axis=2).apply(x)
    x = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm")(x)
    x = _fold(x, rows, columns, name=f"{name}_fold")
    if even != (height, width):
        x = layers.Resizing(height, width, name=f"{name}_reduce")(x)
    x = conv_bn_act(x, stage.channels, 1, 1, _STYLE, activation, name=f"{name}_narrow")
    x = layers.Concatenate(name=f"{name}_concatenate")([incoming, x])
    return conv_bn_act(x, stage.channels, 3, 1, _STYLE, activation, name=f"{name}_fuse")


def _unfold(x: keras.KerasTensor, rows: int, columns: int, name: str) -> keras.KerasTensor:
    """Sort pixels by their place in their patch: `(batch, places, patches, units)`.

    Two permutations of at most five axes, which devices have, in place of one of six.
    """
    units = x.shape[-1]
    x = layers.Reshape((rows, _PATCH, columns * _PATCH * units), name=f"{name}_rows")(x)
    x = layers.Permute((2, 1, 3), name=f"{name}_by_row")(x)
    x = layers.Reshape((_PATCH, rows * columns, _PATCH, units), name=f"{name}_columns")(x)
    x = layers.Permute((1, 3, 2, 4), name=f"{name}_by_column")(x)
    return layers.Reshape((_PATCH * _PATCH, rows * columns, units), name=f"{name}_places")(x)


def _fold(x: keras.KerasTensor, rows: int, columns: int, name: str) -> keras.KerasTensor:
    """Undo `_unfold`: `(batch, height, width, units)`."""
    units = x.shape[-1]
    x = layers.Reshape((_PATCH, _PATCH, rows * columns, units), name=f"{name}_places")(x)
    x = layers.Permute((1, 3, 2, 4), name=f"{name}_by_column")(x)
    x = layers.Reshape((_PATCH, rows, columns * _PATCH * units), name=f"{name}_columns")(x)
    x = layers.Permute((2, 1, 3), name=f"{name}_by_row")(x)
    return layers.Reshape((rows * _PATCH, columns * _PATCH, units), name=f"{name}_rows")(x)


mobilevit_xxs = variant(
    _mobilevit, _XXS, "mobilevit_xxs", "Build MobileViT-XXS: three transformers of 64, 80 and 96 units."
)
