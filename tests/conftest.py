"""What all tests share: a quiet TensorFlow, a trained run, the command line as a process, the slowest first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As on the command line: on a processor without AVX-512 VNNI, tests with convolutions take a third of the time.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("KZOO_DATA", str(Path(__file__).parent.parent.parent / "shared" / "data"))
# A script's job in the background ignores Ctrl-C, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "slow(seconds): about how long the test takes on one core; slow ones start first"
    )


def pytest_collection_modifyitems(items):
    def seconds(item):
        marker = item.get_closest_marker("slow")
        return marker.args[0] if marker else 0

    items.sort(key=seconds, reverse=True)


@pytest.fixture(scope="session")
def run_kzoo():
    """Call the command line as a real process and give the finished process back."""

    def call(*arguments, cwd=None, env=None, timeout=300, **options):
        command = [sys.executable, "-m", "kzoo", *map(str, arguments)]
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, **options
        )

    return call


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """A small CNN trained on the embedded digits. Shared: do not change it."""
    import kzoo

    path = tmp_path_factory.mktemp("trained") / "cnn.digits"
    return kzoo.train("cnn", epochs=10, out=path)


@pytest.fixture(scope="session")
def trained_sequence_run(tmp_path_factory):
    """An LSTM trained on the digits as eight steps of eight features. Shared: do not change it."""
    import kzoo

    path = tmp_path_factory.mktemp("trained") / "lstm.digits"
    return kzoo.train("lstm", epochs=15, settings={"model.arguments.units": 32, "optimizer.ema": None}, out=path)
