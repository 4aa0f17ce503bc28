"""The bridge: a Keras 3 model and the tf_keras model rebuilt from it answer alike, sample by sample."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tf_keras

from kzoo.errors import ExportError
from kzoo.export import bridge
from kzoo.export.bridge import build_bridge, check_bridge, return_weights
from kzoo.export.float_model import as_float32
from kzoo.export.folding import fold_input_scaling, takes_pixels
from kzoo.export.graph import Graph, read_graph

layers = keras.layers


def bridged(model: keras.Model, low: float = -1, high: float = 1, samples: int = 3, unroll: bool = False):
    """Scramble the weights, rebuild, compare. Gives the difference, the folded layers, the graph and the new model."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "seed" in variable.path or variable.dtype not in ("float32", "bfloat16"):
            continue
        values = np.asarray(variable.value, np.float32)
        noise = rng.normal(0, 0.1, values.shape)
        variable.assign(np.abs(values + noise) + 0.05 if "variance" in variable.path else values + noise)
    model = as_float32(model)
    graph = read_graph(model)
    folded = fold_input_scaling(graph)
    rebuilt = build_bridge(graph, unroll=unroll)
    feeds = {each.name: rng.uniform(low, high, (samples, *each.shape)).astype(each.dtype) for each in graph.inputs}
    return check_bridge(model, graph, rebuilt, feeds), folded, graph, rebuilt


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((6,)), layers.Dense(5, "relu"), layers.Dropout(0.5), layers.Dense(3)])


def sequential_without_input_layer() -> keras.Model:
    model = keras.Sequential([layers.Dense(5, "relu"), layers.Dense(3)])
    model.build((None, 6))
    return model


def functional() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    y = layers.Conv2D(4, 1, activation="swish")(x)
    x = layers.Concatenate()([layers.Add()([x, y]), layers.Multiply()([x, y])])
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def nested() -> keras.Model:
    """A functional model in a Sequential one in a functional one; inner names occur twice."""
    inner_in = keras.Input((4,), name="x")
    inner = keras.Model(inner_in, layers.Dense(4, name="dense")(inner_in), name="inner")
    middle = keras.Sequential([keras.Input((4,)), inner, layers.Dense(4, name="dense")], name="middle")
    inputs = keras.Input((4,), name="x")
    return keras.Model(inputs, layers.Dense(2, name="dense")(middle(inputs)))


def nested_with_two_outputs() -> keras.Model:
    a, b = keras.Input((4,)), keras.Input((3,))
    inner = keras.Model([a, b], [layers.Dense(2)(a), layers.Dense(5)(b)], name="inner")
    x, y = keras.Input((4,), name="one"), keras.Input((3,), name="two")
    first, second = inner([x, y])
    return keras.Model([x, y], [second, layers.Dense(2)(first)])


def nested_head() -> keras.Model:
    """A nested functional model as the last layer, called for the second time."""
    x = keras.Input((4,))
    head = keras.Model(x, layers.Dense(4)(x), name="head")
    inputs = keras.Input((4,))
    return keras.Model(inputs, head(layers.ReLU()(head(inputs))))


def shared() -> keras.Model:
    """One layer and one nested model, each used twice."""
    tower = keras.Sequential([keras.Input((4,)), layers.Dense(3, "tanh")])
    dense = layers.Dense(4)
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    return keras.Model([a, b], layers.Subtract()([tower(dense(a)), tower(dense(b))]))


def two_inputs_by_name() -> keras.Model:
    """A dictionary of inputs, and outputs whose order is not the alphabet's."""
    inputs = {"zeta": keras.Input((4,), name="zeta"), "alpha": keras.Input((3,), name="alpha")}
    x = layers.Concatenate()([inputs["zeta"], inputs["alpha"]])
    return keras.Model(inputs, {"q": layers.Dense(2, name="w")(x), "p": layers.Dense(3, name="v")(x)})


def lstm() -> keras.Model:
    inputs = keras.Input((5, 3))
    return keras.Model(inputs, layers.LSTM(4)(layers.LSTM(4, return_sequences=True, dropout=0.2)(inputs)))


def lstm_states() -> keras.Model:
    inputs = keras.Input((5, 3))
    _, h, c = layers.LSTM(4, return_state=True)(inputs)
    return keras.Model(inputs, layers.LSTM(4)(inputs, initial_state=[h, c]))


def bilstm() -> keras.Model:
    x = inputs = keras.Input((5, 3))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode="sum")(x)
    return keras.Model(inputs, layers.Bidirectional(layers.LSTM(3))(x))


def gru() -> keras.Model:
    inputs = keras.Input((5, 3))
    return keras.Model(inputs, layers.GRU(4, reset_after=False)(layers.GRU(4, return_sequences=True)(inputs)))


def masked_lstm() -> keras.Model:
    inputs = keras.Input((6,), dtype="int32", name="tokens")
    x = layers.Embedding(10, 4, mask_zero=True)(inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.LSTM(4)(x)))


def conv_lstm() -> keras.Model:
    inputs = keras.Input((5, 6, 3))
    x = layers.ConvLSTM1D(4, 3, padding="same", activation="silu", return_sequences=True)(inputs)
    x = layers.ConvLSTM1D(3, 2, strides=2, use_bias=False, recurrent_activation="hard_sigmoid")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling1D()(x))


def attention() -> keras.Model:
    inputs = keras.Input((6, 8))
    x = layers.LayerNormalization(epsilon=1e-5)(inputs)
    y, scores = layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x, return_attention_scores=True)
    x = layers.Add()([inputs, y])
    y = layers.MultiHeadAttention(2, 3, value_dim=5)(query=x, value=y, key=x, use_causal_mask=True)
    return keras.Model(inputs, [layers.GlobalAveragePooling1D()(y), scores])


def convolutions() -> keras.Model:
    inputs = keras.Input((9, 9, 4))
    x = layers.Conv2D(8, 3, groups=2, strides=2, padding="same")(inputs)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)
    x = layers.SeparableConv2D(6, 3, dilation_rate=2, padding="same")(x)
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same")(x)
    return keras.Model(inputs, layers.UpSampling2D(interpolation="bilinear")(layers.ZeroPadding2D(((0, 1), (1, 0)))(x)))


def channels_padded_and_cropped() -> keras.Model:
    """`channels_first` makes the last two axes those that are padded or cropped; the data is channels_last."""
    inputs = keras.Input((5, 4, 6))
    x = layers.ZeroPadding2D(((0, 0), (2, 3)), data_format="channels_first")(inputs)
    return keras.Model(inputs, layers.Cropping2D(((0, 0), (1, 4)), data_format="channels_first")(x))


def one_dimensional() -> keras.Model:
    inputs = keras.Input((12, 3))
    x = layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(inputs)
    x = layers.TimeDistributed(layers.Dense(4, "relu"))(layers.SeparableConv1D(4, 3)(x))
    return keras.Model(inputs, layers.GlobalMaxPooling1D()(layers.AveragePooling1D(2)(x)))


def normalisations() -> keras.Model:
    x = inputs = keras.Input((5, 5, 4))
    for layer in (
        layers.BatchNormalization(epsilon=1e-5, scale=False),
        layers.BatchNormalization(center=False),
        layers.GroupNormalization(2),
        layers.UnitNormalization(),
        layers.LayerNormalization(axis=[1, 2]),
    ):
        x = layer(x)
    return keras.Model(inputs, x)


def activations() -> keras.Model:
    """hard_sigmoid is another function in tf_keras, LeakyReLU's slope has another name, some only Keras 3 has."""
    x = inputs = keras.Input((6,))
    names = ("hard_sigmoid", "hard_silu", "relu6", "leaky_relu", "gelu", "silu", "squareplus", "celu", "softmax", "elu")
    for name in names:
        x = layers.Dense(6, activation=name)(x)
    x = layers.Activation("log_softmax")(layers.LeakyReLU(negative_slope=0.3)(layers.PReLU()(x)))
    return keras.Model(inputs, layers.ReLU(max_value=3, negative_slope=0.1, threshold=0.5)(x))


def operations() -> keras.Model:
    """Operators on tensors and keras.ops: one called twice, one with the tensor second."""
    inputs = keras.Input((4, 6))
    x = 1.5 - inputs * 2.0 + keras.ops.mean(inputs, axis=1, keepdims=True)
    x = keras.ops.concatenate([x, inputs], axis=-1)[:, 1:3]
    return keras.Model(inputs, keras.ops.reshape(x, (-1, 24)))


def layers_tf_keras_lacks() -> keras.Model:
    inputs = keras.Input((6, 8))
    x = layers.GroupQueryAttention(4, 4, 2)(inputs, inputs)
    norm = layers.RMSNormalization()
    return keras.Model(inputs, norm(layers.Dense(8)(norm(x))))


def mixed_precision() -> keras.Model:
    inputs = keras.Input((6,))
    x = layers.Dense(5, "relu", dtype="mixed_bfloat16")(inputs)
    return keras.Model(inputs, layers.Dense(3, dtype="float32")(x))


BUILDERS = (
    sequential,
    sequential_without_input_layer,
    functional,
    nested,
    nested_with_two_outputs,
    nested_head,
    shared,
    two_inputs_by_name,
    lstm,
    lstm_states,
    bilstm,
    gru,
    conv_lstm,
    attention,
    convolutions,
    channels_padded_and_cropped,
    one_dimensional,
    normalisations,
    activations,
    operations,
    layers_tf_keras_lacks,
    mixed_precision,
)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_rebuilt_model_answers_alike(build: Callable[[], keras.Model]) -> None:
    difference, _, _, rebuilt = bridged(build())
    assert difference < 1e-5
    assert all(tensor.shape[0] == 1 and tensor.dtype == "float32" for tensor in rebuilt.inputs)


@pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__)
def test_every_weight_comes_back(build: Callable[[], keras.Model]) -> None:
    """Keras 3 -> tf_keras -> Keras 3; what was changed in between arrives."""
    model = as_float32(build())
    graph = read_graph(model)
    rebuilt = build_bridge(graph)
    before = model.get_weights()
    return_weights(graph, {layer.name: layer.get_weights() for layer in rebuilt.layers})
    for mine, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for variable in rebuilt.trainable_variables:
        variable.assign(variable + 1.0)
    return_weights(graph, {layer.name: layer.get_weights() for layer in rebuilt.layers})
    for layer in {id(call.layer): call.layer for _, call in graph.numbered_calls() if call.layer.weights}.values():
        # What tf_keras lacks is computed by the Keras layer itself: its weights are constants there.
        change = float(hasattr(tf_keras.layers, layer.kind))
        for variable, weight in zip(layer.operation.weights, layer.weights, strict=True):
            np.testing.assert_allclose(np.asarray(variable), weight + change * variable.trainable, atol=1e-6)


def test_masked_lstm_answers_alike_and_is_written_out() -> None:
    difference, _, graph, rebuilt = bridged(masked_lstm(), low=0, high=4, samples=6)
    assert difference < 1e-5
    assert graph.inputs[0].dtype == "int32"
    assert [layer.unroll for layer in rebuilt.layers if type(layer).__name__ == "LSTM"] == [True]


def test_gru_is_written_out_on_request() -> None:
    difference, _, _, rebuilt = bridged(gru(), unroll=True)
    assert difference < 1e-5
    assert [layer.unroll for layer in rebuilt.layers if type(layer).__name__ == "GRU"] == [True, True]


def test_mobilenet_v2() -> None:
    model = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10)
    difference, *_ = bridged(model, samples=1)
    assert difference < 1e-5


def test_shared_layers_stay_shared() -> None:
    _, _, graph, rebuilt = bridged(shared())
    assert len(graph.calls) == 5
    assert [type(layer).__name__ for layer in rebuilt.layers].count("Dense") == 2


def test_names_and_order_of_inputs_and_outputs() -> None:
    graph = read_graph(two_inputs_by_name())
    assert [each.name for each in graph.inputs] == ["alpha", "zeta"]
    assert [name for name, _ in graph.outputs] == ["v", "w"]


def test_a_difference_is_refused_and_names_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """tf_keras's hard_sigmoid is another function: taken by its name, the check must notice."""
    monkeypatch.setattr(bridge, "_SAME_ACTIVATIONS", frozenset({"linear", "hard_sigmoid"}))
    inputs = keras.Input((4,))
    x = layers.Dense(3, name="good")(inputs)
    model = keras.Model(inputs, layers.Dense(2, activation="hard_sigmoid", name="bad")(x))
    with pytest.raises(ExportError, match=r"relative difference .* layer 'bad' \(Dense\) differs first"):
        bridged(model)


# Folding: the scaling of raw inputs goes into the next layer's weights where that is exact.


def scaled(*after: keras.layers.Layer, shape: tuple[int, ...] = (7, 7, 3), scaling: keras.layers.Layer | None = None):
    return keras.Sequential([keras.Input(shape), scaling or layers.Rescaling(1 / 255), *after])


def normalization(channels: int) -> keras.layers.Layer:
    return layers.Normalization(mean=np.linspace(50, 130, channels), variance=np.linspace(900, 2500, channels))


FOLDED = {
    "conv, padded": lambda: scaled(layers.Conv2D(4, 3, padding="same")),
    "conv without bias, offset": lambda: scaled(
        layers.Conv2D(4, 3, use_bias=False), scaling=layers.Rescaling(1 / 127.5, -1)
    ),
    "grouped conv": lambda: scaled(layers.Conv2D(6, 3, groups=3), scaling=layers.Rescaling(1 / 127.5, -1)),
    "zero padding": lambda: scaled(layers.ZeroPadding2D(1), layers.Conv2D(4, 3, strides=2)),
    "depthwise": lambda: scaled(layers.DepthwiseConv2D(3, depth_multiplier=2), scaling=normalization(3)),
    "separable": lambda: scaled(layers.SeparableConv2D(4, 3, padding="same")),
    "flatten, dense": lambda: scaled(layers.Flatten(), layers.Dense(3), scaling=layers.Rescaling(1 / 128, -1)),
    "normalization, dense": lambda: scaled(layers.Dense(3), shape=(5,), scaling=normalization(5)),
    "normalization, conv": lambda: scaled(layers.Conv2D(4, 3), scaling=normalization(3)),
    "lstm": lambda: scaled(layers.LSTM(4), shape=(5, 3), scaling=normalization(3)),
    "gru": lambda: scaled(layers.GRU(4), shape=(5, 3), scaling=normalization(3)),
    "bilstm": lambda: scaled(layers.Bidirectional(layers.LSTM(4)), shape=(5, 3), scaling=normalization(3)),
}


@pytest.mark.parametrize("name", FOLDED)
def test_scaling_is_folded_exactly(name: str) -> None:
    difference, folded, _, rebuilt = bridged(FOLDED[name](), low=0, high=255)
    assert difference < 1e-5
    assert len(folded) == 1
    assert not any("Rescaling" in type(layer).__name__ for layer in rebuilt.layers)


STAYS = {
    "offset before padding": lambda: scaled(
        layers.Conv2D(4, 3, padding="same"), scaling=layers.Rescaling(1 / 127.5, -1)
    ),
    "offset before zero padding": lambda: scaled(
        layers.ZeroPadding2D(1), layers.Conv2D(4, 3), scaling=layers.Rescaling(1 / 128, -1)
    ),
    "channels before a grouped conv": lambda: scaled(layers.Conv2D(6, 3, groups=3), scaling=normalization(3)),
    "an activation in between": lambda: scaled(layers.ReLU(), layers.Conv2D(4, 3)),
    "nothing to fold into": lambda: scaled(layers.MaxPooling2D()),
}


@pytest.mark.parametrize("name", STAYS)
def test_scaling_that_cannot_be_folded_stays(name: str) -> None:
    difference, folded, *_ = bridged(STAYS[name](), low=0, high=255)
    assert difference < 1e-5
    assert folded == []


def test_a_clustered_kernel_takes_up_one_scale_but_not_one_a_channel() -> None:
    def folded(scaling: keras.layers.Layer, *, clustered: bool) -> list[str]:
        inputs = keras.Input((8, 4))
        model = keras.Model(inputs, layers.LSTM(16)(scaling(inputs)))
        recurrent = model.layers[-1]
        kernel, *others = recurrent.get_weights()
        recurrent.set_weights([np.round(kernel * 8) / 8 if clustered else kernel, *others])
        return fold_input_scaling(read_graph(model))

    a_channel = {"mean": [1.0, 2.0, 3.0, 4.0], "variance": [1.0, 4.0, 9.0, 16.0]}
    assert folded(layers.Normalization(**a_channel), clustered=False)
    assert folded(layers.Normalization(**a_channel), clustered=True) == []
    assert folded(layers.Rescaling(1 / 255), clustered=True)


def test_scaling_with_two_readers_stays() -> None:
    inputs = keras.Input((4,))
    x = layers.Rescaling(1 / 255)(inputs)
    difference, folded, *_ = bridged(keras.Model(inputs, layers.Add()([layers.Dense(4)(x), x])), low=0, high=255)
    assert difference < 1e-5
    assert folded == []


def test_scaling_into_a_shared_layer_stays() -> None:
    inputs = keras.Input((4,))
    dense = layers.Dense(4)
    difference, folded, *_ = bridged(keras.Model(inputs, dense(dense(layers.Rescaling(1 / 255)(inputs)))), high=255)
    assert difference < 1e-5
    assert folded == []


@pytest.mark.parametrize(("scale", "pixels"), [(1 / 255, True), (1 / 127.5, True), (1 / 128, True), (0.5, False)])
def test_pixel_inputs_are_recognised(scale: float, pixels: bool) -> None:
    graph: Graph = read_graph(scaled(layers.Conv2D(2, 3), scaling=layers.Rescaling(scale)))
    assert bool(takes_pixels(graph)) is pixels
