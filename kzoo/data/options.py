"""How a dataset is to be opened, checked once for every kind of source."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from kzoo.errors import DataError, UsageError

from .interaction import InteractionFrontEnd
from .sound import SoundFrontEnd, SoundSettings
from .spec import CHANNELS, KINDS, Fit, Kind
from .text import TextFrontEnd, TextSettings

Cache = Literal["auto", "none"]
ClassesFrom = Literal["folders", "file_names"]
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of `open_dataset`, sizes as (height, width).

    Attributes:
        kinds: What the model takes, in the order in which arrays are held to be one or the other.
        one_class: See `open_dataset`.
    """

    kinds: tuple[Kind, ...]
    size: Size | None
    channels: int | None
    fit: Fit
    default_size: Size | None
    seed: int
    fractions: tuple[float, float, float]
    cache: Cache
    classes_from: ClassesFrom = "folders"
    one_class: bool = False
    sound: SoundFrontEnd | SoundSettings = dataclasses.field(default_factory=SoundSettings)
    text: TextFrontEnd | TextSettings = dataclasses.field(default_factory=TextSettings)
    interactions: InteractionFrontEnd | None = None

    @property
    def array_kind(self) -> Kind:
        """What numbers without a file around them are held to be."""
        return next((kind for kind in self.kinds if kind not in ("text", "interaction")), "sequence")

    def __post_init__(self) -> None:
        for kind in self.kinds:
            _expect_one_of("kind", kind, KINDS)
        _expect_one_of("fit", self.fit, get_args(Fit))
        _expect_one_of("cache", self.cache, get_args(Cache))
        _expect_one_of("classes_from", self.classes_from, get_args(ClassesFrom))
        if self.channels is not None:
            _expect_one_of("channels", self.channels, CHANNELS)
        if "image" not in self.kinds and (self.size is not None or self.channels is not None):
            raise UsageError(
                "size and channels are for images; a sequence keeps its steps and features, a text its words. "
                f"Received: size={self.size}, channels={self.channels}. Leave them out."
            )
        if not isinstance(self.seed, (int, np.integer)) or not 0 <= self.seed < 2**32:
            raise UsageError(f"Expected a whole number from 0 to 2**32 - 1. Received: seed={self.seed}.")
        fractions = self.fractions
        if len(fractions) != 3 or not all(f > 0 for f in fractions) or not math.isclose(sum(fractions), 1.0):
            raise UsageError(
                f"Expected three fractions above 0 (train, val, test) that sum to 1. Received: fractions={fractions}."
            )


def expect_kind(options: Options, kind: Kind, many: str, source: str) -> None:
    """Make sure that a model takes what a source holds.

    Args:
        options: With the kinds that the model takes.
        kind: What the source is.
        many: What its samples are called.
        source: What the user named.

    Raises:
        DataError: It does not.
    """
    if kind not in options.kinds:
        raise DataError(
            f"Expected {' or '.join(f'{each}s' for each in options.kinds)}. Received: {source}, which holds {many}. "
            f"Models for these: kzoo list --task {'recommendation' if kind == 'interaction' else kind}."
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
