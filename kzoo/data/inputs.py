"""One sample from a file, or a text as it is, for a prediction."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kzoo.errors import DataError

from . import wav
from .arrays import check_values
from .dataset import Array
from .images import SUFFIXES, fit_pixels, read_image
from .spec import CHANNELS, InputSpec
from .wav import read_sound


def read_input(source: str | os.PathLike[str], spec: InputSpec) -> Array:
    """Read one sample as the model that `spec` describes takes it.

    Args:
        source: An image file; a WAV file; a text file, or the text itself where it is no file's name; or a `.npy`:
            pixels 0-255 `(height, width)` or `(height, width, channels)` of any size, or a sequence of exactly
            `spec.shape`.
        spec: The model's input.

    Returns:
        `spec.shape`: uint8 for images, brought to size as in training; float32 for sequences; int32 for texts.

    Raises:
        DataError: A file that is not there, not readable, or of another form.
    """
    if spec.text is not None:
        return spec.text.encode(_read_text(source))
    file = Path(source)
    if not file.is_file():
        raise DataError(
            f"Expected a file. Received: {file}, which {'is a folder' if file.is_dir() else 'does not exist'}."
        )
    suffix = file.suffix.lower()
    if suffix == ".npy":
        return _read_array(file, spec)
    if spec.kind == "image":
        return read_image(file, spec)
    if spec.sound is not None:
        return read_sound(file, spec.sound)
    held = "an image" if suffix in SUFFIXES else "a sound" if suffix in wav.SUFFIXES else None
    hint = f" It is {held}; the model takes sequences of other origin." if held else ""
    raise DataError(f"Expected a .npy file of shape {spec.shape}. Received: {file}.{hint}")


def _read_text(source: str | os.PathLike[str]) -> str:
    text, file = os.fspath(source), Path(source)
    try:
        # What is too long for a name, say, is none.
        is_file = file.is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file and file.suffix.lower() == ".txt" and not any(sign.isspace() for sign in text):
        raise DataError(f"Expected a text or a file. Received: {file}, which does not exist.")
    if is_file:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"Expected a UTF-8 text. Received: {file}, which is not.") from error
        except OSError as error:
            raise DataError(f"Cannot read {file}: {error.strerror or error}.") from error
    if not text.strip():
        raise DataError(f"Expected a text. Received: {f'{file}, which is empty' if is_file else 'an empty one'}.")
    return text


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
