"""WAV files to waveforms: whole files only, any rate, mono or mixed down to it.

The standard library's reader takes no floating point, and SciPy's is not on a device that only runs a `.tflite`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kzoo.errors import DataError

from .medium import UnreadableFileError
from .sound import SoundFrontEnd, Values, extract_features, fit_length

SUFFIXES = frozenset({".wav", ".wave"})

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_OTHER_CODINGS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 85: "MP3"}
# What a program writes that does not know yet how long a recording will be.
_UNKNOWN_SIZE = 0xFFFFFFFF


class UnreadableSoundError(UnreadableFileError):
    """A recording that cannot be decoded; the message is the reason alone."""


@dataclass(frozen=True, slots=True)
class SoundFacts:
    """What a dataset needs to know of a recording: samples a second, and how many samples."""

    rate: int
    samples: int

    @property
    def seconds(self) -> float:
        """The recording's length."""
        return self.samples / self.rate


@dataclass(frozen=True, slots=True)
class _Format:
    coding: int
    channels: int
    rate: int
    bytes: int  # of one sample of one channel


def inspect_sound(content: bytes) -> SoundFacts:
    """Decode a recording once, to see that it is whole.

    Raises:
        UnreadableSoundError: As `decode_sound`.
    """
    rate, waveform = decode_sound(content)
    return SoundFacts(rate, len(waveform))


def decode_sound(content: bytes) -> tuple[int, Values]:
    """Turn the content of a WAV file (8, 16, 24 or 32 bits, or floating point) into a waveform.

    Returns:
        Samples a second, and the mean of the channels: `(samples,)` float32, full scale being -1 to 1.

    Raises:
        UnreadableSoundError: For a damaged, truncated or empty file, another coding, values that are no numbers.
    """
    if not content:
        raise UnreadableSoundError("an empty file")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise UnreadableSoundError("not a WAV file, or damaged at its beginning")
    described: _Format | None = None
    for name, body, whole in _chunks(content):
        if name == b"fmt ":
            described = _read_format(body)
        elif name == b"data":
            if described is None:
                raise UnreadableSoundError("a WAV file whose samples come before their format")
            if not whole:
                raise UnreadableSoundError("a truncated file")
            return described.rate, _waveform(body, described)
    raise UnreadableSoundError("a WAV file without samples, or truncated")


def read_waveform(path: Path, front_end: SoundFrontEnd) -> Values:
    """Read a recording as the front end begins with it.

    Returns:
        `(samples,)` float32, at the front end's rate and length.

    Raises:
        DataError: A file that cannot be read, named.
    """
    try:
        rate, waveform = decode_sound(path.read_bytes())
    except UnreadableSoundError as error:
        raise DataError(f"Expected a WAV file. Received: {path}, {error}.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    if rate != front_end.sample_rate:
        waveform = _resample(path, waveform, rate, front_end.sample_rate)
    return fit_length(waveform, front_end)


def read_sound(path: Path, front_end: SoundFrontEnd) -> Values:
    """Read a recording as a model hears it, `(frames, bins)` float32.

    Raises:
        DataError: As `read_waveform`.
    """
    return extract_features(read_waveform(path, front_end), front_end)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Give name and body of each chunk, and whether the body has the length that it says."""
    place = 12
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        body = content[place + 8 : place + 8 + size]
        yield name, body, len(body) == size or size == _UNKNOWN_SIZE
        place += 8 + size + size % 2


def _read_format(body: bytes) -> _Format:
    if len(body) < 16:
        raise UnreadableSoundError("a WAV file with a damaged format")
    coding, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if coding == _EXTENSIBLE and len(body) >= 26:
        # The first two bytes of the GUID that names the coding.
        (coding,) = struct.unpack_from("<H", body, 24)
    sizes = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}.get(coding)
    if sizes is None:
        raise UnreadableSoundError(
            f"a WAV file in {_OTHER_CODINGS.get(coding, f'coding {coding}')}; PCM and floating point can be read"
        )
    if bits not in sizes or channels < 1 or rate < 1:
        raise UnreadableSoundError(f"a WAV file of {bits} bits, {channels} channels and {rate} Hz")
    return _Format(coding, channels, rate, bits // 8)


def _waveform(body: bytes, described: _Format) -> Values:
    step = described.bytes * described.channels
    body = body[: len(body) // step * step]
    if not body:
        raise UnreadableSoundError("a WAV file without samples")
    if described.coding == _FLOAT:
        values = np.frombuffer(body, f"<f{described.bytes}").astype(np.float64)
        if not np.isfinite(values).all():
            raise UnreadableSoundError("a WAV file with NaN or infinity")
    else:
        values = _integers(body, described.bytes) / float(1 << (8 * described.bytes - 1))
    return np.asarray(values.reshape(-1, described.channels).mean(axis=1), np.float32)


def _integers(body: bytes, size: int) -> Values:
    if size == 1:
        # The only unsigned ones.
        return np.frombuffer(body, np.uint8).astype(np.int32) - 128
    if size == 3:
        padded = np.zeros((len(body) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
        return padded.view("<i4")[:, 0] >> 8
    return np.frombuffer(body, f"<i{size}")


def _resample(path: Path, waveform: Values, rate: int, wanted: int) -> Values:
    try:
        # Takes half a second to import.
        from scipy.signal import resample_poly
    except ModuleNotFoundError as error:
        raise DataError(
            f"Expected a recording of {wanted:,} samples a second, as the model takes it. "
            f"Received: {path} of {rate:,}. Install scipy, which converts it, or convert the file."
        ) from error
    shared = math.gcd(rate, wanted)
    return np.asarray(resample_poly(waveform, wanted // shared, rate // shared), np.float32)
