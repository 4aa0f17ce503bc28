"""Sparse from the first step: how many connections, which move where, that nothing else comes alive, and resuming."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data import open_dataset
from kzoo.models import lenet5, mobilenet_v1_025_96
from kzoo.recipes.schema import Adagrad, Adam, RmsProp, Sgd
from kzoo.recipes.smaller import SparseTrainingSection
from kzoo.training import make_plan, resolve_recipe
from kzoo.training.optimizer import build_optimizer
from kzoo.training.phases import Phase, compile_for
from kzoo.training.sparse_training import (
    DenseGradients,
    begin_sparse,
    check_maskable,
    connection_counts,
    drop_share,
    masked_optimizer,
    move_connections,
)

RNG = np.random.default_rng(0)
SHAPES = [(3, 3, 16, 32), (1, 1, 32, 64), (256, 64), (7, 3)]


@pytest.mark.parametrize("distribution", ["erk", "uniform"])
@pytest.mark.parametrize("sparsity", [0.011, 0.5, 0.8, 0.997])
def test_together_exactly_as_many_connections_as_asked(distribution, sparsity):
    sizes = [int(np.prod(shape)) for shape in SHAPES]
    counts = connection_counts(SHAPES, SparseTrainingSection(sparsity=sparsity, distribution=distribution))
    assert sum(counts) == round((1 - sparsity) * sum(sizes))
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))


def test_how_connections_are_distributed():
    uniform = connection_counts(SHAPES, SparseTrainingSection(sparsity=0.8, distribution="uniform"))
    assert uniform == pytest.approx([0.2 * np.prod(shape) for shape in SHAPES], abs=1)
    erk = connection_counts(SHAPES, SparseTrainingSection(sparsity=0.9, distribution="erk"))
    # In proportion to the sum of the axes; the smallest kernel is full and the others share the rest.
    assert erk[3] == 21
    total = round(0.1 * sum(int(np.prod(shape)) for shape in SHAPES)) - 21
    assert erk[:3] == pytest.approx([total * share / (54 + 98 + 320) for share in (54, 98, 320)], abs=1)


def test_the_smallest_go_and_grow_where_the_gradient_is_largest():
    weights = np.array([[0.9, -0.1, 0.0], [0.0, 0.5, -0.3], [0.0, 0.0, 0.2]])
    mask = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]], "float32")
    # The largest of all has a connection, which stays; the largest without one is -3, the next 2.
    gradient = np.array([[9.0, 0.1, -3.0], [2.0, 8.0, 0.0], [0.5, 0.1, 0.2]])
    new, kept = move_connections(weights, mask, gradient, share=0.4)
    np.testing.assert_array_equal(new, [[1, 0, 1], [1, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(kept, [[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    # What is dropped may grow again, and keeps its weight.
    new, kept = move_connections(weights, mask, np.where(weights == -0.1, 5.0, gradient), share=0.2)
    np.testing.assert_array_equal(new, mask)
    np.testing.assert_array_equal(kept, mask)


def test_when_connections_move():
    section = SparseTrainingSection()
    shares = [drop_share(section, step, 1000) for step in range(1000)]
    moves = [step for step, share in enumerate(shares) if share]
    assert moves == list(range(20, 750, 20))
    assert shares[20] == pytest.approx(0.15 * (1 + np.cos(np.pi * 20 / 750)))
    falling = [shares[step] for step in moves]
    assert falling == sorted(falling, reverse=True)
    assert [step for step in range(6) if drop_share(section, step, 6)] == [1, 2, 3, 4]
    assert not any(drop_share(SparseTrainingSection(method="fixed"), step, 1000) for step in range(1000))
    chosen = SparseTrainingSection(interval=3, until=1.0)
    assert [step for step in range(10) if drop_share(chosen, step, 10)] == [3, 6, 9]


def test_the_first_convolution_the_classifier_and_depthwise_kernels_stay_dense():
    model = mobilenet_v1_025_96(input_shape=(32, 32, 3), classes=4)
    masked = [model.weights[place].path for place in check_maskable(model, SparseTrainingSection())]
    assert masked == [f"block{number}_pointwise_conv/kernel" for number in range(1, 14)]


def test_nothing_to_mask_and_too_little_left_are_refused():
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(inputs))
    bare = keras.Model(inputs, keras.layers.Dense(10)(flat), name="bare")
    with pytest.raises(kzoo.RecipeError, match="received bare, which has none"):
        check_maskable(bare, SparseTrainingSection())
    with pytest.raises(kzoo.RecipeError, match="leaves 1 weights for 3 kernels"):
        check_maskable(lenet5(input_shape=(12, 12, 1)), SparseTrainingSection(sparsity=0.99999))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 0}, "sparse_training.sparsity: input should be greater than 0, received 0"),
        ({"sparsity": 1}, "sparse_training.sparsity: input should be less than 1, received 1"),
        ({"sparsty": 0.5}, "unknown key 'sparse_training.sparsty'. Did you mean sparsity"),
        ({"method": "fixed", "drop": 0.1}, "sparse_training.drop is for method rigl"),
    ],
)
def test_a_wrong_section_is_one_line(tmp_path, settings, message):
    overrides = {f"sparse_training.{key}": value for key, value in settings.items()}
    with pytest.raises(kzoo.RecipeError) as caught:
        kzoo.train("cnn", settings=overrides, out=tmp_path / "run")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_sparse_from_the_start_and_trained_weights_are_refused():
    with pytest.raises(kzoo.RecipeError, match="leave out either it or transfer"):
        resolve_recipe("cnn", overrides={"sparse_training.sparsity": 0.5, "transfer.weights": "runs/cnn.digits-1"})


def masked_model(optimizer):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3)(inputs)
    x = layers.Dropout(0.3)(layers.BatchNormalization()(layers.Conv2D(8, 3, activation="relu")(x)))
    model = keras.Model(inputs, layers.Dense(3, "softmax")(layers.Dense(16)(layers.Flatten()(x))))
    model.compile(build_optimizer(optimizer, 0.05, masked=True), "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    section = SparseTrainingSection(sparsity=0.7)
    begin_sparse(model, check_maskable(model, section), section, seed=4)
    return model


@pytest.mark.parametrize(
    "optimizer",
    [
        Sgd(name="sgd", nesterov=True, weight_decay=0.01, ema=0.9),
        Adam(name="adamw", weight_decay=0.01, ema=0.9, accumulation=2),
        RmsProp(name="rmsprop", momentum=0.9, global_clipnorm=1.0),
        Adagrad(name="adagrad"),
    ],
    ids=lambda optimizer: optimizer.name,
)
def test_no_update_momentum_or_average_revives_a_weight(optimizer):
    model = masked_model(optimizer)
    masks = masked_optimizer(model)
    x, y = RNG.normal(0, 1, (16, 6, 6, 2)).astype("float32"), np.eye(3, dtype="float32")[RNG.integers(0, 3, 16)]
    for step in range(7):
        if step == 3:
            for kernel in masks.connections.kernels:
                gradient = RNG.normal(0, 1, kernel.shape)
                masks.reconnect(kernel, *move_connections(kernel.numpy(), masks.mask_of(kernel), gradient, 0.3))
                assert np.count_nonzero(kernel.numpy()) < masks.mask_of(kernel).sum()
        model.train_on_batch(x, y)
    for kernel in masks.connections.kernels:
        mask = masks.mask_of(kernel)
        assert 0 < mask.sum() < mask.size
        for variable in (kernel, *masks.connections.slots[id(kernel)]):
            assert not (variable.numpy() * (1 - mask)).any(), variable.path
        assert np.count_nonzero(kernel.numpy()) == mask.sum()


def test_the_dense_gradient_is_the_training_gradient_and_changes_nothing():
    model = masked_model(Sgd(name="sgd"))
    kernels = masked_optimizer(model).connections.kernels
    x, y = RNG.normal(0, 1, (16, 6, 6, 2)).astype("float32"), np.eye(3, dtype="float32")[RNG.integers(0, 3, 16)]
    before = [variable.numpy() for variable in model.variables]
    gradients = DenseGradients(model, kernels)(x, y)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    # What plain descent does to the weights that have a connection, with the same dropout.
    starts = [kernel.numpy() for kernel in kernels]
    model.train_on_batch(x, y)
    for kernel, start, gradient in zip(kernels, starts, gradients, strict=True):
        mask = masked_optimizer(model).mask_of(kernel)
        np.testing.assert_allclose(kernel.numpy() - start, -0.05 * gradient * mask, rtol=1e-3, atol=1e-6)
        assert (gradient[mask == 0] != 0).any()


def first_masks(run, data):
    """The connections that a run began with."""
    plan = make_plan(run.recipe, data)
    model = plan.training_model()
    compile_for(model, plan, Phase(0, 1, None, 0.01))
    optimizer = masked_optimizer(model)
    return plan.maskable, [optimizer.mask_of(kernel) for kernel in optimizer.connections.kernels]


@pytest.fixture(scope="module")
def digits():
    data = open_dataset("digits")
    return {
        f"{axis}_{name}": values
        for name in ("train", "val", "test")
        for axis, values in (("x", getattr(data, name).load(range(200))), ("y", getattr(data, name).labels[:200]))
    }


@pytest.mark.slow(20)
@pytest.mark.parametrize("method", ["fixed", "rigl"])
def test_a_run_is_exactly_as_sparse_as_asked(tmp_path, digits, method):
    lines = []

    class Lines:
        line = staticmethod(lines.append)
        status = staticmethod(lines.append)
        wants_status = staticmethod(lambda: False)

    settings = {
        "sparse_training.method": method,
        "sparse_training.sparsity": 0.85,
        "optimizer.ema": 0.9,
        "precision": "mixed_float16" if method == "fixed" else "mixed_bfloat16",
        "class_weights": "balanced",
    }
    run = kzoo.train("cnn", data=digits, epochs=4, settings=settings, out=tmp_path / "run", reporter=Lines())
    places, masks = first_masks(run, digits)
    saved = [run.model.get_weights()[place] for place in places]
    total = sum(mask.size for mask in masks)
    wanted = round(0.15 * total)
    assert sum(np.count_nonzero(kernel) for kernel in saved) == wanted
    assert [row["density"] for row in run.history()] == [wanted / total] * 4
    assert run.info.sparsity == 1 - wanted / total
    assert f"sparse {method}: 0.85 of {total:,} weights are zero" in lines
    assert sum("density 0.1500" in line for line in lines) == 4
    moved = [int(((kernel != 0) != (mask != 0)).sum()) for kernel, mask in zip(saved, masks, strict=True)]
    assert all(moved) if method == "rigl" else not any(moved)
    for kernel, mask in zip(saved, masks, strict=True):
        assert np.count_nonzero(kernel) == mask.sum()


@pytest.mark.slow(10)
def test_a_run_of_six_steps_moves_and_ends_at_its_sparsity(tmp_path):
    split = open_dataset("digits").train
    data = (split.load(range(120)), split.labels[:120] % 3)
    settings = {"sparse_training.sparsity": 0.8, "callbacks.tensorboard": False, "optimizer.ema": None}
    run = kzoo.train("cnn", data=data, epochs=2, settings=settings, out=tmp_path / "run")
    places, masks = first_masks(run, data)
    saved = [run.model.get_weights()[place] for place in places]
    assert sum(map(np.count_nonzero, saved)) == round(0.2 * sum(mask.size for mask in masks))
    assert all(((kernel != 0) != (mask != 0)).any() for kernel, mask in zip(saved, masks, strict=True))


class Stops:
    """A reporter that interrupts training at a batch."""

    def __init__(self, batch):
        self.left = batch

    def line(self, text):
        pass

    def status(self, text):
        pass

    def wants_status(self):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return False


@pytest.mark.slow(20)
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path, digits):
    settings = {"sparse_training.interval": 2, "regularisation.dropout": 0.2, "callbacks.tensorboard": False}
    options = {"data": digits, "epochs": 4}
    whole = kzoo.train("cnn", **options, settings=settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        kzoo.train("cnn", **options, settings=settings, out=tmp_path / "cut", reporter=Stops(17))
    # Epochs after the only resume point are done again, with the moves in them.
    assert 1 <= len(kzoo.Run(tmp_path / "cut").history()) < 4
    resumed = kzoo.train("cnn", data=digits, resume=True, out=tmp_path / "cut")
    ours, theirs = (
        [{key: value for key, value in row.items() if not key.startswith("s")} for row in run.history()]
        for run in (resumed, whole)
    )
    assert ours == theirs
    for mine, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


JAX = """
import json, sys
import numpy as np
import kzoo
from kzoo.data import open_dataset
from kzoo.training import on_device
on_device.steps_per_dispatch = lambda: 4
digits = open_dataset("digits").train
data = (digits.load(range(200)), digits.labels[:200] % 3)
run = kzoo.train("cnn", data=data, epochs=3, settings={"sparse_training.sparsity": 0.7}, out=sys.argv[1])
print(json.dumps([[row["density"] for row in run.history()], run.info.sparsity]))
assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]
"""


@pytest.mark.slow(30)
def test_on_jax_connections_move_too(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", JAX, str(tmp_path / "run")]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr[-2000:]
    densities, sparsity = json.loads(finished.stdout)
    assert densities == [pytest.approx(0.3, abs=1e-5)] * 3
    assert sparsity == pytest.approx(0.7, abs=1e-5)
    split = open_dataset("digits").train
    run = kzoo.Run(tmp_path / "run")
    places, masks = first_masks(run, (split.load(range(200)), split.labels[:200] % 3))
    saved = [run.model.get_weights()[place] for place in places]
    assert all(((kernel != 0) != (mask != 0)).any() for kernel, mask in zip(saved, masks, strict=True))
