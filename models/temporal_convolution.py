"""Temporal convolutional network over a sequence: Bai et al. 2018, https://arxiv.org/abs/1803.01271.

Batch normalisation stands in for the paper's weight normalisation, which stock Keras lacks: on a device it costs
nothing, since converters fold it into the convolution.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import sequence_shape, whole_number
from ._blocks import ConvStyle, activate, bn_act
from ._ends import Head, open_sequence

_STYLE = ConvStyle()


def tcn(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 6,
    classifier_activation: str | None = "softmax",
    name: str = "tcn",
    *,
    units: int = 64,
    depth: int = 5,
    kernel_size: int = 3,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """Build residual blocks of dilated causal convolutions whose last step is classified.

    The first layer is a `Normalization` called "normalization" over the features. Adapt it to the training data
    before the first training step; until then it passes its input on unchanged. Block number n has two convolutions
    of dilation 2^(n - 1), so that the last step sees 1 + 2 (kernel_size - 1) (2^depth - 1) steps, 125 by default.

    Args:
        include_top: classify the last step.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(steps, features)`, default `(128, 9)`, both known.
        pooling: only with `include_top=False`: None gives every step `(batch, steps, units)`, `"last"` the last one,
            `"avg"` or `"max"` that over the steps, each `(batch, units)`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        units: filters of every convolution.
        depth: number of blocks.
        kernel_size: steps that a convolution looks at.
        dropout: share of filters dropped in training after each convolution, for all steps alike, and of units before
            the classifier.
        activation: a Keras activation by name.

    Returns:
        A functional model that takes `(batch, steps, features)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import tcn
        >>> tcn(input_shape=(8, 8), classes=10).output_shape
        (None, 10)
    """
    poolings = ("last", "avg", "max")
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout, poolings)
    units, depth = whole_number("units", units), whole_number("depth", depth)
    kernel_size = whole_number("kernel_size", kernel_size)
    steps, features = sequence_shape(input_shape, default=(128, 9), fixed_steps=True)
    assert steps is not None
    inputs, x = open_sequence((steps, features))
    for number in range(1, depth + 1):
        x = _block(x, units, kernel_size, 2 ** (number - 1), dropout, activation, name=f"block{number}")
    if include_top or pooling == "last":
        x = layers.Cropping1D((steps - 1, 0), name="last_step")(x)
        x = layers.Flatten(name="last")(x)
    else:
        x = head.pool(x)
    return head.build(inputs, x)


def _block(
    x: keras.KerasTensor, units: int, kernel_size: int, dilation: int, dropout: float, activation: str, name: str
) -> keras.KerasTensor:
    """Convolve twice and add what came in, by a 1x1 convolution where its width differs."""
    shortcut = x if x.shape[-1] == units else layers.Conv1D(units, 1, name=f"{name}_shortcut")(x)
    for number in (1, 2):
        x = layers.Conv1D(
            units,
            kernel_size,
            padding="causal",
            dilation_rate=dilation,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{name}_{number}_conv",
        )(x)
        x = bn_act(x, _STYLE, activation, f"{name}_{number}")
        if dropout > 0:
            x = layers.SpatialDropout1D(dropout, name=f"{name}_{number}_dropout")(x)
    return activate(layers.Add(name=f"{name}_add")([x, shortcut]), activation, f"{name}_act")
