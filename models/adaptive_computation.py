"""A recurrent network that decides for every step of a sequence how often to think it over.

Adaptive computation time: Graves 2016, https://arxiv.org/abs/1603.08983. Halting of each place by itself, with weights
that all passes share: Dehghani et al. 2018, https://arxiv.org/abs/1807.03819.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import sequence_shape, whole_number
from ._ends import Head, open_sequence


def adaptive_lstm(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 6,
    classifier_activation: str | None = "softmax",
    name: str = "adaptive_lstm",
    *,
    units: int = 64,
    max_ponder_steps: int = 4,
    ponder_cost: float = 0.01,
    dropout: float = 0.0,
) -> keras.Model:
    """Build an LSTM that goes over the sequence several times, as often as each of its steps needs.

    All passes share one LSTM, called "lstm", which reads the embedded input plus what the pass before it made of every
    step. After each pass the unit "halting" gives, for every step, the share of the answer that this pass is to have;
    once the shares reach 1, later passes have none, and the last one has what is left. What is classified is the mean
    over all steps of the passes' states, weighted by these shares.

    It differs from Graves's model in three ways. There, a step is thought over before the next one is read, and what
    goes on in time is the weighted state; here, a pass goes through all steps, and each has states of its own. There,
    the cost is the number of passes and the remainder; here, it is the mean number of passes in the sense of the
    shares, the sum over the passes of number times share, which has a gradient for every pass. And the number of passes
    is bounded, in a graph that always computes all of them: pondering shows how much work the steps need, and a model
    with fewer passes then does it, but no pass is skipped on the device.

    The first layer is a `Normalization` called "normalization" over the features. Adapt it to the training data before
    the first training step; until then it passes its input on unchanged. The layers "remainder1", "remainder2", … give
    the shares that are left after each pass, `(batch, steps, 1)`: 1 plus their sum is the mean number of passes.

    Args:
        include_top: classify.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(steps, features)`, default `(128, 9)`, both known.
        pooling: only with `include_top=False`: None gives every step's features, `"avg"` or `"max"` that over the
            steps.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        units: width of the LSTM.
        max_ponder_steps: passes.
        ponder_cost: what a pass more on every step adds to the loss.
        dropout: share of units dropped in training, before the passes and before the classifier.

    Returns:
        A functional model that takes `(batch, steps, features)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import adaptive_lstm
        >>> adaptive_lstm(input_shape=(8, 8), classes=10).output_shape
        (None, 10)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    units, passes = whole_number("units", units), whole_number("max_ponder_steps", max_ponder_steps)
    if not ponder_cost >= 0:
        raise ValueError(f"`ponder_cost` must be 0 or more. Received: ponder_cost={ponder_cost!r}. Give 0.01 or so.")
    shape = sequence_shape(input_shape, default=(128, 9), fixed_steps=True)
    steps = shape[0]
    assert steps is not None  # fixed_steps makes sure of it
    inputs, x = open_sequence(shape)
    embedded = layers.Dense(units, name="embedding")(x)
    if dropout > 0:
        embedded = layers.Dropout(dropout, name="embedding_dropout")(embedded)
    lstm = layers.LSTM(units, return_sequences=True, name="lstm")
    # At first every pass gets a share: what has none gets no gradient either.
    first = keras.initializers.Constant(-1.0)
    halting = layers.Dense(1, activation="sigmoid", bias_initializer=first, name="halting")
    states = lstm(embedded)
    weighted, remainder = [], None
    for number in range(1, passes + 1):
        if number > 1:
            states = lstm(layers.Add(name=f"read{number}")([embedded, states]))
        if number == passes:
            share = remainder
        elif remainder is None:
            share = halting(states)
            remainder = layers.Rescaling(-1.0, 1.0, name="unspent1")(share)
        else:
            share = layers.Minimum(name=f"share{number}")([halting(states), remainder])
            remainder = layers.Subtract(name=f"unspent{number}")([remainder, share])
        if number < passes:
            # Keras sums over a sample's steps and takes the mean over the batch.
            remainder = layers.ActivityRegularization(l1=ponder_cost / steps, name=f"remainder{number}")(remainder)
        weighted.append(states if share is None else layers.Multiply(name=f"weighted{number}")([states, share]))
    x = weighted[0] if passes == 1 else layers.Add(name="pondered")(weighted)
    return head.build(inputs, head.pool(x))
