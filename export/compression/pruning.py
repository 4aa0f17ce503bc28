"""Magnitude pruning of a bridged model with TF-MOT (Zhu and Gupta 2017, arXiv 1710.01878)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_policy import PruneForLatencyOnXNNPack

from kzoo.errors import ExportError
from kzoo.export.bridge import build_bridge
from kzoo.export.graph import Graph, GraphLayer

from .kernels import kernel_places
from .settings import PruneSettings
from .wrapping import Wrapping

#: Share of the steps after which the target is reached; the others let the rest of the weights make up for it.
_RAMP = 0.6
#: Masks are drawn so often on the way there: finding a threshold sorts all weights.
_UPDATES = 50


class Pruner(Wrapping):
    """Wraps layers so that training makes them sparse.

    Args:
        settings: what was asked for.
        targets: sparsity by layer, see `prune_targets`.
        steps: of the whole training; the schedule follows from it.
    """

    def __init__(self, settings: PruneSettings, targets: Mapping[str, float], steps: int) -> None:
        super().__init__()
        self.settings = settings
        self.targets = targets
        self.steps = steps
        self.callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]

    @property
    def last_update(self) -> int:
        """The step, from 1, at which the masks are drawn for the last time."""
        return self._begin_and_end()[1]

    def wrap(self, layer: Any, source: GraphLayer) -> Any:
        """See `Wrapping`."""
        if source.name not in self.targets:
            return layer
        kernels = [self.variables[source.name][place] for place in kernel_places(source)]
        # TF-MOT asks a layer so for its kernels where its own list of layers does not have it, or not all of them.
        layer.get_prunable_weights = lambda: kernels
        pattern: dict[str, Any] = {}
        if self.settings.pattern == "2:4":
            pattern["sparsity_m_by_n"] = (2, 4)
        elif self.settings.pattern == "block":
            pattern["block_size"] = self.settings.block
        return tfmot.sparsity.keras.prune_low_magnitude(layer, self._schedule(self.targets[source.name]), **pattern)

    def _begin_and_end(self) -> tuple[int, int, int]:
        """First and last step at which masks are drawn, and the steps between two of them."""
        span = max(0, math.ceil(self.steps * _RAMP) - 1)
        every = max(1, span // _UPDATES)
        return 1, 1 + span // every * every, every

    def _schedule(self, sparsity: float) -> Any:
        begin, end, every = self._begin_and_end()
        schedules = tfmot.sparsity.keras
        if self.settings.schedule == "constant" or end == begin:
            # The masks are drawn anew as the weights move, up to the same step.
            return schedules.ConstantSparsity(sparsity, begin, max(end, begin), every)
        return schedules.PolynomialDecay(
            initial_sparsity=0.0, final_sparsity=sparsity, begin_step=begin, end_step=end, frequency=every
        )


def layers_for_xnnpack(graph: Graph) -> list[str]:
    """Give the layers that XNNPACK computes sparsely, if the model as a whole has the shape for it.

    Raises:
        ExportError: it has not.
    """
    policy = PruneForLatencyOnXNNPack()
    bridged = build_bridge(graph)
    try:
        policy.ensure_model_supports_pruning(bridged)
    except ValueError as error:
        raise ExportError(
            f"Expected a model in the shape of XNNPACK's sparse kernels for the pattern xnnpack. Received: one of "
            f"another, as TF-MOT says: {str(error).splitlines()[0].rstrip('.')}. Train one with "
            f"--set model.arguments.sparse_inference=true, or choose another pattern."
        ) from error
    return [layer.name for layer in bridged.layers if policy.allow_pruning(layer)]
