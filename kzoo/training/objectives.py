"""What models are trained for that are no plain classifiers: how their outputs make one loss and one accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kzoo.data import History
from kzoo.recipes.schema import SimilaritySection
from kzoo.recipes.smaller import DistillationSection

from .distillation import ask_teachers, distillation_loss, feature_loss, features_of, with_features
from .sampled_softmax import SampledSoftmax

SIMILARITY = "similarity"
"""Name of the layer that compares two encoded samples."""


def with_objective(
    model: keras.Model,
    similarity: SimilaritySection | None = None,
    distillation: DistillationSection | None = None,
    teachers: Sequence[keras.Model] = (),
    history: History | None = None,
) -> keras.Model:
    """Give a model that trains on labelled samples with one loss and one accuracy, whatever its outputs are.

    Args:
        model: A functional model.
        similarity: The loss of a model that compares two samples; None for its defaults.
        distillation: How much teachers count; None: there are none.
        teachers: What `load_teachers` gave.
        history: What users took, for a model that recommends; None for others.

    Returns:
        The model itself where it has one input and one output and no teachers; else one of the same layers that trains
        its classifiers together, its encoder, its two towers, or one that learns to give back its input.
    """
    if history is not None:
        return SampledSoftmax.of(model, history)
    if distillation is not None:
        return DistilledClassifier.of(model, distillation, teachers)
    if model.output_shape == model.input_shape:
        return Reconstructor(model.inputs[0], model.outputs[0], name=model.name)
    if len(model.inputs) == 2:
        encoded, _ = model.get_layer(SIMILARITY).input
        return SimilarEncoder(model.inputs[0], encoded, name=model.name, loss_section=similarity or SimilaritySection())
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


@dataclasses.dataclass(frozen=True)
class Teaching:
    """What a student learns from. No list and no model: what Keras would take for a part of the student and save.

    Attributes:
        section: The recipe's `distillation`.
        teachers: They answer with probabilities and, where features are matched, with a feature vector.
        classifiers: How many of the student's outputs are classifiers; the rest are feature vectors, one a teacher.
    """

    section: DistillationSection
    teachers: tuple[keras.Model, ...]
    classifiers: int


class DistilledClassifier(JointExits):
    """One or several classifiers of a sample that learn from labels and teachers; validation knows the labels alone.

    Its weights are the student's, then those of the projections that bring its features to a teacher's width.
    """

    teaching: Teaching

    @classmethod
    def of(
        cls, student: keras.Model, section: DistillationSection, teachers: Sequence[keras.Model]
    ) -> DistilledClassifier:
        """Make one of the student's layers."""
        outputs = list(student.outputs)
        if section.features:
            teachers = [with_features(teacher) for teacher in teachers]
            widths = [teacher.outputs[1].shape[-1] for teacher in teachers]
            outputs += [_as_wide(features_of(student), width, number) for number, width in enumerate(widths)]
        model = cls(student.inputs, outputs, name=student.name)
        model.teaching = Teaching(section, tuple(teachers), len(student.outputs))
        # Keras compiles a step by XLA where all its layers can be; the teachers' are none of the model's own.
        model.supports_jit = all(layer.supports_jit for teacher in teachers for layer in teacher.layers)
        return model

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Give the mean loss of all classifiers, of the features, and the penalties of the layers, a scalar."""
        outputs = keras.tree.flatten(y_pred)
        answers, features = outputs[: self.teaching.classifiers], outputs[self.teaching.classifiers :]
        if not training:
            return super().compute_loss(x, y, answers, sample_weight, training)
        section = self.teaching.section
        probabilities, vectors = ask_teachers(self.teaching.teachers, x)
        losses = [
            distillation_loss(
                y,
                answer,
                probabilities,
                temperature=section.temperature,
                weight=section.weight,
                logits=self.loss.from_logits,
                label_smoothing=self.loss.label_smoothing,
            )
            for answer in answers
        ]
        loss = ops.mean(ops.stack(losses), axis=0)
        if features:
            matched = [feature_loss(own, theirs) for own, theirs in zip(features, vectors, strict=True)]
            loss += section.features * ops.mean(ops.stack(matched), axis=0)
        weighted = loss if sample_weight is None else loss * sample_weight
        return ops.sum([ops.mean(weighted), *self.losses])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Measure the first output."""
        return super().compute_metrics(x, y, keras.tree.flatten(y_pred), sample_weight)


def _as_wide(features: Any, units: int, number: int) -> Any:
    """Project feature vectors, `(batch, …, units)`, to a teacher's width where theirs is another."""
    if features.shape[-1] == units:
        return features
    return keras.layers.Dense(units, use_bias=False, dtype="float32", name=f"to_teacher{number}")(features)


class SimilarEncoder(keras.Model):
    """An encoder whose vectors of a class lie near each other, and those of different classes apart.

    All pairs, or triplets, of a batch are compared, so that a batch of `n` samples is encoded once and teaches of
    n (n - 1) / 2 pairs.

    Args:
        loss_section: The recipe's `similarity`.
    """

    def __init__(self, *args: Any, loss_section: SimilaritySection, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss_section = loss_section

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Give the batch's contrastive or triplet loss and the penalties of the layers, a scalar."""
        distances = _squared_distances(y_pred)
        same = ops.matmul(y, ops.transpose(y))
        of_pairs = contrastive_loss if self.loss_section.loss == "contrastive" else triplet_loss
        return ops.sum([of_pairs(distances, same, self.loss_section.margin), *self.losses])


class Reconstructor(keras.Model):
    """A model that learns to give back its input, whatever the label, by the mean squared error."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Give the mean squared error and the penalties of the layers, a scalar."""
        return ops.sum([ops.mean(ops.square(x - y_pred)), *self.losses])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Measure all values together: single ones may be the same in every sample."""
        given, answers = (ops.reshape(values, (-1, 1)) for values in (x, y_pred))
        return super().compute_metrics(x, given, answers)


def accuracy_of(model: keras.Model) -> keras.metrics.Metric:
    """Give the metric "accuracy" that a model's best epoch is chosen by.

    For an encoder that is the share of triplets in which a sample is nearer to one of its class than to another, for
    what gives back its input the share of the variance that it gives back, and for a recommender the mean reciprocal
    rank of a user's own item among those of the batch.
    """
    if isinstance(model, SampledSoftmax):
        return keras.metrics.MeanMetricWrapper(_as_measured, name="accuracy")
    if isinstance(model, Reconstructor):
        return keras.metrics.R2Score(name="accuracy")
    if isinstance(model, SimilarEncoder):
        return keras.metrics.MeanMetricWrapper(triplet_accuracy, name="accuracy")
    return keras.metrics.CategoricalAccuracy(name="accuracy")


def _as_measured(labels: Any, figures: Any) -> Any:
    return figures


def triplet_accuracy(labels: Any, vectors: Any) -> Any:
    """Give the share of a batch's triplets that are in order, once for every sample, `(batch,)`.

    Args:
        labels: `(batch, classes)`, one-hot.
        vectors: `(batch, units)` of length 1.
    """
    distances, same = _squared_distances(vectors), ops.matmul(labels, ops.transpose(labels))
    nearer = ops.cast(ops.expand_dims(distances, 2) < ops.expand_dims(distances, 1), "float32")
    alike = same * (1 - ops.eye(ops.shape(labels)[0]))
    triplets = ops.expand_dims(alike, 2) * ops.expand_dims(1 - same, 1)
    return ops.broadcast_to(_mean(nearer, triplets), ops.shape(labels)[:1])


def contrastive_loss(distances: Any, same: Any, margin: float) -> Any:
    """Pull pairs of a class together and push others at least `margin` apart (Hadsell et al. 2006).

    Args:
        distances: `(batch, batch)` squared distances.
        same: `(batch, batch)`, 1 where the classes are the same, else 0.
        margin: Distance beyond which a pair of different classes costs nothing.

    Returns:
        The mean over pairs of a class plus the mean over the other pairs: there are far more of those.
    """
    others = 1 - ops.eye(ops.shape(distances)[0])
    alike, different = same * others, (1 - same) * others
    # The root has no gradient at 0.
    short = ops.maximum(margin - ops.sqrt(ops.maximum(distances, 1e-12)), 0.0)
    return _mean(distances, alike) + _mean(ops.square(short), different)


def triplet_loss(distances: Any, same: Any, margin: float) -> Any:
    """Bring a sample of the class nearer than one of another, by `margin`, with semi-hard negatives (arXiv 1503.03832).

    Of the samples of other classes that is taken which is farther than the positive, but least; where none is, the
    farthest. Arguments as `contrastive_loss`; the margin is one of squared distances.
    """
    batch = ops.shape(distances)[0]
    positive = ops.expand_dims(distances, 2)
    negative = ops.broadcast_to(ops.expand_dims(distances, 1), (batch, batch, batch))
    other = ops.expand_dims(1 - same, 1)
    farther = other * ops.cast(negative > positive, "float32")
    beyond = 10.0  # than any squared distance of vectors of length 1
    nearest = ops.min(negative + beyond * (1 - farther), axis=2)
    farthest = ops.max(negative - beyond * (1 - other), axis=2)
    chosen = ops.where(ops.sum(farther, axis=2) > 0, nearest, farthest)
    alike = same * (1 - ops.eye(batch))
    # A class alone in the batch has nobody to be told apart from.
    told = alike * ops.cast(ops.sum(other, axis=2) > 0, "float32")
    return _mean(ops.maximum(distances - chosen + margin, 0.0), told)


def _squared_distances(vectors: Any) -> Any:
    """Of vectors of length 1, `(batch, units)`, each to each: `(batch, batch)`."""
    vectors = ops.cast(vectors, "float32")
    return 2 - 2 * ops.matmul(vectors, ops.transpose(vectors))


def _mean(values: Any, mask: Any) -> Any:
    return ops.sum(values * mask) / ops.maximum(ops.sum(mask), 1.0)
