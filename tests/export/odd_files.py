"""`.tflite` files as others make them, each with one oddity: plain TensorFlow, the converter in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 3, 1, 8)).astype(np.float32)
WIDE = RNG.normal(size=(128, 64)).astype(np.float32)
IMAGE, ROW = (1, 8, 8, 1), (1, 128)


def converter(function: Any, *shapes: tuple[int | None, ...]) -> Any:
    """A converter of a function of float32 tensors."""
    concrete = tf.function(function).get_concrete_function(*(tf.TensorSpec(shape, tf.float32) for shape in shapes))
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete])


def quantized(function: Any, shape: tuple[int, ...]) -> bytes:
    """Full integers, with floating point where an operator has no integer kernel."""
    made = converter(function, shape)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    made.representative_dataset = lambda: ([RNG.normal(size=shape).astype(np.float32)] for _ in range(8))
    made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    made.inference_input_type = made.inference_output_type = tf.int8
    return made.convert()


def flex() -> bytes:
    """An operator of TensorFlow itself."""
    made = converter(tf.linalg.cholesky, (1, 4, 4))
    made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return made.convert()


def custom() -> bytes:
    """An operator of the app."""
    made = converter(lambda x: tf.math.digamma(x) + 1.0, ROW)
    made.allow_custom_ops = True
    return made.convert()


def dynamic_batch() -> bytes:
    """A batch that is left open."""

    def function(x: Any) -> Any:
        return tf.reshape(tf.nn.conv2d(x, KERNEL, 1, "VALID"), (tf.shape(x)[0], 288))

    return converter(function, (None, *IMAGE[1:])).convert()


def five_dimensions() -> bytes:
    """A convolution over volumes."""
    kernel = RNG.normal(size=(2, 2, 2, 1, 4)).astype(np.float32)
    return converter(lambda x: tf.nn.conv3d(x, kernel, (1,) * 5, "SAME"), (1, 4, 4, 4, 1)).convert()


def float_island() -> bytes:
    """An int8 file with a rounding, which has no integer kernel, between two convolutions."""
    second = RNG.normal(size=(3, 3, 8, 4)).astype(np.float32)

    def function(x: Any) -> Any:
        return tf.nn.conv2d(tf.math.floor(tf.nn.conv2d(x, KERNEL, 1, "SAME")), second, 1, "SAME")

    return quantized(function, IMAGE)


def per_channel_dense() -> bytes:
    """A dense layer of dynamic range with a scale for every channel: version 12."""
    made = converter(lambda x: tf.matmul(x, WIDE), ROW)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    return made.convert()


def hybrid() -> bytes:
    """Dynamic range with one scale: int8 weights, float values."""
    made = converter(lambda x: tf.matmul(x, WIDE), ROW)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    made._experimental_disable_per_channel_quantization_for_dense_layers = True
    return made.convert()


def float16() -> bytes:
    """float16 weights, widened when the file is opened."""
    made = converter(lambda x: tf.matmul(x, WIDE), ROW)
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    made.target_spec.supported_types = [tf.float16]
    return made.convert()


def loop() -> bytes:
    """A loop, whose condition and body are graphs of their own."""

    def function(x: Any) -> Any:
        return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * 2.0 + 1.0), (0, x))[1]

    return converter(function, ROW).convert()


MAKERS = (
    flex, custom, dynamic_batch, five_dimensions, float_island, per_channel_dense, hybrid, float16, loop,
)  # fmt: skip


def write_all(folder: Path) -> dict[str, Path]:
    """One file a maker, by its name."""
    paths = {maker.__name__: folder / f"{maker.__name__}.tflite" for maker in MAKERS}
    for maker in MAKERS:
        paths[maker.__name__].write_bytes(maker())
    return paths
