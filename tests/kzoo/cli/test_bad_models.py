"""Runs and model files that are damaged, foreign or in the way: one clear line, and nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import kzoo


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def damaged(source, name="copy"):
    return Path(shutil.copytree(source.path, name))


@pytest.mark.parametrize("target", ["photos", "notes.txt", ".", "other", "corrupt"])
def test_force_replaces_runs_only(fails, trained_run, place, target, snapshot, make_images):
    make_images("photos")
    Path("notes.txt").write_text("mine")
    Path("other").mkdir()
    Path("other", "run.json").write_text('{"of": "another program"}')
    Path(damaged(trained_run, "corrupt"), "run.json").write_text("{")
    before = snapshot(place)
    fails("train", "cnn", "--out", target, "--force", words=["Expected", target])
    assert snapshot(place) == before


def test_a_run_is_replaced_by_force_only_and_by_itself_only(fails, invoke, trained_run, snapshot):
    run = damaged(trained_run, "run")
    before = snapshot(run)
    fails("train", "cnn", "--out", "run", words=["which is a run already", "--resume", "--force"])
    assert snapshot(run) == before
    (run / "notes.txt").write_text("mine")
    (run / "model.int8.tflite").write_text("of the old model")
    Path("link").symlink_to("run")
    assert invoke("train", "cnn", "--out", "link", "--force", "--epochs", 1).exit_code == 0
    assert len(kzoo.Run("run").history()) == 1
    assert (run / "notes.txt").read_text() == "mine"
    assert not (run / "model.int8.tflite").exists()


def test_a_run_cannot_lie_in_a_file(fails):
    Path("file").write_text("mine")
    fails("train", "cnn", "--out", "file/run", words=["file/run"])
    assert Path("file").read_text() == "mine"


def edit(name, text):
    return lambda run: Path(run, name).write_text(text)


def cut(pattern):
    def damage(run):
        (file,) = run.glob(pattern)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return damage


def forget(pattern):
    return lambda run: [path.unlink() for path in run.glob(pattern)]


RESUME = {
    "run.json": (edit("run.json", "{"), ["run.json"]),
    "recipe.yaml": (edit("recipe.yaml", "a: ["), ["recipe", "line 1"]),
    "no recipe.yaml": (forget("recipe.yaml"), ["recipe"]),
    "resume.json": (edit("checkpoints/resume.json", "[]"), ["resume.json", "--weights copy"]),
    "cut weights": (cut("checkpoints/epoch-*"), ["epoch-", "damaged"]),
    "no weights": (forget("checkpoints/epoch-*"), ["epoch-", "missing"]),
}


@pytest.mark.parametrize(("damage", "words"), RESUME.values(), ids=RESUME)
def test_a_damaged_run_is_not_resumed_and_told_in_one_line(fails, interrupted_run, damage, words):
    run = damaged(interrupted_run)
    damage(run)
    model = (run / "model.keras").read_bytes()
    fails("train", "cnn", "--resume", "--out", run, words=words)
    assert (run / "model.keras").read_bytes() == model


@pytest.mark.slow(8)
def test_what_a_kill_leaves_half_written_does_not_spoil_the_run(invoke, interrupted_run):
    run = damaged(interrupted_run)
    with (run / "history.csv").open("a") as file:
        file.write("4,0.5,0.")
    (run / "checkpoints" / "candidate.keras").write_bytes(b"half a model")
    assert len(kzoo.Run(run).history()) == 3
    result = invoke("train", "cnn", "--resume", "--out", run)
    assert (result.exit_code, result.stdout) == (0, f"{run}\n"), result.stderr
    assert [row["epoch"] for row in kzoo.Run(run).history()] == [1, 2, 3, 4]
    assert kzoo.evaluate(run).accuracy == kzoo.Run(run).metrics.accuracy


def test_what_cannot_be_resumed_is_told_in_one_line(fails, interrupted_run, trained_run, make_images):
    path = interrupted_run.path
    make_images("photos")
    fails("train", "cnn", "--resume", words=["runs/cnn.digits-N", "--out"])
    fails("train", "cnn", "--resume", "--out", "photos", words=["photos", "run.json"])
    fails("train", "lstm", "--resume", "--out", path, words=["a run of cnn"], status=2)
    fails("train", "cnn", "--resume", "--out", path, "--epochs", 9, words=["epochs", "--resume alone"], status=2)
    fails("train", "cnn", "--resume", "--out", path, "--data", "photos", words=["digits", "photos"], status=2)


@pytest.mark.slow(6)
def test_data_that_changed_or_vanished_stop_a_run(fails, invoke, place, make_images):
    make_images("photos")
    train = ("train", "cnn", "--data", "photos", "--set", "data.cache=none", "--epochs", 400)

    class Vanish(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                Path("photos/a/3.png").unlink()

    from kzoo.training import fit

    made = fit._callbacks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "_callbacks", lambda *arguments: [Vanish(), *made(*arguments)])
        fails(*train, "--out", "run", words=["photos/a/3.png", "No such file"])
    assert json.loads(Path("run/run.json").read_text())["status"] == "failed"
    assert invoke("evaluate", "run", "--data", "photos").exit_code == 0
    fails("train", "cnn", "--resume", "--out", "run", words=["other content", "train anew"])
    fails("evaluate", "run", words=["other content", "--data"])
    shutil.rmtree("photos")
    fails("train", "cnn", "--resume", "--out", "run", words=["photos", "does not exist"])


RUNS = {
    "no run": (lambda run: shutil.rmtree(run), ["copy", "kzoo train"]),
    "run.json": (edit("run.json", '{"format": 1}'), ["run.json", "status"]),
    "recipe.yaml": (edit("recipe.yaml", "a: ["), ["recipe"]),
    "no model": (forget("model.keras"), ["model.keras"]),
    "text": (edit("model.keras", "hello"), ["model.keras", "damaged"]),
    "cut model": (cut("model.keras"), ["model.keras", "damaged"]),
}


@pytest.mark.parametrize(("damage", "words"), RUNS.values(), ids=RUNS)
def test_a_damaged_run_is_not_used_and_told_in_one_line(fails, trained_run, damage, words, snapshot):
    run = damaged(trained_run)
    damage(run)
    before = snapshot(run)
    fails("evaluate", run, words=words)
    fails("export", run, words=words)
    fails("predict", run, "x.png", words=words)
    assert snapshot(run) == before


def test_an_interrupted_run_is_measured_as_far_as_it_came(invoke, interrupted_run):
    assert "Accuracy" in invoke("evaluate", interrupted_run.path).stdout


def rewrite(trained_run, change):
    with zipfile.ZipFile(trained_run.path / "model.keras") as old, zipfile.ZipFile("x.keras", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                layer = config["config"]["layers"][1]
                layer.update(change)
                content = json.dumps(config).encode()
            new.writestr(name, content)


def test_code_in_a_keras_file_is_named_and_never_run(fails, trained_run, place):
    def mischief(x):
        Path("ran").mkdir()
        return x

    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential([layers[0], keras.layers.Lambda(lambda x: x * 2), *layers[1:]]).save("x.keras")
    fails("evaluate", "x.keras", "--data", "digits", words=["x.keras", "Lambda", "never run"])
    rewrite(trained_run, {"module": "my.layers", "class_name": "Swirl"})
    fails("evaluate", "x.keras", "--data", "digits", words=["my.layers.Swirl"])
    rewrite(trained_run, {"module": "os", "class_name": "mkdir", "config": {"path": "ran"}})
    fails("export", "x.keras", "--data", "digits", words=["os.mkdir"])
    assert [path.name for path in place.iterdir()] == ["x.keras"]


def test_a_model_that_is_no_classifier_of_images_or_sequences(fails):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save("x.keras")
    fails("evaluate", "x.keras", "--data", "digits", words=["(None, 4)"], status=2)
    keras.Sequential([keras.Input((8, 8, 7)), keras.layers.Flatten(), keras.layers.Dense(3)]).save("x.keras")
    fails("evaluate", "x.keras", "--data", "digits", words=["channels", "7"], status=2)


def test_a_model_that_answers_nan_predicts_nothing(fails, trained_run):
    model = keras.saving.load_model(trained_run.path / "model.keras")
    model.layers[-1].set_weights([weight * np.nan for weight in model.layers[-1].get_weights()])
    model.save("x.keras")
    np.save("x.npy", np.full((8, 8), 9, np.uint8))
    fails("predict", "x.keras", "x.npy", "--json", words=["NaN", "x.keras"])
    fails("evaluate", "x.keras", "--data", "digits", words=["NaN"])


def test_labels_that_are_not_the_models_are_told_in_one_line(fails, trained_run, exported, make_images):
    make_images("photos", ("cat", "dog"))
    for source in (trained_run.path, exported):
        fails("evaluate", source, "--data", "photos", words=["cat, dog", "0, 1, 2"])


SIDECARS = {
    "text": ("hello", ["JSON"]),
    "a list": ("[]", ["JSON object"]),
    "strange facts": ('{"details": {"input": 3}}', ["sidecar"]),
    "other classes": ('{"classes": ["a", "b", "c"]}', ["3 classes"]),
    "another input": ('{"details": {"input": {"kind": "image", "shape": [9, 9, 1]}}}', ["(9, 9, 1)"]),
}


@pytest.mark.parametrize(("content", "words"), SIDECARS.values(), ids=SIDECARS)
def test_a_sidecar_that_is_not_the_files_is_told_in_one_line(fails, exported, content, words):
    shutil.copy(exported, "x.tflite")
    Path("x.tflite.json").write_text(content)
    fails("evaluate", "x.tflite", "--data", "digits", words=["x.tflite", *words])


def test_without_its_sidecar_a_file_is_still_run(invoke, fails, exported):
    shutil.copy(exported, "x.tflite")
    fails("evaluate", "x.tflite", words=["--data"], status=2)
    with_facts = json.loads(invoke("evaluate", exported, "--json").stdout)
    without = json.loads(invoke("evaluate", "x.tflite", "--data", "digits", "--json").stdout)
    assert without["accuracy"] == with_facts["accuracy"]


def test_a_tflite_that_is_none_is_told_in_one_line(fails, exported):
    whole = exported.read_bytes()
    for content, words in ((b"", ["empty"]), (b"hello", ["something else"]), (whole[: len(whole) // 2], ["cut short"])):
        Path("x.tflite").write_bytes(content)
        for call in (("evaluate", "x.tflite"), ("predict", "x.tflite", "x.png"), ("benchmark", "x.tflite")):
            fails(*call, words=["x.tflite", *words])
    fails("benchmark", "absent.tflite", words=["absent.tflite"])


def test_a_runtime_that_is_not_installed_is_told_in_one_line(fails, exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    for command in ("evaluate", "benchmark"):
        fails(command, exported, "--runtime", "tflite-runtime", words=["not installed", "pip install"])


INPUTS = {
    "absent.png": (None, ["does not exist"]),
    "text.txt": (b"hello", ["text.txt", "not an image"]),
    "empty.png": (b"", ["an empty file"]),
    "text.npy": (b"hello", ["text.npy", "damaged"]),
}


@pytest.mark.parametrize("name", INPUTS)
def test_what_cannot_be_classified_is_told_in_one_line(fails, exported, name):
    content, words = INPUTS[name]
    if content is not None:
        Path(name).write_bytes(content)
    fails("predict", exported, name, words=words)


def test_arrays_that_cannot_be_classified_are_told_in_one_line(fails, exported, trained_sequence_run):
    Path("folder").mkdir()
    fails("predict", exported, "folder", words=["is a folder"])
    np.save("x.npy", np.zeros((2, 2, 2, 2), np.uint8))
    fails("predict", exported, "x.npy", words=["(2, 2, 2, 2)"])
    np.save("objects.npy", np.array([RunsCode()], dtype=object), allow_pickle=True)
    fails("predict", exported, "objects.npy", words=["Python objects"])
    assert not Path("ran").exists()
    run = trained_sequence_run.path
    np.save("x.npy", np.zeros((5, 5), np.float32))
    fails("predict", run, "x.npy", words=["(8, 8)", "(5, 5)"])
    np.save("x.npy", np.full((8, 8), np.nan, np.float32))
    fails("predict", run, "x.npy", words=["finite"])
    Image.new("L", (8, 8)).save("x.png")
    fails("predict", run, "x.png", words=["takes sequences"])


def test_an_image_with_four_channels_is_classified(invoke, exported):
    Image.new("RGBA", (30, 20), (9, 9, 9, 128)).save("x.png")
    assert invoke("predict", exported, "x.png").stdout.startswith("x.png: ")


EXPORTS = {
    "a folder": ("folder.tflite", ["folder.tflite"], 1),
    "a file that is there": ("there.tflite", ["--force"], 1),
    "in a file": ("there.tflite/x.tflite", ["there.tflite"], 1),
    "over a model": ("model.keras", [".tflite"], 2),
}


@pytest.mark.parametrize(("target", "words", "status"), EXPORTS.values(), ids=EXPORTS)
def test_a_place_that_cannot_be_exported_to_is_told_at_once(fails, trained_run, place, target, words, status):
    Path("folder.tflite").mkdir()
    Path("there.tflite").write_text("mine")
    fails("export", trained_run.path, "--out", target, words=words, status=status)
    assert {path.name for path in place.iterdir()} == {"folder.tflite", "there.tflite"}
    assert Path("there.tflite").read_text() == "mine"


@pytest.mark.parametrize("drop", ["-1", "nan", "101"])
def test_a_drop_that_is_none_is_told_in_one_line(fails, trained_run, drop):
    fails("export", trained_run.path, "--out", "x.tflite", "--max-drop", drop, words=["drop"], status=2)
