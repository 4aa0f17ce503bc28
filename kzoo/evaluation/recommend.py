"""Recommend items to single users; the same for Keras models and `.tflite` files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from kzoo.data import History
from kzoo.errors import UsageError
from kzoo.source import open_source

from .finite import check_answer


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """The items that a user would take next.

    Attributes:
        user: The name.
        known: Whether the user was in the training split; others are recommended what was taken most often.
        items: Names, the highest score first.
        scores: Of these items; they compare items for one user and have no unit.
    """

    user: str
    known: bool
    items: tuple[str, ...]
    scores: tuple[float, ...]


def recommend(
    source: Any,
    users: str | Iterable[str],
    *,
    top: int = 10,
    seen: bool = False,
    runtime: str = "auto",
    threads: int = 1,
) -> list[Recommendation]:
    """Recommend items to users.

    Args:
        source: A run or a file of a model that recommends, such as `two_tower`.
        users: Names as the training data have them, or one name.
        top: How many items to name at most.
        seen: Name also items that a user took in the training split. Without it, the training data are read again to
            leave them out; a device that has no such data asks with it.
        runtime: What runs a `.tflite`: `"litert"`, `"tflite-runtime"`, or the one that is installed (`"auto"`).
        threads: Of that runtime.

    Returns:
        One recommendation a user, in their order.

    Raises:
        KzooError: There is no such model, or its training data cannot be read.

    Example:
        >>> kzoo.recommend("runs/two_tower.likes-1", "jane", top=2)[0].items  # doctest: +SKIP
        ('Solaris', 'Stalker')
    """
    if top < 1:
        raise UsageError(f"Expected at least one item to name, received top={top}.")
    opened = open_source(source, runtime=runtime, threads=threads)
    recommender = opened.recommender
    if recommender is None:
        raise UsageError(f"Expected a model that recommends, received {opened.name}, which does not.")
    known = recommender.known
    names = [users] if isinstance(users, str) else list(users)
    ids = [known.user_ids.get(name, 0) for name in names]
    history = None
    if any(ids) and not seen:
        if opened.origin is None or opened.origin.is_in_memory:
            raise UsageError(
                f"Expected the training data to leave out what users took, received {opened.name}, which does not say "
                f"where they are. Ask for all items, with seen=True or --seen."
            )
        history = History.of(opened.dataset().train, known)
    found = []
    for name, user in zip(names, ids, strict=True):
        scores = recommender.scores(np.array([user], np.int32))[0]
        check_answer(scores, "finite scores", opened.name)
        had = set() if history is None else set((history.items_of(user) - 1).tolist())
        best = [place for place in np.argsort(-scores, kind="stable").tolist() if place not in had][:top]
        found.append(
            Recommendation(
                user=name,
                known=user > 0,
                items=tuple(known.items[place] for place in best),
                scores=tuple(float(scores[place]) for place in best),
            )
        )
    return found
