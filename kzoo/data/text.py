"""The front end for text: words become places in a vocabulary.

Version 1: the text in lower case is cut into words (letters of any script, with an apostrophe inside), numbers and
single signs; white space is dropped. Each digit becomes 0: most numbers are read once, but a telephone number, a price
or a year is known by its length. Place 0 is padding, 1 a word that the vocabulary lacks. A text that is too long loses
its end, a shorter one is filled with 0 there.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]

VERSION = 1
PADDING, UNKNOWN = 0, 1
# Share of the training texts that fit wholly into a length that is chosen by theirs, and the longest so chosen.
COVERED = 0.95
LONGEST_CHOSEN = 128
# A word that occurs once cannot be learnt; its place is of more use to teach what a word is that nobody knows.
FEWEST = 2

_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|[^\w\s]|_")


@dataclass(frozen=True)
class TextFrontEnd:
    """How a text becomes numbers; see the module.

    Attributes:
        words: The vocabulary, most frequent first; the first has place 2.
        length: Words of a text that a model is given.
        version: Of the tokeniser.

    Raises:
        ValueError: Values out of range.
    """

    words: tuple[str, ...]
    length: int
    version: int = VERSION

    def __post_init__(self) -> None:
        # JSON knows lists only.
        object.__setattr__(self, "words", tuple(self.words))
        if self.version != VERSION:
            raise ValueError(f"Expected a text front end of version {VERSION}. Received: version={self.version}.")
        if self.length < 1 or not all(isinstance(word, str) for word in self.words):
            raise ValueError(f"Expected words and a length above 0. Received: length={self.length}.")

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words, UNKNOWN + 1)}

    @property
    def shape(self) -> tuple[int]:
        """`(length,)` of what a model is given."""
        return (self.length,)

    @property
    def vocabulary_size(self) -> int:
        """Places: those of the words, padding and unknown."""
        return len(self.words) + UNKNOWN + 1

    def encode(self, text: str) -> Ids:
        """Give the places of a text's words, `(length,)` int32."""
        places = [self._places.get(token, UNKNOWN) for token in tokenise(text)[: self.length]]
        ids = np.full(self.length, PADDING, np.int32)
        ids[: len(places)] = places
        return ids


@dataclass(frozen=True)
class TextSettings:
    """What is wished of a front end.

    Attributes:
        vocabulary_size: At most so many places, with padding and unknown.
        length: Words of a text; None: as many as 95 of 100 training texts have at most, up to 128.
    """

    vocabulary_size: int = 8000
    length: int | None = None


def tokenise(text: str) -> list[str]:
    """Cut a text into words, numbers and signs, in lower case, with 0 for every digit.

    Example:
        >>> tokenise("Don't call 0800-1234!")
        ["don't", 'call', '0000', '-', '0000', '!']
    """
    return _TOKEN.findall(_DIGIT.sub("0", text.lower()))


def build_front_end(settings: TextSettings, texts: Iterable[str]) -> TextFrontEnd:
    """Learn the vocabulary, and the length where it is not given, from training texts.

    Words that occur once are left out. Of equally frequent words the first in the alphabet comes first.

    Args:
        settings: What was wished.
        texts: Of the training split alone.
    """
    tokens = [tokenise(text) for text in texts]
    counts = Counter(token for each in tokens for token in each)
    frequent = [word for word, count in counts.items() if count >= FEWEST]
    frequent.sort(key=lambda word: (-counts[word], word))
    length = settings.length or _covering([len(each) for each in tokens])
    return TextFrontEnd(tuple(frequent[: settings.vocabulary_size - UNKNOWN - 1]), length)


def _covering(lengths: Sequence[int]) -> int:
    covering: Any = np.ceil(np.quantile(lengths, COVERED))
    return max(1, min(int(covering), LONGEST_CHOSEN))
