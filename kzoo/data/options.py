"""How a dataset is to be opened, checked once for every kind of source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from kzoo.errors import UsageError

from .spec import CHANNELS, Fit, Kind

Cache = Literal["auto", "none"]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `open_dataset`, sizes as (height, width)."""

    kind: Kind
    size: Size | None
    channels: int | None
    fit: Fit
    default_size: Size | None
    seed: int
    fractions: tuple[float, float, float]
    cache: Cache

    def __post_init__(self) -> None:
        _expect_one_of("kind", self.kind, get_args(Kind))
        _expect_one_of("fit", self.fit, get_args(Fit))
        _expect_one_of("cache", self.cache, get_args(Cache))
        if self.channels is not None:
            _expect_one_of("channels", self.channels, CHANNELS)
        if self.kind == "sequence" and (self.size is not None or self.channels is not None):
            raise UsageError(
                "size and channels are for images; a sequence keeps its steps and features. "
                f"Received: size={self.size}, channels={self.channels}. Leave them out."
            )
        if not isinstance(self.seed, (int, np.integer)) or not 0 <= self.seed < 2**32:
            raise UsageError(f"Expected a whole number from 0 to 2**32 - 1. Received: seed={self.seed}.")
        fractions = self.fractions
        if len(fractions) != 3 or not all(f > 0 for f in fractions) or not math.isclose(sum(fractions), 1.0):
            raise UsageError(
                f"Expected three fractions above 0 (train, val, test) that sum to 1. Received: fractions={fractions}."
            )


def to_size(size: Any, argument: str = "size") -> Size | None:
    """Turn one number, or (height, width), into (height, width); None stays None.

    Raises:
        UsageError: For anything else.
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        height, width = pair
        if all(isinstance(side, (int, np.integer)) and not isinstance(side, bool) and side > 0 for side in pair):
            return int(height), int(width)
    raise UsageError(f"Expected one number above 0 or (height, width). Received: {argument}={size!r}.")


def _expect_one_of(argument: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"Expected one of {', '.join(map(str, allowed))}. Received: {argument}={value!r}.")
