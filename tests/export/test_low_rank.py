"""Layers in two thinner ones: kernels of a low rank lose nothing, others what was asked, and nothing gets larger."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kzoo.errors import ExportError, UsageError
from kzoo.export.bridge import build_bridge, check_bridge
from kzoo.export.compression import LayerRank, factorise
from kzoo.export.graph import read_graph
from kzoo.models import count_macs, create_model

layers = keras.layers
RANK = 3


def lowered(model: keras.Model) -> keras.Model:
    """Every kernel with no more than `RANK` singular values that are not zero, every bias with numbers."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            kernel, *bias = layer.get_weights()
            rows, columns = kernel.size // kernel.shape[-1], kernel.shape[-1]
            product = rng.normal(size=(rows, RANK)) @ rng.normal(size=(RANK, columns)) / rows
            layer.set_weights([product.reshape(kernel.shape), *(rng.normal(size=each.shape) for each in bias)])
    return model


def images() -> keras.Model:
    """Strides, dilation, both paddings, 1x1, a wide and a tall kernel, a layer called twice."""
    inputs = keras.Input((16, 12, 4))
    x = layers.Conv2D(24, 3, strides=2, padding="same", activation="relu", name="strided")(inputs)
    x = layers.Conv2D(20, (3, 1), dilation_rate=(2, 1), activation="tanh", name="dilated")(x)
    again = layers.Conv2D(20, 1, use_bias=False, name="again")
    x = layers.Flatten()(again(again(x)))
    return keras.Model(inputs, layers.Dense(9, activation="softmax", name="answer")(x))


def rows() -> keras.Model:
    inputs = keras.Input((10, 12))
    x = layers.Conv1D(16, 3, padding="causal", activation="relu", name="causal")(inputs)
    return keras.Model(inputs, layers.Dense(64, activation="gelu", name="wide")(x))


def volumes() -> keras.Sequential:
    return keras.Sequential([keras.Input((4, 5, 6, 8)), layers.Conv3D(16, 2, padding="same", name="volume")])


def samples(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, *model.inputs[0].shape[1:])).astype(np.float32)


@pytest.mark.parametrize("build", [images, rows, volumes], ids=lambda build: build.__name__)
@pytest.mark.parametrize("energy", [1.0, 1 - 1e-9])
def test_a_kernel_of_low_rank_loses_nothing(build: Any, energy: float) -> None:
    keras.utils.set_random_seed(0)
    model = lowered(build())
    smaller, report = factorise(model, energy=energy)
    named = {layer.name for layer in model.layers if layer.weights}
    assert {layer.name for layer in report.layers} == named
    assert {layer.after for layer in report.layers} == {RANK}
    names = {layer.name for layer in smaller.layers}
    assert {f"{name}_{part}" for name in named for part in ("reduce", "expand")} <= names and not named & names
    x = samples(model)
    ours, theirs = (np.asarray(each(x, training=False)) for each in (smaller, model))
    assert np.abs(ours - theirs).max() < 1e-5 * max(1, np.abs(theirs).max())
    assert np.std(theirs) > 1e-2
    assert report.parameters_after == smaller.count_params() < report.parameters_before == model.count_params()
    assert report.macs_after == count_macs(smaller) < report.macs_before == count_macs(model)


def with_singular_values(values: list[float]) -> keras.Model:
    """One dense layer of these singular values."""
    rng = np.random.default_rng(2)
    left, right = (np.linalg.qr(rng.normal(size=(16, 16)))[0][:, : len(values)] for _ in range(2))
    model = keras.Sequential([keras.Input((16,)), layers.Dense(16, name="dense")])
    model.layers[0].set_weights([left * values @ right.T, rng.normal(size=16)])
    return model


@pytest.mark.parametrize(
    ("arguments", "rank"),
    [
        ({"energy": 1}, 4),
        ({"energy": 0.97}, 3),
        ({"energy": 0.89}, 2),
        ({"energy": 0.5}, 1),
        ({"rank": 0.25}, 4),
        ({"rank": 0.126}, 2),
        ({"rank": 0.001}, 1),
    ],
)
def test_the_rank_that_is_asked_for(arguments: dict[str, float], rank: int) -> None:
    # Squares: 64, 25, 9, 1 of 99.
    model = with_singular_values([8, 5, 3, 1])
    smaller, report = factorise(model, **arguments)
    assert report.layers == (LayerRank("dense", before=16, after=rank),)
    assert smaller.get_layer("dense_reduce").units == rank
    # What is lost of the kernel are the singular values that were cut off.
    kernel = smaller.get_layer("dense_reduce").kernel @ smaller.get_layer("dense_expand").kernel
    lost = np.linalg.norm(np.asarray(kernel) - np.asarray(model.layers[0].kernel))
    assert lost == pytest.approx(np.linalg.norm([8, 5, 3, 1][rank:]), abs=1e-4)


def test_only_what_gets_smaller_is_replaced() -> None:
    inputs = keras.Input((8, 8, 16))
    x = layers.Conv2D(16, 3, padding="same", name="large", kernel_regularizer="l2")(inputs)
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(16, 3, groups=4, name="grouped")(x))
    x = layers.Dense(2, name="thin")(layers.Dropout(0.3, name="dropout")(x))
    model = keras.Model(inputs, x, name="mixed")
    smaller, report = factorise(model, rank=0.8)
    assert [layer.name for layer in report.layers] == ["large"]
    assert smaller.name == "mixed" and smaller.get_layer("dropout").rate == 0.3
    reduce, expand = smaller.get_layer("large_reduce"), smaller.get_layer("large_expand")
    assert (reduce.use_bias, reduce.kernel_size, expand.kernel_size) == (False, (3, 3), (1, 1))
    assert reduce.kernel_regularizer is not None and expand.kernel_regularizer is not None


def test_a_model_of_the_zoo_crosses_the_bridge() -> None:
    keras.utils.set_random_seed(0)
    model = create_model("resnet8", input_shape=(32, 32, 3), classes=7)
    smaller, report = factorise(model, rank=0.25, exclude=["predictions"])
    assert report.parameters_after < 0.5 * report.parameters_before
    assert smaller.output_names == model.output_names == ["predictions"]
    graph = read_graph(smaller)
    assert check_bridge(smaller, graph, build_bridge(graph), {graph.inputs[0].name: samples(smaller)}) < 1e-4


def test_nothing_to_factorise() -> None:
    model = keras.Sequential([keras.Input((4, 3)), layers.LSTM(5), layers.Dense(2)], name="little")
    with pytest.raises(ExportError, match=r"none in 'little' with energy=0\.9"):
        factorise(model, energy=0.9)
    with pytest.raises(ExportError, match=r"none in 'sequential.*' with rank"):
        factorise(with_singular_values([2, 1]), rank=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either energy or rank"),
        ({"energy": 0.5, "rank": 0.5}, "either energy or rank"),
        ({"energy": 0}, "energy=0"),
        ({"energy": 1.1}, "energy=1.1"),
        ({"rank": 1}, "rank=1"),
        ({"rank": 0.5, "exclude": ["dens"]}, "'dens'. Did you mean dense?"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        factorise(with_singular_values([2, 1]), **arguments)
    assert message in str(raised.value)
