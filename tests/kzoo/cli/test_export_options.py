"""`kzoo export`: what its options make of a file, and what they say when they cannot."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.cli.deploy import TARGETS
from kzoo.export import LiteModel, read_metadata
from kzoo.exporting import PLACES


@pytest.fixture
def digits_picture():
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save("digit.png")
    return "digit.png"


@pytest.fixture
def export(invoke, trained_run):
    """Export the trained run as int8 into the folder the test runs in."""

    def call(*options, quantize="int8"):
        result = invoke("export", trained_run.path, "--quantize", quantize, "--out", "m.tflite", *options)
        assert result.exit_code == 0, result.stderr
        return result

    return call


def test_the_targets_are_those_of_the_function():
    assert set(TARGETS) == set(PLACES)


def test_every_file_says_what_it_is(export, trained_run):
    export()
    metadata = read_metadata("m.tflite")
    assert metadata.labels == tuple("0123456789")
    assert metadata.name == "cnn"
    assert metadata.description == "cnn for 10 classes of digits"
    assert metadata.version == trained_run.path.name


@pytest.mark.parametrize("quantize", ["fp16", "dynamic", "int16x8"])
def test_each_precision(export, quantize):
    result = export(quantize=quantize)
    assert result.stdout == "m.tflite\n"
    sidecar = json.loads(Path("m.tflite.json").read_text())
    assert sidecar["quantize"] == quantize
    assert sidecar["drop"] <= 0.01


def test_the_layer_report_is_a_table_and_lies_in_the_sidecar(export):
    lines = export("--layer-report").stderr.splitlines()
    header = next(number for number, line in enumerate(lines) if line.split()[:2] == ["layer", "operator"])
    rows = lines[header + 1 :]
    layers = json.loads(Path("m.tflite.json").read_text())["layers"]
    assert len(rows) == len(layers) > 5
    assert len({len(line) for line in lines[header:]}) == 1
    added = [float(row.split()[-4]) for row in rows]
    assert added == sorted(added, reverse=True)
    assert layers[0]["layer"] in rows[0]


def test_options_reach_the_file(export):
    line = "in float  FULLY_CONNECTED (predictions)"
    assert (
        line in export("--io", "uint8", "--keep-float", "predictions", "--calibration-samples", 40, "--seed", 3).stderr
    )
    sidecar = json.loads(Path("m.tflite.json").read_text())
    assert (sidecar["io"], sidecar["keep_float"]) == ("uint8", ["predictions"])
    assert sidecar["calibration"]["count"] == 40
    assert sidecar["details"]["sampling"]["seed"] == 3
    assert LiteModel("m.tflite").input_dtype == "uint8"


def test_logits_are_told_and_evaluate_like_probabilities(export, invoke):
    assert "the answers are logits" in export("--logits").stderr
    logits = json.loads(invoke("evaluate", "m.tflite", "--json").stdout)
    assert LiteModel("m.tflite").predict(np.zeros((1, 8, 8, 1))).min() < 0
    assert "logits" not in export("--force").stderr
    assert json.loads(invoke("evaluate", "m.tflite", "--json").stdout)["accuracy"] == pytest.approx(
        logits["accuracy"], abs=0.01
    )


def test_a_file_is_gzipped_beside_itself(export, fails, trained_run):
    lines = export("--gzip").stderr.splitlines()
    packed = Path("m.tflite.gz").read_bytes()
    assert gzip.decompress(packed) == Path("m.tflite").read_bytes()
    assert len(packed) <= LiteModel("m.tflite").gzip_size
    assert f"gzip   m.tflite.gz: {len(packed):,} bytes" in lines
    Path("m.tflite").rename("other.tflite")
    Path("m.tflite.json").unlink()
    fails("export", trained_run.path, "--out", "m.tflite", "--gzip", words=["m.tflite.gz exists already", "--force"])
    # What lies gzipped is never of another file than the one beside it.
    export("--force", quantize="fp16")
    assert gzip.decompress(Path("m.tflite.gz").read_bytes()) == Path("m.tflite").read_bytes()


def test_a_kit_lies_beside_its_file_and_runs(export, digits_picture):
    result = export("--target", "rpi")
    assert result.stdout == "m.tflite\n"
    assert "kit    m.rpi" in result.stderr
    program = [sys.executable, Path("m.rpi") / "classify.py", digits_picture]
    answer = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert answer.strip()


def test_a_kit_for_the_web_gets_floats(export):
    export("--target", "web")
    assert LiteModel("m.tflite").input_dtype == "float32"
    assert Path("m.web/index.html").is_file()


def test_dense_layers_get_one_step_where_the_runtime_is_old(export):
    for options in (("--target", "tflite-runtime"), ("--min-runtime", "2.14")):
        export(*options, "--force")
        assert json.loads(Path("m.tflite.json").read_text())["per_tensor"] == "dense"
    export("--force")
    assert json.loads(Path("m.tflite.json").read_text())["per_tensor"] == "none"


BAD = {
    "a layer that is not there": ("--quantize int8 --keep-float predictoins", ["Did you mean predictions"], 2),
    "a type that does not go with it": ("--quantize fp16 --io int8", ["float32 for fp16"], 2),
    "too old a runtime": ("--quantize fp16 --min-runtime 1.13", ["needs TensorFlow Lite 1.", "newer than"], 1),
    "no version": ("--min-runtime old", ["'old'"], 2),
    "a target without such weights": ("--quantize fp16 --target tflm", ["would not run on tflm"], 1),
    "too little memory": ("--max-memory 0.2", ["GB of memory", "more than the 0.2 GB"], 1),
    "too little time": ("--timeout 1", ["did not end within 1 s"], 1),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_is_told_in_one_line(fails, trained_run, place, name):
    options, words, status = BAD[name]
    fails("export", trained_run.path, "--out", "m.tflite", *options.split(), words=words, status=status)
    assert not list(place.iterdir())


def test_a_file_that_lost_its_end_is_not_taken_for_whole(export, fails):
    """The archive of labels comes last: without it the model itself would still run."""
    export()
    whole = Path("m.tflite").read_bytes()
    for cut in (1, 40, len(whole) // 2):
        Path("m.tflite").write_bytes(whole[:-cut])
        fails("evaluate", "m.tflite", words=["m.tflite"])
        fails("predict", "m.tflite", "x.png", words=["m.tflite"])
        fails("info", "m.tflite", words=["damaged"])


def test_a_kit_is_not_replaced(fails, trained_run):
    Path("m.tflm").mkdir()
    Path("m.tflm/mine.cc").write_text("mine")
    fails("export", trained_run.path, "--out", "m.tflite", "--target", "tflm", words=["m.tflm", "Move it away"])
    assert Path("m.tflm/mine.cc").read_text() == "mine"
    assert not Path("m.tflite").exists()
