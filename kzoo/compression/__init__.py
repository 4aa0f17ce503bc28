"""Compression: from a run to a smaller one, fine-tuned on the run's own data."""

from __future__ import annotations

from .pipeline import compress

__all__ = ["compress"]
