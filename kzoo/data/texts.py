"""Labelled texts as a dataset: a vocabulary learnt from the training split, texts as places in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .dataset import Array, Dataset, Labels, Split
from .labels import encode
from .options import Options, expect_kind
from .spec import InputSpec
from .splitting import assign, missing_splits
from .text import TextFrontEnd, build_front_end


@dataclass(frozen=True, slots=True)
class TextPart:
    """Texts of one given split.

    Attributes:
        texts: One a sample.
        labels: `(samples,)` as they were given.
        names: What to call the samples in reports.
    """

    texts: Sequence[str]
    labels: Array
    names: Sequence[str]


class TextSplit(Split):
    """Texts as places in a vocabulary, `(length,)` int32."""

    def __init__(self, texts: Sequence[str], names: Sequence[str], labels: Labels, front_end: TextFrontEnd) -> None:
        self.labels = labels
        self._texts = texts
        self._names = names
        self._ids = np.stack([front_end.encode(text) for text in texts])

    def load(self, indices: ArrayLike) -> Array:
        """See `Split.load`."""
        return self._ids[np.asarray(indices, np.int64)]

    def whole(self) -> Array:
        """See `Split.whole`."""
        return self._ids

    def name(self, index: int) -> str:
        """See `Split.name`."""
        return self._names[index]

    def text(self, index: int) -> str:
        """See `Split.text`."""
        return self._texts[index]


def from_texts(
    parts: Mapping[str, TextPart],
    class_names: Array | Sequence[str] | None,
    name: str,
    source: str,
    options: Options,
) -> Dataset:
    """Make a dataset of labelled texts.

    Args:
        parts: By split; `"train"` is among them.
        class_names: Names of the classes, in order; None: as the labels are.
        name: Short name of the dataset.
        source: What the user named.
        options: How to open it.

    Raises:
        DataError: Labels that do not fit, a model that takes no texts.
    """
    expect_kind(options, "text", "texts", source)
    classes, labels = encode({split: part.labels for split, part in parts.items()}, class_names)
    shares = assign(labels, classes, options.fractions, options.seed)
    front_end = options.text
    if not isinstance(front_end, TextFrontEnd):
        train = shares["train"]
        front_end = build_front_end(front_end, (parts[train.part].texts[row] for row in train.rows))
    splits = {
        split: TextSplit(
            [parts[share.part].texts[row] for row in share.rows],
            [parts[share.part].names[row] for row in share.rows],
            labels[share.part][share.rows],
            front_end,
        )
        for split, share in shares.items()
    }
    return Dataset(
        name=name,
        source=source,
        classes=classes,
        input=InputSpec(kind="text", shape=front_end.shape, text=front_end),
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        fingerprint=_fingerprint(parts, labels, classes),
        drawn=tuple(missing_splits(parts, options.fractions)),
    )


def _fingerprint(parts: Mapping[str, TextPart], labels: Mapping[str, Labels], classes: Sequence[str]) -> str:
    digest = hashlib.sha256(repr(classes).encode())
    for split, part in parts.items():
        digest.update(f"{split} {len(part.texts)}".encode())
        for text, label in zip(part.texts, labels[split].tolist(), strict=True):
            digest.update(f"{label} {text}\0".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
