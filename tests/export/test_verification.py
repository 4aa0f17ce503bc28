"""The figures of the gate, on answers that are made up so that the figures are known."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kzoo.errors import ExportError
from kzoo.export.verification import Judge, class_labels, keras_answers, paired_interval, verify


class Answers:
    """Stands for a file: gives the answers it was made with."""

    def __init__(self, answers: np.ndarray) -> None:
        self.answers = answers
        self.asked = 0

    def predict_outputs(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = len(next(iter(batch.values())))
        self.asked += count
        return {"y": self.answers[self.asked - count : self.asked]}


@pytest.fixture
def identity() -> keras.Model:
    """Answers what it is given."""
    return keras.Sequential([keras.Input((3,)), keras.layers.Activation("linear")])


def held_against(model: keras.Model, ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray | None = None, **more):
    answers = keras_answers(model, [ours])
    return verify(answers, Answers(theirs), [ours], labels, input_names=["x"], output_names=["y"], **more)


def one_hot(classes: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[classes]


def test_classes_are_listed_by_what_they_lose(identity: keras.Model) -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    ours, theirs = one_hot([0, 0, 0, 1, 1, 1, 2, 0]), one_hot([0, 0, 2, 0, 1, 0, 2, 2])
    verified = held_against(identity, ours, theirs, truth)
    assert (verified.accuracy_keras, verified.accuracy_tflite) == (6 / 8, 6 / 8)
    assert [(each.label, each.samples, each.drop) for each in verified.classes] == [
        (1, 2, 0.5),
        (0, 4, 0),
        (2, 2, -0.5),
    ]


def test_the_most_different_inputs_are_named_with_both_answers(identity: keras.Model) -> None:
    ours = np.zeros((100, 3), np.float32)
    ours[:, 1] = 1
    theirs = ours.copy()
    theirs[:, 2] = np.arange(100) / 1000
    theirs[40] = [2, 0, 0]
    names = [f"{number}.png" for number in range(100)]
    found = held_against(identity, ours, theirs, np.ones(100, int), names=names, batch_size=32).most_different
    assert [each.sample for each in found] == [40, 99, 98, 97, 96, 95, 94, 93, 92, 91]
    first = found[0]
    assert (first.name, first.difference, first.keras, first.tflite, first.label) == ("40.png", 2, 1, 0, 1)


def test_without_labels_there_is_no_accuracy(identity: keras.Model) -> None:
    verified = held_against(identity, one_hot([0, 1, 2, 2]), one_hot([0, 1, 2, 1]))
    assert verified.drop == 0.25
    assert verified.interval is None
    assert verified.classes == ()
    assert verified.most_different[0].label is None


def test_a_judge_decides_and_gives_the_figure_of_the_gate(identity: keras.Model) -> None:
    ours = np.array([[0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 0, 4]], np.float32)
    theirs = np.array([[0, 0, 1], [0, 0, 3], [0, 0, 3], [0, 0, 4]], np.float32)
    truth = np.array([0, 0, 1, 1])
    judge = Judge(lambda answers: (answers[:, 2] > 2.5).astype(int))
    verified = held_against(identity, ours, theirs, truth, judge=judge)
    assert (verified.accuracy_keras, verified.accuracy_tflite, verified.parity.agreement) == (1, 0.75, 0.75)
    assert verified.interval is not None and verified.most_different[0].tflite == 1
    judge = Judge(judge.decide, score=lambda answers: 1 - float(answers.mean()) / 10, figure="lightness")
    scored = held_against(identity, ours, theirs, truth, judge=judge)
    assert scored.accuracy_keras == pytest.approx(1 - 10 / 120)
    assert scored.drop == pytest.approx(1 / 120)
    assert scored.interval is None
    assert [each.drop for each in scored.classes] == [0.5, 0]


@pytest.mark.parametrize("answer", [np.nan, np.inf])
def test_answers_that_are_not_finite_are_refused(identity: keras.Model, answer: float) -> None:
    good, bad = one_hot([0, 1]), one_hot([0, 1])
    bad[1, 1] = answer
    with pytest.raises(ExportError, match="converted file answers NaN or infinity"):
        held_against(identity, good, bad)
    with pytest.raises(ExportError, match="Keras model answers NaN or infinity"):
        held_against(identity, bad, good)


def test_the_interval_holds_what_it_promises() -> None:
    """On simulated pairs of classifiers the true difference lies inside about 95 times of 100."""
    rng = np.random.default_rng(0)
    inside, trials, samples = 0, 2000, 300
    lost, won = 0.04, 0.01  # right with the first only, with the second only
    for _ in range(trials):
        draw = rng.random(samples)
        first = (draw < lost) | (draw >= lost + won)
        second = (draw >= lost) & (draw < 0.97)
        first &= draw < 0.97
        low, high = paired_interval(first, second)
        inside += low <= lost - won <= high
    assert 0.93 < inside / trials < 0.98


def test_the_interval_is_no_point_where_nothing_differs() -> None:
    low, high = paired_interval(np.ones(100, bool), np.ones(100, bool))
    assert -0.03 < low < 0 < high < 0.03
    smaller = paired_interval(np.ones(10_000, bool), np.ones(10_000, bool))
    assert low < smaller[0] < 0 < smaller[1] < high


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([0, 2], [0, 2]), ([[0], [2]], [0, 2]), ([[1, 0, 0], [0, 0, 1]], [0, 2])],
)
def test_labels_come_as_indices_or_one_hot(labels: list[int], expected: list[int]) -> None:
    assert class_labels(np.array(labels), (2, 3)).tolist() == expected
