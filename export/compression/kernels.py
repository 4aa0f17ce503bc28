"""Which weights compression is about, and what can be counted in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from kzoo.export.graph import Graph, GraphLayer, read_graph

from .coverage import DEPTHWISE


@dataclass(frozen=True, slots=True)
class KernelCount:
    """What stands in the kernels of a layer.

    Attributes:
        layer: its name.
        size: number of weights.
        zeros: how many of them are zero.
        unique: different values, in the kernel that has most of them.
    """

    layer: str
    size: int
    zeros: int
    unique: int

    @property
    def sparsity(self) -> float:
        """Share of zeros."""
        return self.zeros / self.size


def kernel_places(layer: GraphLayer) -> list[int]:
    """Places of a layer's kernels (also recurrent ones and tables of embeddings) among its weights."""
    names = [variable.name for variable in layer.operation.weights] if layer.is_layer else []
    return [place for place, name in enumerate(names) if name.endswith("kernel") or name == "embeddings"]


def layers_with_kernels(graph: Graph) -> list[GraphLayer]:
    """Every layer with a kernel, once, in the order of the graph."""
    layers = {id(call.layer): call.layer for _, call in graph.numbered_calls()}.values()
    return [layer for layer in layers if kernel_places(layer)]


def choose_layers(graph: Graph, *, ends: bool = False) -> list[str]:
    """Names of the layers that may lose weights: all but depthwise convolutions, which hold little and lose much.

    Args:
        graph: the model's.
        ends: whether the first layer with a kernel and the last ones, of which the same is true, are among them.
    """
    layers = layers_with_kernels(graph)
    spared = set() if ends else _first_and_last(graph, layers)
    return [layer.name for layer in layers if layer.kind not in DEPTHWISE and layer.name not in spared]


def choose_layers_to_cluster(graph: Graph, equalised: Collection[str]) -> list[str]:
    """Names of all layers with kernels, but for depthwise convolutions whose channels differ in range.

    A few values for channels that are orders of magnitude apart would leave nothing of the small ones.

    Args:
        graph: the model's.
        equalised: what `equalise` gave.
    """
    layers = layers_with_kernels(graph)
    return [layer.name for layer in layers if layer.kind not in DEPTHWISE or layer.name in equalised]


def _first_and_last(graph: Graph, layers: Sequence[GraphLayer]) -> set[str]:
    """The first layer with a kernel, and that before each output."""
    if not layers:
        return set()
    numbers = {number: call.layer.name for number, call in graph.numbered_calls() if call.layer in layers}
    ends = {layers[0].name}
    for _, value in graph.outputs:
        number = value.producer
        while number >= 0 and number not in numbers:
            call = graph.calls[number]
            number = next((read.producer for read in call.values()), -1) if call is not None else -1
        if number >= 0:
            ends.add(numbers[number])
    return ends


def count_kernels(model: keras.Model, layers: Collection[str] | None = None) -> list[KernelCount]:
    """Count zeros and different values in the kernels of a model.

    Args:
        model: a functional or Sequential model.
        layers: only these; None for all that have kernels.
    """
    return [
        count_arrays(layer.name, [layer.weights[place] for place in kernel_places(layer)])
        for layer in layers_with_kernels(read_graph(model))
        if layers is None or layer.name in layers
    ]


def count_arrays(name: str, kernels: Iterable[np.ndarray]) -> KernelCount:
    """The same for the kernels of one layer, as arrays."""
    kernels = list(kernels)
    return KernelCount(
        layer=name,
        size=sum(kernel.size for kernel in kernels),
        zeros=sum(int(np.count_nonzero(kernel == 0)) for kernel in kernels),
        unique=max(np.unique(kernel).size for kernel in kernels),
    )


def sparsity_of(counts: Iterable[KernelCount]) -> float:
    """Share of zeros in several layers together; 0 for none."""
    counts = list(counts)
    size = sum(count.size for count in counts)
    return sum(count.zeros for count in counts) / size if size else 0.0
