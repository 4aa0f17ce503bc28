"""Learning what is normal: the class that a model which gives back its input learns, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from kzoo.data import Dataset, of_class
from kzoo.errors import DataError, RecipeError, nearest
from kzoo.recipes import Recipe
from kzoo.recipes.schema import ReconstructionSection

from .meaningless import refuse_settings_of_classes

# What MLPerf Tiny's sounds and MVTec AD's parts call the class without anomalies.
NORMAL_NAMES = ("normal", "good", "ok")


def keep_normal(recipe: Recipe, dataset: Dataset) -> tuple[Recipe, Dataset]:
    """Leave nothing but normal samples to train and to validate on; the test split keeps the anomalies.

    Args:
        recipe: Of a model that gives back its input.
        dataset: Opened with `one_class`.

    Returns:
        The recipe with the name of the normal class, and the dataset.

    Raises:
        RecipeError: Settings that mean nothing to such a model, or a class that is not in the data.
        DataError: No normal samples to train or to validate on.
    """
    refuse_settings_of_classes(recipe, "learns to give back its input, as it is and whatever its class")
    section = recipe.reconstruction or ReconstructionSection()
    normal = section.normal if section.normal is not None else normal_class(dataset.classes)
    if normal not in dataset.classes:
        raise RecipeError(f"reconstruction.normal: unknown class {normal!r}. {nearest(normal, dataset.classes)}")
    label = dataset.classes.index(normal)
    train, val = (of_class(split, label) for split in (dataset.train, dataset.val))
    for name, split in (("train", train), ("val", val)):
        if not len(split):
            raise DataError(
                f"Expected samples of the normal class {normal!r} in {name} of {dataset.name}, received none. "
                f"Name another class with --set reconstruction.normal=NAME."
            )
    settled = recipe.model_copy(update={"reconstruction": section.model_copy(update={"normal": normal})})
    return settled, dataclasses.replace(dataset, train=train, val=val)


def begin_at_mean(model: keras.Model) -> None:
    """Let a fresh model that gives back its input begin with the features' means and deviations.

    What comes out has the features' own units, and many steps would be spent on reaching them.

    Args:
        model: Its `Normalization` has learned them already; changed in place.
    """
    statistics = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance = (np.ravel(values) for values in statistics.get_weights()[:2])
    last = [layer for layer in model.layers if layer.weights][-1]
    kernel, bias = last.get_weights()
    steps = bias.size // mean.size
    last.set_weights([kernel * np.tile(np.sqrt(variance), steps), np.tile(mean, steps)])


def normal_class(classes: Sequence[str]) -> str:
    """Name the class that is normal by its name, or the first."""
    by_name = {name.casefold(): name for name in classes}
    return next((by_name[name] for name in NORMAL_NAMES if name in by_name), classes[0])
