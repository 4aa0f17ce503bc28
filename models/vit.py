"""Vision transformers: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929; the tiny one is that of DeiT,
Touvron et al. 2020, https://arxiv.org/abs/2012.12877.

The same function as timm's `vit_tiny_patch16_224` with 384 parameters less: a token of zeros goes before the patches,
and one projection adds a bias of its own to every token. That bias holds the positions, the class token, and the bias
of timm's convolution, which timm adds to positions that are learned anyway.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers

from ._arguments import fixed_image_shape, whole_number
from ._encoder import EncoderBlock
from ._ends import Head, is_small, open_image
from ._variants import variant


class Plan(NamedTuple):
    """Width of a token, number of blocks, heads of each block's attention."""

    units: int
    depth: int
    heads: int


_PATCH, _SMALL_PATCH = 16, 4
_MLP_RATIO = 4
_EPSILON = 1e-6


def _vit(
    plan: Plan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "vit",
    *,
    patch_size: int | None = None,
    dropout: float = 0.0,
    activation: str = "gelu",
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Every patch of the image is a token of its own, and the class token before them is classified. Height and width
    must be known, since every patch has a position of its own; default `(224, 224, 3)`. What is left over where the
    patches do not divide a side is cut off, half of it at either end. Without the classifier the model gives the
    patches' tokens as a feature map of one pixel a patch.

    Args:
        {image arguments}
        patch_size: pixels a side of a patch. Default: 16, and 4 for images whose shorter side has up to 64 pixels.

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import vit_tiny
        >>> vit_tiny(include_top=False, input_shape=(32, 32, 3)).output_shape
        (None, 8, 8, 192)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    smallest = _SMALL_PATCH if patch_size is None else whole_number("patch_size", patch_size)
    shape = fixed_image_shape(input_shape, default=(224, 224, 3), minimum=smallest)
    patch = _PATCH if patch_size is None and not is_small(shape) else smallest
    rows, columns = shape[0] // patch, shape[1] // patch
    inputs, x = open_image(shape, pixel_scaling)
    x = _embed(_patches(x, patch), plan.units)
    for number in range(1, plan.depth + 1):
        hidden = _MLP_RATIO * plan.units
        x = EncoderBlock(plan.units, plan.heads, hidden, activation, f"block{number}", epsilon=_EPSILON).apply(x)
    x = layers.LayerNormalization(epsilon=_EPSILON, name="final_norm")(x)
    if include_top:
        x = layers.Cropping1D((0, rows * columns), name="class_token")(x)
        return head.build(inputs, layers.Flatten(name="flatten")(x))
    x = layers.Cropping1D((1, 0), name="patch_tokens")(x)
    x = layers.Reshape((rows, columns, plan.units), name="feature_map")(x)
    return head.build(inputs, head.pool(x))


def _patches(x: keras.KerasTensor, patch: int) -> keras.KerasTensor:
    """Cut an image into `(batch, patches, pixels * channels)`, in the order of a convolution's kernel."""
    _, height, width, channels = x.shape
    rest = [(side % patch // 2, side % patch - side % patch // 2) for side in (height, width)]
    if any(map(sum, rest)):
        x = layers.Cropping2D(rest, name="crop")(x)
    rows, columns = height // patch, width // patch
    x = layers.Reshape((rows, patch, columns, patch * channels), name="patch_rows")(x)
    x = layers.Permute((1, 3, 2, 4), name="patch_columns")(x)
    return layers.Reshape((rows * columns, patch * patch * channels), name="patches")(x)


def _embed(x: keras.KerasTensor, units: int) -> keras.KerasTensor:
    """Project the patches, behind a class token, and add positions: `(batch, 1 + patches, units)`."""
    x = layers.ZeroPadding1D((1, 0), name="class_token_place")(x)
    project = layers.EinsumDense(
        "bsf,fu->bsu",
        output_shape=(x.shape[1], units),
        bias_axes="su",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name="projection_and_position",
    )
    return project(x)


vit_tiny = variant(
    _vit, Plan(192, 12, 3), "vit_tiny", "Build the tiny vision transformer: 12 blocks of 192 units and 3 heads."
)
