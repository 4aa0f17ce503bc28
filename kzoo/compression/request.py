"""What is asked of a compression, checked before anything is read or written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from kzoo.errors import RunError, UsageError
from kzoo.export.compression.settings import Criterion
from kzoo.recipes import Recipe, load_recipe
from kzoo.recipes.smaller import CompressionSection
from kzoo.run import RECIPE, Run

#: A trained model moves a little, with the rates that it ended with.
_RATE_FACTOR = 0.1
_SHARE_OF_EPOCHS = 1 / 3


def check_section(**asked: Any) -> CompressionSection:
    """Check what is asked for as far as it is wrong for every model.

    Args:
        asked: By the names of `CompressionSection`.

    Raises:
        UsageError: Values that mean nothing, alone or together.
    """
    for name in ("filters", "low_rank", "rank"):
        if asked[name] is not None and not 0 < asked[name] < 1:
            raise UsageError(f"Expected {name} to be a share between 0 and 1, received {asked[name]:g}.")
    if asked["low_rank"] is not None and asked["rank"] is not None:
        raise UsageError("Expected one of --low-rank and --rank, received both: each says how thin the factors are.")
    criterion = asked["filters_by"]
    if criterion is not None and criterion not in get_args(Criterion):
        raise UsageError(f"Expected filters_by to be one of {', '.join(get_args(Criterion))}, received {criterion!r}.")
    if criterion is not None and asked["filters"] is None:
        raise UsageError(f"Expected --filters-by {criterion} with --filters, received it alone.")
    clusters = asked["clusters"]
    if clusters is not None and (not isinstance(clusters, int) or clusters < 2):
        raise UsageError(f"Expected at least 2 clusters, received {clusters}. 16 is usual.")
    if clusters == 2 and asked["prune"] is not None:
        raise UsageError("Expected at least 3 clusters after pruning, one of which is zero, received 2.")
    if clusters is not None and asked["quantize"]:
        # With one step a channel, equal weights of different channels become different integers.
        asked["per_tensor"] = "all"
    if asked["per_tensor"] != "none" and not asked["quantize"]:
        raise UsageError(
            f"Expected --per-tensor {asked['per_tensor']} with --qat, received it alone. "
            f"kzoo export has the same option for a file that is quantised after training."
        )
    section = CompressionSection(**asked)
    if not section.methods:
        raise UsageError(
            "Expected a method, received none. Choose --filters, --low-rank, --rank, --prune, --cluster or --qat, or "
            "several together; kzoo train --distill teaches a model without making it smaller."
        )
    return section


def check_parent(parent: Run, section: CompressionSection | None = None) -> None:
    """Make sure that a run can be compressed.

    Raises:
        UsageError: It is no classifier, or what is asked would undo what was done to it.
        RunError: Its training has not ended.
    """
    info = parent.info
    if not info.classifies:
        raise UsageError(f"Expected a run of a classifier, received {parent.path}, a run of {info.model}: {info.task}.")
    if info.status != "done":
        raise RunError(f"Expected a finished run, received {parent.path} (status {info.status}). Finish its training.")
    done = info.compression
    if info.sparsity is not None and (section is None or section.prune is None):
        raise UsageError(
            f"Expected --prune, too, received {parent.path}, which was trained sparse: without it, its zeros would be "
            f"lost."
        )
    if done is None or section is None:
        return
    again = [name for name in ("cluster", "qat") if name in done.methods]
    if again:
        raise UsageError(
            f"Expected a run without {' and '.join(again)}, received {parent.path}: further training would undo it. "
            f"Ask for all methods at once, on {info.parent}."
        )
    if "prune" in done.methods and section.prune is None:
        raise UsageError(
            f"Expected --prune, too, received {parent.path}, which is pruned: without it, its zeros would be lost. "
            f"Ask for all methods at once, on {info.parent}."
        )


def fine_tuning_recipe(parent: Run, section: CompressionSection, overrides: Mapping[str, Any]) -> Recipe:
    """Give the parent's recipe as fine-tuning takes it, with the user's values over it.

    Args:
        parent: The run that is compressed.
        section: What is asked.
        overrides: Values by dotted key; None: as it would be.

    Raises:
        UsageError: Values that would change what the parent has learned from, or that compression does without.
    """
    before = parent.recipe
    # TF-MOT trains in float32, and factors have no namesakes whose precision they could take.
    by_keras = section.filters is not None and section.low_rank is None and section.rank is None
    if not by_keras and overrides.get("precision") not in (None, "float32"):
        raise UsageError(
            f"Expected precision float32 without --filters, received {overrides['precision']}: that is what TF-MOT and "
            f"kernels in two train in."
        )
    changes: dict[str, Any] = {
        "transfer": None,
        "distillation": None,
        "sparse_training": None,
        "schedule": {"name": "cosine"},
        "optimizer.learning_rate": before.optimizer.learning_rate * _RATE_FACTOR,
        "optimizer.ema": None,
        "optimizer.accumulation": 1,
        "callbacks.early_stopping": None,
        "epochs": max(1, math.ceil(before.epochs * _SHARE_OF_EPOCHS)),
        "precision": before.precision if by_keras else "float32",
        **{key: value for key, value in overrides.items() if value is not None},
        "compression": section.model_dump(mode="json"),
    }
    for key in ("optimizer.ema", "optimizer.accumulation", "transfer"):
        if overrides.get(key) is not None:
            raise UsageError(f"Expected no {key}, received one: compression trains without it.")
    recipe = load_recipe(parent.path / RECIPE, overrides=changes)
    # How the data are kept changes nothing of them.
    data = recipe.data.model_copy(update={"cache": before.data.cache})
    if (recipe.seed, data) != (before.seed, before.data):
        raise UsageError(
            "Expected the run's own seed and data, received others: they decide what the run has not been shown."
        )
    if recipe.distillation is not None and recipe.distillation.features:
        raise UsageError("Expected no distillation.features, received one: compression learns from answers only.")
    return recipe
