"""What a classifier got right and wrong on one split, counted by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, field_validator

from kzoo.errors import DataError, KzooError

from .exit_curve import ExitPoint

TOP = 5


class ClassMetrics(BaseModel):
    """How one class fared. A ratio whose denominator is zero is 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """Name of the class."""
    precision: float
    """Share of the predictions of this class that are right, 0 to 1."""
    recall: float
    """Share of this class's samples that are found, 0 to 1."""
    f1: float
    """Harmonic mean of precision and recall, 0 to 1."""
    support: int
    """Samples of this class in the split; with 0, recall and F1 say nothing."""


class Metrics(BaseModel):
    """How a classifier fared on one split."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    split: str
    """The part of the dataset that was measured: train, val or test."""
    samples: int
    """Number of samples measured."""
    accuracy: float
    """Share of samples whose most probable class is the true one, 0 to 1."""
    top5: float
    """Share of samples whose true class is among the five (or all, if fewer) most probable, 0 to 1."""
    precision: float
    """Unweighted mean of the precisions of the classes that occur as a label or a prediction."""
    recall: float
    """Unweighted mean of the recalls of the classes that occur as a label or a prediction."""
    f1: float
    """Unweighted mean of the F1 scores of the classes that occur as a label or a prediction."""
    classes: tuple[ClassMetrics, ...]
    """One record a class, in the order of the model's outputs."""
    confusion: list[dict[int, int]]
    """One row a true class: how many of its samples were taken for which class, by index; classes without any are left
    out, so that thousands of classes need no millions of zeros."""
    exit_threshold: float | None = None
    """Where a network has early classifiers: the probability with which a sample left, for the figures above."""
    exits: tuple[ExitPoint, ...] = ()
    """Where a network has early classifiers: accuracy and multiply–accumulates at this and other thresholds."""

    @field_validator("confusion", mode="before")
    @classmethod
    def _without_zeros(cls, rows: Any) -> Any:
        """Take the full matrix that kzoo 0.1.0 wrote."""
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            return rows
        return [{column: count for column, count in enumerate(row) if count} for row in rows]

    @property
    def headline(self) -> str:
        """The one figure to name first."""
        return f"accuracy {self.accuracy:.4f}"

    @property
    def mistakes(self) -> int:
        """Number of samples whose most probable class is not the true one."""
        return self.samples - sum(row.get(index, 0) for index, row in enumerate(self.confusion))

    def confused(self) -> np.ndarray:
        """`(cells, 3)` whole numbers: true class, predicted class and count of all that is not zero, right ones too."""
        cells = [(true, *cell) for true, row in enumerate(self.confusion) for cell in row.items()]
        return np.array(cells, np.int64).reshape(-1, 3)


def compute_metrics(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], split: str = "test"
) -> Metrics:
    """Measure predictions against the truth.

    The macro means follow scikit-learn: over the classes that occur as a label or as a prediction, so that a class
    which the split does not have, and nobody predicts, costs nothing.

    Args:
        probabilities: `(samples, classes)`, the larger the more probable.
        labels: `(samples,)` integers, indices into `classes`.
        classes: names, in the order of the model's outputs.
        split: name of the part of the dataset that was measured.

    Raises:
        DataError: no samples, or labels and probabilities that do not fit each other or the classes.
        KzooError: probabilities that are NaN or infinite.

    Example:
        >>> compute_metrics(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), ["cat", "dog"]).accuracy
        0.5
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support, top_k_accuracy_score

    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    _check(probabilities, labels, classes)
    indices = np.arange(len(classes))
    predicted = probabilities.argmax(axis=1)
    # Among five classes or fewer the true one is always in the top five; scikit-learn would warn of it.
    top5 = 1.0 if len(classes) <= TOP else top_k_accuracy_score(labels, probabilities, k=TOP, labels=indices)
    macro = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    by_class = precision_recall_fscore_support(labels, predicted, labels=indices, zero_division=0)
    return Metrics(
        split=split,
        samples=len(labels),
        accuracy=float(accuracy_score(labels, predicted)),
        top5=float(top5),
        precision=float(macro[0]),
        recall=float(macro[1]),
        f1=float(macro[2]),
        classes=tuple(
            ClassMetrics(name=name, precision=precision, recall=recall, f1=f1, support=support)
            for name, precision, recall, f1, support in zip(
                classes, *(column.tolist() for column in by_class), strict=True
            )
        ),
        confusion=_confusion(labels, predicted, len(classes)),
    )


def _confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> list[dict[int, int]]:
    rows: list[dict[int, int]] = [{} for _ in range(classes)]
    cells, counts = np.unique(labels.astype(np.int64) * classes + predicted, return_counts=True)
    for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
        rows[cell // classes][cell % classes] = count
    return rows


def percent(ratio: float) -> str:
    """Write a ratio as a percentage that never rounds up to perfection."""
    if ratio == 1:
        return "100%"
    text = f"{100 * ratio:.1f}%"
    return ">99.9%" if text == "100.0%" else text


def summary_rows(metrics: Metrics) -> list[tuple[str, str]]:
    """Give the result as (name, value) rows for a terminal.

    The top-5 row is left out where five guesses cannot miss, the last two where nothing is wrong.
    """
    from .mistakes import most_confused

    rows = [
        ("Split", f"{metrics.split}, {metrics.samples:,} samples"),
        ("Accuracy", percent(metrics.accuracy)),
        ("Top-5 accuracy", percent(metrics.top5)),
        ("Macro F1", percent(metrics.f1)),
        ("Macro precision", percent(metrics.precision)),
        ("Macro recall", percent(metrics.recall)),
    ]
    if len(metrics.classes) <= TOP:
        del rows[2]
    rows += [("Early exits", _exits(point)) for point in metrics.exits if point.threshold == metrics.exit_threshold]
    if metrics.mistakes:
        weakest = min((record for record in metrics.classes if record.support), key=lambda record: record.f1)
        pair = most_confused(metrics, limit=1)[0]
        rows.append(("Weakest class", f"{weakest.name}, F1 {percent(weakest.f1)}"))
        rows.append(("Most confused", f"{pair.true} taken for {pair.predicted}, {pair.count} of {pair.support}"))
    return rows


def _exits(point: ExitPoint) -> str:
    *early, last = (percent(share) for share in point.shares)
    shares = ", ".join(f"{share} at exit {number}" for number, share in enumerate(early, start=1))
    return (
        f"{shares}, {last} at the end; {point.macs / 1e6:,.1f} M multiply-adds on average; "
        f"threshold {point.threshold:g}"
    )


def _check(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] != len(classes):
        raise DataError(
            f"Expected probabilities of shape (samples, {len(classes)}), one column a class. "
            f"Received: shape {probabilities.shape}. Evaluate on the classes the model was trained on."
        )
    if labels.shape != probabilities.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"Expected {len(probabilities)} integer labels, one a row of probabilities. "
            f"Received: shape {labels.shape}, dtype {labels.dtype}. Pass class indices, not one-hot rows."
        )
    if not len(labels):
        raise DataError("Expected at least one sample. Received: an empty split. Choose another split.")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(
            f"Expected labels from 0 to {len(classes) - 1}, the model's classes. Received: labels from {labels.min()} "
            f"to {labels.max()}. Evaluate on the classes the model was trained on."
        )
    broken = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(broken):
        raise KzooError(
            f"Expected finite probabilities. Received: NaN or infinity for {len(broken):,} of {len(labels):,} samples, "
            f"first for sample {broken[0]}. The weights have diverged: train again with a lower learning rate."
        )
