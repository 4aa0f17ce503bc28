"""Factorisation: a layer's weights as the product of two thinner ones.

The kernel of a dense layer or convolution, as a matrix of (window x channels) x filters, is cut off behind its largest
singular values: a layer of few filters with the same window and strides, then a dense layer or 1x1 convolution with the
bias and the activation (Denton et al. 2014, arXiv 1404.0736; the shape is that of Zhang et al. 2015, arXiv 1505.06798,
who fit it to the answers of the layer on data, which is not done here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from kzoo.errors import ExportError, UsageError
from kzoo.export.graph import GraphLayer
from kzoo.macs import count_macs

from ._rebuild import Part, check_names, layers_of, read_trained, rebuild, whole

_CONVOLUTIONS = frozenset({"Conv1D", "Conv2D", "Conv3D"})


@dataclass(frozen=True, slots=True)
class LayerRank:
    """A layer that was factorised: the full rank of its kernel and the one that is left."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class LowRankReport:
    """What `factorise` did.

    Attributes:
        layers: The layers that were replaced by two.
        macs_before: Multiply-accumulates of one example.
        macs_after: The same of the new model.
        parameters_before: Numbers in all weights.
        parameters_after: The same of the new model.
    """

    layers: tuple[LayerRank, ...]
    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int


@dataclass(frozen=True, eq=False, slots=True)
class _Factors:
    """A kernel as a product: `left` (rows, rank) and `right` (rank, filters)."""

    left: np.ndarray
    right: np.ndarray
    full_rank: int

    @property
    def rank(self) -> int:
        return len(self.right)


def factorise(
    model: keras.Model, *, energy: float | None = None, rank: float | None = None, exclude: Sequence[str] = ()
) -> tuple[keras.Model, LowRankReport]:
    """Replace dense layers and convolutions by two thinner ones where that takes fewer parameters.

    A layer `name` becomes `name_reduce`, without bias and activation, and `name_expand`. Grouped, depthwise, separable
    and transposed convolutions, recurrent layers and attention stay as they are. A layer with fewer parameters in two
    has as many fewer multiply-accumulates.

    Args:
        model: A trained functional or Sequential model of stock layers with inputs of a fixed size. It stays as it is.
        energy: Share of the squared singular values that every layer keeps, above 0 and at most 1: 0.9 drops
            directions that hold a tenth of a kernel's squared weights. 1 drops only what is zero.
        rank: In place of `energy`, the share of the full rank that every layer keeps, above 0 and below 1.
        exclude: Names of layers that stay as they are.

    Returns:
        A float32 model of the same inputs and outputs, not compiled, nested models unrolled; and a report.

    Raises:
        UsageError: an argument that does not fit, or not one of `energy` and `rank`.
        ExportError: the model cannot be read, or no layer gets smaller.

    Example:
        >>> smaller, report = factorise(model, energy=0.9)
        >>> report.parameters_after < report.parameters_before
        True
    """
    _check_shares(energy, rank)
    trained, graph = read_trained(model)
    check_names(exclude, graph, "exclude")
    found: dict[str, _Factors] = {}
    for layer in layers_of(graph):
        factors = _factors(layer, energy, rank) if layer.name not in exclude and _is_covered(layer) else None
        if factors is not None:
            found[layer.name] = factors
    if not found:
        raise ExportError(
            "Expected a dense layer or convolution that takes fewer parameters in two. "
            f"Received: none in {model.name!r} with {'rank' if energy is None else 'energy'}={rank or energy}. "
            "Ask for a smaller share, or exclude fewer layers."
        )
    smaller = rebuild(
        trained, graph, lambda layer: _parts(layer, found[layer.name]) if layer.name in found else [whole(layer)]
    )
    return smaller, LowRankReport(
        layers=tuple(LayerRank(name, factors.full_rank, factors.rank) for name, factors in found.items()),
        macs_before=count_macs(trained),
        macs_after=count_macs(smaller),
        parameters_before=trained.count_params(),
        parameters_after=smaller.count_params(),
    )


def _check_shares(energy: float | None, rank: float | None) -> None:
    if (energy is None) == (rank is None):
        raise UsageError(f"Expected either energy or rank. Received: energy={energy}, rank={rank}. Give one of them.")
    if energy is not None and not 0 < energy <= 1:
        raise UsageError(f"Expected energy above 0 and at most 1. Received: energy={energy}. 0.9 keeps nine tenths.")
    if rank is not None and not 0 < rank < 1:
        raise UsageError(f"Expected rank between 0 and 1. Received: rank={rank}. 0.5 keeps half of every full rank.")


def _is_covered(layer: GraphLayer) -> bool:
    return layer.kind == "Dense" or (layer.kind in _CONVOLUTIONS and layer.config["groups"] == 1)


def _factors(layer: GraphLayer, energy: float | None, rank: float | None) -> _Factors | None:
    """The kernel's factors; None where they hold no fewer numbers than the kernel."""
    kernel = layer.weights[0]  # (*window, channels, filters)
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    rows, columns = matrix.shape
    tall = matrix if rows >= columns else matrix.T
    # The squares' eigenvectors are the tall matrix's right singular vectors, many times faster than its SVD.
    squares, vectors = np.linalg.eigh(tall.T @ tall)
    singular, vectors = np.sqrt(np.maximum(squares[::-1], 0)), vectors[:, ::-1]
    rounding = singular[0] * rows * np.finfo(np.float32).eps
    kept = max(1, round(rank * len(singular))) if rank is not None else _rank_of(singular, rounding, energy or 1)
    if kept * (rows + columns) >= matrix.size:
        return None
    # Both factors of one size: kind to training and to quantisation.
    balance = np.sqrt(np.maximum(singular[:kept], max(rounding, np.finfo(np.float32).tiny)))
    left, right = tall @ vectors[:, :kept] / balance, (vectors[:, :kept] * balance).T
    left, right = (left, right) if rows >= columns else (right.T, left.T)
    return _Factors(left.astype(np.float32), right.astype(np.float32), len(singular))


def _rank_of(singular: np.ndarray, rounding: float, energy: float) -> int:
    """The fewest directions that hold the energy, leaving out those that are zero but for rounding."""
    sums = np.cumsum(np.square(singular[singular > rounding]))
    if not len(sums):
        return 1
    return min(int(np.searchsorted(sums, energy * sums[-1])) + 1, len(sums))


def _parts(layer: GraphLayer, factors: _Factors) -> list[Part]:
    part, kernel = whole(layer), layer.weights[0]
    argument = "units" if layer.kind == "Dense" else "filters"
    reduce = {
        **part.config,
        "name": f"{layer.name}_reduce",
        argument: factors.rank,
        "use_bias": False,
        "activation": None,
        "activity_regularizer": None,
    }
    expand = {**part.config, "name": f"{layer.name}_expand"}
    left, right = factors.left, factors.right
    if layer.kind in _CONVOLUTIONS:
        window = kernel.shape[:-2]
        ones = (1,) * len(window)
        expand |= {"kernel_size": ones, "strides": ones, "dilation_rate": ones, "padding": "valid"}
        left, right = left.reshape(*kernel.shape[:-1], factors.rank), right.reshape(*ones, *right.shape)
    return [Part(part.kind, reduce, [left]), Part(part.kind, expand, [right, *layer.weights[1:]])]
