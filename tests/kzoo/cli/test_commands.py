"""The good path of every command: exit status, stdout, stderr, files; what is printed as JSON; what is imported."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.cli import cli

HEAVY = ("keras", "tensorflow", "tf_keras", "jax", "pydantic", "sklearn", "matplotlib", "ai_edge_litert")


@pytest.fixture
def done(invoke):
    """Call a command that must succeed."""

    def call(*arguments):
        result = invoke(*arguments)
        assert result.exit_code == 0, result.stderr
        return result

    return call


@pytest.fixture
def document(done):
    """Call a command with --json: its stdout is one document, and no more."""

    def call(*arguments):
        result = done(*arguments, "--json")
        assert result.stderr == ""
        return json.loads(result.stdout)

    return call


@pytest.fixture
def digit():
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    image.save("digit.png")
    return "digit.png"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="oneDNN's switch is that of x86")
def test_tensorflow_computes_with_onednn_on_every_processor():
    script = (
        "from kzoo.cli import cli\n"
        "cli(['list', 'nothing*'], standalone_mode=False)\n"
        "from tensorflow.python.util import _pywrap_util_port\n"
        "print(_pywrap_util_port.IsMklEnabled())"
    )

    def computes_with_onednn(**environment):
        plain = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
        command = [sys.executable, "-c", script]
        return subprocess.run(
            command, env={**plain, **environment}, capture_output=True, text=True, check=True
        ).stdout.endswith("True\n")

    assert computes_with_onednn()
    assert not computes_with_onednn(TF_ENABLE_ONEDNN_OPTS="0")


# ---------------------------------------------------------------------------------------------------------------------
# The catalogue and the data


def test_list(done, document):
    result = done("list")
    assert result.stderr == ""
    for name in kzoo.list_models():
        assert re.search(rf"(?m)^ {name} +", result.stdout)
    records = document("list", "resnet?", "--family", "resnet", "--task", "image")
    assert [record["name"] for record in records] == ["resnet8"]
    assert records[0]["trainable_parameters"] + records[0]["non_trainable_parameters"] == 78_666
    assert document("list", "nothing*") == []
    assert "No model fits" in done("list", "nothing*").stderr


def test_info(done, document):
    shown = done("info", "cnn").stdout
    card = document("info", "cnn")
    assert card["name"] == "cnn"
    assert "image.digits" in card["recipes"]
    assert sum(layer["parameters"] for layer in card["layers"]) == (
        card["trainable_parameters"] + card["non_trainable_parameters"]
    )
    for layer in card["layers"]:
        assert layer["layer"] in shown


def test_data_list_and_info(done, document):
    assert {"digits", "cifar10"} <= {found["name"] for found in document("data", "list")}
    assert "digits" in done("data", "list").stdout
    facts = document("data", "info", "digits")
    assert (len(facts["classes"]), facts["input"]["shape"]) == (10, [8, 8, 1])
    assert sum(split["samples"] for split in facts["splits"].values()) == 1797
    assert document("data", "info", "digits", "--kind", "sequence")["input"]["shape"] == [8, 8]
    assert facts["fingerprint"] in done("data", "info", "digits").stdout


# ---------------------------------------------------------------------------------------------------------------------
# A run


@pytest.mark.slow(10)
def test_train_as_a_process_prints_the_run_last_and_progress_on_stderr(run_kzoo, place):
    finished = run_kzoo("train", "cnn", "--epochs", 1, "--set", "callbacks.tensorboard=false")
    assert (finished.returncode, finished.stdout) == (0, "runs/cnn.digits-1\n"), finished.stderr
    starts = ["model", "data", "epoch", "test", "report"]
    assert [line.split()[0] for line in finished.stderr.splitlines()] == starts
    assert {path.name for path in (place / "runs" / "cnn.digits-1").iterdir()} == {
        "model.keras", "run.json", "recipe.yaml", "history.csv", "metrics.json", "labels.txt", "plots", "report.html",
    }  # fmt: skip
    assert kzoo.Run("runs/cnn.digits-1").info.status == "done"


@pytest.mark.slow(5)
def test_train_takes_what_the_user_says(done):
    Path("mine.yaml").write_text("optimizer: {name: sgd}\nepochs: 9\nbatch_size: 100\n")
    options = ["--recipe", "mine.yaml", "--epochs", 1, "--seed", 7, "--set", "optimizer.momentum=0.5"]
    assert done("train", "cnn", *options, "--out", "mine").stdout == "mine\n"
    recipe = kzoo.Run("mine").recipe
    assert (recipe.optimizer.name, recipe.optimizer.momentum) == ("sgd", 0.5)
    assert (recipe.epochs, recipe.seed, recipe.batch_size) == (1, 7, 100)


@pytest.mark.slow(5)
def test_train_resumes_and_leaves_alone_what_is_done(done, interrupted_run):
    shutil.copytree(interrupted_run.path, "runs/cnn.digits-1")
    result = done("train", "cnn", "--resume")
    assert result.stdout == "runs/cnn.digits-1\n"
    assert "resuming runs/cnn.digits-1 at epoch" in result.stderr
    assert len(kzoo.Run("runs/cnn.digits-1").history()) == 4
    assert "is done already" in done("train", "cnn", "--resume", "--out", "runs/cnn.digits-1").stderr


@pytest.mark.slow(5)
def test_dry_run_writes_nothing(done, place):
    result = done("train", "cnn", "--dry-run")
    for fact in ("Parameters", "Multiply-adds", "Expected time", "Peak memory"):
        assert fact in result.stdout
    assert not list(place.iterdir())


def test_evaluate(done, document, trained_run):
    metrics = document("evaluate", trained_run.path)
    assert metrics["accuracy"] == trained_run.metrics.accuracy
    assert len(metrics["classes"]) == len(metrics["confusion"]) == 10
    assert document("evaluate", trained_run.path / "model.keras", "--split", "val")["split"] == "val"
    assert f"{100 * metrics['accuracy']:.1f}%" in done("evaluate", trained_run.path).stdout


def test_predict(done, document, trained_run, digit):
    np.save("digit.npy", np.arange(64, dtype=np.uint8).reshape(8, 8))
    answers = document("predict", trained_run.path, digit, "digit.npy", "--top", 3)
    assert [answer["input"] for answer in answers] == [digit, "digit.npy"]
    assert answers[0]["classes"] == answers[1]["classes"]
    assert len(answers[0]["classes"]) == 3
    lines = done("predict", trained_run.path, digit, "--top", 1).stdout.splitlines()
    assert re.fullmatch(rf"digit\.png: {answers[0]['classes'][0]} \d+\.\d%", lines[0])
    assert len(lines) == 1


# ---------------------------------------------------------------------------------------------------------------------
# A file for a device


@pytest.mark.slow(15)
def test_export_prints_the_file_last(done, trained_run, place):
    result = done("export", trained_run.path, "--out", "files/cnn.tflite")
    assert result.stdout == "files/cnn.tflite\n"
    assert "accuracy" in result.stderr
    assert {path.name for path in Path("files").iterdir()} == {"cnn.tflite", "cnn.tflite.json"}
    sidecar = json.loads(Path("files/cnn.tflite.json").read_text())
    assert sidecar["classes"] == list("0123456789")
    assert sidecar["parity"]["max_difference"] < 1e-4


@pytest.mark.slow(15)
def test_export_as_json(document, trained_run):
    facts = document("export", trained_run.path, "--quantize", "int8", "--out", "cnn.tflite")
    assert facts == json.loads(Path("cnn.tflite.json").read_text())
    assert facts["inputs"][0]["dtype"] == facts["outputs"][0]["dtype"] == "int8"
    assert abs(facts["drop"]) <= 0.01


def test_evaluate_and_predict_take_the_file(done, document, trained_run, exported, digit):
    assert document("evaluate", exported)["accuracy"] == pytest.approx(trained_run.metrics.accuracy, abs=0.01)
    assert len(document("predict", exported, digit, "--top", 2)[0]["classes"]) == 2
    assert done("predict", exported, digit).stdout.startswith("digit.png: ")


def test_benchmark(done, document, exported):
    first, second = document("benchmark", exported, exported, "--runs", 20)
    assert first["path"] == second["path"] == str(exported)
    assert 0 < first["p50_ms"] <= first["p90_ms"]
    assert (first["runs"], first["size"]) == (20, exported.stat().st_size)
    assert f"{first['size']:,} B" in done("benchmark", exported, "--runs", 20).stdout


# ---------------------------------------------------------------------------------------------------------------------
# The group, and what it imports


@pytest.mark.parametrize("command", ["", *cli.commands])
def test_help(done, command):
    shown = done(*command.split(), "--help").stdout
    assert shown.startswith(f"Usage: kzoo {command}".rstrip())
    assert "\\b" not in shown
    # Each example stands on a line of its own.
    assert all(line.count("kzoo ") == 1 for line in shown.splitlines() if line.startswith("  kzoo "))


def test_without_a_command_the_help_is_shown(invoke):
    result = invoke()
    assert result.exit_code == 2
    assert "Usage: kzoo" in result.stderr
    assert "benchmark" in result.stderr


def test_version_and_module(run_kzoo):
    finished = run_kzoo("--version")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert kzoo.__version__ in finished.stdout


def test_debug_shows_the_traceback(run_kzoo):
    finished = run_kzoo("--debug", "info", "resnet81")
    assert finished.returncode == 1
    assert "Traceback" in finished.stderr
    assert "UsageError: Unknown model 'resnet81'" in finished.stderr


def imported(code, *arguments):
    """Run code in a fresh process, and give the heavy packages that it imported."""
    # A module that stands in sys.modules as None was looked for in vain.
    ending = f"\nimport sys; print([name for name in {HEAVY} if sys.modules.get(name) is not None], file=sys.stderr)"
    finished = subprocess.run(
        [sys.executable, "-c", code + ending, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return json.loads(finished.stderr.splitlines()[-1].replace("'", '"'))


COMMAND = "import sys; from kzoo.cli import cli; cli(sys.argv[1:], standalone_mode=False)"


def test_import_kzoo_imports_nothing_heavy():
    assert imported("import kzoo") == []


@pytest.mark.parametrize("call", ["--help", "train --help", "list", "list --json", "data list"])
def test_what_only_shows_imports_nothing_heavy(call):
    assert imported(COMMAND, *call.split()) == []


@pytest.mark.parametrize("command", ["evaluate", "predict", "benchmark"])
def test_a_tflite_file_is_used_without_keras_and_tensorflow(exported, digit, command):
    arguments = {"evaluate": [exported], "predict": [exported, digit], "benchmark": [exported, "--runs", 3]}[command]
    found = imported(COMMAND, command, *arguments)
    assert "ai_edge_litert" in found
    assert not {"keras", "tensorflow", "tf_keras", "jax"} & set(found)


def test_predict_needs_no_more_than_a_runtime(exported, digit):
    assert imported(COMMAND, "predict", exported, digit) == ["ai_edge_litert"]
