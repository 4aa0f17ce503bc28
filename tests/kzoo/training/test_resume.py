"""A run that was killed, at any moment, ends as one that was not."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time

import pytest

import kzoo

ARGUMENTS = [
    "--epochs", "7",
    "--set", "regularisation.dropout=0.3",
    "--set", "augmentation.mixup=0.2",
    "--set", "callbacks.early_stopping=4",
]  # fmt: skip
# The rate is in the hands of a callback, which counts; it falls whenever the loss does not improve at once.
PLATEAU = [
    "--epochs", "6",
    "--set", "optimizer.name=sgd",
    "--set", "optimizer.learning_rate=0.5",
    "--set", "schedule.name=plateau",
    "--set", "schedule.warmup_epochs=1.5",
    "--set", "schedule.patience=1",
]  # fmt: skip


def history(run):
    """What must be equal: all but the timings."""
    if not (run / "history.csv").exists():
        return []
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key not in ("seconds", "samples_per_second")} for row in rows]


def kill_after(arguments, run, epochs, *, wait=0.0, sent=signal.SIGKILL):
    process = subprocess.Popen(
        [sys.executable, "-m", "kzoo", "train", "cnn", *arguments, "--out", run],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(history(run)) < epochs and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(wait)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.slow(60)
def test_history_after_kills_equals_that_of_an_uninterrupted_run(tmp_path, run_kzoo):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_kzoo("train", "cnn", *ARGUMENTS, "--out", whole).returncode == 0

    # Before any epoch ended, in the middle of one, and while an epoch's files are being written.
    kill_after(ARGUMENTS, killed, epochs=0, wait=0.0)
    if (killed / "run.json").exists():
        assert kill_after(["--resume"], killed, epochs=2, wait=0.15)[0] == -signal.SIGKILL
    else:
        assert kill_after(ARGUMENTS, killed, epochs=2, wait=0.15)[0] == -signal.SIGKILL
    assert 2 <= len(history(killed)) < 7
    assert kill_after(["--resume"], killed, epochs=4)[0] == -signal.SIGKILL
    assert json.loads((killed / "run.json").read_text())["status"] == "training"

    finished = run_kzoo("train", "cnn", "--resume", "--out", killed)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == str(killed)
    assert "resuming" in finished.stderr
    assert history(killed) == history(whole)
    facts = [json.loads((run / "run.json").read_text()) for run in (whole, killed)]
    assert facts[0]["metrics"] == facts[1]["metrics"]
    assert facts[0]["best_epoch"] == facts[1]["best_epoch"]
    assert not (killed / "checkpoints").exists()


@pytest.mark.slow(40)
def test_a_rate_that_callbacks_change_goes_on_as_it_was(tmp_path, run_kzoo):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_kzoo("train", "cnn", *PLATEAU, "--out", whole).returncode == 0
    assert kill_after(PLATEAU, killed, epochs=4)[0] == -signal.SIGKILL
    assert run_kzoo("train", "cnn", "--resume", "--out", killed).returncode == 0
    rates = [float(row["learning_rate"]) for row in history(whole)]
    assert len(set(rates)) > 2
    assert history(killed) == history(whole)


@pytest.mark.slow(25)
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(tmp_path, run_kzoo):
    run = tmp_path / "run"
    status, errors = kill_after(["--epochs", "200"], run, epochs=2, wait=0.1, sent=signal.SIGINT)
    assert status == 1
    last = errors.strip().splitlines()[-1]
    assert last == f"Error: Interrupted. Continue with: kzoo train cnn --resume --out {run}"
    assert "Traceback" not in errors
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    # The best epoch so far can be used as it is.
    assert kzoo.Run(run).model.output_shape == (None, 10)


def test_resume_refuses_other_options(trained_run):
    with pytest.raises(kzoo.UsageError, match="resume alone"):
        kzoo.train("cnn", resume=True, out=trained_run.path, epochs=3)


def test_resume_of_a_finished_run_changes_nothing(trained_run):
    before = (trained_run.path / "model.keras").stat().st_mtime_ns
    assert kzoo.train("cnn", resume=True, out=trained_run.path).path == trained_run.path
    assert (trained_run.path / "model.keras").stat().st_mtime_ns == before


def test_nothing_to_resume_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kzoo.RunError, match=r"unfinished run runs/cnn\.digits-N"):
        kzoo.train("cnn", resume=True)
