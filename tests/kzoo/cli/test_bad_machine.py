"""A full disk, a signal, a closed stream: one clear line, and what was complete before stays."""

from __future__ import annotations

import errno
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kzoo


def limited(size):
    """As on a disk that is full: no file may grow larger."""

    def limit():
        # Past the limit the system kills by this signal, unless it is ignored.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.slow(15)
def test_a_full_disk_while_checkpointing_leaves_the_best_epoch(run_kzoo, is_one_line, invoke, place):
    # The model has 0.5 MB, the resume point with the optimizer 1.8 MB.
    finished = run_kzoo("train", "cnn", "--epochs", 3, "--out", "run", preexec_fn=limited(1_000_000))
    is_one_line(finished, ["run", os.strerror(errno.EFBIG), "kzoo train cnn --resume --out run"])
    assert json.loads(Path("run/run.json").read_text())["status"] == "failed"
    first = kzoo.Run("run").history()[0]
    assert kzoo.evaluate("run", split="val").accuracy == pytest.approx(first["val_accuracy"], abs=1e-6)
    assert not list(Path("run/checkpoints").iterdir())
    assert invoke("train", "cnn", "--resume", "--out", "run").exit_code == 0
    assert len(kzoo.Run("run").history()) == 3


@pytest.mark.slow(6)
def test_a_full_disk_at_the_report_leaves_a_run_that_can_be_resumed(fails, invoke, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/report.html")

    with monkeypatch.context() as patch:
        patch.setattr("kzoo.evaluation.finish.write_report", full)
        fails("train", "cnn", "--epochs", 1, "--out", "run", words=["No space left", "--resume --out run"])
    assert kzoo.Run("run").info.status == "failed"
    assert kzoo.evaluate("run").samples == 269
    assert invoke("train", "cnn", "--resume", "--out", "run").exit_code == 0
    assert kzoo.Run("run").info.status == "done"


@pytest.mark.slow(8)
def test_a_full_disk_while_exporting_leaves_the_earlier_file(
    run_kzoo, is_one_line, trained_run, exported, place, snapshot
):
    for suffix in ("", ".json"):
        shutil.copy(f"{exported}{suffix}", f"x.tflite{suffix}")
    before = snapshot(place)
    call = ("export", trained_run.path, "--out", "x.tflite", "--force")
    is_one_line(run_kzoo(*call, preexec_fn=limited(50_000)), [os.strerror(errno.EFBIG)])
    assert snapshot(place) == before


def test_neither_file_of_an_export_is_replaced_alone(fails, trained_run, exported, place, monkeypatch, snapshot):
    from kzoo.export.process import Conversion

    for suffix in ("", ".json"):
        shutil.copy(f"{exported}{suffix}", f"x.tflite{suffix}")
    before = snapshot(place)
    made = Conversion(exported.read_bytes(), ("image",), ("predictions",), (), 0.0)
    monkeypatch.setattr("kzoo.export.exporter.convert_in_child", lambda *_, **__: made)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    call = ("export", trained_run.path, "--quantize", "int8", "--out", "x.tflite", "--force")
    fails(*call, words=["x.tflite", "No space left"])
    assert snapshot(place) == before


@pytest.mark.slow(15)
def test_a_loss_that_is_no_number_stops_and_is_told_in_one_line(run_kzoo, is_one_line, fails):
    options = ["optimizer.name=sgd", "optimizer.learning_rate=1e30", "schedule.name=constant"]
    settings = [part for option in options for part in ("--set", option)]
    words = ["nan", "step ", "optimizer.learning_rate"]
    is_one_line(run_kzoo("train", "cnn", "--epochs", 2, *settings, "--out", "run"), words)
    assert json.loads(Path("run/run.json").read_text())["status"] == "failed"
    fails("train", "cnn", "--resume", "--out", "run", words=words)


@pytest.mark.slow(12)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_training_in_one_line_and_it_can_be_resumed(is_one_line, number):
    command = [sys.executable, "-m", "kzoo", "train", "cnn", "--epochs", "500", "--out", "run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    seen = []
    for line in process.stderr:
        seen.append(line)
        if line.startswith("epoch   2/"):
            break
    process.send_signal(number)
    out, rest = process.communicate(timeout=60)
    finished = subprocess.CompletedProcess(command, process.returncode, out, "".join(seen) + rest)
    is_one_line(finished, ["Interrupted", "kzoo train cnn --resume --out run"])
    assert kzoo.Run("run").info.status == "interrupted"
    assert not list(Path("run").rglob(".*"))


def test_an_interrupt_that_a_callback_of_the_collector_swallows_comes_again():
    # As JAX's callback does, which TensorFlow brings along.
    code = (
        "import gc, time\n"
        "from kzoo.cli.terminal import listen_for_interrupts\n"
        "def collect(phase, info):\n"
        "    gc.callbacks.clear()\n"
        "    raise KeyboardInterrupt\n"
        "listen_for_interrupts()\n"
        "gc.callbacks.append(collect)\n"
        "try:\n"
        "    gc.collect()\n"
        "    time.sleep(30)\n"
        "except KeyboardInterrupt:\n"
        "    raise SystemExit(3)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (finished.returncode, finished.stderr) == (3, "")


@pytest.mark.parametrize("call", ["list", "list --json", "data info digits", "--help"])
def test_a_reader_that_goes_away_is_no_error(call):
    process = subprocess.Popen(
        [sys.executable, "-m", "kzoo", *call.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() in (0, 1)
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("call", ["list", "list --json", "--help"])
def test_a_full_disk_under_stdout_is_told_in_one_line(call):
    with Path("/dev/full").open("w") as full:
        finished = subprocess.run(
            [sys.executable, "-m", "kzoo", *call.split()], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert finished.returncode == 1
    assert finished.stderr.splitlines() == ["Error: No space left on device. What was complete before is kept."]


def test_a_closed_stderr_is_no_error():
    command = f"exec {shlex.quote(sys.executable)} -m kzoo list --json 2>&-"
    finished = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert finished.returncode == 0
    assert json.loads(finished.stdout)
