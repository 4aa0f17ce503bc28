"""The block of a transformer's encoder, with normalisation before each sublayer, https://arxiv.org/abs/2002.04745."""

from __future__ import annotations

import keras
from keras import layers

from ._blocks import activate


def encoder_block(
    x: keras.KerasTensor,
    heads: int,
    hidden: int,
    activation: str,
    name: str,
    *,
    dropout: float = 0.0,
    epsilon: float = 1e-6,
) -> keras.KerasTensor:
    """Attend over all steps, then widen and narrow each; both are added to what came in.

    Args:
        x: `(batch, steps, units)`, or `(batch, groups, steps, units)` where steps attend within their group only.
        heads: of the attention; they share the units.
        hidden: width of the perceptron's middle.
        activation: the perceptron's, a Keras activation by name.
        name: of the layers, which go on `_attention` and `_mlp`.
        dropout: share of each sublayer's outputs dropped in training.
        epsilon: of the normalisation, added to the variance.
    """
    units, axis = x.shape[-1], len(x.shape) - 2
    normed = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_attention_norm")(x)
    attention = layers.MultiHeadAttention(heads, units // heads, attention_axes=axis, name=f"{name}_attention")
    x = _add(x, attention(normed, normed), dropout, name=f"{name}_attention")
    normed = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_mlp_norm")(x)
    widened = layers.Dense(hidden, kernel_initializer="he_normal", name=f"{name}_mlp_widen")(normed)
    widened = activate(widened, activation, name=f"{name}_mlp_act")
    narrowed = layers.Dense(units, name=f"{name}_mlp_narrow")(widened)
    return _add(x, narrowed, dropout, name=f"{name}_mlp")


def _add(x: keras.KerasTensor, branch: keras.KerasTensor, dropout: float, name: str) -> keras.KerasTensor:
    if dropout > 0:
        branch = layers.Dropout(dropout, name=f"{name}_dropout")(branch)
    return layers.Add(name=f"{name}_add")([x, branch])
