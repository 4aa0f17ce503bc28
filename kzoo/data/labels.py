"""Labels as they are given to labels as they are learnt: places in a list of class names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from kzoo.errors import DataError

from .dataset import Array, Labels

# Control characters, separators of lines and paragraphs, and bytes of file names that are no text.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts `9` before `10` and does not part `a` from `B` by case."""
    pieces: list[str | int] = [
        int(piece) if place % 2 else piece.casefold() for place, piece in enumerate(re.split(r"(\d+)", name))
    ]
    return pieces, name


def check_printable(names: Sequence[str], what: str = "class") -> None:
    """Make sure that names, of classes or else of `what`, can stand in tables and in `labels.txt`, one a line.

    Raises:
        DataError: A name with control characters, line breaks or bytes that are no text, or an empty one.
    """
    for name in names:
        if not name.strip() or _UNPRINTABLE.search(name):
            raise DataError(f"Expected {what} names of one printable line. Received: {name!a}. Rename the {what}.")


def encode(
    given: Mapping[str, Array], class_names: Array | Sequence[str] | None = None, *, one_class: bool = False
) -> tuple[tuple[str, ...], dict[str, Labels]]:
    """Turn labels of the splits into class names and int64 places in them.

    String labels are sorted. Whole numbers are sorted by value and named by it; with `class_names` they are
    places in those. Every class must occur in `train`, unless it may be of one class.

    Args:
        given: `(samples,)` or `(samples, 1)` whole numbers or strings, by split; `train` is among them.
        class_names: Names of the classes, in order.
        one_class: See `open_dataset`.

    Raises:
        DataError: Labels of another type or shape, fewer than two classes, a class that train lacks.
    """
    flat = {split: _flat(split, labels) for split, labels in given.items()}
    if len({labels.dtype.kind == "U" for labels in flat.values()}) > 1:
        raise DataError("Expected labels of one type in all splits. Received whole numbers and strings.")
    named = None if class_names is None else _check_names(np.asarray(class_names).tolist())
    present = np.unique(np.concatenate(list(flat.values())) if one_class else flat["train"])
    if named is None:
        classes = tuple(str(value) for value in present.tolist())
        encoded = {split: _places(split, labels, present) for split, labels in flat.items()}
    elif present.dtype.kind == "U":
        classes = named
        order = np.argsort(np.array(named))
        encoded = {
            split: order[_places(split, labels, np.array(named)[order])].astype(np.int64)
            for split, labels in flat.items()
        }
    else:
        classes = named
        encoded = {split: _places(split, labels, np.arange(len(named))) for split, labels in flat.items()}
    if len(classes) < 2 and not one_class:
        raise DataError(f"Expected at least two classes. Received only {', '.join(classes) or 'none'}.")
    check_printable(classes)
    absent = np.setdiff1d(np.arange(len(classes)), encoded["train"])
    if len(absent) and not one_class:
        raise DataError(f"Expected samples of every class to train on. Received none of {classes[absent[0]]!r}.")
    return classes, encoded


def _flat(split: str, labels: Array) -> Array:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels.ravel()):
        labels = labels.astype(np.str_)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.ndim != 1 or labels.dtype.kind not in "uiU":
        hint = " Turn one-hot rows into numbers with argmax(axis=1)." if labels.ndim == 2 else ""
        raise DataError(
            f"Expected one whole number or string a sample as label. Received: {split} labels of shape {labels.shape} "
            f"and type {labels.dtype}.{hint}"
        )
    return labels


def _check_names(names: object) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"Expected classes as a list of strings. Received: {names!r:.80}.")
    if len(set(names)) < len(names):
        raise DataError("Expected classes with different names. Received one twice.")
    return tuple(names)


def _places(split: str, labels: Array, known: Array) -> Labels:
    """Places of labels in sorted known ones."""
    strange = np.setdiff1d(labels, known)
    if len(strange):
        raise DataError(
            f"{split} has the label {strange[0].item()!r}, which is not among the classes "
            f"({', '.join(map(str, known[:10].tolist()))}{', ...' if len(known) > 10 else ''})."
        )
    return np.searchsorted(known, labels).astype(np.int64)
