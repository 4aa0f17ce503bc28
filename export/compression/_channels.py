"""Which channel stands where: every channel of a model followed from the filter that makes it to all that read it.

Channels get numbers where a layer makes them and keep them through activations, pooling, padding, depthwise
convolutions and batch normalisation. An Add ties its inputs' channels together, a Concatenate puts them side by side, a
Flatten repeats them. What no rule covers fixes the channels that it reads: at most too few are removed, never a wrong
one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from kzoo.export.graph import Call, Graph, GraphLayer, Value

from ._channel_rules import LayerChannels, Reading, rule_of
from ._rebuild import Part, Shape, Shapes, whole
from ._ties import Channels, Ties

_MERGES = frozenset({"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"})


@dataclass(frozen=True, eq=False, slots=True)
class _Passage:
    """What the first call of a layer read and gave."""

    read: Channels | None
    given: Channels | None


class ChannelMap:
    """The channels of a graph.

    Attributes:
        layers: What depends on channels, by the layer's name.
        roots: For every channel's number the one that stands for all that go with it.
        fixed: For every channel's number whether it has to stay.
    """

    def __init__(self, graph: Graph, shapes: Shapes, exclude: Collection[str] = ()) -> None:
        """Follow the channels through the graph.

        Args:
            graph: What `read_graph` gave.
            shapes: What `shapes_of` gave.
            exclude: Names of layers that keep all of their filters.
        """
        self.layers: dict[str, LayerChannels] = {}
        self._shapes = shapes
        self._ties = Ties()
        self._known: dict[Value, Channels | None] = {}
        self._passages: dict[str, _Passage] = {}
        for number, call in graph.numbered_calls():
            self._known[Value(number)] = self._follow(call, Value(number))
        self._ties.fix(*(self._known.get(value) for _, value in graph.outputs))
        for name in exclude:
            made = self.layers[name].made if name in self.layers else None
            self._ties.fix(None if made is None else Channels(0, made))
        self.roots, self.fixed = self._ties.resolve()

    def part(self, layer: GraphLayer, kept: np.ndarray) -> Part:
        """The layer without the channels that are not `kept` (a truth value for every number)."""
        found, part = self.layers.get(layer.name), whole(layer)
        if found is None:
            return part
        config, weights = dict(part.config), list(part.weights)
        for cut in found.cuts:
            weights[cut.weight] = np.compress(kept[cut.ids], weights[cut.weight], axis=cut.axis)
        if found.made is not None:
            config["units" if layer.kind == "Dense" else "filters"] = int(kept[found.made].sum())
        if found.reshaped is not None:
            config["target_shape"] = (*config["target_shape"][:-1], int(kept[found.reshaped].sum()))
        return Part(part.kind, config, weights)

    def _follow(self, call: Call, output: Value) -> Channels | None:
        """The channels of what a call gives; None where they are not known, and so stay as they are."""
        layer, values = call.layer, list(call.values())
        inputs = [self._known.get(value) for value in values]
        shapes = [self._shapes[value] for value in values]
        if layer.kind in _MERGES:
            return self._merge(inputs, shapes, self._shapes[output])
        if layer.kind == "Concatenate":
            return self._concatenate(layer, inputs, shapes)
        rule = rule_of(layer)
        if rule is None or not values:
            self._ties.fix(*inputs)
            return None
        read, *others = inputs
        self._ties.fix(*others)
        if layer.name in self._passages:
            return self._pass_again(self._passages[layer.name], read, self._shapes[output])
        entry = LayerChannels()
        given = rule(Reading(layer, entry, self._ties, read, shapes[0], self._shapes[output]))
        if layer.weights or entry.reshaped is not None:  # a layer without either may be called with anything
            self.layers[layer.name] = entry
            self._passages[layer.name] = _Passage(read, given)
        return given

    def _pass_again(self, first: _Passage, read: Channels | None, output: Shape) -> Channels | None:
        """One layer on several inputs: what it reads must stay alike."""
        if read is None or first.read is None or read.axis != first.read.axis or read.ids.size != first.read.ids.size:
            self._ties.fix(read, first.read)
        else:
            self._ties.tie(first.read.ids, read.ids)
        given = first.given
        if given is not None and (given.axis >= len(output) or output[given.axis] != given.ids.size):
            self._ties.fix(given)
            return None
        return given

    def _merge(self, inputs: Sequence[Channels | None], shapes: Sequence[Shape], output: Shape) -> Channels | None:
        axes = {each.axis for each in inputs if each is not None}
        if len(axes) != 1 or any(len(shape) != len(output) for shape in shapes):
            self._ties.fix(*inputs)
            return None
        axis = axes.pop()
        full = []
        for channels, shape in zip(inputs, shapes, strict=True):
            if shape[axis] == output[axis]:
                full.append(channels)
            else:  # one for all channels
                self._ties.fix(channels)
        known = [channels for channels in full if channels is not None]
        if len(known) < len(full):
            self._ties.fix(*known)
            return None
        for other in known[1:]:
            self._ties.tie(known[0].ids, other.ids)
        return known[0]

    def _concatenate(
        self, layer: GraphLayer, inputs: Sequence[Channels | None], shapes: Sequence[Shape]
    ) -> Channels | None:
        axes = {each.axis for each in inputs if each is not None}
        if len(axes) != 1:
            self._ties.fix(*inputs)
            return None
        axis = axes.pop()
        filled = [each or self._unknown(axis, shape) for each, shape in zip(inputs, shapes, strict=True)]
        if layer.config["axis"] % len(shapes[0]) == axis:
            return Channels(axis, np.concatenate([each.ids for each in filled]))
        for other in filled[1:]:
            self._ties.tie(filled[0].ids, other.ids)
        return filled[0]

    def _unknown(self, axis: int, shape: Shape) -> Channels:
        """Numbers for channels that stay as they are."""
        channels = Channels(axis, self._ties.new(shape[axis] or 0))
        self._ties.fix(channels)
        return channels
