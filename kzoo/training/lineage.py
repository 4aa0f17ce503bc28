"""What a run builds on: the run whose weights it starts from, and its teachers."""

from __future__ import annotations

from pathlib import Path

from kzoo.data import Dataset
from kzoo.errors import RecipeError
from kzoo.recipes import Recipe
from kzoo.run import Run, is_run


def check_lineage(recipe: Recipe, dataset: Dataset) -> None:
    """Make sure that no sample of the test split was learned by a run that this one builds on.

    Where that run was trained on the same data and its test split is drawn from them, it must be drawn alike.

    Args:
        recipe: As resolved.
        dataset: Opened.

    Raises:
        RecipeError: It is drawn otherwise.
    """
    if "test" not in dataset.drawn:
        return
    transfer = () if recipe.transfer is None else (recipe.transfer.weights,)
    teachers = () if recipe.distillation is None else recipe.distillation.teachers
    for name in map(Path, (*transfer, *teachers)):
        path = name.parent if name.suffix == ".keras" else name
        if not is_run(path):
            continue
        before = Run(path)
        if before.info.data.fingerprint != dataset.fingerprint:
            continue
        drawn, wanted = _drawing(before.recipe), _drawing(recipe)
        if drawn != wanted:
            raise RecipeError(
                f"Expected splits as those of {path}, {drawn}, received {wanted}: samples that it has learned would be "
                f"in the test split. Take its values, or give the data a test split of their own."
            )


def _drawing(recipe: Recipe) -> str:
    """What decides which samples are drawn, as settings."""
    data = recipe.data
    return f"seed={recipe.seed} data.fractions={list(data.fractions)} data.classes_from={data.classes_from}"
