"""What TF-MOT puts around the layers of a bridged model, and what is left when it is taken off again."""

from __future__ import annotations

from typing import Any

import numpy as np

from kzoo.export.graph import GraphLayer


class Wrapping:
    """Hand this to `build_bridge`; it remembers the variables of every layer, which wrappers hide.

    Attributes:
        variables: of each layer, by its name, in the layer's own order.
        callbacks: what `tf_keras`'s `fit` needs beside.
    """

    def __init__(self) -> None:
        self.variables: dict[str, list[Any]] = {}
        self.callbacks: list[Any] = []

    def __call__(self, layer: Any, source: GraphLayer) -> Any:
        """Give what takes the place of a layer, whose weights are in it already."""
        self.variables[source.name] = list(layer.weights)
        return self.wrap(layer, source)

    def wrap(self, layer: Any, source: GraphLayer) -> Any:
        """The same, to be overridden."""
        return layer

    def project(self) -> None:
        """Bring the variables back to what they must keep, after each step; in a graph."""

    def weights(self) -> dict[str, list[np.ndarray]]:
        """The weights that all layers compute with, by name, in the layer's own order."""
        return {name: [variable.numpy() for variable in variables] for name, variables in self.variables.items()}
