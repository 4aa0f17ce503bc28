"""Which metrics a model of which task has."""

from __future__ import annotations

from .metrics import Metrics, summary_rows
from .ranking import RankingMetrics, ranking_rows
from .reconstruction import ReconstructionMetrics, reconstruction_rows
from .similarity import SimilarityMetrics, similarity_rows

AnyMetrics = Metrics | SimilarityMetrics | ReconstructionMetrics | RankingMetrics


def metrics_of(task: str) -> type[AnyMetrics]:
    """Give the metrics of a task of the catalogue; those of a classifier for all but three."""
    kinds: dict[str, type[AnyMetrics]] = {
        "similarity": SimilarityMetrics,
        "reconstruction": ReconstructionMetrics,
        "recommendation": RankingMetrics,
    }
    return kinds.get(task, Metrics)


def metrics_rows(metrics: AnyMetrics) -> list[tuple[str, str]]:
    """Give any result as (name, value) rows for a terminal."""
    match metrics:
        case SimilarityMetrics():
            return similarity_rows(metrics)
        case ReconstructionMetrics():
            return reconstruction_rows(metrics)
        case RankingMetrics():
            return ranking_rows(metrics)
    return summary_rows(metrics)
