"""Datasets out of arrays: checked once, then read row by row."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kzoo.errors import DataError, nearest

from .dataset import SPLITS, Array, Dataset, Labels, Split
from .image_files import ResizedSplit
from .interactions import ITEM, USER, from_interaction_arrays
from .labels import encode
from .options import Options, expect_kind
from .spec import CHANNELS, InputSpec, Kind
from .splitting import assign, missing_splits
from .texts import TextPart, from_texts

KEYS = ("x", "y", "classes", *(f"{axis}_{split}" for split in SPLITS for axis in ("x", "y")))

_CHUNK_BYTES = 16 * 2**20  # what a check reads at once of an array that may lie on disk


@dataclass(frozen=True, slots=True)
class Part:
    """Samples with their labels, and what to call them in reports."""

    name: str
    x: Array
    y: Array


class ArraySplit(Split):
    """Rows of an array, which may be mapped from a file."""

    def __init__(self, part: Part, rows: NDArray[np.int64], labels: Labels, spec: InputSpec) -> None:
        self.labels = labels
        self._part = part
        self._rows = rows
        self.spec = spec

    def load(self, indices: ArrayLike) -> Array:
        """See `Split.load`."""
        batch: Array = np.asarray(self._part.x[self._rows[np.asarray(indices, np.int64)]])
        if self.spec.kind == "sequence":
            return batch.astype(np.float32, copy=False)
        if batch.dtype.kind == "f":
            batch = np.rint(batch)
        return batch.astype(np.uint8, copy=False).reshape(len(batch), *self.spec.shape)

    def name(self, index: int) -> str:
        """See `Split.name`."""
        return f"{self._part.name}[{self._rows[index]}]"


def from_mapping(arrays: Mapping[str, ArrayLike], name: str, source: str, options: Options) -> Dataset:
    """Make a dataset of arrays by key.

    Args:
        arrays: `x` and `y`, or `x_train`, `y_train` and, where there are any, `x_val`, `y_val`, `x_test`, `y_test`.
            Images are `(samples, height, width)` or `(samples, height, width, channels)` with pixels 0-255, sequences
            `(samples, steps, features)`, texts `(samples,)` strings. Labels are whole numbers or strings. `classes`,
            optional, names the classes: whole-number labels are places in it. Or `user`, `item` and, where there is
            one, `timestamp`.
        name: Short name of the dataset.
        source: What the user named.
        options: How to open it.

    Raises:
        DataError: Keys, shapes, types or values that do not fit.
    """
    if USER in arrays or ITEM in arrays:
        return from_interaction_arrays(arrays, name, source, options)
    unknown = [str(key) for key in arrays if key not in KEYS]
    if unknown:
        raise DataError(f"Unknown array {unknown[0]!r} in {source}. {nearest(unknown[0], KEYS)}")
    values = {key: _as_array(key, value) for key, value in arrays.items()}
    names = values.pop("classes", None)
    if "x" in values and len(values) > 2:
        raise DataError(f"Expected x and y, or x_train and y_train, not both. Received: {', '.join(arrays)}.")
    suffixes = {"train": ""} if "x" in values else {split: f"_{split}" for split in SPLITS}
    parts = {
        split: Part(split if suffix else name, values[f"x{suffix}"], values[f"y{suffix}"])
        for split, suffix in suffixes.items()
        if _has_pair(values, f"x{suffix}", f"y{suffix}", source)
    }
    if "train" not in parts:
        raise DataError(
            f"Expected x and y, or x_train and y_train, in {source}. Received: {', '.join(arrays) or 'nothing'}."
        )
    if _are_texts(parts["train"].x):
        return from_texts({split: _as_texts(part) for split, part in parts.items()}, names, name, source, options)
    return from_parts(parts, names, name, source, options)


def from_parts(
    parts: Mapping[str, Part],
    class_names: Array | Sequence[str] | None,
    name: str,
    source: str,
    options: Options,
    kind: Kind | None = None,
) -> Dataset:
    """Make a dataset of given parts, of which `train` is one; missing splits are carved out of it.

    What the samples are follows from `kind`, or else from what the model takes.
    """
    kind = kind or options.array_kind
    expect_kind(options, kind, f"{kind}s", source)
    for part in parts.values():
        _check_part(part, kind)
    shapes = {part.name: part.x.shape[1:] for part in parts.values()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"Expected samples of one shape in all splits. Received: {shapes}.")
    classes, labels = encode({split: part.y for split, part in parts.items()}, class_names, one_class=options.one_class)
    stored = _stored_spec(parts["train"].x, kind, options)
    spec = _wanted_spec(stored, options)
    splits: dict[str, Split] = {}
    for split, share in assign(labels, classes, options.fractions, options.seed).items():
        rows = ArraySplit(parts[share.part], share.rows, labels[share.part][share.rows], stored)
        splits[split] = rows if spec.shape == stored.shape else ResizedSplit(rows, stored, spec, options.cache)
    return Dataset(
        name=name,
        source=source,
        classes=classes,
        input=spec,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        fingerprint=_fingerprint(parts, labels, classes),
        drawn=tuple(missing_splits(parts, options.fractions)),
    )


def check_values(x: Array, kind: str, name: str) -> None:
    """Check the type and range of values, reading piece by piece.

    Raises:
        DataError: Pixels that are not 0-255, values that are not finite numbers.
    """
    if x.dtype.kind not in "uif":
        raise DataError(f"Expected numbers. Received: {name} of type {x.dtype}. Store it as uint8 or float32.")
    if kind == "image" and x.dtype == np.uint8:
        return
    low, high = math.inf, -math.inf
    for start, chunk in _chunks(x):
        if x.dtype.kind == "f":
            _check_finite(chunk, start, name)
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
    if kind == "image":
        scaled = x.dtype.kind == "f" and high <= 1
        if scaled or low < 0 or high > 255:
            hint = "Multiply by 255 and store as uint8." if scaled and low >= 0 else "Bring them to 0-255 as uint8."
            raise DataError(f"Expected pixels 0-255. Received: {name} from {low:g} to {high:g}. {hint}")


def _check_finite(chunk: Array, start: int, name: str) -> None:
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(chunk.astype(np.float32, copy=False))
    if bad.any():
        place = np.unravel_index(int(np.argmax(bad)), bad.shape)
        value = chunk[place]
        index = [int(place[0]) + start, *(int(axis) for axis in place[1:])]
        raise DataError(
            f"Expected finite float32 values. Received: {value} at {name}{index}. Clean or drop the sample."
        )


def _as_array(key: str, value: ArrayLike) -> Array:
    try:
        return np.asanyarray(value)
    except ValueError as error:
        raise DataError(
            f"Expected an array with samples of one shape. Received: {key}, with differing ones."
        ) from error


def _has_pair(values: Mapping[str, Array], x: str, y: str, source: str) -> bool:
    if (x in values) != (y in values):
        there, absent = (x, y) if x in values else (y, x)
        raise DataError(f"Expected both {x} and {y} in {source}. Received {there} without {absent}.")
    return x in values


def _check_part(part: Part, kind: str) -> None:
    x, name = part.x, f"{part.name} x"
    if kind == "image":
        fits = x.ndim == 3 or (x.ndim == 4 and x.shape[3] in CHANNELS)
        expected = "(samples, height, width) or (samples, height, width, channels) with 1, 3 or 4 channels"
    else:
        fits = x.ndim == 3
        expected = "(samples, steps, features)"
    if not fits or 0 in x.shape:
        raise DataError(f"Expected {kind}s as {expected}, none empty. Received: {name} of shape {x.shape}.")
    if part.y.shape[:1] != x.shape[:1]:
        raise DataError(f"Expected one label a sample. Received: {name} of shape {x.shape}, y of shape {part.y.shape}.")
    if kind == "image" and min(x.shape[1:3]) < 2:
        raise DataError(f"Expected images of at least 2x2 pixels. Received: {name} of shape {x.shape}.")
    check_values(x, kind, name)


def _are_texts(x: Array) -> bool:
    return x.dtype.kind == "U" or (x.dtype.kind == "O" and all(isinstance(value, str) for value in x.ravel()))


def _as_texts(part: Part) -> TextPart:
    if not _are_texts(part.x) or part.x.ndim != 1 or part.y.shape[:1] != part.x.shape:
        raise DataError(
            f"Expected one text and one label a sample, (samples,) each. Received: {part.name} x of shape "
            f"{part.x.shape} and type {part.x.dtype}, y of shape {part.y.shape}."
        )
    texts = part.x.tolist()
    empty = next((row for row, text in enumerate(texts) if not text.strip()), None)
    if empty is not None:
        raise DataError(f"Expected texts that are not empty. Received: an empty one at {part.name} x[{empty}].")
    return TextPart(texts, part.y, [f"{part.name}[{row}]" for row in range(len(texts))])


def _stored_spec(x: Array, kind: Kind, options: Options) -> InputSpec:
    shape = x.shape[1:]
    if kind == "image" and len(shape) == 2:
        shape = (*shape, 1)
    return InputSpec(kind=kind, shape=shape, fit=options.fit)


def _wanted_spec(stored: InputSpec, options: Options) -> InputSpec:
    if stored.kind == "sequence":
        return stored
    height, width, channels = stored.shape
    height, width = options.size or (height, width)
    return dataclasses.replace(stored, shape=(height, width, options.channels or channels))


def _chunks(x: Array) -> Iterator[tuple[int, Array]]:
    rows = max(1, _CHUNK_BYTES // max(1, x[0].nbytes))
    for start in range(0, len(x), rows):
        yield start, np.asarray(x[start : start + rows])


def _fingerprint(parts: Mapping[str, Part], labels: Mapping[str, Labels], classes: Sequence[str]) -> str:
    digest = hashlib.sha256(repr(classes).encode())
    for split, part in parts.items():
        digest.update(f"{split} {part.x.dtype.str} {part.x.shape}".encode())
        for _, chunk in _chunks(part.x):
            digest.update(np.ascontiguousarray(chunk).data)
        digest.update(labels[split].data)
    return digest.hexdigest()
