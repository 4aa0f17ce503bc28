"""Hold a `.tflite` file against its Keras model on real data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from pydantic import BaseModel, ConfigDict

from kzoo.errors import ExportError

from .graph import in_structure
from .runtime import LiteModel


class Parity(BaseModel):
    """How near the file's answers come to the Keras model's on the same samples.

    Attributes:
        samples: how many were compared.
        max_difference: largest absolute difference of any output value.
        mean_difference: mean absolute difference.
        cosine: mean cosine similarity between the answers to a sample.
        agreement: share of samples with the same top-1 class (the side of 0.5 where there is one output value only),
            for the first output.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    max_difference: float
    mean_difference: float
    cosine: float
    agreement: float


class Verification(BaseModel):
    """Parity, and the gate's figures. Without labels both accuracies are None and `drop` is 1 - agreement."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parity: Parity
    accuracy_keras: float | None
    accuracy_tflite: float | None
    drop: float


def verify(
    model: keras.Model,
    lite: LiteModel,
    inputs: Sequence[np.ndarray],
    labels: np.ndarray | None = None,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    batch_size: int = 64,
) -> Verification:
    """Answer the same samples with both, a batch at a time.

    Args:
        model: the Keras model.
        lite: the file.
        inputs: one array an input, in the order of the model's inputs.
        labels: `(samples,)` class indices, or `(samples, classes)` one-hot.
        input_names: the file's names for the inputs, in the same order.
        output_names: the file's names for the outputs, in the order of the model's outputs.
        batch_size: samples at a time.

    Raises:
        ExportError: labels that do not fit, or answers that are not finite.
    """
    expected: list[list[np.ndarray]] = []
    received: list[list[np.ndarray]] = []
    for start in range(0, len(inputs[0]), batch_size):
        batch = [np.asarray(array[start : start + batch_size]) for array in inputs]
        expected.append(_keras_answers(model, batch))
        answers = lite.predict_outputs(dict(zip(input_names, batch, strict=True)))
        received.append([answers[name] for name in output_names])
    ours = [np.concatenate(parts) for parts in zip(*expected, strict=True)]
    theirs = [np.concatenate(parts) for parts in zip(*received, strict=True)]
    if not all(np.isfinite(array).all() for array in ours):
        raise ExportError("The Keras model answers NaN or infinity on the verification data. Train it again.")
    if not all(np.isfinite(array).all() for array in theirs):
        raise ExportError("The converted file answers NaN or infinity where the Keras model does not.")
    parity = _parity(ours, theirs)
    if labels is None:
        return Verification(
            parity=parity, accuracy_keras=None, accuracy_tflite=None, drop=round(1 - parity.agreement, 12)
        )
    truth = _class_labels(labels, ours[0])
    accuracies = [float((top_class(answers[0]) == truth).mean()) for answers in (ours, theirs)]
    return Verification(
        parity=parity,
        accuracy_keras=accuracies[0],
        accuracy_tflite=accuracies[1],
        drop=round(accuracies[0] - accuracies[1], 12),
    )


def top_class(answers: np.ndarray) -> np.ndarray:
    """Top-1 class of `(samples, …, classes)`; 0 or 1 by the side of 0.5 where there is one value only."""
    if answers.shape[-1] == 1:
        return (answers[..., 0] > 0.5).astype(np.int64)
    return np.asarray(answers.argmax(axis=-1))


def _keras_answers(model: keras.Model, batch: list[np.ndarray]) -> list[np.ndarray]:
    tensors = [array.astype(tensor.dtype) for array, tensor in zip(batch, model.inputs, strict=True)]
    answers: Any = model.predict(in_structure(model, tensors), batch_size=len(batch[0]), verbose=0)
    return [np.asarray(array, np.float32) for array in keras.tree.flatten(answers)]


def _parity(ours: list[np.ndarray], theirs: list[np.ndarray]) -> Parity:
    samples = len(ours[0])
    one, other = (np.concatenate([array.reshape(samples, -1) for array in each], axis=1) for each in (ours, theirs))
    difference = np.abs(one - other)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines = np.divide((one * other).sum(axis=1), norms, out=np.ones_like(norms), where=norms > 0)
    return Parity(
        samples=samples,
        max_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        cosine=float(cosines.mean()),
        agreement=float((top_class(ours[0]) == top_class(theirs[0])).mean()),
    )


def _class_labels(labels: np.ndarray, answers: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape == answers.shape and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(-1) if labels.shape == (len(answers), 1) else labels
    classes = max(answers.shape[-1], 2)
    if labels.shape != answers.shape[:-1]:
        raise ExportError(f"Expected one label a sample, shape={answers.shape[:-1]}. Received: shape={labels.shape}.")
    if labels.min() < 0 or labels.max() >= classes:
        raise ExportError(
            f"Expected labels from 0 to {classes - 1}, the model's classes. "
            f"Received: {labels.min():g} to {labels.max():g}. Check that the data belong to the model."
        )
    return labels
