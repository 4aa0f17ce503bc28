"""timm's tensors, in PyTorch's layout, put into the layers of the zoo."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo.errors import WeightsError
from kzoo.zoo import create_model

from .timm_names import ARCHITECTURES, Architecture
from .weights import Pretrained, put, with_epsilon

if TYPE_CHECKING:
    import keras

Tensors = Mapping[str, np.ndarray]

# What PyTorch's batch normalisation counts for averages that no network here has.
_COUNTER = "num_batches_tracked"
# Mean and deviation, of pixels divided by 255, of what the zoo's factories take as `pixel_scaling`.
_PIXEL_SCALINGS = {
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "signed": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def convert(architecture: str, tensors: Tensors, config: Mapping[str, Any], arguments: dict[str, Any]) -> Pretrained:
    """Build a model of the zoo with timm's tensors.

    Args:
        architecture: timm's, a key of `ARCHITECTURES`.
        tensors: by timm's names, in PyTorch's layout.
        config: timm's `pretrained_cfg`: `input_size` `(channels, height, width)`, `mean` and `std` of a channel of the
            pixels divided by 255.
        arguments: of the zoo's factory; they stand over what the weights ask for.

    Raises:
        WeightsError: a tensor is missing, left over or of another shape.
    """
    record = ARCHITECTURES[architecture]
    parts = _by_layer(record, tensors)
    channels, height, width = config["input_size"]
    arguments = {
        "pixel_scaling": _pixel_scaling(config["mean"], config["std"]),
        **record.arguments,
        **arguments,
        "input_shape": (height, width, channels),
        "classes": len(parts.get("predictions", {}).get("bias", [0])),
    }
    model = create_model(record.model, **arguments)
    for layer in model.layers:
        if layer.weights:
            put(layer, _values(layer, parts.pop(layer.name, {}), record.epsilon), f"timm's {architecture}")
    if parts:
        raise WeightsError(
            f"Expected the tensors of {record.model}, received more, for {', '.join(sorted(parts))}. "
            f"Leave out the arguments that change the layers, or take other weights."
        )
    return Pretrained(record.model, model, arguments)


def layer_of(record: Architecture, tensor: str) -> tuple[str, str]:
    """Give the zoo's layer that a tensor of timm's belongs to, and which of its tensors it is.

    Raises:
        WeightsError: no rule of the architecture knows the name.
    """
    path, _, part = tensor.rpartition(".")
    for pattern, layer in record.rules:
        found = re.fullmatch(pattern, path)
        if found is not None:
            numbers = [int(group) if group.isdecimal() else 0 for group in found.groups()]
            flat = sum(record.blocks[: numbers[0]]) + numbers[1] + 1 if record.blocks and len(numbers) > 1 else 0
            name, _, which = layer.format(*found.groups(), n=[each + 1 for each in numbers], flat=flat).partition("/")
            return name, f"{which}.{part}" if which else part
    raise WeightsError(
        f"Expected the tensors of {record.model}, received {tensor!r}, which it has no place for. Take other weights."
    )


def _by_layer(record: Architecture, tensors: Tensors) -> dict[str, dict[str, np.ndarray]]:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, value in tensors.items():
        if not name.endswith(_COUNTER):
            layer, part = layer_of(record, name)
            parts.setdefault(layer, {})[part] = value
    return parts


def _values(layer: keras.layers.Layer, parts: dict[str, np.ndarray], epsilon: float) -> list[np.ndarray]:
    """Bring the tensors of one layer to Keras's order and layout."""
    kind = type(layer).__name__
    try:
        if kind == "BatchNormalization":
            variance = with_epsilon(parts.pop("running_var"), epsilon, layer.epsilon)
            values = [parts.pop("weight"), parts.pop("bias"), parts.pop("running_mean"), variance]
        elif kind == "LayerNormalization":
            values = [parts.pop("weight"), parts.pop("bias")]
        elif kind == "MultiHeadAttention":
            values = _attention(layer, parts)
        elif kind == "EinsumDense":
            values = _embedding(parts)
        else:
            values = [_kernel(parts.pop("weight"), by_channel=kind == "DepthwiseConv2D")]
            values += [parts.pop("bias")] if layer.use_bias else []
    except KeyError as error:
        raise WeightsError(
            f"Expected all tensors of the layer {layer.name}, received none called {error}. "
            f"Leave out the arguments that change the layers, or take other weights."
        ) from error
    if parts:
        raise WeightsError(
            f"Expected the tensors of the layer {layer.name}, received {', '.join(parts)}, too. Take other weights."
        )
    return values


def _kernel(weight: np.ndarray, *, by_channel: bool = False) -> np.ndarray:
    """Bring `(out, in, height, width)` to `(height, width, in, out)`, and `(out, in)` to `(in, out)`."""
    if by_channel:
        return weight.transpose(2, 3, 0, 1)
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T


def _attention(layer: keras.layers.Layer, parts: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Split the one projection to queries, keys and values by kind and head."""
    heads = layer.num_heads
    weight, bias = parts.pop("qkv.weight"), parts.pop("qkv.bias")
    units = weight.shape[1]
    kernels = weight.reshape(3, heads, -1, units).transpose(0, 3, 1, 2)
    biases = bias.reshape(3, heads, -1)
    values = [each for pair in zip(kernels, biases, strict=True) for each in pair]
    out = parts.pop("proj.weight").T.reshape(heads, -1, units)
    return [*values, out, parts.pop("proj.bias")]


def _embedding(parts: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Merge class token, positions and the projection's bias into one bias a token."""
    table = parts.pop("pos_embed")[0].copy()
    table[0] += parts.pop("cls_token")[0, 0]
    table[1:] += parts.pop("bias")
    kernel = _kernel(parts.pop("weight"))
    return [kernel.reshape(-1, kernel.shape[-1]), table]


def _pixel_scaling(mean: Sequence[float], deviation: Sequence[float]) -> str:
    """Find the scaling `(p / 255 - mean) / deviation` among those of the zoo."""
    for name, (known_mean, known_deviation) in _PIXEL_SCALINGS.items():
        if list(mean) == list(known_mean) and list(deviation) == list(known_deviation):
            return name
    known = ", ".join(f"{mean} and {deviation}" for mean, deviation in _PIXEL_SCALINGS.values())
    raise WeightsError(
        f"Expected a mean and deviation of the channels that the zoo has ({known}), "
        f"received {tuple(mean)} and {tuple(deviation)}. Take other weights."
    )
