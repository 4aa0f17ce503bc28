"""Recipes: what decides how a model is trained, as checked data."""

from __future__ import annotations

from .resolve import dump_recipe, find_recipe, list_recipes, load_recipe, parse_setting
from .schema import Recipe

__all__ = ["Recipe", "dump_recipe", "find_recipe", "list_recipes", "load_recipe", "parse_setting"]
