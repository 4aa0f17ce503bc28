"""The siamese network: one encoder for both inputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kzoo.models import siamese

SHAPE = (12, 5)


def test_both_inputs_go_through_the_same_encoder_and_their_product_is_the_similarity() -> None:
    keras.utils.set_random_seed(1)
    model, encoder = siamese(input_shape=SHAPE), siamese(input_shape=SHAPE, include_top=False)
    rng = np.random.default_rng(0)
    left, right = rng.normal(2.0, 3.0, (2, 6, *SHAPE)).astype("float32")
    model.get_layer("normalization").adapt(left)
    encoder.set_weights(model.get_weights())
    encoder.get_layer("normalization").finalize_state()
    one, other = encoder.predict_on_batch(left), encoder.predict_on_batch(right)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    similarity = model.predict_on_batch([left, right])
    np.testing.assert_allclose(similarity[:, 0], (one * other).sum(axis=1), atol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch([right, left]), similarity, atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch([left, left]), 1, atol=1e-5)
    assert np.ptp(similarity) > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "`units` must be a whole number"),
        ({"depth": 1.5}, "`depth` must be a whole number"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and below 1"),
        ({"activation": "rilu"}, "`activation` must be the name of a Keras activation"),
        ({"input_shape": (8, None)}, "how many features"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        siamese(**arguments)  # type: ignore[arg-type]
