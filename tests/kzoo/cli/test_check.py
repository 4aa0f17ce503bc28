"""`kzoo check`: what it shows, when it fails, and what it says of files that are none."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import kzoo
from kzoo.cli.check import TARGETS
from kzoo.export import read_tflite
from kzoo.export.targets import TARGETS as KNOWN


def test_targets_are_those_of_the_table():
    assert set(TARGETS) == set(KNOWN)


@pytest.mark.slow(15)
def test_a_file_is_shown_with_where_it_runs(invoke, exported):
    result = invoke("check", exported)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"file         {exported}, {exported.stat().st_size:,} bytes")
    assert "computes in  int8 throughout" in lines
    assert any(line.startswith("XNNPACK") and "1 partition(s), outside: 1 SOFTMAX" in line for line in lines)
    count = len(read_tflite(exported).operators)
    for name in TARGETS:
        assert any(line.split()[:5] == [name, "runs", str(count), "of", str(count)] for line in lines), name


@pytest.mark.slow(15)
def test_json_is_the_report(invoke, exported):
    result = invoke("check", exported, "--target", "tflm", "--min-runtime", "2.14", "--json")
    content = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, content["ok"]) == (0, "", True)
    assert content["path"] == str(exported)
    assert content["memory"]["size"] == kzoo.check(exported).memory.size
    assert content["verdicts"]["tflm"]["runs"] == "runs"
    assert content["xnnpack"]["partitions"] == 1
    assert (content["operators"][0]["name"], content["operators"][0]["refused_by"]) == ("CONV_2D", [])


@pytest.mark.slow(15)
def test_what_does_not_run_there_fails_in_one_line(invoke, exported):
    result = invoke("check", exported, "--target", "litert", "--min-runtime", "1.6")
    assert result.exit_code == 1
    assert "int8 throughout" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {exported} does not run on TensorFlow Lite 1.6: operator 0 CONV_2D")
    assert "needs TensorFlow Lite 1.14.0, newer than 1.6" in line
    as_json = invoke("check", exported, "--min-runtime", "1.6", "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)["ok"]) == (1, False)


BAD = {
    "a text": (b"this is not a model, it only bears the name of one", ["x.tflite", "something else"]),
    "empty": (b"", ["x.tflite", "empty"]),
    "the identifier only": (b"\x1c\0\0\0TFL3", ["x.tflite", "damaged"]),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_what_is_no_file_of_that_kind_is_told_in_one_line(fails, content, words):
    Path("x.tflite").write_bytes(content)
    fails("check", "x.tflite", words=words)


def test_half_a_file_is_told_in_one_line(fails, exported):
    content = exported.read_bytes()
    Path("x.tflite").write_bytes(content[: len(content) // 2])
    fails(
        "check", "x.tflite", "--target", "tflm", words=["x.tflite", "damaged or cut short", "Copy or export it again"]
    )


def test_what_is_not_there_or_a_folder_is_told_in_one_line(fails, place):
    fails("check", "none.tflite", words=["none.tflite", "not a file"])
    (place / "folder.tflite").mkdir()
    fails("check", "folder.tflite", words=["folder.tflite", "not a file"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["FILE", "kzoo check --help"]),
        (["x.tflite", "--target", "tfml"], ["'tfml'", "'tflm'"]),
        (["x.tflite", "--min-runtime", "new"], ["2.14", "'new'"]),
        (["x.tflite", "--min-runtime", ""], ["2.14", "''"]),
    ],
)
def test_a_wrong_call_is_told_in_one_line(fails, arguments, words):
    fails("check", *arguments, words=words, status=2)


@pytest.mark.slow(15)
def test_it_fits_a_terminal_of_80_columns(exported):
    """As a process whose output is a terminal: no line of a table is longer, and no name is lost."""
    main, side = pty.openpty()
    command = [sys.executable, "-m", "kzoo", "check", str(exported)]
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    process = subprocess.Popen(command, stdout=side, stderr=side, stdin=subprocess.DEVNULL, env=environment)
    os.close(side)
    written = b""
    while True:
        try:
            written += os.read(main, 65536)
        except OSError:  # Linux's end of a terminal whose other side is closed
            break
    os.close(main)
    assert process.wait() == 0, written
    lines = written.decode().splitlines()
    tables = lines[next(number for number, line in enumerate(lines) if line.split()[:2] == ["operator", "version"]) :]
    assert max(map(len, tables)) <= 80
    assert {"CONV_2D", "tflite-runtime", "nnapi"} <= {word for line in tables for word in line.split()}
