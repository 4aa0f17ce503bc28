"""Residual stages: every kind of block as one function with its differences as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import keras
from keras import layers

from ._blocks import ConvStyle, activate, bn_act, conv, max_pool, squeeze_excite
from ._ends import is_small

_PYTORCH = ConvStyle()


Shortcut = Literal["projection", "plain_projection", "padding"]


class Stage(NamedTuple):
    """Blocks of one resolution.

    Attributes:
        filters: channels that leave a block.
        blocks: how many.
        strides: of the first block; the others keep the resolution.
    """

    filters: int
    blocks: int
    strides: int


@dataclass(frozen=True, slots=True)
class ResidualPlan:
    """What tells one residual network from another.

    Attributes:
        stages: from the highest resolution to the lowest.
        style: of every convolution.
        stem_filters: of the first convolution.
        bottleneck: None for blocks of two 3x3 convolutions; else a block is 1x1, 3x3 (with the strides, "v1.5") and
            1x1, and this is the share of the outgoing channels that the 3x3 convolution has.
        groups: of the 3x3 convolution of a bottleneck, its cardinality (Xie et al. 2016).
        preactivation: normalise and activate before each convolution (He et al. 2016), not after.
        shortcut: where a block changes the shape: a 1x1 convolution with normalisation, one without
            (`"plain_projection"`), or every second pixel with zeros in the new channels (`"padding"`, the paper's
            option A, without weights).
        reduction: of the squeeze-and-excitation at the end of each block; None for none.
        small_stem: always start with a 3x3 convolution, as for CIFAR; else only for images of up to 64 pixels.
    """

    stages: tuple[Stage, ...]
    style: ConvStyle = _PYTORCH
    stem_filters: int = 64
    bottleneck: float | None = None
    groups: int = 1
    preactivation: bool = False
    shortcut: Shortcut = "projection"
    reduction: int | None = None
    small_stem: bool = False

    @property
    def total_stride(self) -> int:
        """By how much the stages alone divide the resolution."""
        total = 1
        for stage in self.stages:
            total *= stage.strides
        return total


def stem(
    x: keras.KerasTensor, shape: tuple[int | None, int | None, int], plan: ResidualPlan, activation: str
) -> keras.KerasTensor:
    """Convolve pixels for the first time: 3x3 for small images, else 7x7 and 3x3 max-pooling, each of stride 2."""
    small = plan.small_stem or is_small(shape)
    x = conv(x, plan.stem_filters, 3 if small else 7, 1 if small else 2, plan.style, name="stem")
    if not plan.preactivation:
        x = bn_act(x, plan.style, activation, name="stem")
    if not small:
        x = max_pool(x, name="stem_pool")
    return x


def stages(x: keras.KerasTensor, plan: ResidualPlan, activation: str) -> Iterator[keras.KerasTensor]:
    """Build all blocks and yield what leaves each stage; the last one is normalised if the blocks are not."""
    for number, stage in enumerate(plan.stages, start=1):
        for block in range(stage.blocks):
            strides = stage.strides if block == 0 else 1
            x = _block(x, stage.filters, strides, plan, activation, name=f"stage{number}_block{block + 1}")
        if plan.preactivation and number == len(plan.stages):
            x = bn_act(x, plan.style, activation, name="final")
        yield x


def _block(
    x: keras.KerasTensor, filters: int, strides: int, plan: ResidualPlan, activation: str, name: str
) -> keras.KerasTensor:
    """Add convolutions to a shortcut, which changes the shape where they do."""
    shortcut = x
    if plan.preactivation:
        x = bn_act(x, plan.style, activation, name=f"{name}_1")
    if strides != 1 or x.shape[-1] != filters:
        # A projection of the activated values, where they are activated already.
        shortcut = _shortcut(x, filters, strides, plan, name=f"{name}_shortcut")
    if plan.bottleneck is None:
        convolutions = [(filters, 3, strides, 1), (filters, 3, 1, 1)]
    else:
        inner = round(filters * plan.bottleneck)
        convolutions = [(inner, 1, 1, 1), (inner, 3, strides, plan.groups), (filters, 1, 1, 1)]
    for number, (channels, size, step, groups) in enumerate(convolutions, start=1):
        if plan.preactivation and number > 1:
            x = bn_act(x, plan.style, activation, name=f"{name}_{number}")
        x = conv(x, channels, size, step, plan.style, name=f"{name}_{number}", groups=groups)
        if not plan.preactivation:
            last = number == len(convolutions)
            x = bn_act(x, plan.style, None if last else activation, name=f"{name}_{number}")
    if plan.reduction is not None:
        x = squeeze_excite(x, filters // plan.reduction, "relu", "sigmoid", name=f"{name}_se")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x if plan.preactivation else activate(x, activation, name=f"{name}_act")


def _shortcut(x: keras.KerasTensor, filters: int, strides: int, plan: ResidualPlan, name: str) -> keras.KerasTensor:
    if plan.shortcut == "padding":
        if strides != 1:
            x = layers.AveragePooling2D(1, strides=strides, name=f"{name}_pool")(x)
        added = filters - x.shape[-1]
        # "channels_first" makes the last two axes the padded ones: here width, by nothing, and channels.
        pad = layers.ZeroPadding2D(
            ((0, 0), (added // 2, added - added // 2)), data_format="channels_first", name=f"{name}_pad"
        )
        return pad(x)
    x = conv(x, filters, 1, strides, plan.style, name=name)
    if plan.preactivation or plan.shortcut == "plain_projection":
        return x
    return bn_act(x, plan.style, None, name=name)
