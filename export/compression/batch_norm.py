"""Fold batch normalisations into the layers before them, and lay them out again.

A file holds a convolution and its normalisation as one kernel: what is to have few values, or to be rounded,
is that kernel. So it is that kernel which is trained. Afterwards the convolution keeps it, and the normalisation
becomes one that only adds, so that the model has the layers it had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kzoo.export.graph import Graph, GraphLayer, Value, remove_call

from .coverage import DEPTHWISE

_CONVOLUTIONS = frozenset({"Conv1D", "Conv2D", "Conv3D", "Dense"})
#: Of a normal distribution hardly anything lies further from the mean.
_DEVIATIONS = 6.0


@dataclass(frozen=True, slots=True)
class FoldedNormalization:
    """A normalisation that has become a part of the layer before it."""

    layer: GraphLayer
    normalization: GraphLayer
    had_bias: bool

    def reach(self) -> np.ndarray | None:
        """What a channel hardly exceeds, six deviations above its mean; None where `unfolded` set the statistics."""
        config = self.normalization.config
        variance = self.normalization.weights[-1]
        if np.all(variance == np.float32(1.0 - config["epsilon"])):
            return None
        offset = self.normalization.weights[int(config.get("scale", True))] if config.get("center", True) else 0.0
        scale = self.normalization.weights[0] if config.get("scale", True) else 1.0
        reach: np.ndarray = np.maximum(offset + _DEVIATIONS * np.abs(scale) * np.ones_like(variance), 0.0)
        return reach

    def unfolded(self, kernel: np.ndarray, bias: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Give the weights of both layers, by name, from those of the folded one."""
        offset = np.zeros_like(bias) if self.had_bias else None
        return {
            self.layer.name: [kernel] if offset is None else [kernel, offset],
            self.normalization.name: _only_adding(self.normalization, bias),
        }


def fold_batch_norm(graph: Graph) -> list[FoldedNormalization]:
    """Fold, in place, every batch normalisation that follows a convolution or a dense layer and nothing else does.

    Args:
        graph: Changed in place: the layers' weights and biases, and the calls of the normalisations.
    """
    found = []
    uses = [id(call.layer) for _, call in graph.numbered_calls()]
    for number, call in list(graph.numbered_calls()):
        normalization = call.layer
        reads = next(call.values(), None)
        if normalization.kind != "BatchNormalization" or reads is None or reads.producer < 0:
            continue
        before = graph.calls[reads.producer]
        if before is None or not _takes_it(graph, reads, before.layer, normalization):
            continue
        if uses.count(id(before.layer)) > 1 or uses.count(id(normalization)) > 1:
            continue
        had_bias = bool(before.layer.config.get("use_bias", True))
        _fold(before.layer, normalization, had_bias)
        remove_call(graph, number)
        found.append(FoldedNormalization(before.layer, normalization, had_bias))
    return found


def _takes_it(graph: Graph, value: Value, layer: GraphLayer, normalization: GraphLayer) -> bool:
    """Whether a layer can take up the normalisation of its output."""
    if layer.kind not in _CONVOLUTIONS | DEPTHWISE or layer.config.get("activation", "linear") != "linear":
        return False
    shape = layer.weights[0].shape
    channels = shape[-1] * (shape[-2] if layer.kind in DEPTHWISE else 1)
    last = layer.config.get("data_format", "channels_last") == "channels_last"
    alone = len(graph.readers(value)) == 1 and not graph.is_output(value)
    return last and alone and normalization.config["axis"] != 1 and normalization.weights[-1].size == channels


def _fold(layer: GraphLayer, normalization: GraphLayer, had_bias: bool) -> None:
    scale, offset = _affine(normalization)
    kernel = layer.weights[0]
    bias = layer.weights[1] if had_bias else np.zeros_like(offset)
    # A depthwise kernel is (*window, channels, multiplier), and its outputs are counted in that order.
    factors = scale.reshape(kernel.shape[-2:]) if layer.kind in DEPTHWISE else scale
    layer.config = {**layer.config, "use_bias": True}
    layer.weights = [np.asarray(kernel * factors, np.float32), np.asarray(bias * scale + offset, np.float32)]


def _affine(normalization: GraphLayer) -> tuple[np.ndarray, np.ndarray]:
    """What a normalisation does when it does not learn: scale x + offset, a channel each."""
    config = normalization.config
    *learned, mean, variance = (each.astype(np.float64) for each in normalization.weights)
    scale = 1.0 / np.sqrt(variance + config["epsilon"])
    if config.get("scale", True):
        scale = scale * learned[0]
    offset = -mean * scale
    return scale, offset + (learned[-1] if config.get("center", True) else 0.0)


def _only_adding(normalization: GraphLayer, bias: np.ndarray) -> list[np.ndarray]:
    """Weights of a normalisation that leaves its input as it is, but for a bias."""
    config = normalization.config
    ones = np.ones_like(bias)
    centred = config.get("center", True)
    weights = [ones] if config.get("scale", True) else []
    weights += [bias] if centred else []
    mean = np.zeros_like(bias) if centred else -bias
    return [*weights, mean, ones * np.float32(1.0 - config["epsilon"])]
