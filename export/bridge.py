"""Rebuild a Keras 3 graph in tf_keras (Keras 2), layer by layer.

The converter fuses recurrent layers only of a tf_keras model of batch 1. Each layer is made again from its Keras 3
configuration (the arguments that its tf_keras class knows), the weights are copied, and `check_bridge` holds the
answers of both against each other. Importing this module imports TensorFlow: it belongs into the child process.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from kzoo.errors import ExportError

from ._device_layers import (
    IntegerAttention,
    NearSoftmax,
    ProductAttention,
    ProductNormalization,
    WrittenOutConvLSTM1D,
    WrittenOutConvLSTM2D,
)
from .folding import affine_of
from .graph import (
    MODEL_NAME,
    Call,
    Graph,
    GraphLayer,
    Value,
    in_structure,
    place_of,
    read_graph,
    replace_values,
    values_in,
)

#: Largest difference between both models, relative to the largest answer.
TOLERANCE = 1e-4

# Activations that mean the same in both. The others keep Keras 3's function, which computes with TensorFlow here
# (tf_keras's hard_sigmoid, for one, is another function of the same name). The fused LSTM is recognised by these names.
_SAME_NAMES = "elu exponential gelu linear mish relu selu sigmoid softmax softplus softsign swish tanh"
_SAME_ACTIVATIONS = frozenset(_SAME_NAMES.split())
_RENAMED_ACTIVATIONS = {"silu": "swish"}
_RENAMED_ARGUMENTS = {("LeakyReLU", "negative_slope"): "alpha"}
_NOT_NEEDED = ("_initializer", "_regularizer", "_constraint")
_RECURRENT = frozenset({"GRU", "LSTM", "SimpleRNN"})
#: They move values along two axes; the format only says which two.
_SAME_IN_ANY_FORMAT = frozenset({"Cropping2D", "ZeroPadding2D"})
#: In place of the tf_keras layers of the same name: in every file, in one that computes in integers, without loops.
_DEVICE_FORMS = {"MultiHeadAttention": ProductAttention}
_INTEGER_FORMS = {
    "LayerNormalization": ProductNormalization,
    "MultiHeadAttention": IntegerAttention,
    "Softmax": NearSoftmax,
}
_WRITTEN_OUT_FORMS = {"ConvLSTM1D": WrittenOutConvLSTM1D, "ConvLSTM2D": WrittenOutConvLSTM2D}


def build_bridge(
    graph: Graph,
    *,
    batch_size: int | None = 1,
    unroll: bool = False,
    integers: bool = False,
    wrap: Callable[[Any, GraphLayer], Any] = lambda layer, _: layer,
) -> tf_keras.Model:
    """Make the graph again in tf_keras with float32, weights included.

    Args:
        graph: what `read_graph` gave.
        batch_size: of the inputs; None for a model to train, which is made of stock layers.
        unroll: write out GRU, SimpleRNN and convolutional LSTMs step by step: their loop does not survive full-integer
            quantisation.
        integers: for a file that computes in integers, see `_device_layers.ProductNormalization`.
        wrap: from a layer with its weights, and what it was made from, to the layer that takes its place.

    Raises:
        ExportError: a layer that tf_keras does not have, or not with these arguments.
    """
    tensors: dict[Value, Any] = {}
    for number, each in enumerate(graph.inputs):
        tensors[Value(-1 - number)] = tf_keras.Input(
            each.shape, batch_size=batch_size, dtype=each.dtype, name=each.name
        )
    inputs = list(tensors.values())
    layers: dict[int, tuple[Any, Any]] = {}
    for number, call in graph.numbered_calls():
        try:
            known = layers.get(id(call.layer))
            if known is None:
                made = _make_layer(call, number, unroll, integers, stock=batch_size is None)
                layer, outputs = _first_applied(made, call, tensors, wrap)
                if not isinstance(made, _Kept):  # those belong to one call
                    layers[id(call.layer)] = (layer, made)
            else:
                outputs = _apply(*known, call, tensors)
        except ExportError as error:
            raise ExportError(f"{error} {place_of(graph.calls, call.values())}") from error
        for index, tensor in enumerate(outputs):
            tensors[Value(number, index)] = tensor
    # An output that is an input passes through an operator, so that the file has two tensors.
    outputs = [
        tf_keras.layers.Activation("linear", name=f"{name}_output")(tensors[value])
        if value.producer < 0
        else tensors[value]
        for name, value in graph.outputs
    ]
    return tf_keras.Model(inputs, outputs, name=MODEL_NAME)


def return_weights(graph: Graph, weights: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Bring weights of a bridged model back into the Keras 3 layers they came from.

    Args:
        graph: What the bridged model was built from, without folding: folded weights are not the model's own.
        weights: By layer, in the layer's order; of the layers that are to change.
    """
    for layer in {id(call.layer): call.layer for _, call in graph.numbered_calls()}.values():
        if layer.name in weights and layer.weights and _has_twin(layer) and affine_of(layer) is None:
            layer.operation.set_weights(list(weights[layer.name]))


def check_bridge(model: keras.Model, graph: Graph, bridged: tf_keras.Model, samples: dict[str, np.ndarray]) -> float:
    """Hold the answers of the bridged model against the Keras 3 model's, sample by sample.

    Returns:
        The largest difference relative to the largest answer.

    Raises:
        ExportError: they differ by more than `TOLERANCE`; the message names the first layer that does.
    """
    feeds = [samples[each.name] for each in graph.inputs]
    expected = [np.asarray(array) for array in keras.tree.flatten(model(in_structure(model, feeds), training=False))]
    worst = 0.0
    for sample in range(len(feeds[0])):
        one = [
            tf.constant(array[sample : sample + 1], spec.dtype)
            for array, spec in zip(feeds, bridged.inputs, strict=True)
        ]
        answers = bridged(one if len(one) > 1 else one[0], training=False)
        for theirs, ours in zip(expected, keras.tree.flatten(answers), strict=True):
            scale = max(float(np.abs(theirs).max()), 1e-6)
            worst = max(worst, float(np.abs(np.asarray(ours)[0] - theirs[sample]).max()) / scale)
    if not worst <= TOLERANCE:  # also true for NaN
        suspect = _first_difference(model, [array[:1] for array in feeds])
        raise ExportError(
            f"The rebuilt model answers otherwise than the Keras model (relative difference {worst:.1e}, limit "
            f"{TOLERANCE:.0e}){suspect}. Replace that layer by other stock layers."
        )
    return worst


def _first_difference(model: keras.Model, feeds: list[np.ndarray]) -> str:
    """Which layer answers otherwise when both get the same tensors. Run only to explain a failed check."""
    graph = read_graph(model)
    values: dict[Value, Any] = {Value(-1 - number): tf.constant(feed) for number, feed in enumerate(feeds)}
    for number, call in graph.numbered_calls():
        args, kwargs = (replace_values(part, values.__getitem__) for part in (call.args, call.kwargs))
        outputs = keras.tree.flatten(call.layer.operation(*args, **kwargs))
        values.update({Value(number, index): tensor for index, tensor in enumerate(outputs)})
        layer = _make_layer(call, number)
        answers = _apply(layer, layer, call, values)
        if not isinstance(layer, _Kept):
            _copy_weights(layer, call.layer)
            answers = _apply(layer, layer, call, values)
        for theirs, ours in zip(outputs, answers, strict=False):
            theirs, ours = np.asarray(theirs, np.float64), np.asarray(ours, np.float64)
            if not np.abs(theirs - ours).max(initial=0) <= TOLERANCE * max(np.abs(theirs).max(initial=0), 1e-6):
                return f": layer {call.layer.name!r} ({call.layer.kind}) differs first"
    return ""


def _first_applied(
    layer: Any, call: Call, tensors: dict[Value, Any], wrap: Callable[[Any, GraphLayer], Any]
) -> tuple[Any, list[Any]]:
    """Give a new layer with its weights, or what takes its place, and its outputs."""
    outputs = _apply(layer, layer, call, tensors)
    if isinstance(layer, _Kept):
        return layer, outputs
    _copy_weights(layer, call.layer)
    wrapped = wrap(layer, call.layer)
    return (layer, outputs) if wrapped is layer else (wrapped, _apply(wrapped, layer, call, tensors))


def _apply(layer: Any, inner: Any, call: Call, tensors: dict[Value, Any]) -> list[Any]:
    """Call a layer; what wraps another, `inner`, takes one argument by its place."""
    try:
        if isinstance(layer, _Kept):
            outputs = layer([tensors[value] for value in values_in([call.args, call.kwargs])])
        else:
            args, kwargs = (replace_values(part, tensors.__getitem__) for part in (call.args, call.kwargs))
            kwargs = _known_to_call(inner, kwargs)
            if inner is not layer:
                names = list(inspect.signature(inner.call).parameters)
                args, kwargs = args[:1], {**dict(zip(names[1:], args[1:], strict=False)), **kwargs}
            outputs = layer(*args, **kwargs)
    except (TypeError, ValueError, NotImplementedError, tf.errors.OpError) as error:
        raise _unsupported(call.layer, error) from error
    return list(keras.tree.flatten(outputs))


def _known_to_call(layer: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Without the masks that tf_keras hands on by itself where a layer's `call` has no argument for them."""
    known = inspect.signature(layer.call).parameters
    return {key: value for key, value in kwargs.items() if key in known or not key.endswith("mask")}


def _copy_weights(layer: Any, source: GraphLayer) -> None:
    if affine_of(source) is not None:
        return  # a Normalization's weights have become constants
    try:
        layer.set_weights(source.weights)
    except ValueError as error:
        raise _unsupported(source, error) from error


def _unsupported(layer: GraphLayer, error: Exception) -> ExportError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return ExportError(
        f"Layer {layer.name!r} ({layer.kind}) cannot be converted: {reason[:200]} Replace it by other stock layers."
    )


class _Kept(tf_keras.layers.Layer):
    """An operation of `keras.ops`, or a stock layer that tf_keras does not have.

    On this backend it is made of TensorFlow's own functions, so it computes here as it is, its weights as constants.
    """

    def __init__(self, call: Call, number: int) -> None:
        super().__init__(name=f"{call.layer.name}.{number}")  # one for each call, even of a shared layer
        # A closure and not attributes: tf_keras would wrap lists and track variables.
        self._compute = _stateless(call)

    def call(self, tensors: list[Any]) -> Any:
        return self._compute(tensors)


def _has_twin(layer: GraphLayer) -> bool:
    """Whether tf_keras has a layer of this kind; others compute as they are, and do not learn."""
    return layer.is_layer and hasattr(tf_keras.layers, layer.kind)


def _stateless(call: Call) -> Callable[[list[Any]], Any]:
    operation = call.layer.operation
    is_layer = call.layer.is_layer
    state = (
        [
            [keras.ops.convert_to_numpy(each) for each in variables]
            for variables in (operation.trainable_variables, operation.non_trainable_variables)
        ]
        if is_layer
        else []
    )

    def compute(tensors: list[Any]) -> Any:
        waiting = iter(tensors)
        args, kwargs = (replace_values(part, lambda _: next(waiting)) for part in (call.args, call.kwargs))
        if not is_layer:
            return operation.call(*args, **kwargs)
        outputs, _ = operation.stateless_call(
            *([tf.constant(each) for each in part] for part in state), *args, **kwargs
        )
        return outputs

    return compute


def _make_layer(call: Call, number: int, unroll: bool = False, integers: bool = False, stock: bool = False) -> Any:
    layer = call.layer
    if not _has_twin(layer):
        return _Kept(call, number)
    affine = affine_of(layer)
    if affine is not None:
        scale, offset = (array.astype(np.float32) for array in (affine.scale, affine.offset))
        return tf_keras.layers.Rescaling(
            *((scale, offset) if not affine.is_scalar else (scale[0], offset[0])), name=layer.name
        )
    masked = call.kwargs.get("mask") is not None
    forms: dict[str, type[Any]] = {} if stock else dict(_DEVICE_FORMS)
    forms |= (_INTEGER_FORMS if integers else {}) | (_WRITTEN_OUT_FORMS if unroll else {})
    try:
        return _from_config(
            layer.kind, {**layer.config, "name": layer.name}, unroll, masked, instead=forms.get(layer.kind)
        )
    except (TypeError, ValueError) as error:
        raise _unsupported(layer, error) from error


def _from_config(
    kind: str, config: dict[str, Any], unroll: bool, masked: bool, instead: type[Any] | None = None
) -> Any:
    layer_class = instead or getattr(tf_keras.layers, kind, None)
    if layer_class is None:
        raise ValueError(f"tf_keras has no {kind}.")
    if config.get("data_format") == "channels_first" and kind not in _SAME_IN_ANY_FORMAT:
        raise ValueError("it is built with data_format='channels_first', devices take channels_last.")
    config = {_RENAMED_ARGUMENTS.get((kind, key), key): value for key, value in config.items()}
    arguments = {key: _argument(key, value, unroll, masked) for key, value in _arguments(layer_class, config).items()}
    # A mask keeps an LSTM from being fused, and its loop does not run on the device; written out it does.
    if kind in _RECURRENT and (masked or (unroll and kind != "LSTM")):
        arguments["unroll"] = True
    layer = layer_class(**arguments)
    if kind == "Bidirectional" and masked:
        # Written out, a backward layer would zero the steps that the mask leaves out before it is turned round: those
        # at the wrong end (https://github.com/keras-team/tf-keras/issues/252).
        layer.backward_layer.zero_output_for_mask = False
    return layer


def _arguments(layer_class: type, config: dict[str, Any]) -> dict[str, Any]:
    """What the constructor takes of a configuration, without what only training needs."""
    known = _constructor_arguments(layer_class)
    return {
        key: value
        for key, value in config.items()
        if key in known and key not in ("dtype", "trainable", "seed") and not key.endswith(_NOT_NEEDED)
    }


def _argument(key: str, value: Any, unroll: bool, masked: bool) -> Any:
    if key.endswith("activation"):
        return _activation(value)
    if isinstance(value, dict) and "class_name" in value:  # the inner layer of a wrapper
        return _from_config(value["class_name"], value["config"], unroll, masked)
    return value


def _activation(name: Any) -> Any:
    if name is None:
        return None
    if not isinstance(name, str):
        raise ValueError("its activation is not one of Keras's own; use it as a layer of its own.")
    name = _RENAMED_ACTIVATIONS.get(name, name)
    return name if name in _SAME_ACTIVATIONS else keras.activations.get(name)


def _constructor_arguments(layer_class: type) -> set[str]:
    return {
        name
        for each in layer_class.__mro__
        if each is not object and "__init__" in vars(each)
        for name in inspect.signature(vars(each)["__init__"]).parameters
    }
