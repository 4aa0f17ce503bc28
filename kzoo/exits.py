"""Networks with early classifiers: which of them answers, and what that costs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .probabilities import as_probabilities

LAST = "predictions"
_EARLY = re.compile(r"exit(\d+)")


@dataclasses.dataclass(frozen=True)
class Exits:
    """A network whose easy samples leave early.

    Attributes:
        answers: From a batch to the probabilities of all its classifiers, `(batch, exits, classes)`, the earliest first
            and the whole network's last.
        macs: Multiply–accumulates of a sample that leaves at each of them.
        threshold: A sample leaves at the first classifier whose largest probability is at least this.
        leave: From a batch and a threshold to the probabilities of the classifier that each sample leaves at,
            `(batch, classes)`.
    """

    answers: Callable[[np.ndarray], np.ndarray]
    macs: tuple[int, ...]
    threshold: float
    leave: Callable[[np.ndarray, float], np.ndarray]

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Give the probabilities of the classifier that each sample leaves at, `(batch, classes)`."""
        return self.leave(batch, self.threshold)


def leave_at(answers: np.ndarray, threshold: float) -> np.ndarray:
    """Say at which classifier each sample leaves.

    Args:
        answers: `(samples, exits, classes)` probabilities, the earliest classifier first.
        threshold: The least probability to leave with; above 1 nothing leaves early.

    Returns:
        `(samples,)` whole numbers.
    """
    sure: np.ndarray = answers.max(axis=2) >= threshold
    # Whatever arrives at the last one leaves there.
    sure[:, -1] = True
    places: np.ndarray = sure.argmax(axis=1)
    return places


def chosen(answers: np.ndarray, threshold: float) -> np.ndarray:
    """Give the probabilities of the classifier that each sample leaves at, `(samples, classes)`."""
    taken: np.ndarray = answers[np.arange(len(answers)), leave_at(answers, threshold)]
    return taken


def exit_order(names: Sequence[str]) -> list[int] | None:
    """Give the places of a model's outputs from the earliest classifier to the last; None for a model without exits."""
    early = {int(match[1]): place for place, name in enumerate(names) if (match := _EARLY.fullmatch(name))}
    if not early or LAST not in names or len(early) + 1 != len(names):
        return None
    return [*(early[number] for number in sorted(early)), names.index(LAST)]


def keras_exits(model: Any, threshold: float) -> Exits | None:
    """Ask a Keras model with early classifiers; None for any other model.

    Args:
        model: Functional; its outputs are called "exit1", "exit2", … and "predictions".
        threshold: See `Exits`.
    """
    order = exit_order(list(model.output_names))
    if order is None:
        return None
    import keras

    from kzoo.models import count_macs

    outputs = [model.outputs[place] for place in order]
    # A sample that leaves at one classifier has passed those before it, too.
    parts = [keras.Model(model.inputs, outputs[: place + 1]) for place in range(len(outputs))]

    def answers(batch: np.ndarray) -> np.ndarray:
        predicted = model.predict_on_batch(batch.astype(np.float32))
        return as_probabilities(np.stack([predicted[place] for place in order], axis=1))

    return Exits(answers, tuple(count_macs(part) for part in parts), threshold, _EarlyLeaver(model, order))


def file_exits(answers: Callable[[np.ndarray], np.ndarray], exits: int, macs: int, threshold: float) -> Exits:
    """Ask a `.tflite` file, which computes all its classifiers for every sample.

    Args:
        answers: See `Exits`.
        exits: How many classifiers there are.
        macs: Of the whole file.
        threshold: See `Exits`.
    """
    return Exits(answers, (macs,) * exits, threshold, lambda batch, least: chosen(answers(batch), least))


class _EarlyLeaver:
    """A Keras model cut at its early classifiers: what leaves at one is not computed any further."""

    def __init__(self, model: Any, order: Sequence[int]) -> None:
        import keras

        self.parts = []
        start = model.inputs[0]
        for place in order[:-1]:
            features = _branching(model, model.output_names[place])
            self.parts.append(keras.Model(start, [model.outputs[place], features]))
            start = features
        self.last = keras.Model(start, model.outputs[order[-1]])

    def __call__(self, batch: np.ndarray, threshold: float) -> np.ndarray:
        """As `Exits.leave`."""
        features: Any = batch.astype(np.float32)
        waiting = np.arange(len(batch))
        taken: dict[int, np.ndarray] = {}
        for part in self.parts:
            outputs, features = (np.asarray(each) for each in part.predict_on_batch(features))
            answers = as_probabilities(outputs)
            sure = answers.max(axis=1) >= threshold
            taken |= dict(zip(waiting[sure].tolist(), answers[sure], strict=True))
            waiting, features = waiting[~sure], features[~sure]
            if not len(waiting):
                break
        else:
            taken |= dict(zip(waiting.tolist(), as_probabilities(self.last.predict_on_batch(features)), strict=True))
        return np.stack([taken[place] for place in range(len(batch))])


def _branching(model: Any, exit_name: str) -> Any:
    """Find the features that an early classifier and the rest of the network both read."""
    first = next(layer for layer in model.layers if layer.name.startswith(f"{exit_name}_"))
    return first.input
