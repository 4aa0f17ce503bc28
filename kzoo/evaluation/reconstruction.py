"""How well a model that gives back its input tells anomalies by its error: areas under the curve, threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from kzoo.errors import DataError
from kzoo.source import BATCH

from .finite import check_figures
from .metrics import percent

if TYPE_CHECKING:
    from kzoo.data import Split

#: Largest share of false alarms that the partial area counts, as DCASE 2020 task 2 has it (arXiv 2006.05822).
PARTIAL = 0.1

# From a batch to the mean squared error of its samples, `(batch,)`.
Errors = Callable[[np.ndarray], np.ndarray]


class ReconstructionMetrics(BaseModel):
    """How a model fared on the normal samples and the anomalies of one split."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    split: str
    """The part of the dataset that was measured: train, val or test."""
    samples: int
    """Number of samples in it."""
    anomalies: int
    """How many of them are of another class than the normal one."""
    normal: str
    """Name of the normal class."""
    error: float
    """Mean squared error of the normal samples, in the data's own units squared."""
    auc: float | None
    """Area under the receiver operating characteristic: how often an anomaly has a larger error than a normal sample.
    None where the split holds no anomalies, as the next."""
    partial_auc: float | None
    """The same up to 10 % of false alarms, 0.5 for guessing and 1 at best."""
    threshold: float
    """Error above which a sample counts as an anomaly; chosen on the validation split."""
    accuracy: float
    """Mean of the shares of normal samples, and of anomalies, that the threshold judges right."""
    false_alarms: float
    """Share of the normal samples that are taken for anomalies."""
    misses: float | None
    """Share of the anomalies that are taken for normal; None where there are none."""

    @property
    def headline(self) -> str:
        """The one figure to name first."""
        return f"accuracy {self.accuracy:.4f}" if self.auc is None else f"area under ROC {self.auc:.4f}"


def errors_of(errors: Errors, split: Split) -> np.ndarray:
    """Measure the error of every sample of a split, in its order: `(samples,)`.

    Raises:
        DataError: An error that is not finite.
    """
    starts = range(0, len(split), BATCH)
    found = np.concatenate([errors(split.load(np.arange(start, min(start + BATCH, len(split))))) for start in starts])
    check_figures(found, "errors")
    return found


def measure_reconstruction(
    errors: Errors, split: Split, name: str, *, label: int, normal: str, threshold: float | None
) -> tuple[ReconstructionMetrics, np.ndarray, np.ndarray]:
    """Measure a model on a split.

    Args:
        errors: The model.
        split: The samples.
        name: What the split is called.
        label: Of the normal class, in the split.
        normal: Name of that class.
        threshold: Error above which a sample counts as an anomaly. Default: what 95 of 100 normal samples of this split
            stay below.

    Returns:
        The metrics, the errors `(samples,)` and whether each sample is an anomaly.

    Raises:
        DataError: No normal samples, or errors that are not finite.
    """
    anomalous = split.labels != label
    if anomalous.all():
        raise DataError(f"Expected samples of the normal class {normal!r} in {name}, received none. Use another split.")
    found = errors_of(errors, split)
    chosen = threshold_of(found[~anomalous]) if threshold is None else threshold
    alarms = found > chosen
    false_alarms = float(alarms[~anomalous].mean())
    misses = float((~alarms[anomalous]).mean()) if anomalous.any() else None
    metrics = ReconstructionMetrics(
        split=name,
        samples=len(found),
        anomalies=int(anomalous.sum()),
        normal=normal,
        error=float(found[~anomalous].mean()),
        auc=area_under_roc(found, anomalous),
        partial_auc=area_under_roc(found, anomalous, PARTIAL),
        threshold=chosen,
        accuracy=1 - (false_alarms if misses is None else (false_alarms + misses) / 2),
        false_alarms=false_alarms,
        misses=misses,
    )
    return metrics, found, anomalous


def threshold_of(normal_errors: np.ndarray, percentile: float = 95.0) -> float:
    """Give the error that a percentage of normal samples stays below."""
    return float(np.percentile(normal_errors, percentile))


def area_under_roc(errors: np.ndarray, anomalous: np.ndarray, most_alarms: float | None = None) -> float | None:
    """Say how well errors part anomalies from normal samples, 1 at best; None where there are no two kinds.

    Args:
        errors: `(samples,)`.
        anomalous: `(samples,)`, whether a sample is an anomaly.
        most_alarms: Share of false alarms up to which the area counts; it is scaled to 0.5 for guessing.
    """
    from sklearn.metrics import roc_auc_score

    if anomalous.all() or not anomalous.any():
        return None
    return float(roc_auc_score(anomalous, errors, max_fpr=most_alarms))


def reconstruction_rows(metrics: ReconstructionMetrics) -> list[tuple[str, str]]:
    """Give the result as (name, value) rows for a terminal."""
    rows = [
        ("Split", f"{metrics.split}, {metrics.samples:,} samples, {metrics.anomalies:,} of them anomalies"),
        ("Normal", metrics.normal),
        ("Area under ROC", _written(metrics.auc)),
        ("Up to 10% false alarms", _written(metrics.partial_auc)),
        ("Accuracy", f"{percent(metrics.accuracy)} at error {metrics.threshold:.4g}"),
    ]
    rows.append(("False alarms", percent(metrics.false_alarms)))
    return rows if metrics.misses is None else [*rows, ("Misses", percent(metrics.misses))]


def _written(area: float | None) -> str:
    return "unknown without anomalies" if area is None else f"{area:.4f}"
