"""Means and deviations of the training split, read block by block, in the model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kzoo.data import open_dataset
from kzoo.training import standardise


@pytest.mark.parametrize("block", [7, 1024])
def test_features_have_the_mean_0_and_the_deviation_1_or_less(monkeypatch, block):
    monkeypatch.setattr(standardise, "_BLOCK", block)
    rng = np.random.default_rng(0)
    x = rng.normal([1000.0, -3.0, 0.0, 5.0], [0.5, 20.0, 0.0, 0.0], (120, 6, 4)).astype(np.float32)
    # A feature that is the same but once: its deviation must not make an outlier of hundreds of that.
    x[5, 2, 3] = 6.0
    train = open_dataset((x, np.arange(120) % 2), kind="sequence", fractions=(0.98, 0.01, 0.01)).train
    assert train.load(np.arange(len(train)))[..., 3].max() == 6.0
    inputs = keras.Input((6, 4))
    model = keras.Model(inputs, keras.layers.Normalization()(inputs))
    standardise.standardise(model, train)
    values = model.predict_on_batch(train.load(np.arange(len(train)))).reshape(-1, 4)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=0)[:2], 1, atol=1e-3)
    assert (values[:, 2] == 0).all()
    assert values[:, 3].max() == pytest.approx(standardise.LARGEST_DEVIATION, abs=1e-2)
