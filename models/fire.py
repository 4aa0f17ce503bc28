"""SqueezeNet: Iandola et al. 2016, https://arxiv.org/abs/1602.07360.

Version 1.1 of https://github.com/forresti/SqueezeNet, which pools earlier: 2.4 times fewer multiply-accumulates at the
same accuracy. Layer for layer torchvision's, so that weights carried over give the same outputs on inputs of more than
64 pixels.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import keras
from keras import layers

from ._arguments import image_shape, whole_number
from ._blocks import ConvStyle, activate, conv_act, max_pool_over_the_edge
from ._ends import Head, is_small, open_image
from ._variants import variant

_STEM_FILTERS = 64
_SQUEEZED = ((16, 16), (32, 32), (48, 48, 64, 64))
"""Channels between the two halves of each fire module, by stage; max-pooling stands before each stage."""
_EXPANSION = 4
"""Each of a module's two outputs has so many times its squeezed channels."""
_STYLE = ConvStyle(use_bias=True)
_UNPADDED = replace(_STYLE, padded=False)


def _squeezenet(
    stages: tuple[tuple[int, ...], ...],
    include_top: bool = True,
    weights: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str = "squeezenet",
    *,
    dropout: float = 0.0,
    activation: str = "relu",
    pixel_scaling: str = "unit",
) -> keras.Model:
    """Eight fire modules: a 1x1 convolution squeezes the channels for a 1x1 and a 3x3 convolution side by side. Default
    input `(224, 224, 3)`, 1,000 classes. The classifier is a 1x1 convolution with the activation, then average pooling,
    so that with "relu" no logit is below zero.

    Above 64 pixels on the shorter side, or where it is unknown, the network divides the resolution by 16. Up to 64
    pixels, and at least 8x8, the first convolution has stride 1 and no pooling follows it; the network then divides by
    4. The weights are the same either way.

    Args:
        {image arguments}

    Returns:
        A functional model that takes pixels 0-255.

    Raises:
        ValueError: for an argument that does not fit; the message says what to give instead.

    Example:
        >>> from kzoo.models import squeezenet
        >>> squeezenet().count_params()
        1235496
    """
    head = Head(include_top, weights, pooling, classes, classifier_activation, name, dropout)
    shape = image_shape(input_shape, default=(224, 224, 3), minimum=8)
    small = is_small(shape)
    inputs, x = open_image(shape, pixel_scaling)
    x = conv_act(x, _STEM_FILTERS, 3, 1 if small else 2, _UNPADDED, activation, name="stem")
    for number, stage in enumerate(stages, start=1):
        if not (small and number == 1):
            x = max_pool_over_the_edge(x, name=f"stage{number}_pool")
        for module, squeezed in enumerate(stage, start=1):
            x = _fire(x, squeezed, activation, name=f"stage{number}_fire{module}")
    if not include_top:
        return head.finish(inputs, head.pool(x))
    if dropout > 0:
        x = layers.Dropout(dropout, name="dropout")(x)
    # Behind a ReLU a class whose logits begin below zero is never learned, so all begin above it: small weights, as in
    # the original, and a bias that softmax does not see, as long as it is the same for all classes.
    # float32 from here on whatever the policy, as in every classifier.
    x = layers.Conv2D(
        whole_number("classes", classes),
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer="ones",
        dtype="float32",
        name="predictions",
    )(x)
    x = head.pool(activate(x, activation, "predictions_act"))
    if classifier_activation is not None:
        x = layers.Activation(classifier_activation, dtype="float32", name="probabilities")(x)
    return head.finish(inputs, x)


def _fire(x: keras.KerasTensor, squeezed: int, activation: str, name: str) -> keras.KerasTensor:
    x = conv_act(x, squeezed, 1, 1, _STYLE, activation, name=f"{name}_squeeze")
    expanded = [
        conv_act(x, _EXPANSION * squeezed, size, 1, _STYLE, activation, name=f"{name}_expand{size}") for size in (1, 3)
    ]
    return layers.Concatenate(name=f"{name}_concat")(expanded)


squeezenet = variant(_squeezenet, _SQUEEZED, "squeezenet", "Build SqueezeNet 1.1.")
