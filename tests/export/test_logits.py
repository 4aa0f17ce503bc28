"""Files that end at the logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from scipy.special import softmax

from kzoo.errors import ExportError
from kzoo.export import LiteModel, check, export_model, read_metadata
from kzoo.export.logits import without_softmax
from kzoo.source import open_source

if TYPE_CHECKING:
    from .conftest import Digits, Exports

layers = keras.layers


@pytest.mark.parametrize("quantize", ["fp32", "int8"])
def test_the_softmax_of_the_answers_are_the_models(
    cnn: keras.Model, digits: Digits, exports: Exports, target: Path, quantize: Any
) -> None:
    real = {"calibration": digits.train[:200], "verification": (digits.test, digits.test_labels)}
    result = export_model(cnn, target, quantize=quantize, logits=True, **real)
    whole = exports.each()[f"cnn_{quantize}"]
    assert result.logits
    assert not whole.logits
    assert {each.name for each in whole.operators} - {each.name for each in result.operators} == {"SOFTMAX"}
    assert [each.name for each in result.outputs] == [each.name for each in whole.outputs]
    assert check(result.path).xnnpack.outside == ()

    received = LiteModel(result.path).predict(digits.test)
    expected = cnn.predict(digits.test, verbose=0)
    limit, agreement = (1e-5, 1.0) if quantize == "fp32" else (0.15, 0.98)
    np.testing.assert_allclose(softmax(received, axis=-1), expected, atol=limit)
    # Of logits, which reach further than probabilities.
    assert np.ptp(received) > 5
    assert result.parity.agreement >= agreement
    assert result.accuracy_keras == pytest.approx((expected.argmax(-1) == digits.test_labels).mean())
    assert result.accuracy_tflite == pytest.approx((received.argmax(-1) == digits.test_labels).mean())


def test_metadata_and_whoever_reads_the_file_know(cnn: keras.Model, digits: Digits, target: Path) -> None:
    """Logits that all look like probabilities go through the softmax because the sidecar says so."""
    flat = keras.models.clone_model(cnn)
    flat.set_weights(cnn.get_weights())
    kernel, bias = flat.layers[-1].get_weights()
    flat.layers[-1].set_weights([kernel * 1e-3, bias * 1e-3 + 0.5])
    classes = [str(digit) for digit in range(10)]
    result = export_model(flat, target, logits=True, verification=(digits.test, None), classes=classes)
    raw = LiteModel(result.path).predict(digits.test)
    assert raw.min() > 0
    assert raw.max() < 1
    np.testing.assert_allclose(open_source(result.path).predict(digits.test), softmax(raw, axis=-1), atol=1e-6)
    metadata = read_metadata(result.path)
    assert metadata is not None
    (output,) = metadata.outputs
    assert output.description == "Logit of every class."
    assert (output.minimum, output.maximum) == ((), ())


def ending(*last: keras.layers.Layer) -> keras.Model:
    return keras.Sequential([keras.Input((6,)), layers.Dense(5, "relu"), *last])


@pytest.mark.parametrize(
    "last",
    [
        (layers.Dense(3, activation="softmax"),),
        (layers.Dense(3), layers.Softmax()),
        (layers.Dense(3), layers.Activation("softmax")),
        (layers.Reshape((5, 1)), layers.Conv1D(3, 5, activation="softmax")),
    ],
)
@pytest.mark.parametrize("functional", [False, True])
def test_a_softmax_is_left_out_however_it_is_written(last: tuple[keras.layers.Layer, ...], functional: bool) -> None:
    model = ending(*last)
    if functional:
        model = keras.Model(model.inputs, model.outputs)
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    received = without_softmax(model).predict(x, verbose=0)
    np.testing.assert_allclose(softmax(received, axis=-1), model.predict(x, verbose=0), atol=1e-6)
    assert not np.allclose(received.sum(-1), 1)


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (layers.Dense(1, activation="sigmoid", name="end"), r"'end' \(Dense, sigmoid\)"),
        (layers.Dense(3, name="end"), r"'end' \(Dense, linear\)"),
        (layers.Dropout(0.1, name="end"), r"'end' \(Dropout\)"),
    ],
)
def test_what_ends_otherwise_is_refused(last: keras.layers.Layer, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        without_softmax(ending(last))
