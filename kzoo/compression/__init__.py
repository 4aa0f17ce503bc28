"""Compression: from a run to a smaller one, fine-tuned on the run's own data."""

from __future__ import annotations

from .pipeline import compress
from .search import Budget, Search, search

__all__ = ["Budget", "Search", "compress", "search"]
