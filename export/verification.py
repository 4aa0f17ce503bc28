"""Hold a `.tflite` file against its Keras model on real data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from pydantic import BaseModel, ConfigDict

from kzoo.errors import ExportError

from .graph import in_structure
from .runtime import LiteModel

_MOST_DIFFERENT = 10
#: Two-sided 95 % point of the normal distribution.
_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Judge:
    """What the answers of a model's first output say, where they are not the probabilities of several classes.

    Attributes:
        decide: from answers `(samples, …)` to one of two classes, `(samples,)` 0 or 1.
        score: from answers to a figure, 1 at best, that the gate looks at; None for the accuracy of `decide`.
        figure: what that is called.
    """

    decide: Callable[[np.ndarray], np.ndarray]
    score: Callable[[np.ndarray], float] | None = None
    figure: str = "accuracy"


class Parity(BaseModel):
    """How near the file's answers come to the Keras model's on the same samples.

    Attributes:
        samples: how many were compared.
        max_difference: largest absolute difference of any output value.
        mean_difference: mean absolute difference.
        cosine: mean cosine similarity between the answers to a sample.
        agreement: share of samples with the same top-1 class (or what a `Judge` decides), for the first output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    max_difference: float
    mean_difference: float
    cosine: float
    agreement: float


class ClassDrop(BaseModel):
    """One class's accuracy with both; `drop` is how much the file loses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: int
    samples: int
    accuracy_keras: float
    accuracy_tflite: float

    @property
    def drop(self) -> float:
        """As a fraction; negative where the file is better."""
        return self.accuracy_keras - self.accuracy_tflite


class Difference(BaseModel):
    """One sample that both answer differently.

    Attributes:
        sample: its place in the verification data.
        name: what the caller calls it, such as a file's path; else None.
        difference: largest absolute difference of any output value.
        keras: top-1 class of the Keras model.
        tflite: top-1 class of the file.
        label: the right class, None without labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample: int
    name: str | None = None
    difference: float
    keras: int
    tflite: int
    label: int | None


class Verification(BaseModel):
    """Parity, and the gate's figures.

    Attributes:
        parity: the answers of both.
        accuracy_keras: or the figure of a `Judge`; None without labels.
        accuracy_tflite: likewise.
        drop: accuracy of the Keras model less that of the file; without labels 1 - agreement.
        interval: 95 % confidence interval of `drop`, both measured on the same samples; None without labels or for
            another figure than the accuracy.
        classes: every class that occurs, those that lose most first; empty without labels.
        most_different: the ten samples with the largest differences, the largest first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parity: Parity
    accuracy_keras: float | None
    accuracy_tflite: float | None
    drop: float
    interval: tuple[float, float] | None
    classes: tuple[ClassDrop, ...]
    most_different: tuple[Difference, ...]


def keras_answers(model: keras.Model, inputs: Sequence[np.ndarray], batch_size: int = 64) -> list[np.ndarray]:
    """What the Keras model answers, one float32 array `(samples, …)` an output.

    Args:
        model: the model.
        inputs: one array an input, in the order of the model's inputs.
        batch_size: samples at a time.
    """
    batches = []
    for start in range(0, len(inputs[0]), batch_size):
        batch = [
            np.asarray(array[start : start + batch_size]).astype(tensor.dtype)
            for array, tensor in zip(inputs, model.inputs, strict=True)
        ]
        answers: Any = model.predict(in_structure(model, batch), batch_size=len(batch[0]), verbose=0)
        batches.append([np.asarray(array, np.float32) for array in keras.tree.flatten(answers)])
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def verify(
    expected: Sequence[np.ndarray],
    lite: LiteModel,
    inputs: Sequence[np.ndarray],
    labels: np.ndarray | None = None,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    names: Sequence[str] | None = None,
    judge: Judge | None = None,
    batch_size: int = 64,
) -> Verification:
    """Have the file answer the samples that the Keras model has answered, a batch at a time.

    Args:
        expected: the Keras model's answers, as `keras_answers` gives them.
        lite: the file.
        inputs: one array an input, in the order of the model's inputs.
        labels: `(samples,)` class indices, or `(samples, classes)` one-hot.
        input_names: the file's names for the inputs, in the same order.
        output_names: the file's names for the outputs, in the order of the model's outputs.
        names: what the samples are called.
        judge: of the answers. Default: the top-1 class.
        batch_size: samples at a time.

    Raises:
        ExportError: labels that do not fit, or answers that are not finite.
    """
    received: list[list[np.ndarray]] = []
    for start in range(0, len(inputs[0]), batch_size):
        batch = [np.asarray(array[start : start + batch_size]) for array in inputs]
        answers = lite.predict_outputs(dict(zip(input_names, batch, strict=True)))
        received.append([answers[name] for name in output_names])
    ours = list(expected)
    theirs = [np.concatenate(parts) for parts in zip(*received, strict=True)]
    if not all(np.isfinite(array).all() for array in ours):
        raise ExportError("The Keras model answers NaN or infinity on the verification data. Train it again.")
    if not all(np.isfinite(array).all() for array in theirs):
        raise ExportError("The converted file answers NaN or infinity where the Keras model does not.")
    classes = [judge.decide(answers[0]) if judge else top_class(answers[0]) for answers in (ours, theirs)]
    parity = _parity(ours, theirs, classes)
    truth = None if labels is None else check_labels(labels, ours[0].shape, judge)
    different = _most_different(ours, theirs, classes, truth, names)
    if truth is None:
        return Verification(
            parity=parity,
            accuracy_keras=None,
            accuracy_tflite=None,
            drop=round(1 - parity.agreement, 12),
            interval=None,
            classes=(),
            most_different=different,
        )
    right = [chosen == truth for chosen in classes]
    score = None if judge is None else judge.score
    if score is None:
        accuracies = [float(each.mean()) for each in right]
    else:
        accuracies = [score(answers[0]) for answers in (ours, theirs)]
    return Verification(
        parity=parity,
        accuracy_keras=accuracies[0],
        accuracy_tflite=accuracies[1],
        drop=round(accuracies[0] - accuracies[1], 12),
        interval=paired_interval(right[0], right[1]) if score is None else None,
        classes=_class_drops(truth, right[0], right[1]),
        most_different=different,
    )


def paired_interval(right: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """95 % confidence interval of the difference of two accuracies that were measured on the same samples.

    Only samples that one answers rightly and the other wrongly tell anything about the difference. Half a sample is
    added to each of the four cells, without which the interval would be a point where no sample differs (Agresti and
    Min 2005, https://doi.org/10.1002/sim.1781).

    Args:
        right: `(samples,)` bool, whether the first is right.
        other: likewise for the second.

    Returns:
        Lower and upper end of accuracy(first) - accuracy(second).
    """
    lost = float(np.sum(right & ~other)) + 0.5
    won = float(np.sum(~right & other)) + 0.5
    samples = right.size + 2
    middle = (lost - won) / samples
    half = _Z95 * math.sqrt(lost + won - (lost - won) ** 2 / samples) / samples
    return max(middle - half, -1.0), min(middle + half, 1.0)


def _class_drops(truth: np.ndarray, right: np.ndarray, other: np.ndarray) -> tuple[ClassDrop, ...]:
    labels, places, samples = np.unique(truth, return_inverse=True, return_counts=True)
    shares = [np.bincount(places, weights=each) / samples for each in (right, other)]
    drops = [
        ClassDrop(label=label, samples=count, accuracy_keras=ours, accuracy_tflite=theirs)
        for label, count, ours, theirs in zip(
            labels.tolist(), samples.tolist(), *(share.tolist() for share in shares), strict=True
        )
    ]
    return tuple(sorted(drops, key=lambda each: -each.drop))


def _most_different(
    ours: list[np.ndarray],
    theirs: list[np.ndarray],
    chosen: list[np.ndarray],
    truth: np.ndarray | None,
    names: Sequence[str] | None,
) -> tuple[Difference, ...]:
    distance = np.abs(_flat(ours) - _flat(theirs)).max(axis=1)
    # Several classes a sample (a segmentation, say): no single one can be named.
    single = chosen[0].ndim == 1
    classes = chosen if single else [np.full(len(distance), -1)] * 2
    return tuple(
        Difference(
            sample=int(sample),
            name=names[sample] if names is not None else None,
            difference=float(distance[sample]),
            keras=int(classes[0][sample]),
            tflite=int(classes[1][sample]),
            label=int(truth[sample]) if truth is not None and single else None,
        )
        for sample in np.argsort(-distance, kind="stable")[:_MOST_DIFFERENT]
        if distance[sample] > 0
    )


def _flat(answers: list[np.ndarray]) -> np.ndarray:
    """All outputs of a sample in one row."""
    return np.concatenate([array.reshape(len(array), -1) for array in answers], axis=1)


def top_class(answers: np.ndarray) -> np.ndarray:
    """Top-1 class of `(samples, …, classes)`; 0 or 1 by the side of 0.5 where there is one value only."""
    if answers.shape[-1] == 1:
        return (answers[..., 0] > 0.5).astype(np.int64)
    return np.asarray(answers.argmax(axis=-1))


def _parity(ours: list[np.ndarray], theirs: list[np.ndarray], chosen: list[np.ndarray]) -> Parity:
    one, other = _flat(ours), _flat(theirs)
    difference = np.abs(one - other)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.divide((one * other).sum(axis=1), norms, out=np.ones_like(norms), where=norms > 0)
    return Parity(
        samples=len(one),
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        cosine=float(cosines.mean()),
        agreement=float((chosen[0] == chosen[1]).mean()),
    )


def check_labels(labels: np.ndarray, shape: tuple[int, ...], judge: Judge | None) -> np.ndarray:
    """Give `class_labels`, where a judge decides for one of two classes whatever the shape of the answers."""
    return class_labels(labels, shape if judge is None else (shape[0], 2))


def class_labels(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Class indices out of indices or one-hot rows.

    Args:
        labels: `(samples,)`, `(samples, 1)` or one-hot `(samples, classes)`.
        shape: `(samples, …, classes)` of the model's answers.

    Raises:
        ExportError: another number of labels than samples, or labels that are not the model's.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape == shape and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1) if labels.shape == (shape[0], 1) else labels
    classes = max(shape[-1], 2)
    if labels.shape != shape[:-1]:
        raise ExportError(f"Expected one label a sample, shape={shape[:-1]}. Received: shape={labels.shape}.")
    if labels.min() < 0 or labels.max() >= classes:
        raise ExportError(
            f"Expected labels from 0 to {classes - 1}, the model's classes. "
            f"Received: {labels.min():g} to {labels.max():g}. Check that the data belong to the model."
        )
    return labels
