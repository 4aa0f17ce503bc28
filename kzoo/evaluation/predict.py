"""Classify single inputs; the same for Keras models and `.tflite` files.

A device that has only a runtime, NumPy and Pillow can do this: nothing here needs more, but for recordings of another
sample rate than the model's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.data import read_input
from kzoo.errors import RunError, UsageError
from kzoo.source import open_source

from .finite import check_answer


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The most probable classes of one input.

    Attributes:
        input: The file, or the text.
        classes: Names, the most probable first.
        probabilities: Of these classes, 0 to 1.
    """

    input: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


def predict(
    source: Any, inputs: Iterable[str | Path], *, top: int = 5, runtime: str = "auto", threads: int = 1
) -> list[Prediction]:
    """Classify single inputs.

    Args:
        source: A run, a `.keras` or `.tflite` file, or a `keras.Model`.
        inputs: Image or WAV files, texts or text files, or `.npy` arrays of the model's input shape.
        top: How many classes to name at most.
        runtime: What runs a `.tflite`: `"litert"`, `"tflite-runtime"`, or the one that is installed (`"auto"`).
        threads: Of that runtime.

    Raises:
        KzooError: There is no such model, or a file cannot be read.
    """
    if top < 1:
        raise UsageError(f"Expected at least one class to name, received top={top}.")
    opened = open_source(source, runtime=runtime, threads=threads)
    if opened.recommender is not None:
        raise UsageError(
            f"Expected a classifier, received {opened.name}, which recommends. Ask it with kzoo.recommend."
        )
    found = []
    for path in inputs:
        sample = read_input(path, opened.input)
        probabilities = opened.predict(sample[np.newaxis])[0]
        check_answer(probabilities, "probabilities", opened.name)
        best = np.argsort(-probabilities, kind="stable")[:top]
        found.append(
            Prediction(
                input=str(path),
                classes=tuple(opened.classes[index] for index in best),
                probabilities=tuple(float(probabilities[index]) for index in best),
            )
        )
    return found


@dataclasses.dataclass(frozen=True)
class Match:
    """How similar two inputs are.

    Attributes:
        left: The one.
        right: The other.
        similarity: From -1 to 1.
        same: Whether that is enough to count as of one class; None where no threshold was chosen.
    """

    left: str
    right: str
    similarity: float
    same: bool | None


def match(source: Any, inputs: Sequence[str | Path], *, runtime: str = "auto", threads: int = 1) -> list[Match]:
    """Compare the first input with each of the others.

    Args:
        source: A run or a file of a model that compares two samples, such as `siamese`.
        inputs: Two or more, as `predict` takes them.
        runtime: See `predict`.
        threads: Of that runtime.

    Raises:
        KzooError: There is no such model, or a file cannot be read.
    """
    opened = open_source(source, runtime=runtime, threads=threads)
    comparison = opened.comparison
    if comparison is None:
        raise UsageError(f"Expected a model that compares two inputs, received {opened.name}, which does not.")
    if len(inputs) < 2:
        raise UsageError(f"Expected at least two inputs to compare, received {len(inputs)}.")
    first, *others = (read_input(path, opened.input)[np.newaxis] for path in inputs)
    found = []
    for path, other in zip(inputs[1:], others, strict=True):
        similarity = float(comparison.compare(first, other)[0])
        same = None if comparison.threshold is None else similarity >= comparison.threshold
        found.append(Match(str(inputs[0]), str(path), similarity, same))
    return found


@dataclasses.dataclass(frozen=True)
class Finding:
    """How unusual an input is.

    Attributes:
        input: The file.
        error: Mean squared error of what the model gives back, in the input's own units squared.
        anomaly: Whether that is more than normal; None where no threshold was chosen.
    """

    input: str
    error: float
    anomaly: bool | None


def detect(source: Any, inputs: Iterable[str | Path], *, runtime: str = "auto", threads: int = 1) -> list[Finding]:
    """Look for anomalies.

    Args:
        source: A run or a file of a model that gives back its input, such as `autoencoder`.
        inputs: As `predict` takes them.
        runtime: See `predict`.
        threads: Of that runtime.

    Raises:
        KzooError: There is no such model, or a file cannot be read.
    """
    opened = open_source(source, runtime=runtime, threads=threads)
    detector = opened.detector
    if detector is None:
        raise UsageError(f"Expected a model that gives back its input, received {opened.name}, which does not.")
    found = []
    for path in inputs:
        error = float(detector.errors(read_input(path, opened.input)[np.newaxis])[0])
        if not np.isfinite(error):
            raise RunError(
                f"Expected a finite error, received {error} from {opened.name}. "
                f"Its weights have diverged: train again with a lower learning rate."
            )
        found.append(Finding(str(path), error, None if detector.threshold is None else error > detector.threshold))
    return found
