"""Splits whose images are made when asked for, and kept where memory allows."""

from __future__ import annotations

import abc
import logging
import math
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dataset import Labels, Split
from .images import Pixels, read_image
from .options import Cache
from .spec import InputSpec
from .system import fits_memory, spans, thread_pool

logger = logging.getLogger(__name__)

# Pixels of an image up to which a second thread costs more time than it brings: most of so short a decoding is Python,
# which one thread runs at a time. Measured with JPEGs on two cores: of 32x32 75 µs by one thread and 100 by two, of
# 64x64 96 and 98, of 160x160 216 and 122.
_SMALL = 64 * 64
_FILL = 1024  # images between two log lines while a whole split is read


class ImageSplit(Split):
    """Images decoded one by one, by threads where they are large enough.

    With `cache="auto"` the decoded pixels stay in memory when those of the whole split take at most a quarter of
    what is free at the first `load`, so that a second epoch decodes nothing; with `"none"` memory stays flat.

    Args:
        labels: See `Split`.
        spec: What an image is brought to.
        cache: Whether decoded pixels may be kept.
        stored: Pixels that an image has before, as most have them.
    """

    def __init__(self, labels: Labels, spec: InputSpec, cache: Cache, stored: int) -> None:
        self.labels = labels
        self.spec = spec
        self._kept: _Kept | None = None
        self._undecided = cache == "auto"
        self._deciding = threading.Lock()
        self._threaded = max(stored, math.prod(spec.shape[:2])) > _SMALL

    @abc.abstractmethod
    def _read(self, index: int) -> Pixels:
        """Decode one image to `(height, width, channels)`."""

    def load(self, indices: ArrayLike) -> Pixels:
        """See `Split.load`."""
        wanted = np.asarray(indices, np.int64)
        kept = self._keep()
        if kept is None:
            return self._decode(wanted)
        self._fill(kept, wanted)
        return kept.pixels[wanted]

    def whole(self) -> Pixels | None:
        """See `Split.whole`; with `cache="none"` always None."""
        kept = self._keep()
        if kept is None:
            return None
        for start in range(0, len(self), _FILL):
            end = min(start + _FILL, len(self))
            if self._fill(kept, np.arange(start, end)):
                logger.info("decoded %d of %d images", end, len(self))
        return kept.pixels

    def _fill(self, kept: _Kept, wanted: NDArray[np.int64]) -> bool:
        """Decode what is not kept yet; say whether there was any."""
        new = wanted[~kept.filled[wanted]]
        if len(new):
            kept.pixels[new] = self._decode(new)
            kept.filled[new] = True
        return len(new) > 0

    def _decode(self, indices: NDArray[np.int64]) -> Pixels:
        pixels = np.empty((len(indices), *self.spec.shape), np.uint8)

        def decode(places: range) -> None:
            for place in places:
                pixels[place] = self._read(int(indices[place]))

        # Some images a part: for small ones the hand-over to a thread costs as much as the decoding.
        list((thread_pool().map if self._threaded else map)(decode, spans(len(indices))))
        return pixels

    def _keep(self) -> _Kept | None:
        with self._deciding:
            if self._undecided:
                self._undecided = False
                size = len(self) * math.prod(self.spec.shape)
                if fits_memory(size):
                    self._kept = _Kept(len(self), self.spec)
                else:
                    logger.info("%.1f GB of pixels do not fit into memory: decoded anew each epoch", size / 1e9)
        return self._kept


class _Kept:
    """Pixels of a whole split, and which of them are there already."""

    def __init__(self, samples: int, spec: InputSpec) -> None:
        # The system hands out the pages when they are first written.
        self.pixels = np.empty((samples, *spec.shape), np.uint8)
        self.filled = np.zeros(samples, np.bool_)


class FileSplit(ImageSplit):
    """Image files under one folder."""

    def __init__(
        self, root: Path, paths: Sequence[str], labels: Labels, spec: InputSpec, cache: Cache, stored: int
    ) -> None:
        super().__init__(labels, spec, cache, stored)
        self._root = root
        self._paths = paths

    def _read(self, index: int) -> Pixels:
        return read_image(self._root / self._paths[index], self.spec)

    def name(self, index: int) -> str:
        """See `Split.name`."""
        return str(self._root / self._paths[index])
