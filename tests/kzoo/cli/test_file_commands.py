"""`kzoo benchmark` and `kzoo info` of `.tflite` files: what they print for people, for documents and for programs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from kzoo.cli.info import _shortened
from kzoo.export import add_metadata, classifier_metadata, read_tflite

CLASSES = ["Käse", "猫", "[red]", "3", "4", "5", "6", "7", "8", "a|b"]


@pytest.fixture
def described(exported, tmp_path):
    """The exported file with the metadata of a classifier."""
    path = tmp_path / "described.tflite"
    facts = classifier_metadata(
        read_tflite(exported), name="Ziffern", description="Zehn.", version="7", classes=CLASSES
    )
    path.write_bytes(add_metadata(exported.read_bytes(), facts))
    return path


@pytest.fixture
def shown(invoke):
    """Call a command that must succeed and give what it wrote to stdout."""

    def call(*arguments):
        result = invoke(*arguments)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return call


def test_info_of_a_file(shown, described):
    text = shown("info", described)
    for fact in (
        "Ziffern",
        "Zehn.",
        "10 labels",
        "Käse, 猫, [red]",
        "a|b",
        "(pixel − 0) / 1",
        "value = 1 × (q − -128)",
    ):
        assert fact in text
    assert re.search(r"(?m)^Version +7$", text)
    assert re.search(r"(?m)^Packed +labels.txt, \d+ bytes$", text)
    assert re.search(r"(?m)^Operators +.*\d CONV_2D", text)
    assert re.search(rf"(?m)^Size +{described.stat().st_size:,} bytes, [\d,]+ gzipped$", text)


def test_info_of_a_file_for_programs(shown, described):
    facts = json.loads(shown("info", described, "--json"))
    assert facts["path"] == str(described)
    assert facts["metadata"]["labels"] == CLASSES
    (image,) = facts["inputs"]
    assert (image["dtype"], image["scale"], image["zero_point"]) == ("int8", 1, -128)
    assert (image["metadata"]["mean"], image["metadata"]["std"]) == ([0], [1])
    assert list(facts["packed"]) == ["labels.txt"]
    assert facts["macs"] > 0


def test_info_of_a_file_without_metadata(shown, trained_run):
    shown("export", trained_run.path, "--no-metadata", "--out", "bare.tflite")
    assert re.search(r"(?m)^Metadata +none$", shown("info", "bare.tflite"))
    assert json.loads(shown("info", "bare.tflite", "--json"))["metadata"] is None


def test_info_of_many_labels_names_the_first_and_the_last():
    assert _shortened(tuple(map(str, range(30)))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, …, 29"


def test_info_of_files_that_are_none(fails, exported, tmp_path):
    fails("info", tmp_path / "absent.tflite", words=["absent.tflite", "not a file"])
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(exported.read_bytes()[:5000])
    fails("info", cut, words=["damaged or cut short"])


def test_info_of_a_file_needs_neither_keras_nor_a_runtime(described):
    code = """
import sys
for name in ("tensorflow", "keras", "pydantic", "ai_edge_litert", "flatbuffers", "yaml", "sklearn"):
    sys.modules[name] = None
from kzoo.cli import cli
cli(["info", sys.argv[1]], standalone_mode=False)
"""
    finished = subprocess.run([sys.executable, "-c", code, str(described)], capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "Ziffern" in finished.stdout


def test_benchmark_compares_with_the_first(shown, exported, tmp_path):
    other = exported.parent / "other.tflite"
    shutil.copy(exported, other)
    first, second = json.loads(shown("benchmark", exported, other, "--runs", 30, "--json"))
    assert first["ratio"] is None and first["operator_profile"] is None
    assert first["p50_ms"] <= first["p90_ms"] <= first["p99_ms"]
    assert 0 < second["ratio"]["low"] <= second["ratio"]["median"] <= second["ratio"]["high"]
    assert first["macs"] == second["macs"] > 0
    text = shown("benchmark", exported, other, "--runs", 30)
    assert re.search(r"(?m)^ other\.tflite .* \d+\.\d{3} \(\d+\.\d{3}–\d+\.\d{3}\) *$", text)
    assert "to the first" not in shown("benchmark", exported, "--runs", 3)


def test_benchmark_of_operators(shown, exported):
    (facts,) = json.loads(shown("benchmark", exported, "--runs", 5, "--operators", "--json"))
    profile = facts["operator_profile"]
    kinds = {each["name"] for each in profile["operators"]}
    assert kinds == {operator.name for operator in read_tflite(exported).operators}
    assert sum(each["share"] for each in profile["operators"]) == pytest.approx(1)
    text = shown("benchmark", exported, "--runs", 5, "--operators")
    for kind in kinds:
        assert re.search(rf"(?m)^ {kind} +\d+ .* \d+\.\d %", text)
    assert "whole file" in text


def test_benchmark_in_markdown(shown, exported):
    lines = shown("benchmark", exported, "--runs", 5, "--operators", "--markdown").splitlines()
    tables = [[]]
    for line in lines:
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    times, sizes, kinds, operators = (table for table in tables if table)
    for table in (times, sizes, kinds, operators):
        assert {line.count(" | ") for line in table} == {table[0].count(" | ")}
        assert re.fullmatch(r"\|( ---:? \|)+", table[1])
    assert len(operators) == 2 + len(read_tflite(exported).operators)
    assert lines[-1].startswith("litert, 1 thread, batch 1, 5 runs")


def test_benchmark_prints_one_form_only(fails, exported):
    fails("benchmark", exported, "--json", "--markdown", words=["exclude each other"], status=2)
