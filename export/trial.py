"""Try a file on the runtime that is installed here: does it run, and what does XNNPACK take of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .tflite_file import TFLiteFile

#: The name of the node that stands for the operators a delegate has taken over. XNNPACK is the only one that a runtime
#: applies by itself.
_DELEGATE = "DELEGATE"
_DISTRIBUTIONS = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Attributes:
        runtime: `"litert"` or `"tflite-runtime"`.
        release: the package and its version.
        problem: why the file did not run, None where it did.
        partitions: for each part that XNNPACK took over the numbers of its operators in the main graph. None where the
            runtime does not say.
    """

    runtime: str
    release: str
    problem: str | None
    partitions: tuple[tuple[int, ...], ...] | None


def try_file(file: TFLiteFile, runtime: str, *, timeout: float = 120) -> Trial:
    """Open, allocate and run a file on zeros, in a process of its own: a runtime may crash on a damaged file.

    Args:
        file: as read.
        runtime: its name; it must be installed.
        timeout: seconds until it is stopped.
    """
    release = _release(_DISTRIBUTIONS[runtime])
    command = [sys.executable, "-P", "-m", "kzoo.export._trial", str(Path(file.path).absolute()), runtime]
    try:
        finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return Trial(runtime, release, f"it did not end within {timeout:g} s", None)
    # Decoded here: a damaged file's names, which need not be text, come back in messages.
    answers = [json.loads(line) for line in finished.stdout.decode(errors="replace").splitlines()]
    nodes = answers[0] if answers else None
    return Trial(runtime, release, _problem(finished), None if nodes is None else _partitions(nodes))


def _release(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:  # a device's own build
        return package


def _problem(finished: subprocess.CompletedProcess[bytes]) -> str | None:
    if finished.returncode == 0:
        return None
    if finished.returncode < 0:
        return f"it ended the process with {signal.Signals(-finished.returncode).name}"
    lines = finished.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:300].rstrip(".") if lines else f"exit status {finished.returncode}"


def _partitions(nodes: list[tuple[str, list[int], list[int]]]) -> tuple[tuple[int, ...], ...]:
    """The operators of each part: whatever leads from its inputs to its outputs."""
    own = [node for node in nodes if node[0] != _DELEGATE]
    writer = {tensor: number for number, (_, _, outputs) in enumerate(own) for tensor in outputs}
    return tuple(_between(own, writer, set(inputs), outputs) for name, inputs, outputs in nodes if name == _DELEGATE)


def _between(own: list[Any], writer: dict[int, int], inputs: set[int], outputs: list[int]) -> tuple[int, ...]:
    inside: set[int] = set()
    waiting = list(outputs)
    while waiting:
        number = writer.get(waiting.pop())
        if number is not None and number not in inside:
            inside.add(number)
            waiting += [tensor for tensor in own[number][1] if tensor not in inputs]
    return tuple(sorted(inside))
