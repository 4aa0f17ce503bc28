"""What factories accept: every argument a user can get wrong is checked here, once.

Messages say what was expected, what was received and what to do. Nothing here imports Keras.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import SupportsIndex


def whole_number(argument: str, value: SupportsIndex, minimum: int = 1) -> int:
    """Give `value` as an int of at least `minimum`; NumPy's integers pass, booleans and floats do not."""
    advice = f"`{argument}` must be a whole number of at least {minimum}. Received: {argument}={value!r}. Give an int."
    if isinstance(value, bool):
        raise ValueError(advice)
    try:
        number = operator.index(value)
    except TypeError as error:
        raise ValueError(advice) from error
    if number < minimum:
        raise ValueError(advice)
    return number


def dropout_rate(value: float) -> float:
    """Check that `value` is a share of units to drop."""
    if not 0.0 <= value < 1.0:
        raise ValueError(
            f"`dropout` must be at least 0 and below 1. Received: dropout={value!r}. "
            "It is the share of units dropped, not of units kept; 0 leaves the layer out."
        )
    return float(value)


def width_multiplier(value: float) -> float:
    """Check that `value` can multiply a number of channels."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"`alpha` must be a positive number. Received: alpha={value!r}. The papers use 0.25 to 1.4.")
    return float(value)


def image_shape(
    input_shape: Sequence[int | None] | None, default: tuple[int, int, int], minimum: int, fixed_by: str = ""
) -> tuple[int | None, int | None, int]:
    """Check `(height, width, channels)`; `None` stands for a height or width known only when the model is called.

    Args:
        input_shape: what the user gave, `None` for the default.
        default: the factory's own shape.
        minimum: pixels a side that the network needs; its total stride.
        fixed_by: what in the network has to know height and width, with what to do where they are not known; empty
            where nothing has.
    """
    if input_shape is None:
        return default
    shape = _shape(input_shape, "(height, width, channels)", default)
    height, width, channels = shape
    if any(side is not None and side < minimum for side in (height, width)):
        raise ValueError(
            f"The input is too small: this network needs at least {minimum}x{minimum} pixels. "
            f"Received: input_shape={tuple(input_shape)}. Resize the images to {minimum} pixels a side or more."
        )
    if channels is None:
        raise ValueError(
            f"The channels of `input_shape` must be known. Received: input_shape={tuple(input_shape)}. "
            "Give a number: 1 for grey, 3 for colour, 4 with alpha."
        )
    if fixed_by and (height is None or width is None):
        raise ValueError(
            f"Height and width of `input_shape` must be known. Received: input_shape={tuple(input_shape)}. {fixed_by}"
        )
    return height, width, channels


def fixed_image_shape(
    input_shape: Sequence[int | None] | None, default: tuple[int, int, int], minimum: int
) -> tuple[int, int, int]:
    """Check `(height, width, channels)` as `image_shape` does, for a network that is made for one size."""
    height, width, channels = image_shape(input_shape, default, minimum)
    if height is None or width is None:
        raise ValueError(
            "This network is made for images of one size: height and width must be known. "
            f"Received: input_shape={(height, width, channels)}. Give numbers, for example {default}."
        )
    return height, width, channels


def sparse_shape(shape: tuple[int | None, int | None, int], small: bool) -> None:
    """Check that XNNPACK has sparse kernels for a network of these images: they begin behind one kind of stem.

    Args:
        shape: `(height, width, channels)`.
        small: whether the stem keeps the resolution.
    """
    if small or shape[2] != 3:
        raise ValueError(
            "`sparse_inference` needs a stem of stride 2 on 3 channels, which images of more than 64 pixels a side "
            f"get. Received: sparse_inference=True, input_shape={shape}. Enlarge the images, or leave it out."
        )


def sequence_shape(
    input_shape: Sequence[int | None] | None, default: tuple[int, int], *, fixed_steps: bool
) -> tuple[int | None, int]:
    """Check `(steps, features)`; `None` stands for steps known only when the model is called.

    Args:
        input_shape: what the user gave, `None` for the default.
        default: the factory's own shape.
        fixed_steps: whether the network has weights for every step.
    """
    if input_shape is None:
        return default
    steps, features = _shape(input_shape, "(steps, features)", default)
    if features is None or (fixed_steps and steps is None):
        raise ValueError(
            f"`input_shape` must say how many {'steps and ' if fixed_steps else ''}features there are. "
            f"Received: input_shape={tuple(input_shape)}. Give numbers, for example {default}."
        )
    return steps, features


def text_shape(input_shape: Sequence[int | None] | None, default: int, *, fixed_steps: bool) -> int | None:
    """Check `(steps,)` of token ids and give the steps; `None` for steps known only when the model is called.

    Args:
        input_shape: what the user gave, `None` for the default.
        default: the factory's own number of steps.
        fixed_steps: whether the network has weights for every step.
    """
    if input_shape is None:
        return default
    (steps,) = _shape(input_shape, "(steps,)", (default,))
    if fixed_steps and steps is None:
        raise ValueError(
            f"`input_shape` must say how many steps there are. Received: input_shape={tuple(input_shape)}. "
            f"Give the length of the longest text, for example ({default},)."
        )
    return steps


def vocabulary(size: SupportsIndex) -> int:
    """Check a number of token ids: 0 is padding, so that there are two at least."""
    return whole_number("vocabulary_size", size, minimum=2)


def identity_shape(input_shape: Sequence[int | None] | None) -> tuple[int]:
    """Check the shape of a single id, `(1,)`."""
    if input_shape is not None and _shape(input_shape, "(1,), one id", (1,)) != (1,):
        raise ValueError(
            f"`input_shape` must be (1,), one id. Received: input_shape={tuple(input_shape)}. Leave it out."
        )
    return (1,)


def temperature_of(value: float) -> float:
    """Check that `value` can divide a cosine."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(
            f"`temperature` must be None or a positive number. Received: temperature={value!r}. Give 0.05, say."
        )
    return float(value)


def _shape(value: object, axes: str, default: tuple[int, ...]) -> tuple[int | None, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != len(default):
        raise ValueError(
            f"`input_shape` must be {axes}, without the batch axis. Received: input_shape={value!r}. "
            f"Give {len(default)} numbers, for example {default}."
        )
    return tuple(None if size is None else whole_number("input_shape[...]", size) for size in value)
