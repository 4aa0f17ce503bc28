"""Models that give back their input: what is learned, areas under the curve, and a run from training to file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import kzoo
from kzoo.cli import cli
from kzoo.data import open_dataset
from kzoo.evaluation.reconstruction import area_under_roc, measure_reconstruction
from kzoo.models import autoencoder
from kzoo.run import Run
from kzoo.training.normal import begin_at_mean, normal_class
from kzoo.training.objectives import Reconstructor, accuracy_of, with_objective

SHAPE = (6, 4)


def waves(count: int, rate: float, seed: int) -> np.ndarray:
    """Sequences of four sine waves of a rate, with random phases and some noise, in large units."""
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 2 * np.pi, (count, 1, 1)) + np.arange(SHAPE[1])
    steps = np.arange(SHAPE[0])[:, None]
    return (20 + 10 * np.sin(rate * steps + phases) + 0.3 * rng.normal(size=(count, *SHAPE))).astype("float32")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Normal parts to train on, normal and broken ones to test; validation is carved out of the normal ones."""
    return {
        "x_train": waves(400, 0.5, 0),
        "y_train": np.full(400, "normal"),
        "x_test": np.concatenate([waves(100, 0.5, 1), waves(60, 2.1, 2)]),
        "y_test": np.repeat(["normal", "broken"], [100, 60]),
    }


@pytest.fixture(scope="module")
def run(arrays, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("pumps")
    np.savez(folder / "pumps.npz", **arrays)
    return kzoo.train(
        "autoencoder",
        folder / "pumps.npz",
        epochs=20,
        settings={"optimizer.learning_rate": 0.01, "callbacks.tensorboard": False},
        out=folder / "run",
    )


def test_the_loss_is_the_mean_squared_error_of_the_input_whatever_the_label():
    model = autoencoder(input_shape=SHAPE, units=8, depth=1)
    trained = with_objective(model)
    assert isinstance(trained, Reconstructor)
    trained.compile(loss="categorical_crossentropy", metrics=[accuracy_of(trained)])
    samples = waves(32, 0.5, 0)
    samples[:, 2, 1] = 7  # as the corners of pictures, which are the same in all of them
    answers = np.asarray(model.predict_on_batch(samples))
    for label in (0, 1):
        loss, explained = trained.evaluate(samples, np.eye(2)[np.full(32, label)], verbose=0)
        assert loss == pytest.approx(np.square(samples - answers).mean(), rel=1e-5)
        assert explained == pytest.approx(1 - loss / samples.var(), rel=1e-4)


def test_a_fresh_model_begins_with_the_features_means_and_deviations():
    model, samples = autoencoder(input_shape=SHAPE), waves(200, 0.5, 0) * np.array([1, 10, 100, 0], "float32")
    statistics = model.get_layer("normalization")
    statistics.adapt(samples)
    begin_at_mean(model)
    answers = np.asarray(model.predict_on_batch(samples))
    mean, deviation = samples.mean(axis=(0, 1)), samples.std(axis=(0, 1))
    assert (answers[..., 3] == 0).all()
    away = np.abs(answers.mean(axis=(0, 1)) - mean)[:3] / deviation[:3]
    spread = answers.std(axis=(0, 1))[:3] / deviation[:3]
    assert (away < 2).all() and spread.max() / spread.min() < 4


def test_the_partial_area_is_that_of_dcase():
    errors = np.array([0.1, 0.2, 0.3, 0.4, 0.35, 0.5, 0.9, 0.05])
    anomalous = np.array([False] * 4 + [True] * 4)
    # Of 16 pairs, an anomaly has the larger error in 3 (0.35) + 4 + 4 + 0.
    assert area_under_roc(errors, anomalous) == pytest.approx(11 / 16)
    # Up to 10 % of false alarms two of the four are found: (0.5 × 0.1 - 0.005) / (0.1 - 0.005) between guessing and 1.
    assert area_under_roc(errors, anomalous, 0.1) == pytest.approx(0.5 * (1 + (0.05 - 0.005) / (0.1 - 0.005)))
    assert area_under_roc(errors, np.zeros(8, bool)) is None


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("anomaly", "normal"), "normal"),
        (("bent", "Good", "scratch"), "Good"),
        (("0", "1"), "0"),
    ],
)
def test_what_is_normal_is_known_by_its_name_or_the_first(classes, expected):
    assert normal_class(classes) == expected


def test_a_run_learns_what_is_normal_and_finds_the_rest(run):
    info, metrics = run.info, run.metrics
    assert info.classes == ("broken", "normal") and run.recipe.reconstruction.normal == "normal"
    # A part of validation was carved out of train; test was given.
    assert (info.data.train, info.data.val, info.data.test) == (340, 60, 160)
    assert metrics.anomalies == 60 and metrics.auc > 0.98 and metrics.partial_auc > 0.9
    assert metrics.threshold == info.threshold
    assert metrics.false_alarms < 0.15
    assert metrics.accuracy == pytest.approx(1 - (metrics.false_alarms + metrics.misses) / 2)
    assert info.metrics["test"] == {
        "accuracy": metrics.accuracy,
        "auc": metrics.auc,
        "partial_auc": metrics.partial_auc,
    }
    assert kzoo.evaluate(run.path) == metrics
    page = (run.path / "report.html").read_text()
    assert "area under ROC" in page and "60 of 160 samples" in page
    assert all((run.path / "plots" / f"{name}.png").is_file() for name in ("errors", "roc", "curves"))


def test_the_threshold_is_a_percentile_of_normal_validation_errors(run):
    val = open_dataset(run.info.data.source, kind="sequence", one_class=True).val
    samples = val.load(np.arange(len(val)))
    errors = np.square(np.asarray(run.model.predict_on_batch(samples)) - samples).mean(axis=(1, 2))
    assert run.info.threshold == pytest.approx(np.percentile(errors, 95), rel=1e-4)


def test_files_find_what_the_model_finds(run, arrays, tmp_path):
    result = kzoo.export_model(run.path, tmp_path / "m.tflite", quantize="int8", max_drop=0.02)
    # Validation has no anomalies, so the gate looks at what is given back of the variance.
    assert result.figure == "explained variance" and 0.8 < result.accuracy_keras < 1
    assert abs(kzoo.evaluate(result.path).auc - run.metrics.auc) < 0.02
    np.save(tmp_path / "normal.npy", arrays["x_test"][0])
    np.save(tmp_path / "broken.npy", arrays["x_test"][-1])
    for source in (run.path, result.path):
        usual, odd = kzoo.detect(source, [tmp_path / "normal.npy", tmp_path / "broken.npy"])
        assert usual.error < run.info.threshold < odd.error
        assert odd.anomaly and not usual.anomaly
    with pytest.raises(kzoo.UsageError, match=r"gives back one. Ask it with kzoo\.match or kzoo\.detect"):
        kzoo.predict(run.path, [tmp_path / "normal.npy"])


def test_with_anomalies_the_gate_is_the_area_under_the_curve(run, arrays, tmp_path):
    data = {**arrays, "x_val": arrays["x_test"], "y_val": arrays["y_test"]}
    np.savez(tmp_path / "pumps.npz", **data)
    result = kzoo.export_model(run.path, tmp_path / "m.tflite", data=tmp_path / "pumps.npz")
    assert result.figure == "area under ROC"
    assert result.accuracy_keras == pytest.approx(run.metrics.auc, abs=1e-6)
    assert [each.samples for each in result.class_drops] in ([100, 60], [60, 100])


def test_the_command_line_says_how_unusual_each_is(run, arrays, tmp_path):
    np.save(tmp_path / "normal.npy", arrays["x_test"][0])
    np.save(tmp_path / "broken.npy", arrays["x_test"][-1])
    files = [str(tmp_path / "normal.npy"), str(tmp_path / "broken.npy")]
    done = CliRunner().invoke(cli, ["predict", str(run.path), *files])
    assert done.exit_code == 0, done.output
    usual, odd = done.stdout.splitlines()
    assert usual.startswith(f"{files[0]}: error ") and usual.endswith(", normal")
    assert odd.endswith(", an anomaly")
    done = CliRunner().invoke(cli, ["predict", str(run.path), files[1], "--json"])
    assert json.loads(done.stdout)[0]["anomaly"] is True
    done = CliRunner().invoke(cli, ["evaluate", str(run.path)])
    assert "Area under ROC" in done.stdout and "60 of them anomalies" in done.stdout


ON_JAX = """
import sys
import kzoo
run = kzoo.train("autoencoder", sys.argv[1], epochs=20, settings={"optimizer.learning_rate": 0.01}, out=sys.argv[2])
assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]
assert kzoo.evaluate(run.path) == run.metrics
print(run.metrics.auc)
"""


def test_it_trains_on_jax_as_well(run, tmp_path):
    command = [sys.executable, "-c", ON_JAX, run.info.data.source, str(tmp_path / "run")]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) > 0.95


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reconstruction.normal": "norml"}, r"unknown class 'norml'.*normal"),
        ({"reconstruction.normal": 3}, "unknown class '3'"),
        ({"reconstruction.normal": "broken"}, r"normal class 'broken' in train of pumps, received none"),
        ({"class_weights": "balanced"}, "class_weights: autoencoder learns to give back its input"),
        ({"regularisation.label_smoothing": 0.1}, "regularisation.label_smoothing: autoencoder"),
        ({"augmentation.noise": 0.1}, "augmentation: autoencoder"),
        ({"similarity.margin": 0.5}, "similarity is for a model of that task, and autoencoder is none"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(run, tmp_path, settings, message):
    with pytest.raises(kzoo.KzooError, match=message):
        kzoo.train("autoencoder", run.info.data.source, settings=settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_classifier_takes_no_reconstruction_and_needs_all_classes_in_train(run, tmp_path):
    with pytest.raises(kzoo.RecipeError, match="reconstruction is for a model of that task, and lstm is none"):
        kzoo.train("lstm", settings={"reconstruction.percentile": 90}, out=tmp_path / "run")
    with pytest.raises(kzoo.DataError, match="test has the label 'broken', which is not among the classes"):
        kzoo.train("lstm", run.info.data.source, out=tmp_path / "run")


def test_other_data_must_have_the_normal_class(run, tmp_path):
    np.savez(tmp_path / "other.npz", x=waves(30, 0.5, 0), y=np.repeat(["fine", "poor", "bad"], 10))
    with pytest.raises(kzoo.DataError, match="Expected data with the class 'normal'"):
        kzoo.evaluate(run.path, tmp_path / "other.npz")


def test_a_folder_of_one_class_to_train_and_several_to_test(tmp_path):
    """As MVTec AD lies on the disk: `train/good`, `test/good`, `test/crack`."""
    from PIL import Image

    for place, count in (("train/good", 5), ("test/good", 2), ("test/crack", 3)):
        folder: Path = tmp_path / "bottle" / place
        folder.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.full((4, 4), 40 * number, np.uint8)).save(folder / f"{number}.png")
    dataset = open_dataset(tmp_path / "bottle", one_class=True)
    assert dataset.classes == ("crack", "good")
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [4, 1, 5]
    np.testing.assert_array_equal(dataset.test.labels, [0, 0, 0, 1, 1])
    assert set(dataset.train.labels) == set(dataset.val.labels) == {1}
    with pytest.raises(kzoo.DataError, match="at least two class folders"):
        open_dataset(tmp_path / "bottle")


def test_tables_of_one_class_to_train(tmp_path):
    rows = "".join(f"normal,{number},{number}\n" for number in range(10))
    (tmp_path / "train.csv").write_text("label,a,b\n" + rows)
    (tmp_path / "test.csv").write_text("label,a,b\nbroken,3,5\nnormal,2,2\n")
    dataset = open_dataset(tmp_path, one_class=True)
    assert dataset.classes == ("broken", "normal")
    np.testing.assert_array_equal(dataset.test.labels, [0, 1])


def test_without_anomalies_there_is_no_area(run):
    dataset = open_dataset(run.info.data.source, kind="sequence", one_class=True)
    metrics, errors, _ = measure_reconstruction(
        lambda batch: batch.mean(axis=(1, 2)), dataset.val, "val", label=1, normal="normal", threshold=None
    )
    assert (metrics.auc, metrics.partial_auc, metrics.misses) == (None, None, None)
    assert metrics.threshold == pytest.approx(np.percentile(errors, 95))
    assert metrics.accuracy == pytest.approx(1 - (errors > metrics.threshold).mean())
