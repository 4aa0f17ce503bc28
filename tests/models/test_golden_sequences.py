"""Sequence models against the papers' equations in NumPy, on the same weights; MLPerf Tiny's against its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import kzoo.models as zoo

from .golden import assert_alike

Array = Any


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def scattered(model: keras.Model, x: Array) -> Array:
    """Give every weight a value of its own; of measurements their normalised values come back."""
    rng = np.random.default_rng(3)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, layers.Normalization):
            layer.adapt(x)
        elif isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.6, 1.6, value.shape) for value in values])
        elif values:
            layer.set_weights([rng.normal(0, 0.5, value.shape) for value in values])
    return (x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1)) if x.ndim == 3 else x


def measurements(*shape: int) -> Array:
    return np.random.default_rng(5).normal(40.0, 9.0, shape).astype("float32")


def lstm_steps(x: Array, kernel: Array, recurrent: Array, bias: Array) -> Array:
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000: every step's hidden state."""
    hidden = cell = np.zeros((len(x), len(recurrent)))
    steps = []
    for step in range(x.shape[1]):
        enter, forget, candidate, leave = np.split(x[:, step] @ kernel + hidden @ recurrent + bias, 4, axis=1)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
        steps.append(hidden)
    return np.stack(steps, axis=1)


def gru_steps(x: Array, kernel: Array, recurrent: Array, bias: Array) -> Array:
    """Cho et al. 2014, equations 5 to 8, with the reset gate behind the recurrent product: every step's state."""
    hidden = np.zeros((len(x), len(recurrent)))
    steps = []
    for step in range(x.shape[1]):
        update, reset, candidate = np.split(x[:, step] @ kernel + bias[0], 3, axis=1)
        past_update, past_reset, past_candidate = np.split(hidden @ recurrent + bias[1], 3, axis=1)
        new = np.tanh(candidate + sigmoid(reset + past_reset) * past_candidate)
        kept = sigmoid(update + past_update)
        hidden = kept * hidden + (1 - kept) * new
        steps.append(hidden)
    return np.stack(steps, axis=1)


def both_ways(run: Callable[..., Array], x: Array, *weights: Array) -> Array:
    half = len(weights) // 2
    return np.concatenate([run(x, *weights[:half]), run(x[:, ::-1], *weights[half:])[:, ::-1]], axis=2)


def classified(model: keras.Model, x: Array) -> Array:
    kernel, bias = model.get_layer("predictions").get_weights()
    return x @ kernel + bias


SMALL: dict[str, Any] = {"units": 4, "classes": 3, "classifier_activation": None}


@pytest.mark.parametrize("name", ["lstm", "gru", "bilstm", "bigru"])
def test_recurrent_layers_compute_the_papers_equations(name: str) -> None:
    model = zoo.create_model(name, input_shape=(5, 3), **SMALL)
    raw = measurements(6, 5, 3)
    x = scattered(model, raw)
    run = lstm_steps if "lstm" in name else gru_steps
    for number in (1, 2):
        weights = model.get_layer(f"{name}{number}").get_weights()
        x = both_ways(run, x, *weights) if name.startswith("bi") else run(x, *weights)
    last = np.concatenate([x[:, -1, :4], x[:, 0, 4:]], axis=1)
    assert_alike(model.predict_on_batch(raw), classified(model, last))


def test_attention_pooling_weighs_the_steps_by_bahdanaus_score() -> None:
    model = zoo.lstm_attention(input_shape=(5, 3), depth=1, **SMALL)
    raw = measurements(6, 5, 3)
    x = lstm_steps(scattered(model, raw), *model.get_layer("lstm1").get_weights())
    (kernel, bias), (vector,) = (model.get_layer(f"attention_{part}").get_weights() for part in ("hidden", "score"))
    shares = softmax((np.tanh(x @ kernel + bias) @ vector)[..., 0])
    assert np.ptp(shares, axis=1).min() > 0.01
    assert_alike(model.predict_on_batch(raw), classified(model, (shares[..., None] * x).sum(axis=1)))


def test_adaptive_lstm_shares_the_answer_out_among_its_passes() -> None:
    model = zoo.adaptive_lstm(input_shape=(5, 3), max_ponder_steps=4, ponder_cost=0.3, **SMALL)
    raw = measurements(6, 5, 3)
    x = scattered(model, raw)
    halting_kernel, _ = model.get_layer("halting").get_weights()
    model.get_layer("halting").set_weights([12 * halting_kernel, np.array([-1.0])])
    weights = {name: model.get_layer(name).get_weights() for name in ("embedding", "halting", "lstm")}
    embedded = x @ weights["embedding"][0] + weights["embedding"][1]
    states, left, total, cost = 0.0, np.ones((6, 5, 1)), 0.0, 0.0
    spent = []
    for number in (1, 2, 3, 4):
        states = lstm_steps(embedded + states, *weights["lstm"])
        halting = sigmoid(states @ weights["halting"][0] + weights["halting"][1])
        share = left if number == 4 else np.minimum(halting, left)
        left, total = left - share, total + share * states
        cost += left.sum()
        spent.append(left)
    # Some steps are done after two passes, others need all of them.
    assert (spent[1] == 0).any() and (spent[2] > 0).any() and (spent[3] == 0).all()
    assert_alike(model.predict_on_batch(raw), classified(model, total.mean(axis=1)))
    model(raw)
    assert float(sum(model.losses)) == pytest.approx(0.3 * cost / raw[..., 0].size, rel=1e-4)


def test_pondering_that_costs_more_is_done_less() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 6, 3)).astype("float32")
    y = (x.sum(axis=(1, 2)) > 0).astype(int)
    passes = []
    for cost in (0.0, 1.0):
        keras.utils.set_random_seed(1)
        model = zoo.adaptive_lstm(input_shape=(6, 3), units=8, classes=2, ponder_cost=cost)
        remainders = [model.get_layer(f"remainder{number}").output for number in (1, 2, 3)]
        probe = keras.Model(model.input, remainders)
        before = 1 + sum(float(each.mean()) for each in probe.predict(x, verbose=0))
        model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
        losses = model.fit(x, y, epochs=12, batch_size=64, verbose=0).history["loss"]
        assert losses[-1] < 0.8 * losses[0]
        passes.append(1 + sum(float(each.mean()) for each in probe.predict(x, verbose=0)))
        assert before > 2
    assert passes[1] < 1.3 and passes[1] < passes[0] - 0.5


def causal_conv(x: Array, kernel: Array, dilation: int) -> Array:
    """Bai et al. 2018, equation 1: F(s) = sum over i of f(i) x(s - d i); Keras keeps the latest step's weights last."""
    result = np.zeros((*x.shape[:2], kernel.shape[2]))
    for past, weights in enumerate(kernel[::-1]):
        for step in range(past * dilation, x.shape[1]):
            result[:, step] += x[:, step - past * dilation] @ weights
    return result


def batch_norm(model: keras.Model, x: Array, name: str) -> Array:
    gamma, beta, mean, variance = model.get_layer(f"{name}_bn").get_weights()
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def test_tcn_computes_the_papers_residual_blocks() -> None:
    model = zoo.tcn(input_shape=(11, 3), depth=3, **SMALL)
    raw = measurements(6, 11, 3)
    x = scattered(model, raw)
    for block in (1, 2, 3):
        y = x
        for part in (f"block{block}_1", f"block{block}_2"):
            (kernel,) = model.get_layer(f"{part}_conv").get_weights()
            y = relu(batch_norm(model, causal_conv(y, kernel, 2 ** (block - 1)), part))
        if block == 1:
            kernel, bias = model.get_layer("block1_shortcut").get_weights()
            x = x @ kernel[0] + bias
        x = relu(x + y)
    assert_alike(model.predict_on_batch(raw), classified(model, x[:, -1]))


def same_conv(x: Array, kernel: Array) -> Array:
    """Convolve `(batch, places, channels)` with a kernel of odd size, zeros beyond both ends."""
    side = len(kernel) // 2
    padded = np.pad(x, ((0, 0), (side, side), (0, 0)))
    return sum(padded[:, place : place + x.shape[1]] @ weights for place, weights in enumerate(kernel))


def test_conv_lstm_computes_the_papers_equations_without_peepholes() -> None:
    model = zoo.conv_lstm(input_shape=(22, 3), kernel_size=3, **SMALL)
    raw = measurements(6, 22, 3)
    x = scattered(model, raw)
    windows = np.pad(x, ((0, 0), (0, 2), (0, 0))).reshape(6, 8, 3, 3)
    kernel, recurrent, bias = model.get_layer("conv_lstm1").get_weights()
    hidden = cell = np.zeros((6, 3, 4))
    for window in range(8):
        gates = same_conv(windows[:, window], kernel) + same_conv(hidden, recurrent) + bias
        enter, forget, candidate, leave = np.split(gates, 4, axis=2)
        cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
        hidden = sigmoid(leave) * np.tanh(cell)
    assert_alike(model.predict_on_batch(raw), classified(model, hidden.mean(axis=1)))


def layer_norm(model: keras.Model, x: Array, name: str) -> Array:
    gamma, beta = model.get_layer(name).get_weights()
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) * gamma + beta


def encoder(model: keras.Model, x: Array, blocks: list[str], there: Array) -> Array:
    """Vaswani et al. 2017, section 3.2, with normalisation first; only steps that are `there` are attended to."""
    for block in blocks:
        weights = model.get_layer(f"{block}_attention").get_weights()
        normed = layer_norm(model, x, f"{block}_attention_norm")
        query, key, value = (
            np.einsum("bsu,uhd->bhsd", normed, weights[2 * part]) + weights[2 * part + 1][:, None] for part in range(3)
        )
        scores = np.einsum("bhqd,bhkd->bhqk", query, key) / np.sqrt(query.shape[-1])
        heads = softmax(np.where(there[:, None, None], scores, -np.inf)) @ value
        x = x + np.einsum("bhsd,hdu->bsu", heads, weights[6]) + weights[7]
        (widen, widen_bias), (narrow, narrow_bias) = (
            model.get_layer(f"{block}_mlp_{part}").get_weights() for part in ("widen", "narrow")
        )
        x = x + relu(layer_norm(model, x, f"{block}_mlp_norm") @ widen + widen_bias) @ narrow + narrow_bias
    x = layer_norm(model, x, "final_norm") * there[..., None]
    return x.sum(axis=1) / there.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("share_layers", [False, True])
def test_text_transformer_computes_the_papers_encoder_on_what_is_no_padding(share_layers: bool) -> None:
    model = zoo.text_transformer(
        input_shape=(6,), units=8, classes=3, classifier_activation=None, vocabulary_size=9, share_layers=share_layers
    )
    tokens = np.array([[3, 1, 7, 7, 2, 5], [4, 8, 0, 0, 0, 0], [6, 0, 0, 0, 0, 0]], "int32")
    scattered(model, tokens)
    (table,) = model.get_layer("embedding").get_weights()
    kernel, positions = model.get_layer("projection_and_position").get_weights()
    blocks = ["block1", "block1" if share_layers else "block2"]
    x = encoder(model, table[tokens] @ kernel + positions, blocks, tokens > 0)
    assert_alike(model.predict_on_batch(tokens), classified(model, x))


def test_sinusoidal_positions_are_the_papers() -> None:
    model = zoo.transformer_tiny(
        input_shape=(7, 3), units=6, heads=2, depth=1, classes=3, classifier_activation=None, positions="sinusoidal"
    )
    raw = measurements(6, 7, 3)
    x = scattered(model, raw)
    kernel, bias = model.get_layer("projection").get_weights()
    table = np.zeros((7, 6))
    for position in range(7):
        for pair in range(3):  # PE(pos, 2i) and PE(pos, 2i + 1)
            angle = position / 10000 ** (2 * pair / 6)
            table[position, 2 * pair : 2 * pair + 2] = np.sin(angle), np.cos(angle)
    x = encoder(model, x @ kernel + bias + table, ["block1"], np.ones((6, 7), bool))
    assert_alike(model.predict_on_batch(raw), classified(model, x))


def mlperf_tiny_ds_cnn() -> keras.Model:
    """Write the reference's layers again, without dropout: https://github.com/mlcommons/tiny."""
    inputs = keras.Input((49, 10, 1))
    x = layers.Conv2D(64, (10, 4), strides=2, padding="same")(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    for _ in range(4):
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.Conv2D(64, 1, padding="same")(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Flatten()(layers.AveragePooling2D((49 // 2, 10 // 2))(x))
    return keras.Model(inputs, layers.Dense(12)(x))


def mlperf_tiny_autoencoder() -> keras.Model:
    inputs = x = keras.Input((640,))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = layers.Activation("relu")(layers.BatchNormalization()(layers.Dense(units)(x)))
    return keras.Model(inputs, layers.Dense(640)(x))


@pytest.mark.parametrize("name", ["ds_cnn", "autoencoder"])
def test_mlperf_tinys_models_compute_what_the_references_do(name: str) -> None:
    if name == "ds_cnn":
        reference, model = mlperf_tiny_ds_cnn(), zoo.ds_cnn(classifier_activation=None)
    else:
        reference, model = mlperf_tiny_autoencoder(), zoo.autoencoder()
    raw = measurements(4, *model.input_shape[1:])
    x = scattered(model, raw)
    ours = [layer for layer in model.layers if layer.get_weights() and not isinstance(layer, layers.Normalization)]
    theirs = [layer for layer in reference.layers if layer.get_weights()]
    for source, target in zip(ours, theirs, strict=True):
        target.set_weights(source.get_weights())
    expected = reference.predict_on_batch(x.reshape(len(x), *reference.input_shape[1:]))
    assert_alike(model.predict_on_batch(raw).reshape(expected.shape), expected)
