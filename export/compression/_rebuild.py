"""Make a functional model again from its graph, with other layers in the place of some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kzoo.errors import UsageError, nearest
from kzoo.export.float_model import as_float32
from kzoo.export.graph import Call, Graph, GraphLayer, Value, as_functional, in_structure, read_graph, replace_values
from kzoo.macs import layer_macs

Shape = tuple[int | None, ...]
Shapes = dict[Value, Shape]


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """A layer to be made: its class, configuration and weights."""

    kind: type[Any]
    config: dict[str, Any]
    weights: Sequence[np.ndarray]


def read_trained(model: Any) -> tuple[keras.Model, Graph]:
    """The model in float32 with its graph, layers that only act in training included.

    Raises:
        ExportError: it is not a built functional or Sequential model of stock layers and fixed input sizes.
    """
    graph = read_graph(model, keep_identities=True)
    floats = as_float32(as_functional(model))
    return (model, graph) if floats is model else (floats, read_graph(floats, keep_identities=True))


def check_names(names: Sequence[str], graph: Graph, argument: str) -> None:
    """Refuse names that no layer of the graph has.

    Raises:
        UsageError: there is one.
    """
    known = {layer.name for layer in layers_of(graph)}
    for name in names:
        if name not in known:
            raise UsageError(f"Expected names of layers in {argument}. Received: {name!r}. {nearest(name, known)}")


def layers_of(graph: Graph) -> list[GraphLayer]:
    """Every layer once, in the order of the first calls."""
    return list({id(call.layer): call.layer for _, call in graph.numbered_calls()}.values())


def shapes_of(graph: Graph) -> Shapes:
    """The shape of every tensor, with the batch axis."""
    specs: dict[Value, Any] = {
        Value(-1 - number): keras.KerasTensor((None, *each.shape), dtype=each.dtype)
        for number, each in enumerate(graph.inputs)
    }
    for number, call in graph.numbered_calls():
        args, kwargs = (replace_values(part, specs.__getitem__) for part in (call.args, call.kwargs))
        outputs = keras.tree.flatten(call.layer.operation.compute_output_spec(*args, **kwargs))
        specs.update({Value(number, place): output for place, output in enumerate(outputs)})
    return {value: tuple(spec.shape) for value, spec in specs.items()}


def call_macs(call: Call, number: int, shapes: Shapes) -> int:
    """Multiply-accumulates of one call for one example."""
    return layer_macs(call.layer.operation, [shapes[value] for value in call.values()], shapes[Value(number)])


def whole(layer: GraphLayer) -> Part:
    """The layer as it is, under its name in the graph."""
    config = {**_unbuilt(layer.config), "name": layer.name} if layer.is_layer else layer.operation.get_config()
    return Part(type(layer.operation), config, layer.weights)


def _unbuilt(config: Any) -> Any:
    """A configuration without the shapes that a wrapped layer was built for."""
    if isinstance(config, dict):
        return {key: _unbuilt(value) for key, value in config.items() if key != "build_config"}
    return config


def rebuild(model: keras.Model, graph: Graph, parts_of: Callable[[GraphLayer], Sequence[Part]]) -> keras.Model:
    """A functional model of new layers with the inputs, outputs and name of `model`.

    Args:
        model: What `graph` was read from.
        graph: Nested models are unrolled in it, and so they are in the new model.
        parts_of: The layers that take a layer's place, one behind the other. Asked once for each layer, however often
            it is called.
    """
    inputs = [keras.Input(each.shape, dtype=each.dtype, name=each.name) for each in graph.inputs]
    tensors: dict[Value, Any] = {Value(-1 - number): tensor for number, tensor in enumerate(inputs)}
    made: dict[int, list[Any]] = {}
    for number, call in graph.numbered_calls():
        args, kwargs = (replace_values(part, tensors.__getitem__) for part in (call.args, call.kwargs))
        known = made.get(id(call.layer))
        parts = parts_of(call.layer) if known is None else ()
        first, *others = made.setdefault(id(call.layer), [part.kind.from_config(part.config) for part in parts])
        outputs = first(*args, **kwargs)
        for layer in others:
            outputs = layer(outputs)
        for layer, part in zip((first, *others), parts, strict=False):  # a second call makes no parts
            if part.weights:
                layer.set_weights(part.weights)
        flat = keras.tree.flatten(outputs)
        tensors.update({Value(number, place): tensor for place, tensor in enumerate(flat)})
    answers = [tensors[value] for _, value in graph.outputs]
    structured = (
        answers[0] if isinstance(model, keras.Sequential) else keras.tree.pack_sequence_as(model.output, answers)
    )
    return keras.Model(in_structure(model, inputs), structured, name=model.name)
