"""Recommendation: which items would a user take next?

Two towers, one of users and one of items, each from an id to a vector; their product is the score. Yi et al. 2019,
"Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations",
https://doi.org/10.1145/3298689.3346996. Without hidden layers it is matrix factorisation (Koren et al. 2009,
https://doi.org/10.1109/MC.2009.263).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import identity_shape, temperature_of, whole_number
from ._ends import Head


def two_tower(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    name: str = "two_tower",
    *,
    users: int = 944,
    items: int = 1683,
    embedding: int = 32,
    units: Sequence[int] = (),
    temperature: float | None = None,
) -> keras.Model:
    """Build a tower of users, a tower of items, and the product of their vectors.

    No layer has a bias, so that an id whose row of the table is zero, as 0 for the unknown may have it, has the score
    0 with everything. The vectors are the outputs of the layers "user_vector" and "item_vector".

    Args:
        include_top: score pairs; without it the model is the tower of users alone.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(1,)`, one id; there is no other.
        name: the model's name.
        users: number of user ids, with 0 for the unknown; the default is that of MovieLens 100K.
        items: number of item ids, likewise.
        embedding: entries of the tables' rows and of the vectors.
        units: widths of hidden layers with ReLU in each tower, before a last layer of `embedding` entries; none: the
            table's rows are the vectors.
        temperature: None for the plain product; else vectors of length 1, whose cosine is divided by this, 0.05 say.

    Returns:
        A functional model of two inputs "user" and "item", `(batch, 1)` int32 ids, and one output "score",
        `(batch, 1)`; or, without the top, from "user" to its vector `(batch, embedding)`.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import two_tower
        >>> two_tower().output_shape, two_tower(include_top=False).output_shape
        ((None, 1), (None, 32))
    """
    head = Head(False, weights, None, 1, None, name, 0.0)
    shape = identity_shape(input_shape)
    users, items = whole_number("users", users, minimum=2), whole_number("items", items, minimum=2)
    embedding = whole_number("embedding", embedding)
    units = [whole_number("units[...]", width) for width in units]
    scale = None if temperature is None else 1 / temperature_of(temperature)
    user = keras.Input(shape, dtype="int32", name="user")
    user_vector = _tower(user, "user", users, embedding, units, scale)
    if not include_top:
        return head.finish(user, user_vector)
    item = keras.Input(shape, dtype="int32", name="item")
    # Only one of the two vectors is divided by the temperature.
    item_vector = _tower(item, "item", items, embedding, units, None if scale is None else 1.0)
    return head.finish([user, item], layers.Dot(axes=1, dtype="float32", name="score")([user_vector, item_vector]))


def _tower(
    ids: keras.KerasTensor, name: str, size: int, embedding: int, units: Sequence[int], scale: float | None
) -> keras.KerasTensor:
    """Turn ids `(batch, 1)` into vectors `(batch, embedding)`, of length `scale` where it is given."""
    x = layers.Embedding(size, embedding, name=f"{name}_embedding")(ids)
    for number, width in enumerate(units, start=1):
        x = layers.Dense(width, "relu", use_bias=False, kernel_initializer="he_normal", name=f"{name}_hidden{number}")(
            x
        )
    if units:
        x = layers.Dense(embedding, use_bias=False, name=f"{name}_projection")(x)
    if scale is not None:
        # float32 whatever the policy: the length of a half-precision vector is too coarse to tell near ones apart.
        x = layers.UnitNormalization(dtype="float32", name=f"{name}_normalization")(x)
        x = layers.Rescaling(scale, dtype="float32", name=f"{name}_scale")(x) if scale != 1 else x
    return layers.Flatten(name=f"{name}_vector")(x)
