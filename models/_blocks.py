"""Blocks that families share: convolution, normalisation, activation, squeeze-and-excitation.

Only stock Keras layers, and only such as `tf_keras` has too: a saved model loads where kzoo is not installed, and the
export bridge can rebuild every layer from its `get_config()`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

_GROUPS = 32


def activate(x: keras.KerasTensor, activation: str, name: str) -> keras.KerasTensor:
    """Apply an activation by its Keras name, as the layer that converters fuse with the convolution before it."""
    if activation == "relu":
        return layers.ReLU(name=name)(x)
    if activation == "relu6":
        return layers.ReLU(max_value=6.0, name=name)(x)
    check_activation("activation", activation)
    return layers.Activation(activation, name=name)(x)


def check_activation(argument: str, activation: str) -> None:
    """Refuse what Keras does not know by name; a function would not survive saving."""
    known = isinstance(activation, str)
    if known:
        try:
            keras.activations.get(activation)
        except ValueError:
            known = False
    if not known:
        raise ValueError(
            f"`{argument}` must be the name of a Keras activation. Received: {argument}={activation!r}. "
            "Give for example 'relu', 'relu6', 'silu' or 'hard_silu'."
        )


@dataclass(frozen=True, slots=True)
class ConvStyle:
    """How a family writes a convolution followed by normalisation; the defaults are PyTorch's.

    Attributes:
        use_bias: keep the convolution's bias although the normalisation has one.
        symmetric_padding: pad both sides alike before a strided convolution, as PyTorch does. Keras's "same" pads an
            even input on the far side only, which shifts the sampled pixels by one.
        epsilon: added to the variance.
        momentum: share of the old statistics that every step keeps (PyTorch's momentum is one minus this).
        normalization: `"batch"`, or `"group"` (Wu and He 2018, https://arxiv.org/abs/1803.08494), which does not depend
            on the batch and suits small ones.
    """

    use_bias: bool = False
    symmetric_padding: bool = True
    epsilon: float = 1e-5
    momentum: float = 0.9
    normalization: str = "batch"

    def __post_init__(self) -> None:
        if self.normalization not in ("batch", "group"):
            raise ValueError(
                "`normalization` must be 'batch' or 'group'. "
                f"Received: normalization={self.normalization!r}. Take 'group' where batches are small."
            )


def conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int],
    strides: int,
    style: ConvStyle,
    name: str,
    groups: int = 1,
) -> keras.KerasTensor:
    """Convolve `(batch, height, width, channels)` without normalisation or activation."""
    x, padding = _pad(x, kernel_size, strides, style, name)
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        groups=groups,
        use_bias=style.use_bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)


def depthwise_conv(
    x: keras.KerasTensor, kernel_size: int, strides: int, style: ConvStyle, name: str
) -> keras.KerasTensor:
    """Convolve every channel by itself, without normalisation or activation."""
    x, padding = _pad(x, kernel_size, strides, style, name)
    return layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=style.use_bias,
        depthwise_initializer="he_normal",
        name=f"{name}_conv",
    )(x)


def bn_act(x: keras.KerasTensor, style: ConvStyle, activation: str | None, name: str) -> keras.KerasTensor:
    """Normalise by the statistics of the style's choice; `activation=None` leaves the result linear."""
    if style.normalization == "batch":
        x = layers.BatchNormalization(epsilon=style.epsilon, momentum=style.momentum, name=f"{name}_bn")(x)
    else:
        # 32 groups as in the paper, or as many of them as divide the channels.
        groups = math.gcd(_GROUPS, x.shape[-1])
        x = layers.GroupNormalization(groups, epsilon=style.epsilon, name=f"{name}_gn")(x)
    return x if activation is None else activate(x, activation, f"{name}_act")


def conv_bn_act(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int],
    strides: int,
    style: ConvStyle,
    activation: str | None,
    name: str,
    groups: int = 1,
) -> keras.KerasTensor:
    """Convolve, normalise, activate: layers `{name}_conv`, `{name}_bn`, `{name}_act`."""
    return bn_act(conv(x, filters, kernel_size, strides, style, name, groups), style, activation, name)


def squeeze_excite(x: keras.KerasTensor, reduced: int, activation: str, gate: str, name: str) -> keras.KerasTensor:
    """Weigh every channel by what all of them hold on average (Hu et al. 2017, https://arxiv.org/abs/1709.01507).

    The two dense layers are 1x1 convolutions of a 1x1 map, so that no converter needs to change shapes.

    Args:
        x: `(batch, height, width, channels)`.
        reduced: channels between the two convolutions.
        activation: after the first one.
        gate: the activation that makes a weight of the second one's output, `"sigmoid"` or `"hard_sigmoid"`.
        name: of the layers, which end in `_pool`, `_reduce`, `_act`, `_expand`, `_gate` and `_scale`.
    """
    weight = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    weight = layers.Conv2D(reduced, 1, kernel_initializer="he_normal", name=f"{name}_reduce")(weight)
    weight = activate(weight, activation, f"{name}_act")
    weight = layers.Conv2D(x.shape[-1], 1, name=f"{name}_expand")(weight)
    return layers.Multiply(name=f"{name}_scale")([x, activate(weight, gate, f"{name}_gate")])


def _pad(
    x: keras.KerasTensor, kernel_size: int | tuple[int, int], strides: int, style: ConvStyle, name: str
) -> tuple[keras.KerasTensor, str]:
    """Pad where the convolution's own "same" would pad the two sides differently."""
    if kernel_size == 1 or strides == 1 or not style.symmetric_padding:
        return x, "same"
    if not isinstance(kernel_size, int):
        return layers.ZeroPadding2D([side // 2 for side in kernel_size], name=f"{name}_pad")(x), "valid"
    return layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x), "valid"
