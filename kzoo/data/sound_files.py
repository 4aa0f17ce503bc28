"""WAV files as a dataset: the front end decided, its features computed when they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kzoo.errors import DataError

from .dataset import Array, Labels, Split
from .decoded_split import DecodedSplit
from .medium import LabelledFiles, Medium
from .options import Cache, Options
from .sound import SoundFrontEnd, choose_front_end
from .spec import InputSpec
from .wav import SUFFIXES, SoundFacts, inspect_sound, read_sound, read_waveform


class RecordingSplit(DecodedSplit):
    """Recordings under one folder, as what `read` makes of a file."""

    def __init__(
        self,
        root: Path,
        paths: Sequence[str],
        labels: Labels,
        cache: Cache,
        shape: tuple[int, ...],
        read: Callable[[Path], Array],
    ) -> None:
        super().__init__(labels, shape, np.float32, cache, threaded=True)
        self._root = root
        self._paths = paths
        self._read_file = read

    def _read(self, index: int) -> Array:
        return self._read_file(self._root / self._paths[index])

    def name(self, index: int) -> str:
        """See `Split.name`."""
        return str(self._root / self._paths[index])


class SoundSplit(RecordingSplit):
    """Recordings as features `(frames, bins)` float32.

    Attributes:
        waveforms: The same recordings before the front end, `(samples,)` float32, for random changes of the sound.
    """

    def __init__(
        self, root: Path, paths: Sequence[str], labels: Labels, front_end: SoundFrontEnd, cache: Cache
    ) -> None:
        super().__init__(
            root, paths, labels, cache, front_end.shape, functools.partial(read_sound, front_end=front_end)
        )
        read = functools.partial(read_waveform, front_end=front_end)
        self.waveforms = RecordingSplit(root, paths, labels, cache, (front_end.samples,), read)


class SoundFiles(Medium):
    """WAV."""

    many = "sounds"
    formats = "WAV"
    suffixes = SUFFIXES
    kind = "sequence"
    version = "sound 1"
    facts = SoundFacts

    def inspect(self, content: bytes) -> SoundFacts:
        """See `Medium.inspect`."""
        return inspect_sound(content)

    def open(
        self, root: Path, files: Mapping[str, LabelledFiles], options: Options
    ) -> tuple[InputSpec, dict[str, Split]]:
        """See `Medium.open`."""
        front_end = options.sound
        if not isinstance(front_end, SoundFrontEnd):
            facts: list[SoundFacts] = [record.facts for record in files["train"].records]
            rates, seconds = [each.rate for each in facts], [each.seconds for each in facts]
            try:
                front_end = choose_front_end(front_end, rates, seconds)
            except ValueError as error:
                raise DataError(f"The sounds in {root} and the settings under sound do not fit: {error}") from error
        splits: dict[str, Split] = {
            name: SoundSplit(root, [record.path for record in each.records], each.labels, front_end, options.cache)
            for name, each in files.items()
        }
        return InputSpec(kind="sequence", shape=front_end.shape, sound=front_end), splits
