"""count_macs against products worked out by hand."""

from __future__ import annotations

import logging
from typing import Any

import keras
import pytest
from keras import layers

from kzoo.models import count_macs


def model_of(layer: Any, *shape: int | None) -> keras.Model:
    """Make a model of one layer."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (layers.Conv1D(4, 3), (10, 2), 8 * 3 * 2 * 4),
        (layers.Conv2D(8, 3, padding="same"), (6, 5, 3), 6 * 5 * 9 * 3 * 8),
        (layers.Conv2D(8, 3, strides=2), (7, 7, 3), 3 * 3 * 9 * 3 * 8),
        (layers.Conv2D(8, 3, groups=2, padding="same"), (6, 6, 4), 6 * 6 * 9 * 2 * 8),
        (layers.Conv2D(4, 3, dilation_rate=2), (8, 8, 1), 4 * 4 * 9 * 4),
        (layers.Conv3D(2, 2), (3, 3, 3, 1), 8 * 8 * 2),
        (layers.DepthwiseConv1D(3, depth_multiplier=2), (10, 4), 8 * 3 * 4 * 2),
        (layers.DepthwiseConv2D(3, strides=2, padding="same"), (7, 7, 4), 4 * 4 * 9 * 4),
        (layers.SeparableConv2D(8, 3, padding="same"), (5, 5, 4), 25 * (9 * 4 + 4 * 8)),
        (layers.Conv2DTranspose(3, 2, strides=2), (5, 5, 4), 25 * 4 * 4 * 3),
        (layers.Dense(5), (7,), 7 * 5),
        (layers.Dense(5), (3, 7), 3 * 7 * 5),
        (layers.EinsumDense("abc,cd->abd", output_shape=(3, 5)), (3, 7), 3 * 7 * 5),
        (layers.LSTM(5), (4, 3), 4 * 4 * 5 * (3 + 5)),
        (layers.GRU(5, return_sequences=True), (4, 3), 4 * 3 * 5 * (3 + 5)),
        (layers.SimpleRNN(5), (4, 3), 4 * 5 * (3 + 5)),
        (layers.Bidirectional(layers.LSTM(5)), (4, 3), 2 * 4 * 4 * 5 * (3 + 5)),
        (layers.ConvLSTM1D(5, 3, strides=2), (4, 9, 2), 4 * 4 * 3 * (2 + 5) * 4 * 5),
        (layers.ConvLSTM1D(5, 3, padding="same", return_sequences=True), (4, 9, 2), 4 * 9 * 3 * (2 + 5) * 4 * 5),
        (layers.TimeDistributed(layers.Conv2D(2, 3)), (6, 5, 5, 1), 6 * 3 * 3 * 9 * 2),
        (layers.BatchNormalization(), (4, 3), 0),
        (layers.MaxPooling2D(), (4, 4, 3), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else None,
)
def test_one_layer(layer: Any, shape: tuple[int, ...], macs: int) -> None:
    assert count_macs(model_of(layer, *shape)) == macs


def test_self_attention() -> None:
    inputs = keras.Input((6, 10))
    model = keras.Model(inputs, layers.MultiHeadAttention(num_heads=2, key_dim=4, value_dim=3)(inputs, inputs))
    projections = 6 * 10 * 8 + 6 * 10 * 8 + 6 * 10 * 6 + 6 * 6 * 10
    assert count_macs(model) == projections + 6 * 6 * 8 + 6 * 6 * 6


def test_gated_attention_projects_the_query_twice() -> None:
    inputs = keras.Input((6, 10))
    plain, gated = (layers.MultiHeadAttention(num_heads=2, key_dim=4, use_gate=gate) for gate in (False, True))
    extra = count_macs(keras.Model(inputs, gated(inputs, inputs))) - count_macs(
        keras.Model(inputs, plain(inputs, inputs))
    )
    assert extra == 6 * 10 * 8


def test_attention_over_one_axis_of_a_map() -> None:
    inputs = keras.Input((3, 5, 4))
    model = keras.Model(inputs, layers.MultiHeadAttention(num_heads=1, key_dim=2, attention_axes=2)(inputs, inputs))
    assert count_macs(model) == 4 * (15 * 4 * 2) + 2 * (15 * 5 * 2)


def test_attention_to_another_sequence() -> None:
    query, value, key = keras.Input((6, 10)), keras.Input((5, 7)), keras.Input((5, 9))
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=4, output_shape=11)
    model = keras.Model([query, value, key], attention(query, value, key))
    projections = 6 * 10 * 8 + 5 * 9 * 8 + 5 * 7 * 8 + 6 * 8 * 11
    assert count_macs(model) == projections + 2 * (6 * 5 * 8)


def test_a_shared_layer_counts_at_every_call_and_a_nested_model_in_full() -> None:
    inner = model_of(layers.Dense(3), 3)
    inputs, shared = keras.Input((3,)), layers.Dense(3)
    model = keras.Model(inputs, inner(shared(shared(inputs))))
    assert count_macs(model) == 3 * 9
    assert count_macs(keras.Sequential([keras.Input((3,)), inner, layers.Dense(2)])) == 9 + 6


def test_a_layer_without_a_rule_is_named(caplog: pytest.LogCaptureFixture) -> None:
    class Scale(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.scale = self.add_weight(shape=(input_shape[-1],))

        def call(self, inputs: Any) -> Any:
            return keras.ops.multiply(inputs, self.scale)

    with caplog.at_level(logging.WARNING):
        assert count_macs(model_of(Scale(name="gain"), 3)) == 0
    assert "'gain' (Scale)" in caplog.text


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: model_of(layers.Conv2D(2, 3), None, None, 3), "known input shape.*axis of unknown size"),
        (lambda: model_of(layers.LSTM(2), None, 3), "known input shape"),
        (lambda: keras.Sequential([layers.Dense(2)]), "that are built"),
        (lambda: model_of(layers.EinsumDense("...c,cd->...d", output_shape=(5,)), 7), "names every axis"),
    ],
)
def test_what_cannot_be_counted_is_said(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count_macs(model())
