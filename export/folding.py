"""Fold the scaling of raw inputs into the first layer that computes.

A model that begins with `Rescaling(1/255)` takes pixels 0-255. Left as an operator, that scaling costs time on the
device; folded into the kernel of the following convolution it costs nothing, the float file takes plain pixels, and the
int8 file's input is quantised with scale 1 and zero point -128, so that an app feeds its bytes as they are.

y = W (s x + o) + b = (W s) x + (W o + b). The offset can only be folded where nothing pads: padding adds zeros after
the scaling, which would have to be -o/s before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .graph import Call, Graph, GraphLayer, Value, remove_call

_SAME_FOR_ANY_SCALAR = frozenset({"Flatten", "Reshape", "Permute"})
_ZERO_PADDING = frozenset({"ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"})
_CONVOLUTIONS = frozenset({"Conv1D", "Conv2D", "Conv3D"})
_DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN"})

# Of a byte's numbers.
_MOST_CLUSTERS = 256

#: Steps of the scalings that take pixels 0-255: p/255, p/127.5 - 1, (p - 128)/128.
_PIXEL_SCALES = (1 / 255, 1 / 127.5, 1 / 128)


@dataclass(frozen=True, slots=True)
class Affine:
    """scale x + offset, along the last axis: arrays of one element or of one a channel."""

    scale: np.ndarray
    offset: np.ndarray

    @property
    def is_scalar(self) -> bool:
        """Whether it is the same for every channel."""
        return self.scale.size == 1 and self.offset.size == 1

    @property
    def has_offset(self) -> bool:
        """Whether zero does not stay zero."""
        return bool(np.any(self.offset != 0))

    def then(self, other: Affine) -> Affine:
        """This one, then the other."""
        return Affine(self.scale * other.scale, self.offset * other.scale + other.offset)


def affine_of(layer: GraphLayer) -> Affine | None:
    """What a `Rescaling` or `Normalization` layer computes; None for other layers and for axes but the last."""
    if layer.kind == "Rescaling":
        scale, offset = (np.atleast_1d(np.asarray(layer.config[key], np.float64)) for key in ("scale", "offset"))
    elif layer.kind == "Normalization":
        # mean and variance are public attributes, of a shape that broadcasts to the input
        mean, variance = (_constant(getattr(layer.operation, name)) for name in ("mean", "variance"))
        if mean.ndim and mean.size != mean.shape[-1]:
            return None
        deviation = np.maximum(np.sqrt(np.atleast_1d(variance.reshape(-1))), keras.config.epsilon())
        mean = np.atleast_1d(mean.reshape(-1))
        inverted = bool(layer.config.get("invert"))
        scale, offset = (deviation, mean) if inverted else (1 / deviation, -mean / deviation)
    else:
        return None
    return Affine(scale, offset) if scale.ndim == 1 and offset.ndim == 1 else None


def _constant(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float64)


def takes_pixels(graph: Graph) -> list[str]:
    """Names of the inputs whose one reader scales pixels 0-255 to the model's range."""
    names = []
    for number, graph_input in enumerate(graph.inputs):
        readers = graph.readers(Value(-1 - number))
        first = graph.calls[readers[0]] if len(readers) == 1 else None
        affine = affine_of(first.layer) if first is not None and first.layer.kind == "Rescaling" else None
        if affine is None or not affine.is_scalar:
            continue
        if any(math.isclose(affine.scale[0], scale, rel_tol=1e-3) for scale in _PIXEL_SCALES):
            names.append(graph_input.name)
    return names


def fold_input_scaling(graph: Graph, *, scalars_only: bool = False) -> list[str]:
    """Fold what can be folded, in place. Gives the names of the layers that are gone.

    A scale for each channel stays an operator before a clustered kernel, which would lose its shared values.

    Args:
        graph: Changed in place.
        scalars_only: Leave a scaling that differs between channels as an operator. In int8 all rows of a kernel share
            their steps, so that rows of very different size lose what the small ones say.
    """
    starts = [Value(-1 - number) for number in range(len(graph.inputs))]
    return [name for start in starts for name in _fold_from(graph, start, scalars_only)]


def _fold_from(graph: Graph, start: Value, scalars_only: bool) -> list[str]:
    """Follow one input as long as it has a single reader, until a layer takes the scaling up or nothing can."""
    value, affine, scalings = start, None, []
    while True:
        readers = graph.readers(value)
        if len(readers) != 1 or graph.is_output(value):
            return []
        number = readers[0]
        call = graph.calls[number]
        assert call is not None
        scaling = affine_of(call.layer)
        if scaling is not None:
            affine = scaling if affine is None else affine.then(scaling)
            scalings.append(number)
        elif affine is None or (not affine.is_scalar and (scalars_only or shares_values(call.layer))):
            return []
        elif _fold_into(graph, call, affine):
            break
        elif not _commutes(call.layer, affine):
            return []
        value = Value(number)
    return [remove_call(graph, number) for number in scalings]


def shares_values(layer: GraphLayer) -> bool:
    """Whether the kernel was clustered: with a scale for each channel it would have as many values for each."""
    kernel = layer.weights[0] if layer.weights else np.empty(0)
    return 0 < np.unique(kernel).size <= min(_MOST_CLUSTERS, kernel.size // 4)


def _commutes(layer: GraphLayer, affine: Affine) -> bool:
    """Whether scaling before the layer is scaling after it."""
    if layer.kind in _ZERO_PADDING:
        return not affine.has_offset and layer.config.get("data_format") != "channels_first"
    return layer.kind in _SAME_FOR_ANY_SCALAR and affine.is_scalar


def _fold_into(graph: Graph, call: Call, affine: Affine) -> bool:
    """Put the scaling into the layer's weights; False where that is not exact."""
    layer = call.layer
    shared = sum(other.layer is layer for _, other in graph.numbered_calls()) > 1
    if shared or len(list(call.values())) != 1 or layer.config.get("data_format") == "channels_first":
        return False
    if layer.kind == "Dense":
        return _fold_kernel(layer, affine, channel_axis=0)
    if layer.kind in _CONVOLUTIONS:
        padded = layer.config["padding"] != "valid"
        grouped = layer.config.get("groups", 1) > 1
        if (padded and affine.has_offset) or (grouped and not affine.is_scalar):
            return False
        return _fold_kernel(layer, affine, channel_axis=-2)
    if layer.kind in _DEPTHWISE:
        return (layer.config["padding"] == "valid" or not affine.has_offset) and _fold_depthwise(layer, affine)
    if layer.kind in ("SeparableConv1D", "SeparableConv2D"):
        if affine.has_offset:
            return False
        layer.weights = [_scaled(layer.weights[0], affine, -2), *layer.weights[1:]]
        return True
    if layer.kind in _RECURRENT:
        return _fold_recurrent(layer, affine, directions=1)
    if layer.kind == "Bidirectional" and layer.config["layer"]["class_name"] in _RECURRENT:
        return _fold_recurrent(layer, affine, directions=2)
    return False


def _scaled(kernel: np.ndarray, affine: Affine, axis: int) -> np.ndarray:
    return np.asarray(kernel * _along(affine.scale, kernel, axis), np.float32)


def _along(vector: np.ndarray, kernel: np.ndarray, axis: int) -> np.ndarray:
    shape = [1] * kernel.ndim
    shape[axis] = vector.size
    return vector.reshape(shape)


def _fold_kernel(layer: GraphLayer, affine: Affine, channel_axis: int) -> bool:
    kernel = layer.weights[0]
    added = (kernel * _along(affine.offset, kernel, channel_axis)).sum(axis=tuple(range(kernel.ndim - 1)))
    _store(layer, _scaled(kernel, affine, channel_axis), added)
    return True


def _fold_depthwise(layer: GraphLayer, affine: Affine) -> bool:
    kernel = layer.weights[0]  # (*window, channels, multiplier)
    added = (kernel * _along(affine.offset, kernel, -2)).sum(axis=tuple(range(kernel.ndim - 2))).reshape(-1)
    _store(layer, _scaled(kernel, affine, -2), added)
    return True


def _store(layer: GraphLayer, kernel: np.ndarray, added: np.ndarray) -> None:
    """The new kernel, and the bias with `added`; a layer without a bias gets one where it needs it."""
    has_bias = layer.config.get("use_bias", True)
    if has_bias:
        layer.weights = [kernel, (layer.weights[1] + added).astype(np.float32)]
    elif np.any(added != 0):
        layer.config = {**layer.config, "use_bias": True}
        layer.weights = [kernel, added.astype(np.float32)]
    else:
        layer.weights = [kernel]


def _fold_recurrent(layer: GraphLayer, affine: Affine, directions: int) -> bool:
    per_direction = len(layer.weights) // directions
    if affine.has_offset and per_direction != 3:  # kernel, recurrent kernel, bias
        return False
    folded: list[np.ndarray] = []
    for direction in range(directions):
        kernel, recurrent, *bias = layer.weights[direction * per_direction : (direction + 1) * per_direction]
        added = (kernel * _along(affine.offset, kernel, 0)).sum(axis=0)
        # A GRU with reset_after has two rows of biases: the first belongs to the input.
        biases = [np.stack([each[0] + added, each[1]]) if each.ndim == 2 else each + added for each in bias]
        folded += [_scaled(kernel, affine, 0), recurrent, *(each.astype(np.float32) for each in biases)]
    layer.weights = folded
    return True
