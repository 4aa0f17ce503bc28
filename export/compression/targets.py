"""Which layers are pruned, and how far."""

from __future__ import annotations

import math

import numpy as np

from kzoo.errors import ExportError
from kzoo.export.graph import Graph, GraphLayer

from .kernels import kernel_places, layers_with_kernels
from .settings import PruneSettings

#: A layer keeps at least this share of its weights when layers share one target.
_KEPT = 0.02


def prune_targets(graph: Graph, settings: PruneSettings, layers: list[str]) -> dict[str, float]:
    """Give the sparsity of each layer.

    Args:
        graph: the model's.
        settings: what was asked for.
        layers: that may be pruned; with the pattern `"xnnpack"` those of `layers_for_xnnpack`.

    Raises:
        ExportError: no layer of these can be pruned so.
    """
    if settings.pattern == "block":
        layers = [layer.name for layer in _of(graph, layers) if all(k.ndim == 2 for k in _kernels(layer))]
    if not layers:
        kinds = {
            "xnnpack": "1×1 convolutions",
            "block": "dense and recurrent layers",
        }.get(settings.pattern, "convolutions, dense, recurrent or attention layers between the first and the last")
        raise ExportError(
            f"Expected a model with {kinds} to prune. Received: one with none. "
            "Choose another pattern, or another model."
        )
    if settings.scope == "layer" or settings.pattern == "2:4":
        return dict.fromkeys(layers, settings.sparsity)
    return _ranked_together(_of(graph, layers), settings.sparsity)


def _ranked_together(layers: list[GraphLayer], sparsity: float) -> dict[str, float]:
    """Shares of each layer among the smallest weights of all, each measured by its layer's spread."""
    sizes = [np.concatenate([np.abs(kernel).ravel() for kernel in _kernels(layer)]) for layer in layers]
    scaled = [size / max(float(size.std()), 1e-12) for size in sizes]
    total = sum(each.size for each in scaled)
    caps = [each.size - max(1, math.ceil(_KEPT * each.size)) for each in scaled]
    wanted = min(round(sparsity * total), sum(caps))
    ordered = np.sort(np.concatenate([np.sort(each)[:cap] for each, cap in zip(scaled, caps, strict=True)]))
    threshold = ordered[max(wanted - 1, 0)]
    return {
        layer.name: min(int(np.count_nonzero(each <= threshold)), cap) / each.size
        for layer, each, cap in zip(layers, scaled, caps, strict=True)
    }


def _of(graph: Graph, names: list[str]) -> list[GraphLayer]:
    return [layer for layer in layers_with_kernels(graph) if layer.name in names]


def _kernels(layer: GraphLayer) -> list[np.ndarray]:
    return [layer.weights[place] for place in kernel_places(layer)]
