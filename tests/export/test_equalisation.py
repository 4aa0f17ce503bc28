"""Channels of like ranges: the model answers as before, and one step a tensor is enough for it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kzoo.export import export_model
from kzoo.export.bridge import build_bridge, check_bridge
from kzoo.export.compression.batch_norm import FoldedNormalization, fold_batch_norm
from kzoo.export.compression.equalisation import equalise
from kzoo.export.compression.kernels import choose_layers_to_cluster
from kzoo.export.graph import Graph, read_graph

from .conftest import Digits, trained

layers = keras.layers
RNG = np.random.default_rng(0)
CHANNELS = 12
#: What the channels of a layer differ by.
SKEW = 2.0 ** RNG.uniform(-5, 5, CHANNELS)


def mobile(max_value: float | None = None, scale: float = 1.0) -> keras.Model:
    """A stem, a depthwise convolution and a classifier, all normalised, of channels that differ by thousands."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(CHANNELS, 3, use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(max_value, name="stem_act")(layers.ZeroPadding2D(1)(x))
    x = layers.DepthwiseConv2D(3, use_bias=False, name="depthwise")(x)
    x = layers.BatchNormalization(name="depthwise_bn")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU(max_value)(x))
    model = keras.Model(image, layers.Dense(10, "softmax", name="head")(x))
    for name in ("stem_bn", "depthwise_bn"):
        statistics = [RNG.uniform(0.1, scale, CHANNELS), *(RNG.uniform(0, 1, CHANNELS) for _ in range(2)), SKEW**2]
        model.get_layer(name).set_weights(statistics)
    return model


def equalised(model: keras.Model) -> tuple[Graph, list[FoldedNormalization]]:
    graph = read_graph(model)
    folded = fold_batch_norm(graph)
    equalise(graph, folded)
    return graph, folded


def kernel(graph: Graph, name: str) -> np.ndarray:
    return next(call.layer.weights[0] for _, call in graph.numbered_calls() if call.layer.name == name)


def ranges(graph: Graph, name: str, axis: int) -> np.ndarray:
    weights = np.abs(kernel(graph, name))
    return weights.max(axis=tuple(other for other in range(weights.ndim) if other != axis % weights.ndim))


@pytest.mark.parametrize(
    ("max_value", "scale"), [(None, 1.0), (6.0, 0.3)], ids=["a ReLU", "a ReLU6 that nothing reaches"]
)
def test_kernels_that_meet_share_their_ranges_and_the_model_answers_as_before(max_value, scale):
    model = mobile(max_value, scale)
    graph, _ = equalised(model)
    samples = {"image": RNG.uniform(0, 255, (8, 8, 8, 1)).astype(np.float32)}
    assert check_bridge(model, graph, build_bridge(graph), samples) < 1e-5
    for before, axis, after, reads in (("stem", 3, "depthwise", 2), ("depthwise", 2, "head", 0)):
        shares = ranges(graph, before, axis) / ranges(graph, after, reads)
        assert shares.max() / shares.min() < 1.2
    raw = read_graph(model)
    fold_batch_norm(raw)
    least = [each.min() / each.max() for each in (ranges(graph, "depthwise", 2), ranges(raw, "depthwise", 2))]
    assert least[0] > 10 * least[1]


def test_a_relu6_clips_no_channel_below_where_it_clipped():
    model = mobile(6.0, scale=3.0)
    raw = read_graph(model)
    fold_batch_norm(raw)
    graph, folded = equalised(model)
    divided = ranges(raw, "stem", 3) / ranges(graph, "stem", 3)
    reach = folded[0].reach()
    assert reach is not None and (reach > 6).any() and (reach < 6).any()
    # And no higher than it must: one channel clips just where it reaches to.
    assert (6 * divided / np.minimum(reach, 6)).min() == pytest.approx(1, rel=1e-5)


def test_shared_values_and_channels_of_an_unknown_reach_stay_as_they_are():
    shared, unknown = mobile(), mobile(6.0)
    shared.get_layer("stem").set_weights([np.round(shared.get_layer("stem").get_weights()[0], 1)])
    shared.get_layer("stem_bn").set_weights(
        [np.ones(CHANNELS), np.zeros(CHANNELS), np.zeros(CHANNELS), np.ones(CHANNELS)]
    )
    # As training of the folded kernel leaves it.
    left = np.full(CHANNELS, np.float32(1.0 - unknown.get_layer("stem_bn").epsilon))
    unknown.get_layer("stem_bn").set_weights([np.ones(CHANNELS), np.zeros(CHANNELS), np.zeros(CHANNELS), left])
    for model in (shared, unknown):
        raw = read_graph(model)
        fold_batch_norm(raw)
        np.testing.assert_array_equal(kernel(equalised(model)[0], "stem"), kernel(raw, "stem"))
        assert (kernel(equalised(model)[0], "head") != kernel(raw, "head")).any()


@pytest.mark.parametrize(
    ("activation", "depthwise"), [("relu", ["depthwise"]), ("hard_swish", [])], ids=["a ReLU", "a hard swish"]
)
def test_a_depthwise_kernel_is_clustered_where_its_channels_are_alike(activation, depthwise):
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(CHANNELS, 3, activation=activation, name="stem")(image)
    x = layers.DepthwiseConv2D(3, activation=activation, name="depthwise")(x)
    graph = read_graph(keras.Model(image, layers.Conv2D(4, 1, name="pointwise")(x)))
    chosen = choose_layers_to_cluster(graph, equalise(graph, fold_batch_norm(graph)))
    assert chosen == ["stem", *depthwise, "pointwise"]


def test_one_step_a_tensor_is_enough_where_channels_differ_by_thousands(digits: Digits, tmp_path: Path):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.ReLU()(layers.Conv2D(CHANNELS, 3, name="stem")(x))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(24, 3, activation="relu", name="last")(x))
    model = keras.Model(image, layers.Dense(10, "softmax", name="probabilities")(x))
    trained(model, digits.train, digits.train_labels, epochs=12)
    stem, bias = model.get_layer("stem").get_weights()
    model.get_layer("stem").set_weights([stem * SKEW, bias * SKEW])
    depthwise, bias = model.get_layer("depthwise").get_weights()
    model.get_layer("depthwise").set_weights([depthwise / SKEW[:, None], bias])
    result = export_model(
        model,
        tmp_path / "model.tflite",
        quantize="int8",
        per_tensor="all",
        calibration=digits.train[:200],
        verification=(digits.test, digits.test_labels),
        max_drop=1,
    )
    assert result.accuracy_keras is not None and result.accuracy_keras > 0.9
    assert result.drop <= 0.02
