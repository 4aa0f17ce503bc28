"""The two towers: what the score is made of, and what nobody knows."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kzoo.models import two_tower

SIZES: dict[str, Any] = {"users": 7, "items": 9, "embedding": 4}
USERS, ITEMS = np.array([[3], [1], [6]], "int32"), np.array([[8], [8], [2]], "int32")


def test_the_score_is_the_product_of_a_users_and_an_items_row() -> None:
    keras.utils.set_random_seed(3)
    model = two_tower(**SIZES)
    users, items = (model.get_layer(f"{side}_embedding").get_weights()[0] for side in ("user", "item"))
    assert users.shape == (7, 4) and items.shape == (9, 4)
    expected = (users[USERS[:, 0]] * items[ITEMS[:, 0]]).sum(axis=1)
    np.testing.assert_allclose(model.predict_on_batch([USERS, ITEMS])[:, 0], expected, atol=1e-6)


def test_with_a_temperature_it_is_the_cosine_divided_by_it() -> None:
    keras.utils.set_random_seed(3)
    plain, scaled = two_tower(**SIZES, units=(6,)), two_tower(**SIZES, units=(6,), temperature=0.2)
    for layer in scaled.layers:
        if layer.weights:
            layer.set_weights(plain.get_layer(layer.name).get_weights())
    user, item = (
        keras.Model(given, plain.get_layer(f"{side}_vector").output).predict_on_batch(ids)
        for side, given, ids in zip(("user", "item"), plain.inputs, (USERS, ITEMS), strict=True)
    )
    cosine = (user * item).sum(axis=1) / np.linalg.norm(user, axis=1) / np.linalg.norm(item, axis=1)
    np.testing.assert_allclose(scaled.predict_on_batch([USERS, ITEMS])[:, 0], cosine / 0.2, rtol=1e-4)


def test_without_the_top_it_is_the_users_tower_with_the_same_weights() -> None:
    keras.utils.set_random_seed(3)
    model, tower = two_tower(**SIZES, units=(5,)), two_tower(**SIZES, units=(5,), include_top=False)
    assert [tensor.name for tensor in tower.inputs] == ["user"]
    for layer in tower.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    expected = keras.Model(model.inputs[0], model.get_layer("user_vector").output)
    np.testing.assert_array_equal(tower.predict_on_batch(USERS), expected.predict_on_batch(USERS))


@pytest.mark.parametrize("arguments", [{}, {"units": (8, 8)}, {"temperature": 0.05}])
def test_a_row_of_zeros_scores_nothing(arguments: dict[str, Any]) -> None:
    keras.utils.set_random_seed(3)
    model = two_tower(**SIZES, **arguments)
    layer = model.get_layer("user_embedding")
    (table,) = layer.get_weights()
    table[1] = 0
    layer.set_weights([table])
    scores = model.predict_on_batch([USERS, ITEMS])[:, 0]
    assert scores[1] == 0 and (scores[[0, 2]] != 0).all()
