"""Filters removed: what is dead goes without a trace in the answers; what is left fits the budget, loads, converts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kzoo.errors import ExportError, UsageError
from kzoo.export.bridge import build_bridge, check_bridge
from kzoo.export.compression import FilterReport, remove_filters
from kzoo.export.compression._channels import ChannelMap
from kzoo.export.compression._rebuild import layers_of, read_trained, shapes_of
from kzoo.export.graph import read_graph
from kzoo.models import count_macs, create_model

layers = keras.layers


def conv_bn(x: Any, filters: int, size: int = 3, **arguments: Any) -> Any:
    x = layers.Conv2D(filters, size, padding="same", use_bias=False, **arguments)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def inception() -> keras.Model:
    """Branches side by side, then a Flatten."""
    inputs = keras.Input((8, 8, 3))
    x = conv_bn(inputs, 16)
    pooled = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    x = layers.Concatenate()([conv_bn(x, 8, 1), conv_bn(conv_bn(x, 8, 1), 24, 5), conv_bn(pooled, 8, 1), x])
    x = layers.Flatten()(layers.MaxPooling2D()(conv_bn(x, 16)))
    return keras.Model(inputs, layers.Dense(5)(layers.Dense(32, activation="relu")(x)))


def nested() -> keras.Model:
    """A functional and a Sequential model inside, dropout, a layer called twice, two inputs and outputs by name."""
    inner = keras.Input((8, 8, 16))
    block = keras.Model(inner, layers.Add()([conv_bn(inner, 16), inner]), name="block")
    head = keras.Sequential([keras.Input((32,)), layers.Dense(24, activation="relu"), layers.Dropout(0.5)], name="head")
    inputs = {name: keras.Input((8, 8, 3), name=name) for name in ("left", "right")}
    stem = layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")
    sides = [layers.GlobalAveragePooling2D()(block(stem(each))) for each in inputs.values()]
    x = head(layers.Concatenate()(sides))
    outputs = {"many": layers.Dense(4, name="many")(x), "one": layers.Dense(1, name="one")(x)}
    return keras.Model(inputs, outputs, name="nested")


def depthwise() -> keras.Model:
    """A depth multiplier, squeeze and excitation, PReLU, transposed and separable convolutions, sizes not square."""
    inputs = keras.Input((6, 10, 2))
    x = conv_bn(inputs, 16)
    x = layers.PReLU(shared_axes=[1, 2])(layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x))
    gate = layers.Dense(8, activation="relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, 32))(layers.Dense(32, activation="sigmoid")(gate))
    x = layers.Multiply()([x, gate])
    x = layers.Conv2DTranspose(16, 2, strides=2, activation="relu")(x)
    x = layers.SeparableConv2D(16, 3, depth_multiplier=2, activation="relu")(layers.ZeroPadding2D(1)(x))
    return keras.Model(inputs, layers.Conv2D(3, 1)(x))


def sequence() -> keras.Model:
    """Recurrent layers and attention as readers."""
    inputs = keras.Input((12, 5))
    x = layers.Conv1D(32, 3, padding="causal", activation="relu")(inputs)
    x = layers.Conv1D(32, 3, activation="relu")(x)
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    x = layers.Dense(16, activation="relu")(layers.GRU(12, return_sequences=True)(x))
    x = layers.LayerNormalization()(layers.Dense(16)(x))
    return keras.Model(inputs, layers.Dense(4)(layers.MultiHeadAttention(2, 4)(x, x)[:, 0]))


def turned() -> keras.Model:
    """Channels along the first axis."""
    inputs = keras.Input((4, 6, 3))
    x = layers.Permute((3, 1, 2))(layers.Conv2D(16, 3, activation="relu")(inputs))
    x = layers.Activation("tanh")(layers.BatchNormalization(axis=1)(x))
    return keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))


def zoo(name: str, **arguments: Any) -> Callable[[], keras.Model]:
    return lambda: create_model(name, classifier_activation=None, **arguments)


SMALL = {"input_shape": (32, 32, 3), "classes": 7}
MODELS: dict[str, Callable[[], keras.Model]] = {
    **{
        name: zoo(name, **SMALL)
        for name in ("resnet8", "resnet18", "se_resnet18", "densenet40_12", "efficientnet_lite0")
    },
    "mobilenet_v2": zoo("mobilenet_v2", alpha=0.5, **SMALL),
    "shufflenet_v2": zoo("shufflenet_v2", width=0.5, **SMALL),
    "squeezenet": zoo("squeezenet", input_shape=(64, 64, 3), classes=7),
    "ds_cnn": zoo("ds_cnn"),
    "cnn_lstm": zoo("cnn_lstm"),
    **{build.__name__: build for build in (inception, nested, depthwise, sequence, turned)},
}


def samples(model: keras.Model, count: int = 4) -> Any:
    rng = np.random.default_rng(3)
    arrays = [rng.uniform(-1, 1, (count, *tensor.shape[1:])).astype(np.float32) for tensor in model.inputs]
    return keras.tree.pack_sequence_as(model.input, arrays)


def answers(model: keras.Model, inputs: Any) -> list[np.ndarray]:
    return [np.asarray(each) for each in keras.tree.flatten(model(inputs, training=False))]


def alive(model: keras.Model) -> keras.Model:
    """Statistics and scales that differ from channel to channel, as after training."""
    rng = np.random.default_rng(1)
    for layer in layers_of(read_graph(model)):
        if layer.kind == "BatchNormalization":
            layer.operation.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model


def silence(model: keras.Model, share: float) -> set[tuple[str, int]]:
    """Set a share of every group of channels to zero: filters, biases, gammas and betas. Gives the dead filters."""
    _, graph = read_trained(model)
    channels = ChannelMap(graph, shapes_of(graph))
    rng = np.random.default_rng(2)
    free = np.unique(channels.roots[~channels.fixed])
    dead = np.isin(channels.roots, free[rng.uniform(size=free.size) < share])
    filters = set()
    for layer in layers_of(graph):
        found, weights = channels.layers.get(layer.name), layer.weights
        for cut in found.cuts if found else ():
            made = found.made is not None and cut.ids is found.made
            if made or (found.scaled is not None and cut.weight < 2) or (layer.kind.startswith("Depth") and cut.weight):
                weights[cut.weight][(slice(None),) * cut.axis + (dead[cut.ids],)] = 0
            filters |= {(layer.name, int(place)) for place in np.flatnonzero(dead[cut.ids])} if made else set()
        if found:
            layer.operation.set_weights(weights)
    return filters


@pytest.mark.parametrize("name", MODELS)
def test_dead_filters_go_without_a_trace(name: str) -> None:
    keras.utils.set_random_seed(0)
    model = alive(MODELS[name]())
    dead = silence(model, share=0.5)
    assert dead
    inputs = samples(model)
    before = answers(model, inputs)
    smaller, report = remove_filters(model, macs=0.15)
    for ours, theirs in zip(answers(smaller, inputs), before, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-4 * theirs.std()
    assert report.macs_before == count_macs(model)
    assert count_macs(smaller) == report.macs_after <= 0.85 * report.macs_before
    assert report.parameters_after == smaller.count_params() < report.parameters_before == model.count_params()


@pytest.fixture(scope="module")
def resnet() -> keras.Model:
    keras.utils.set_random_seed(0)
    return alive(create_model("resnet8", input_shape=(32, 32, 3), classes=7))


@pytest.fixture(scope="module")
def halved(resnet: keras.Model) -> tuple[keras.Model, FilterReport]:
    return remove_filters(resnet, macs=0.5)


def test_widths_are_round_and_no_layer_is_emptied(
    resnet: keras.Model, halved: tuple[keras.Model, FilterReport]
) -> None:
    smaller, report = halved
    assert 0.4 * report.macs_before < report.macs_after <= 0.5 * report.macs_before
    assert len(report.layers) >= 5
    for layer in report.layers:
        assert layer.before == resnet.get_layer(layer.name).filters
        assert layer.after == smaller.get_layer(layer.name).filters
        assert layer.before > layer.after >= max(4, layer.before / 8)
        assert layer.after % (8 if layer.before >= 64 else 4) == 0
    assert report.left_alone == ("predictions",)
    assert [layer.name for layer in smaller.layers] == [layer.name for layer in resnet.layers]


def test_the_model_that_is_given_stays_as_it_is(resnet: keras.Model) -> None:
    before, config = resnet.get_weights(), resnet.get_config()
    remove_filters(resnet, macs=0.3)
    assert resnet.get_config() == config
    for ours, theirs in zip(resnet.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_it_loads_in_plain_keras(halved: tuple[keras.Model, FilterReport], tmp_path: Path) -> None:
    smaller, _ = halved
    inputs = samples(smaller)
    smaller.save(tmp_path / "model.keras")
    np.save(tmp_path / "inputs.npy", inputs)
    script = (
        "import sys, keras, numpy as np; model = keras.saving.load_model('model.keras'); "
        "np.save('answers.npy', model(np.load('inputs.npy'), training=False)); assert 'kzoo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), answers(smaller, inputs)[0], atol=1e-6)


@pytest.mark.parametrize("build", [inception, depthwise, nested], ids=lambda build: build.__name__)
def test_it_crosses_the_bridge(build: Callable[[], keras.Model]) -> None:
    smaller, _ = remove_filters(build(), macs=0.3)
    graph = read_graph(smaller)
    arrays = dict(zip((each.name for each in graph.inputs), keras.tree.flatten(samples(smaller)), strict=True))
    assert check_bridge(smaller, graph, build_bridge(graph), arrays) < 1e-4


def two_layers(gammas: np.ndarray, norms: np.ndarray) -> keras.Model:
    """Four filters of equal norm and `gammas`; then four of `norms`."""
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(8, 1, use_bias=False, name="scaled")(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 1, activation="relu", name="plain")(x)
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="last")(x))
    model.get_layer("scaled").set_weights([np.ones((1, 1, 2, 8))])
    model.get_layer("norm").gamma.assign(gammas)
    model.get_layer("plain").set_weights([np.ones((1, 1, 8, 8)) * norms, np.arange(8)])
    return model


UP = np.arange(1, 9, dtype=np.float32)


def test_the_least_important_go() -> None:
    by_both, _ = remove_filters(two_layers(-UP, UP[::-1]), macs=0.5)
    left = by_both.get_layer("scaled").filters
    np.testing.assert_array_equal(by_both.get_layer("norm").gamma, -UP[8 - left :])
    kept = by_both.get_layer("plain").filters
    np.testing.assert_array_equal(by_both.get_layer("plain").bias, np.arange(kept))
    assert left < 8 and kept < 8


def test_a_criterion_leaves_alone_what_it_cannot_measure() -> None:
    smaller, report = remove_filters(two_layers(UP, UP), macs=0.4, criterion="batch_norm")
    assert {layer.name for layer in report.layers} == {"scaled"}
    assert report.left_alone == ("plain", "last")
    assert smaller.get_layer("plain").filters == 8
    # All norms are alike, so that both layers lose the same share, to a filter.
    _, report = remove_filters(two_layers(UP, np.ones(8)), macs=0.4, criterion="l1")
    one, other = (layer.after for layer in report.layers)
    assert abs(one - other) <= 1


def test_excluded_layers_keep_their_filters() -> None:
    model = create_model("resnet8", input_shape=(32, 32, 3), classes=7)
    whole, tied = remove_filters(model, macs=0.2)[1], [layer.name for layer in model.layers if "conv" in layer.name]
    name = next(name for name in tied if name in {layer.name for layer in whole.layers})
    _, report = remove_filters(model, macs=0.2, exclude=[name])
    assert name in report.left_alone
    assert name not in {layer.name for layer in report.layers}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"macs": 1.0}, "between 0 and 1. Received: macs=1.0"),
        ({"macs": 0.3, "criterion": "l2"}, "criterion='l2'"),
        ({"macs": 0.3, "exclude": ["scald"]}, "'scald'. Did you mean scaled?"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace(".", r"\.").replace("?", r"\?")):
        remove_filters(two_layers(UP, UP), **arguments)


def test_a_share_that_cannot_be_reached_says_what_can() -> None:
    model = two_layers(UP, UP)
    with pytest.raises(ExportError, match=r"at most 0\.\d+ of this model\. Received: macs=0\.95") as raised:
        remove_filters(model, macs=0.95)
    most = float(str(raised.value).split("at most ")[1].split()[0])
    assert remove_filters(model, macs=most)[1].macs_after <= (1 - most) * count_macs(model)


def test_layers_that_mix_channels_keep_them() -> None:
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(8, 1, name="softmax", activation="softmax")(inputs)
    x = layers.Conv2D(8, 3, groups=2, name="grouped")(layers.Conv2D(8, 1, name="before")(x))
    x = layers.GroupNormalization(2)(layers.Conv2D(8, 1, name="free")(layers.Conv2D(8, 1, name="normalised")(x)))
    x = keras.ops.flip(layers.Conv2D(8, 1, name="flipped")(x), axis=-1)
    _, report = remove_filters(keras.Model(inputs, layers.Conv2D(8, 1, name="last")(x)), macs=0.01)
    assert {layer.name for layer in report.layers} == {"normalised"}
    assert set(report.left_alone) == {"softmax", "grouped", "before", "free", "flipped", "last"}
