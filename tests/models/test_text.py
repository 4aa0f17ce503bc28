"""TextCNN: its figures by hand, its answer by hand, and padding that changes none."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.export import LiteModel, export_model

TEXTS = np.array([[5, 3, 7, 2, 9, 1, 4, 4], [6, 6, 2, 0, 0, 0, 0, 0], [8, 0, 0, 0, 0, 0, 0, 0], [0] * 8], "int32")


def build(length: int, **arguments) -> keras.Model:
    return models.create_model(
        "text_cnn", **{"input_shape": (length,), "vocabulary_size": 10, "filters": 6, "embedding": 5, **arguments}
    )


def test_the_answer_is_what_the_paper_says() -> None:
    model = build(8, widths=(2, 3), classes=3)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    table, *kernels, classifier, bias = model.get_weights()
    text = TEXTS[0]
    vectors = np.pad(table[text] - table[0], ((2, 2), (0, 0)))
    features = []
    for kernel in kernels:
        width = len(kernel)
        answers = [np.einsum("we,wef->f", vectors[at : at + width], kernel) for at in range(len(vectors) - width + 1)]
        features.append(np.maximum(np.max(answers, axis=0), 0))
    logits = np.concatenate(features) @ classifier + bias
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(model.predict_on_batch(TEXTS[:1])[0], expected, atol=1e-5)


def test_padding_changes_no_answer() -> None:
    short, long = build(8), build(20)
    long.set_weights(short.get_weights())
    answers = short.predict_on_batch(TEXTS)
    np.testing.assert_allclose(long.predict_on_batch(np.pad(TEXTS, ((0, 0), (0, 12)))), answers, atol=1e-7)
    assert np.abs(answers[0] - short.predict_on_batch(np.roll(TEXTS[:1], 1))[0]).max() > 1e-4


def test_nor_in_an_int8_file(tmp_path: Path) -> None:
    short, long = build(8), build(20)
    long.set_weights(short.get_weights())
    real = np.random.default_rng(0).integers(1, 10, (64, 8)).astype("int32") * (np.arange(8) < 5)
    files = []
    for model, texts in ((short, real), (long, np.pad(real, ((0, 0), (0, 12))))):
        path = tmp_path / f"{model.input_shape[1]}.tflite"
        result = export_model(model, path, quantize="int8", calibration=texts, verification=(texts, None), max_drop=1)
        assert not result.float_operators and result.inputs[0].dtype == "int32"
        files.append((LiteModel(path), texts))
    np.testing.assert_array_equal(*(file.predict(texts) for file, texts in files))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (8, 4)}, r"\(steps,\)"),
        ({"input_shape": (None,)}, "how many steps"),
        ({"vocabulary_size": 1}, "`vocabulary_size`"),
        ({"widths": ()}, "at least one width"),
        ({"include_top": False, "pooling": "avg"}, "`pooling`"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**{"length": 8, **arguments})
