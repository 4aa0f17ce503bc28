"""LeNet-5: LeCun et al. 1998, https://doi.org/10.1109/5.726791.

The form with 61,706 parameters that is usual today: every filter of the second convolution sees all maps (the paper's
see some of them, table 1), average pooling has no weights, and a softmax stands in place of the distances to drawn
digits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
from keras import layers

from ._arguments import image_shape
from ._blocks import ConvStyle, activate, conv_act
from ._ends import Head, open_image
from ._variants import variant

_FIELD = 32
"""Pixels a side that the last convolution needs to see all of the image at once."""
_FILTERS = (6, 16)
_LAST_FILTERS = 120
_HIDDEN_UNITS = 84
_STYLE = ConvStyle(use_bias=True, padded=False)


def _lenet(
    field: int,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    name: str = "lenet",
    *,
    dropout: float = 0.0,
    activation: str = "tanh",
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Convolutions of 6, 16 and 120 filters of 5x5, the first two with average pooling, and 84 hidden units. Default
    input `(32, 32, 1)`, 10 classes.

    Smaller images, of at least 8x8, are framed with zeros to 32x32 first, as the paper does with its digits of 28x28.
    Of larger ones the last convolution gives several vectors of 120, and the hidden layer sees their average.

    Args:
        {image arguments}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import lenet5
        >>> lenet5().count_params()
        61706
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    shape = image_shape(input_shape, default=(field, field, 1), minimum=8)
    inputs, x = open_image(shape, pixel_scaling)
    missing = [0 if side is None else max(0, field - side) for side in shape[:2]]
    if any(missing):
        frame = [(each // 2, each - each // 2) for each in missing]
        x = layers.ZeroPadding2D(frame, name="frame")(x)
    for number, filters in enumerate(_FILTERS, start=1):
        x = conv_act(x, filters, 5, 1, _STYLE, activation, name=f"block{number}")
        x = layers.AveragePooling2D(2, name=f"block{number}_pool")(x)
    x = head.pool(conv_act(x, _LAST_FILTERS, 5, 1, _STYLE, activation, name="block3"))
    if include_top:
        x = activate(layers.Dense(_HIDDEN_UNITS, name="hidden")(x), activation, "hidden_act")
    return head.build(inputs, x)


lenet5 = variant(_lenet, _FIELD, "lenet5", "Build LeNet-5, 61,706 parameters.")
