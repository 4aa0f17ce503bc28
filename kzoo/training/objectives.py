"""What a model with more than one classifier is trained for: how its outputs make one loss and one accuracy."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def with_objective(model: keras.Model) -> keras.Model:
    """Give a model that trains on labelled samples with one loss, whatever its outputs are.

    Args:
        model: A functional model; its first output is the one that is measured.

    Returns:
        The model itself where it has one output; else one of the same layers whose outputs train together.
    """
    return model if len(model.outputs) == 1 else JointExits(model.inputs, model.outputs, name=model.name)


class JointExits(keras.Model):
    """Several classifiers of one sample, trained together on the mean of their losses (BranchyNet, arXiv 1709.01686).

    The accuracy is that of the first output, which is the whole network's.
    """

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Give the mean loss of all outputs and the penalties of the layers, a scalar."""
        losses = [self.loss(y, each, sample_weight=sample_weight) for each in y_pred]
        return ops.sum([ops.mean(ops.stack(losses)), *self.losses])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Measure the first output."""
        return super().compute_metrics(x, y, y_pred[0], sample_weight)
