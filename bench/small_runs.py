"""The catalogue's models, quickly trained on the embedded digits: what the matrix of the tests and the benches export.

They take their packaged recipes, but without augmentation, averaged weights and large batches, so that few epochs are
enough for answers that mean something.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kzoo
from kzoo.models import CATALOG, list_models
from kzoo.run import Run, is_run

_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "image": {
        "input.size": 32,
        "input.channels": 3,
        "augmentation.shift": 0.0,
        "augmentation.rotation": 0.0,
        "epochs": 4,
    },
    "sequence": {"epochs": 8, "optimizer.learning_rate": 0.005},
}
_FOR_ALL: Mapping[str, Any] = {"batch_size": 16, "optimizer.ema": None, "callbacks.early_stopping": None}
# Where a model needs something else: more steps for its moving averages, or fewer multiply-adds to be quick.
_OWN: Mapping[str, Mapping[str, Any]] = {
    "cnn": {"epochs": 3},
    "resnet8": {"epochs": 6},
    "resnet18": {"input.size": 16, "epochs": 2},
    "resnet34": {"input.size": 16, "epochs": 2},
    "mobilenet_v2": {"model.arguments.alpha": 0.35},
    # Their 4,096 hidden units are for 1,000 classes.
    **{name: {"model.arguments.hidden_units": 256} for name in list_models(family="vgg")},
}


def small_run(name: str, folder: Path) -> Run:
    """Train a model of the catalogue, or open the run of that name that stands in the folder already.

    Args:
        name: in the catalogue.
        folder: where runs are kept.
    """
    path = folder / name
    if is_run(path):
        return Run(path)
    task = CATALOG[name].task
    settings = {**_SETTINGS[task], **_FOR_ALL, **_OWN.get(name, {})}
    return kzoo.train(name, data="digits", settings=settings, out=path)
