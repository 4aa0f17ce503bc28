"""The catalogue's models, quickly trained on the embedded digits: what the matrix of the tests and the benches export.

Models for texts read a digit as the names of its dark pixels.

They take their packaged recipes, but without augmentation, averaged weights and large batches, so that few epochs are
enough for answers that mean something.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import kzoo
from kzoo.models import CATALOG, list_models
from kzoo.run import Run, is_run

_DARK = 7  # of 16
# Letters alone: a word of the tokeniser has no digits.
_PIXELS = np.array([f"{row}{column}" for row in "abcdefgh" for column in "abcdefgh"])
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "image": {
        "input.size": 32,
        "input.channels": 3,
        "augmentation.shift": 0.0,
        "augmentation.rotation": 0.0,
        "epochs": 4,
    },
    "sequence": {"epochs": 8, "optimizer.learning_rate": 0.005},
    "text": {"epochs": 6, "optimizer.learning_rate": 0.005},
}
_FOR_ALL: Mapping[str, Any] = {"batch_size": 16, "optimizer.ema": None, "callbacks.early_stopping": None}
# Where a model needs something else: more steps for its moving averages, its own rate, or fewer multiply-adds.
_OWN: Mapping[str, Mapping[str, Any]] = {
    "cnn": {"epochs": 3},
    "resnet8": {"epochs": 6},
    "resnet18": {"input.size": 16, "epochs": 2},
    "resnet34": {"input.size": 16, "epochs": 2},
    "mobilenet_v2": {"model.arguments.alpha": 0.35},
    "vit_tiny": {"input.size": 16, "epochs": 6, "optimizer.learning_rate": 0.0005},
    "squeezenet": {"input.size": 16, "epochs": 8, "optimizer.learning_rate": 0.0003},
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
    data = digits_as_text(folder) if task == "text" else "digits"
    return kzoo.train(name, data=data, settings=settings, out=path)


def digits_as_text(folder: Path) -> Path:
    """Write the digits as a CSV file of labels and texts.

    Args:
        folder: where it is kept.
    """
    digits, path = load_digits(), folder / "digits.csv"
    texts = (" ".join(_PIXELS[image.ravel() > _DARK]) for image in digits.images)
    lines = [f"{label},{text}" for label, text in zip(digits.target, texts, strict=True)]
    path.write_text("\n".join(["label,text", *lines]) + "\n")
    return path
