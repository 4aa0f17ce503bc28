"""Metrics against small cases worked out by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from pydantic import ValidationError

from kzoo.errors import DataError, KzooError
from kzoo.evaluation import Metrics, compute_metrics, most_confused, summary_rows, worst_mistakes
from kzoo.evaluation.metrics import percent
from kzoo.evaluation.mistakes import collect_mistakes


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def one_hot(predicted, classes):
    return np.eye(classes)[predicted]


def test_three_classes_by_hand():
    # true:      a a a a b b c c
    # predicted: a a b c b a c c
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    metrics = compute_metrics(one_hot([0, 0, 1, 2, 1, 0, 2, 2], 3), labels, ["a", "b", "c"], "val")

    assert (metrics.split, metrics.samples, metrics.mistakes) == ("val", 8, 3)
    assert metrics.confusion == [{0: 2, 1: 1, 2: 1}, {0: 1, 1: 1}, {2: 2}]
    assert metrics.accuracy == 5 / 8
    assert metrics.top5 == 1
    assert [record.precision for record in metrics.classes] == pytest.approx([2 / 3, 1 / 2, 2 / 3])
    assert [record.recall for record in metrics.classes] == pytest.approx([1 / 2, 1 / 2, 1])
    assert [record.f1 for record in metrics.classes] == pytest.approx([4 / 7, 1 / 2, 4 / 5])
    assert [record.support for record in metrics.classes] == [4, 2, 2]
    assert metrics.precision == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    assert metrics.recall == pytest.approx(2 / 3)
    assert metrics.f1 == pytest.approx((4 / 7 + 1 / 2 + 4 / 5) / 3)


def test_a_class_that_the_split_lacks_costs_nothing_unless_it_is_predicted():
    labels = np.array([0, 1, 0, 1])
    absent = compute_metrics(one_hot([0, 1, 0, 1], 3), labels, ["a", "b", "c"])
    assert (absent.f1, absent.precision, absent.recall) == (1, 1, 1)
    assert absent.classes[2].model_dump() == {"name": "c", "precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert absent.confusion[2] == {}

    predicted = compute_metrics(one_hot([0, 1, 0, 2], 3), labels, ["a", "b", "c"])
    assert predicted.f1 == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_full_matrix_of_an_older_run_reads_as_what_is_written_now():
    metrics = compute_metrics(one_hot([0, 1, 1], 2), np.array([0, 1, 0]), ["ham", "spam"])
    older = {**metrics.model_dump(mode="json"), "confusion": [[1, 1], [0, 1]]}
    assert Metrics.model_validate(older) == metrics
    assert Metrics.model_validate_json(metrics.model_dump_json()) == metrics


def test_thousands_of_classes_take_no_more_room_than_their_samples():
    def written(classes):
        labels = np.arange(classes)
        return len(compute_metrics(one_hot(labels, classes), labels, ["class"] * classes).model_dump_json())

    assert written(1000) < 2.2 * written(500)


def test_two_classes():
    metrics = compute_metrics(one_hot([0, 1, 1], 2), np.array([0, 1, 0]), ["ham", "spam"])
    assert metrics.confusion == [{0: 1, 1: 1}, {1: 1}]
    assert (metrics.accuracy, metrics.top5) == (2 / 3, 1)


def test_one_class():
    metrics = compute_metrics(np.ones((3, 1)), np.zeros(3, int), ["only"])
    assert (metrics.accuracy, metrics.f1, metrics.confusion) == (1, 1, [{0: 3}])


def test_top5_counts_the_fifth_and_not_the_sixth():
    ranked = np.array([[7, 6, 5, 4, 3, 2, 1, 0]]) / 28
    names = list("abcdefgh")
    assert compute_metrics(ranked, np.array([4]), names).top5 == 1
    assert compute_metrics(ranked, np.array([5]), names).top5 == 0
    # Classes that the split lacks stay among the candidates.
    assert compute_metrics(np.repeat(ranked, 2, axis=0), np.array([4, 7]), names).top5 == 0.5


def test_metrics_survive_json_unchanged():
    metrics = compute_metrics(one_hot([0, 1, 1], 2), np.array([0, 1, 0]), ["ham", "spam"])
    assert Metrics.model_validate_json(metrics.model_dump_json()) == metrics
    with pytest.raises(ValidationError):
        metrics.accuracy = 1.0


def test_every_field_says_what_it_is():
    schema = Metrics.model_json_schema()
    records = [schema["properties"], schema["$defs"]["ClassMetrics"]["properties"]]
    assert [name for record in records for name, field in record.items() if not field.get("description")] == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_no_numbers_are_refused(value):
    probabilities = one_hot([0, 1, 1, 0], 2)
    probabilities[2, 0] = value
    with pytest.raises(KzooError, match=r"1 of 4 samples, first for sample 2.*learning rate"):
        compute_metrics(probabilities, np.array([0, 1, 1, 0]), ["a", "b"])


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((2, 3)), np.array([0, 1]), r"\(samples, 2\).*\(2, 3\)"),
        (np.ones(2), np.array([0, 1]), r"\(samples, 2\).*\(2,\)"),
        (np.ones((2, 2)), np.array([0, 1, 1]), r"2 integer labels.*\(3,\)"),
        (np.ones((2, 2)), np.array([0.0, 1.0]), r"2 integer labels.*float64"),
        (np.ones((2, 2)), np.eye(2, dtype=int), "not one-hot"),
        (np.ones((2, 2)), np.array([0, 2]), "labels from 0 to 1.*from 0 to 2"),
        (np.ones((2, 2)), np.array([-1, 0]), "labels from 0 to 1.*from -1 to 0"),
        (np.ones((0, 2)), np.zeros(0, int), "empty split"),
    ],
)
def test_what_does_not_fit_is_refused(probabilities, labels, message):
    with pytest.raises(DataError, match=message):
        compute_metrics(probabilities, labels, ["a", "b"])


def test_worst_mistakes_come_most_confident_first():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])
    labels = np.array([0, 1, 0, 1])
    assert worst_mistakes(probabilities, labels).tolist() == [2, 3, 1]
    assert worst_mistakes(probabilities, labels, limit=2).tolist() == [2, 3]
    assert worst_mistakes(probabilities, np.array([0, 0, 1, 0])).tolist() == []


def test_only_the_mistakes_are_loaded():
    class Split:
        def __init__(self):
            self.labels = np.array([0, 1, 0, 1])
            self.loaded = []

        def load(self, indices):
            self.loaded.extend(indices.tolist())
            return indices[:, None, None, None].astype(np.uint8)

        def name(self, index):
            return f"test[{index}]"

        def text(self, index):
            return None

    split = Split()
    mistakes = collect_mistakes(split, np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]]))
    assert mistakes.names == ["test[2]", "test[1]"]
    assert mistakes.samples.ravel().tolist() == split.loaded == [2, 1]
    assert mistakes.labels.tolist() == [0, 1]
    assert mistakes.probabilities.max(axis=1).tolist() == [0.8, 0.6]

    split.loaded.clear()
    assert len(collect_mistakes(split, np.eye(2)[split.labels]).names) == 0
    assert split.loaded == []


def test_confused_pairs_are_sorted_by_count_then_by_share():
    # a: 4 of 8 taken for b; b: 1 of 2 taken for c; c: 1 of 4 taken for a
    labels = np.array([0] * 8 + [1] * 2 + [2] * 4)
    predicted = [0] * 4 + [1] * 4 + [1, 2] + [2, 2, 2, 0]
    pairs = most_confused(compute_metrics(one_hot(predicted, 3), labels, ["a", "b", "c"]))
    assert [(pair.true, pair.predicted, pair.count, pair.support) for pair in pairs] == [
        ("a", "b", 4, 8),
        ("b", "c", 1, 2),
        ("c", "a", 1, 4),
    ]


def test_summary_rows():
    labels = np.array([0, 0, 0, 1, 1, 1])
    rows = dict(summary_rows(compute_metrics(one_hot([0, 0, 0, 1, 1, 0], 2), labels, ["cat", "dog"], "val")))
    assert rows["Split"] == "val, 6 samples"
    assert rows["Accuracy"] == "83.3%"
    assert rows["Weakest class"] == "dog, F1 80.0%"
    assert rows["Most confused"] == "dog taken for cat, 1 of 3"
    assert "Top-5 accuracy" not in rows

    rows = dict(summary_rows(compute_metrics(np.eye(6), np.arange(6), list("abcdef"))))
    assert rows["Top-5 accuracy"] == "100%"
    assert "Most confused" not in rows


def test_a_percentage_does_not_round_up_to_perfection():
    assert percent(1.0) == "100%"
    assert percent(0.9999) == ">99.9%"
    assert percent(0.9994) == "99.9%"
    assert percent(0.0) == "0.0%"
