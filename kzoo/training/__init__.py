"""Training: from a recipe to a run directory."""

from __future__ import annotations

from .dry_run import DryRun, dry_run
from .plan import Plan, make_plan, resolve_recipe
from .reporter import LogReporter, Reporter
from .train import describe, train

__all__ = ["DryRun", "LogReporter", "Plan", "Reporter", "describe", "dry_run", "make_plan", "resolve_recipe", "train"]
