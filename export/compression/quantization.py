"""Quantisation-aware training of a bridged model with TF-MOT: it learns with the rounding that its int8 file will have.

Kernels are rounded symmetrically, outputs between moving averages of their range; `cover` says which. Batch
normalisations are folded before (`fold_batch_norm`), so that the kernel which is rounded is the one that the file
holds. What TF-MOT cannot wrap learns beside it in float, and the file's converter measures its ranges on real samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from kzoo.export.graph import GraphLayer

from .coverage import DEPTHWISE, Coverage
from .kernels import kernel_places
from .wrapping import Wrapping

_BITS = 8
#: Weight of a batch in the moving averages of the ranges; the first ones count evenly.
_NEWEST = 0.01


class KernelQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """Rounds a kernel as the converter will: symmetrically, by its largest weight now.

    Args:
        per_channel: whether each channel has its own step.
        channel_axes: how many of the last axes number the channels: two of a depthwise kernel.
    """

    def __init__(self, per_channel: bool, channel_axes: int) -> None:
        self.per_channel = per_channel
        self.channel_axes = channel_axes

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """No variables: the range follows from the kernel."""
        return {}

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Round a kernel `(…, channels)`."""
        shape = inputs.shape
        channels = int(np.prod(shape[-self.channel_axes :])) if self.per_channel else 1
        flat = tf.reshape(inputs, (-1, channels))
        largest = tf.stop_gradient(tf.maximum(tf.reduce_max(tf.abs(flat), axis=0), 1e-12))
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            flat, -largest, largest, num_bits=_BITS, narrow_range=True
        )
        return tf.reshape(rounded, shape)

    def get_config(self) -> dict[str, Any]:
        """Both arguments."""
        return {"per_channel": self.per_channel, "channel_axes": self.channel_axes}


class RangeQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """Rounds an output between moving averages of its smallest and largest values.

    TF-MOT's own begins at -6 and 6 and needs a thousand steps from there; here the first batches count evenly.
    """

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Make the variables of a range."""
        return {
            key: layer.add_weight(f"{name}_{key}", shape=(), initializer="zeros", trainable=False)
            for key in ("lowest", "highest", "batches")
        }

    def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
        """Round an output; in training its range moves."""
        lowest, highest, batches = (weights[key] for key in ("lowest", "highest", "batches"))
        if training:
            share = tf.maximum(1.0 / (batches + 1.0), _NEWEST)
            # The range holds zero, as padding needs it.
            lowest = lowest.assign_add(share * (tf.minimum(tf.reduce_min(inputs), 0.0) - lowest))
            highest = highest.assign_add(share * (tf.maximum(tf.reduce_max(inputs), 0.0) - highest))
            batches.assign_add(1.0)
        top = tf.maximum(highest, lowest + 1e-6)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, lowest, top, num_bits=_BITS)

    def get_config(self) -> dict[str, Any]:
        """Nothing to say."""
        return {}


class _LayerConfig(tfmot.quantization.keras.QuantizeConfig):
    """What is rounded of one layer."""

    def __init__(self, kernels: Sequence[tuple[str, KernelQuantizer]], output: bool) -> None:
        self.kernels = kernels
        self.output = output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        return [(getattr(layer, name), quantizer) for name, quantizer in self.kernels]

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: Sequence[Any]) -> None:
        for (name, _), weight in zip(self.kernels, quantize_weights, strict=True):
            setattr(layer, name, weight)

    def set_quantize_activations(self, layer: Any, quantize_activations: Sequence[Any]) -> None:
        """None are set: the activation's output is that of the layer."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        return [RangeQuantizer()] if self.output else []

    def get_config(self) -> dict[str, Any]:
        return {"kernels": list(self.kernels), "output": self.output}


class QuantizationTrainer(Wrapping):
    """Wraps layers so that they learn with rounded kernels and outputs, and keep zeros and shared values.

    Args:
        coverage: what `cover` said.
        keep_zeros: layers whose zeros stay.
        keep_clusters: layers whose equal weights stay equal.
    """

    def __init__(
        self, coverage: Sequence[Coverage], *, keep_zeros: Sequence[str] = (), keep_clusters: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self._coverage = {each.layer: each for each in coverage}
        self._keep_zeros, self._keep_clusters = keep_zeros, keep_clusters
        self._wrapped: dict[str, Any] = {}
        self._masks: list[tuple[Any, Any]] = []
        self._clusters: list[tuple[Any, Any, int]] = []

    def wrap(self, layer: Any, source: GraphLayer) -> Any:
        """See `Wrapping`."""
        for place in kernel_places(source):
            self._remember(source.name, self.variables[source.name][place])
        covered = self._coverage.get(source.name)
        if covered is None or not (covered.kernel or covered.output):
            return layer
        kernels = []
        if covered.kernel:
            depthwise = source.kind in DEPTHWISE
            name = "depthwise_kernel" if depthwise else "kernel"
            kernels.append((name, KernelQuantizer(covered.kernel == "channel", channel_axes=2 if depthwise else 1)))
        wrapper = tfmot.quantization.keras.QuantizeWrapperV2(layer, _LayerConfig(kernels, covered.output))
        if covered.output:
            self._wrapped[source.name] = wrapper
        return wrapper

    def _remember(self, name: str, kernel: Any) -> None:
        """What a kernel has to keep, from what it is now."""
        values = kernel.numpy()
        if name in self._keep_clusters:
            unique, places = np.unique(values, return_inverse=True)
            self._clusters.append((kernel, tf.constant(places.reshape(-1), tf.int32), len(unique)))
        if name in self._keep_zeros:
            self._masks.append((kernel, tf.constant((values != 0).astype(np.float32))))

    def project(self) -> None:
        """Give equal weights the mean of their changes, and zeros back (see `Wrapping`)."""
        for kernel, places, count in self._clusters:
            means = tf.math.unsorted_segment_mean(tf.reshape(kernel, (-1,)), places, count)
            kernel.assign(tf.reshape(tf.gather(means, places), kernel.shape))
        for kernel, mask in self._masks:
            kernel.assign(kernel * mask)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest output of each layer that has a range, in the order of the graph."""
        return {
            name: (float(variables["lowest"].numpy()), float(variables["highest"].numpy()))
            for name, variables in ((name, wrapper._output_quantizer_vars) for name, wrapper in self._wrapped.items())
        }
