"""Which metrics a model of which task has."""

from __future__ import annotations

from .metrics import Metrics, summary_rows
from .reconstruction import ReconstructionMetrics, reconstruction_rows
from .similarity import SimilarityMetrics, similarity_rows

AnyMetrics = Metrics | SimilarityMetrics | ReconstructionMetrics


def metrics_of(task: str) -> type[AnyMetrics]:
    """Give the metrics of a task of the catalogue; those of a classifier for all but two."""
    if task == "similarity":
        return SimilarityMetrics
    return ReconstructionMetrics if task == "reconstruction" else Metrics


def metrics_rows(metrics: AnyMetrics) -> list[tuple[str, str]]:
    """Give any result as (name, value) rows for a terminal."""
    if isinstance(metrics, SimilarityMetrics):
        return similarity_rows(metrics)
    return reconstruction_rows(metrics) if isinstance(metrics, ReconstructionMetrics) else summary_rows(metrics)
