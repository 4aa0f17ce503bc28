"""Give the channels of a kernel like ranges, so that one step for the whole tensor rounds none of them away.

What one layer makes smaller by a factor, the layer behind its ReLU makes larger again (cross-layer equalisation, Nagel
et al. 2019, arXiv 1906.04721): the model answers as before. A depthwise kernel with its normalisation folded in needs
it most, since its channels differ by orders of magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kzoo.export.folding import shares_values
from kzoo.export.graph import Graph, GraphLayer, Value

from .batch_norm import FoldedNormalization
from .coverage import DEPTHWISE

_WITH_KERNELS = DEPTHWISE | {"Conv1D", "Conv2D", "Dense"}
# They treat each channel alike, and twice the input gives twice the output.
_BETWEEN = frozenset(
    {"ZeroPadding1D", "ZeroPadding2D", "GlobalAveragePooling1D", "GlobalAveragePooling2D"}
    | {f"{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2)}
)
_CAPS = {"linear": math.inf, "relu": math.inf, "relu6": 6.0}
#: The pairs pull at each other through the layers they share; a tenth of a bit is close enough.
_CLOSE = 2**0.1
_MOST_ROUNDS = 50


@dataclass(frozen=True, eq=False, slots=True)
class _Pair:
    """Two layers with nothing between them that minds how large a channel is.

    Attributes:
        maker: its outputs are divided.
        reader: its inputs are multiplied.
        reach: what a channel between them hardly exceeds, where there is a cap at all.
        cap: the value at which an activation between them clips; infinite: at none.
    """

    maker: GraphLayer
    reader: GraphLayer
    cap: float
    reach: np.ndarray | None

    def factors(self) -> np.ndarray:
        """What to divide by, so that both ranges of a channel become the geometric mean of what they were."""
        made, read = _largest(_outputs_first(self.maker)), _largest(_inputs_first(self.reader))
        dead = (made == 0) | (read == 0)
        return np.where(dead, 1.0, np.sqrt(np.where(dead, 1.0, made) / np.where(dead, 1.0, read)))

    def divide(self, factors: np.ndarray) -> None:
        """Change both layers."""
        kernel, *bias = self.maker.weights
        depthwise = self.maker.kind in DEPTHWISE
        made = kernel / (factors.reshape(kernel.shape[-2:]) if depthwise else factors)
        self.maker.weights = [made.astype(np.float32), *((each / factors).astype(np.float32) for each in bias)]
        kernel, *bias = self.reader.weights
        self.reader.weights = [(kernel * factors[:, None]).astype(np.float32), *bias]


def equalise(graph: Graph, folded: Sequence[FoldedNormalization]) -> frozenset[str]:
    """Equalise the kernels of neighbouring layers, in place; gives the names of those that have such a neighbour.

    Only ReLUs, padding and pooling may stand between two layers. Behind a ReLU6 the channels are scaled so that none is
    clipped below where it was, by the statistics of the maker's normalisation; where they are not known, and where
    kernels share values, the layers stay as they are.

    Args:
        graph: Changed in place; its normalisations are folded.
        folded: What `fold_batch_norm` gave.
    """
    pairs = _pairs(graph, {each.layer.name: each.reach() for each in folded})
    total = [np.ones(_outputs_first(pair.maker).shape[0]) for pair in pairs]
    for _ in range(_MOST_ROUNDS):
        largest = 1.0
        for place, pair in enumerate(pairs):
            factors = pair.factors()
            pair.divide(factors)
            total[place] *= factors
            largest = max(largest, factors.max(), 1 / factors.min())
        if largest < _CLOSE:
            break
    for pair, factors in zip(pairs, total, strict=True):
        highest = 0.0 if pair.reach is None else (np.minimum(pair.reach, pair.cap) / factors).max()
        if highest > 0:
            # A factor for all channels changes no ratio of theirs.
            pair.divide(np.full_like(factors, highest / pair.cap))
    return frozenset(layer.name for pair in pairs for layer in (pair.maker, pair.reader))


def _pairs(graph: Graph, reaches: dict[str, np.ndarray | None]) -> list[_Pair]:
    uses = [id(call.layer) for _, call in graph.numbered_calls()]

    def fits(layer: GraphLayer) -> bool:
        single = uses.count(id(layer)) == 1 and layer.config.get("groups", 1) == 1
        return layer.kind in _WITH_KERNELS and single and _channels_last(layer) and not shares_values(layer)

    pairs = []
    for number, call in graph.numbered_calls():
        cap = _cap(call.layer) if fits(call.layer) else None
        value = Value(number)
        while cap is not None and len(readers := graph.readers(value)) == 1 and not graph.is_output(value):
            reader = graph.calls[readers[0]]
            assert reader is not None
            if fits(reader.layer):
                reach = reaches.get(call.layer.name)
                if cap == math.inf or reach is not None:
                    pairs.append(_Pair(call.layer, reader.layer, cap, reach if cap < math.inf else None))
                break
            passed = _cap(reader.layer) if reader.layer.kind in {"Activation", "ReLU", *_BETWEEN} else None
            cap = None if passed is None else min(cap, passed)
            value = Value(readers[0])
    return pairs


def _cap(layer: GraphLayer) -> float | None:
    """Where the activation that a layer is or ends with clips; None: it is no ReLU, or its channels are not last."""
    if layer.kind == "ReLU":
        plain = not layer.config.get("negative_slope") and not layer.config.get("threshold")
        return float(layer.config.get("max_value") or math.inf) if plain else None
    activation = layer.config.get("activation", "linear")
    return _CAPS.get(activation) if isinstance(activation, str) and _channels_last(layer) else None


def _channels_last(layer: GraphLayer) -> bool:
    return layer.config.get("data_format", "channels_last") in (None, "channels_last")


def _outputs_first(layer: GraphLayer) -> np.ndarray:
    """A kernel as `(output channels, …)`."""
    kernel = layer.weights[0]
    return kernel.reshape(-1, np.prod(kernel.shape[-2:]) if layer.kind in DEPTHWISE else kernel.shape[-1]).T


def _inputs_first(layer: GraphLayer) -> np.ndarray:
    """A kernel as `(input channels, …)`; the axis is the last but one of every kind."""
    return np.moveaxis(layer.weights[0], -2, 0).reshape(layer.weights[0].shape[-2], -1)


def _largest(rows: np.ndarray) -> np.ndarray:
    largest: np.ndarray = np.abs(rows).max(axis=1).astype(np.float64)
    return largest
