"""Recurrent networks over sequences of measurements or tokens.

- LSTM: Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735.
- GRU: Cho et al. 2014, https://arxiv.org/abs/1406.1078, with the reset gate behind the recurrent product
  (https://arxiv.org/abs/1412.3555, as cuDNN has it).
- In both directions: Schuster and Paliwal 1997, https://doi.org/10.1109/78.650093.
- Attention pooling: the score of Bahdanau et al. 2014, https://arxiv.org/abs/1409.0473, against a learned vector, as in
  Yang et al. 2016, https://doi.org/10.18653/v1/N16-1174.

The default input is that of the UCI HAR data (128 steps of 9 sensor features, 6 activities).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from ._arguments import sequence_shape, text_shape, vocabulary, whole_number
from ._ends import Head, open_sequence, open_text
from ._variants import variant


@dataclass(frozen=True, slots=True)
class _RecurrentPlan:
    """What tells the recurrent networks apart.

    Attributes:
        cell: `"LSTM"` or `"GRU"`.
        bidirectional: read the sequence in both directions, with weights of its own for each.
        attention: classify a weighted mean of all steps, not the last one.
    """

    cell: str
    bidirectional: bool = False
    attention: bool = False


def _recurrent(
    plan: _RecurrentPlan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 6,
    classifier_activation: str | None = "softmax",
    name: str = "recurrent",
    *,
    units: int = 64,
    depth: int = 2,
    dropout: float = 0.0,
    vocabulary_size: int | None = None,
) -> keras.Model:
    """For measurements the first layer is a `Normalization` called "normalization" over the features. Adapt it to the
    training data before the first training step; until then it passes its input on unchanged. For text
    (`vocabulary_size`) an `Embedding` stands in its place, and the layers skip the padding: a text has the same
    answers at every length that holds it. The recurrent layers keep the standard activations, which the fused kernels
    of processors and phones require.

    `input_shape` is by default `(128, 9)`, for text `(64,)`; steps may be None. `pooling` may be `"last"` too: the
    state after the last step, of the layer in the other direction that after the first. For text it is not `"max"`,
    which would see the padding. `dropout` is between the layers and before the classifier.

    Args:
        {sequence arguments}
        units: width of every layer and direction.
        depth: number of layers.
        vocabulary_size: take `(batch, steps)` int32 token ids below this number, 0 the padding behind a text's end.

    Returns:
        A functional model that takes `(batch, steps, features)`, or `(batch, steps)` token ids.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import bigru, lstm
        >>> lstm(input_shape=(8, 8), classes=10).output_shape
        (None, 10)
        >>> bigru(input_shape=(40,), vocabulary_size=2000, classes=2).input_shape
        (None, 40)
    """
    poolings = ("last", "avg", "max") if vocabulary_size is None else ("last", "avg")
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout, poolings)
    units, depth = whole_number("units", units), whole_number("depth", depth)
    if vocabulary_size is None:
        mask = None
        inputs, x = open_sequence(sequence_shape(input_shape, default=(128, 9), fixed_steps=False))
    else:
        length = text_shape(input_shape, default=64, fixed_steps=False)
        inputs, x, mask = open_text(length, vocabulary(vocabulary_size), units)
    last_step_only = pooling == "last" or (include_top and not plan.attention)
    # Read forwards, no step of a text knows of the padding behind it: where steps are weighed or averaged and not only
    # the last is taken, the layers need no mask, and devices run their fused kernels.
    skipped = mask if last_step_only or plan.bidirectional else None
    for number in range(1, depth + 1):
        if number > 1 and dropout > 0:
            x = layers.Dropout(dropout, name=f"dropout{number - 1}")(x)
        x = _layer(plan, units, number < depth or not last_step_only, number)(x, mask=skipped)
    if plan.attention and include_top:
        x = _attention_pool(x, mask, units)
    elif not last_step_only:
        x = head.pool(x, mask=mask)
    return head.build(inputs, x)


def _layer(plan: _RecurrentPlan, units: int, return_sequences: bool, number: int) -> keras.layers.Layer:
    kind = layers.LSTM if plan.cell == "LSTM" else layers.GRU
    name = f"{plan.cell.lower()}{number}"
    layer = kind(units, return_sequences=return_sequences, name=name)
    return layers.Bidirectional(layer, name=f"bi{name}") if plan.bidirectional else layer


def _attention_pool(x: keras.KerasTensor, mask: keras.KerasTensor | None, units: int) -> keras.KerasTensor:
    """Give the mean of `(batch, steps, units)` over the steps, weighted by softmax(v tanh(W x + b))."""
    score = layers.Dense(units, activation="tanh", name="attention_hidden")(x)
    # A bias would be the same for every step.
    score = layers.Dense(1, use_bias=False, name="attention_score")(score)
    # Steps last: the one axis over which devices have a softmax.
    score = layers.Flatten(name="attention_steps")(score)
    share = layers.Softmax(name="attention_weights")(score, mask=mask)
    return layers.Dot(axes=1, name="attention_pool")([share, x])


lstm = variant(_recurrent, _RecurrentPlan("LSTM"), "lstm", "Build stacked LSTM layers whose last step is classified.")
bilstm = variant(
    _recurrent,
    _RecurrentPlan("LSTM", bidirectional=True),
    "bilstm",
    "Build stacked LSTM layers in both directions whose last states are classified.",
)
gru = variant(_recurrent, _RecurrentPlan("GRU"), "gru", "Build stacked GRU layers whose last step is classified.")
bigru = variant(
    _recurrent,
    _RecurrentPlan("GRU", bidirectional=True),
    "bigru",
    "Build stacked GRU layers in both directions whose last states are classified.",
)
lstm_attention = variant(
    _recurrent,
    _RecurrentPlan("LSTM", attention=True),
    "lstm_attention",
    "Build stacked LSTM layers whose steps are weighed by attention, added up and classified.",
)
