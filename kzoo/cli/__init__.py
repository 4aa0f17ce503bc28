"""The command line. Every command imports what it needs when it is called, so that `--help` is instant."""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from kzoo.errors import KzooError

from .benchmark import benchmark
from .catalog import list_models
from .check import check
from .compress import compress
from .data import data
from .deploy import export
from .evaluate import evaluate, predict
from .info import info
from .terminal import listen_for_interrupts, printable
from .train import train


class Failure(click.ClickException):
    """An error as one line on stderr."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(printable(" ".join(message.split())))
        # click reads it from the error, declared as it is as the class's.
        self.exit_code = exit_status  # type: ignore[misc]


class Commands(click.Group):
    """Turns every error into one line and an exit status."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _in_one_line(debug=False):
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _in_one_line(debug=ctx.params.get("debug", False)):
            return super().invoke(ctx)


@contextlib.contextmanager
def _in_one_line(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        # click's lines of usage before an error are left out, but not the help for a call without arguments.
        if type(error).show is not click.UsageError.show:
            raise
        path = error.ctx.command_path if error.ctx else "kzoo"
        raise Failure(f"{error.format_message()} See `{path} --help`.", error.exit_code) from error
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt as error:
        notes = getattr(error, "__notes__", [])
        raise Failure(" ".join(["Interrupted.", *notes]), 1) from error
    except Exception as error:
        # A reader that has gone away (`kzoo list | head -1`) is click's to handle.
        if debug or (isinstance(error, OSError) and error.errno == errno.EPIPE):
            raise
        raise _failure(error) from error


def _failure(error: Exception) -> Failure:
    if isinstance(error, KzooError):
        return Failure(str(error), error.exit_status)
    if isinstance(error, ModuleNotFoundError):
        # As on a device, where only what runs a .tflite file is installed.
        return Failure(
            f"Expected the package {error.name}, which is not installed. This command needs all that kzoo "
            f"requires: install kzoo without --no-deps.",
            1,
        )
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        # HDF5 puts a paragraph where the system's own words should be.
        reason = os.strerror(error.errno) if error.errno else str(error)
        return Failure(f"{reason}{where}. What was complete before is kept.", 1)
    first = next(iter(str(error).strip().splitlines()), "")
    return Failure(f"Unexpected {type(error).__name__}: {first} Run `kzoo --debug …` for the traceback.", 1)


#: Before anything imports TensorFlow: its own log never reaches the terminal, and its convolutions are those of oneDNN,
#: which it leaves off on processors without AVX-512 VNNI (https://github.com/tensorflow/community/pull/400).
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "GLOG_minloglevel": "3",
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="kzoo")
def cli(debug: bool) -> None:
    """Keras models for phones, boards and microcontrollers: train, export, verify."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


for command in (list_models, info, train, compress, evaluate, predict, export, check, benchmark, data):
    cli.add_command(command)


def _open_what_is_closed() -> None:
    """Keep the number of a standard stream that is closed from the next file, which would get TensorFlow's log."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def main() -> None:
    """Entry point of the console script."""
    listen_for_interrupts()
    # At its end Python would look through all of TensorFlow for garbage, for a second.
    atexit.register(gc.freeze)
    _open_what_is_closed()
    if hasattr(sys.stdout, "reconfigure"):
        # Names of the user's files may hold what the terminal's encoding does not.
        sys.stdout.reconfigure(errors="backslashreplace")
    cli(prog_name="kzoo")
