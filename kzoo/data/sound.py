"""The front end for sound: a waveform becomes a spectrogram on the mel scale, or its cepstrum (MFCC).

NumPy alone, in a form that any device can compute. Version 1, for a mono waveform from -1 to 1:

1. Cut at the end, or filled with zeros there, to `seconds`.
2. Frames of `window_ms` every `hop_ms`; the last one ends within the waveform. Each is multiplied by a periodic Hann
   window and filled with zeros to the next power of two, for a Fourier transform.
3. Power of each frequency, weighted by `mels` triangles, equally wide on HTK's mel scale 2595 log10(1 + f / 700)
   between `low_hz` and `high_hz`, each with the peak 1 (the weights of `tf.signal.linear_to_mel_weight_matrix`).
4. The natural logarithm of that plus 1e-6: `"log_mel"`.
5. For `"mfcc"`, the first `coefficients` of each frame's orthonormal cosine transform, type II (Davis and Mermelstein
   1980, https://doi.org/10.1109/TASSP.1980.1163420).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Features = Literal["log_mel", "mfcc"]

VERSION = 1
FLOOR = 1e-6
# The rate of speech recognition, for recordings of several rates.
COMMON_RATE = 16_000
# Share of the training recordings that fit wholly into a window that is chosen by their lengths.
COVERED = 0.95
# A longer window has to be asked for: recurrent models over more frames are slow to train.
LONGEST_CHOSEN = 10.0


@dataclass(frozen=True)
class SoundFrontEnd:
    """How a recording becomes a sequence of frames; see the module for each step.

    Attributes:
        sample_rate: Samples a second that recordings are brought to.
        seconds: What a model hears at once.
        kind: `"log_mel"` or `"mfcc"`.
        window_ms: Length of a frame, milliseconds.
        hop_ms: From one frame's beginning to the next.
        mels: Triangular filters.
        coefficients: Of an MFCC; ignored by `"log_mel"`.
        low_hz: Lower edge of the lowest filter.
        high_hz: Upper edge of the highest filter; None: half the sample rate.
        version: Of the computation.

    Raises:
        ValueError: Values out of range, or filters so narrow that one holds no frequency of the transform.
    """

    sample_rate: int
    seconds: float
    kind: Features = "log_mel"
    window_ms: float = 32.0
    hop_ms: float = 16.0
    mels: int = 40
    coefficients: int = 13
    low_hz: float = 20.0
    high_hz: float | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"Expected a sound front end of version {VERSION}. Received: version={self.version}.")
        if self.kind not in get_args(Features):
            raise ValueError(f"Expected one of {', '.join(get_args(Features))}. Received: kind={self.kind!r}.")
        if self.high_hz is None:
            object.__setattr__(self, "high_hz", self.sample_rate / 2)
        for name in ("sample_rate", "seconds", "window_ms", "hop_ms", "mels", "coefficients"):
            value = getattr(self, name)
            if not value > 0 or not math.isfinite(value):
                raise ValueError(f"Expected a number above 0. Received: {name}={value}.")
        if not 1 <= self.window <= self.samples or self.hop < 1:
            raise ValueError(
                f"Expected frames within the {self.seconds:g} seconds of a window. Received: "
                f"window_ms={self.window_ms:g}, hop_ms={self.hop_ms:g}."
            )
        if not 0 <= self.low_hz < self._high <= self.sample_rate / 2:
            raise ValueError(
                f"Expected frequencies from 0 to {self.sample_rate / 2:g} Hz, half the sample rate. "
                f"Received: low_hz={self.low_hz:g}, high_hz={self.high_hz}."
            )
        if self.kind == "mfcc" and self.coefficients > self.mels:
            raise ValueError(
                f"Expected at most as many coefficients as mels. Received: coefficients={self.coefficients}, "
                f"mels={self.mels}."
            )
        if not mel_weights(self).any(axis=0).all():
            raise ValueError(
                f"Expected filters that each hold a frequency of the transform, every "
                f"{self.sample_rate / self.fft:.0f} Hz. Received: mels={self.mels}, which are too narrow. "
                f"Take fewer mels or a longer window_ms."
            )

    @property
    def _high(self) -> float:
        return self.sample_rate / 2 if self.high_hz is None else self.high_hz

    @property
    def samples(self) -> int:
        """Samples of the waveform a model hears."""
        return round(self.seconds * self.sample_rate)

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return round(self.window_ms * self.sample_rate / 1000)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.hop_ms * self.sample_rate / 1000)

    @property
    def fft(self) -> int:
        """Points of the Fourier transform."""
        return 1 << (self.window - 1).bit_length()

    @property
    def shape(self) -> tuple[int, int]:
        """`(frames, bins)` of what a model is given."""
        return 1 + (self.samples - self.window) // self.hop, self.coefficients if self.kind == "mfcc" else self.mels


@dataclass(frozen=True)
class SoundSettings:
    """What is wished of a front end; None leaves it to the recordings, or to the default of `SoundFrontEnd`."""

    sample_rate: int | None = None
    seconds: float | None = None
    kind: Features | None = None
    window_ms: float | None = None
    hop_ms: float | None = None
    mels: int | None = None
    coefficients: int | None = None
    low_hz: float | None = None
    high_hz: float | None = None


def choose_front_end(settings: SoundSettings, rates: Sequence[int], durations: Sequence[float]) -> SoundFrontEnd:
    """Complete what was not wished by what the training recordings are.

    The sample rate is theirs if they share one, else 16 kHz. The window holds 95 of 100 wholly, to the next tenth of a
    second, up to ten seconds.

    Args:
        settings: What was wished.
        rates: Sample rates of the training recordings.
        durations: Their lengths, seconds.

    Raises:
        ValueError: As `SoundFrontEnd`.
    """
    wished = {name: value for name, value in vars(settings).items() if value is not None}
    rate = wished.pop("sample_rate", rates[0] if len(set(rates)) == 1 else COMMON_RATE)
    long_enough = math.ceil(round(float(np.quantile(durations, COVERED)) * 10, 6)) / 10
    seconds = wished.pop("seconds", min(long_enough, LONGEST_CHOSEN))
    return SoundFrontEnd(sample_rate=rate, seconds=seconds, **wished)


def fit_length(waveform: Values, front_end: SoundFrontEnd) -> Values:
    """Cut a waveform `(samples,)` at its end, or fill it with zeros there, to `front_end.samples`."""
    kept = waveform[: front_end.samples]
    return np.pad(kept, (0, front_end.samples - len(kept)))


def extract_features(waveform: Values, front_end: SoundFrontEnd) -> Values:
    """Compute what a model hears.

    Args:
        waveform: `(samples,)` or `(batch, samples)`, -1 to 1, at the front end's rate and length.
        front_end: How.

    Returns:
        `(frames, bins)` or `(batch, frames, bins)` float32.
    """
    # In double precision throughout: the same features from every version of NumPy.
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(waveform, np.float64), front_end.window, axis=-1)
    spectrum = np.fft.rfft(frames[..., :: front_end.hop, :] * hann(front_end.window), front_end.fft)
    features = np.log((spectrum.real**2 + spectrum.imag**2) @ mel_weights(front_end) + FLOOR)
    if front_end.kind == "mfcc":
        features = features @ cosine_transform(front_end.mels, front_end.coefficients)
    return np.asarray(features, np.float32)


def hann(window: int) -> Values:
    """The periodic Hann window, `(window,)`."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))


@functools.lru_cache(maxsize=16)
def mel_weights(front_end: SoundFrontEnd) -> Values:
    """How much each frequency of the transform counts in each filter, `(fft / 2 + 1, mels)`."""
    edges = np.linspace(_mel(front_end.low_hz), _mel(front_end._high), front_end.mels + 2)
    frequencies = _mel(np.arange(front_end.fft // 2 + 1) * front_end.sample_rate / front_end.fft)[:, np.newaxis]
    rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


@functools.lru_cache(maxsize=16)
def cosine_transform(mels: int, coefficients: int) -> Values:
    """The orthonormal cosine transform of type II as a matrix, `(mels, coefficients)`."""
    places, orders = np.arange(mels)[:, np.newaxis], np.arange(coefficients)
    matrix = np.sqrt(2 / mels) * np.cos(np.pi * orders * (2 * places + 1) / (2 * mels))
    matrix[:, 0] /= np.sqrt(2)
    return np.asarray(matrix)


def _mel(frequency: Any) -> Any:
    return 2595 * np.log10(1 + np.asarray(frequency) / 700)
