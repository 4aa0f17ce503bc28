"""Arrays for calibration and verification: gathering them, and pinning the range of pixels."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kzoo.errors import ExportError

from .graph import GraphInput

#: More samples hardly move a range any more, and each costs a run of the float model.
CALIBRATION_SAMPLES = 512

#: Neighbours in real images and recordings correlate by more than the first, in noise by less than the second.
_ALIKE, _NOISE = 0.4, 0.15

#: One array for a model of one input; a tuple or a mapping by input name where there are several.
Arrays = np.ndarray | tuple[np.ndarray, ...] | Mapping[str, np.ndarray]


def as_arrays(data: Any, inputs: Sequence[GraphInput], purpose: str) -> list[np.ndarray]:
    """Whole arrays, one an input, in the order of the inputs.

    Raises:
        ExportError: missing inputs, other shapes, no samples, numbers that are not finite.
    """
    names = [each.name for each in inputs]
    if isinstance(data, Mapping):
        if set(data) != set(names):
            raise ExportError(f"Expected {purpose} for {', '.join(names)}. Received: {', '.join(map(str, data))}.")
        data = tuple(data[name] for name in names)
    elif not isinstance(data, tuple):
        data = (data,)
    if len(data) != len(inputs):
        raise ExportError(f"Expected {purpose} for {len(inputs)} inputs ({', '.join(names)}). Received: {len(data)}.")
    arrays = [np.asarray(array) for array in data]
    for array, each in zip(arrays, inputs, strict=True):
        _check(array, each, purpose)
    if len({len(array) for array in arrays}) != 1:
        raise ExportError(f"Expected as many samples of {purpose} for every input.")
    return arrays


def _check(array: np.ndarray, each: GraphInput, purpose: str) -> None:
    if array.shape[1:] != each.shape or array.ndim == 0:
        expected = ", ".join(map(str, ("samples", *each.shape)))
        raise ExportError(f"Expected {purpose} of shape ({expected}) for {each.name!r}. Received: shape={array.shape}.")
    if not len(array):
        raise ExportError(f"Expected {purpose}. Received: no samples. Pass real samples of the data the model is for.")
    if array.dtype.kind not in "buif":
        raise ExportError(f"Expected numbers as {purpose}. Received: dtype={array.dtype}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ExportError(f"Expected finite numbers as {purpose}. Received: NaN or infinity for {each.name!r}.")


def gather(data: Any, inputs: Sequence[GraphInput], limit: int) -> list[np.ndarray]:
    """At most `limit` calibration samples, one array an input.

    Args:
        data: whole arrays (evenly thinned out, since data are often sorted by class), or an iterable of batches or of
            single samples (the first ones).
        inputs: the model's inputs.
        limit: how many.

    Raises:
        ExportError: as `as_arrays`.
    """
    purpose = "calibration data"
    if isinstance(data, np.ndarray | tuple | Mapping):
        arrays = as_arrays(data, inputs, purpose)
        count = len(arrays[0])
        chosen = np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64)
        return [np.array(array[chosen]) for array in arrays]
    if not isinstance(data, Iterable):
        raise ExportError(f"Expected arrays or batches as {purpose}. Received: {type(data).__name__}.")
    batches: list[list[np.ndarray]] = []
    count = 0
    for batch in data:
        batches.append(as_arrays(_batched(batch, inputs), inputs, purpose))
        count += len(batches[-1][0])
        if count >= limit:
            break
    if not batches:
        raise ExportError(f"Expected {purpose}. Received: no samples. Pass real samples of the data the model is for.")
    return [np.concatenate(parts)[:limit] for parts in zip(*batches, strict=True)]


def _batched(batch: Any, inputs: Sequence[GraphInput]) -> Any:
    """A single sample becomes a batch of one."""
    if len(inputs) == 1 and not isinstance(batch, tuple | Mapping):
        array = np.asarray(batch)
        return array[np.newaxis] if array.shape == inputs[0].shape else array
    return batch


def check_real(array: np.ndarray, verification: np.ndarray, name: str) -> None:
    """Refuse noise and constants: ranges measured on them are not those of real data.

    Neighbouring pixels and steps of real data resemble each other. Where those of the verification data do and those
    of the calibration data do not, these were made up.

    Args:
        array: calibration samples `(samples, ...)` of one input.
        verification: real samples of the same input.
        name: of the input.

    Raises:
        ExportError: they are not real.
    """
    if array.size > 1 and array.min() == array.max() and verification.min() != verification.max():
        raise ExportError(
            f"Expected real samples as calibration data. Received: {array.flat[0]:g} everywhere for {name!r}. "
            "Pass a few hundred samples of the training data."
        )
    expected, received = _likeness(verification), _likeness(array)
    if expected > _ALIKE and received < _NOISE:
        raise ExportError(
            f"Expected real samples as calibration data. Received: noise for {name!r} (neighbouring values correlate "
            f"by {received:.2f}, those of the verification data by {expected:.2f}). Pass a few hundred samples of the "
            "training data."
        )


def _likeness(array: np.ndarray) -> float:
    """Correlation of neighbours along the first axis of a sample: rows of an image, steps of a sequence."""
    if array.ndim < 3 or array.shape[1] < 2:
        return 0.0
    values = array.astype(np.float64)
    one, other = values[:, 1:].reshape(-1), values[:, :-1].reshape(-1)
    deviation = one.std() * other.std()
    return float(((one - one.mean()) * (other - other.mean())).mean() / deviation) if deviation else 0.0


def looks_like_pixels(array: np.ndarray) -> bool:
    """Whether the values are of the range 0-255 rather than scaled already."""
    return array.dtype == np.uint8 or bool(array.min() >= 0 and 1.5 < array.max() <= 255)


def pin_pixel_range(array: np.ndarray) -> np.ndarray:
    """Make sure that 0 and 255 occur, so that an int8 input is exactly q = pixel - 128, whatever the images hold.

    The darkest value of all becomes 0 and the brightest 255: one value each, where none is that already.

    Args:
        array: images `(samples, height, width, channels)` with pixels 0-255.
    """
    if array.size < 2 or (array.min() == 0 and array.max() == 255):
        return array
    pinned = array.copy()
    flat = pinned.reshape(-1)
    darkest, brightest = int(flat.argmin()), int(flat.argmax())
    if darkest == brightest:
        brightest = flat.size - 1
    flat[darkest], flat[brightest] = 0, 255
    return pinned


def fingerprint(arrays: Iterable[np.ndarray]) -> str:
    """SHA-256 over types, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def spread(arrays: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """At most `count` samples, evenly over the arrays."""
    step = max(1, len(arrays[0]) // count)
    return [np.array(array[list(itertools.islice(range(0, len(array), step), count))]) for array in arrays]
