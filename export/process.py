"""Convert in a child process, so that a crash of the converter is an error here and TensorFlow stays out of here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from kzoo.errors import ExportError

from .precision import Precision

_COMMAND = (sys.executable, "-P", "-m", "kzoo.export._starter")
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONWARNINGS": "ignore",
}
#: Beginnings of lines on standard error that explain no failure.
_NOISE = (
    "WARNING",
    "INFO",
    "W0000",
    "I0000",
    "fully_quantize",
    "Fatal Python error",
    "Extension modules",
    "Current thread",
)


#: Seconds between two looks at the child's memory.
_LOOK = 0.05


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the child made.

    Attributes:
        content: the `.tflite` file.
        inputs: signature names of the inputs, in the order of the model's inputs.
        outputs: signature names of the outputs, in the order of the model's outputs.
        folded: layers whose scaling went into the weights of the next one.
        bridge_difference: largest relative difference between the Keras model and its tf_keras twin.
        twin: the same model as a float32 file, where it was asked for.
    """

    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    folded: tuple[str, ...]
    bridge_difference: float
    twin: bytes | None = None


class Converter:
    """A child process for one conversion, which begins at once to import TensorFlow.

    That takes more than a second: start it before the model and the data are read, and hand it to `convert_in_child`.
    It ends with the block that it is used in.

    Args:
        command: what to start; the request file is its last argument. It waits for a line on standard input.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="kzoo-export-")
        self.folder = Path(self._place.name)
        self.request = self.folder / "request.json"
        self._errors = self.folder / "errors.txt"
        try:
            with self._errors.open("wb") as stream:
                self.process = subprocess.Popen(
                    [*command, str(self.request)],
                    env=_environment(os.environ),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=stream,
                )
        except BaseException:
            self._place.cleanup()
            raise

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()  # also on Ctrl-C; it does nothing to a child that has ended
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._place.cleanup()

    def run(self, meanwhile: Callable[[], object], timeout: float, memory_limit: int) -> None:
        """Have the request answered.

        Args:
            meanwhile: what to do here until then.
            timeout: seconds until the child is stopped.
            memory_limit: bytes of memory at which it is stopped.

        Raises:
            ExportError: it crashed, was stopped, or says what is wrong with the request.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="kzoo-converter") as pool:
            try:
                self._begin()
                watched = pool.submit(_wait, self.process, self.folder, timeout, memory_limit)
                meanwhile()
                watched.result()
            finally:
                self.process.kill()  # or the thread would wait for it
        if self.process.returncode != 0:
            raise self._failure(self.process.returncode)

    def _begin(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # of a child that has crashed; its status tells
            os.write(self.process.stdin.fileno(), b"\n")

    def _failure(self, status: int) -> ExportError:
        told = self.folder / "error.json"
        if told.exists():
            return ExportError(json.loads(told.read_text())["message"])
        reason = _last_line(self._errors.read_bytes().decode(errors="replace"))
        return ExportError(
            f"The converter stopped with {_how(status)}{_stage(self.folder)}{': ' + reason if reason else ''}. "
            "The model was not exported."
        )


def convert_in_child(
    model: Any,
    *,
    precision: Precision,
    samples: Sequence[np.ndarray],
    calibration: Sequence[np.ndarray] = (),
    twin: bool = False,
    packages: Sequence[str] = (),
    timeout: float = 600,
    memory_limit: int | None = None,
    converter: Converter | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Conversion:
    """Convert a Keras model in a process of its own.

    Args:
        model: a functional or Sequential Keras model, on any backend.
        precision: the numbers of the file.
        samples: a few real samples, one array an input: both models must answer them alike.
        calibration: one array an input, where the precision needs it.
        twin: make the float32 file as well.
        packages: whose layers the model has beside Keras's own, see `Graph.packages`.
        timeout: seconds until the child is stopped.
        memory_limit: bytes of memory at which the child is stopped. None: all but a tenth of the machine's. Held where
            the system tells a process's memory under /proc.
        converter: the process, started ahead. It is spent afterwards. Default: one that is started now.
        meanwhile: what to do here while the child works.

    Raises:
        ExportError: the conversion failed, crashed, took too long or too much memory. Nothing is left behind.
    """
    with converter or Converter() as child:
        folder = child.folder
        model.save(folder / "model.keras")
        for kind, arrays in (("sample", samples), ("calibration", calibration)):
            for number, array in enumerate(arrays):
                np.save(folder / f"{kind}-{number}.npy", array, allow_pickle=False)
        asked = {"precision": precision.to_json(), "inputs": len(samples), "twin": twin, "packages": list(packages)}
        child.request.write_text(json.dumps(asked))
        child.run(meanwhile, timeout, memory_limit or _usable_memory())
        answer = json.loads((folder / "answer.json").read_text())
        return Conversion(
            content=(folder / "model.tflite").read_bytes(),
            inputs=tuple(answer["inputs"]),
            outputs=tuple(answer["outputs"]),
            folded=tuple(answer["folded"]),
            bridge_difference=answer["bridge_difference"],
            twin=(folder / "twin.tflite").read_bytes() if twin else None,
        )


def _wait(child: subprocess.Popen[bytes], folder: Path, timeout: float, memory_limit: int) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            child.wait(_LOOK)
            return
        except subprocess.TimeoutExpired:
            pass
        if time.monotonic() > deadline:
            child.kill()
            raise ExportError(
                f"The conversion did not end within {timeout:g} s{_stage(folder)} and was stopped. "
                "Allow more time or take a smaller model."
            )
        used = _resident(child.pid)
        if used > memory_limit:
            child.kill()
            raise ExportError(
                f"The conversion took {used / 1e9:.1f} GB of memory{_stage(folder)}, which is more than the "
                f"{memory_limit / 1e9:.1f} GB it may have, and was stopped. Allow more memory or take a smaller model."
            )


def _resident(pid: int) -> int:
    """Bytes of a process's memory; 0 where the system does not say or the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _usable_memory() -> int:
    return int(0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _stage(folder: Path) -> str:
    """What the child was doing, if it came to say it."""
    file = folder / "stage"
    return f" while {file.read_text()}" if file.exists() else ""


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    name = _signal_name(-status)
    # The system kills so when memory runs out.
    return f"signal {name}{' (out of memory, most likely)' if name == 'SIGKILL' else ''}"


def _environment(base: Mapping[str, str]) -> dict[str, str]:
    """The parent's environment with what the child needs; TF-MOT's switch to Keras 2 must not reach it."""
    return {key: value for key, value in base.items() if key != "TF_USE_LEGACY_KERAS"} | _ENVIRONMENT


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _last_line(text: str) -> str:
    """The last line that says something: an exception's own line where there is one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_NOISE) and not line.startswith("File ")]
    errors = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))]
    return (errors or lines or [""])[-1][:300].rstrip(".")
