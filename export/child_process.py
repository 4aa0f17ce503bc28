"""A child process that answers one request: its crash is an error here, and what it imports stays out of here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from kzoo.errors import ExportError

#: Beginnings of lines on standard error that explain no failure.
_NOISE = (
    "WARNING",
    "INFO",
    "W0000",
    "I0000",
    "E0000",
    "fully_quantize",
    "Fatal Python error",
    "Extension modules",
    "Current thread",
)

#: What every child needs: Keras on TensorFlow, on the processor, without their chatter.
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONWARNINGS": "ignore",
}

#: Seconds between two looks at the child's memory.
_LOOK = 0.05


class ChildProcess:
    """A child process for one request, which begins at once to import what it needs.

    It ends with the block that it is used in.

    Args:
        command: what to start; the request file is its last argument. It waits for a line on standard input.
        name: of the child, for messages.
        work: what it does, for messages.
        outcome: what a failure means, a sentence.
        environment: variables beside those of every child.
    """

    def __init__(
        self, command: Sequence[str], *, name: str, work: str, outcome: str, environment: Mapping[str, str]
    ) -> None:
        self._name, self._work, self._outcome = name, work, outcome
        self._place = tempfile.TemporaryDirectory(prefix="kzoo-child-")
        self.folder = Path(self._place.name)
        self.request = self.folder / "request.json"
        self._errors = self.folder / "errors.txt"
        try:
            with self._errors.open("wb") as stream:
                self.process = subprocess.Popen(
                    [*command, str(self.request)],
                    env=_environment(os.environ) | dict(environment),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=stream,
                )
        except BaseException:
            self._place.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()  # also on Ctrl-C; it does nothing to a child that has ended
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._place.cleanup()

    def ended_within(self, seconds: float) -> bool:
        """Whether the child has ended, by now or within so many seconds."""
        deadline = time.monotonic() + seconds
        # Another thread waits for it, too: its exit status is read there.
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(min(_LOOK, seconds))
        return self.process.poll() is not None

    def run(self, meanwhile: Callable[[], object], timeout: float, memory_limit: int | None = None) -> None:
        """Have the request answered.

        Args:
            meanwhile: what to do here until then.
            timeout: seconds until the child is stopped.
            memory_limit: bytes of memory at which it is stopped. None: all but a tenth of the machine's. Held where the
                system tells a process's memory under /proc.

        Raises:
            ExportError: it crashed, was stopped, or says what is wrong with the request.
        """
        with ThreadPoolExecutor(1, thread_name_prefix=f"kzoo-{self._name}") as pool:
            try:
                self._begin()
                watched = pool.submit(self._wait, timeout, memory_limit)
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
            f"The {self._name} stopped with {_how(status)}{_stage(self.folder)}{': ' + reason if reason else ''}. "
            f"{self._outcome}"
        )

    def _wait(self, timeout: float, memory_limit: int | None) -> None:
        limit = memory_limit or _usable_memory()
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.process.wait(_LOOK)
                return
            except subprocess.TimeoutExpired:
                pass
            if time.monotonic() > deadline:
                self.process.kill()
                raise ExportError(
                    f"The {self._work} did not end within {timeout:g} s{_stage(self.folder)} and was stopped. "
                    "Allow more time or take a smaller model."
                )
            used = _resident(self.process.pid)
            if used > limit:
                self.process.kill()
                raise ExportError(
                    f"The {self._work} took {used / 1e9:.1f} GB of memory{_stage(self.folder)}, which is more than the "
                    f"{limit / 1e9:.1f} GB it may have, and was stopped. Allow more memory or take a smaller model."
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
    """The parent's environment with what a child needs; TF-MOT's switch to Keras 2 must not reach it."""
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
