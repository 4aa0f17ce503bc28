"""The optimizer of a recipe."""

from __future__ import annotations

from typing import Any

import keras

from kzoo.recipes.schema import Adagrad, Adam, AnyOptimizer, RmsProp, Sgd

from .sparse_training import masked_kind


def build_optimizer(
    section: AnyOptimizer,
    learning_rate: keras.optimizers.schedules.LearningRateSchedule | float,
    *,
    masked: bool = False,
) -> keras.optimizers.Optimizer:
    """Make a Keras optimizer with everything that the recipe's section says.

    Weight decay leaves out biases and the scales and offsets of normalisations, as is usual for these architectures.

    Args:
        section: The recipe's `optimizer`.
        learning_rate: What `build_schedule` gave.
        masked: Whether it is for a network that trains sparse; see `MaskedOptimizer`.
    """
    shared: dict[str, Any] = {
        "learning_rate": learning_rate,
        "weight_decay": section.weight_decay or None,
        "global_clipnorm": section.global_clipnorm,
        "clipnorm": section.clipnorm,
        "clipvalue": section.clipvalue,
        "gradient_accumulation_steps": section.accumulation if section.accumulation > 1 else None,
        "use_ema": section.ema is not None,
        "ema_momentum": section.ema or 0.99,
    }
    optimizers = keras.optimizers
    match section:
        case Sgd():
            kind, own = optimizers.SGD, {"momentum": section.momentum, "nesterov": section.nesterov}
        case Adam():
            kind = optimizers.AdamW if section.name == "adamw" else optimizers.Adam
            # AdamW does not take None for no decay.
            own = {"beta_1": section.beta_1, "beta_2": section.beta_2, "weight_decay": section.weight_decay}
        case RmsProp():
            kind, own = optimizers.RMSprop, {"rho": section.rho, "momentum": section.momentum}
        case Adagrad():
            kind, own = optimizers.Adagrad, {}
    optimizer = (masked_kind(kind) if masked else kind)(**{**shared, **own})
    if section.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def add_kernel_penalty(model: keras.Model, l1: float, l2: float) -> None:
    """Put L1 and L2 penalties on the kernels of a built model.

    They are set on the variables, not on the layers, so that a saved model carries nothing of its training.
    """
    if not (l1 or l2):
        return
    penalty = keras.regularizers.L1L2(l1=l1, l2=l2)
    for variable in model.trainable_variables:
        if variable.name.endswith("kernel"):
            variable.regularizer = penalty
