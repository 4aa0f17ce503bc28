"""Datasets that are known by name."""

from __future__ import annotations

import numpy as np

from kzoo.errors import UsageError, nearest

from .arrays import Part, from_parts
from .dataset import Dataset, DatasetInfo
from .keras_datasets import KERAS_DATASETS, keras_infos, open_keras
from .options import Options

_DIGITS = DatasetInfo("digits", "1,797 handwritten digits, embedded", 10, (8, 8, 1), offline=True)

NAMES = (_DIGITS.name, *KERAS_DATASETS)


def list_datasets() -> list[DatasetInfo]:
    """Describe the datasets that `open_dataset` knows by name."""
    return [_DIGITS, *keras_infos()]


def open_builtin(name: str, options: Options) -> Dataset:
    """Open a dataset by name.

    Raises:
        UsageError: An unknown name.
        DataError: A dataset that must be downloaded and cannot be.
    """
    if name == _DIGITS.name:
        return _open_digits(options)
    if name in KERAS_DATASETS:
        return open_keras(name, options)
    raise UsageError(f"Unknown dataset {name!r}, and no folder or file of that name. {nearest(name, NAMES)}")


def _open_digits(options: Options) -> Dataset:
    # scikit-learn takes a second to import.
    from sklearn.datasets import load_digits

    digits = load_digits()
    values = digits.images.astype(np.float32)
    if options.array_kind == "image":
        values = np.rint(values * (255 / 16)).astype(np.uint8)
    return from_parts({"train": Part("digits", values, digits.target)}, None, "digits", "digits", options)
