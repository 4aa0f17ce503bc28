"""Splits that are stratified, seeded and the same on every machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kzoo.errors import DataError, some

from .dataset import SPLITS, Labels

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Share:
    """What a split takes: these rows of this given part."""

    part: str
    rows: Rows


def assign(
    given: Mapping[str, Labels],
    classes: Sequence[str],
    fractions: tuple[float, float, float],
    seed: int,
    contents: Sequence[str] | None = None,
) -> dict[str, Share]:
    """Say which rows of which given part make up train, val and test.

    A part that is given is taken whole. What is missing is carved out of `train`: its fraction of each class.

    Args:
        given: Labels `(samples,)` of each part there is; `"train"` is always among them.
        classes: Class names.
        fractions: Of train, val and test. Only those of missing parts count.
        seed: Another seed carves other samples.
        contents: See `carve`.

    Raises:
        DataError: A class with fewer samples than splits to fill.
    """
    missing = missing_splits(given, fractions)
    shares = {name: Share(name, np.arange(len(labels))) for name, labels in given.items()}
    carved = carve(given["train"], classes, missing, seed, contents)
    shares.update({name: Share("train", rows) for name, rows in carved.items()})
    return {name: shares[name] for name in SPLITS}


def missing_splits(given: Collection[str], fractions: tuple[float, float, float]) -> dict[str, float]:
    """Give the splits that have to be drawn, and the fraction of each."""
    return {name: fraction for name, fraction in zip(SPLITS, fractions, strict=True) if name not in given}


def carve(
    labels: Labels, classes: Sequence[str], parts: Mapping[str, float], seed: int, contents: Sequence[str] | None = None
) -> dict[str, Rows]:
    """Carve stratified parts out of samples; what remains is `train`.

    Args:
        labels: `(samples,)`.
        classes: Class names.
        parts: Each with its fraction.
        seed: Another seed carves other samples.
        contents: What each sample holds, such as a file's digest: copies of one go where the first of them goes. None:
            no sample is another's copy.

    Returns:
        Ascending rows of `"train"` and of each part; every row is in exactly one of them. A part gets its fraction of
        each class, rounded to the nearest whole number and at least 1, and the copies of what it got.

    Raises:
        DataError: A class with fewer different samples than `len(parts) + 1`.
    """
    if contents is not None:
        _, first, group = np.unique(np.asarray(contents), return_index=True, return_inverse=True)
        first_of = first[group]
        originals = np.unique(first_of)
        carved = carve(labels[originals], classes, parts, seed)
        return {name: np.flatnonzero(np.isin(first_of, originals[rows])) for name, rows in carved.items()}
    _check_enough(labels, classes, needed=len(parts) + 1)
    # The stream of RandomState is frozen for ever; that of default_rng may change with NumPy's version.
    random = np.random.RandomState(seed)
    chosen: dict[str, list[Rows]] = {name: [] for name in ("train", *parts)}
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels, minlength=len(classes)))[:-1])
    for members in filter(len, by_class):
        shuffled = random.permutation(members)
        start = 0
        for name, count in _counts(len(members), parts).items():
            chosen[name].append(shuffled[start : start + count])
            start += count
        chosen["train"].append(shuffled[start:])
    return {name: np.sort(np.concatenate(rows)) for name, rows in chosen.items()}


def _counts(members: int, parts: Mapping[str, float]) -> dict[str, int]:
    counts = {name: max(1, int(members * fraction + 0.5)) for name, fraction in parts.items()}
    while sum(counts.values()) >= members:
        # Rounding must not leave train empty.
        counts[max(counts, key=lambda name: counts[name])] -= 1
    return counts


def _check_enough(labels: Labels, classes: Sequence[str], needed: int) -> None:
    counts = np.bincount(labels, minlength=len(classes))
    # A class that is not there at all is in none of the splits that are carved.
    few = [f"{name} has {count}" for name, count in zip(classes, counts, strict=True) if 0 < count < needed]
    if few:
        raise DataError(
            f"Expected at least {needed} different samples of each class, to fill {needed} splits. Received: "
            f"{some(few)}. Add samples, leave the class out, or give the splits yourself."
        )
