"""JAX with the samples on the device: the same run as batch by batch, whatever the steps of a dispatch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

# On a backend of its own, so in a process of its own. 100 samples in batches of 16: six full ones and a smaller one.
SCRIPT = """
import json, sys
import kzoo
from kzoo.data import open_dataset
from kzoo.training import fit, on_device

digits = open_dataset("digits", size=12, channels=3).train
data = {f"{axis}_{split}": values for split, start, end in (("train", 0, 100), ("val", 100, 150), ("test", 150, 200))
        for axis, values in (("x", digits.load(range(start, end))), ("y", digits.labels[start:end] % 4))}
options = json.loads(sys.argv[1])
runs = {}
for steps in (0, 1, 4):
    on_device.steps_per_dispatch = lambda: steps
    if steps == 0:
        placed, fit.train_on_device = fit.train_on_device, lambda *arguments, **options: False
    else:
        fit.train_on_device = placed
    run = kzoo.train("cnn", data=data, epochs=3, batch_size=16, settings=options, out=f"{sys.argv[2]}/{steps}")
    runs[steps] = [{key: row[key] for key in ("loss", "val_loss", "learning_rate")} for row in run.history()]
assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]
print(json.dumps(runs))
"""

OPTIONS = {
    "augmentation, dropout, average": {
        "augmentation.flip": "horizontal",
        "augmentation.shift": 0.1,
        "augmentation.mixup": 0.2,
        "regularisation.dropout": 0.3,
        "optimizer.ema": 0.9,
    },
    "class weights, accumulation": {"class_weights": "balanced", "optimizer.accumulation": 2},
    "a callback's warm-up": {
        "optimizer.name": "sgd",
        "optimizer.ema": None,
        "schedule.name": "plateau",
        "schedule.warmup_epochs": 2.5,
    },
}


def run_jax(code, *arguments):
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return finished.stdout


@pytest.mark.slow(60)
@pytest.mark.parametrize("name", OPTIONS)
def test_the_device_trains_on_the_same_batches(tmp_path, name):
    runs = json.loads(run_jax(SCRIPT, json.dumps(OPTIONS[name]), tmp_path))
    for steps in ("1", "4"):
        for ours, plain in zip(runs[steps], runs["0"], strict=True):
            assert ours == pytest.approx(plain, rel=1e-4)
    if "schedule.name" in OPTIONS[name]:
        # After two of two and a half epochs of warm-up the rate has not arrived.
        assert [row["learning_rate"] for row in runs["0"]] == pytest.approx([0.02, 0.04, 0.05], rel=0.05)


NAN = """
import sys
import kzoo
from kzoo.data import open_dataset
from kzoo.training import on_device

on_device.steps_per_dispatch = lambda: 4
digits = open_dataset("digits").train
settings = {"optimizer.name": "sgd", "optimizer.learning_rate": 1e30, "schedule.name": "constant"}
try:
    kzoo.train("cnn", data=(digits.load(range(150)), digits.labels[:150]), batch_size=16, settings=settings,
               out=sys.argv[1])
except kzoo.TrainingError as error:
    print(error)
"""


@pytest.mark.slow(20)
def test_a_loss_that_is_no_number_is_found_at_the_end_of_its_dispatch(tmp_path):
    assert "(epoch 1, batch 4)" in run_jax(NAN, tmp_path / "run")


SEVERAL = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import keras
keras.distribution.set_distribution(keras.distribution.DataParallel())
import kzoo
from kzoo.data import open_dataset
# Keras divides each batch by the devices: all of them are even.
digits = open_dataset("digits").train
data = {f"{axis}_{split}": values for split, start, end in (("train", 0, 640), ("val", 640, 704), ("test", 704, 768))
        for axis, values in (("x", digits.load(range(start, end))), ("y", digits.labels[start:end]))}
print(kzoo.train("cnn", data=data, epochs=3, batch_size=32, out=sys.argv[1]).metrics.accuracy)
"""


@pytest.mark.slow(30)
def test_several_devices_still_train(tmp_path):
    assert float(run_jax(SEVERAL, tmp_path / "run")) > 0.2
