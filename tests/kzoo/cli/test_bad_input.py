"""Calls, recipes and data that a user gets wrong: one clear line, exit status 1 or 2, nothing left behind."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import numpy as np
import pytest

CALLS = {
    "unknown model": ("train resnet81", ["'resnet81'", "Did you mean resnet8, resnet18"]),
    "unknown model, info": ("info mobilnet", ["Did you mean mobilenet_v2"]),
    "unknown family": ("list --family resnets", ["Did you mean resnet,"]),
    "unknown command": ("tran cnn", ["'tran'", "train"]),
    "unknown option": ("train cnn --epoch 3", ["--epoch", "--epochs"]),
    "unknown option before the command": ("--verbose list", ["--verbose", "kzoo --help"]),
    "missing argument": ("train", ["MODEL", "kzoo train --help"]),
    "negative epochs": ("train cnn --epochs -1", ["--epochs", "-1"]),
    "no batch": ("train cnn --batch-size 0", ["--batch-size"]),
    "negative seed": ("train cnn --seed -1", ["--seed"]),
    "negative top": ("predict run x.png --top -1", ["--top"]),
    "negative threads": ("benchmark x.tflite --threads -1", ["--threads"]),
    "unknown split": ("evaluate run --split dev", ["'dev'", "'test'"]),
    "unknown quantisation": ("export run --quantize int4", ["'int4'", "'int8'"]),
    "dry run and force": ("train cnn --dry-run --force", ["--dry-run"]),
    "setting without a value": ("train cnn --set epochs", ["KEY=VALUE", "'epochs'"]),
    "setting that is no YAML": ("train cnn --set input.size=[1", ["input.size", "'[1'"]),
    "unknown section": ("train cnn --set optimzer.momentum=1", ["'optimzer'", "Did you mean optimizer"]),
    "unknown key": ("train cnn --set optimizer.learning_rat=1", ["'optimizer.learning_rat'", "learning_rate"]),
    "unknown optimizer": ("train cnn --set optimizer.name=adm", ["'adm'", "Did you mean adam"]),
    "value instead of keys": ("train cnn --set optimizer=adam", ["optimizer.", "'adam'"]),
    "value of a wrong type": ("train cnn --set input.size=big", ["input.size:", "'big'"]),
    "value out of range": ("train cnn --set optimizer.learning_rate=-1", ["greater than 0", "-1"]),
    "what follows from the data": ("train cnn --set model.arguments.classes=3", ["classes", "data"]),
    "unknown model argument": ("train cnn --set model.arguments.width=2", ["'width'", "takes no argument"]),
    "unknown class in weights": ("train cnn --set class_weights.ten=2", ["'ten'", "9"]),
    "colour on grey images": ("train cnn --set augmentation.colour=0.3", ["3 channels", "received 1"]),
    "recipe that is not there": ("train cnn --recipe imag", ["'imag'", "Did you mean image"]),
    "empty recipe name": ("train cnn --recipe ''", ["recipe"]),
    "unknown dataset": ("train cnn --data digit", ["'digit'", "Did you mean digits"]),
    "empty dataset name": ("train cnn --data ''", ["empty"]),
}


@pytest.mark.parametrize(("call", "words"), CALLS.values(), ids=CALLS)
def test_a_wrong_call_is_told_in_one_line(fails, place, call, words):
    fails(*shlex.split(call), words=words, status=2)
    assert not list(place.iterdir())


RECIPES = {
    "not YAML": (b"epochs: [1, 2\nseed: {", ["line 2"]),
    "binary": (bytes(range(256)), ["not UTF-8"]),
    "a list": (b"- 1\n- 2\n", ["list"]),
    "empty": (b"", ["empty"]),
    "code": (b"epochs: !!python/object/apply:os.mkdir [ran]", ["python/object"]),
    "unknown key": (b"epoch: 3", ["'epoch'", "Did you mean epochs"]),
}


@pytest.mark.parametrize(("content", "words"), RECIPES.values(), ids=RECIPES)
def test_a_wrong_recipe_is_told_in_one_line(fails, place, content, words):
    Path("mine.yaml").write_bytes(content)
    fails("train", "cnn", "--recipe", "mine.yaml", words=["mine.yaml", *words], status=2)
    assert [path.name for path in place.iterdir()] == ["mine.yaml"]


def with_file(content, count=12):
    def make(make_images):
        make_images("data", count=count)
        whole = Path("data/a/0.png").read_bytes()
        Path("data/a/bad.png").write_bytes(whole[:-60] if content is None else content)

    return make


FOLDERS = {
    "no classes": (lambda make_images: make_images("data", [""]), ["class folders", "data"]),
    "one class": (lambda make_images: make_images("data", ["a"]), ["at least two", "'a'"]),
    "an empty class": (lambda make_images: (make_images("data"), Path("data/c").mkdir()), ["data/c", "Received none"]),
    "truncated": (with_file(None), ["1 of 25", "a/bad.png", "truncated"]),
    "text": (with_file(b"hello"), ["1 of 25", "a/bad.png"]),
    "an empty file": (with_file(b""), ["1 of 25", "a/bad.png: an empty file"]),
    "1x1": (lambda make_images: make_images("data", size=(1, 1)), ["24 of 24", "1x1"]),
    "too few": (lambda make_images: make_images("data", count=2), ["at least 3", "a has 2"]),
    "a name with a line break": (lambda make_images: make_images("data", ["a", "b\nc"]), ["b\\nc", "Rename"]),
    "a name that is no text": (
        lambda make_images: make_images("data", ["a", os.fsdecode(b"caf\xe9")]),
        ["caf", "Rename"],
    ),
}


@pytest.mark.parametrize(("make", "words"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_is_no_dataset_is_told_in_one_line(fails, place, make, words, make_images):
    make(make_images)
    fails("train", "cnn", "--data", "data", "--out", "run", words=words)
    assert [path.name for path in place.iterdir()] == ["data"]


def test_less_than_one_image_in_a_hundred_is_skipped_and_named(invoke, make_images):
    with_file(b"hello", count=60)(make_images)
    content = json.loads(invoke("data", "info", "data", "--json").stdout)
    assert [name.split(":")[0] for name in content["skipped"]] == ["a/bad.png"]
    result = invoke("data", "info", "data")
    assert "Skipped      1\n  a/bad.png: " in result.stdout


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ("ran",)


X = np.random.default_rng(0).normal(size=(40, 8, 8)).astype("float32")
Y = np.arange(40) % 2
ARRAYS = {
    "Python objects": ({"x": np.array([RunsCode()] * 4, dtype=object), "y": np.arange(4)}, "image", ["never loaded"]),
    "objects as labels": ({"x": X, "y": np.array([RunsCode()] * 40)}, "sequence", ["never loaded"]),
    "NaN": ({"x": np.where(X > 3, np.nan, X), "y": Y}, "sequence", ["finite", "nan"]),
    "two axes": ({"x": X[:, 0], "y": Y}, "sequence", ["(samples, steps, features)", "(40, 8)"]),
    "fewer labels": ({"x": X, "y": Y[:39]}, "sequence", ["one label a sample", "(39,)"]),
    "one class": ({"x": X, "y": Y * 0}, "sequence", ["two classes"]),
    "unknown keys": ({"images": X, "y": Y}, "sequence", ["'images'"]),
    "sequences for an image model": ({"x": X, "y": Y}, "image", ["pixels 0-255"]),
    "images for a sequence model": ({"x": X[..., None], "y": Y}, "sequence", ["(samples, steps, features)"]),
}


@pytest.mark.parametrize(("arrays", "kind", "words"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_no_dataset_are_told_in_one_line(fails, place, arrays, kind, words):
    np.savez("data.npz", **arrays)
    fails("train", {"image": "cnn", "sequence": "lstm"}[kind], "--data", "data.npz", words=words)
    assert [path.name for path in place.iterdir()] == ["data.npz"]


@pytest.mark.parametrize("content", [b"", b"hello", None], ids=["empty", "text", "truncated"])
def test_a_file_that_is_no_npz_is_told_in_one_line(fails, content):
    np.savez("data.npz", x=X, y=Y)
    Path("data.npz").write_bytes(Path("data.npz").read_bytes()[:-400] if content is None else content)
    fails("data", "info", "data.npz", words=["data.npz", "numpy.savez"])


def test_a_folder_of_images_is_nothing_for_a_sequence_model(fails, make_images):
    make_images("data")
    fails("train", "lstm", "--data", "data", words=["sequences", "holds images", "--task image"])


def test_an_absent_path_is_told_in_one_line(fails):
    fails("train", "cnn", "--data", "photos/cats", words=["photos/cats", "does not exist"])


@pytest.mark.slow(12)
def test_without_a_network_the_embedded_data_are_offered(run_kzoo, is_one_line, place, tmp_path):
    # A proxy that nobody listens at: there is no network, wherever the test runs.
    environment = {"KERAS_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    finished = run_kzoo("train", "cnn", "--data", "mnist", env=environment, timeout=60)
    is_one_line(finished, ["mnist", "network", "digits"])
    assert not list(place.iterdir())


STRANGE = "my {photos}; $(touch ran) 'ü\" [bold]"
CLASSES = ("[bold]x[", "{epoch}", "<script>alert(1)<", "$\\frac$", "日本語")


@pytest.mark.slow(10)
def test_strange_names_stand_as_they_are(invoke, place, make_images):
    make_images(Path(STRANGE), CLASSES)
    result = invoke("train", "cnn", "--data", STRANGE, "--epochs", 1)
    assert result.exit_code == 0, result.stderr
    run = Path(result.stdout.strip())
    assert run == Path("runs", f"cnn.{STRANGE}-1")
    assert (run / "labels.txt").read_text().split("\n")[:-1] == sorted(CLASSES)
    assert "<script>alert" not in (run / "report.html").read_text()
    table = invoke("data", "info", STRANGE).stdout
    answer = invoke("predict", run, Path(STRANGE, CLASSES[0], "0.png")).stdout
    for name in CLASSES:
        assert name in table
        assert name in answer
    assert {path.name for path in place.iterdir()} == {STRANGE, "runs"}
