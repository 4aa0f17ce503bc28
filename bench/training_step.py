"""Training steps of kzoo beside those of its peers: `python -m bench.training_step`.

Each contender trains the same architecture on the same batches of 128 in a process of its own: kzoo; Keras 3 on
TensorFlow, JAX and PyTorch; tf_keras; PyTorch. All are started, then take turns for some rounds, so that a slow minute
of the machine hits each; what counts is the median round. Peers that are not installed are named. PyTorch comes from
`pip install -r bench/requirements.txt`, in this environment or in a folder named by PYTHONPATH.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from bench.machine import keep_results, with_earlier
from bench.training_models import NAMES

PRECISIONS = ("float32", "mixed_bfloat16")
MEMORY_FORMATS = ("fp32", "bf16", "fp32 channels-last", "bf16 channels-last")


@dataclass(frozen=True)
class Contender:
    """Who trains, and how."""

    label: str
    framework: str
    variant: str
    backend: str = "tensorflow"

    @property
    def title(self) -> str:
        """For the table."""
        return f"{self.label}, {self.variant.removeprefix('mixed_')}"


def contenders(model: str) -> list[Contender]:
    """All that can train a model; a memory format is for images alone."""
    formats = MEMORY_FORMATS[:2] if model == "lstm" else MEMORY_FORMATS
    return [
        *(Contender("kzoo", "kzoo", precision) for precision in PRECISIONS),
        *(Contender("Keras 3, TensorFlow", "keras", precision) for precision in PRECISIONS),
        Contender("Keras 3, JAX", "keras", "float32", "jax"),
        Contender("Keras 3, PyTorch", "keras", "float32", "torch"),
        *(Contender("tf_keras", "tf_keras", precision) for precision in PRECISIONS),
        *(Contender("PyTorch", "torch", variant) for variant in formats),
    ]


class Runner:
    """A contender's process."""

    def __init__(self, contender: Contender, model: str, seconds: float) -> None:
        self.contender = contender
        self.rates: list[float] = []
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        command = [sys.executable, "-m", "bench.training_peer", contender.framework, contender.variant, model]
        environment = {**os.environ, "KERAS_BACKEND": contender.backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [*command, str(seconds)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        # Waited for, since two that warm up at once disturb each other.
        self.parameters = self._answer()

    def measure(self) -> None:
        """Let it train some more steps."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.rates.append(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._log.close()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise RuntimeError(self._log.read().decode(errors="replace").strip().splitlines()[-1])
        return float(line)


def measure(model: str, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Rows of one model's table."""
    runners, rows = [], []
    for contender in contenders(model):
        try:
            runners.append(Runner(contender, model, seconds))
        except RuntimeError as error:
            rows.append({"model": model, "contender": contender.title, "samples/s": f"failed: {str(error)[:80]}"})
    for _ in range(rounds):
        for runner in runners:
            runner.measure()
    for runner in runners:
        runner.close()
    medians = {runner.contender.title: statistics.median(runner.rates) for runner in runners}
    best_peer = max(
        rate for (title, rate), runner in zip(medians.items(), runners, strict=True) if runner.contender.label != "kzoo"
    )
    for runner in runners:
        rate = medians[runner.contender.title]
        rows.append(
            {
                "model": model,
                "contender": runner.contender.title,
                "samples/s": round(rate, 1),
                "slowest to fastest round": f"{min(runner.rates):,.0f}–{max(runner.rates):,.0f}",
                "of the best peer": round(rate / best_peer, 3),
                "trainable parameters": int(runner.parameters),
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "models", nargs="*", default=NAMES, metavar="MODEL", help=f"{', '.join(NAMES)}; the others' figures stay"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a contender's turn")
    chosen = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    for model in chosen.models:
        found = measure(model, chosen.rounds, chosen.seconds)
        print(*found, sep="\n", flush=True)
        rows += found
    columns = {column: "" for row in rows for column in row}
    whole = with_earlier("training_step", [{**columns, **row} for row in rows], NAMES)
    print(keep_results("training_step", f"python -m bench.training_step --rounds {chosen.rounds}", whole))


if __name__ == "__main__":
    main()
