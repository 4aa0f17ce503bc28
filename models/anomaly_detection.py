"""Anomaly detection: an autoencoder that gives back what it has seen often, and misses what it has not.

The model of MLPerf Tiny (https://arxiv.org/abs/2106.07597,
https://github.com/mlcommons/tiny/tree/master/benchmark/training/anomaly_detection), which is the baseline of DCASE 2020
(Koizumi et al. 2020, https://arxiv.org/abs/2006.05822), behind a normalisation of the features.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import sequence_shape, whole_number
from ._blocks import ConvStyle, bn_act
from ._ends import Head, open_sequence

_STYLE = ConvStyle(epsilon=1e-3, momentum=0.99)  # Keras's defaults, as in the reference


def autoencoder(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    name: str = "autoencoder",
    *,
    units: int = 128,
    depth: int = 4,
    bottleneck: int = 8,
    activation: str = "relu",
) -> keras.Model:
    """Build MLPerf Tiny's autoencoder, 269,992 parameters: 640 values through 8 and back to 640.

    It has no classes. Train it to give back its input, `model.fit(x, x)` with the mean squared error, on normal samples
    only; the error of a new sample says how unusual it is. The first layer is a `Normalization` called "normalization"
    over the features. Adapt it to the training data before the first training step; until then it passes its input on
    unchanged. What comes out has the input's own units.

    Args:
        include_top: decode; without it the model gives the values of the bottleneck, `(batch, bottleneck)`.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(steps, features)`, default `(5, 128)`: five frames of a spectrogram; both known.
        name: the model's name.
        units: width of every dense layer but the bottleneck and the last.
        depth: number of dense layers before the bottleneck, and of those behind it.
        bottleneck: width of the narrowest layer.
        activation: a Keras activation by name.

    Returns:
        A functional model that takes and gives `(batch, steps, features)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import autoencoder
        >>> autoencoder().output_shape
        (None, 5, 128)
        >>> autoencoder(include_top=False).output_shape
        (None, 8)
    """
    # Without a classifier: the end of this model is its own.
    head = Head(False, weights, None, 1, None, name, 0.0)
    units, depth = whole_number("units", units), whole_number("depth", depth)
    bottleneck = whole_number("bottleneck", bottleneck)
    shape = sequence_shape(input_shape, default=(5, 128), fixed_steps=True)
    inputs, x = open_sequence(shape)
    x = layers.Flatten(name="flatten")(x)
    size = x.shape[-1]
    for number in range(1, depth + 1):
        x = _dense(x, units, activation, f"encoder{number}")
    x = _dense(x, bottleneck, activation, "bottleneck")
    if include_top:
        for number in range(1, depth + 1):
            x = _dense(x, units, activation, f"decoder{number}")
        # float32 whatever the policy, as the input is.
        x = layers.Dense(size, dtype="float32", name="values")(x)
        x = layers.Reshape(shape, name="reconstruction")(x)
    return head.build(inputs, x)


def _dense(x: keras.KerasTensor, units: int, activation: str, name: str) -> keras.KerasTensor:
    return bn_act(layers.Dense(units, name=f"{name}_dense")(x), _STYLE, activation, name)
