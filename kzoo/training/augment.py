"""Random changes of training samples: images by Keras's own layers but for flips and shifts, recordings by our own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
from keras import ops

from kzoo.data import InputSpec, SoundFrontEnd
from kzoo.errors import RecipeError
from kzoo.recipes.schema import AugmentationSection

from .flip_and_shift import FlipAndShift
from .sound_augment import KEY, FrontEnd, SpecAugment, TimeShift, WhiteNoise

PIXEL_RANGE = (0, 255)


_FOR_SOUND = ("time_shift", "noise", "spec_augment")


def build_augmentation(section: AugmentationSection, spec: InputSpec) -> list[keras.layers.Layer]:
    """Make the layers of a recipe's augmentation, in the order in which they are applied.

    Args:
        section: The recipe's `augmentation`.
        spec: Input of the model; only images and recordings can be augmented.

    Raises:
        RecipeError: The augmentation does not fit the input.
    """
    chosen = section.model_dump(exclude_defaults=True)
    wrong = [name for name in chosen if spec.kind != "image" and not (spec.sound and name in _FOR_SOUND)]
    wrong += [name for name in _FOR_SOUND if name in chosen and spec.kind == "image"]
    if wrong:
        held = "sounds" if spec.sound else f"{spec.kind}s"
        raise RecipeError(f"Expected no augmentation for {held} such as {', '.join(wrong)}. Set it to its default.")
    if spec.sound is not None:
        return _for_sound(section, spec.sound)
    return _for_images(section, spec, chosen) if chosen else []


def _for_sound(section: AugmentationSection, front_end: SoundFrontEnd) -> list[keras.layers.Layer]:
    found: list[keras.layers.Layer] = []
    if section.time_shift:
        found.append(TimeShift(round(section.time_shift * front_end.sample_rate)))
    if section.noise:
        found.append(WhiteNoise(section.noise))
    if found:
        found.append(FrontEnd(front_end))
    if section.spec_augment:
        found.append(SpecAugment(**section.spec_augment.model_dump()))
    return found


def _for_images(section: AugmentationSection, spec: InputSpec, chosen: Collection[str]) -> list[keras.layers.Layer]:
    coloured = [name for name in ("colour", "randaugment") if name in chosen]
    if coloured and spec.shape[-1] != 3:
        raise RecipeError(
            f"augmentation.{coloured[0]} expects images of 3 channels, received {spec.shape[-1]}. "
            f"Leave it out or set input.channels=3."
        )
    layers = keras.layers
    found: list[keras.layers.Layer] = []
    if section.flip or section.shift:
        found.append(FlipAndShift(section.flip, section.shift))
    if section.rotation:
        found.append(layers.RandomRotation(section.rotation / 360, fill_mode="constant"))
    if section.randaugment:
        found.append(layers.RandAugment(PIXEL_RANGE, section.randaugment.operations, section.randaugment.magnitude))
    if section.colour:
        strength = section.colour
        found.append(layers.RandomColorJitter(PIXEL_RANGE, strength, strength, strength, strength / 10))
    if section.cutout:
        # The layer takes the erased share of the image's area; the recipe speaks of the square's side.
        area = (section.cutout**2, section.cutout**2)
        always = (1.0, 1.0)
        found.append(layers.RandomErasing(always, scale=area, fill_value=0.0, value_range=PIXEL_RANGE))
    if section.mixup:
        found.append(layers.MixUp(alpha=section.mixup))
    if section.cutmix:
        found.append(layers.CutMix(factor=(section.cutmix, section.cutmix)))
    return found


class Augmenter:
    """Augmentation as a pure function of a batch and its seed, so that a resumed run sees the same samples.

    Args:
        layers: What `build_augmentation` gave.

    Attributes:
        takes_waveforms: Whether the samples are recordings before their front end.
    """

    def __init__(self, layers: list[keras.layers.Layer]) -> None:
        self.layers = layers
        self.takes_waveforms = any(isinstance(layer, FrontEnd) for layer in layers)
        # Keras's layers look for images under this key, ours for sounds under theirs.
        self._key = KEY if self.takes_waveforms or any(isinstance(layer, SpecAugment) for layer in layers) else "images"
        # The only variables of these layers are the states of their seed generators, two integers each.
        self._seed_states = [variable for layer in layers for variable in layer.variables]

    def __call__(self, samples: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        """Change a batch.

        Args:
            samples: Images `(batch, height, width, channels)`, 0–255, of which uint8 moves less memory than float32;
                or recordings `(batch, samples)`, or their features `(batch, frames, bins)`.
            labels: `(batch, classes)`, one-hot.
            seed: One number for the batch.

        Returns:
            Images or features, and labels, float32; MixUp and CutMix make labels fractional.
        """
        # The states change in this scope alone: threads do not meet in them, and a JAX program may hold all of this.
        with keras.StatelessScope():
            for index, state in enumerate(self._seed_states):
                # Generators count up in the second number, and each must draw numbers of its own.
                state.assign(ops.cast(ops.stack([seed, index * 1000]), state.dtype))
            batch = {self._key: samples, "labels": labels}
            for layer in self.layers:
                batch = layer(batch, training=True)
        return ops.cast(batch[self._key], "float32"), batch["labels"]
