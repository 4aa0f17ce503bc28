"""From a model that scores pairs of a user and an item to one that scores all items for a user.

That is what is asked, measured and exported: an app runs one product of the user's vector with a table, in place of a
model for each of thousands of items, and the tower of the items, which are known, is computed once and for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_BLOCK = 1024


def ranker(model: Any) -> Any:
    """Make a functional `keras.Model` from "user", `(batch, 1)` int32 ids, to "scores" of all items, `(batch, items)`.

    The unknown item, id 0, is left out: the first score is that of id 1.

    Args:
        model: `two_tower` as it was trained.
    """
    import keras

    user, item = model.inputs
    vectors = keras.Model(item, model.get_layer("item_vector").output)
    ids = np.arange(1, model.get_layer("item_embedding").input_dim, dtype=np.int32)[:, np.newaxis]
    table = np.concatenate(
        [vectors.predict_on_batch(ids[start : start + _BLOCK]) for start in range(0, len(ids), _BLOCK)]
    )
    scores = keras.layers.Dense(len(table), use_bias=False, dtype="float32", name="scores")
    made = keras.Model(user, scores(model.get_layer("user_vector").output), name=model.name)
    scores.set_weights([table.T])
    return made


def keras_scores(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Ask a Keras model of two towers for the scores of all items, from `(batch,)` ids of users to `(batch, items)`."""
    made = ranker(model)
    return lambda users: np.asarray(made.predict_on_batch(users[:, np.newaxis]), np.float32)
