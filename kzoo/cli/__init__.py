"""The command line. Every command imports what it needs when it is called, so that `--help` is instant."""

from __future__ import annotations

import os
from typing import Any

import click

from kzoo.errors import KzooError

from .catalog import info, list_models
from .data import data
from .deploy import benchmark, export
from .evaluate import evaluate, predict
from .train import train


class Failure(click.ClickException):
    """An error as one line on stderr."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_status


class Commands(click.Group):
    """Turns kzoo's errors into one line and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        debug = ctx.params.get("debug", False)
        try:
            return super().invoke(ctx)
        except KzooError as error:
            if debug:
                raise
            raise Failure(str(error), error.exit_status) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt as error:
            notes = getattr(error, "__notes__", [])
            raise Failure(" ".join(["Interrupted.", *notes]), 1) from error
        except OSError as error:
            if debug:
                raise
            where = f": {error.filename}" if error.filename else ""
            reason = error.strerror or str(error)
            raise Failure(f"{reason}{where}. What was complete before is kept.", 1) from error
        except Exception as error:
            if debug:
                raise
            first = next(iter(str(error).strip().splitlines()), "")
            raise Failure(
                f"Unexpected {type(error).__name__}: {first} Run `kzoo --debug …` for the traceback.", 1
            ) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="kzoo")
def cli(debug: bool) -> None:
    """Keras models for phones, boards and microcontrollers: train, export, verify."""
    # Before anything imports TensorFlow: its own log never reaches the terminal.
    for name, value in (("TF_CPP_MIN_LOG_LEVEL", "3"), ("GRPC_VERBOSITY", "ERROR"), ("GLOG_minloglevel", "3")):
        os.environ.setdefault(name, value)


for command in (list_models, info, train, evaluate, predict, export, benchmark, data):
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="kzoo")
