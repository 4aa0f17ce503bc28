"""What leaving early costs and saves: accuracy against multiply–accumulates over the thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from kzoo.exits import leave_at

# From where nearly all leave at the first classifier to where none does. Above 1 no probability is sure enough.
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.1)


class ExitPoint(BaseModel):
    """One threshold of a network with early classifiers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    threshold: float
    """A sample leaves at the first classifier whose largest probability is at least this; above 1 none leaves early."""
    accuracy: float
    """Share of samples whose classifier is right, 0 to 1."""
    macs: float
    """Multiply–accumulates of a sample on average."""
    shares: tuple[float, ...]
    """Share of the samples that leave at each classifier, the earliest first."""


def exit_curve(
    answers: np.ndarray, labels: np.ndarray, macs: Sequence[int], thresholds: Sequence[float] = THRESHOLDS
) -> tuple[ExitPoint, ...]:
    """Measure a network at several thresholds.

    Args:
        answers: `(samples, exits, classes)` probabilities, the earliest classifier first.
        labels: `(samples,)` class indices.
        macs: Of a sample that leaves at each classifier.
        thresholds: Which to measure.
    """
    right = answers.argmax(axis=2) == np.asarray(labels)[:, None]
    samples = np.arange(len(answers))
    points = []
    for threshold in thresholds:
        places = leave_at(answers, threshold)
        counts = np.bincount(places, minlength=answers.shape[1])
        points.append(
            ExitPoint(
                threshold=threshold,
                accuracy=float(right[samples, places].mean()),
                macs=float(np.asarray(macs)[places].mean()),
                shares=tuple((counts / len(answers)).tolist()),
            )
        )
    return tuple(points)


def cheapest_threshold(curve: Sequence[ExitPoint]) -> float:
    """Choose the threshold of least work that is as accurate as the whole network, which the last point stands for."""
    whole = curve[-1].accuracy
    return min((point for point in curve if point.accuracy >= whole), key=lambda point: point.macs).threshold
