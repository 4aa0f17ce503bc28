"""Residual networks that may answer early: a classifier after each stage, easy images leave at the first sure one.

BranchyNet: Teerapittayanon et al. 2017, https://arxiv.org/abs/1709.01686. All classifiers train together; the first
output is that of the whole network, so that whoever knows nothing of exits gets its best answer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import keras
from keras import layers

from ._arguments import image_shape, whole_number
from ._blocks import ConvStyle, conv_bn_act
from ._ends import Head, open_image
from ._residual import ResidualPlan, Stage, stages, stem

_STAGES = 3


def early_exit_resnet(
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | None = "softmax",
    name: str = "early_exit_resnet",
    *,
    blocks: int = 3,
    width: int = 16,
    dropout: float = 0.0,
    activation: str = "relu",
    normalization: str = "batch",
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Build a residual network for small images with an early classifier after its first and its second stage.

    Three stages of basic blocks, as in the ResNets for CIFAR but with 1x1 convolutions where the shape changes. An
    early classifier is a 3x3 convolution of stride 2 to as many channels as the last stage has, batch normalisation,
    the activation, average pooling and a dense layer.

    Args:
        include_top: end with the three classifiers; without them only the last stage's features are given.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        input_shape: `(height, width, channels)`, at least 4x4; default `(32, 32, 3)`.
        pooling: only with `include_top=False`: None gives the last feature map `(batch, height, width, channels)`,
            `"avg"` or `"max"` one vector `(batch, channels)`.
        classes: how many the classifiers tell apart. Used with `include_top` only, like the next argument.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        blocks: residual blocks of each stage.
        width: channels of the first stage; each of the others has twice those of the one before.
        dropout: share of each classifier's inputs dropped in training. Used with `include_top` only.
        activation: a Keras activation by name.
        normalization: `"batch"`, or `"group"` (https://arxiv.org/abs/1803.08494) for training in small batches.
        pixel_scaling: as for `resnet18`.

    Returns:
        A functional model that takes pixels 0-255 and has three outputs `(batch, classes)`: "predictions" of the whole
        network, "exit1" after the first stage and "exit2" after the second.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import early_exit_resnet
        >>> early_exit_resnet().output_names
        ['predictions', 'exit1', 'exit2']
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    blocks, width = whole_number("blocks", blocks), whole_number("width", width)
    plan = ResidualPlan(
        tuple(Stage(width * 2**stage, blocks, 1 if stage == 0 else 2) for stage in range(_STAGES)),
        replace(ConvStyle(), normalization=normalization),
        stem_filters=width,
        small_stem=True,
    )
    shape = image_shape(input_shape, default=(32, 32, 3), minimum=plan.total_stride)
    inputs, x = open_image(shape, pixel_scaling)
    *early, last = stages(stem(x, shape, plan, activation), plan, activation)
    if not include_top:
        return head.finish(inputs, head.pool(last))
    outputs = [head.classify(head.pool(last))]
    for number, features in enumerate(early, start=1):
        exit_name = f"exit{number}"
        x = conv_bn_act(features, plan.stages[-1].filters, 3, 2, plan.style, activation, name=exit_name)
        x = layers.GlobalAveragePooling2D(name=f"{exit_name}_avg_pool")(x)
        outputs.append(head.classify(x, name=exit_name))
    return head.finish(inputs, outputs)
