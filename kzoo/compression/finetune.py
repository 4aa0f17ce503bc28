"""The training of a stage: tf_keras's `fit` with the data, the augmentation and the optimizer of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from kzoo.export.compression.wrapping import Wrapping
from kzoo.recipes.schema import Adagrad, Adam, AnyOptimizer, OptimizerSection, RmsProp, Sgd
from kzoo.training.callbacks import HistoryLog, Progress, StopAtNan
from kzoo.training.distillation import distillation_loss, teacher_probabilities
from kzoo.training.feed import EpochOrder, FollowEpoch, WatchedSplit, make_feed
from kzoo.training.plan import Plan
from kzoo.training.reporter import Reporter
from kzoo.training.schedule import build_schedule

# Networks that train well at 0.1 with momentum do so at 0.001 with Adam.
_SGD_TO_ADAM = 0.01


class FineTuning:
    """Trains bridged models on the data of a plan; each call of `fit` goes on where the last one ended.

    Args:
        plan: Recipe and data.
        history: The CSV file that gets a row an epoch.
        reporter: Where progress goes.
        first_epoch: Epochs that `history` has already.
        stages: How many times `fit` will be called.
    """

    def __init__(
        self,
        plan: Plan,
        history: Path,
        reporter: Reporter,
        *,
        first_epoch: int,
        stages: int,
    ) -> None:
        self._plan = plan
        self._history = history
        self._reporter = reporter
        self._epoch = first_epoch
        self._last = first_epoch + stages * plan.recipe.epochs
        self._order = plan.order()

    @property
    def steps(self) -> int:
        """Training steps of a stage."""
        return self._plan.recipe.epochs * self._order.batches

    def fit(
        self,
        bridged: tf_keras.Model,
        wrapping: Wrapping,
        *,
        normalised: bool,
        first_step: int,
        and_keep: Callable[[], None],
    ) -> tuple[int, dict[str, list[np.ndarray]]]:
        """Train for a stage.

        Args:
            bridged: A tf_keras model, wrapped.
            wrapping: What wraps it.
            normalised: Whether it trains as the run did: with its batch normalisations, each weight by itself.
            first_step: Only epochs that end after this step count as done.
            and_keep: Called when an epoch is the best so far.

        Returns:
            The best epoch, from 1, and its weights by layer.
        """
        plan, recipe, order = self._plan, self._plan.recipe, self._order
        classes = len(plan.dataset.classes)
        logits = plan.arguments.get("classifier_activation", "softmax") is None
        model = FineTuned(bridged.inputs, bridged.outputs, name=bridged.name)
        model.prepare(wrapping, plan.teachers, recipe, logits=logits)
        optimizer = recipe.optimizer if normalised else _with_bounded_steps(recipe.optimizer)
        if optimizer is not recipe.optimizer:
            self._reporter.line(f"train  with Adam at {optimizer.learning_rate:g}, whose steps no gradient makes large")
        model.compile(optimizer=build_tf_keras_optimizer(optimizer))
        train, val = WatchedSplit(plan.training_split()), WatchedSplit(plan.dataset.val)
        val_order = EpochOrder(len(val.labels), recipe.batch_size, recipe.seed)
        best = _KeepBest(wrapping, and_keep, self._epoch + first_step / order.batches)
        schedule = build_schedule(
            recipe.schedule, optimizer.learning_rate, epochs=recipe.epochs, steps_per_epoch=order.batches
        )
        mine = (
            FollowEpoch(order),
            StopAtNan(self._history.parent / "model.keras", order.batches),
            HistoryLog(self._history, len(plan.dataset.train)),
            Progress(self._reporter, self._last, order.batches),
        )
        try:
            model.fit(
                make_feed(train, order, classes, plan.augmenter),
                validation_data=make_feed(val, val_order, classes),
                initial_epoch=self._epoch,
                epochs=self._epoch + recipe.epochs,
                class_weight=plan.class_weights(),
                callbacks=[_Rate(schedule), *wrapping.callbacks, *map(_Ported, mine), best],
                verbose=0,
            )
        except Exception as error:
            raise train.error or val.error or error from None
        self._epoch += recipe.epochs
        assert best.weights is not None  # the last epoch always counts
        return best.epoch, best.weights


class FineTuned(tf_keras.Model):
    """A functional model that brings its weights back to what they must keep after each step."""

    def prepare(self, wrapping: Wrapping, teachers: Sequence[keras.Model], recipe: Any, *, logits: bool) -> None:
        """Set what a step needs beside the labels' loss.

        Args:
            wrapping: What wraps the layers.
            teachers: Keras models whose answers are learned as well.
            recipe: Of the fine-tuning.
            logits: Whether the model answers with logits.
        """
        self._wrapping = wrapping
        self._labels_loss = tf_keras.losses.CategoricalCrossentropy(
            from_logits=logits, label_smoothing=recipe.regularisation.label_smoothing
        )
        # Of the first output, which is the whole network's; compiled metrics would be one for each.
        self._mean_loss = tf_keras.metrics.Mean(name="loss")
        self._accuracy = tf_keras.metrics.CategoricalAccuracy(name="accuracy")
        # Closures and not attributes: tf_keras would track the teachers' variables.
        self._taught = _taught(teachers, recipe, logits) if teachers else None
        self._penalty = _penalty(wrapping, recipe.regularisation.l1, recipe.regularisation.l2)

    @property
    def metrics(self) -> list[Any]:
        """Loss and accuracy, which begin anew with each epoch."""
        return [self._mean_loss, self._accuracy]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step on a batch `(x, y)` or `(x, y, sample_weight)`."""
        x, y, sample_weight = tf_keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            answers = tf.nest.flatten(self(x, training=True))
            if self._taught is None:
                losses = [self._labels_loss(y, each, sample_weight) for each in answers]
            else:
                losses = self._taught(x, y, answers, sample_weight)
            loss = tf.add_n(losses) / len(losses) + self._penalty()
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        self._wrapping.project()
        return self._measured(loss, y, answers[0], sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The labels' loss of a batch, without learning."""
        x, y, sample_weight = tf_keras.utils.unpack_x_y_sample_weight(data)
        answers = tf.nest.flatten(self(x, training=False))
        losses = [self._labels_loss(y, each, sample_weight) for each in answers]
        return self._measured(tf.add_n(losses) / len(losses), y, answers[0], sample_weight)

    def _measured(self, loss: Any, y: Any, answer: Any, sample_weight: Any) -> dict[str, Any]:
        self._mean_loss.update_state(loss, tf.shape(y)[0])
        self._accuracy.update_state(y, answer, sample_weight)
        return {metric.name: metric.result() for metric in self.metrics}


def _taught(teachers: Sequence[keras.Model], recipe: Any, logits: bool) -> Callable[..., list[Any]]:
    section = recipe.distillation

    def losses(x: Any, y: Any, answers: Sequence[Any], sample_weight: Any) -> list[Any]:
        said = teacher_probabilities(teachers, x)
        each = [
            distillation_loss(
                y,
                answer,
                said,
                temperature=section.temperature,
                weight=section.weight,
                logits=logits,
                label_smoothing=recipe.regularisation.label_smoothing,
            )
            for answer in answers
        ]
        return [tf.reduce_mean(loss if sample_weight is None else loss * sample_weight) for loss in each]

    return losses


def _penalty(wrapping: Wrapping, l1: float, l2: float) -> Callable[[], Any]:
    kernels = [each for variables in wrapping.variables.values() for each in variables if "kernel" in each.name]
    if not (l1 or l2):
        return lambda: 0.0
    return lambda: tf.add_n([l1 * tf.reduce_sum(tf.abs(each)) + l2 * tf.reduce_sum(each * each) for each in kernels])


def _with_bounded_steps(section: AnyOptimizer) -> AnyOptimizer:
    """Give Adam in place of gradient descent, whose steps are as large as the gradient.

    A batch normalisation makes up for a kernel that a step has moved too far; once it is folded, nothing does, and a
    value that thousands of weights share has the sum of their gradients.
    """
    if section.name != "sgd":
        return section
    shared = section.model_dump(include=set(OptimizerSection.model_fields))
    return Adam(name="adam", **{**shared, "learning_rate": section.learning_rate * _SGD_TO_ADAM})


def build_tf_keras_optimizer(section: AnyOptimizer) -> tf_keras.optimizers.Optimizer:
    """Make the tf_keras twin of `kzoo.training.optimizer.build_optimizer`, but for accumulation and averages."""
    shared: dict[str, Any] = {
        "learning_rate": section.learning_rate,
        "weight_decay": section.weight_decay or None,
        "global_clipnorm": section.global_clipnorm,
        "clipnorm": section.clipnorm,
        "clipvalue": section.clipvalue,
        "jit_compile": False,
    }
    optimizers = tf_keras.optimizers
    match section:
        case Sgd():
            optimizer = optimizers.SGD(momentum=section.momentum, nesterov=section.nesterov, **shared)
        case Adam():
            kind = optimizers.AdamW if section.name == "adamw" else optimizers.Adam
            # AdamW does not take None for no decay.
            shared["weight_decay"] = section.weight_decay if section.name == "adamw" else shared["weight_decay"]
            optimizer = kind(beta_1=section.beta_1, beta_2=section.beta_2, **shared)
        case RmsProp():
            optimizer = optimizers.RMSprop(rho=section.rho, momentum=section.momentum, **shared)
        case Adagrad():
            optimizer = optimizers.Adagrad(**shared)
    if section.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class _Ported(tf_keras.callbacks.Callback):
    """A callback of Keras 3 where tf_keras trains: the hooks are the same."""

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        self._callback = callback

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._callback.set_model(model)

    def on_train_begin(self, logs: Any = None) -> None:
        self._callback.on_train_begin(logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._callback.on_train_end(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._callback.on_epoch_end(epoch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._callback.on_train_batch_end(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self._callback.on_test_begin(logs)


class _Rate(tf_keras.callbacks.Callback):
    """The learning rate of each step, from a schedule of Keras 3."""

    def __init__(self, schedule: Any) -> None:
        super().__init__()
        self._schedule = schedule
        self._step = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if callable(self._schedule):
            self.model.optimizer.learning_rate = float(self._schedule(self._step))
        self._step += 1


class _KeepBest(tf_keras.callbacks.Callback):
    """The weights of the epoch with the highest validation accuracy; of equals the later one, which is calmer."""

    def __init__(self, wrapping: Wrapping, and_keep: Callable[[], None], first: float) -> None:
        super().__init__()
        self._wrapping, self._and_keep, self._first = wrapping, and_keep, first
        self._best = -1.0
        self.epoch = 0
        self.weights: dict[str, list[np.ndarray]] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        accuracy = float((logs or {})["val_accuracy"])
        if epoch + 1 >= self._first and accuracy >= self._best:
            self._best, self.epoch = accuracy, epoch + 1
            self.weights = self._wrapping.weights()
            self._and_keep()
