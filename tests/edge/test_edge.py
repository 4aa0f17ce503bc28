"""Either runtime answers as ai-edge-litert did where the files were made, within what README states.

Measured between ai-edge-litert 2.3 and tflite-runtime 2.14 on the digits: floats differ by at most 5e-7, int8 outputs
by at most 3 of 256 steps and in one value of twenty; no answer's first class changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kzoo
from kzoo.data import open_dataset
from kzoo.export import LiteModel
from kzoo.export.runtime import RUNTIMES, installed_runtime

FLOAT_DIFFERENCE = 1e-5
INT8_STEPS = 8
MEAN_STEPS = 0.2
SAME_FIRST_CLASS = 0.99

FILES = ["cnn.fp32.tflite", "cnn.int8.tflite", "lstm.fp32.tflite", "lstm.int8.tflite"]

pytestmark = pytest.mark.slow(60)


def allowed(answers: dict[str, Any]) -> float:
    """How far any output may lie from ai-edge-litert's."""
    return INT8_STEPS * answers["step"] if answers["step"] else FLOAT_DIFFERENCE


def test_only_the_runtime_that_is_meant_is_installed() -> None:
    """`make test-edge` says which: that of a device has no TensorFlow, no Keras and NumPy 1."""
    meant = os.environ.get("KZOO_EDGE_RUNTIME", "litert")
    assert installed_runtime() == meant
    if meant == "tflite-runtime":
        wrong = ("tensorflow", "keras", "tf_keras", "ai_edge_litert", "jinja2", "matplotlib")
        assert [name for name in wrong if find_spec(name)] == []
        assert np.__version__.startswith("1.")


@pytest.mark.parametrize("file", FILES)
def test_outputs_are_those_of_the_other_runtime(edge_files: Path, expected: dict[str, Any], file: str) -> None:
    lite = LiteModel(edge_files / file)
    test = open_dataset("digits", kind="sequence" if file.startswith("lstm") else "image").test
    ours, theirs = lite.predict(test.load(np.arange(len(test)))), np.array(expected[file]["outputs"])
    difference = np.abs(ours - theirs)
    assert difference.max() <= allowed(expected[file])
    assert difference.mean() <= MEAN_STEPS * (expected[file]["step"] or FLOAT_DIFFERENCE)
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() >= SAME_FIRST_CLASS
    # What they agree on is not that everything is alike.
    assert len(set(theirs.argmax(axis=1))) == 10


@pytest.mark.parametrize("file", FILES)
def test_predict_names_the_same_classes(
    run_kzoo: Callable[..., Any],
    edge_files: Path,
    expected: dict[str, Any],
    inputs: Callable[[str], list[str]],
    file: str,
) -> None:
    paths = [edge_files / name for name in inputs(file)]
    finished = run_kzoo("predict", edge_files / file, *paths, "--top", 10, "--json")
    assert finished.returncode == 0, finished.stderr
    assert len(paths) >= 6
    for ours, theirs in zip(json.loads(finished.stdout), expected[file]["predict"], strict=True):
        assert Path(ours["input"]).name == Path(theirs["input"]).name
        shares = dict(zip(theirs["classes"], theirs["probabilities"], strict=True))
        answered = dict(zip(ours["classes"], ours["probabilities"], strict=True))
        assert answered == pytest.approx(shares, abs=allowed(expected[file]))
        assert shares[ours["classes"][0]] >= theirs["probabilities"][0] - allowed(expected[file])


@pytest.mark.parametrize("file", FILES)
def test_evaluate_measures_the_same(
    run_kzoo: Callable[..., Any], edge_files: Path, expected: dict[str, Any], file: str
) -> None:
    finished = run_kzoo("evaluate", edge_files / file, "--data", "digits", "--runtime", installed_runtime(), "--json")
    assert finished.returncode == 0, finished.stderr
    ours, theirs = json.loads(finished.stdout), expected[file]["evaluate"]
    assert (ours["samples"], ours["split"]) == (269, "test")
    for figure in ("accuracy", "top5", "f1"):
        assert ours[figure] == pytest.approx(theirs[figure], abs=1 - SAME_FIRST_CLASS)
    assert ours["accuracy"] > 0.8


@pytest.mark.parametrize("file", FILES)
def test_the_python_kit_answers_as_kzoo(
    edge_files: Path, expected: dict[str, Any], inputs: Callable[[str], list[str]], tmp_path: Path, file: str
) -> None:
    """From a folder of its own, without kzoo: its program, the model, the labels."""
    kit = tmp_path / "kit"
    shutil.copytree(edge_files / f"kit-{file}", kit)
    (kit / "kzoo.py").write_text("raise ImportError('a kit needs no kzoo')")
    paths = [str(edge_files / name) for name in inputs(file)]
    command = [sys.executable, str(kit / "classify.py"), *paths, "--top", "10", "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert finished.returncode == 0, finished.stderr
    theirs = kzoo.predict(edge_files / file, paths, top=10)
    for ours, kzoos, other in zip(json.loads(finished.stdout), theirs, expected[file]["predict"], strict=True):
        # The same runtime, the same pictures: the same numbers.
        assert ours["answer"] == [list(pair) for pair in zip(kzoos.classes, kzoos.probabilities, strict=True)]
        shares = dict(zip(other["classes"], other["probabilities"], strict=True))
        assert dict(ours["answer"]) == pytest.approx(shares, abs=allowed(expected[file]))


def test_benchmark_says_which_runtime_it_timed(run_kzoo: Callable[..., Any], edge_files: Path) -> None:
    finished = run_kzoo("benchmark", *(edge_files / file for file in FILES), "--runs", 10, "--json")
    assert finished.returncode == 0, finished.stderr
    results = json.loads(finished.stdout)
    assert [Path(result["path"]).name for result in results] == FILES
    assert {result["runtime"] for result in results} == {installed_runtime()}
    assert all(0 < result["p50_ms"] <= result["p90_ms"] for result in results)


def test_the_runtime_that_is_absent_is_named_with_its_installation(edge_files: Path) -> None:
    (absent,) = {name for name, (module, _) in RUNTIMES.items() if not find_spec(module.split(".")[0])}
    with pytest.raises(kzoo.ExportError, match=f"{absent} is not installed. Install it: pip install"):
        LiteModel(edge_files / FILES[0], runtime=absent)
