"""Learning rates over the course of a run."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kzoo.recipes.schema import AnySchedule, Cosine, Exponential, OneCycle, Plateau, Step


def build_schedule(
    section: AnySchedule, learning_rate: float, *, epochs: int, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Make the schedule of a recipe.

    Args:
        section: The recipe's `schedule`.
        learning_rate: The highest rate of the run.
        epochs: Length of the run.
        steps_per_epoch: Training steps of an epoch. Keras counts them, not the fewer updates of accumulated gradients.

    Returns:
        A Keras schedule over updates; for `plateau` the rate itself, since callbacks change it there.
    """
    total = epochs * steps_per_epoch
    warmup = round(section.warmup_epochs * steps_per_epoch)
    decay = max(total - warmup, 1)
    schedules = keras.optimizers.schedules
    match section:
        case Plateau():
            return learning_rate
        case Step():
            every = max(round(section.every * steps_per_epoch), 1)
            after = schedules.ExponentialDecay(learning_rate, every, section.factor, staircase=True)
        case Cosine():
            after = schedules.CosineDecay(learning_rate, decay, alpha=section.final)
        case Exponential():
            after = schedules.ExponentialDecay(learning_rate, steps_per_epoch, section.factor)
        case OneCycle():
            after = OneCycleSchedule(learning_rate, decay, section.peak, section.initial, section.final)
        case _:
            after = ConstantSchedule(learning_rate)
    return WarmUp(after, warmup) if warmup else after


class ConstantSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The same rate at every update."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        return ops.convert_to_tensor(self.learning_rate, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate}


class OneCycleSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine up to the learning rate, half a cosine down (Smith 2018, arXiv 1803.09820).

    Args:
        learning_rate: Rate at the peak.
        decay_steps: Updates of the whole cycle.
        peak: Share of the cycle at which the peak is reached.
        initial: First rate, as a share of the peak's.
        final: Last rate, as a share of the peak's.
    """

    def __init__(self, learning_rate: float, decay_steps: int, peak: float, initial: float, final: float) -> None:
        self.learning_rate = learning_rate
        self.decay_steps = decay_steps
        self.peak = peak
        self.initial = initial
        self.final = final

    def __call__(self, step: Any) -> Any:
        progress = ops.minimum(ops.cast(step, "float32") / self.decay_steps, 1.0)
        rising = progress < self.peak
        phase = ops.where(rising, progress / self.peak, (1.0 - progress) / (1.0 - self.peak))
        lowest = ops.where(rising, self.initial, self.final)
        height = (1.0 - ops.cos(phase * 3.141592653589793)) / 2.0
        return self.learning_rate * (lowest + (1.0 - lowest) * height)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "decay_steps": self.decay_steps,
            "peak": self.peak,
            "initial": self.initial,
            "final": self.final,
        }


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise before another schedule begins (Goyal et al. 2017, arXiv 1706.02677).

    Args:
        after: The schedule that follows; it starts counting when the warm-up ends.
        steps: Updates of the warm-up.
    """

    def __init__(self, after: keras.optimizers.schedules.LearningRateSchedule, steps: int) -> None:
        self.after = after
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        rising = self.after(ops.convert_to_tensor(0.0)) * (step + 1.0) / self.steps
        return ops.where(step < self.steps, rising, self.after(ops.maximum(step - self.steps, 0.0)))

    def get_config(self) -> dict[str, Any]:
        return {"after": keras.saving.serialize_keras_object(self.after), "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Rebuild the schedule that follows, too."""
        return cls(keras.saving.deserialize_keras_object(config["after"]), config["steps"])


class PlateauWarmUp(keras.callbacks.Callback):
    """The linear warm-up for a rate that callbacks and not a schedule change.

    Args:
        learning_rate: Rate at the end of the warm-up.
        first_epoch: Epoch, from 0, in which the warm-up begins.
        batches: Batches of the warm-up.
        batches_per_epoch: Batches of an epoch.
    """

    def __init__(self, learning_rate: float, first_epoch: int, batches: int, batches_per_epoch: int) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.first_epoch = first_epoch
        self.batches = batches
        self.batches_per_epoch = batches_per_epoch
        self._done = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._done = (epoch - self.first_epoch) * self.batches_per_epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        done = self._done + batch
        if done < self.batches:
            if keras.backend.backend() == "jax":
                # Within an epoch the rate lies in the trainer's state; Keras takes it from the model after this call.
                self.model.jax_state_sync()
            self.model.optimizer.learning_rate = self.learning_rate * (done + 1) / self.batches
