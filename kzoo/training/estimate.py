"""What a run would take, measured on a few real steps; and the precision in which it takes least."""

from __future__ import annotations

import dataclasses
import itertools
import resource
import statistics
import sys
import time
from typing import Any

import keras

from .backend import only_the_backend
from .feed import EpochOrder, WatchedSplit, make_feed
from .phases import Phase, compile_for
from .plan import Plan
from .reporter import Reporter

# A measurement's length, once the first step has compiled.
_MEASURED_SECONDS = 2.0
# In a shorter run another precision would not make up for the time of trying it.
_WORTH_A_TRIAL = 60.0
# What bfloat16 must gain to be taken: it computes less exactly, and a short measurement scatters.
_WORTH_A_CHANGE = 1.1


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What a run would take.

    Attributes:
        parameters: Of the model.
        macs: Multiply–accumulates of one sample.
        precision: What training would compute in.
        step_seconds: Median time of a training step after the first.
        expected_seconds: Of all training steps; validation and reports come on top.
        peak_memory: Bytes that the process held at most.
        loss: At the last measured step.
    """

    parameters: int
    macs: int
    precision: str
    step_seconds: float
    expected_seconds: float
    peak_memory: int
    loss: float


@only_the_backend()
def dry_run(plan: Plan, reporter: Reporter) -> DryRun:
    """Run a few training steps; the first, which compiles, is not counted. Nothing is written."""
    plan = settle_precision(plan, reporter)
    seconds, loss = _time_steps(plan)
    # Kibibytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return DryRun(
        parameters=plan.model.count_params(),
        macs=plan.macs,
        precision=plan.recipe.precision,
        step_seconds=seconds,
        expected_seconds=seconds * plan.order().batches * plan.recipe.epochs,
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        loss=loss,
    )


def settle_precision(plan: Plan, reporter: Reporter) -> Plan:
    """Replace a recipe's precision "auto" by float32 or mixed bfloat16, whichever trains faster here.

    A few real steps of each are timed. bfloat16 has to be faster by a tenth, and is not tried for runs under a minute.

    Returns:
        The plan with a precision that is settled and with what was measured; or the plan itself where nothing was open.
    """
    if plan.recipe.precision != "auto":
        return plan
    rates: dict[str, float] = {}
    for precision in ("float32", "mixed_bfloat16"):
        seconds, _ = _time_steps(_with_precision(plan, precision))
        rates[precision] = round(plan.recipe.batch_size / seconds, 1)
        if seconds * plan.order().batches * plan.recipe.epochs < _WORTH_A_TRIAL:
            break
    faster = rates.get("mixed_bfloat16", 0.0) > rates["float32"] * _WORTH_A_CHANGE
    chosen = "mixed_bfloat16" if faster else "float32"
    measured = ", ".join(f"{name} {rate:,.0f} samples/s" for name, rate in rates.items())
    reporter.line(f"precision {chosen}; measured: {measured}")
    return dataclasses.replace(_with_precision(plan, chosen), precision_rates=rates)


def _with_precision(plan: Plan, precision: str) -> Plan:
    return dataclasses.replace(plan, recipe=plan.recipe.model_copy(update={"precision": precision}))


def _time_steps(plan: Plan) -> tuple[float, float]:
    """Give the median time of a training step in seconds, and the last step's loss."""
    model = plan.training_model()
    compile_for(model, plan, Phase(0, plan.recipe.epochs, None, plan.recipe.optimizer.learning_rate))
    order = EpochOrder(len(plan.dataset.train), plan.recipe.batch_size, plan.recipe.seed)
    train, timer = WatchedSplit(plan.training_split()), _StepTimer()
    try:
        model.fit(
            make_feed(train, order, len(plan.dataset.classes), plan.augmenter, streamed=True),
            class_weight=plan.class_weights(),
            # As many as a split of one batch needs; the timer ends them.
            epochs=_StepTimer.steps,
            callbacks=[timer],
            shuffle=False,
            verbose=0,
        )
    except Exception as error:
        raise train.error or error from None
    moments = timer.moments
    return statistics.median(after - before for before, after in itertools.pairwise(moments)), timer.loss


class _StepTimer(keras.callbacks.Callback):
    """Note when steps end, and stop when that says enough."""

    steps = 4

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []
        self.loss = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Read, so that a backend that computes behind Python's back has finished.
        self.loss = float((logs or {})["loss"])
        self.moments.append(time.perf_counter())
        if len(self.moments) >= self.steps and self.moments[-1] - self.moments[0] >= _MEASURED_SECONDS:
            self.model.stop_training = True
