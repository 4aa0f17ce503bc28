"""What a model takes: one sample's kind and shape, and how a file is brought to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .interaction import InteractionFrontEnd
from .sound import SoundFrontEnd
from .text import TextFrontEnd

Kind = Literal["image", "sequence", "text", "interaction"]
Fit = Literal["crop", "pad", "stretch"]

KINDS: tuple[Kind, ...] = get_args(Kind)
CHANNELS = (1, 3, 4)

_AXES: Mapping[Kind, tuple[str, ...]] = {
    "image": ("height", "width", "channels"),
    "sequence": ("steps", "features"),
    "text": ("length",),
    "interaction": ("user and item",),
}


@dataclass(frozen=True)
class InputSpec:
    """The input of a model, as it travels in `run.json` and beside an exported file.

    A plain dataclass, so that a device that only runs a `.tflite` needs no pydantic.

    Attributes:
        kind: `"image"` (uint8 pixels 0-255), `"sequence"` (float32 values), `"text"` (int32 places in a vocabulary) or
            `"interaction"` (int32 ids of a user and of the item that was taken).
        shape: `(height, width, channels)` of an image, `(steps, features)` of a sequence, `(length,)` of a text,
            `(2,)` of an interaction, without the batch axis.
        fit: How an image of another shape is brought to this one: `"crop"` scales it to cover and cuts what stands
            out, `"pad"` scales it to lie inside and fills with black, `"stretch"` changes its proportions.
            All but images ignore it.
        sound: How a recording becomes the sequence; None for sequences that are no sound.
        text: How a text becomes numbers; every `"text"` has it.
        interactions: The users and items that are known; every `"interaction"` has it.

    Example:
        >>> InputSpec(kind="image", shape=(32, 32, 3)).fit
        'crop'
    """

    kind: Kind
    shape: tuple[int, ...]
    fit: Fit = "crop"
    sound: SoundFrontEnd | None = None
    text: TextFrontEnd | None = None
    interactions: InteractionFrontEnd | None = None

    def __post_init__(self) -> None:
        # JSON knows lists only.
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.kind not in KINDS or self.fit not in get_args(Fit):
            raise ValueError(f"Expected a known kind and fit. Received: kind={self.kind!r}, fit={self.fit!r}.")
        axes = _AXES[self.kind]
        if len(self.shape) != len(axes) or not all(isinstance(size, int) and size >= 1 for size in self.shape):
            raise ValueError(f"Expected ({', '.join(axes)}), all at least 1. Received: shape={self.shape}.")
        if self.kind == "image" and self.shape[2] not in CHANNELS:
            raise ValueError(f"Expected 1, 3 or 4 channels. Received: shape={self.shape}.")
        self._check_front_ends()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> InputSpec:
        """Make a spec of what JSON gave.

        Raises:
            ValueError: Values that do not fit.
            TypeError: Keys that are not known, or missing.
        """
        front_ends = {"sound": SoundFrontEnd, "text": TextFrontEnd, "interactions": InteractionFrontEnd}
        made = {key: make(**content[key]) for key, make in front_ends.items() if content.get(key) is not None}
        return cls(**{**content, **made})

    def to_dict(self) -> dict[str, Any]:
        """Give what JSON can hold, without the front ends that there are not."""
        content = dataclasses.asdict(self)
        return {key: value for key, value in content.items() if value is not None}

    def _check_front_ends(self) -> None:
        wrong = (
            (self.text is not None) != (self.kind == "text"),
            (self.interactions is not None) != (self.kind == "interaction"),
            self.sound is not None and self.kind != "sequence",
        )
        if any(wrong):
            raise ValueError(
                f"Expected a front end for text with a text, one for interactions with them, one for sound with a "
                f"sequence. Received: kind={self.kind!r}."
            )
        front_end = self.sound or self.text or self.interactions
        if front_end is not None and front_end.shape != self.shape:
            raise ValueError(f"Expected the front end's shape {front_end.shape}. Received: shape={self.shape}.")


def input_type(stored: Any) -> str:
    """Name the type in which a model takes samples that are stored in a type.

    Places in a vocabulary and ids, int32, stay whole numbers; all else is float32.
    """
    return "int32" if stored == "int32" else "float32"
