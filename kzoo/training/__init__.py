"""Training: from a recipe to a run directory."""

from __future__ import annotations

from .estimate import DryRun, dry_run
from .fit import describe, train
from .plan import Plan, make_plan, resolve_recipe
from .reporter import LogReporter, Reporter

__all__ = ["DryRun", "LogReporter", "Plan", "Reporter", "describe", "dry_run", "make_plan", "resolve_recipe", "train"]
