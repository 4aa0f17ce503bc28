"""Padding changes no answer: a text says the same at every length that holds it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kzoo.models as zoo

TEXTS = [[5, 3, 8, 2, 2, 7, 1, 4, 6, 3, 5, 8], [4, 4, 1], [6]]
TAKES_TEXT = [name for name, record in zoo.CATALOG.items() if "text" in record.kinds and record.family != "text"]


def padded(length: int) -> Any:
    return np.array([text + [0] * (length - len(text)) for text in TEXTS], "int32")


@pytest.mark.parametrize("name", TAKES_TEXT)
@pytest.mark.parametrize("include_top", [True, False])
def test_a_text_says_the_same_at_every_length(name: str, include_top: bool) -> None:
    rest: dict[str, Any] = {"units": 8, "depth": 2, "vocabulary_size": 9, "include_top": include_top}
    if not include_top:
        rest["pooling"] = "avg"
    short, long = (zoo.create_model(name, input_shape=(length,), **rest) for length in (12, 20))
    rng = np.random.default_rng(2)
    long.set_weights([rng.normal(0, 0.5, weight.shape) for weight in long.get_weights()])
    # Learned positions have a row for every step: those of the shorter model are the first.
    weights = zip(long.get_weights(), short.get_weights(), strict=True)
    short.set_weights([value[: len(ours)] for value, ours in weights])
    answers = long.predict_on_batch(padded(20))
    np.testing.assert_allclose(short.predict_on_batch(padded(12)), answers, atol=1e-5)
    assert np.ptp(answers, axis=0).max() > 1e-2  # the texts differ


@pytest.mark.parametrize("name", TAKES_TEXT)
def test_padding_learns_nothing_and_disturbs_no_gradient(name: str) -> None:
    model = zoo.create_model(name, input_shape=(20,), units=8, vocabulary_size=9)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    before = model.get_layer("embedding").get_weights()[0]
    model.train_on_batch(padded(20), np.arange(3) % 2)
    changed = np.abs(model.get_layer("embedding").get_weights()[0] - before).max(axis=1) > 0
    assert not changed[0] and changed[1:].all()
