"""Random changes of recordings: in time and by noise before the front end, by masks after it (SpecAugment)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.data import SoundFrontEnd
from kzoo.data.sound import FLOOR, cosine_transform, hann, mel_weights

KEY = "sounds"
Batch = dict[str, Any]


class TimeShift(keras.layers.Layer):
    """Shift each waveform `(batch, samples)` by its own random number of samples; silence moves in.

    Args:
        samples: By how many at most, to either side.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.generator = keras.random.SeedGenerator(0)

    def call(self, batch: Batch) -> Batch:
        waveforms = batch[KEY]
        count, length = ops.shape(waveforms)[0], waveforms.shape[1]
        drawn = keras.random.uniform((count, 1), seed=self.generator)
        begins = ops.cast(ops.floor(drawn * (2 * self.samples + 1)), "int32")
        padded = ops.pad(waveforms, [[0, 0], [self.samples, self.samples]])
        return {**batch, KEY: ops.take_along_axis(padded, begins + ops.arange(length)[None], axis=1)}


class WhiteNoise(keras.layers.Layer):
    """Add noise to each waveform `(batch, samples)`.

    Args:
        strength: Of the noise to the waveform at most, both as root mean squares; uniformly drawn from 0 on.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.generator = keras.random.SeedGenerator(0)

    def call(self, batch: Batch) -> Batch:
        waveforms = batch[KEY]
        level = ops.sqrt(ops.mean(ops.square(waveforms), axis=1, keepdims=True))
        drawn = keras.random.uniform((ops.shape(waveforms)[0], 1), 0.0, self.strength, seed=self.generator)
        noise = keras.random.normal(ops.shape(waveforms), seed=self.generator)
        return {**batch, KEY: waveforms + noise * level * drawn}


class FrontEnd(keras.layers.Layer):
    """The front end of `kzoo.data.sound` in Keras's operators, float32: `(batch, samples)` to `(batch, frames, bins)`.

    Args:
        front_end: What to compute.
    """

    def __init__(self, front_end: SoundFrontEnd) -> None:
        super().__init__()
        self.front_end = front_end

    def call(self, batch: Batch) -> Batch:
        chosen = self.front_end
        begins = np.arange(chosen.shape[0])[:, np.newaxis] * chosen.hop
        frames = ops.take(batch[KEY], (begins + np.arange(chosen.window)).astype("int32"), axis=1)
        real, imaginary = ops.rfft(frames * hann(chosen.window).astype("float32"), chosen.fft)
        power = ops.square(real) + ops.square(imaginary)
        features = ops.log(ops.matmul(power, mel_weights(chosen).astype("float32")) + FLOOR)
        if chosen.kind == "mfcc":
            features = ops.matmul(features, cosine_transform(chosen.mels, chosen.coefficients).astype("float32"))
        return {**batch, KEY: features}


class SpecAugment(keras.layers.Layer):
    """Mask stretches of frames and of bins of each sample `(batch, frames, bins)` by the sample's mean.

    Park et al. 2019, arXiv 1904.08779, without the warp in time, which the paper finds to add least.

    Args:
        time_masks: How many stretches of frames.
        time_width: Of the widest, as a share of all frames.
        frequency_masks: How many stretches of bins.
        frequency_width: Of the widest, as a share of all bins.
    """

    def __init__(self, time_masks: int, time_width: float, frequency_masks: int, frequency_width: float) -> None:
        super().__init__()
        self.masks = ((time_masks, time_width), (frequency_masks, frequency_width))
        self.generator = keras.random.SeedGenerator(0)

    def call(self, batch: Batch) -> Batch:
        features = batch[KEY]
        count = ops.shape(features)[0]
        frames, bins = features.shape[1:]
        mean = ops.mean(features, axis=(1, 2), keepdims=True)
        hidden_frames = self._hidden(count, frames, *self.masks[0])[:, :, None]
        hidden_bins = self._hidden(count, bins, *self.masks[1])[:, None, :]
        return {**batch, KEY: ops.where(ops.logical_or(hidden_frames, hidden_bins), mean, features)}

    def _hidden(self, count: Any, size: int, masks: int, width: float) -> Any:
        """Say which places are masked, `(batch, size)`."""
        drawn = keras.random.uniform((2, count, masks, 1), seed=self.generator)
        widths = ops.floor(drawn[0] * (round(width * size) + 1))
        begins = ops.floor(drawn[1] * (size - widths + 1))
        places = ops.arange(size, dtype="float32")
        return ops.any(ops.logical_and(places >= begins, places < begins + widths), axis=1)
