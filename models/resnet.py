"""Residual networks of basic blocks.

- ResNet18 and ResNet34: He et al. 2015, https://arxiv.org/abs/1512.03385, layer for layer torchvision's, so that
  weights carried over give the same outputs (on inputs of more than 64 pixels).
- ResNet8: the image classification model of MLPerf Tiny, https://arxiv.org/abs/2106.07597,
  https://github.com/mlcommons/tiny/tree/master/benchmark/training/image_classification.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import keras
from keras import layers

from ._arguments import image_shape
from ._blocks import ConvStyle, Head, activate, bn_act, conv, conv_bn_act, is_small, open_image


class Stage(NamedTuple):
    """Blocks of one resolution; `strides` is the first block's, the others keep the resolution."""

    filters: int
    blocks: int
    strides: int


class Plan(NamedTuple):
    """What tells one residual network from another."""

    stages: tuple[Stage, ...]
    stem_filters: int
    style: ConvStyle
    normalized_shortcut: bool


_RESNET8 = Plan(
    stages=(Stage(16, 1, 1), Stage(32, 1, 2), Stage(64, 1, 2)),
    stem_filters=16,
    # Keras's defaults of padding and normalisation, and biases, as in the reference.
    style=ConvStyle(use_bias=True, symmetric_padding=False, epsilon=1e-3, momentum=0.99),
    normalized_shortcut=False,
)
_RESNET18 = Plan(
    stages=(Stage(64, 2, 1), Stage(128, 2, 2), Stage(256, 2, 2), Stage(512, 2, 2)),
    stem_filters=64,
    style=ConvStyle(),
    normalized_shortcut=True,
)
_RESNET34 = _RESNET18._replace(stages=(Stage(64, 3, 1), Stage(128, 4, 2), Stage(256, 6, 2), Stage(512, 3, 2)))


def resnet8(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    name: str = "resnet8",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """Build MLPerf Tiny's ResNet8: a 3x3 stem and one basic block each of 16, 32 and 64 filters; 78,666 parameters.

    As in the reference implementation the convolutions keep their biases, the 1x1 shortcuts have no batch
    normalisation and padding is Keras's "same".

    Args:
        include_top: end with average pooling and the classifier.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(height, width, channels)`, at least 4x4; default `(32, 32, 3)`.
        pooling: only with `include_top=False`: None gives the feature map `(batch, height / 4, width / 4, 64)`,
            `"avg"` or `"max"` one vector `(batch, 64)`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        dropout: share of the classifier's inputs dropped in training. Used with `include_top` only.
        activation: a Keras activation by name.

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import resnet8
        >>> resnet8().count_params()
        78666
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    inputs, x = open_image(image_shape(input_shape, default=(32, 32, 3), minimum=4))
    x = conv_bn_act(x, _RESNET8.stem_filters, 3, 1, _RESNET8.style, activation, name="stem")
    return head.build(inputs, head.pool(_stages(x, _RESNET8, activation)))


def resnet18(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "resnet18",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """Build ResNet18: two basic blocks each of 64, 128, 256 and 512 filters.

    When the shorter side is above 64 pixels (or unknown) the stem is the paper's 7x7 convolution of stride 2 and
    3x3 max-pooling, and the whole network divides the resolution by 32. Up to 64 pixels the stem is one 3x3
    convolution of stride 1, as is usual for CIFAR, and the network divides by 8. The two stems' weights do not fit
    each other.

    Args:
        include_top: end with average pooling and the classifier.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(height, width, channels)`, at least 8x8; default `(224, 224, 3)`.
        pooling: only with `include_top=False`: None gives the feature map `(batch, height, width, 512)`,
            `"avg"` or `"max"` one vector `(batch, 512)`.
        classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        dropout: share of the classifier's inputs dropped in training. Used with `include_top` only.
        activation: a Keras activation by name.

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import resnet18
        >>> resnet18(input_shape=(32, 32, 3), classes=10).output_shape
        (None, 10)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    return _imagenet_resnet(_RESNET18, input_shape, head, activation)


def resnet34(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "resnet34",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
) -> keras.Model:
    """Build ResNet34: 3, 4, 6 and 3 basic blocks of 64, 128, 256 and 512 filters.

    Stem, arguments, result and errors are those of `resnet18`.

    Example:
        >>> from kzoo.models import resnet34
        >>> resnet34(include_top=False, pooling="avg", input_shape=(32, 32, 3)).output_shape
        (None, 512)
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    return _imagenet_resnet(_RESNET34, input_shape, head, activation)


def _imagenet_resnet(plan: Plan, input_shape: Sequence[int | None] | None, head: Head, activation: str) -> keras.Model:
    shape = image_shape(input_shape, default=(224, 224, 3), minimum=8)
    inputs, x = open_image(shape)
    if is_small(shape):
        x = conv_bn_act(x, plan.stem_filters, 3, 1, plan.style, activation, name="stem")
    else:
        x = conv_bn_act(x, plan.stem_filters, 7, 2, plan.style, activation, name="stem")
        # Zeros never win against a ReLU's outputs, so this is PyTorch's max-pooling with padding 1.
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
        x = layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    return head.build(inputs, head.pool(_stages(x, plan, activation)))


def _stages(x: keras.KerasTensor, plan: Plan, activation: str) -> keras.KerasTensor:
    for number, stage in enumerate(plan.stages, start=1):
        for block in range(stage.blocks):
            strides = stage.strides if block == 0 else 1
            x = _basic_block(x, stage.filters, strides, plan, activation, name=f"stage{number}_block{block + 1}")
    return x


def _basic_block(
    x: keras.KerasTensor, filters: int, strides: int, plan: Plan, activation: str, name: str
) -> keras.KerasTensor:
    """Add two 3x3 convolutions to a shortcut, which is a 1x1 convolution where the shape changes."""
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        shortcut = conv(x, filters, 1, strides, plan.style, name=f"{name}_shortcut")
        if plan.normalized_shortcut:
            shortcut = bn_act(shortcut, plan.style, None, name=f"{name}_shortcut")
    x = conv_bn_act(x, filters, 3, strides, plan.style, activation, name=f"{name}_1")
    x = conv_bn_act(x, filters, 3, 1, plan.style, None, name=f"{name}_2")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return activate(x, activation, name=f"{name}_act")
