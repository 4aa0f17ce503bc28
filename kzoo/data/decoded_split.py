"""Splits whose samples are decoded when asked for, and kept where memory allows."""

from __future__ import annotations

import abc
import logging
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .dataset import Array, Labels, Split
from .options import Cache
from .system import fits_memory, spans, thread_pool

logger = logging.getLogger(__name__)

_FILL = 1024  # samples between two log lines while a whole split is read


class DecodedSplit(Split):
    """Samples decoded one by one, by threads where they are large enough.

    With `cache="auto"` the decoded samples stay in memory when those of the whole split take at most a quarter of
    what is free at the first `load`, so that a second epoch decodes nothing; with `"none"` memory stays flat.

    Args:
        labels: See `Split`.
        shape: Of a decoded sample.
        dtype: Likewise.
        cache: Whether decoded samples may be kept.
        threaded: Whether one takes so long that threads pay.
    """

    def __init__(
        self, labels: Labels, shape: tuple[int, ...], dtype: type[np.generic], cache: Cache, *, threaded: bool
    ) -> None:
        self.labels = labels
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._kept: _Kept | None = None
        self._undecided = cache == "auto"
        self._deciding = threading.Lock()
        self._threaded = threaded

    @abc.abstractmethod
    def _read(self, index: int) -> Array:
        """Decode one sample."""

    def load(self, indices: ArrayLike) -> Array:
        """See `Split.load`."""
        wanted = np.asarray(indices, np.int64)
        kept = self._keep()
        if kept is None:
            return self._decode(wanted)
        self._fill(kept, wanted)
        return kept.samples[wanted]

    def whole(self) -> Array | None:
        """See `Split.whole`; with `cache="none"` always None."""
        kept = self._keep()
        if kept is None:
            return None
        for start in range(0, len(self), _FILL):
            end = min(start + _FILL, len(self))
            if self._fill(kept, np.arange(start, end)):
                logger.info("decoded %d of %d samples", end, len(self))
        return kept.samples

    def _fill(self, kept: _Kept, wanted: NDArray[np.int64]) -> bool:
        """Decode what is not kept yet; say whether there was any."""
        new = wanted[~kept.filled[wanted]]
        if len(new):
            kept.samples[new] = self._decode(new)
            kept.filled[new] = True
        return len(new) > 0

    def _decode(self, indices: NDArray[np.int64]) -> Array:
        samples: Array = np.empty((len(indices), *self._shape), self._dtype)

        def decode(places: range) -> None:
            for place in places:
                samples[place] = self._read(int(indices[place]))

        # Some samples a part: for small images the hand-over to a thread costs as much as the decoding.
        list((thread_pool().map if self._threaded else map)(decode, spans(len(indices))))
        return samples

    def _keep(self) -> _Kept | None:
        with self._deciding:
            if self._undecided:
                self._undecided = False
                size = len(self) * math.prod(self._shape) * self._dtype.itemsize
                if fits_memory(size):
                    self._kept = _Kept(len(self), self._shape, self._dtype)
                else:
                    logger.info("%.1f GB of samples do not fit into memory: decoded anew each epoch", size / 1e9)
        return self._kept


class _Kept:
    """Samples of a whole split, and which of them are there already."""

    def __init__(self, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        # The system hands out the pages when they are first written.
        self.samples: Array = np.empty((count, *shape), dtype)
        self.filled = np.zeros(count, np.bool_)
