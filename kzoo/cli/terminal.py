"""What goes to the terminal: results to stdout, progress to stderr, nothing of TensorFlow's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

STATUS_SECONDS = 0.2
AGAIN_SECONDS = 0.05


def show_json(content: Any) -> None:
    """One JSON document on stdout, in UTF-8."""
    # File names may hold bytes that are no text: JSON escapes them just as backslashreplace does.
    click.echo(json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8", errors="backslashreplace"))


def printable(text: str) -> str:
    """Text out of the user's files with control characters escaped, so that it neither breaks lines nor colours."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A table on stdout, as wide as it needs when stdout is no terminal.

    Args:
        columns: Titles.
        rows: Cells.
        right: Titles of the columns whose cells are numbers.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        # Text, not markup: names come from the user's files.
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(200, console.width))
    console.print(table)


def show_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns on stdout."""
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {printable(value)}")


def say(text: str) -> None:
    """A line of progress on stderr."""
    click.echo(text, err=True)


def listen_for_interrupts() -> None:
    """Make SIGTERM, which batch systems send before they kill, as much as Ctrl-C, and let neither get lost.

    Python only prints what is raised in a callback of the garbage collector, such as JAX's: an interrupt that comes
    there comes again.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = again


class TerminalReporter:
    """Training's lines on stderr; a passing status only where stderr is a terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown = 0.0
        self._status = False

    def line(self, text: str) -> None:
        self._clear()
        say(text)

    def status(self, text: str) -> None:
        self._clear()
        click.echo(text, err=True, nl=False)
        self._status = True
        self._shown = time.monotonic()

    def wants_status(self) -> bool:
        return self._live and time.monotonic() - self._shown >= STATUS_SECONDS

    def _clear(self) -> None:
        if self._status:
            click.echo("\r\x1b[2K", err=True, nl=False)
            self._status = False


def load_keras() -> None:
    """Import Keras and its backend with their greetings on stderr swallowed.

    TensorFlow writes some lines before its log level applies, straight to the file descriptor. An import that fails
    shows all that was written.
    """
    from kzoo.lean_imports import lean_imports

    with _swallowed_stderr(), lean_imports():
        import keras

        keras.backend.backend()


@contextlib.contextmanager
def _swallowed_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except Exception:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
