"""Interactions as a dataset: which user took which item, ids learnt from the training split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kzoo.errors import DataError, nearest

from .dataset import SPLITS, Array, Dataset, Split
from .interaction import UNKNOWN, InteractionFrontEnd
from .labels import check_printable, natural_key
from .options import Options, expect_kind
from .spec import InputSpec
from .splitting import Rows, Share, missing_splits

USER, ITEM, TIMESTAMP = "user", "item", "timestamp"

# All samples are of it: a recommender learns from what was taken.
_CLASS = "interaction"
# Of a user with fewer interactions all are trained on where fractions are the default.
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class InteractionPart:
    """Interactions of one given split.

    Attributes:
        name: What to call them in reports.
        users: `(interactions,)` names.
        items: `(interactions,)` names.
        times: `(interactions,)` numbers, the later the larger; None where they are not known.
    """

    name: str
    users: Array
    items: Array
    times: Array | None


class InteractionSplit(Split):
    """Interactions as ids of user and item, `(2,)` int32."""

    def __init__(self, part: InteractionPart, rows: Rows, front_end: InteractionFrontEnd) -> None:
        self.labels = np.zeros(len(rows), np.int64)
        self._part = part
        self._rows = rows
        users = [front_end.user_ids.get(name, UNKNOWN) for name in part.users[rows].tolist()]
        items = [front_end.item_ids.get(name, UNKNOWN) for name in part.items[rows].tolist()]
        self._ids = np.array([users, items], np.int32).T

    def load(self, indices: ArrayLike) -> Array:
        """See `Split.load`."""
        return self._ids[np.asarray(indices, np.int64)]

    def whole(self) -> Array:
        """See `Split.whole`."""
        return self._ids

    def name(self, index: int) -> str:
        """See `Split.name`."""
        return f"{self._part.name}[{self._rows[index]}]"


@dataclass(frozen=True)
class History:
    """Which items each user took, by their ids; nothing of the user and the item that nobody knows.

    Attributes:
        starts: `(users + 1,)` int32: where each user's items begin in the next, and where the last one's end.
        items: `(interactions,)` int32 ids, each user's in ascending order.
        counts: `(items,)` int64, how often each item was taken.
    """

    starts: NDArray[np.int32]
    items: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, split: Split, front_end: InteractionFrontEnd) -> History:
        """Read it from a split, the training split as a rule."""
        pairs = split.load(np.arange(len(split)))
        known = np.unique(pairs[(pairs != UNKNOWN).all(axis=1)], axis=0)
        starts = np.searchsorted(known[:, 0], np.arange(len(front_end.users) + 2))
        counts = np.bincount(known[:, 1], minlength=len(front_end.items) + 1)
        return cls(starts.astype(np.int32), np.ascontiguousarray(known[:, 1]), counts)

    def items_of(self, user: int) -> NDArray[np.int32]:
        """Ids of the items that a user took."""
        return self.items[self.starts[user] : self.starts[user + 1]]


def from_interaction_arrays(arrays: Mapping[str, ArrayLike], name: str, source: str, options: Options) -> Dataset:
    """Make a dataset of the arrays `user`, `item` and, where there is one, `timestamp`.

    Raises:
        DataError: Keys, shapes or types that do not fit.
    """
    keys = (USER, ITEM, TIMESTAMP)
    unknown = [str(key) for key in arrays if key not in keys]
    if unknown:
        raise DataError(f"Unknown array {unknown[0]!r} in {source}. {nearest(unknown[0], keys)}")
    if USER not in arrays or ITEM not in arrays:
        raise DataError(f"Expected the arrays user and item in {source}. Received: {', '.join(arrays)}.")
    values = {key: np.asarray(array) for key, array in arrays.items()}
    shapes = {key: array.shape for key, array in values.items()}
    if len(set(shapes.values())) > 1 or values[USER].ndim != 1 or not values[USER].size:
        raise DataError(f"Expected arrays of one shape (interactions,), not empty, in {source}. Received: {shapes}.")
    for key in (USER, ITEM):
        if values[key].dtype.kind not in "uiUO":
            raise DataError(
                f"Expected whole numbers or strings as {key} in {source}. Received: type {values[key].dtype}."
            )
    times = values.get(TIMESTAMP)
    if times is not None and (times.dtype.kind not in "uif" or not np.isfinite(times).all()):
        raise DataError(f"Expected finite numbers as timestamp in {source}. Received: type {times.dtype}.")
    part = InteractionPart(name, values[USER].astype(np.str_), values[ITEM].astype(np.str_), times)
    return from_interactions({"train": part}, name, source, options)


def from_interactions(parts: Mapping[str, InteractionPart], name: str, source: str, options: Options) -> Dataset:
    """Make a dataset of interactions.

    What is missing of val and test is carved out of each user's interactions in train: the latest where their times are
    known, else any, by the seed. A user with few has them all in train. The same user and item count once.

    Args:
        parts: By split; `"train"` is among them.
        name: Short name of the dataset.
        source: What the user named.
        options: How to open it.

    Raises:
        DataError: A model that takes no interactions, names that are not printable, too few interactions.
    """
    expect_kind(options, "interaction", "interactions", source)
    shares = _assign(parts, options)
    for split, share in shares.items():
        if not len(share.rows):
            raise DataError(
                f"Expected interactions for {split}. Received: {source}, in which no user has {_FEWEST}. Add "
                f"interactions, or give the splits yourself as train.csv, val.csv and test.csv."
            )
    train = parts["train"]
    front_end = options.interactions or _build_front_end(
        train.users[shares["train"].rows].tolist(), train.items[shares["train"].rows].tolist()
    )
    splits = {split: InteractionSplit(parts[share.part], share.rows, front_end) for split, share in shares.items()}
    return Dataset(
        name=name,
        source=source,
        classes=(_CLASS,),
        input=InputSpec(kind="interaction", shape=front_end.shape, interactions=front_end),
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        fingerprint=_fingerprint(parts),
        drawn=tuple(missing_splits(parts, options.fractions)),
    )


def _build_front_end(users: Iterable[str], items: Iterable[str]) -> InteractionFrontEnd:
    """Learn who and what there is; of items that were taken equally often the first in the alphabet comes first."""
    counts = Counter(items)
    check_printable(tuple(counts), what="item")
    if len(counts) < 2:
        raise DataError(f"Expected at least two items to recommend. Received only {', '.join(counts)}.")
    frequent = sorted(counts, key=lambda item: (-counts[item], natural_key(item)))
    return InteractionFrontEnd(tuple(sorted(set(users), key=natural_key)), tuple(frequent))


def _assign(parts: Mapping[str, InteractionPart], options: Options) -> dict[str, Share]:
    """Say which interactions of which given part make up train, val and test."""
    missing = missing_splits(parts, options.fractions)
    once = {split: _once(part) for split, part in parts.items()}
    carved = _carve(parts["train"], once["train"], missing, options.seed)
    shares = {split: Share(split, rows) for split, rows in once.items()}
    shares.update({split: Share("train", rows) for split, rows in carved.items()})
    return {split: shares[split] for split in SPLITS}


def _once(part: InteractionPart) -> Rows:
    """Rows of the interactions without those that occurred before, in time or else in the file."""
    _, users = np.unique(part.users, return_inverse=True)
    names, items = np.unique(part.items, return_inverse=True)
    order = np.arange(len(users)) if part.times is None else np.argsort(part.times, kind="stable")
    _, first = np.unique((users.astype(np.int64) * len(names) + items)[order], return_index=True)
    return np.sort(order[first])


def _carve(part: InteractionPart, rows: Rows, missing: Mapping[str, float], seed: int) -> dict[str, Rows]:
    """Take a share of each user's last interactions for each missing split, the latest for test."""
    _, users = np.unique(part.users[rows], return_inverse=True)
    # Any order, or that of time with ties in any order; then user by user.
    order = np.random.RandomState(seed).permutation(len(rows))
    if part.times is not None:
        order = order[np.argsort(part.times[rows][order], kind="stable")]
    order = order[np.argsort(users[order], kind="stable")]
    counts = np.bincount(users)
    ends = np.cumsum(counts)
    owners = users[order]
    from_end = ends[owners] - 1 - np.arange(len(order))
    taken = np.zeros_like(counts)
    carved = {}
    for split in reversed(list(missing)):
        # One interaction at least stays in train.
        sizes = np.minimum((counts * missing[split] + 0.5).astype(np.int64), counts - taken - 1)
        chosen = (from_end >= taken[owners]) & (from_end < (taken + sizes)[owners])
        carved[split] = np.sort(rows[order[chosen]])
        taken = taken + sizes
    return {"train": np.sort(rows[order[from_end >= taken[owners]]]), **carved}


def _fingerprint(parts: Mapping[str, InteractionPart]) -> str:
    digest = hashlib.sha256()
    for split, part in parts.items():
        digest.update(f"{split} {len(part.users)}".encode())
        for user, item in zip(part.users.tolist(), part.items.tolist(), strict=True):
            digest.update(f"{user}\0{item}\0".encode("utf-8", "surrogatepass"))
        if part.times is not None:
            digest.update(np.asarray(part.times, np.float64).tobytes())
    return digest.hexdigest()
