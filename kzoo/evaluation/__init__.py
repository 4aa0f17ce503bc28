"""How good a model is: metrics, plots and the report of a run.

Names are imported when they are first used, so that importing this package loads no matplotlib and no scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .metrics import ClassMetrics, Metrics, compute_metrics, summary_rows
    from .mistakes import ConfusedPair, Mistakes, collect_mistakes, most_confused, worst_mistakes
    from .plots import plot_class_scores, plot_confusion, plot_curves, plot_mistakes
    from .report import ReportContent, write_report

__all__ = [
    "ClassMetrics",
    "ConfusedPair",
    "Metrics",
    "Mistakes",
    "ReportContent",
    "collect_mistakes",
    "compute_metrics",
    "most_confused",
    "plot_class_scores",
    "plot_confusion",
    "plot_curves",
    "plot_mistakes",
    "summary_rows",
    "worst_mistakes",
    "write_report",
]

_MODULES = {
    "metrics": ("ClassMetrics", "Metrics", "compute_metrics", "summary_rows"),
    "mistakes": ("ConfusedPair", "Mistakes", "collect_mistakes", "most_confused", "worst_mistakes"),
    "plots": ("plot_class_scores", "plot_confusion", "plot_curves", "plot_mistakes"),
    "report": ("ReportContent", "write_report"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
