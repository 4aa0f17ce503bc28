"""A plain convolutional network: the baseline that every other image model has to beat.

LeCun et al. 1998, https://doi.org/10.1109/5.726791, with batch normalisation, ReLU and average pooling of today.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import image_shape
from ._blocks import ConvStyle, activate, conv_bn_act
from ._ends import Head, open_image

_BLOCKS = (32, 64, 128)
"""Filters of each convolution-pool block."""
_HIDDEN_UNITS = 128
_STYLE = ConvStyle()


def cnn(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    name: str = "cnn",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """Build three convolution-pool blocks of 32, 64 and 128 filters, average pooling and a dense head.

    A block is a 3x3 convolution, batch normalisation, the activation and 2x2 max-pooling.

    Args:
        include_top: end with the dense head (128 hidden units and the classifier).
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(height, width, channels)`, at least 8x8; default `(32, 32, 3)`.
        pooling: only with `include_top=False`: None gives the feature map `(batch, height / 8, width / 8, 128)`,
            `"avg"` or `"max"` one vector `(batch, 128)`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        dropout: share of the classifier's inputs dropped in training. Used with `include_top` only.
        activation: a Keras activation by name.

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import cnn
        >>> cnn(input_shape=(8, 8, 1)).output_shape
        (None, 10)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    inputs, x = open_image(image_shape(input_shape, default=(32, 32, 3), minimum=2 ** len(_BLOCKS)))
    for number, filters in enumerate(_BLOCKS, start=1):
        x = conv_bn_act(x, filters, 3, 1, _STYLE, activation, name=f"block{number}")
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(x)
    x = head.pool(x)
    if include_top:
        x = layers.Dense(_HIDDEN_UNITS, kernel_initializer="he_normal", name="hidden")(x)
        x = activate(x, activation, "hidden_act")
    return head.build(inputs, x)
