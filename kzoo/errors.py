"""The one family of errors that a user can cause.

A leaf: any room of the house may import it, it imports nothing but the standard library.
Every message says what was expected, what was received and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class KzooError(Exception):
    """Something a user can put right. The command line shows it as one line, without a traceback."""

    exit_status = 1


class UsageError(KzooError):
    """The call itself is wrong: an unknown name, an impossible combination of options."""

    exit_status = 2


class RecipeError(UsageError):
    """A recipe that does not fit the schema."""


class DataError(KzooError):
    """A dataset that cannot be used as it is."""


class RunError(KzooError):
    """A run directory that is missing, in the way, incomplete or not kzoo's."""


class WeightsError(KzooError):
    """Published weights that cannot be fetched, or are not what their name says."""


class TrainingError(KzooError):
    """Training could not go on."""


class ExportError(KzooError):
    """A model that could not be converted, or a file that does not behave like its model."""


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> str:
    """Say which of the candidates come nearest to a mistyped name.

    Returns:
        `"Did you mean a, b?"`, or the sorted candidates where none comes near.
    """
    known = sorted(candidates)
    close = difflib.get_close_matches(name, known, n=limit, cutoff=0.5)
    if close:
        return f"Did you mean {', '.join(close)}?"
    return f"Known: {', '.join(known)}."


def some(names: Sequence[str], limit: int = 5, between: str = ", ") -> str:
    """Name the first of many for a message, and say how many more there are."""
    more = [f"and {len(names) - limit} more"] if len(names) > limit else []
    return between.join([*names[:limit], *more])
