"""MLPerf Tiny's image classification model as it is published, for `bench.export_peers`.

https://github.com/mlcommons/tiny/tree/master/benchmark/training/image_classification, with the 16, 32 and 64 filters
of https://arxiv.org/abs/2106.07597: raw pixels in, biases kept, 1x1 shortcuts without normalisation, average pooling
over 8x8, flatten, dense.
"""

from __future__ import annotations

import keras
from keras import layers

_FILTERS = (16, 32, 64)


def mlperf_resnet8(trained: keras.Model) -> keras.Model:
    """The reference's layers with the weights of the zoo's `resnet8`, which has the same: both answer alike.

    Args:
        trained: of 32x32 pixels in three channels. Its scaling of pixels goes into the first kernel, for the reference
            scales nothing.
    """
    inputs = keras.Input((32, 32, 3))
    x = _conv_bn(inputs, _FILTERS[0], 3, 1, "stem")
    for number, filters in enumerate(_FILTERS, start=1):
        name, strides = f"stage{number}_block1", 1 if number == 1 else 2
        y = _conv_bn(x, filters, 3, strides, f"{name}_1")
        y = layers.BatchNormalization(name=f"{name}_2_bn")(_conv(y, filters, 3, 1, f"{name}_2"))
        shortcut = x if number == 1 else _conv(x, filters, 1, strides, f"{name}_shortcut")
        x = layers.Activation("relu")(layers.add([shortcut, y]))
    x = layers.Flatten()(layers.AveragePooling2D(pool_size=8)(x))
    classes = trained.output_shape[-1]
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="predictions")(x))
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    scale = next(layer.scale for layer in trained.layers if isinstance(layer, layers.Rescaling))
    kernel, bias = model.get_layer("stem_conv").get_weights()
    model.get_layer("stem_conv").set_weights([kernel * scale, bias])
    return model


def _conv(x: keras.KerasTensor, filters: int, size: int, strides: int, name: str) -> keras.KerasTensor:
    return layers.Conv2D(filters, size, strides=strides, padding="same", name=f"{name}_conv")(x)


def _conv_bn(x: keras.KerasTensor, filters: int, size: int, strides: int, name: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(name=f"{name}_bn")(_conv(x, filters, size, strides, name))
    return layers.Activation("relu")(x)
