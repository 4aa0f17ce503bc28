"""What the importers hand on, and how a weight is put into a layer of the zoo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo.errors import WeightsError

if TYPE_CHECKING:
    import keras

# Arguments of a factory that say what a model is used for, not how it computes.
_OF_THE_USE = ("input_shape", "classes")


@dataclass(frozen=True)
class Pretrained:
    """A model of the zoo with published weights.

    Attributes:
        name: in the catalogue.
        model: takes pixels 0-255, its first layer does the source's preprocessing; ends in the source's classes.
        arguments: what the factory was called with.
    """

    name: str
    model: keras.Model
    arguments: dict[str, Any]

    @property
    def channels(self) -> int:
        """Of the images that the weights were trained on."""
        return int(self.arguments["input_shape"][-1])

    @property
    def architecture(self) -> dict[str, Any]:
        """Arguments that a model for other classes and images needs as well."""
        return {key: value for key, value in self.arguments.items() if key not in _OF_THE_USE}


def put(layer: keras.layers.Layer, values: Sequence[np.ndarray], origin: str) -> None:
    """Set a layer's weights; a dense layer may come as a convolution over the whole map.

    Args:
        layer: of a model of the zoo.
        values: in Keras's order and layout.
        origin: what they are called at the source, for the message.

    Raises:
        WeightsError: they do not fit.
    """
    shapes = [tuple(weight.shape) for weight in layer.weights]
    given = [value.shape for value in values]
    dense = type(layer).__name__ == "Dense"
    if [_of_dense(shape) if dense else shape for shape in given] != shapes:
        raise WeightsError(
            f"Expected weights {shapes} for the layer {layer.name}, received {given} from {origin}. "
            f"Build the model with the arguments that these weights were trained with."
        )
    layer.set_weights([value.reshape(shape) for value, shape in zip(values, shapes, strict=True)])


def with_epsilon(variance: np.ndarray, source: float, target: float) -> np.ndarray:
    """Change a variance so that normalisation with another epsilon divides by the same."""
    changed: np.ndarray = variance + (source - target)
    return changed


def _of_dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape that a convolution's kernel, or its bias, has in a dense layer behind `Flatten`."""
    return (math.prod(shape[:-1]), shape[-1]) if len(shape) > 1 else shape
