"""A dataset: its three splits, its classes and what identifies it."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kzoo.errors import DataError, UsageError, some

from .spec import InputSpec
from .system import fits_memory

Array = NDArray[Any]
Labels = NDArray[np.int64]

SPLITS = ("train", "val", "test")


class Split(abc.ABC):
    """A sized, indexable part of a dataset; samples are read when they are asked for.

    Attributes:
        labels: `(samples,)` int64, indices into the dataset's classes.
    """

    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @abc.abstractmethod
    def load(self, indices: ArrayLike) -> Array:
        """Read samples by position.

        Args:
            indices: `(batch,)` whole numbers.

        Returns:
            `(batch, height, width, channels)` uint8 for images, `(batch, steps, features)` float32 for sequences,
            `(batch, length)` int32 for texts, `(batch, 2)` int32 for interactions.

        Raises:
            DataError: A file that has changed since the dataset was opened and cannot be read any more.
        """

    def whole(self) -> Array | None:
        """Read all samples at once, where they take at most a quarter of the memory that is free.

        Returns:
            As `load`, in the split's order, and not to be written to; None where memory is short.

        Raises:
            DataError: As `load`.
        """
        if not fits_memory(self.load([0]).nbytes * len(self)):
            return None
        return self.load(np.arange(len(self)))

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """Say where a sample comes from: a file's path, or a place in an array such as `train[12]`."""

    def text(self, index: int) -> str | None:
        """Give a sample as a reader can read it; None for what is no text."""
        return None


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A dataset that is known by name.

    Attributes:
        name: What `open_dataset` takes.
        description: One line.
        classes: The number of classes.
        shape: One sample as an image: `(height, width, channels)`.
        offline: Whether it opens now without a network.
    """

    name: str
    description: str
    classes: int
    shape: tuple[int, ...]
    offline: bool


@dataclass(frozen=True)
class Dataset:
    """Labelled samples in three splits; those that are drawn share none.

    Attributes:
        name: Short, for reports.
        source: What was opened: a name or a path.
        classes: Class names; a label is a place in them.
        input: Kind and shape of one sample.
        train: What the model learns from.
        val: What checkpoints and settings are chosen by.
        test: What figures are reported on.
        fingerprint: SHA-256 of the content, the same on every machine; it does not depend on seed or size.
        skipped: Images or sounds that could not be read, each with the reason.
        repeated: Files of validation and test whose content an earlier split has as well, each with the other's path.
        drawn: The splits that the source did not have: they were drawn from its training samples.
    """

    name: str
    source: str
    classes: tuple[str, ...]
    input: InputSpec
    train: Split
    val: Split
    test: Split
    fingerprint: str
    skipped: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()

    @property
    def tells_apart(self) -> str:
        """What a model of it tells apart, and how many: classes, or users and items."""
        known = self.input.interactions
        if known is not None:
            return f"{len(known.users):,} users, {len(known.items):,} items"
        return f"{len(self.classes)} classes"

    def split(self, name: str) -> Split:
        """Give a split by its name.

        Raises:
            UsageError: For another name than train, val and test.
        """
        if name not in SPLITS:
            raise UsageError(f"Expected a split out of {', '.join(SPLITS)}. Received: split={name!r}.")
        chosen: Split = getattr(self, name)
        return chosen

    def describe(self) -> dict[str, Any]:
        """Give all that is known without reading samples, in values that JSON can hold."""
        return {
            "name": self.name,
            "source": self.source,
            "fingerprint": self.fingerprint,
            "input": self.input.to_dict(),
            "classes": list(self.classes),
            "splits": {name: self._describe_split(name) for name in SPLITS},
            "skipped": list(self.skipped),
            "repeated": list(self.repeated),
        }

    def _describe_split(self, name: str) -> dict[str, Any]:
        split = self.split(name)
        counts = np.bincount(split.labels, minlength=len(self.classes)).tolist()
        return {"samples": len(split), "per_class": dict(zip(self.classes, counts, strict=True))}


class _SelectedSplit(Split):
    """Some samples of a split."""

    def __init__(self, split: Split, rows: NDArray[np.int64]) -> None:
        self._split = split
        self._rows = rows
        self.labels = split.labels[rows]

    def load(self, indices: ArrayLike) -> Array:
        return self._split.load(self._rows[np.asarray(indices, np.int64)])

    def name(self, index: int) -> str:
        return self._split.name(int(self._rows[index]))

    def text(self, index: int) -> str | None:
        return self._split.text(int(self._rows[index]))


def of_class(split: Split, label: int) -> Split:
    """Give the samples of one class of a split, in its order."""
    return _SelectedSplit(split, np.flatnonzero(split.labels == label))


class _RelabelledSplit(Split):
    """The same samples under other labels."""

    def __init__(self, split: Split, labels: Labels) -> None:
        self._split = split
        self.labels = labels

    def load(self, indices: ArrayLike) -> Array:
        return self._split.load(indices)

    def whole(self) -> Array | None:
        return self._split.whole()

    def name(self, index: int) -> str:
        return self._split.name(index)

    def text(self, index: int) -> str | None:
        return self._split.text(index)


def match_classes(dataset: Dataset, model_classes: Sequence[str]) -> Dataset:
    """Bring a dataset's labels into the order of a trained model's classes.

    A dataset may lack some of the model's classes; the model must know all of the dataset's.

    Raises:
        DataError: A class that the model does not know.
    """
    known = tuple(model_classes)
    if dataset.classes == known:
        return dataset
    place = {name: index for index, name in enumerate(known)}
    unknown = [name for name in dataset.classes if name not in place]
    if unknown:
        raise DataError(
            f"{dataset.name} has labels that are not the model's: {some(unknown)}. The model knows {some(known)}. "
            "Use data with the model's classes, or train on this data first."
        )
    places = np.array([place[name] for name in dataset.classes], np.int64)
    train, val, test = (_RelabelledSplit(split, places[split.labels]) for split in map(dataset.split, SPLITS))
    return dataclasses.replace(dataset, classes=known, train=train, val=val, test=test)
