"""Where training says how it goes: the terminal for the command line, `logging` for everyone else."""

from __future__ import annotations

import logging
from typing import Protocol

logger = logging.getLogger("kzoo")


class Reporter(Protocol):
    """Takes what training has to say."""

    def line(self, text: str) -> None:
        """Something to keep."""

    def status(self, text: str) -> None:
        """Something that the next line or status replaces."""

    def wants_status(self) -> bool:
        """Whether a status would be shown now; asked before one is made."""


class LogReporter:
    """Lines become INFO records of the logger `kzoo`; there is no passing status."""

    def line(self, text: str) -> None:
        logger.info(text)

    def status(self, text: str) -> None:
        """Nothing: a log keeps everything."""

    def wants_status(self) -> bool:
        return False


def clock(seconds: float) -> str:
    """Write a duration as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
