"""Residual networks.

- ResNet18 to 152 and, for CIFAR, ResNet20 to 110: He et al. 2015, https://arxiv.org/abs/1512.03385. Those for ImageNet
  are layer for layer torchvision's (bottlenecks with the stride in the 3x3 convolution, "v1.5"), so that weights
  carried over give the same outputs on inputs of more than 64 pixels.
- `_v2`, with normalisation and activation before the convolutions: He et al. 2016, https://arxiv.org/abs/1603.05027.
- Wide ResNets: Zagoruyko and Komodakis 2016, https://arxiv.org/abs/1605.07146.
- ResNeXt: Xie et al. 2016, https://arxiv.org/abs/1611.05431.
- `se_`, with squeeze-and-excitation: Hu et al. 2017, https://arxiv.org/abs/1709.01507.
- ResNet8: the image classification model of MLPerf Tiny, https://arxiv.org/abs/2106.07597,
  https://github.com/mlcommons/tiny/tree/master/benchmark/training/image_classification.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import keras

from ._arguments import image_shape
from ._blocks import ConvStyle
from ._ends import Head, open_image
from ._residual import ResidualPlan, Shortcut, Stage, stages, stem
from ._variants import variant


def _resnet(
    plan: ResidualPlan,
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "resnet",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
    normalization: str = "batch",
    shortcut: Shortcut | None = None,
    pixel_scaling: str = "unit",
) -> keras.Model:
    """The networks for ImageNet (default input `(224, 224, 3)`, 1,000 classes) look at the shorter side of the input.
    Above 64 pixels, or where it is unknown, the stem is a 7x7 convolution of stride 2 and 3x3 max-pooling, and the
    network divides the resolution by 32. Up to 64 pixels the stem is one 3x3 convolution of stride 1, as is usual for
    CIFAR, and the network divides by 8. The two stems' weights do not fit each other. The networks for CIFAR (default
    input `(32, 32, 3)`, 10 classes) always have the small stem and divide the resolution by 4.

    Args:
        {image arguments}
        normalization: `"batch"`, or `"group"` (https://arxiv.org/abs/1803.08494) for training in small batches.
        shortcut: how a block's input reaches its output where the shape changes: `"projection"`, a 1x1 convolution
            with normalisation; `"plain_projection"`, one without; `"padding"`, every second pixel and zeros in the new
            channels, without weights. Default: as the paper has it for this network, which is `"padding"` for
            ResNet20 to 110, `"plain_projection"` for ResNet8 and `"projection"` for all others. A file of a network
            with `"projection"` runs in one XNNPACK partition, one with `"padding"` does not.

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import resnet8, resnet18
        >>> resnet8().count_params()
        78666
        >>> resnet18(input_shape=(32, 32, 3), classes=10).output_shape
        (None, 10)
    """
    if shortcut not in (None, "projection", "plain_projection", "padding"):
        raise ValueError(
            "`shortcut` must be None, 'projection', 'plain_projection' or 'padding'. "
            f"Received: shortcut={shortcut!r}. None is the paper's choice for this network."
        )
    plan = replace(
        plan,
        style=replace(plan.style, normalization=normalization),
        shortcut=plan.shortcut if shortcut is None else shortcut,
    )
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    side = 32 if plan.small_stem else 224
    shape = image_shape(input_shape, default=(side, side, 3), minimum=plan.total_stride)
    inputs, x = open_image(shape, pixel_scaling)
    *_, x = stages(stem(x, shape, plan, activation), plan, activation)
    return head.build(inputs, head.pool(x))


def _four_stages(blocks: tuple[int, int, int, int], width: int = 64) -> tuple[Stage, ...]:
    """Give the stages for ImageNet, each of twice the channels and half the resolution of the one before."""
    return tuple(Stage(width * 2**number, count, 1 if number == 0 else 2) for number, count in enumerate(blocks))


def _three_stages(blocks: int, width: int = 16) -> tuple[Stage, ...]:
    """Give the stages for CIFAR."""
    return tuple(Stage(width * 2**number, blocks, 1 if number == 0 else 2) for number in range(3))


def _bottlenecks(blocks: tuple[int, int, int, int]) -> ResidualPlan:
    return ResidualPlan(_four_stages(blocks, width=256), bottleneck=1 / 4)


def _cifar(blocks: int) -> ResidualPlan:
    return ResidualPlan(_three_stages(blocks), stem_filters=16, shortcut="padding", small_stem=True)


_RESNET8 = ResidualPlan(
    _three_stages(1),
    # Keras's defaults of padding and normalisation, and biases, as in the reference.
    ConvStyle(use_bias=True, symmetric_padding=False, epsilon=1e-3, momentum=0.99),
    stem_filters=16,
    shortcut="plain_projection",
    small_stem=True,
)
_RESNET18 = ResidualPlan(_four_stages((2, 2, 2, 2)))
_RESNET34 = ResidualPlan(_four_stages((3, 4, 6, 3)))
_RESNET50 = _bottlenecks((3, 4, 6, 3))
_RESNET101 = _bottlenecks((3, 4, 23, 3))
_RESNET152 = _bottlenecks((3, 8, 36, 3))
_CIFAR_BOTTLENECKS = ResidualPlan(
    _three_stages(18, width=64), stem_filters=16, bottleneck=1 / 4, preactivation=True, small_stem=True
)
_RESNEXT29 = ResidualPlan(_three_stages(3, width=256), bottleneck=2, groups=8, small_stem=True)


def _wide(blocks: int, factor: int) -> ResidualPlan:
    return ResidualPlan(_three_stages(blocks, 16 * factor), stem_filters=16, preactivation=True, small_stem=True)


resnet8 = variant(
    _resnet,
    _RESNET8,
    "resnet8",
    "Build MLPerf Tiny's ResNet8, 78,666 parameters: basic blocks of 16, 32 and 64 filters; convolutions have biases.",
    classes=10,
)
resnet20 = variant(
    _resnet, _cifar(3), "resnet20", "Build ResNet20 for CIFAR: three stages of 3 basic blocks.", classes=10
)
resnet32 = variant(
    _resnet, _cifar(5), "resnet32", "Build ResNet32 for CIFAR: three stages of 5 basic blocks.", classes=10
)
resnet44 = variant(
    _resnet, _cifar(7), "resnet44", "Build ResNet44 for CIFAR: three stages of 7 basic blocks.", classes=10
)
resnet56 = variant(
    _resnet, _cifar(9), "resnet56", "Build ResNet56 for CIFAR: three stages of 9 basic blocks.", classes=10
)
resnet110 = variant(
    _resnet, _cifar(18), "resnet110", "Build ResNet110 for CIFAR: three stages of 18 basic blocks.", classes=10
)
resnet18 = variant(_resnet, _RESNET18, "resnet18", "Build ResNet18: 2, 2, 2 and 2 basic blocks.")
resnet34 = variant(_resnet, _RESNET34, "resnet34", "Build ResNet34: 3, 4, 6 and 3 basic blocks.")
resnet50 = variant(_resnet, _RESNET50, "resnet50", "Build ResNet50 v1.5: 3, 4, 6 and 3 bottleneck blocks.")
resnet101 = variant(_resnet, _RESNET101, "resnet101", "Build ResNet101 v1.5: 3, 4, 23 and 3 bottleneck blocks.")
resnet152 = variant(_resnet, _RESNET152, "resnet152", "Build ResNet152 v1.5: 3, 8, 36 and 3 bottleneck blocks.")
resnet18_v2 = variant(
    _resnet,
    replace(_RESNET18, preactivation=True),
    "resnet18_v2",
    "Build ResNet18 v2: 2, 2, 2 and 2 basic blocks of pre-activation.",
)
resnet50_v2 = variant(
    _resnet,
    replace(_RESNET50, preactivation=True),
    "resnet50_v2",
    "Build ResNet50 v2: 3, 4, 6 and 3 bottleneck blocks of pre-activation.",
)
resnet101_v2 = variant(
    _resnet,
    replace(_RESNET101, preactivation=True),
    "resnet101_v2",
    "Build ResNet101 v2: 3, 4, 23 and 3 bottleneck blocks of pre-activation.",
)
resnet152_v2 = variant(
    _resnet,
    replace(_RESNET152, preactivation=True),
    "resnet152_v2",
    "Build ResNet152 v2: 3, 8, 36 and 3 bottleneck blocks of pre-activation.",
)
resnet164_v2 = variant(
    _resnet,
    _CIFAR_BOTTLENECKS,
    "resnet164_v2",
    "Build ResNet164 v2 for CIFAR: three stages of 18 bottleneck blocks of pre-activation.",
    classes=10,
)
wide_resnet28_10 = variant(
    _resnet,
    _wide(4, factor=10),
    "wide_resnet28_10",
    "Build Wide ResNet 28-10 for CIFAR: three stages of 4 basic blocks, ten times as wide.",
    classes=10,
)
wide_resnet40_2 = variant(
    _resnet,
    _wide(6, factor=2),
    "wide_resnet40_2",
    "Build Wide ResNet 40-2 for CIFAR: three stages of 6 basic blocks, twice as wide.",
    classes=10,
)
resnext29_8x64d = variant(
    _resnet,
    _RESNEXT29,
    "resnext29_8x64d",
    "Build ResNeXt29 8x64d for CIFAR: three stages of 3 bottleneck blocks in 8 groups of 64 channels and more.",
    classes=10,
)
resnext50_32x4d = variant(
    _resnet,
    replace(_RESNET50, bottleneck=1 / 2, groups=32),
    "resnext50_32x4d",
    "Build ResNeXt50 32x4d: 3, 4, 6 and 3 bottleneck blocks in 32 groups of 4 channels and more.",
)
se_resnet18 = variant(
    _resnet, replace(_RESNET18, reduction=16), "se_resnet18", "Build SE-ResNet18: ResNet18 with squeeze-and-excitation."
)
se_resnet50 = variant(
    _resnet, replace(_RESNET50, reduction=16), "se_resnet50", "Build SE-ResNet50: ResNet50 with squeeze-and-excitation."
)
