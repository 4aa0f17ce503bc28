"""Everything but the training: what a run would take, measured on two steps."""

from __future__ import annotations

import dataclasses
import resource
import sys
import time

import numpy as np

from .backend import only_the_backend
from .feed import EpochOrder, make_feed
from .fit import Phase, compile_for
from .plan import Plan


@dataclasses.dataclass(frozen=True)
class DryRun:
    """What a run would take.

    Attributes:
        parameters: Of the model.
        macs: Multiply–accumulates of one sample.
        step_seconds: Time of one training step after the first.
        expected_seconds: Of all training steps; validation and reports come on top.
        peak_memory: Bytes that the process held at most.
        loss: After two steps.
    """

    parameters: int
    macs: int
    step_seconds: float
    expected_seconds: float
    peak_memory: int
    loss: float


@only_the_backend()
def dry_run(plan: Plan) -> DryRun:
    """Run two training steps and measure the second; the first one also compiles. Nothing is written."""
    model = compile_for(plan, Phase(0, plan.recipe.epochs, None, plan.recipe.optimizer.learning_rate))
    order = EpochOrder(len(plan.dataset.train), plan.recipe.batch_size, plan.recipe.seed)
    feed = make_feed(plan.dataset.train, order, len(plan.dataset.classes), plan.augmenter, streamed=True)
    inputs, labels = next(iter(feed)) if hasattr(feed, "prefetch") else feed[0]
    model.train_on_batch(inputs, labels)
    started = time.perf_counter()
    loss = model.train_on_batch(inputs, labels)
    seconds = time.perf_counter() - started
    # Kibibytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return DryRun(
        parameters=plan.model.count_params(),
        macs=plan.macs,
        step_seconds=seconds,
        expected_seconds=seconds * order.batches * plan.recipe.epochs,
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        loss=float(np.asarray(loss).reshape(-1)[0]),
    )
