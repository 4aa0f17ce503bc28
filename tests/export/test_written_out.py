"""Recurrent layers without their loop: what a mask leaves out, and convolutional LSTMs."""

from __future__ import annotations

import keras
import numpy as np

from kzoo.export.bridge import build_bridge, check_bridge
from kzoo.export.graph import read_graph

from .test_export_bridge import bridged, conv_lstm

layers = keras.layers


def masked_bilstm() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32", name="tokens")
    x, mask = layers.Embedding(10, 4)(inputs), keras.ops.not_equal(inputs, 0)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x, mask=mask)
    return keras.Model(inputs, layers.Dense(2)(layers.Bidirectional(layers.LSTM(4))(x, mask=mask)))


def conv_lstm_2d() -> keras.Model:
    inputs = keras.Input((3, 5, 4, 2))
    return keras.Model(inputs, layers.GlobalMaxPooling2D()(layers.ConvLSTM2D(3, 3)(inputs)))


def test_masked_bidirectional_lstm_answers_alike() -> None:
    model = masked_bilstm()
    graph = read_graph(model)
    for length in (1, 4, 6):  # with the padding behind, of any length
        tokens = np.pad(np.full((1, length), 7, np.int32), ((0, 0), (0, 6 - length)))
        assert check_bridge(model, graph, build_bridge(graph), {"tokens": tokens}) < 1e-5


def test_a_convolutional_lstm_is_written_out_on_request() -> None:
    for build in (conv_lstm, conv_lstm_2d):
        difference, _, _, rebuilt = bridged(build(), unroll=True)
        assert difference < 1e-5
        assert sum("WrittenOut" in type(layer).__name__ for layer in rebuilt.layers) >= 1
