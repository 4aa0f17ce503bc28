"""Counting a model's multiply-accumulates.

As papers count them: the products inside convolutions, dense layers, recurrent cells and attention, for one example.
Biases, activations, normalisation and pooling count nothing.

A leaf: the rooms of models and of export both count by it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import chain
from math import prod
from typing import Any

import keras
from keras import layers

_logger = logging.getLogger(__name__)

Shape = tuple[int | None, ...]
Rule = Callable[[Any, list[Shape], Shape], int]
"""Layer, shapes of its inputs with the batch axis, shape of its (first) output; gives the layer's MACs."""


def count_macs(model: keras.Model) -> int:
    """Count the multiply-accumulates of one example.

    Layers that are called several times count every time, nested models count in full. A layer with weights that no
    rule covers counts nothing and is named in a warning of the log.

    Args:
        model: a functional or built Sequential model with a known input shape, apart from the batch axis.

    Returns:
        Multiply-accumulates; a floating-point operation count is about twice that.

    Raises:
        ValueError: if the model is neither functional nor Sequential, or an axis of a shape is unknown.

    Example:
        >>> from kzoo.models import count_macs, resnet8
        >>> count_macs(resnet8())
        12501632
    """
    return sum(layer_macs(layer, inputs, output) for layer, inputs, output in _calls(model))


def _calls(model: keras.Model) -> Iterator[tuple[Any, list[Shape], Shape]]:
    """Yield every call of a layer: the layer, its inputs' shapes, its first output's shape."""
    # A Sequential wraps a functional model; the graph's nodes have no public name in Keras 3.
    graph = getattr(model, "_functional", None) or model
    depths = getattr(graph, "_nodes_by_depth", None)
    if depths is None:
        raise ValueError(
            "MACs can be counted for functional models and for Sequential models that are built. "
            f"Received: {model.name!r} of class {type(model).__name__}. Build it, or write it as a functional model."
        )
    for node in chain.from_iterable(depths.values()):
        if not node.is_input:
            yield node.operation, [tensor.shape for tensor in node.input_tensors], node.output_tensors[0].shape


def layer_macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Count the multiply-accumulates of one call of a built layer.

    Args:
        layer: the layer, or a nested model, or an operation of `keras.ops`, which counts nothing.
        inputs: shapes of its inputs with the batch axis.
        output: shape of its (first) output.

    Raises:
        ValueError: if an axis of a shape is unknown.
    """
    for kind, rule in _RULES:
        if isinstance(layer, kind):
            return rule(layer, inputs, output)
    if getattr(layer, "trainable_weights", None) and not isinstance(layer, _NO_PRODUCTS):
        _logger.warning("No rule counts the MACs of layer %r (%s); it counts as 0.", layer.name, type(layer).__name__)
    return 0


def _volume(sizes: Shape, layer: Any) -> int:
    """Multiply sizes that must all be known."""
    known = [size for size in sizes if size is not None]
    if len(known) != len(sizes):
        raise ValueError(
            f"MACs need a known input shape. Received: layer {layer.name!r} with an axis of unknown size. "
            "Build the model with an `input_shape` that has a number for every axis."
        )
    return prod(known)


def _size(kernel: Any) -> int:
    shape: tuple[int, ...] = kernel.shape
    return prod(shape)


def _positions(layer: Any, shape: Shape) -> int:
    """Give the number of places of a feature map, whichever axis holds its channels."""
    return _volume(shape[1:-1] if layer.data_format == "channels_last" else shape[2:], layer)


def _conv(layer: Any, inputs: list[Shape], output: Shape) -> int:
    return _size(layer.kernel) * _positions(layer, output)  # a grouped kernel holds its group's channels only


def _transposed_conv(layer: Any, inputs: list[Shape], output: Shape) -> int:
    return _size(layer.kernel) * _positions(layer, inputs[0])


def _separable_conv(layer: Any, inputs: list[Shape], output: Shape) -> int:
    return (_size(layer.depthwise_kernel) + _size(layer.pointwise_kernel)) * _positions(layer, output)


def _dense(layer: Any, inputs: list[Shape], output: Shape) -> int:
    return _size(layer.kernel) * _volume(inputs[0][1:-1], layer)


def _einsum_dense(layer: Any, inputs: list[Shape], output: Shape) -> int:
    if "..." in layer.equation:
        raise ValueError(
            "MACs of an EinsumDense can be counted when its equation names every axis. "
            f"Received: layer {layer.name!r} with equation={layer.equation!r}. Write the axes out in place of `...`."
        )
    axes = layer.equation.split("->")[0].split(",")
    sizes: dict[str, int | None] = dict(zip("".join(axes), (*inputs[0], *layer.kernel.shape), strict=True))
    del sizes[axes[0][0]]  # the batch
    return _volume(tuple(sizes.values()), layer)


def _recurrent(gates: int) -> Rule:
    def macs(layer: Any, inputs: list[Shape], output: Shape) -> int:
        _, steps, features = inputs[0]
        units: int = layer.units
        return gates * units * _volume((steps,), layer) * (_volume((features,), layer) + units)

    return macs


def _conv_lstm(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Count both convolutions of every step; the state has the places of the output."""
    places = output[-1 - layer.cell.rank : -1]
    return (_size(layer.cell.kernel) + _size(layer.cell.recurrent_kernel)) * _volume((inputs[0][1], *places), layer)


def _bidirectional(layer: Any, inputs: list[Shape], output: Shape) -> int:
    return sum(layer_macs(way, inputs, output) for way in (layer.forward_layer, layer.backward_layer))


def _time_distributed(layer: Any, inputs: list[Shape], output: Shape) -> int:
    batch, steps, *rest = inputs[0]
    one_step = layer_macs(layer.layer, [(batch, *rest)], (output[0], *output[2:]))
    return one_step * _volume((steps,), layer)


def _multi_head_attention(layer: Any, inputs: list[Shape], output: Shape) -> int:
    """Count the projections, the scores and their product with the values."""
    query, value = inputs[0], inputs[1]
    key = inputs[2] if len(inputs) > 2 else value
    targets, sources = _volume(query[1:-1], layer), _volume(value[1:-1], layer)
    key_width: int = layer.num_heads * layer.key_dim
    value_width: int = layer.num_heads * layer.value_dim
    gated = any("/gate/" in weight.path for weight in layer.weights)
    query_projections = key_width + (value_width if gated else 0)
    projections = (
        targets * _volume((query[-1],), layer) * query_projections
        + sources * (_volume((key[-1],), layer) * key_width + _volume((value[-1],), layer) * value_width)
        + targets * value_width * _volume((output[-1],), layer)
    )
    attended = _volume(tuple(value[axis] for axis in layer.attention_axes), layer)
    return projections + targets * attended * (key_width + value_width)


def _model(layer: Any, inputs: list[Shape], output: Shape) -> int:
    return count_macs(layer)


# The first kind that fits counts: Conv2DTranspose, DepthwiseConv2D and the like are no subclasses of Conv2D.
_RULES: tuple[tuple[tuple[type, ...], Rule], ...] = (
    ((keras.Model,), _model),
    (
        (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D),
        _conv,
    ),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed_conv),
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable_conv),
    ((layers.Dense,), _dense),
    ((layers.EinsumDense,), _einsum_dense),
    ((layers.LSTM,), _recurrent(gates=4)),
    ((layers.GRU,), _recurrent(gates=3)),
    ((layers.SimpleRNN,), _recurrent(gates=1)),
    ((layers.ConvLSTM1D, layers.ConvLSTM2D), _conv_lstm),
    ((layers.Bidirectional,), _bidirectional),
    ((layers.TimeDistributed,), _time_distributed),
    ((layers.MultiHeadAttention,), _multi_head_attention),
)

_NO_PRODUCTS = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
    layers.Embedding,
    layers.PReLU,
)
"""Layers with weights whose work is not counted, by the convention of the papers."""
