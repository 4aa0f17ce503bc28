"""Optimizers: every option of a recipe reaches Keras, and does what it says."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kzoo.recipes.schema import Adagrad, Adam, RmsProp, Sgd
from kzoo.training.optimizer import add_kernel_penalty, build_optimizer


def small_model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3)(keras.layers.BatchNormalization()(inputs))
    return keras.Model(inputs, outputs)


@pytest.mark.parametrize(
    ("section", "kind", "attributes"),
    [
        (Sgd(name="sgd", learning_rate=0.1, momentum=0.8, nesterov=True), "SGD", {"momentum": 0.8, "nesterov": True}),
        (Adam(name="adam", beta_1=0.8), "Adam", {"beta_1": 0.8}),
        (Adam(name="adamw", weight_decay=0.02), "AdamW", {"weight_decay": 0.02}),
        (RmsProp(name="rmsprop", rho=0.7, momentum=0.1), "RMSprop", {"rho": 0.7, "momentum": 0.1}),
        (Adagrad(name="adagrad"), "Adagrad", {}),
        (Sgd(name="sgd", global_clipnorm=2.0), "SGD", {"global_clipnorm": 2.0}),
        (Sgd(name="sgd", clipvalue=0.5), "SGD", {"clipvalue": 0.5}),
        (Sgd(name="sgd", accumulation=4), "SGD", {"gradient_accumulation_steps": 4}),
        (Sgd(name="sgd", ema=0.9), "SGD", {"use_ema": True, "ema_momentum": 0.9}),
    ],
)
def test_options_reach_keras(section, kind, attributes):
    optimizer = build_optimizer(section, section.learning_rate)
    assert type(optimizer).__name__ == kind
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(section.learning_rate)
    assert {name: getattr(optimizer, name) for name in attributes} == attributes


def test_weight_decay_shrinks_kernels_and_nothing_else():
    model = small_model()
    before = {weight.path: weight.numpy() + 1 for weight in model.trainable_variables}
    for weight in model.trainable_variables:
        weight.assign(before[weight.path])
    optimizer = build_optimizer(Sgd(name="sgd", weight_decay=0.5, momentum=0.0), 0.1)
    optimizer.apply([keras.ops.zeros_like(weight) for weight in model.trainable_variables], model.trainable_variables)
    for weight in model.trainable_variables:
        factor = 0.95 if weight.name == "kernel" else 1.0
        np.testing.assert_allclose(weight.numpy(), before[weight.path] * factor, rtol=1e-6)


def test_accumulation_updates_once_for_all_batches():
    model = small_model()
    optimizer = build_optimizer(Sgd(name="sgd", accumulation=2, momentum=0.0), 1.0)
    kernel = model.layers[-1].kernel
    start = kernel.numpy()
    gradients = [keras.ops.ones_like(weight) for weight in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    np.testing.assert_array_equal(kernel.numpy(), start)
    optimizer.apply([3 * gradient for gradient in gradients], model.trainable_variables)
    np.testing.assert_allclose(kernel.numpy(), start - 2, rtol=1e-5)


def test_kernel_penalties_are_part_of_the_loss_and_not_of_the_saved_model(tmp_path):
    model = small_model()
    kernel = model.layers[-1].kernel.numpy()
    add_kernel_penalty(model, l1=0.1, l2=0.01)
    expected = 0.1 * np.abs(kernel).sum() + 0.01 * (kernel**2).sum()
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").losses == []
