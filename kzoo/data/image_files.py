"""Image files as a dataset: their size decided, their pixels decoded when they are asked for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL

from kzoo.errors import DataError

from .dataset import Labels, Split
from .decoded_split import DecodedSplit
from .images import SUFFIXES, ImageFacts, Pixels, fit_pixels, inspect_image, read_image
from .medium import FileRecord, LabelledFiles, Medium
from .options import Cache, Options
from .spec import InputSpec

# Pixels of an image up to which a second thread costs more time than it brings: most of so short a decoding is Python,
# which one thread runs at a time. Measured with JPEGs on two cores: of 32x32 75 µs by one thread and 100 by two, of
# 64x64 96 and 98, of 160x160 216 and 122.
_SMALL = 64 * 64


class ImageSplit(DecodedSplit):
    """Images that are decoded to pixels.

    Args:
        labels: See `Split`.
        spec: What an image is brought to.
        cache: Whether decoded pixels may be kept.
        stored: Pixels that an image has before, as most have them.
    """

    def __init__(self, labels: Labels, spec: InputSpec, cache: Cache, stored: int) -> None:
        threaded = max(stored, math.prod(spec.shape[:2])) > _SMALL
        super().__init__(labels, spec.shape, np.uint8, cache, threaded=threaded)
        self.spec = spec


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


class ResizedSplit(ImageSplit):
    """Images of another split, brought to another size or number of channels."""

    def __init__(self, split: Split, stored: InputSpec, spec: InputSpec, cache: Cache) -> None:
        super().__init__(split.labels, spec, cache, math.prod(stored.shape[:2]))
        self._split = split

    def _read(self, index: int) -> Pixels:
        return fit_pixels(self._split.load([index])[0], self.spec)

    def name(self, index: int) -> str:
        """See `Split.name`."""
        return self._split.name(index)


class ImageFiles(Medium):
    """JPEG, PNG, BMP and WebP."""

    many = "images"
    formats = "JPEG, PNG, BMP or WebP"
    suffixes = SUFFIXES
    kind = "image"
    version = f"image 2 with Pillow {PIL.__version__}"
    facts = ImageFacts

    def inspect(self, content: bytes) -> ImageFacts:
        """See `Medium.inspect`."""
        return inspect_image(content)

    def open(
        self, root: Path, files: Mapping[str, LabelledFiles], options: Options
    ) -> tuple[InputSpec, dict[str, Split]]:
        """See `Medium.open`."""
        records = [record for each in files.values() for record in each.records]
        spec = _choose_spec(root, records, options)
        stored = round(statistics.median(record.facts.height * record.facts.width for record in records))
        splits: dict[str, Split] = {
            name: FileSplit(root, [record.path for record in each.records], each.labels, spec, options.cache, stored)
            for name, each in files.items()
        }
        return spec, splits


def _choose_spec(root: Path, records: Iterable[FileRecord], options: Options) -> InputSpec:
    facts: list[ImageFacts] = [record.facts for record in records]
    sizes = {(each.height, each.width) for each in facts}
    channels = options.channels or (1 if all(each.grey for each in facts) else 3)
    largest = options.default_size
    shared = next(iter(sizes)) if len(sizes) == 1 else None
    if shared and largest and (shared[0] > largest[0] or shared[1] > largest[1]):
        shared = None
    size = options.size or shared or largest
    if size is None:
        raise DataError(f"Expected a size for the images in {root}, which have {len(sizes)}. Say size=(height, width).")
    return InputSpec(kind="image", shape=(*size, channels), fit=options.fit)
