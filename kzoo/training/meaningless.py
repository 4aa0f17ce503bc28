"""Settings that would be ignored by a model or its data."""

from __future__ import annotations

from kzoo.data import InputSpec
from kzoo.errors import RecipeError
from kzoo.recipes import Recipe
from kzoo.recipes.schema import AugmentationSection
from kzoo.run import is_run


def refuse_settings_of_classes(recipe: Recipe, learns: str) -> None:
    """Make sure that nothing is asked for that means something to a classifier alone.

    Args:
        recipe: Of a model that is none.
        learns: What it does instead, for the message.

    Raises:
        RecipeError: Such a setting.
    """
    meaningless = {
        "augmentation": recipe.augmentation != AugmentationSection(),
        "class_weights": recipe.class_weights is not None,
        "distillation": recipe.distillation is not None,
        "regularisation.label_smoothing": recipe.regularisation.label_smoothing > 0,
    }
    for key, given in meaningless.items():
        if given:
            raise RecipeError(f"{key}: {recipe.model.name} {learns}. Leave it out.")


def check_sections(recipe: Recipe, task: str, spec: InputSpec) -> None:
    """Make sure that no section is meant for other data or another model.

    Args:
        recipe: The recipe.
        task: Of its model.
        spec: The input that the data gave.

    Raises:
        RecipeError: One is.
    """
    for section in ("similarity", "reconstruction"):
        if getattr(recipe, section) is not None and section != task:
            raise RecipeError(f"{section} is for a model of that task, and {recipe.model.name} is none. Leave it out.")
    for section, used, many in (("sound", spec.sound, "recordings"), ("text", spec.text, "texts")):
        chosen = getattr(recipe, section).model_dump(exclude_defaults=True)
        if chosen and used is None:
            raise RecipeError(f"{section}.{next(iter(chosen))} is for {many}, and the data are none. Leave it out.")
    learned = spec.text or spec.interactions
    if learned is not None and recipe.transfer is not None and not is_run(recipe.transfer.weights):
        many, known = ("texts", "vocabulary") if spec.text else ("interactions", "users and items")
        raise RecipeError(
            f"Expected --weights of a model for {many} to be a run, which has their {known}, "
            f"received {recipe.transfer.weights}."
        )
