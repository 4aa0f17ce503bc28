"""What compression reads out of a model: layers, kernels, targets, and normalisations folded and laid out again."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kzoo.errors import ExportError
from kzoo.export.bridge import build_bridge, check_bridge, return_weights
from kzoo.export.compression.batch_norm import fold_batch_norm
from kzoo.export.compression.coverage import cover
from kzoo.export.compression.kernels import choose_layers, count_arrays, count_kernels
from kzoo.export.compression.settings import PruneSettings
from kzoo.export.compression.targets import prune_targets
from kzoo.export.graph import read_graph

layers = keras.layers
RNG = np.random.default_rng(0)


def scattered(model: keras.Model) -> keras.Model:
    """With statistics that are not those of a fresh normalisation."""
    model.set_weights([RNG.uniform(0.2, 1.2, weight.shape) for weight in model.get_weights()])
    return model


def mobile() -> keras.Model:
    image = keras.Input((9, 9, 3), name="image")
    x = layers.Conv2D(8, 3, use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(name="stem_bn")(x)
    x = layers.ReLU(6.0, name="stem_act")(x)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    y = layers.BatchNormalization(scale=False, name="depthwise_bn")(y)
    y = layers.Conv2D(8, 1, use_bias=False, name="pointwise")(y)
    y = layers.BatchNormalization(center=False, name="pointwise_bn")(y)
    x = layers.Add(name="add")([x, y])
    x = layers.BatchNormalization(name="alone")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(6, name="dense")(x)
    x = layers.BatchNormalization(name="dense_bn")(x)
    return scattered(keras.Model(image, layers.Dense(3, "softmax", name="head")(x)))


def test_folded_and_unfolded_models_answer_alike() -> None:
    model = mobile()
    samples = {"image": RNG.uniform(0, 1, (4, 9, 9, 3)).astype(np.float32)}
    before = model.predict_on_batch(samples["image"])
    graph = read_graph(model)
    folded = fold_batch_norm(graph)
    assert [each.normalization.name for each in folded] == ["stem_bn", "depthwise_bn", "pointwise_bn", "dense_bn"]
    assert "alone" in {call.layer.name for _, call in graph.numbered_calls()}
    bridged = build_bridge(graph)
    assert check_bridge(model, graph, bridged, samples) < 1e-5

    weights = {call.layer.name: call.layer.weights for _, call in graph.numbered_calls()}
    kernels = {each.layer.name: each.layer.weights[0] for each in folded}
    for each in folded:
        weights.update(each.unfolded(*weights[each.layer.name]))
    return_weights(read_graph(model), weights)
    np.testing.assert_allclose(model.predict_on_batch(samples["image"]), before, rtol=1e-4)
    for name, kernel in kernels.items():
        # The kernel of the file is the model's own now: what is zero or shared there is so here.
        np.testing.assert_array_equal(model.get_layer(name).get_weights()[0], kernel)


def test_a_normalisation_of_what_others_read_too_stays() -> None:
    image = keras.Input((4, 4, 2))
    x = layers.Conv2D(2, 1, name="conv")(image)
    model = keras.Model(image, layers.Add()([x, layers.BatchNormalization(name="bn")(x)]))
    assert fold_batch_norm(read_graph(scattered(model))) == []


def test_the_first_the_last_and_depthwise_layers_are_spared() -> None:
    graph = read_graph(mobile())
    assert choose_layers(graph) == ["pointwise", "dense"]
    assert choose_layers(graph, ends=True) == ["stem", "pointwise", "dense", "head"]


def test_targets_follow_the_pattern_and_the_scope() -> None:
    model = mobile()
    graph = read_graph(model)
    chosen = choose_layers(graph, ends=True)
    assert prune_targets(graph, PruneSettings(0.5, pattern="block"), chosen) == {"dense": 0.5, "head": 0.5}
    with pytest.raises(ExportError, match="Expected a model with dense and recurrent layers to prune"):
        prune_targets(graph, PruneSettings(0.5, pattern="block"), ["stem", "pointwise"])
    with pytest.raises(ExportError, match="between the first and the last"):
        prune_targets(graph, PruneSettings(0.5), [])
    together = prune_targets(graph, PruneSettings(0.6, scope="global"), chosen)
    sizes = {each.layer: each.size for each in count_kernels(model, chosen)}
    assert sum(together[name] * sizes[name] for name in chosen) == pytest.approx(0.6 * sum(sizes.values()), rel=0.01)
    assert len(set(together.values())) > 1 and max(together.values()) <= 0.98


def test_zeros_and_different_values_are_counted() -> None:
    count = count_arrays("layer", [np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.0, 0.0])])
    assert (count.size, count.zeros, count.unique, count.sparsity) == (6, 3, 3, 0.5)
    names = [each.layer for each in count_kernels(mobile())]
    assert names == ["stem", "depthwise", "pointwise", "dense", "head"]


@pytest.mark.parametrize(
    ("per_tensor", "conv", "dense"), [("none", "channel", "channel"), ("dense", "channel", "tensor")]
)
def test_outputs_are_rounded_where_the_runtime_writes_them(per_tensor: str, conv: str, dense: str) -> None:
    graph = read_graph(mobile())
    fold_batch_norm(graph)
    covered = {each.layer: each for each in cover(graph, per_tensor)}
    # The ReLU is computed within the convolution before it, whose own output nobody sees.
    assert not covered["stem"].output and covered["stem_act"].output
    assert covered["pointwise"].output and covered["add"].output
    assert (covered["pointwise"].kernel, covered["head"].kernel) == (conv, dense)
    assert covered["alone"].note == "quantised after training" and not covered["alone"].output
    # A softmax has the same range in every file; its logits are measured.
    assert not covered["head"].output
