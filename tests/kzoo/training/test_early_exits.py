"""Networks with early classifiers: one loss, leaving early, the threshold, and a run from training to file."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import kzoo
from kzoo.evaluation.exit_curve import cheapest_threshold, exit_curve
from kzoo.exits import keras_exits, leave_at
from kzoo.models import count_macs, early_exit_resnet, resnet8
from kzoo.run import Run
from kzoo.training.acceleration import training_copy
from kzoo.training.objectives import with_objective

SHAPE, CLASSES = (12, 16, 3), 4


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(2)
    return early_exit_resnet(input_shape=SHAPE, classes=CLASSES, blocks=1, width=8)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, *SHAPE)).astype("float32")


def test_the_loss_is_the_mean_of_the_classifiers_and_the_penalties_count_once(model, images):
    labels = np.eye(CLASSES, dtype="float32")[np.arange(len(images)) % CLASSES]
    trained = with_objective(training_copy(model))
    trained.get_layer("predictions").kernel.regularizer = keras.regularizers.L2(0.1)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    trained.compile(keras.optimizers.SGD(0.0), loss, metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")])
    weights = np.linspace(0.5, 2, len(images)).astype("float32")
    measured = trained.test_on_batch(images, labels, sample_weight=weights, return_dict=True)
    outputs = model.predict_on_batch(images)
    expected = np.mean([float(loss(labels, each, sample_weight=weights)) for each in outputs])
    penalty = 0.1 * float((model.get_layer("predictions").kernel.numpy() ** 2).sum())
    assert measured["loss"] == pytest.approx(expected + penalty, rel=1e-5)
    right = outputs[0].argmax(1) == labels.argmax(1)
    assert measured["accuracy"] == pytest.approx(float(right.mean()))


def test_a_model_of_one_output_stays_as_it_is():
    plain = resnet8(input_shape=(8, 8, 1))
    assert with_objective(plain) is plain
    assert keras_exits(plain, 0.5) is None


def test_who_leaves_early_gets_the_answer_of_that_classifier(model, images):
    everything = keras_exits(model, 2.0)
    answers = everything.answers(images)
    outputs = dict(zip(model.output_names, model.predict_on_batch(images), strict=True))
    for place, name in enumerate(("exit1", "exit2", "predictions")):
        np.testing.assert_allclose(answers[:, place], outputs[name], atol=1e-6)
    # A threshold that parts the samples among all three classifiers.
    threshold = float(np.quantile(answers[:, 0].max(1), 0.6))
    places = leave_at(answers, threshold)
    assert len(set(places.tolist())) > 1
    leaving = keras_exits(model, threshold).predict(images)
    np.testing.assert_allclose(leaving, answers[np.arange(len(images)), places], atol=1e-6)
    np.testing.assert_allclose(everything.predict(images), outputs["predictions"], atol=1e-6)
    np.testing.assert_allclose(keras_exits(model, 0.0).predict(images), outputs["exit1"], atol=1e-6)


def test_macs_of_an_exit_leave_out_what_comes_after_it(model):
    first, second, whole = keras_exits(model, 0.5).macs
    assert first < second < whole == count_macs(model)
    assert first == count_macs(keras.Model(model.inputs, model.outputs[1]))


def test_the_curve_and_the_cheapest_threshold_that_loses_nothing():
    # Four samples, two classifiers: the first is right and sure, right and unsure, wrong and unsure, wrong and sure.
    early = np.array([[0.9, 0.1], [0.6, 0.4], [0.55, 0.45], [0.8, 0.2]])
    late = np.array([[0.7, 0.3], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9]])
    answers, labels = np.stack([early, late], axis=1), np.array([0, 0, 1, 1])
    curve = exit_curve(answers, labels, (10, 30), thresholds=(0.0, 0.58, 0.85, 1.1))
    assert [point.accuracy for point in curve] == [0.5, 0.75, 1.0, 1.0]
    assert [point.macs for point in curve] == [10, 15, 25, 30]
    assert curve[2].shares == (0.25, 0.75)
    assert cheapest_threshold(curve) == 0.85


def test_a_run_measures_its_exits_and_its_file_has_them_too(tmp_path: Path) -> None:
    run = kzoo.train(
        "early_exit_resnet",
        "digits",
        epochs=3,
        settings={"model.arguments.blocks": 1, "callbacks.tensorboard": False},
        out=tmp_path / "run",
    )
    metrics = Run(run.path).metrics
    assert metrics.exit_threshold == run.info.threshold
    point = next(point for point in metrics.exits if point.threshold == metrics.exit_threshold)
    assert point.accuracy == pytest.approx(metrics.accuracy)
    assert metrics.exits[-1].shares == (0, 0, 1) and metrics.exits[-1].macs == run.info.macs
    assert "Early exits" in (run.path / "report.html").read_text()
    assert kzoo.evaluate(run.path).exits == metrics.exits
    result = kzoo.export_model(run.path, tmp_path / "m.tflite", max_drop=1)
    assert {tensor.name for tensor in result.outputs} == {"predictions", "exit1", "exit2"}
    measured = kzoo.evaluate(result.path)
    # A file computes everything for every sample; what it answers is the same.
    assert measured.accuracy == pytest.approx(metrics.accuracy)
    assert [p.shares for p in measured.exits] == [p.shares for p in metrics.exits]
    assert {p.macs for p in measured.exits} == {run.info.macs}
