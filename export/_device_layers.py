"""Layers of tf_keras in a form that a device runs better: the same weights, the same answers, other operators.

XNNPACK, the runtime's CPU delegate, takes a run of operators as one; every operator in between that it does not take
ends that run, which costs some microseconds of its own. The layers here leave out what ends it needlessly.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

# Next to any real score its share is nothing: exp(-20) is 2e-9.
_SCORE_OF_NOTHING = -20.0


class ProductNormalization(tf_keras.layers.LayerNormalization):
    """Layer normalisation for integer files, whose variance is the mean of a product.

    tf_keras's own becomes SQUARED_DIFFERENCE. In int8 XNNPACK does not take it and the runtime's own kernel is slow.
    In int16x8 the runtime has no kernel at all: the file is written, and fails or aborts when it is run
    (https://github.com/google-ai-edge/LiteRT/issues/4383).
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        centred = inputs - tf.reduce_mean(inputs, self.axis, keepdims=True)
        variance = tf.reduce_mean(centred * centred, self.axis, keepdims=True)
        normal = centred * tf.math.rsqrt(variance + self.epsilon)
        shape = [size if axis in self.axis else 1 for axis, size in enumerate(inputs.shape)]
        if self.gamma is not None:
            normal *= tf.reshape(self.gamma, shape)
        return normal if self.beta is None else normal + tf.reshape(self.beta, shape)


class ProductAttention(tf_keras.layers.MultiHeadAttention):
    """Attention over one axis as two matrix products of `(batch, heads, steps, channels)`.

    tf_keras's own equations have the operands the other way round, so that the scores are transposed before their
    softmax: an operator of XNNPACK alone between two that it does not take in int8.
    """

    def _compute_attention(
        self,
        query: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        attention_mask: tf.Tensor | None = None,
        training: bool | None = None,
    ) -> tuple[Any, Any]:
        if len(query.shape) != 4:  # attention over several axes, or over one of several
            answers: tuple[Any, Any] = super()._compute_attention(query, key, value, attention_mask, training)
            return answers
        query, key = (tf.transpose(each, (0, 2, 1, 3)) for each in (query, key))
        scores = tf.matmul(query * self._key_dim**-0.5, key, transpose_b=True)
        scores = self._masked_softmax(scores, attention_mask)
        value = tf.transpose(value, (0, 2, 3, 1))
        return tf.transpose(tf.matmul(scores, value, transpose_b=True), (0, 2, 1, 3)), scores


class NearSoftmax(tf_keras.layers.Softmax):
    """A softmax for integer files that gives masked scores a small number.

    tf_keras's own adds -1e9 to them: of the 256 steps of an int8 tensor one is left for all scores that count.
    """

    def call(self, inputs: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        return super().call(inputs if mask is None else tf.where(mask, inputs, _SCORE_OF_NOTHING))


class IntegerAttention(ProductAttention):
    """Attention for integer files, whose masked scores lie near the others, see `NearSoftmax`."""

    def _build_attention(self, rank: int) -> None:
        super()._build_attention(rank)
        self._softmax: Any = NearSoftmax(axis=self._softmax.axis)


class _WrittenOut(tf_keras.layers.Layer):
    """A convolutional LSTM without its loop, which does not survive quantisation: the steps follow one another.

    The convolutions of all inputs are one, with the steps as its batch; each step convolves the state alone.
    """

    def call(
        self,
        inputs: tf.Tensor,
        mask: tf.Tensor | None = None,
        training: bool | None = None,
        initial_state: Any = None,
    ) -> Any:
        if mask is not None or initial_state is not None or self.return_state or self.go_backwards:
            return super().call(inputs, mask=mask, training=training, initial_state=initial_state)
        cell = self.cell
        each = tf.reshape(inputs, (-1, *inputs.shape[2:]))
        gates = cell.input_conv(each, cell.kernel, cell.bias, padding=cell.padding)
        gates = tf.reshape(gates, (-1, inputs.shape[1], *gates.shape[1:]))
        hidden = carry = tf.zeros_like(gates[:, 0, ..., : cell.filters])
        outputs = []
        for gate in tf.unstack(gates, axis=1):
            added = gate + cell.recurrent_conv(hidden, cell.recurrent_kernel)
            enter, forget, candidate, leave = tf.split(added, 4, axis=-1)
            carry = cell.recurrent_activation(forget) * carry + cell.recurrent_activation(enter) * cell.activation(
                candidate
            )
            hidden = cell.recurrent_activation(leave) * cell.activation(carry)
            outputs.append(hidden)
        return tf.stack(outputs, axis=1) if self.return_sequences else hidden


class WrittenOutConvLSTM1D(_WrittenOut, tf_keras.layers.ConvLSTM1D):
    """`(batch, steps, places, channels)`, see `_WrittenOut`."""


class WrittenOutConvLSTM2D(_WrittenOut, tf_keras.layers.ConvLSTM2D):
    """`(batch, steps, height, width, channels)`, see `_WrittenOut`."""
