"""Models that cannot be exported: one clear line each."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kzoo.errors import ExportError
from kzoo.export.bridge import build_bridge
from kzoo.export.graph import read_graph

layers = keras.layers


class Custom(layers.Layer):
    def call(self, inputs):
        return inputs * 2


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def _subclassed() -> keras.Model:
    model = Subclassed()
    model(np.zeros((1, 3), np.float32))
    return model


REFUSED = {
    "lambda": (
        lambda: keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x, name="trick")]),
        "'trick' is a La",
    ),
    "custom": (lambda: keras.Sequential([keras.Input((3,)), Custom(name="mine")]), "'mine' is of the custom class"),
    "subclassed": (_subclassed, r"subclassed model \(Subclassed\)"),
    "nested subclassed": (lambda: keras.Sequential([keras.Input((3,)), _subclassed()]), "custom class|subclassed"),
    "not built": (lambda: keras.Sequential([layers.Dense(2)]), "no input shape"),
    "unknown length": (lambda: keras.Sequential([keras.Input((None, 3)), layers.LSTM(2)]), "fixed input_shape"),
    "stateful": (lambda: keras.Sequential([keras.Input((4, 3), batch_size=1), layers.LSTM(2, stateful=True)]), "state"),
    "not a model": (lambda: layers.Dense(3), "Expected a Keras 3 model"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_one_clear_line(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(ExportError, match=message) as caught:
        read_graph(build())
    assert "\n" not in str(caught.value)


def test_training_mode_inside_the_graph_is_refused() -> None:
    inputs = keras.Input((3,))
    with pytest.raises(ExportError, match="training=True"):
        read_graph(keras.Model(inputs, layers.Dropout(0.5)(inputs, training=True)))


def test_channels_first_is_refused() -> None:
    model = keras.Sequential([keras.Input((3, 8, 8)), layers.Conv2D(2, 3, data_format="channels_first", name="conv")])
    with pytest.raises(ExportError, match=r"'conv'.*channels_last"):
        build_bridge(read_graph(model))


def test_what_cannot_cross_is_named_with_its_place() -> None:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="first"), Custom(name="mine")], name="inner")
    with pytest.raises(ExportError, match=r"'mine' .*It stands behind 'inner_first' in 'inner'\."):
        read_graph(keras.Sequential([keras.Input((4,)), inner]))
    with pytest.raises(ExportError, match=r"'mine' .*It stands at the input\."):
        read_graph(keras.Sequential([keras.Input((4,)), Custom(name="mine")]))
    inputs = keras.Input((3, 8, 8))
    x = layers.ReLU(name="before")(inputs)
    conv = layers.Conv2D(2, 3, data_format="channels_first", name="conv")
    with pytest.raises(ExportError, match=r"'conv' .*channels_last.* It stands behind 'before'\."):
        build_bridge(read_graph(keras.Model(inputs, conv(x))))
