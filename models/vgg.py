"""Networks of plain convolutions that end in dense layers.

- VGG: Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556; with batch normalisation as in torchvision.
- AlexNet: Krizhevsky 2014, https://arxiv.org/abs/1404.5997, the network of Krizhevsky et al. 2012 in one tower and
  without local response normalisation, as in torchvision.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
from keras import layers

from . import _arguments as check
from ._blocks import ConvStyle, conv_act, conv_bn_act
from ._ends import Head, is_small, open_image
from ._variants import variant

_STYLE = ConvStyle(use_bias=True)
_UNPADDED = replace(_STYLE, padded=False)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What tells one network from another.

    Attributes:
        stages: filters of the convolutions before each max-pooling, from the highest resolution to the lowest.
        pool: pixels a side of a pooling's window; every one halves the resolution.
        minimum: pixels a side that are left for the last pooling.
        normalized: whether batch normalisation follows each convolution.
        large_stem: the first convolution is 11x11 of stride 4, the second 5x5; all others are 3x3 of stride 1.
    """

    stages: tuple[tuple[int, ...], ...]
    pool: int = 2
    minimum: int = 32
    normalized: bool = False
    large_stem: bool = False


def _vgg(
    plan: _Plan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "vgg",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
    hidden_units: int = 4096,
    pixel_scaling: str = "unit",
) -> keras.Model:
    """The first of two hidden layers has a weight for every value of the last feature map, so that with the classifier
    height and width must be known, and a small image makes a small layer. At the default input `(224, 224, 3)` this
    map is 7x7 for VGG and 6x6 for AlexNet; nothing stretches other maps to that size, as torchvision does.

    VGG divides the resolution by 32 and needs 32x32 pixels, of which 1x1 is left. AlexNet does so by 32 too, but for
    images of up to 64 pixels its first convolution is 3x3 of stride 1; it then needs 15x15.

    Args:
        {image arguments}
        hidden_units: in each of the two hidden layers. `dropout` is for the outputs of both; the papers have 0.5.

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import vgg11
        >>> vgg11(input_shape=(32, 32, 3), classes=10, hidden_units=512).count_params()
        9750922
    """
    hidden_units = check.whole_number("hidden_units", hidden_units)
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    dense = "The first hidden layer has a weight for every pixel. Give numbers, or set include_top=False for features."
    shape = check.image_shape(
        input_shape, default=(224, 224, 3), minimum=plan.minimum, fixed_by=dense if include_top else ""
    )
    inputs, x = open_image(shape, pixel_scaling)
    large_stem = plan.large_stem and not is_small(shape)
    block = conv_bn_act if plan.normalized else conv_act
    for stage, convolutions in enumerate(plan.stages, start=1):
        for number, filters in enumerate(convolutions, start=1):
            layer = f"block{stage}_{number}"
            if large_stem and stage == 1:
                x = layers.ZeroPadding2D(2, name=f"{layer}_pad")(x)
                x = block(x, filters, 11, 4, _UNPADDED, activation, name=layer)
            else:
                size = 5 if plan.large_stem and stage == 2 else 3
                x = block(x, filters, size, 1, _STYLE, activation, name=layer)
        x = layers.MaxPooling2D(plan.pool, strides=2, name=f"block{stage}_pool")(x)
    return head.build(inputs, head.hidden(x, (hidden_units, hidden_units), activation))


def _table(*convolutions: int) -> _Plan:
    """Give the plan of the paper's table 1 with so many convolutions before each pooling."""
    widths = (64, 128, 256, 512, 512)
    return _Plan(tuple((width,) * count for width, count in zip(widths, convolutions, strict=True)))


_ALEXNET = _Plan(((64,), (192,), (384, 256, 256)), pool=3, minimum=15, large_stem=True)
_VGG11 = _table(1, 1, 2, 2, 2)
_VGG13 = _table(2, 2, 2, 2, 2)
_VGG16 = _table(2, 2, 3, 3, 3)
_VGG19 = _table(2, 2, 4, 4, 4)

alexnet = variant(_vgg, _ALEXNET, "alexnet", "Build AlexNet in one tower: five convolutions, the first 11x11.")
vgg11 = variant(_vgg, _VGG11, "vgg11", "Build VGG11: 8 convolutions.")
vgg13 = variant(_vgg, _VGG13, "vgg13", "Build VGG13: 10 convolutions.")
vgg16 = variant(_vgg, _VGG16, "vgg16", "Build VGG16: 13 convolutions.")
vgg19 = variant(_vgg, _VGG19, "vgg19", "Build VGG19: 16 convolutions.")
vgg11_bn = variant(
    _vgg, replace(_VGG11, normalized=True), "vgg11_bn", "Build VGG11 with batch normalisation: 8 convolutions."
)
vgg13_bn = variant(
    _vgg, replace(_VGG13, normalized=True), "vgg13_bn", "Build VGG13 with batch normalisation: 10 convolutions."
)
vgg16_bn = variant(
    _vgg, replace(_VGG16, normalized=True), "vgg16_bn", "Build VGG16 with batch normalisation: 13 convolutions."
)
vgg19_bn = variant(
    _vgg, replace(_VGG19, normalized=True), "vgg19_bn", "Build VGG19 with batch normalisation: 16 convolutions."
)
