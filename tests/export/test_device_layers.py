"""Layers that are rebuilt in another form: the same answers, and what the form is for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from kzoo.export import ExportResult, export_model, read_tflite
from kzoo.export._device_layers import IntegerAttention, NearSoftmax, ProductAttention, ProductNormalization

from .conftest import trained

if TYPE_CHECKING:
    from .conftest import Digits

layers = keras.layers


def same_weights(layer: tf_keras.layers.Layer, other: tf_keras.layers.Layer, *calls: tf.Tensor) -> None:
    """Build both on what they are called with, and give the second the first one's weights, none of them 0 or 1."""
    rng = np.random.default_rng(0)
    layer(*calls), other(*calls)
    layer.set_weights([rng.normal(1, 0.5, each.shape) for each in layer.get_weights()])
    other.set_weights(layer.get_weights())


@pytest.mark.parametrize("arguments", [{}, {"axis": (1, 2)}, {"scale": False}, {"center": False}, {"epsilon": 0.5}])
def test_normalisation_by_a_product_is_normalisation(arguments: dict[str, object]) -> None:
    x = tf.random.stateless_normal((3, 5, 4, 6), (1, 2))
    stock, ours = (each(**arguments) for each in (tf_keras.layers.LayerNormalization, ProductNormalization))
    same_weights(stock, ours, x)
    np.testing.assert_allclose(ours(x), stock(x), atol=1e-5)


@pytest.mark.parametrize("form", [ProductAttention, IntegerAttention])
@pytest.mark.parametrize(
    ("query", "value", "arguments"),
    [
        ((5, 8), (5, 8), {}),
        ((5, 8), (7, 8), {"value_dim": 3, "use_bias": False}),
        ((3, 5, 8), (3, 5, 8), {"attention_axes": (2,)}),
        ((3, 5, 8), (3, 5, 8), {"attention_axes": (1, 2)}),
    ],
)
def test_attention_by_products_is_attention(
    query: tuple[int, ...], value: tuple[int, ...], arguments: dict[str, object], form: type[ProductAttention]
) -> None:
    asked, known = (tf.random.stateless_normal((2, *shape), (1, 2)) for shape in (query, value))
    stock, ours = (each(2, 4, **arguments) for each in (tf_keras.layers.MultiHeadAttention, form))
    same_weights(stock, ours, asked, known)
    # Of a mask in which every step knows itself.
    masks = [None] if len(query) == 3 else [None, np.tri(5, value[0], dtype=bool)[None]]
    for mask in masks:
        expected = stock(asked, known, attention_mask=mask, return_attention_scores=True)
        received = ours(asked, known, attention_mask=mask, return_attention_scores=True)
        for theirs, answers in zip(expected, received, strict=True):
            np.testing.assert_allclose(answers, theirs, atol=1e-5)


@pytest.fixture(scope="module")
def encoder(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """An int8 file of one block of a transformer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8), name="rows")
    x = layers.Dense(16)(layers.Rescaling(1 / 255)(inputs))
    normed = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(normed, normed)])
    x = layers.Add()([x, layers.Dense(16, "relu")(layers.LayerNormalization()(x))])
    outputs = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    model = trained(keras.Model(inputs, outputs), digits.train[..., 0], digits.train_labels, epochs=8)
    train, test = digits.train[..., 0].astype(np.float32), digits.test[..., 0].astype(np.float32)
    target = tmp_path_factory.mktemp("encoder") / "encoder.tflite"
    real = {"calibration": train[:200], "verification": (test, digits.test_labels)}
    return export_model(model, target, quantize="int8", max_drop=0.02, **real)


def test_an_int8_encoder_leaves_the_delegate_only_where_it_must(encoder: ExportResult) -> None:
    outside = {"RSQRT": 2, "BATCH_MATMUL": 2, "SOFTMAX": 2}
    counts = {each.name: each.count for each in encoder.operators}
    assert {name: counts[name] for name in outside} == outside
    assert "SQUARED_DIFFERENCE" not in counts
    # Three operators of the attention follow each other, and the last softmax ends the file: a part before and a part
    # behind each reciprocal root and the attention.
    assert encoder.xnnpack_partitions == 4


def test_nothing_stands_between_scores_and_softmax(encoder: ExportResult) -> None:
    names = [operator.name for operator in read_tflite(Path(encoder.path)).operators]
    assert ("BATCH_MATMUL", "SOFTMAX") in pairwise(names)


def test_an_int8_encoder_answers_like_keras(encoder: ExportResult) -> None:
    assert encoder.float_operators == ()
    assert encoder.parity.agreement > 0.97


def test_masked_scores_stay_near_the_others() -> None:
    scores, mask = tf.constant([[3.0, -4.0, 2.5]]), tf.constant([[True, False, True]])
    np.testing.assert_allclose(NearSoftmax()(scores, mask), tf_keras.layers.Softmax()(scores, mask), atol=1e-7)
    np.testing.assert_allclose(NearSoftmax()(scores), tf_keras.layers.Softmax()(scores))


@pytest.fixture(scope="module")
def dark_pixels(digits: Digits) -> tuple[np.ndarray, np.ndarray]:
    """The digits as texts: which pixels are dark, and padding (0) behind them."""

    def texts(images: np.ndarray) -> np.ndarray:
        places = [np.flatnonzero(image > 120)[:40] + 1 for image in images.reshape(len(images), -1)]
        return np.stack([np.pad(each, (0, 40 - len(each))) for each in places]).astype(np.int32)

    return texts(digits.train), texts(digits.test)


def test_an_int8_file_attends_to_what_is_no_padding(
    digits: Digits, dark_pixels: tuple[np.ndarray, np.ndarray], target: Path
) -> None:
    keras.utils.set_random_seed(0)
    tokens = keras.Input((40,), dtype="int32", name="tokens")
    mask = keras.ops.not_equal(tokens, 0)
    x = layers.Embedding(65, 16)(tokens)
    attended = layers.MultiHeadAttention(2, 8)(x, x, attention_mask=layers.Reshape((1, 40))(mask))
    x = layers.Dense(32, "relu")(layers.Add()([x, attended]))
    x = layers.GlobalAveragePooling1D()(x, mask=mask)
    model = keras.Model(tokens, layers.Dense(10, activation="softmax")(x))
    train, test = dark_pixels
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(train, digits.train_labels, epochs=8, batch_size=64, verbose=0)
    result = export_model(
        model, target, quantize="int8", calibration=train[:200], verification=(test, digits.test_labels), max_drop=0.03
    )
    assert result.float_operators == ()
    assert result.parity.agreement > 0.97
    assert result.inputs[0].dtype == "int32"
