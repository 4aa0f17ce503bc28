"""Training for real: the run directory, what stops a run, every option of a recipe, and other data."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.data import open_dataset
from kzoo.training import LogReporter, dry_run, make_plan, resolve_recipe

COLUMNS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "samples_per_second"]


def test_a_run_directory_holds_what_the_contract_says(trained_run):
    path = trained_run.path
    assert {file.name for file in path.iterdir()} == {
        "model.keras", "run.json", "recipe.yaml", "history.csv", "metrics.json", "labels.txt", "plots", "report.html",
        "tensorboard",
    }  # fmt: skip
    with (path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert [int(row["epoch"]) for row in rows] == list(range(1, 11))
    assert all(float(row["samples_per_second"]) > 0 for row in rows)
    facts = json.loads((path / "run.json").read_text())
    metrics = json.loads((path / "metrics.json").read_text())
    assert facts["status"] == "done"
    assert facts["metrics"]["test"]["accuracy"] == metrics["accuracy"]
    assert metrics["samples"] == 269
    assert (path / "labels.txt").read_text().split() == list("0123456789")
    assert list((path / "tensorboard" / "train").glob("events*"))
    # What a user of the quick start may expect of the smallest network.
    assert metrics["accuracy"] > 0.95


def test_the_best_epoch_is_what_is_saved(trained_run):
    history = trained_run.history()
    best = max(history, key=lambda row: (row["val_accuracy"], row["epoch"]))
    assert trained_run.info.best_epoch == best["epoch"]
    assert kzoo.evaluate(trained_run, split="val").accuracy == pytest.approx(best["val_accuracy"], abs=1e-6)


@pytest.mark.slow(15)
def test_the_saved_model_loads_where_kzoo_is_not_imported(trained_run, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(64, dtype="float32").reshape(1, 8, 8, 1))
    code = (
        "import sys, numpy as np, keras\n"
        "sys.modules['kzoo'] = None\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "assert not model.compiled\n"
        "np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))\n"
    )
    paths = [trained_run.path / "model.keras", tmp_path / "x.npy", tmp_path / "y.npy"]
    subprocess.run([sys.executable, "-c", code, *map(str, paths)], check=True, capture_output=True, cwd=tmp_path)
    expected = trained_run.model.predict(np.load(tmp_path / "x.npy"), verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-6)


@pytest.mark.slow(20)
def test_the_recorded_recipe_repeats_the_run(tmp_path):
    first = kzoo.train("cnn", epochs=2, seed=5, out=tmp_path / "first")
    again = kzoo.train("cnn", recipe=first.path / "recipe.yaml", out=tmp_path / "again")
    other = kzoo.train("cnn", epochs=2, seed=6, out=tmp_path / "other")
    losses = [[row["loss"] for row in run.history()] for run in (first, again, other)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.slow(20)
def test_a_loss_that_is_no_number_stops_the_run_and_says_where(tmp_path):
    settings = {"optimizer.name": "sgd", "optimizer.learning_rate": 1e30, "schedule.name": "constant"}
    run = tmp_path / "run"
    x = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 1)).astype("uint8")
    y = np.arange(120) % 3
    with pytest.raises(kzoo.TrainingError, match=r"received (nan|inf) at step \d+ \(epoch \d+, batch \d+\)") as caught:
        kzoo.train("cnn", data=(x, y), epochs=3, settings=settings, out=run)
    assert "learning_rate" in str(caught.value)
    assert json.loads((run / "run.json").read_text())["status"] == "failed"


class ExplodesAt(keras.callbacks.Callback):
    """Makes the weights infinite in an epoch, as a broken learning rate does."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            kernel = self.model.get_layer("predictions").kernel
            kernel.assign(kernel * np.inf)


@pytest.mark.slow(10)
def test_the_best_epoch_before_the_nan_still_opens(tmp_path, monkeypatch):
    from kzoo.training import fit as module

    made = module._callbacks
    monkeypatch.setattr(module, "_callbacks", lambda *arguments: [ExplodesAt(3), *made(*arguments)])
    with pytest.raises(kzoo.TrainingError, match="epoch 4") as caught:
        kzoo.train("cnn", epochs=6, out=tmp_path / "run")
    assert f"kept in {tmp_path / 'run' / 'model.keras'}" in str(caught.value)
    run = kzoo.Run(tmp_path / "run")
    assert len(run.history()) == 3
    assert kzoo.evaluate(run, split="val").accuracy == pytest.approx(max(r["val_accuracy"] for r in run.history()))


EVERY_OPTION = {
    "sgd, one cycle, ema": {
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "nesterov": True, "weight_decay": 5e-4, "ema": 0.9},
        "schedule": {"name": "one_cycle"},
    },
    "adam, plateau with warm-up, clipping": {
        "optimizer": {"name": "adam", "global_clipnorm": 1.0},
        "schedule": {"name": "plateau", "warmup_epochs": 1, "patience": 1},
    },
    "rmsprop, step, accumulation, penalties": {
        "optimizer": {"name": "rmsprop", "accumulation": 2},
        "schedule": {"name": "step", "every": 1},
        "regularisation": {"l1": 1e-6, "l2": 1e-4, "label_smoothing": 0.1, "dropout": 0.2},
    },
    "adagrad, bfloat16, class weights": {
        "optimizer": {"name": "adagrad", "learning_rate": 0.05},
        "precision": "mixed_bfloat16",
        "class_weights": "balanced",
    },
    "float16, mixup, cutmix": {"precision": "mixed_float16", "augmentation": {"mixup": 0.2, "cutmix": 0.5}},
}


@pytest.mark.slow(40)
@pytest.mark.parametrize("name", EVERY_OPTION)
def test_options_train_together(tmp_path, name):
    recipe = tmp_path / "recipe.yaml"
    content = {"model": {"name": "cnn"}, "epochs": 3, "batch_size": 32, **EVERY_OPTION[name]}
    recipe.write_text(json.dumps(content))
    digits = open_dataset("digits").train
    some = np.arange(480)
    run = kzoo.train("cnn", data=(digits.load(some), digits.labels[some]), recipe=recipe, out=tmp_path / "run")
    history = run.history()
    assert len(history) == 3
    assert history[-1]["loss"] < history[0]["loss"]
    assert run.metrics.accuracy > 0.2


@pytest.mark.slow(10)
def test_a_schedule_ends_with_the_run_however_gradients_are_accumulated(tmp_path):
    settings = {"optimizer.accumulation": 4, "schedule.warmup_epochs": 0, "optimizer.learning_rate": 0.01}
    run = kzoo.train("cnn", epochs=2, settings=settings, out=tmp_path / "run")
    assert [row["learning_rate"] for row in run.history()] == pytest.approx([0.005, 0.0], abs=1e-4)


@pytest.mark.slow(10)
def test_a_run_on_arrays_says_that_they_are_in_no_file(tmp_path):
    digits = open_dataset("digits").val
    x, y = digits.load(np.arange(len(digits))), digits.labels
    # Split neither by the default seed nor into the default shares.
    settings = {"seed": 3, "data.fractions": [0.5, 0.25, 0.25]}
    run = kzoo.train("cnn", data=(x, y), epochs=2, settings=settings, out=tmp_path / "run")
    assert run.info.data.source == "<arrays>"
    with pytest.raises(kzoo.UsageError, match="does not say what it was trained on"):
        kzoo.evaluate(run)
    again = kzoo.evaluate(run, data=(x, y))
    assert (again.samples, again.accuracy) == (run.metrics.samples, pytest.approx(run.metrics.accuracy))
    assert again.confusion == run.metrics.confusion
    file = kzoo.export_model(run, data=(x, y), max_drop=1).path
    assert kzoo.evaluate(file, data=(x, y)).samples == again.samples
    with pytest.raises(kzoo.UsageError, match="does not say what it was trained on"):
        kzoo.evaluate(file)
    run.update(status="training")
    with pytest.raises(kzoo.DataError, match="in no file"):
        kzoo.train("cnn", resume=True, out=run.path)


@pytest.mark.slow(10)
def test_early_stopping_ends_the_run(tmp_path):
    settings = {"callbacks.early_stopping": 1, "optimizer.name": "sgd", "optimizer.learning_rate": 1e-12}
    run = kzoo.train("cnn", epochs=30, settings=settings, out=tmp_path / "run")
    assert run.info.epochs < 30
    assert run.info.status == "done"


def test_class_weights_by_name_and_balance():
    x = np.zeros((100, 8, 8, 1), "uint8")
    y = np.array(["rare"] * 20 + ["often"] * 80)
    balanced = make_plan(resolve_recipe("cnn", overrides={"class_weights": "balanced"}), (x, y))
    assert balanced.dataset.classes == ("often", "rare")
    assert balanced.class_weights() == pytest.approx({0: 0.625, 1: 2.5})
    named = make_plan(resolve_recipe("cnn", overrides={"class_weights": {"rare": 3}}), (x, y))
    assert named.class_weights() == {0: 1.0, 1: 3.0}
    with pytest.raises(kzoo.RecipeError, match="unknown class 'rere'"):
        make_plan(resolve_recipe("cnn", overrides={"class_weights": {"rere": 3}}), (x, y))


@pytest.mark.slow(20)
def test_transfer_trains_the_new_head_first_and_then_everything(tmp_path, trained_run):
    digits = open_dataset("digits")
    keep = digits.train.labels < 5
    x, y = digits.train.load(np.flatnonzero(keep)), digits.train.labels[keep]
    settings = {
        "transfer.weights": str(trained_run.path),
        "transfer.head_epochs": 4,
        "optimizer.ema": None,
        "optimizer.learning_rate": 0.01,
    }
    lines = []

    class Lines:
        line = staticmethod(lines.append)
        status = staticmethod(lines.append)
        wants_status = staticmethod(lambda: False)

    run = kzoo.train("cnn", data=(x, y), epochs=7, settings=settings, out=tmp_path / "run", reporter=Lines())
    assert run.info.parent == str(trained_run.path)
    assert any("left fresh: predictions" in line for line in lines)
    rates = [row["learning_rate"] for row in run.history()]
    assert max(rates[4:]) < max(rates[:4]) / 5
    # Five known digits with trained features: nearly solved by the head alone.
    assert run.history()[3]["val_accuracy"] > 0.9
    assert run.metrics.accuracy > 0.93


@pytest.mark.parametrize("builds_on", ["transfer.weights", "distillation.teachers"])
def test_what_a_run_builds_on_has_learned_no_test_sample(trained_run, builds_on):
    weights = str(trained_run.path / "model.keras")
    overrides = {builds_on: weights if builds_on == "transfer.weights" else [weights]}
    assert make_plan(resolve_recipe("cnn", "digits", overrides=overrides)).dataset.drawn == ("val", "test")
    with pytest.raises(kzoo.RecipeError, match=r"Expected splits as .* seed=0 .* received seed=3 .* the test split"):
        make_plan(resolve_recipe("cnn", "digits", overrides={**overrides, "seed": 3}))
    fractions = {**overrides, "data.fractions": [0.6, 0.2, 0.2]}
    with pytest.raises(kzoo.RecipeError, match=r"fractions=\[0\.7, .*received .*fractions=\[0\.6, "):
        make_plan(resolve_recipe("cnn", "digits", overrides=fractions))


@pytest.mark.slow(10)
def test_a_test_split_of_the_data_is_nobodys_to_learn_whatever_the_seed(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (90, 8, 8, 1)).astype("uint8")
    y = np.arange(90) % 3
    data = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}
    parent = kzoo.train("cnn", data=data, epochs=1, out=tmp_path / "parent")
    plan = make_plan(resolve_recipe("cnn", overrides={"transfer.weights": str(parent.path), "seed": 3}), data)
    assert plan.dataset.drawn == ("val",)


def test_the_first_phase_of_a_transfer_changes_the_head_alone(trained_run):
    from kzoo.training.phases import compile_for, phases_of

    recipe = resolve_recipe("cnn", overrides={"transfer.weights": str(trained_run.path), "epochs": 5})
    x = np.random.default_rng(0).integers(0, 256, (90, 8, 8, 1)).astype("uint8")
    plan = make_plan(recipe, (x, np.arange(90) % 3))
    head, everything = phases_of(plan)
    assert (head.trainable, head.end, everything.first, everything.trainable) == (("predictions",), 3, 3, None)
    model = plan.training_model()
    compile_for(model, plan, head)
    before = {weight.path: weight.numpy() for weight in model.weights}
    model.train_on_batch(x[:30].astype("float32"), np.eye(3)[np.arange(30) % 3])
    changed = {weight.path for weight in model.weights if (weight.numpy() != before[weight.path]).any()}
    assert changed == {"predictions/kernel", "predictions/bias"}


@pytest.mark.slow(15)
def test_class_folders_of_photos_train_and_predict(tmp_path):
    rng = np.random.default_rng(0)
    for name, colour in {"red one": (200, 30, 30), "green <b>": (30, 180, 40), "blue": (20, 40, 220)}.items():
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for index in range(20):
            size = rng.integers(20, 60, 2)
            noise = rng.integers(-25, 25, (*size, 3))
            Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype("uint8")).save(folder / f"{index}.jpg")
    settings = {"input.size": 16, "optimizer.ema": None, "batch_size": 8}
    run = kzoo.train("cnn", data=str(tmp_path / "photos"), epochs=12, settings=settings, out=tmp_path / "run")
    assert run.info.input.shape == (16, 16, 3)
    assert run.metrics.accuracy > 0.9
    answer = kzoo.predict(run, [tmp_path / "photos" / "blue" / "0.jpg"], top=2)[0]
    assert answer.classes[0] == "blue"
    assert len(answer.classes) == 2
    assert "green &lt;b&gt;" in (run.path / "report.html").read_text()


def test_a_dry_run_measures_steps_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(resolve_recipe("cnn"))
    result = dry_run(plan, LogReporter())
    assert (result.parameters, result.macs) == (plan.model.count_params(), plan.macs)
    assert result.expected_seconds == pytest.approx(result.step_seconds * 40 * plan.recipe.epochs)
    assert result.peak_memory > 100e6
    assert np.isfinite(result.loss)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(40)
def test_on_jax_a_run_imports_no_tensorflow(tmp_path):
    code = (
        "import sys, kzoo\n"
        "run = kzoo.train('cnn', epochs=2, settings={'augmentation.shift': 0.1}, out=sys.argv[1])\n"
        "assert run.metrics.accuracy > 0.3, run.metrics.accuracy\n"
        "loaded = sorted(name for name in sys.modules if name.split('.')[0] in ('tensorflow', 'tf_keras'))\n"
        "assert not loaded, loaded[:5]\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr[-2000:]
