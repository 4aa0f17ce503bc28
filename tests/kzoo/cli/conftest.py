"""The command line in this process, in a folder of its own, and a file it exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from kzoo.cli import cli


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where each test runs: an empty folder, so that what a command leaves behind is seen."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def invoke():
    """Call a command and give click's result back: exit_code, stdout, stderr."""

    def call(*arguments):
        return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="kzoo")

    return call


@pytest.fixture
def fails(invoke):
    """Call a command that must fail with one line that holds the words, and nothing on stdout."""

    def call(*arguments, words, status=1):
        result = invoke(*arguments)
        assert isinstance(result.exception, SystemExit), result.exception
        check_failure(result.exit_code, result.stdout, result.stderr, words=words, status=status)
        return result.stderr

    return call


@pytest.fixture
def is_one_line():
    """Check what a process that failed has left on its streams."""

    def check(finished, words, status=1):
        check_failure(finished.returncode, finished.stdout, finished.stderr, words=words, status=status)

    return check


def check_failure(code, stdout, stderr, words, status):
    *before, last = stderr.rstrip("\n").split("\n")
    assert code == status, stderr
    assert last.startswith("Error: "), stderr
    # Progress may come before, but nothing of Python's or TensorFlow's.
    assert all(line.startswith(("model ", "data ", "epoch ", "resuming ", "weights ")) for line in before), stderr
    assert "Unexpected" not in last
    assert stdout == ""
    for word in words:
        assert word in last, last


@pytest.fixture(scope="session")
def exported(trained_run, tmp_path_factory):
    """The trained run as an int8 file with its sidecar. Shared: do not change it."""
    import kzoo

    path = tmp_path_factory.mktemp("exported") / "cnn.int8.tflite"
    return kzoo.export_model(trained_run, path, quantize="int8").path


@pytest.fixture
def snapshot():
    """Read all files of a folder, to see afterwards that none was lost, changed or left behind."""
    return lambda folder: {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture
def make_images():
    """Make a folder of class folders with noise in them."""

    def make(root, classes=("a", "b"), count=12, size=(12, 10)):
        rng = np.random.default_rng(0)
        for name in classes:
            folder = Path(root, name)
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{number}.png")

    return make


class Stops:
    """A reporter that is interrupted when an epoch has ended."""

    def __init__(self, epoch):
        self.epoch = epoch

    def line(self, text):
        if text.split()[:2] == ["epoch", f"{self.epoch}/4"]:
            raise KeyboardInterrupt

    def status(self, text): ...

    def wants_status(self):
        return False


@pytest.fixture(scope="session")
def interrupted_run(tmp_path_factory):
    """A run of four epochs that was interrupted after the third. Shared: do not change it."""
    import kzoo

    path = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.raises(KeyboardInterrupt):
        kzoo.train("cnn", epochs=4, out=path, reporter=Stops(3))
    return kzoo.Run(path)
