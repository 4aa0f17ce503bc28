"""Moving averages of batch normalisation that hold what was measured, and nothing of the values they began with."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import kzoo
from kzoo.training.callbacks import MeasuredStatistics

STEPS, BATCH = 5, 8
SAMPLES = np.random.default_rng(0).normal(3.0, 0.2, (STEPS * BATCH, 4)).astype("float32")


def fitted(momentum: float, epochs: int, begun: float = 1.0) -> keras.layers.BatchNormalization:
    """Train on the same batches in the same order each epoch; `begun` is the first value of the moving variance."""
    normalisation = keras.layers.BatchNormalization(momentum=momentum)
    model = keras.Sequential([keras.Input((4,)), normalisation, keras.layers.Dense(1)])
    normalisation.moving_variance.assign(np.full(4, begun, "float32"))
    model.compile("sgd", "mse")
    labels = np.zeros((len(SAMPLES), 1), "float32")
    callbacks = [MeasuredStatistics(STEPS)]
    given = {"batch_size": BATCH, "epochs": epochs, "shuffle": False, "validation_data": (SAMPLES, labels)}
    model.fit(SAMPLES, labels, callbacks=callbacks, verbose=0, **given)
    return normalisation


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("epochs", [1, 3])
def test_averages_are_of_the_batches_alone(momentum, epochs):
    normalisation = fitted(momentum, epochs)
    weights = momentum ** np.arange(STEPS * epochs)[::-1]
    batches = SAMPLES.reshape(STEPS, BATCH, 4)
    for value, measured in (
        (normalisation.moving_mean, batches.mean(1)),
        (normalisation.moving_variance, batches.var(1)),
    ):
        expected = np.average(np.tile(measured, (epochs, 1)), axis=0, weights=weights)
        np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-3)


def test_loaded_averages_stay_as_keras_moves_them():
    variance = ops.convert_to_numpy(fitted(0.9, epochs=1, begun=2.0).moving_variance)
    measured = SAMPLES.reshape(STEPS, BATCH, 4).var(1)
    expected = 2.0 * 0.9**STEPS + 0.1 * (0.9 ** np.arange(STEPS)[::-1] @ measured)
    np.testing.assert_allclose(variance, expected, rtol=1e-4)


def test_a_network_of_slow_averages_answers_as_it_trained(tmp_path):
    """Its momentum is 0.99 and the variances behind its depthwise convolutions are small: it answered at chance."""
    still = {f"augmentation.{name}": value for name, value in (("shift", 0.0), ("rotation", 0.0), ("flip", None))}
    settings = {
        "input.size": 16,
        "batch_size": 16,
        "model.arguments.minimalistic": True,
        "optimizer.ema": None,
        **still,
    }
    run = kzoo.train("mobilenet_v3_small", data="digits", epochs=4, settings=settings, out=tmp_path / "run")
    assert run.history()[-1]["val_accuracy"] > 0.9
