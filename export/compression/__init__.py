"""A trained Keras model in, a smaller Keras model of the same inputs and outputs out.

Importing this package imports neither TensorFlow nor Keras nor TF-MOT. The modules that take a bridged model import all
of them: they belong into a child process, since TF-MOT changes the process it is imported into.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .low_rank import LayerRank, LowRankReport, factorise
    from .settings import Criterion
    from .structured import FilterReport, LayerWidth, remove_filters

_HOMES = {
    "Criterion": "settings",
    "FilterReport": "structured",
    "LayerRank": "low_rank",
    "LayerWidth": "structured",
    "LowRankReport": "low_rank",
    "factorise": "low_rank",
    "remove_filters": "structured",
}

__all__ = [
    "Criterion",
    "FilterReport",
    "LayerRank",
    "LayerWidth",
    "LowRankReport",
    "factorise",
    "remove_filters",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
