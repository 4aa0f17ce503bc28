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

from ._arguments import whole_number
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
        input_shape: `(length,)` in words, default `(64,)`.
        pooling: only with `include_top=False`, and the same for None and `"max"`: the largest answers,
            `(batch, filters * len(widths))`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        vocabulary_size: words that there are, with 0 for padding and 1 for any other word.
        embedding: entries of a word's vector.
        filters: of each width.
        widths: words that a filter sees.
        dropout: share of the classifier's inputs dropped in training; 0.5 in the paper.

    Returns:
        A functional model that takes `(batch, length)` int32, places in the vocabulary.

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
    inputs, x = open_text(input_shape, vocabulary_size, embedding)
    margin = max(widths) - 1
    x = layers.ZeroPadding1D(margin, name="margin")(x) if margin else x
    found = []
    for width in widths:
        branch = layers.Conv1D(filters, width, use_bias=False, kernel_initializer="he_normal", name=f"conv{width}")(x)
        branch = layers.ReLU(name=f"conv{width}_relu")(branch)
        found.append(layers.GlobalMaxPooling1D(name=f"conv{width}_max")(branch))
    return head.build(inputs, layers.Concatenate(name="max_over_time")(found) if len(found) > 1 else found[0])


def open_text(
    input_shape: Sequence[int | None] | None, vocabulary_size: int, embedding: int
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Start a text model: places in a vocabulary in, word vectors out; padding, place 0, has exactly the zero vector.

    The vectors are rows of a table less its row 0, whatever that has learnt. Both come from one look-up, so that an
    int8 file holds the table once and the difference is exact there, too.

    Returns:
        The model's input `(batch, length)` int32 and the vectors `(batch, length, embedding)`.
    """
    length = _length(input_shape)
    inputs = keras.Input((length,), dtype="int32", name="text")
    padding = layers.Subtract(name="padding")([inputs, inputs])
    rows = layers.Embedding(
        whole_number("vocabulary_size", vocabulary_size, minimum=3), whole_number("embedding", embedding), name="words"
    )(layers.Concatenate(axis=1, name="text_and_padding")([inputs, padding]))
    words = layers.Cropping1D((0, length), name="word_rows")(rows)
    nothing = layers.Cropping1D((length, length - 1), name="padding_row")(rows)
    return inputs, layers.Subtract(name="word_vectors")([words, nothing])


def _length(input_shape: Sequence[int | None] | None) -> int:
    if input_shape is None:
        return _LENGTH
    if not isinstance(input_shape, (tuple, list)) or len(input_shape) != 1:
        raise ValueError(
            f"`input_shape` must be (length,), without the batch axis. Received: input_shape={input_shape!r}. "
            f"Give one number, for example ({_LENGTH},)."
        )
    if input_shape[0] is None:
        raise ValueError(
            f"The length in `input_shape` must be known. Received: input_shape={tuple(input_shape)}. "
            f"Give the most words a text has; shorter ones are filled with 0, which changes no answer."
        )
    return whole_number("input_shape[...]", input_shape[0])
