"""Siamese network: are two recordings of the same kind, say of the same speaker?

One encoder with shared weights makes a vector of length 1 of either input; their product is the similarity. Bromley et
al. 1993, "Signature Verification using a Siamese Time Delay Neural Network"; its time-delay layers are 1D convolutions.
Contrastive loss: Hadsell et al. 2006, https://doi.org/10.1109/CVPR.2006.100; triplets: Schroff et al. 2015,
https://arxiv.org/abs/1503.03832.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import keras
from keras import layers

from ._arguments import sequence_shape, whole_number
from ._blocks import check_activation
from ._ends import Head, feature_normalization

Encoder = Callable[[keras.KerasTensor], keras.KerasTensor]


def siamese(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    name: str = "siamese",
    *,
    units: int = 64,
    width: int = 64,
    depth: int = 3,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """Build an encoder of 1D convolutions, twice over the same weights, and the similarity of its two answers.

    The first layer is a `Normalization` called "normalization" over the features. Adapt it to the training data before
    the first training step; until then it passes its input on unchanged. Then `depth` convolutions with batch
    normalisation, all but the first of stride 2, average and maximum over the steps side by side, a dense layer, and
    the division by the vector's length.

    Args:
        include_top: compare two inputs; without it the model is the encoder of one.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(steps, features)` of each input, default `(98, 40)`, a second of sound; steps may be None.
        name: the model's name.
        units: length of the encoder's vector.
        width: filters of the first convolution; each of the others has half as many more than the one before.
        depth: number of convolutions.
        dropout: share of the pooled features dropped in training.
        activation: a Keras activation by name.

    Returns:
        A functional model of two inputs "left" and "right", `(batch, steps, features)`, and one output, their cosine
        similarity `(batch, 1)` from -1 to 1; or, without the top, from one input to its vector `(batch, units)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import siamese
        >>> siamese().output_shape, siamese(include_top=False).output_shape
        ((None, 1), (None, 64))
    """
    head = Head(False, weights, None, 1, None, name, dropout)
    units, width, depth = whole_number("units", units), whole_number("width", width), whole_number("depth", depth)
    check_activation("activation", activation)
    shape = sequence_shape(input_shape, default=(98, 40), fixed_steps=False)
    encode = _encoder(units, width, depth, head.dropout, activation)
    left = keras.Input(shape, name="left")
    if not include_top:
        return head.finish(left, encode(left))
    right = keras.Input(shape, name="right")
    return head.finish([left, right], layers.Dot(axes=1, name="similarity")([encode(left), encode(right)]))


def _encoder(units: int, width: int, depth: int, dropout: float, activation: str) -> Encoder:
    """Make the layers once; what comes back applies them, as often as it is called."""
    stack: list[layers.Layer] = [feature_normalization()]
    for number in range(1, depth + 1):
        name = f"block{number}"
        filters, size, strides = width * (number + 1) // 2, 5 if number == 1 else 3, 1 if number == 1 else 2
        stack += [
            layers.Conv1D(
                filters,
                size,
                strides=strides,
                padding="same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=f"{name}_conv",
            ),
            layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn"),
            layers.Activation(activation, name=f"{name}_act"),
        ]
    poolings = [layers.GlobalAveragePooling1D(name="avg_pool"), layers.GlobalMaxPooling1D(name="max_pool")]
    joined: list[layers.Layer] = [layers.Concatenate(name="pooled")]
    if dropout > 0:
        joined.append(layers.Dropout(dropout, name="dropout"))
    # float32 whatever the policy: the length of a half-precision vector is too coarse to tell near ones apart.
    joined += [
        layers.Dense(units, dtype="float32", name="projection"),
        layers.UnitNormalization(dtype="float32", name="embedding"),
    ]

    def encode(x: keras.KerasTensor) -> keras.KerasTensor:
        for layer in stack:
            x = layer(x)
        features = [pooling(x) for pooling in poolings]
        for layer in joined:
            features = layer(features)
        return features

    return encode
