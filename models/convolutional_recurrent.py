"""Convolutions and LSTM in one network over sequences of measurements.

- `cnn_lstm`: convolutions over neighbouring steps, then LSTM layers over what is left of them, as for speech (Sainath
  et al. 2015, https://doi.org/10.1109/ICASSP.2015.7178838) and for sensors (Ordonez and Roggen 2016,
  https://doi.org/10.3390/s16010115).
- `conv_lstm`: an LSTM whose products are convolutions: Shi et al. 2015, https://arxiv.org/abs/1506.04214.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import sequence_shape, whole_number
from ._blocks import ConvStyle, bn_act
from ._ends import Head, open_sequence
from ._variants import variant

_STYLE = ConvStyle()


def _cnn_lstm(
    blocks: int,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 6,
    classifier_activation: str | None = "softmax",
    name: str = "cnn_lstm",
    *,
    units: int = 64,
    depth: int = 1,
    kernel_size: int = 5,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """The first layer is a `Normalization` called "normalization" over the features. Adapt it to the training data
    before the first training step; until then it passes its input on unchanged. Each block is a convolution over the
    steps with batch normalisation, and max-pooling that halves their number. `input_shape` is by default `(128, 9)`;
    steps may be None. `pooling` may be `"last"` too: the state after the last step, which is what is classified.
    `dropout` is before each LSTM layer and before the classifier.

    Args:
        {sequence arguments}
        units: filters of every convolution and width of every LSTM layer.
        depth: number of LSTM layers.
        kernel_size: steps that a convolution sees.
        activation: the convolutions', a Keras activation by name.

    Returns:
        A functional model that takes `(batch, steps, features)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import cnn_lstm
        >>> cnn_lstm(input_shape=(8, 8), classes=10).output_shape
        (None, 10)
    """
    poolings = ("last", "avg", "max")
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout, poolings)
    units, depth = whole_number("units", units), whole_number("depth", depth)
    kernel_size = whole_number("kernel_size", kernel_size)
    inputs, x = open_sequence(sequence_shape(input_shape, default=(128, 9), fixed_steps=False))
    for number in range(1, blocks + 1):
        x = layers.Conv1D(
            units,
            kernel_size,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"block{number}_conv",
        )(x)
        x = bn_act(x, _STYLE, activation, f"block{number}")
        x = layers.MaxPooling1D(2, padding="same", name=f"block{number}_pool")(x)
    last_step_only = include_top or pooling == "last"
    for number in range(1, depth + 1):
        if dropout > 0:
            x = layers.Dropout(dropout, name=f"dropout{number}")(x)
        x = layers.LSTM(units, return_sequences=number < depth or not last_step_only, name=f"lstm{number}")(x)
    return head.build(inputs, x if last_step_only else head.pool(x))


def _conv_lstm(
    windows: int,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 6,
    classifier_activation: str | None = "softmax",
    name: str = "conv_lstm",
    *,
    units: int = 32,
    depth: int = 1,
    kernel_size: int = 5,
    dropout: float = 0.0,
) -> keras.Model:
    """The first layer is a `Normalization` called "normalization" over the features. Adapt it to the training data
    before the first training step; until then it passes its input on unchanged. The sequence, with zeros behind it
    where need be, is cut into eight windows of equal length. The convolutional LSTM reads one window after another;
    its state has a vector for every place in a window, and the average over the places is classified after the last
    window. `input_shape` is by default `(128, 9)`, all known. The features that `pooling` speaks of are those of the
    places. `dropout` is between the layers and before the classifier.

    Args:
        {sequence arguments}
        units: filters of every layer.
        depth: number of layers.
        kernel_size: neighbouring places that a convolution sees.

    Returns:
        A functional model that takes `(batch, steps, features)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import conv_lstm
        >>> conv_lstm(input_shape=(30, 9), include_top=False).output_shape
        (None, 4, 32)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    units, depth = whole_number("units", units), whole_number("depth", depth)
    kernel_size = whole_number("kernel_size", kernel_size)
    steps, features = sequence_shape(input_shape, default=(128, 9), fixed_steps=True)
    assert steps is not None
    inputs, x = open_sequence((steps, features))
    places = -(-steps // windows)
    if places * windows > steps:
        x = layers.ZeroPadding1D((0, places * windows - steps), name="padding")(x)
    x = layers.Reshape((windows, places, features), name="windows")(x)
    for number in range(1, depth + 1):
        if number > 1 and dropout > 0:
            x = layers.Dropout(dropout, name=f"dropout{number - 1}")(x)
        x = layers.ConvLSTM1D(
            units, kernel_size, padding="same", return_sequences=number < depth, name=f"conv_lstm{number}"
        )(x)
    return head.build(inputs, head.pool(x))


cnn_lstm = variant(
    _cnn_lstm, 2, "cnn_lstm", "Build two convolutional blocks and an LSTM that classifies by its last step."
)
conv_lstm = variant(_conv_lstm, 8, "conv_lstm", "Build a convolutional LSTM over eight windows of the sequence.")
