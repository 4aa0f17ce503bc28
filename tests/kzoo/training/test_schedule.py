"""Learning rates against values worked out by hand."""

from __future__ import annotations

import math

import keras
import pytest

from kzoo.recipes.schema import Constant, Cosine, Exponential, OneCycle, Plateau, Step
from kzoo.training.schedule import build_schedule

EPOCHS, UPDATES = 10, 100


def rates(section, *steps):
    schedule = build_schedule(section, 0.8, epochs=EPOCHS, steps_per_epoch=UPDATES)
    return [float(keras.ops.convert_to_numpy(schedule(step))) for step in steps]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (Constant(name="constant"), {0: 0.8, 999: 0.8}),
        (Step(name="step", every=4, factor=0.5), {0: 0.8, 399: 0.8, 400: 0.4, 800: 0.2}),
        (Cosine(name="cosine"), {0: 0.8, 500: 0.4, 1000: 0.0}),
        (Cosine(name="cosine", final=0.5), {0: 0.8, 500: 0.6, 1000: 0.4}),
        (Exponential(name="exponential", factor=0.9), {0: 0.8, 100: 0.72, 50: 0.8 * math.sqrt(0.9)}),
        (
            OneCycle(name="one_cycle", peak=0.4, initial=0.1, final=0.0),
            {0: 0.08, 200: 0.44, 400: 0.8, 700: 0.4, 1000: 0.0},
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_rate_at_a_step(section, expected):
    assert rates(section, *expected) == pytest.approx(list(expected.values()), abs=1e-6)


@pytest.mark.parametrize("section", [Constant, Step, Cosine, Exponential, OneCycle])
def test_every_schedule_warms_up_linearly_and_then_begins(section):
    name = section.model_fields["name"].annotation.__args__[0]
    warm = section(name=name, warmup_epochs=2)
    cold = section(name=name)
    first = build_schedule(cold, 0.8, epochs=EPOCHS - 2, steps_per_epoch=UPDATES)
    start = float(keras.ops.convert_to_numpy(first(0)))
    assert rates(warm, 0, 99, 199) == pytest.approx([start / 200, start / 2, start])
    assert rates(warm, 200, 700) == pytest.approx([start, float(keras.ops.convert_to_numpy(first(500)))], rel=1e-5)


def test_plateau_leaves_the_rate_to_callbacks():
    assert build_schedule(Plateau(name="plateau"), 0.8, epochs=EPOCHS, steps_per_epoch=UPDATES) == 0.8
