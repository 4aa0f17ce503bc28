"""The predictions that went wrong: which ones, and which classes they mix up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .metrics import Metrics


class Samples(Protocol):
    """What is needed of a split to show its samples; `kzoo.data.Split` fits."""

    @property
    def labels(self) -> np.ndarray:
        """`(samples,)` class indices."""

    def load(self, indices: np.ndarray) -> np.ndarray:
        """Return the samples, `(len(indices), *shape)`."""

    def name(self, index: int) -> str:
        """Return a name that finds the sample again."""

    def text(self, index: int) -> str | None:
        """Return a sample as a reader can read it; None for what is no text."""


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Wrong predictions with the samples that caused them, the most confident first."""

    samples: np.ndarray
    """`(count, height, width, channels)` pixels 0 to 255, `(count, steps, features)` sequences or `(count, length)`."""
    labels: np.ndarray
    """`(count,)` true class indices."""
    probabilities: np.ndarray
    """`(count, classes)`."""
    names: Sequence[str]
    """File name, or place in the dataset, of each sample."""
    texts: Sequence[str] = ()
    """What the samples say, where they are texts."""


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """Samples of one class that were taken for another."""

    true: str
    """Name of the class they belong to."""
    predicted: str
    """Name of the class they were taken for."""
    count: int
    """Number of such samples."""
    support: int
    """All samples of the true class."""


def worst_mistakes(probabilities: np.ndarray, labels: np.ndarray, limit: int = 24) -> np.ndarray:
    """Find the wrong predictions the model was surest of.

    Args:
        probabilities: `(samples, classes)`.
        labels: `(samples,)` class indices.
        limit: how many to return at most.

    Returns:
        Indices of samples, the most confident mistake first; empty if every prediction is right.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order][:limit]


def collect_mistakes(split: Samples, probabilities: np.ndarray, limit: int = 24) -> Mistakes:
    """Load the worst mistakes of a split, as a report shows them.

    Args:
        split: the samples that were predicted; only the mistakes are loaded.
        probabilities: `(samples, classes)`, in the order of the split.
        limit: how many to load at most.
    """
    worst = worst_mistakes(probabilities, split.labels, limit)
    return Mistakes(
        samples=split.load(worst) if len(worst) else np.zeros((0, 0, 0)),
        labels=split.labels[worst],
        probabilities=probabilities[worst],
        names=[split.name(int(index)) for index in worst],
        texts=[text for index in worst if (text := split.text(int(index))) is not None],
    )


def most_confused(metrics: Metrics, limit: int = 10) -> list[ConfusedPair]:
    """List the pairs of classes that are mixed up most often, by count, then by share of the true class."""
    rows, columns, counts = metrics.confused().T
    wrong = rows != columns
    rows, columns, counts = rows[wrong], columns[wrong], counts[wrong]
    support = np.array([record.support for record in metrics.classes])
    # lexsort sorts by its last key first.
    order = np.lexsort((support[rows], -counts))[:limit]
    return [
        ConfusedPair(
            true=metrics.classes[row].name,
            predicted=metrics.classes[column].name,
            count=count,
            support=int(support[row]),
        )
        for row, column, count in zip(
            rows[order].tolist(), columns[order].tolist(), counts[order].tolist(), strict=True
        )
    ]
