"""Weight clustering of a bridged model with TF-MOT: each kernel is left with a few values (Han et al. 2015,
arXiv 1510.00149).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot

from kzoo.export.graph import GraphLayer

from .coverage import DEPTHWISE
from .kernels import kernel_places
from .wrapping import Wrapping


class Clusterer(Wrapping):
    """Wraps layers so that training moves the values that their weights share.

    Args:
        clusters: values of a kernel.
        layers: to cluster; one with fewer weights than clusters is left as it is.
        keep_zeros: whether zeros stay zero, as one of the values.

    Attributes:
        clustered: the layers that are, once the model is built.
    """

    def __init__(self, clusters: int, layers: Collection[str], *, keep_zeros: bool = False) -> None:
        super().__init__()
        self.clusters = clusters
        self.layers = layers
        self.keep_zeros = keep_zeros
        self.clustered: list[str] = []
        self._wrapped: list[Any] = []

    def wrap(self, layer: Any, source: GraphLayer) -> Any:
        """See `Wrapping`."""
        kernels = [self.variables[source.name][place] for place in kernel_places(source)]
        if source.name not in self.layers or any(kernel.shape.num_elements() <= self.clusters for kernel in kernels):
            return layer
        if source.kind in DEPTHWISE:
            _let_cluster(layer)
        has_zeros = any((kernel.numpy() == 0).any() for kernel in kernels)
        wrapper = tfmot.clustering.keras.cluster_weights(
            layer,
            number_of_clusters=self.clusters,
            cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=self.keep_zeros and has_zeros,
        )
        self._wrapped.append(wrapper)
        self.clustered.append(source.name)
        return wrapper

    def weights(self) -> dict[str, list[np.ndarray]]:
        """The same as `Wrapping.weights`, with the shared values: TF-MOT computes them beside the variables."""
        shared: dict[int, np.ndarray] = {}
        for wrapper in self._wrapped:
            wrapper.update_clustered_weights_associations()
            for name, variable in wrapper.original_clusterable_weights.items():
                shared[id(variable)] = wrapper.get_weight_from_layer(name).numpy()
        return {
            name: [shared[id(variable)] if id(variable) in shared else variable.numpy() for variable in variables]
            for name, variables in self.variables.items()
        }


def _let_cluster(layer: Any) -> None:
    """Let TF-MOT cluster a depthwise convolution.

    For what it cost in its authors' trials (https://github.com/tensorflow/model-optimization/pull/437) it does not, and
    says nothing (https://github.com/tensorflow/model-optimization/issues/1132).
    """
    kind = type(layer)
    weights = {"get_clusterable_weights": lambda self: [("depthwise_kernel", self.depthwise_kernel)]}
    layer.__class__ = type(kind.__name__, (kind, tfmot.clustering.keras.ClusterableLayer), weights)
