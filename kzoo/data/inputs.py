"""One sample from a file, for a prediction."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kzoo.errors import DataError

from .arrays import check_values
from .dataset import Array
from .images import SUFFIXES, fit_pixels, read_image
from .spec import CHANNELS, InputSpec


def read_input(path: str | os.PathLike[str], spec: InputSpec) -> Array:
    """Read one sample as the model that `spec` describes takes it.

    Args:
        path: An image file, or a `.npy`: pixels 0-255 `(height, width)` or `(height, width, channels)` of any size,
            or a sequence of exactly `spec.shape`.
        spec: The model's input.

    Returns:
        `spec.shape`: uint8 for images, brought to size as in training; float32 for sequences.

    Raises:
        DataError: A file that is not there, not readable, or of another form.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(
            f"Expected a file. Received: {file}, which {'is a folder' if file.is_dir() else 'does not exist'}."
        )
    if file.suffix.lower() == ".npy":
        return _read_array(file, spec)
    if spec.kind == "image":
        return read_image(file, spec)
    hint = " It is an image; the model takes sequences." if file.suffix.lower() in SUFFIXES else ""
    raise DataError(f"Expected a .npy file of shape {spec.shape}. Received: {file}.{hint}")


def _read_array(file: Path, spec: InputSpec) -> Array:
    try:
        array: Array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(
            f"Expected a .npy file of numbers. Received: {file}, which is damaged or holds Python objects."
        ) from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"Expected a .npy file with one array. Received: {file}, an archive of several.")
    if spec.kind == "sequence":
        if array.shape != spec.shape:
            raise DataError(f"Expected a sequence of shape {spec.shape}. Received: {file} of shape {array.shape}.")
        check_values(array, "sequence", str(file))
        return array.astype(np.float32)
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3 or array.shape[2] not in CHANNELS or min(array.shape[:2]) < 2:
        raise DataError(f"Expected an image (height, width, channels). Received: {file} of shape {array.shape}.")
    check_values(array, "image", str(file))
    return fit_pixels(np.rint(array).astype(np.uint8), spec)
