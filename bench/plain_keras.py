"""Models that are not the zoo's, as a Keras user writes them, trained on the embedded digits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from kzoo.data import Dataset


@dataclass(frozen=True)
class PlainModel:
    """How a model is built and trained: `build` takes its input shape, `size` is the side of its images."""

    build: Callable[[tuple[int, ...]], keras.Model]
    size: int | None
    epochs: int


def recurrent(layer: keras.layers.Layer, name: str) -> Callable[[tuple[int, ...]], keras.Model]:
    """One recurrent layer over the rows of a digit, and a classifier."""

    def build(shape: tuple[int, ...]) -> keras.Model:
        scaled, classifier = layers.Rescaling(1 / 16), layers.Dense(10, activation="softmax")
        return keras.Sequential([keras.Input(shape), scaled, layer, classifier], name=name)

    return build


def mobilenet_v3_small(shape: tuple[int, ...]) -> keras.Model:
    """Of keras.applications, with moving averages that settle within a few epochs."""
    model = keras.applications.MobileNetV3Small(shape, weights=None, classes=10)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9
    return model


def small_cnn(shape: tuple[int, ...]) -> keras.Model:
    """So few weights that labels and description are a large part of the file."""
    convolutions = [layers.Conv2D(filters, 3, activation="relu") for filters in (8, 16)]
    ends = [layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax")]
    return keras.Sequential([keras.Input(shape), layers.Rescaling(1 / 255), *convolutions, *ends], name="small_cnn")


PLAIN_MODELS: Mapping[str, PlainModel] = {
    "GRU": PlainModel(recurrent(layers.GRU(64), "gru"), size=None, epochs=12),
    "Bidirectional LSTM": PlainModel(recurrent(layers.Bidirectional(layers.LSTM(32)), "bilstm"), size=None, epochs=12),
    "small CNN": PlainModel(small_cnn, size=8, epochs=12),
    "MobileNetV3Small": PlainModel(mobilenet_v3_small, size=32, epochs=12),
}


def trained(name: str, data: Dataset) -> keras.Model:
    """Build and train one of `PLAIN_MODELS`."""
    keras.utils.set_random_seed(0)
    plain = PLAIN_MODELS[name]
    model = plain.build(data.input.shape)
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    samples = data.train.load(np.arange(len(data.train))).astype(np.float32)
    model.fit(samples, data.train.labels, epochs=plain.epochs, batch_size=32, verbose=0)
    return model
