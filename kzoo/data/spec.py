"""What a model takes: one sample's kind and shape, and how an image is brought to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["image", "sequence"]
Fit = Literal["crop", "pad", "stretch"]

CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class InputSpec:
    """The input of a model, as it travels in `run.json` and beside an exported file.

    A plain dataclass, so that a device that only runs a `.tflite` needs no pydantic.

    Attributes:
        kind: `"image"` (uint8 pixels 0-255) or `"sequence"` (float32 values).
        shape: `(height, width, channels)` of an image, `(steps, features)` of a sequence, without the batch axis.
        fit: How an image of another shape is brought to this one: `"crop"` scales it to cover and cuts what stands
            out, `"pad"` scales it to lie inside and fills with black, `"stretch"` changes its proportions.
            Sequences ignore it.

    Example:
        >>> InputSpec(kind="image", shape=(32, 32, 3)).fit
        'crop'
    """

    kind: Kind
    shape: tuple[int, ...]
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        # JSON knows lists only.
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.kind not in get_args(Kind) or self.fit not in get_args(Fit):
            raise ValueError(f"Expected a known kind and fit. Received: kind={self.kind!r}, fit={self.fit!r}.")
        axes = ("height", "width", "channels") if self.kind == "image" else ("steps", "features")
        if len(self.shape) != len(axes) or not all(isinstance(size, int) and size >= 1 for size in self.shape):
            raise ValueError(f"Expected ({', '.join(axes)}), all at least 1. Received: shape={self.shape}.")
        if self.kind == "image" and self.shape[2] not in CHANNELS:
            raise ValueError(f"Expected 1, 3 or 4 channels. Received: shape={self.shape}.")
