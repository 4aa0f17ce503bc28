"""Convolutions over the words of a text.

TextCNN: Kim 2014, "Convolutional Neural Networks for Sentence Classification", https://arxiv.org/abs/1408.5882, with
word vectors that are learnt from the start (the paper's CNN-rand). Padding (0) changes no answer: it has the zero
vector, the convolutions have no bias, and beyond either end of the text lies room for every window that a word is in.
So each window of padding alone gives 0, which after ReLU is never more than what the words give.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import text_shape, vocabulary, whole_number
from ._ends import Head

_LENGTH = 64


def text_cnn(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 2,
    classifier_activation: str | None = "softmax",
    name: str = "text_cnn",
    *,
    vocabulary_size: int = 8000,
    embedding: int = 64,
    filters: int = 100,
    widths: Sequence[int] = (3, 4, 5),
    dropout: float = 0.0,
) -> keras.Model:
    """Build word vectors, convolutions of several widths side by side, and the largest answer of each over the text.

    The paper's bias within the ReLU is left out, so that padding says nothing.

    Args:
        include_top: end with the classifier.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(steps,)` of token ids, default `(64,)`.
        pooling: only with `include_top=False`, and the same for None and `"max"`: the largest answers,
            `(batch, filters * len(widths))`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        vocabulary_size: number of token ids, with 0 for padding.
        embedding: entries of a word's vector.
        filters: of each width.
        widths: words that a filter sees.
        dropout: share of the classifier's inputs dropped in training; 0.5 in the paper.

    Returns:
        A functional model that takes `(batch, steps)` int32 token ids.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import text_cnn
        >>> text_cnn(input_shape=(20,), vocabulary_size=100).output_shape
        (None, 2)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout, poolings=("max",))
    filters = whole_number("filters", filters)
    widths = [whole_number("widths[...]", width) for width in widths]
    if not widths:
        raise ValueError("`widths` must name at least one width. Received: widths=(). Give for example (3, 4, 5).")
    length = text_shape(input_shape, default=_LENGTH, fixed_steps=True)
    inputs = keras.Input((length,), dtype="int32", name="tokens")
    x = _word_vectors(inputs, vocabulary(vocabulary_size), whole_number("embedding", embedding))
    margin = max(widths) - 1
    x = layers.ZeroPadding1D(margin, name="margin")(x) if margin else x
    found = []
    for width in widths:
        branch = layers.Conv1D(filters, width, use_bias=False, kernel_initializer="he_normal", name=f"conv{width}")(x)
        branch = layers.ReLU(name=f"conv{width}_relu")(branch)
        found.append(layers.GlobalMaxPooling1D(name=f"conv{width}_max")(branch))
    return head.build(inputs, layers.Concatenate(name="max_over_time")(found) if len(found) > 1 else found[0])


def _word_vectors(inputs: keras.KerasTensor, vocabulary_size: int, embedding: int) -> keras.KerasTensor:
    """Look words up, `(batch, length)` to `(batch, length, embedding)`; padding, id 0, has exactly the zero vector.

    The vectors are rows of a table less its row 0, whatever that has learnt. Both come from one look-up, so that an
    int8 file holds the table once and the difference is exact there, too.
    """
    length = inputs.shape[1]
    padding = layers.Subtract(name="padding")([inputs, inputs])
    ids = layers.Concatenate(axis=1, name="tokens_and_padding")([inputs, padding])
    rows = layers.Embedding(vocabulary_size, embedding, name="embedding")(ids)
    words = layers.Cropping1D((0, length), name="word_rows")(rows)
    nothing = layers.Cropping1D((length, length - 1), name="padding_row")(rows)
    return layers.Subtract(name="word_vectors")([words, nothing])
