"""The model that trains: a copy of the plain one, in layers and a precision that are faster and compute the same.

The copy has the plain model's structure, names and order of weights, so weights pass between the two as lists, and
nothing of the copy is ever saved in a model file.
"""

from __future__ import annotations

from typing import Any

import keras

# FusedBatchNorm's smallest epsilon; cuDNN, which it calls on a GPU, takes no smaller one.
_SMALLEST_EPSILON = 1e-5


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation in one TensorFlow kernel each way, which also takes up the activation that follows.

    Keras 3 writes it out in a dozen operators and, in mixed precision, in float32. Numbers, weights and moving
    statistics are those of the stock layer; what the kernel does not know (masks, another axis than the last,
    renormalisation, synchronisation) goes the stock way.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """As `keras.layers.BatchNormalization`: `(batch, …, channels)` in and out."""
        rank = len(inputs.shape)
        plain = mask is None and not self.renorm and not self.synchronized
        if not plain or rank > 4 or self.axis not in (-1, rank - 1) or self.epsilon < _SMALLEST_EPSILON:
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        channels = inputs.shape[-1]
        shape = tf.shape(inputs)
        # The kernel takes images; the statistics are over all axes but the last, however they are arranged.
        image = inputs if rank == 4 else tf.reshape(inputs, (shape[0], -1, 1, channels))
        learns = bool(training) and self.trainable
        moving = [tf.convert_to_tensor(statistic) for statistic in (self.moving_mean, self.moving_variance)]
        scale = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones((channels,))
        offset = tf.convert_to_tensor(self.beta) if self.center else tf.zeros((channels,))
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=image,
            scale=tf.cast(scale, "float32"),
            offset=tf.cast(offset, "float32"),
            mean=tf.zeros((0,)) if learns else moving[0],
            variance=tf.zeros((0,)) if learns else moving[1],
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            values = tf.cast(tf.size(image) // channels, "float32")
            # The kernel gives the sample's estimate of the variance, Keras's average takes the batch's own.
            variance *= tf.maximum(values - 1.0, 1.0) / values
            for statistic, old, new in zip(
                (self.moving_mean, self.moving_variance), moving, (mean, variance), strict=True
            ):
                statistic.assign(old * self.momentum + new * (1.0 - self.momentum))
        return outputs if rank == 4 else tf.reshape(outputs, shape)


class PointwiseConv2D(keras.layers.Conv2D):
    """A convolution whose 1×1 kernels are a matrix product, if it computes in float32.

    TensorFlow's gradient of such a kernel as a convolution takes up to three times as long as that of a product. In
    bfloat16 there is nothing to gain.
    """

    def call(self, inputs: Any) -> Any:
        """As `keras.layers.Conv2D`: `(batch, height, width, channels)` in and out."""
        pointwise = self.kernel_size == (1, 1) and self.strides == (1, 1) and self.groups == 1
        plain = self.data_format == "channels_last" and self.lora_rank is None
        if not (pointwise and plain and self.compute_dtype == "float32"):
            return super().call(inputs)
        channels = inputs.shape[-1]
        shape = keras.ops.shape(inputs)
        kernel = keras.ops.reshape(self.kernel, (channels, self.filters))
        outputs = keras.ops.matmul(keras.ops.reshape(inputs, (-1, channels)), kernel)
        outputs = keras.ops.reshape(outputs, (*shape[:-1], self.filters))
        if self.bias is not None:
            outputs = keras.ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)


def training_copy(model: keras.Model, template: keras.Model | None = None) -> keras.Model:
    """Copy a model for training.

    Args:
        model: A functional model of stock layers; its weights are taken over.
        template: A model with layers of the same names, maybe of other widths, built under another dtype policy: the
            copy's layers have the policies of their namesakes.

    Returns:
        A model of the same structure and weights. On TensorFlow its batch normalisations, 1×1 convolutions and
        LSTMs are replaced by faster ones; other backends compile the stock ones as well as these.
    """
    namesakes = {} if template is None else {layer.name: layer for layer in template.layers}
    copy = keras.models.clone_model(model, clone_function=lambda layer: _copy_layer(layer, namesakes.get(layer.name)))
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            # It computes with what it derives from its weights.
            layer.finalize_state()
    return copy


def _copy_layer(layer: keras.layers.Layer, namesake: keras.layers.Layer | None = None) -> keras.layers.Layer:
    faster = _faster_layers() if keras.backend.backend() == "tensorflow" else {}
    if namesake is not None and isinstance(layer, keras.Model):
        # Its layers may differ in their policies; one with other widths would have been unrolled.
        layer = namesake
    config = layer.get_config()
    if namesake is not None and namesake is not layer:
        config = _with_policy(config, namesake.get_config()["dtype"])
    if type(layer) is keras.layers.Bidirectional:
        for direction in ("layer", "backward_layer"):
            inner = _copy_layer(keras.saving.deserialize_keras_object(config[direction]))
            config[direction] = keras.saving.serialize_keras_object(inner)
    # By the exact type: a subclass may compute something else.
    return faster.get(type(layer), type(layer)).from_config(config)


def _with_policy(config: dict[str, Any], policy: Any) -> dict[str, Any]:
    """A layer's configuration under another dtype policy, and with it those of the layers that it wraps."""
    nested = {key: _with_policy(value, policy) for key, value in config.items() if isinstance(value, dict)}
    return {**config, **nested, **({"dtype": policy} if "dtype" in config else {})}


def _faster_layers() -> dict[type[keras.layers.Layer], type[keras.layers.Layer]]:
    # Imports TensorFlow, which other backends do without.
    from .recurrent import FastLSTM

    layers = keras.layers
    return {
        layers.BatchNormalization: FusedBatchNormalization,
        layers.Conv2D: PointwiseConv2D,
        layers.LSTM: FastLSTM,
    }
