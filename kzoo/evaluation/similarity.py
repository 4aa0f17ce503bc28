"""How well a model tells whether two samples belong together: pairs, equal error rate, threshold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from kzoo.source import BATCH

from .finite import check_figures
from .metrics import percent
from .pairs import choose_pairs

if TYPE_CHECKING:
    from kzoo.data import Split

# From two batches to the similarity of their samples, `(batch,)`.
Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]


class SimilarityMetrics(BaseModel):
    """How a model fared on pairs out of one split."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    split: str
    """The part of the dataset that was measured: train, val or test."""
    samples: int
    """Number of samples in it."""
    pairs: int
    """Pairs that were compared; half of them of one class, if there are enough."""
    eer: float
    """Equal error rate, 0 to 1: the error where as many pairs of a class are missed as others are accepted."""
    auc: float
    """Area under the receiver operating characteristic: how often a pair of a class is more similar than another."""
    threshold: float
    """Similarity from which two samples count as the same; chosen on the validation split."""
    accuracy: float
    """Mean of the shares of pairs of a class, and of others, that the threshold judges right."""
    false_accepts: float
    """Share of the pairs of different classes that are accepted."""
    false_rejects: float
    """Share of the pairs of a class that are missed."""

    @property
    def headline(self) -> str:
        """The one figure to name first."""
        return f"equal error rate {self.eer:.4f}"


def similarities(compare: Compare, split: Split, pairs: np.ndarray) -> np.ndarray:
    """Compare pairs of a split, batch by batch: `(pairs,)`."""
    parts = []
    for start in range(0, len(pairs), BATCH):
        left, right = pairs[start : start + BATCH].T
        parts.append(compare(split.load(left), split.load(right)))
    return np.concatenate(parts)


def equal_error(scores: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Give the equal error rate and the similarity at which it is reached.

    Args:
        scores: `(pairs,)`, the more similar the larger.
        same: `(pairs,)`, whether a pair is of one class.
    """
    from sklearn.metrics import roc_curve

    accepted, found, thresholds = roc_curve(same, scores, drop_intermediate=False)
    place = int(np.argmin(np.abs(accepted - (1 - found))))
    return float((accepted[place] + 1 - found[place]) / 2), float(min(thresholds[place], 1.0))


def measure_similarity(
    compare: Compare, split: Split, name: str, threshold: float | None = None
) -> tuple[SimilarityMetrics, np.ndarray, np.ndarray]:
    """Measure a model on pairs out of a split.

    Args:
        compare: The model.
        split: The samples.
        name: What the split is called.
        threshold: From which similarity two count as the same. Default: that of this split's equal error rate.

    Returns:
        The metrics, the similarities `(pairs,)` and whether each pair is of one class.

    Raises:
        DataError: No pairs can be made.
    """
    from sklearn.metrics import roc_auc_score

    pairs, same = choose_pairs(split.labels)
    scores = similarities(compare, split, pairs)
    check_figures(scores, "similarities")
    eer, at_equal_error = equal_error(scores, same)
    chosen = at_equal_error if threshold is None else threshold
    accepts = scores >= chosen
    false_accepts, false_rejects = float(accepts[~same].mean()), float((~accepts[same]).mean())
    metrics = SimilarityMetrics(
        split=name,
        samples=len(split),
        pairs=len(pairs),
        eer=eer,
        auc=float(roc_auc_score(same, scores)),
        threshold=chosen,
        accuracy=1 - (false_accepts + false_rejects) / 2,
        false_accepts=false_accepts,
        false_rejects=false_rejects,
    )
    return metrics, scores, same


def similarity_rows(metrics: SimilarityMetrics) -> list[tuple[str, str]]:
    """Give the result as (name, value) rows for a terminal."""
    return [
        ("Split", f"{metrics.split}, {metrics.pairs:,} pairs of {metrics.samples:,} samples"),
        ("Equal error rate", percent(metrics.eer)),
        ("Accuracy", f"{percent(metrics.accuracy)} at similarity {metrics.threshold:.3f}"),
        ("False accepts", percent(metrics.false_accepts)),
        ("False rejects", percent(metrics.false_rejects)),
        ("Area under ROC", f"{metrics.auc:.4f}"),
    ]
