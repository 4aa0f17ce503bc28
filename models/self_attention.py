"""Self-attention over a sequence: the encoder of Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.

Learned positions and normalisation before each sublayer (https://arxiv.org/abs/2002.04745), which trains without
warm-up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import sequence_shape, whole_number
from ._encoder import encoder_block
from ._ends import Head, open_sequence

_MLP_RATIO = 2
_EPSILON = 1e-6


def attention(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 6,
    classifier_activation: str | None = "softmax",
    name: str = "attention",
    *,
    units: int = 64,
    depth: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """Build a small transformer encoder whose average over the steps is classified.

    The first layer is a `Normalization` called "normalization" over the features. Adapt it to the training data
    before the first training step; until then it passes its input on unchanged. Then every step is projected to
    `units` and gets its learned position added, and `depth` times self-attention and a two-layer perceptron follow.

    Args:
        include_top: end with average pooling and the classifier.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(steps, features)`, default `(128, 9)`; both known, since every step has a position of its own.
        pooling: only with `include_top=False`: None gives every step `(batch, steps, units)`, `"avg"` or `"max"`
            that over the steps, `(batch, units)`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        units: width of every step, a multiple of `heads`.
        depth: number of blocks.
        heads: attention heads of each block.
        dropout: share of units dropped in training, after each sublayer and before the classifier.
        activation: the perceptron's, a Keras activation by name.

    Returns:
        A functional model that takes `(batch, steps, features)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import attention
        >>> attention(input_shape=(8, 8), classes=10).output_shape
        (None, 10)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    units, depth, heads = whole_number("units", units), whole_number("depth", depth), whole_number("heads", heads)
    if units % heads:
        raise ValueError(
            f"`units` must be a multiple of `heads`. Received: units={units}, heads={heads}. "
            f"Take for example units={heads * max(1, units // heads)}."
        )
    steps, features = sequence_shape(input_shape, default=(128, 9), fixed_steps=True)
    inputs, x = open_sequence((steps, features))
    # Projection and position embedding in one stock layer: its bias has an entry for every step and unit.
    x = layers.EinsumDense(
        "bsf,fu->bsu",
        output_shape=(steps, units),
        bias_axes="su",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name="projection_and_position",
    )(x)
    for number in range(1, depth + 1):
        x = encoder_block(x, heads, _MLP_RATIO * units, activation, name=f"block{number}", dropout=dropout)
    x = layers.LayerNormalization(epsilon=_EPSILON, name="final_norm")(x)
    return head.build(inputs, head.pool(x))
