"""A Keras 3 model as a flat list of layer calls.

Nested functional and Sequential models are unrolled into their layers, layers that do nothing at inference are left
out, a layer that is called twice stays one layer. Read from the public `get_config()`, on every Keras backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np

from kzoo.errors import ExportError

_IDENTITY_NAMES = """
    ActivityRegularization AlphaDropout AugMix Cutout CutMix Dropout Equalization GaussianDropout GaussianNoise Identity
    MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomElasticTransform
    RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective
    RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
    SpatialDropout1D SpatialDropout2D SpatialDropout3D
"""
#: Layers that hand on their input unchanged when a model is not training.
IDENTITY_AT_INFERENCE = frozenset(_IDENTITY_NAMES.split())
#: What the rebuilt model is called: the converter's names begin with it.
MODEL_NAME = "model"
#: Packages whose layers cross as they are, as those of Keras do that tf_keras lacks: both compute with TensorFlow.
_PACKAGES = frozenset({"keras", "keras_hub"})
_HOW_TO_BUILD = "Build it from stock Keras layers as a functional or Sequential model."


class Value(NamedTuple):
    """One tensor: the input (-1 the first, -2 the second) or the call (0, 1, …) it comes from, and its place there."""

    producer: int
    place: int = 0


@dataclass(frozen=True, slots=True)
class GraphInput:
    """An input of the model: its name, shape without the batch axis, and type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(eq=False, slots=True)
class GraphLayer:
    """A layer, or an operation of `keras.ops`, with what is needed to make it again elsewhere."""

    name: str
    kind: str
    config: dict[str, Any]
    weights: list[np.ndarray]
    operation: keras.Operation

    @property
    def is_layer(self) -> bool:
        """False for an operation of `keras.ops`, which has neither weights nor a class elsewhere."""
        return isinstance(self.operation, keras.layers.Layer)


@dataclass(slots=True)
class Call:
    """One use of a layer. Tensors among the arguments are `Value`s."""

    layer: GraphLayer
    args: list[Any]
    kwargs: dict[str, Any]

    def values(self) -> Iterator[Value]:
        """Every tensor this call reads."""
        yield from values_in([self.args, self.kwargs])


@dataclass(slots=True)
class Graph:
    """Inputs, calls in an order that can be computed, and outputs by name."""

    inputs: list[GraphInput]
    calls: list[Call | None]  # None: a call that was folded away; the numbers of the others stay
    outputs: list[tuple[str, Value]] = field(default_factory=list)

    @property
    def packages(self) -> tuple[str, ...]:
        """What has to be imported beside Keras before the model can be loaded."""
        return tuple(sorted({_package(call.layer.operation) for _, call in self.numbered_calls()} - {"keras"}))

    def numbered_calls(self) -> Iterator[tuple[int, Call]]:
        """The calls that are left, with their numbers."""
        return ((number, call) for number, call in enumerate(self.calls) if call is not None)

    def readers(self, value: Value) -> list[int]:
        """Numbers of the calls that read a tensor, once for each time they read it."""
        return [number for number, call in self.numbered_calls() for read in call.values() if read == value]

    def is_output(self, value: Value) -> bool:
        """Whether a tensor is an output of the model."""
        return any(value == output for _, output in self.outputs)


def remove_call(graph: Graph, number: int) -> str:
    """Take a call of one input out of the graph; its readers read that input. Gives the layer's name."""
    removed = graph.calls[number]
    assert removed is not None
    source = next(removed.values())
    for _, call in graph.numbered_calls():
        call.args = replace_values(call.args, lambda value: source if value == Value(number) else value)
        call.kwargs = replace_values(call.kwargs, lambda value: source if value == Value(number) else value)
    graph.outputs = [(name, source if value == Value(number) else value) for name, value in graph.outputs]
    graph.calls[number] = None
    return removed.layer.name


def place_of(calls: Sequence[Call | None], reads: Iterable[Value], prefix: str = "") -> str:
    """Where something stands that reads these tensors, as a sentence for an error."""
    sources = (calls[value.producer] for value in reads if value.producer >= 0)
    before = dict.fromkeys(repr(call.layer.name) for call in sources if call is not None)
    nested = f" in {prefix[:-1]!r}" if prefix else ""
    return f"It stands {'behind ' + ', '.join(before) if before else 'at the input'}{nested}."


def values_in(structure: Any) -> Iterator[Value]:
    """Every `Value` in nested lists, tuples and dictionaries."""
    if isinstance(structure, Value):
        yield structure
    elif isinstance(structure, list | tuple):
        for item in structure:
            yield from values_in(item)
    elif isinstance(structure, dict):
        for item in structure.values():
            yield from values_in(item)


def replace_values(structure: Any, replace: Any) -> Any:
    """The same nested structure with every `Value` replaced by `replace(value)`."""
    if isinstance(structure, Value):
        return replace(structure)
    if isinstance(structure, list | tuple):
        return type(structure)(replace_values(item, replace) for item in structure)
    if isinstance(structure, dict):
        return {key: replace_values(item, replace) for key, item in structure.items()}
    return structure


def read_graph(model: keras.Model, *, keep_identities: bool = False) -> Graph:
    """Flatten a functional or Sequential model.

    Args:
        model: Built, with inputs of a known size.
        keep_identities: Keep the layers that only act in training, such as dropout.

    Raises:
        ExportError: the model is subclassed or not built, holds a Lambda or custom layer, or has an input of no fixed
            size.
    """
    _check_model(model)
    names = _input_names(model)
    inputs = [_graph_input(name, tensor) for name, tensor in zip(names, model.inputs, strict=True)]
    reader = _Reader(keep_identities)
    values = reader.expand(model, [Value(-1 - number) for number in range(len(inputs))])
    outputs = zip(_unique(_output_names(model, len(values))), values, strict=True)
    return Graph(inputs, list(reader.calls), list(outputs))


def in_structure(model: keras.Model, arrays: Sequence[Any]) -> Any:
    """Arrays in the order of `model.inputs`, in the structure (one, list, dictionary) the model is called with."""
    if isinstance(model, keras.Sequential):
        return arrays[0]
    return keras.tree.pack_sequence_as(model.input, list(arrays))


def _graph_input(name: str, tensor: Any) -> GraphInput:
    shape = tuple(tensor.shape[1:])
    if None in shape:
        raise ExportError(
            f"Expected inputs of a known size. Received: {name!r} with shape={shape}. "
            "Build the model with a fixed input_shape, then load the weights."
        )
    return GraphInput(name, shape, str(tensor.dtype))


def _input_names(model: keras.Model) -> list[str]:
    """Names of the input layers, in the order of `model.inputs`."""
    config = model.get_config()
    if isinstance(model, keras.Sequential):
        first = config["layers"][0]
        return [first["config"]["name"] if first["class_name"] == "InputLayer" else model.inputs[0].name]
    return [name for name, _, _ in _histories(config["input_layers"])]


def _output_names(model: keras.Model, count: int) -> list[str]:
    if isinstance(model, keras.Sequential):
        return [model.layers[-1].name] * count
    return [name for name, _, _ in _histories(model.get_config()["output_layers"])]


def _unique(names: Iterable[str]) -> Iterator[str]:
    taken: set[str] = set()
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(candidate)
        yield candidate


def as_functional(model: Any) -> Any:
    """A subclass of a functional model, such as KerasHub's backbones, as the functional model that it is.

    Layers and weights stay the same objects. Other models are given back as they are.
    """
    if isinstance(model, keras.Model) and hasattr(model, "operations") and "layers" not in model.get_config():
        return keras.Model(model.input, model.output, name=model.name)
    return model


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ExportError(f"Expected a Keras 3 model. Received: {type(model).__module__}.{type(model).__name__}.")
    if isinstance(model, keras.Sequential) and not model.built:
        raise ExportError(f"Model {model.name!r} has no input shape yet. Add a keras.Input as its first layer.")
    if _package(model) != "keras" or not (isinstance(model, keras.Sequential) or "layers" in model.get_config()):
        raise ExportError(f"Model {model.name!r} is a subclassed model ({type(model).__name__}). {_HOW_TO_BUILD}")


def _package(operation: Any) -> str:
    return type(operation).__module__.split(".")[0]


def _is_functional(operation: Any) -> bool:
    return isinstance(operation, keras.Model) and not isinstance(operation, keras.Sequential)


def _check_operation(operation: Any) -> None:
    if isinstance(operation, keras.layers.Lambda):
        raise ExportError(
            f"Layer {operation.name!r} is a Lambda, whose code cannot leave Keras. Replace it by stock Keras layers."
        )
    if _package(operation) not in _PACKAGES:
        raise ExportError(
            f"Layer {operation.name!r} is of the custom class {type(operation).__name__}. "
            "Replace it by stock Keras layers."
        )
    if getattr(operation, "stateful", False):
        raise ExportError(f"Layer {operation.name!r} is stateful. Build it with stateful=False.")
    for inner in ("layer", "forward_layer", "backward_layer", "cell"):
        wrapped = getattr(operation, inner, None)
        if isinstance(wrapped, keras.Model):
            raise ExportError(
                f"Layer {operation.name!r} wraps a whole model. Apply the layers of that model one by one."
            )
        if isinstance(wrapped, keras.layers.Layer):
            _check_operation(wrapped)


class _Reader:
    """Walks a model and collects its calls."""

    def __init__(self, keep_identities: bool) -> None:
        self.calls: list[Call] = []
        self._dropped = frozenset() if keep_identities else IDENTITY_AT_INFERENCE
        self._layers: dict[int, GraphLayer] = {}
        self._names: set[str] = set()

    def expand(self, model: keras.Model, values: list[Value], prefix: str = "") -> list[Value]:
        """Add the calls of a (nested) model applied to `values`; gives its outputs."""
        model = as_functional(model)
        _check_model(model)
        if isinstance(model, keras.Sequential):
            return self._expand_sequential(model, values, prefix)
        return self._expand_functional(model, values, prefix)

    def _expand_sequential(self, model: keras.Sequential, values: list[Value], prefix: str) -> list[Value]:
        for layer in model.layers:
            argument: Any = values[0] if len(values) == 1 else list(values)
            values = self._apply(layer, [argument], {}, prefix)
        return values

    def _expand_functional(self, model: keras.Model, values: list[Value], prefix: str) -> list[Value]:
        config = model.get_config()
        operations = {operation.name: operation for operation in model.operations}
        known: dict[tuple[str, int], list[Value]] = {}
        for (name, node, _), value in zip(_histories(config["input_layers"]), values, strict=True):
            known[name, node] = [value]
        waiting = [
            (entry["name"], number, node)
            for entry in config["layers"]
            for number, node in enumerate(entry["inbound_nodes"])
        ]
        while waiting:
            later = []
            for name, number, node in waiting:
                if any((layer, index) not in known for layer, index, _ in _references(node)):
                    later.append((name, number, node))
                    continue
                args, kwargs = (_revive(node[part], known) for part in ("args", "kwargs"))
                known[name, number] = self._apply(operations[name], list(args), kwargs, prefix)
            if len(later) == len(waiting):
                raise ExportError(f"Model {model.name!r} has a layer whose input is not part of it: {later[0][0]!r}.")
            waiting = later
        # Among the outputs alone Keras counts the calls of a nested functional model from 1.
        outputs = [
            (name, node - _is_functional(operations[name]), index)
            for name, node, index in _histories(config["output_layers"])
        ]
        return [_pick(known[name, node], index) for name, node, index in outputs]

    def _apply(self, operation: Any, args: list[Any], kwargs: dict[str, Any], prefix: str) -> list[Value]:
        try:
            _check_operation(operation)
        except ExportError as error:
            raise ExportError(f"{error} {place_of(self.calls, values_in([args, kwargs]), prefix)}") from error
        if kwargs.get("training"):
            raise ExportError(
                f"Layer {operation.name!r} is called with training=True, so its answers change from call to call. "
                "Call it without."
            )
        if isinstance(operation, keras.Model):
            return self.expand(operation, list(values_in(_sorted(args))), f"{prefix}{operation.name}_")
        if isinstance(operation, keras.layers.InputLayer) or type(operation).__name__ in self._dropped:
            return list(values_in(args))
        kwargs = {key: value for key, value in kwargs.items() if value is not None and key != "training"}
        self.calls.append(Call(self._layer(operation, prefix), args, kwargs))
        return [Value(len(self.calls) - 1)]

    def _layer(self, operation: Any, prefix: str) -> GraphLayer:
        if id(operation) not in self._layers:
            name = prefix + operation.name
            while name in self._names:
                name += "_"
            self._names.add(name)
            is_layer = isinstance(operation, keras.layers.Layer)
            self._layers[id(operation)] = GraphLayer(
                name=name,
                kind=type(operation).__name__,
                config=dict(operation.get_config()) if is_layer else {},
                weights=[np.asarray(weight, np.float32) for weight in operation.get_weights()] if is_layer else [],
                operation=operation,
            )
        return self._layers[id(operation)]


def _pick(values: list[Value], index: int) -> Value:
    """Output `index` of what a call gave: a layer's call is known by its first output, a nested model's by all."""
    return values[index] if index < len(values) else values[0]._replace(place=index)


def _histories(structure: Any) -> list[tuple[str, int, int]]:
    """`(layer, node, tensor)` of `input_layers` or `output_layers`, which are one, a list or a dictionary of them."""
    if isinstance(structure, dict):
        return [history for key in sorted(structure) for history in _histories(structure[key])]
    if len(structure) == 3 and isinstance(structure[0], str):
        return [(structure[0], structure[1], structure[2])]
    return [history for item in structure for history in _histories(item)]


def _sorted(structure: Any) -> Any:
    """Dictionaries in the order in which Keras flattens them."""
    if isinstance(structure, dict):
        return {key: _sorted(structure[key]) for key in sorted(structure)}
    return [_sorted(item) for item in structure] if type(structure) in (list, tuple) else structure


def _references(node: Any) -> Iterator[tuple[str, int, int]]:
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield tuple(node["config"]["keras_history"])
            return
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from _references(item)


def _revive(node: Any, known: dict[tuple[str, int], list[Value]]) -> Any:
    """Arguments of a call as Keras stores them, back to Python values, with `Value`s for its tensors."""
    if isinstance(node, list | tuple):
        return [_revive(item, known) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("class_name") == "__keras_tensor__":
        name, number, index = node["config"]["keras_history"]
        return _pick(known[name, number], index)
    if node.get("class_name") == "__tuple__":
        return tuple(_revive(item, known) for item in node["items"])
    if "class_name" in node:
        return keras.saving.deserialize_keras_object(node)
    return {key: _revive(item, known) for key, item in node.items()}
