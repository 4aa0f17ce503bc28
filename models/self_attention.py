"""Self-attention over a sequence: the encoder of Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.

Normalisation before each sublayer (https://arxiv.org/abs/2002.04745) trains without warm-up. For text, tokens have
vectors narrower than a step and one block's weights may serve at every depth, both as in ALBERT (Lan et al. 2019,
https://arxiv.org/abs/1909.11942).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from ._arguments import sequence_shape, text_shape, vocabulary, whole_number
from ._encoder import EncoderBlock
from ._ends import Head, open_sequence, open_text
from ._variants import variant

_EPSILON = 1e-6
_LONGEST_WAVE = 10_000


@dataclass(frozen=True, slots=True)
class _EncoderPlan:
    """What tells the encoders apart beside their arguments' defaults.

    Attributes:
        mlp_ratio: width of the perceptron between its two layers, in widths of a step.
    """

    mlp_ratio: int


def _encoder(
    plan: _EncoderPlan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 6,
    classifier_activation: str | None = "softmax",
    name: str = "encoder",
    *,
    units: int = 64,
    depth: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    activation: str = "relu",
    positions: str = "learned",
    share_layers: bool = False,
    vocabulary_size: int | None = None,
) -> keras.Model:
    """For measurements the first layer is a `Normalization` called "normalization" over the features. Adapt it to the
    training data before the first training step; until then it passes its input on unchanged. For text
    (`vocabulary_size`) an `Embedding` stands in its place, and padding is neither attended to nor averaged: a text has
    the same answers at every length that holds it, as long as its positions have the same vectors. Then every step is
    projected to `units` and gets its position added, and `depth` times self-attention and a two-layer perceptron
    follow. The average over the steps is classified.

    `input_shape` is by default `(128, 9)`, for text `(64,)`; steps must be known, since every step has a position of
    its own. For text `pooling` is not `"max"`, which would see the padding. `dropout` is behind each sublayer and
    before the classifier.

    Args:
        {sequence arguments}
        units: width of every step, a multiple of `heads`.
        depth: number of blocks.
        heads: attention heads of each block.
        activation: the perceptron's, a Keras activation by name.
        positions: `"learned"`, or `"sinusoidal"`: the waves of the paper, without weights.
        share_layers: one block's weights at every depth.
        vocabulary_size: take `(batch, steps)` int32 token ids below this number, 0 the padding behind a text's end.

    Returns:
        A functional model that takes `(batch, steps, features)`, or `(batch, steps)` token ids.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import attention, text_transformer
        >>> attention(input_shape=(8, 8), classes=10).output_shape
        (None, 10)
        >>> text_transformer(vocabulary_size=2000, share_layers=True).input_shape
        (None, 64)
    """
    poolings = ("avg", "max") if vocabulary_size is None else ("avg",)
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout, poolings)
    units, depth, heads = whole_number("units", units), whole_number("depth", depth), whole_number("heads", heads)
    if units % heads:
        raise ValueError(
            f"`units` must be a multiple of `heads`. Received: units={units}, heads={heads}. "
            f"Take for example units={heads * max(1, units // heads)}."
        )
    if vocabulary_size is None:
        inputs, x = open_sequence(sequence_shape(input_shape, default=(128, 9), fixed_steps=True))
        mask = attended = None
    else:
        length = text_shape(input_shape, default=64, fixed_steps=True)
        inputs, x, mask = open_text(length, vocabulary(vocabulary_size), max(1, units // 2))
        attended = layers.Reshape((1, length), name="attended")(mask)
    x = _positioned(x, units, positions)
    block = None
    for number in range(1, depth + 1):
        if block is None or not share_layers:
            block = EncoderBlock(
                units, heads, plan.mlp_ratio * units, activation, name=f"block{number}", dropout=dropout
            )
        x = block.apply(x, attended, name=f"block{number}")
    x = layers.LayerNormalization(epsilon=_EPSILON, name="final_norm")(x)
    return head.build(inputs, head.pool(x, mask=mask))


def _positioned(x: keras.KerasTensor, units: int, positions: str) -> keras.KerasTensor:
    """Project `(batch, steps, features)` to `(batch, steps, units)` and add what tells one step from another."""
    steps = x.shape[1]
    if positions == "learned":
        # Both in one stock layer: its bias has an entry for every step and unit.
        return layers.EinsumDense(
            "bsf,fu->bsu",
            output_shape=(steps, units),
            bias_axes="su",
            bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="projection_and_position",
        )(x)
    if positions != "sinusoidal":
        raise ValueError(
            f"`positions` must be 'learned' or 'sinusoidal'. Received: positions={positions!r}. "
            "Leave it out for learned ones."
        )
    x = layers.Dense(units, name="projection")(x)
    return layers.Rescaling(1.0, offset=_waves(steps, units), name="position")(x)


def _waves(steps: int, units: int) -> list[list[float]]:
    """Give section 3.5's sines (even units) and cosines (odd units), as numbers that a layer's configuration holds."""
    waves = [(_LONGEST_WAVE ** (unit // 2 * -2 / units), math.cos if unit % 2 else math.sin) for unit in range(units)]
    return [[round(wave(step * frequency), 6) for frequency, wave in waves] for step in range(steps)]


attention = variant(
    _encoder, _EncoderPlan(mlp_ratio=2), "attention", "Build a small encoder of two blocks of self-attention."
)
transformer_tiny = variant(
    _encoder,
    _EncoderPlan(mlp_ratio=4),
    "transformer_tiny",
    "Build a transformer encoder of four blocks, 64 units wide.",
    depth=4,
)
transformer_small = variant(
    _encoder,
    _EncoderPlan(mlp_ratio=4),
    "transformer_small",
    "Build a transformer encoder of six blocks, 128 units wide.",
    units=128,
    depth=6,
)
text_transformer = variant(
    _encoder,
    _EncoderPlan(mlp_ratio=4),
    "text_transformer",
    "Build a transformer encoder over the tokens of a text.",
    classes=2,
    vocabulary_size=8192,
)
