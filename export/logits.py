"""End a classifier at its logits, without the softmax: an app that only ranks the classes needs none."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.errors import ExportError

from .graph import as_functional


def without_softmax(model: keras.Model) -> keras.Model:
    """The same classifier up to the values that its last softmax takes. The order of the classes stays the same.

    Layers and weights are those of the model itself, but for a last layer that computes and applies the softmax in one:
    that is made again with the same name and weights and no activation.

    Args:
        model: a functional or Sequential Keras model. A model with several outputs must end each with a softmax.

    Raises:
        ExportError: an output that does not end with a softmax over the last axis.
    """
    model = as_functional(model)
    return keras.Model(model.inputs, [_logits(tensor) for tensor in model.outputs], name=model.name)


def _logits(tensor: Any) -> Any:
    layer, node, _ = tensor._keras_history
    before = layer._inbound_nodes[node].input_tensors
    activation = getattr(layer, "activation", None)
    if isinstance(layer, keras.layers.Softmax) and layer.axis in (-1, len(tensor.shape) - 1):
        return before[0]
    if activation is not keras.activations.softmax or len(before) != 1:
        ending = f"{layer.name!r} ({type(layer).__name__}{', ' + activation.__name__ if activation else ''})"
        raise ExportError(
            f"Expected a model that ends with a softmax, to leave it out. Received: one that ends with {ending}. "
            "Export it without asking for logits."
        )
    if isinstance(layer, keras.layers.Activation):
        return before[0]
    twin = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    logits = twin(before[0])
    twin.set_weights(layer.get_weights())
    return logits
