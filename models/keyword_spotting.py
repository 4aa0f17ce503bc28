"""Keyword spotting: DS-CNN of Zhang et al. 2017, "Hello Edge", https://arxiv.org/abs/1711.07128.

Layer for layer that of MLPerf Tiny (https://arxiv.org/abs/2106.07597,
https://github.com/mlcommons/tiny/tree/master/benchmark/training/keyword_spotting), behind a normalisation of the
features.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import sequence_shape, whole_number
from ._blocks import ConvStyle, bn_act, conv_bn_act, depthwise_conv
from ._ends import Head, open_sequence

# Keras's defaults of padding and normalisation, and biases, as in the reference.
_STYLE = ConvStyle(use_bias=True, symmetric_padding=False, epsilon=1e-3, momentum=0.99)
_STEM_KERNEL = (10, 4)


def ds_cnn(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 12,
    classifier_activation: str | None = "softmax",
    name: str = "ds_cnn",
    *,
    filters: int = 64,
    depth: int = 4,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """Build MLPerf Tiny's DS-CNN, 24,908 parameters: one convolution and four depthwise separable ones.

    The first layer is a `Normalization` called "normalization" over the features. Adapt it to the training data
    before the first training step; until then it passes its input on unchanged. The sequence is then an image of one
    channel, whose sides are steps and features; the first convolution halves both.

    Args:
        include_top: end with average pooling and the classifier.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(steps, features)`, default `(49, 10)`: a second of sound in 10 cepstral coefficients; both
            known.
        pooling: only with `include_top=False`: None gives the last feature map `(batch, steps / 2, features / 2,
            filters)`, `"avg"` or `"max"` one vector `(batch, filters)`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        filters: of every convolution.
        depth: number of depthwise separable convolutions.
        dropout: share of units dropped in training, after the first convolution and before the classifier. The
            reference takes 0.2 and 0.4.
        activation: a Keras activation by name.

    Returns:
        A functional model that takes `(batch, steps, features)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import ds_cnn
        >>> ds_cnn(input_shape=(62, 40), classes=10).output_shape
        (None, 10)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    filters, depth = whole_number("filters", filters), whole_number("depth", depth)
    shape = sequence_shape(input_shape, default=(49, 10), fixed_steps=True)
    inputs, x = open_sequence(shape)
    x = layers.Reshape((*shape, 1), name="image")(x)
    x = conv_bn_act(x, filters, _STEM_KERNEL, 2, _STYLE, activation, "stem")
    if dropout > 0:
        x = layers.Dropout(dropout, name="stem_dropout")(x)
    for number in range(1, depth + 1):
        depthwise = f"block{number}_depthwise"
        x = bn_act(depthwise_conv(x, 3, 1, _STYLE, depthwise), _STYLE, activation, depthwise)
        x = conv_bn_act(x, filters, 1, 1, _STYLE, activation, f"block{number}_pointwise")
    if include_top:
        # The reference's window is half the input rounded down, while the map is half of it rounded up: of an odd
        # number of steps the average leaves the last one out.
        window = [size // 2 if size > 3 else (size + 1) // 2 for size in shape if size is not None]
        x = layers.Flatten(name="flatten")(layers.AveragePooling2D(window, name="avg_pool")(x))
    else:
        x = head.pool(x)
    return head.build(inputs, x)
