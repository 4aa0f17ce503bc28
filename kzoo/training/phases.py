"""The phases of a run, and the training model made ready for one."""

from __future__ import annotations

import dataclasses

import keras

from .objectives import accuracy_of
from .optimizer import add_kernel_penalty, build_optimizer
from .plan import Plan
from .schedule import build_schedule
from .sparse_training import begin_sparse


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of epochs with the same trainable layers and schedule."""

    first: int
    end: int
    # None: all layers.
    trainable: tuple[str, ...] | None
    learning_rate: float


def phases_of(plan: Plan) -> list[Phase]:
    """Divide a run: the new head of a transferred model trains alone first, then everything at a lower rate."""
    recipe = plan.recipe
    rate = recipe.optimizer.learning_rate
    transfer = recipe.transfer
    if transfer is None:
        return [Phase(0, recipe.epochs, None, rate)]
    everything = Phase(transfer.head_epochs, recipe.epochs, None, rate * transfer.learning_rate_factor)
    # Where every layer was loaded there is no new head to train first.
    fresh = plan.transfer.fresh if plan.transfer else ()
    if not fresh or transfer.head_epochs == 0:
        return [dataclasses.replace(everything, first=0)]
    return [Phase(0, transfer.head_epochs, fresh, rate), everything]


def compile_for(model: keras.Model, plan: Plan, phase: Phase) -> None:
    """Make a plan's training model ready for a phase: what trains, and with which optimizer, loss and penalties."""
    recipe = plan.recipe
    for layer in model.layers:
        layer.trainable = phase.trainable is None or layer.name in phase.trainable
    add_kernel_penalty(model, recipe.regularisation.l1, recipe.regularisation.l2)
    schedule = build_schedule(
        recipe.schedule, phase.learning_rate, epochs=phase.end - phase.first, steps_per_epoch=plan.order().batches
    )
    logits = plan.arguments.get("classifier_activation", "softmax") is None
    model.compile(
        optimizer=build_optimizer(recipe.optimizer, schedule, masked=recipe.sparse_training is not None),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=logits, label_smoothing=recipe.regularisation.label_smoothing
        ),
        metrics=[accuracy_of(model)],
    )
    # Left to the first step, TensorFlow would trace that twice, the first time with a branch for every variable.
    model.optimizer.build(model.trainable_variables)
    if recipe.sparse_training is not None:
        begin_sparse(model, plan.maskable, recipe.sparse_training, recipe.seed)
