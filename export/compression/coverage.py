"""What quantisation-aware training simulates of each layer, and what it leaves to the file's converter.

The file's own rules decide what is rounded (Jacob et al. 2018, arXiv 1712.05877): kernels, with one step a channel or a
tensor; the output of every operator that the runtime computes, which is that of the activation where one is fused into
its convolution.
"""

from __future__ import annotations

from dataclasses import dataclass

from kzoo.export.graph import Call, Graph, GraphLayer, Value
from kzoo.export.precision import PerTensor

DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})
_DENSE = frozenset({"Dense"})
_KERNELS = DEPTHWISE | _DENSE | frozenset({"Conv1D", "Conv2D", "Conv2DTranspose"})
_SUMS = frozenset({"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"})
_MEANS = frozenset(f"{kind}Pooling{rank}D" for kind in ("Average", "GlobalAverage") for rank in (1, 2))
_ACTIVATIONS = frozenset({"Activation", "ReLU", "LeakyReLU", "ELU"})
#: Their outputs have the same range in every file.
_FIXED = frozenset({"softmax", "sigmoid", "tanh"})
_FUSED = frozenset({"relu", "relu6"})


@dataclass(frozen=True, slots=True)
class Coverage:
    """What training simulates of one layer.

    Attributes:
        layer: its name.
        kind: its class.
        kernel: `"channel"` or `"tensor"`: steps of its kernel; `""`: not simulated.
        output: whether the range of its output is learned.
        note: why not, in words; empty where nothing is missing.
    """

    layer: str
    kind: str
    kernel: str
    output: bool
    note: str


def cover(graph: Graph, per_tensor: PerTensor = "none") -> list[Coverage]:
    """Say, layer by layer, what training can simulate.

    Args:
        graph: the model's, its batch normalisations folded.
        per_tensor: which layers' kernels have one step a tensor, see `Precision`.
    """
    uses = [id(call.layer) for _, call in graph.numbered_calls()]
    return [
        _cover_one(graph, number, call, per_tensor, shared=uses.count(id(call.layer)) > 1)
        for number, call in graph.numbered_calls()
    ]


def _cover_one(graph: Graph, number: int, call: Call, per_tensor: PerTensor, shared: bool) -> Coverage:
    layer = call.layer
    steps = ""
    if layer.kind in _KERNELS:
        steps = "tensor" if per_tensor == "all" or (per_tensor == "dense" and layer.kind in _DENSE) else "channel"
    fused = _is_fused(graph, Value(number), layer)
    output = _has_range(layer) and not fused and not shared
    if steps or output or fused:
        note = ""
    elif layer.kind in _ACTIVATIONS and _activation(layer) in _FIXED:
        note = "range fixed by the runtime"
    elif not layer.weights and layer.is_layer:
        note = "moves values only, or ranges measured on export"
    else:
        note = "quantised after training"
    return Coverage(layer.name, layer.kind, steps, output, note)


def _has_range(layer: GraphLayer) -> bool:
    known = layer.kind in _KERNELS | _SUMS | _MEANS | _ACTIVATIONS
    return known and _activation(layer) not in _FIXED


def _activation(layer: GraphLayer) -> str:
    """The activation that a layer is or ends with."""
    if layer.kind == "ReLU":
        plain = not layer.config.get("negative_slope") and not layer.config.get("threshold")
        return "relu" if plain and layer.config.get("max_value") in (None, 6, 6.0) else "another"
    found = layer.config.get("activation", "linear")
    return found if isinstance(found, str) else "another"


def _is_fused(graph: Graph, value: Value, layer: GraphLayer) -> bool:
    """Whether the runtime computes the one activation that follows together with a layer."""
    readers = graph.readers(value)
    if layer.kind not in _KERNELS | {"Add", "Subtract", "Multiply"} or len(readers) != 1 or graph.is_output(value):
        return False
    reader = graph.calls[readers[0]]
    return (
        _activation(layer) == "linear"
        and reader is not None
        and reader.layer.kind in ("Activation", "ReLU")
        and _activation(reader.layer) in _FUSED
    )
