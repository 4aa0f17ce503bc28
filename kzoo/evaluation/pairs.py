"""Pairs of samples, of one class and of two, out of a labelled split."""

from __future__ import annotations

import numpy as np

from kzoo.errors import DataError

#: Pairs of either kind, of a class and of different ones, that are measured at most.
PAIRS = 5000


def choose_pairs(labels: np.ndarray, limit: int = PAIRS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of different samples, as many of one class as of two, at most `limit` of either.

    Args:
        labels: `(samples,)` class indices.
        limit: Of either kind; all there are where they are fewer.
        seed: Of the choice.

    Returns:
        Positions `(pairs, 2)` and whether the two are of one class `(pairs,)`.

    Raises:
        DataError: No class with two samples, or one class only.
    """
    first, second = np.triu_indices(len(labels), k=1)
    same = labels[first] == labels[second]
    if same.all() or not same.any():
        raise DataError(
            f"Expected at least two classes, one of them with two samples, to make pairs of. "
            f"Received: {len(labels)} samples of {len(np.unique(labels))} classes. Use more data or another split."
        )
    rng = np.random.default_rng(seed)
    chosen = []
    for kind in (True, False):
        places = np.flatnonzero(same == kind)
        chosen.append(np.sort(rng.choice(places, limit, replace=False)) if len(places) > limit else places)
    rows = np.concatenate(chosen)
    return np.stack([first[rows], second[rows]], axis=1), same[rows]
