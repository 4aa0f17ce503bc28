"""The block of a transformer's encoder, with normalisation before each sublayer, https://arxiv.org/abs/2002.04745."""

from __future__ import annotations

import keras
from keras import layers

from ._blocks import activate


class EncoderBlock:
    """The layers of a block, which share their weights where it is applied more than once.

    Args:
        units: width of every step.
        heads: of the attention; they share the units.
        hidden: width of the perceptron's middle.
        activation: the perceptron's, a Keras activation by name.
        name: of the layers, which go on `_attention` and `_mlp`.
        dropout: share of each sublayer's outputs dropped in training.
        epsilon: of the normalisation, added to the variance.
        axis: over which steps attend.
    """

    def __init__(
        self,
        units: int,
        heads: int,
        hidden: int,
        activation: str,
        name: str,
        *,
        dropout: float = 0.0,
        epsilon: float = 1e-6,
        axis: int = 1,
    ) -> None:
        self.attention_norm = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_attention_norm")
        self.attention = layers.MultiHeadAttention(heads, units // heads, attention_axes=axis, name=f"{name}_attention")
        self.mlp_norm = layers.LayerNormalization(epsilon=epsilon, name=f"{name}_mlp_norm")
        self.widen = layers.Dense(hidden, kernel_initializer="he_normal", name=f"{name}_mlp_widen")
        self.narrow = layers.Dense(units, name=f"{name}_mlp_narrow")
        self.name = name
        self.activation = activation
        self.dropout = dropout

    def apply(
        self, x: keras.KerasTensor, attended: keras.KerasTensor | None = None, name: str | None = None
    ) -> keras.KerasTensor:
        """Attend over all steps, then widen and narrow each; both are added to what came in.

        Args:
            x: `(batch, steps, units)`, or `(batch, groups, steps, units)` where steps attend within their group only.
            attended: `(batch, 1, steps)`, true for the steps that count; None where all do.
            name: of the layers without weights, where the block is applied more than once.
        """
        name = name or self.name
        normed = self.attention_norm(x)
        x = self._add(x, self.attention(normed, normed, attention_mask=attended), name=f"{name}_attention")
        widened = activate(self.widen(self.mlp_norm(x)), self.activation, name=f"{name}_mlp_act")
        return self._add(x, self.narrow(widened), name=f"{name}_mlp")

    def _add(self, x: keras.KerasTensor, branch: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if self.dropout > 0:
            branch = layers.Dropout(self.dropout, name=f"{name}_dropout")(branch)
        return layers.Add(name=f"{name}_add")([x, branch])
