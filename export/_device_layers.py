"""Layers of tf_keras in a form that a device runs better: the same weights, the same answers, other operators.

XNNPACK, the runtime's CPU delegate, takes a run of operators as one; every operator in between that it does not take
ends that run, which costs some microseconds of its own. The layers here leave out what ends it needlessly.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras


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
