"""Learning from teachers: the loss in numbers, what a student learns, what is refused, and that no teacher is kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import kzoo
from kzoo.cli import cli
from kzoo.data import open_dataset
from kzoo.models import early_exit_resnet
from kzoo.recipes.smaller import DistillationSection
from kzoo.training import make_plan, resolve_recipe
from kzoo.training.distillation import distillation_loss, feature_loss, load_teachers, teacher_probabilities
from kzoo.training.objectives import with_objective
from kzoo.training.phases import Phase, compile_for

RNG = np.random.default_rng(0)
QUICK = {"callbacks.tensorboard": False}


def softmax(scores):
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    return exponents / exponents.sum(-1, keepdims=True)


def hinton(labels, student, teachers, temperature, weight, smoothing=0.0):
    """The loss of logits, written with NumPy."""
    labels = labels * (1 - smoothing) + smoothing / labels.shape[-1]
    hard = -(labels * np.log(softmax(student))).sum(-1)
    soft = np.mean([softmax(teacher / temperature) for teacher in teachers], axis=0)
    divergence = (soft * np.log(soft / softmax(student / temperature))).sum(-1)
    return (1 - weight) * hard + weight * temperature**2 * divergence


@pytest.mark.parametrize(("temperature", "weight", "smoothing"), [(1.0, 1.0, 0.0), (4.0, 0.3, 0.1), (20.0, 0.0, 0.0)])
@pytest.mark.parametrize("teachers", [1, 3])
def test_the_loss_is_that_of_the_paper(temperature, weight, smoothing, teachers):
    labels = np.eye(5, dtype="float32")[RNG.integers(0, 5, 7)]
    student = RNG.normal(0, 3, (7, 5)).astype("float32")
    taught = RNG.normal(0, 3, (teachers, 7, 5)).astype("float32")
    expected = hinton(labels, student, taught, temperature, weight, smoothing)
    options = {"temperature": temperature, "weight": weight, "label_smoothing": smoothing}
    for answers, logits in ((student, True), (softmax(student), False)):
        loss = distillation_loss(labels, answers, softmax(taught), logits=logits, **options)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=2e-4, atol=1e-5)
    if teachers == 1:
        alone = distillation_loss(labels, student, softmax(taught[0]), logits=True, **options)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(alone), expected, rtol=2e-4, atol=1e-5)


def test_features_are_matched_by_their_mean_squared_difference():
    student, teacher = (RNG.normal(0, 1, (4, 2, 3, 5)).astype("float32") for _ in range(2))
    expected = ((student.mean((1, 2)) - teacher.mean((1, 2))) ** 2).mean(1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(feature_loss(student, teacher)), expected, rtol=1e-5)
    flat = keras.ops.convert_to_numpy(feature_loss(student[:, 0, 0], teacher[:, 0, 0]))
    np.testing.assert_allclose(flat, ((student - teacher)[:, 0, 0] ** 2).mean(1), rtol=1e-5)


def test_certainty_gives_no_infinity():
    certain = np.array([[1.0, 0.0, 0.0]], "float32")
    assert np.isfinite(keras.ops.convert_to_numpy(distillation_loss(certain, certain, certain[:, ::-1]))).all()


@pytest.fixture(scope="module")
def digits():
    data = open_dataset("digits")
    return {
        f"{axis}_{name}": values
        for name in ("train", "val", "test")
        for axis, values in (("x", getattr(data, name).load(range(260))), ("y", getattr(data, name).labels[:260]))
    }


@pytest.mark.slow(20)
def test_a_student_learns_what_only_the_teacher_knows(tmp_path, trained_run):
    data = open_dataset("digits")
    x, y = data.train.load(range(len(data.train))), data.train.labels
    shuffled = {"x_train": x, "y_train": np.random.default_rng(1).permutation(y)}
    for name in ("val", "test"):
        split = getattr(data, name)
        shuffled |= {f"x_{name}": split.load(range(len(split))), f"y_{name}": split.labels}
    settings = {**QUICK, "distillation.weight": 1.0, "callbacks.early_stopping": None}
    before = hashlib.sha256((trained_run.path / "model.keras").read_bytes()).hexdigest()
    run = kzoo.train(
        "cnn", data=shuffled, epochs=6, distill=trained_run.path, settings=settings, out=tmp_path / "student"
    )
    assert run.metrics.accuracy > 0.8
    assert run.info.teachers == (str(trained_run.path.resolve()),)
    assert run.recipe.distillation.weight == 1.0
    assert hashlib.sha256((trained_run.path / "model.keras").read_bytes()).hexdigest() == before


def test_a_step_changes_the_student_and_not_the_teachers(trained_run, digits):
    recipe = resolve_recipe(
        "lenet5", overrides={"distillation.teachers": [str(trained_run.path)], "distillation.features": 0.1}
    )
    plan = make_plan(recipe, digits)
    model = plan.training_model()
    compile_for(model, plan, Phase(0, 1, None, 0.01))
    plain = len(plan.model.weights)
    assert [weight.path for weight in model.weights[plain:]] == ["to_teacher0/kernel"]
    before = [[weight.numpy() for weight in each.weights] for each in (model, *plan.teachers)]
    model.train_on_batch(digits["x_train"][:32].astype("float32"), np.eye(10)[digits["y_train"][:32]])
    after = [[weight.numpy() for weight in each.weights] for each in (model, *plan.teachers)]
    assert all((old != new).any() for old, new in zip(before[0], after[0], strict=True) if old.ndim > 1)
    for old, new in zip(before[1], after[1], strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("ending", ["softmax", None])
def test_every_classifier_of_a_network_with_exits_is_taught(ending):
    keras.utils.set_random_seed(0)
    student = early_exit_resnet(input_shape=(8, 8, 1), classes=10, blocks=1, width=8, classifier_activation=ending)
    teachers = [keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])]
    model = with_objective(student, None, DistillationSection(teachers=("t",), temperature=3.0, weight=0.7), teachers)
    loss = keras.losses.CategoricalCrossentropy(from_logits=ending is None, label_smoothing=0.1)
    model.compile("sgd", loss, metrics=["accuracy"])
    x, y = RNG.random((6, 8, 8, 1)).astype("float32"), np.eye(10, dtype="float32")[:6]
    weights = np.linspace(0.5, 2, 6).astype("float32")
    logits = [answer if ending is None else np.log(answer) for answer in student.predict_on_batch(x)]
    taught = np.log(teachers[0].predict_on_batch(x))[None]
    expected = np.mean([hinton(y, each, taught, 3.0, 0.7, 0.1) * weights for each in logits])
    assert float(model.compute_loss(x, y, model(x), weights, training=True)) == pytest.approx(expected, rel=1e-4)
    # Validation knows the labels alone.
    plain = np.mean([hinton(y, each, taught, 3.0, 0.0, 0.1) for each in logits])
    assert model.test_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(plain, rel=1e-4)


def test_logits_and_probabilities_teach_alike(tmp_path):
    inputs = keras.Input((8, 8, 1))
    scores = keras.layers.Dense(3, name="scores")(keras.layers.Flatten()(inputs))
    keras.Model(inputs, scores).save(tmp_path / "logits.keras")
    keras.Model(inputs, keras.layers.Softmax()(scores)).save(tmp_path / "softmax.keras")
    spec = open_dataset("digits").input
    teachers = load_teachers([str(tmp_path / "logits.keras"), str(tmp_path / "softmax.keras")], ("a", "b", "c"), spec)
    x = RNG.random((4, 8, 8, 1)).astype("float32")
    answers = keras.ops.convert_to_numpy(teacher_probabilities(teachers, x))
    assert answers.shape == (2, 4, 3)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    np.testing.assert_allclose(answers[0], softmax(keras.Model(inputs, scores).predict_on_batch(x)), atol=1e-6)


class Stops:
    """A reporter that interrupts training at a batch."""

    def __init__(self, batch):
        self.left = batch

    def line(self, text):
        pass

    def status(self, text):
        pass

    def wants_status(self):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return False


def histories(*runs):
    return [[{k: v for k, v in row.items() if not k.startswith("s")} for row in run.history()] for run in runs]


@pytest.mark.slow(25)
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path, trained_run, digits):
    # A projection, whose weights the model file does not hold, and dropout.
    settings = {**QUICK, "distillation.features": 0.1, "regularisation.dropout": 0.2}
    options = {"data": digits, "epochs": 4, "distill": [trained_run.path, trained_run.path / "model.keras"]}
    whole = kzoo.train("lenet5", **options, settings=settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        kzoo.train("lenet5", **options, settings=settings, out=tmp_path / "cut", reporter=Stops(24))
    assert 1 <= len(kzoo.Run(tmp_path / "cut").history()) < 4
    resumed = kzoo.train("lenet5", data=digits, resume=True, out=tmp_path / "cut")
    ours, theirs = histories(resumed, whole)
    assert ours == theirs
    # A plain model of the student's layers, which opens without kzoo's classes.
    saved = keras.saving.load_model(resumed.path / "model.keras")
    fresh = kzoo.create_model("lenet5", **{**whole.info.arguments, "input_shape": (8, 8, 1)})
    assert [weight.path for weight in saved.weights] == [weight.path for weight in fresh.weights]
    for ours, theirs in zip(saved.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def small(ending, *, classes=10, shape=(8, 8, 1), outputs=1):
    inputs = keras.Input(shape)
    flat = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, [keras.layers.Dense(classes, ending)(flat) for _ in range(outputs)])


FILES = {
    "count": (small("softmax", classes=7), "10 classes, received"),
    "shape": (small("softmax", shape=(16, 16, 1)), "input 8×8×1, received .* with 16×16×1. Set input.size"),
    "sigmoid": (small("sigmoid"), "ends in sigmoid"),
    "two outputs": (small("softmax", outputs=2), "Expected a classifier for a teacher"),
    "a map": (keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(10, 3)]), "Expected a classifier"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_teach_is_refused_before_anything_is_written(tmp_path, name):
    model, message = FILES[name]
    model.save(tmp_path / "teacher.keras")
    with pytest.raises(kzoo.RunError, match=message) as caught:
        kzoo.train("cnn", distill=tmp_path / "teacher.keras", out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


CHANGES = {
    "names": ({"classes": list("abcdefghij")}, "10 classes in their order"),
    "order": ({"classes": list("1023456789")}, "10 classes in their order"),
    "similarity": ({"task": "similarity"}, "a model for similarity"),
    "kind": ({"input": {"kind": "sequence", "shape": [8, 8]}}, "for images, received .* for sequences"),
    "shape": ({"input": {"kind": "image", "shape": [8, 8, 3]}}, "input 8×8×1, received .* with 8×8×3"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_that_cannot_teach_is_refused_before_anything_is_written(tmp_path, trained_run, name):
    changes, message = CHANGES[name]
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    shutil.copy(trained_run.path / "model.keras", teacher)
    facts = json.loads((trained_run.path / "run.json").read_text())
    (teacher / "run.json").write_text(json.dumps({**facts, **changes}))
    with pytest.raises(kzoo.RunError, match=message) as caught:
        kzoo.train("cnn", distill=[trained_run.path, teacher], out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_missing_teacher_and_a_student_that_compares_are_refused(tmp_path, trained_run):
    with pytest.raises(kzoo.RunError, match=r"received .*nowhere, which is neither"):
        kzoo.train("cnn", distill=tmp_path / "nowhere", out=tmp_path / "run")
    with pytest.raises(kzoo.RecipeError, match="received siamese, which compares samples"):
        kzoo.train("siamese", distill=trained_run.path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_command_line_takes_teachers(tmp_path, monkeypatch, trained_run):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "lenet5", "--distill", str(trained_run.path), "--set", "distillation.weight=0.7", "--dry-run"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert f"teachers {trained_run.path}" in result.output
    assert list(tmp_path.iterdir()) == []


JAX = """
import sys
import numpy as np
import kzoo
from kzoo.data import open_dataset
from kzoo.training import on_device
on_device.steps_per_dispatch = lambda: 4
digits = open_dataset("digits")
data = {}
for name in ("train", "val", "test"):
    split = getattr(digits, name)
    data |= {f"x_{name}": split.load(range(260)), f"y_{name}": split.labels[:260]}
data["y_train"] = np.random.default_rng(1).permutation(data["y_train"])
settings = {"distillation.weight": 1.0, "distillation.features": 0.01, "class_weights": "balanced",
            "augmentation.rotation": 0, "optimizer.learning_rate": 0.005, "optimizer.ema": None}
run = kzoo.train("lenet5", data=data, epochs=10, distill=sys.argv[1], settings=settings, out=sys.argv[2])
assert run.metrics.accuracy > 0.4, run.metrics.accuracy
assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]
"""


@pytest.mark.slow(40)
def test_on_jax_a_student_learns_from_its_teacher_too(tmp_path, trained_run):
    command = [sys.executable, "-c", JAX, *map(str, (trained_run.path, tmp_path / "run"))]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr[-2000:]
