"""Structured pruning: whole filters go, and with them every weight that made or read their channels.

What is left is a smaller dense model, faster on any device without sparse kernels. Filters rank by the scale of the
batch normalisation behind them (Liu et al. 2017, arXiv 1708.06519) or by the L1 norm of their kernels (Li et al. 2016,
arXiv 1608.08710), relative to the mean of their layer, so that layers compare and none is emptied.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import keras
import numpy as np

from kzoo.errors import ExportError, UsageError
from kzoo.export.graph import Graph, GraphLayer
from kzoo.macs import count_macs

from ._channel_rules import LayerChannels, makes_channels
from ._channels import ChannelMap
from ._rebuild import call_macs, check_names, layers_of, read_trained, rebuild, shapes_of
from .settings import Criterion

# Kernels of devices work on blocks of 4 or 8 channels: an odd width costs as much as the next multiple.
_MULTIPLES = ((64, 8), (16, 4))
# Of a group of channels stay an eighth and no fewer than four.
_SMALLEST_SHARE = 8
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class LayerWidth:
    """Filters or units of a layer, before and after."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What `remove_filters` did.

    Attributes:
        layers: The layers that have fewer filters or units than before.
        left_alone: Convolutions and dense layers of which no filter may go.
        macs_before: Multiply-accumulates of one example.
        macs_after: The same of the new model.
        parameters_before: Numbers in all weights.
        parameters_after: The same of the new model.
    """

    layers: tuple[LayerWidth, ...]
    left_alone: tuple[str, ...]
    macs_before: int
    macs_after: int
    parameters_before: int
    parameters_after: int


def remove_filters(
    model: keras.Model, *, macs: float, criterion: Criterion | None = None, exclude: Sequence[str] = ()
) -> tuple[keras.Model, FilterReport]:
    """Remove the least important filters until a share of the multiply-accumulates is gone.

    Channels that an Add, a Multiply or a shared layer ties together go or stay together. Left alone are the model's
    outputs, recurrent units, grouped convolutions, and channels that reach a layer which looks at several of them at
    once: attention, layer or group normalisation, softmax, operations of `keras.ops`, a channel shuffle. Widths from 16
    on are cut to multiples of 4, from 64 on of 8; of every group of channels an eighth stays, and no fewer than four.

    The accuracy comes back by fine-tuning: the removed channels' part in the answers is gone, not moved elsewhere.

    Args:
        model: A trained functional or Sequential model of stock layers with inputs of a fixed size. It stays as it is.
        macs: Share of the multiply-accumulates to remove, above 0 and below 1: 0.25 leaves at most three quarters.
        criterion: `"batch_norm"` ranks by |gamma| and leaves alone what no batch normalisation scales; `"l1"` by the
            filters' L1 norms. None: by |gamma| where there is one, else by norms.
        exclude: Names of layers that keep all their filters, and with them what is tied to these.

    Returns:
        A float32 model of the same inputs, outputs and layer names, not compiled, nested models unrolled; and a report.

    Raises:
        UsageError: an argument that does not fit.
        ExportError: the model cannot be read, or so large a share cannot be removed from it.

    Example:
        >>> smaller, report = remove_filters(model, macs=0.5)
        >>> report.macs_after <= 0.5 * report.macs_before
        True
    """
    if not 0 < macs < 1:
        raise UsageError(f"Expected macs to be a share between 0 and 1. Received: macs={macs}. 0.5 removes half.")
    if criterion not in (None, *get_args(Criterion)):
        raise UsageError(f"Expected criterion to be 'batch_norm', 'l1' or None. Received: criterion={criterion!r}.")
    trained, graph = read_trained(model)
    check_names(exclude, graph, "exclude")
    shapes = shapes_of(graph)
    channels = ChannelMap(graph, shapes, exclude)
    costs = [
        _Cost.of(call.layer, channels.layers.get(call.layer.name), call_macs(call, number, shapes))
        for number, call in graph.numbered_calls()
    ]
    groups = _groups(graph, channels, criterion)
    kept = _choose(groups, channels, costs, macs)
    smaller = rebuild(trained, graph, lambda layer: [channels.part(layer, kept)])
    ranked = frozenset().union(*(group.makers for group in groups))
    report = FilterReport(
        layers=_widths(channels, kept),
        left_alone=tuple(name for name in _layers_with_filters(graph) if name not in ranked),
        macs_before=sum(cost.macs for cost in costs),
        macs_after=count_macs(smaller),
        parameters_before=trained.count_params(),
        parameters_after=smaller.count_params(),
    )
    return smaller, report


@dataclass(frozen=True, eq=False, slots=True)
class _Group:
    """Channels of the same makers, the least important first, and how many of these makers' have to stay."""

    makers: frozenset[str]
    ids: np.ndarray
    scores: np.ndarray
    fixed: int

    def removable(self, wanted: int) -> int:
        """How many can go where `wanted` should: a width of round numbers stays, and not too small a one."""
        size = self.fixed + len(self.ids)
        multiple = next((multiple for least, multiple in _MULTIPLES if size >= least), 1)
        width = max(size - wanted, math.ceil(size / _SMALLEST_SHARE), _FEWEST)
        return max(0, min(size - math.ceil(width / multiple) * multiple, len(self.ids)))


@dataclass(frozen=True, eq=False, slots=True)
class _Cost:
    """Multiply-accumulates of one call, and its kernels: the size of the axes that stay, the channels of the others."""

    macs: int
    kernels: tuple[tuple[int, tuple[np.ndarray, ...]], ...]

    @classmethod
    def of(cls, layer: GraphLayer, found: LayerChannels | None, macs: int) -> _Cost:
        kernels = []
        for number, weight in enumerate(layer.weights if found is not None and macs else ()):
            # A GRU's bias has two axes, too.
            if "kernel" in layer.operation.weights[number].name:
                cuts = [cut for cut in found.cuts if cut.weight == number] if found is not None else []
                rest = weight.size // math.prod(cut.ids.size for cut in cuts)
                kernels.append((rest, tuple(cut.ids for cut in cuts)))
        return cls(macs, tuple(kernels))

    def with_only(self, kept: np.ndarray) -> int:
        """What is left without the channels that are not kept: the places stay, the kernels shrink."""
        if not self.kernels:
            return self.macs
        whole = sum(rest * math.prod(ids.size for ids in axes) for rest, axes in self.kernels)
        left = sum(rest * math.prod(int(kept[ids].sum()) for ids in axes) for rest, axes in self.kernels)
        return self.macs * left // whole


def _choose(groups: Sequence[_Group], channels: ChannelMap, costs: Sequence[_Cost], share: float) -> np.ndarray:
    """Which numbers stay: as few of the least important go as bring the cost down by the share."""
    # Where all are alike (an untrained model's gammas), every group gives the same share of its own.
    order = sorted(
        (score, (rank + 1) / len(group.ids), number)
        for number, group in enumerate(groups)
        for rank, score in enumerate(group.scores.tolist())
    )
    owners = np.array([number for _, _, number in order], dtype=int)

    def kept(count: int) -> np.ndarray:
        alive = np.ones(len(channels.roots), dtype=bool)
        for group, wanted in zip(groups, np.bincount(owners[:count], minlength=len(groups)), strict=True):
            alive[group.ids[: group.removable(int(wanted))]] = False
        everywhere: np.ndarray = alive[channels.roots]
        return everywhere

    def left(count: int) -> int:
        alive = kept(count)
        return sum(cost.with_only(alive) for cost in costs)

    before, fewest = sum(cost.macs for cost in costs), left(len(order))
    allowed = (1 - share) * before
    if fewest > allowed:
        most = math.floor((1 - fewest / before) * 1000) / 1000
        raise ExportError(
            f"Expected a share of multiply-accumulates that can be removed, at most {most} of this model. "
            f"Received: macs={share}. Ask for less, or exclude fewer layers."
        )
    return kept(bisect.bisect_left(range(len(order)), True, key=lambda count: left(count) <= allowed))


def _groups(graph: Graph, channels: ChannelMap, criterion: Criterion | None) -> list[_Group]:
    """The channels that may go, by the layers that make them."""
    makers: dict[int, set[str]] = defaultdict(set)
    for name, found in channels.layers.items():
        for root in channels.roots[found.made].tolist() if found.made is not None else ():
            makers[root].add(name)
    members: dict[frozenset[str], list[int]] = defaultdict(list)
    for root, names in makers.items():
        members[frozenset(names)].append(root)
    scales, norms = _scales(graph, channels), _norms(graph, channels)
    groups = []
    for made_by, roots in members.items():
        ids = np.array([root for root in roots if not channels.fixed[root]], dtype=int)
        scaled = not np.isnan(scales[ids]).any()
        if not ids.size or (criterion == "batch_norm" and not scaled):
            continue
        scores = (scales if scaled and criterion != "l1" else norms)[ids]
        ascending = np.argsort(scores, kind="stable")
        groups.append(_Group(made_by, ids[ascending], scores[ascending], fixed=len(roots) - len(ids)))
    return groups


def _scales(graph: Graph, channels: ChannelMap) -> np.ndarray:
    """|gamma| relative to its layer's mean, by the channel's number; not a number where nothing scales it."""
    found = []
    for layer in layers_of(graph):
        scaled = channels.layers[layer.name].scaled if layer.name in channels.layers else None
        if scaled is not None:
            found.append((scaled, np.abs(layer.weights[0])))
    return _relative(channels, found)


def _norms(graph: Graph, channels: ChannelMap) -> np.ndarray:
    """L1 norms of the filters relative to their layer's mean, by the channel's number."""
    found = []
    for layer in layers_of(graph):
        entry = channels.layers.get(layer.name)
        for cut in entry.cuts if entry is not None else ():
            kernel = layer.weights[cut.weight]
            if entry is not None and cut.ids is entry.made and kernel.ndim > 1:
                others = tuple(axis for axis in range(kernel.ndim) if axis != cut.axis)
                found.append((cut.ids, np.abs(kernel).sum(axis=others)))
    return _relative(channels, found)


def _relative(channels: ChannelMap, found: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The mean over all layers that measure a channel."""
    total, count = np.zeros(len(channels.roots)), np.zeros(len(channels.roots))
    for ids, values in found:
        np.add.at(total, channels.roots[ids], values / max(float(values.mean()), np.finfo(np.float32).tiny))
        np.add.at(count, channels.roots[ids], 1)
    mean: np.ndarray = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    return mean


def _layers_with_filters(graph: Graph) -> list[str]:
    return [layer.name for layer in layers_of(graph) if makes_channels(layer)]


def _widths(channels: ChannelMap, kept: np.ndarray) -> tuple[LayerWidth, ...]:
    widths = (
        LayerWidth(name, found.made.size, int(kept[found.made].sum()))
        for name, found in channels.layers.items()
        if found.made is not None
    )
    return tuple(width for width in widths if width.after < width.before)
