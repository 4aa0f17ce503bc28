"""The copy that trains computes what the plain model computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo.training import make_plan, resolve_recipe
from kzoo.training.acceleration import FusedBatchNormalization, PointwiseConv2D, training_copy
from kzoo.training.estimate import settle_precision
from kzoo.training.recurrent import FastLSTM
from kzoo.training.reporter import LogReporter

RNG = np.random.default_rng(0)


def values(*shape: int) -> np.ndarray:
    """Values with another mean and spread in every channel."""
    channels = np.arange(1, shape[-1] + 1, dtype="float32")
    return RNG.normal(channels, channels, shape).astype("float32")


def compiled(model: keras.Model) -> keras.Model:
    model.compile(keras.optimizers.SGD(0.005, momentum=0.9), "categorical_crossentropy")
    return model


def assert_trains_alike(plain: keras.Model, copy: keras.Model, x: np.ndarray, classes: int, tolerance: float) -> None:
    """Losses of several steps, then every weight, moving statistics included, and answers in inference."""
    y = np.eye(classes, dtype="float32")[np.arange(len(x)) % classes]
    losses = [[float(model.train_on_batch(x, y)) for _ in range(3)] for model in (compiled(plain), compiled(copy))]
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)
    assert losses[0][0] != losses[0][-1]
    for ours, theirs in zip(copy.weights, plain.weights, strict=True):
        # As a whole: where rounding moves one value across a ReLU's kink, one weight moves visibly.
        difference = np.linalg.norm(ours.numpy() - theirs.numpy())
        assert difference <= tolerance * (np.linalg.norm(theirs.numpy()) + 1e-3), ours.path
    np.testing.assert_allclose(copy.predict(x, verbose=0), plain.predict(x, verbose=0), atol=tolerance)


@pytest.mark.parametrize("name", ["resnet8", "cnn"])
def test_a_model_of_the_zoo_trains_as_the_plain_one(name):
    plain = kzoo.create_model(name, input_shape=(32, 32, 3), classes=5)
    copy = training_copy(plain)
    fused = [layer for layer in copy.layers if isinstance(layer, FusedBatchNormalization)]
    assert len(fused) == sum(type(layer) is layers.BatchNormalization for layer in plain.layers) > 0
    assert [weight.path for weight in copy.weights] == [weight.path for weight in plain.weights]
    assert_trains_alike(plain, copy, RNG.integers(0, 256, (16, 32, 32, 3)).astype("float32"), 5, 1e-2)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bilstm", {"units": 5, "depth": 1, "vocabulary_size": 9}),
        ("text_transformer", {"units": 6, "heads": 2, "vocabulary_size": 9, "share_layers": True}),
        ("tcn", {"units": 5, "depth": 2}),
    ],
)
def test_a_sequence_model_trains_as_the_plain_one(name, arguments):
    """Masks, both directions, shared layers, convolutions of one dimension."""
    text = "vocabulary_size" in arguments
    plain = kzoo.create_model(name, input_shape=(8,) if text else (8, 3), classes=3, **arguments)
    x = np.pad(RNG.integers(1, 9, (8, 5)), ((0, 0), (0, 3))) if text else values(8, 8, 3)
    assert_trains_alike(plain, training_copy(plain), x, 3, 1e-4)


def test_a_deep_model_normalises_as_the_plain_one():
    # Its gradients at random weights change by percents with the last digit of a pixel: nothing to compare.
    plain = kzoo.create_model("mobilenet_v2", input_shape=(96, 96, 3), classes=5, alpha=0.35)
    copy = training_copy(plain)
    x = RNG.integers(0, 256, (16, 96, 96, 3)).astype("float32")
    np.testing.assert_allclose(copy(x, training=True), plain(x, training=True), atol=1e-4)
    for ours, theirs in zip(copy.non_trainable_weights, plain.non_trainable_weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-4, err_msg=ours.path)


NORMALIZED = {
    "images": ((6, 5, 3), {}),
    "vectors": ((7,), {}),
    "sequences": ((9, 4), {"momentum": 0.5}),
    "without scale and offset": ((6, 5, 3), {"center": False, "scale": False}),
    "an epsilon below the kernel's": ((6, 5, 3), {"epsilon": 1e-7}),
    "another axis": ((6, 5, 3), {"axis": 1}),
    "volumes": ((3, 4, 2, 3), {}),
    "renormalisation": ((6, 5, 3), {"renorm": True}),
}


@pytest.mark.parametrize("case", NORMALIZED)
def test_batch_normalisation_is_keras(case):
    shape, arguments = NORMALIZED[case]
    inputs = keras.Input(shape)
    x = layers.BatchNormalization(**arguments)(inputs)
    outputs = layers.Dense(3, activation="softmax")(layers.Flatten()(layers.Activation("tanh")(x)))
    plain = keras.Model(inputs, outputs)
    assert_trains_alike(plain, training_copy(plain), values(8, *shape), 3, 1e-4)


CONVOLUTIONS = {
    "1×1": {"kernel_size": 1},
    "without a bias, with an activation": {"kernel_size": 1, "use_bias": False, "activation": "relu"},
    "strided": {"kernel_size": 1, "strides": 2},
    "in groups": {"kernel_size": 1, "groups": 3},
    "3×3": {"kernel_size": 3, "padding": "same"},
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("shape", [(6, 5, 3), (None, None, 3)])
def test_a_convolution_is_keras(case, shape):
    inputs = keras.Input(shape)
    x = layers.Conv2D(6, **CONVOLUTIONS[case])(inputs)
    outputs = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(layers.Activation("tanh")(x)))
    plain = keras.Model(inputs, outputs)
    copy = training_copy(plain)
    assert isinstance(copy.layers[1], PointwiseConv2D)
    assert_trains_alike(plain, copy, values(8, 6, 5, 3), 3, 1e-4)


def test_one_sample_a_batch_leaves_finite_statistics():
    layer = FusedBatchNormalization()
    layer(np.ones((1, 4), "float32"), training=True)
    assert np.isfinite(layer.moving_variance.numpy()).all()


def test_a_frozen_layer_keeps_its_statistics():
    plain = keras.Sequential([keras.Input((5, 5, 3)), layers.BatchNormalization()])
    copy = training_copy(plain)
    copy.layers[0].trainable = False
    x = values(8, 5, 5, 3)
    np.testing.assert_allclose(copy(x, training=True), plain(x, training=False), rtol=1e-5)
    np.testing.assert_array_equal(copy.layers[0].moving_mean, 0)


def test_recurrent_layers_train_as_keras_within_wrappers_too():
    inputs = keras.Input((9, 4))
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(inputs)
    outputs = layers.Dense(3, activation="softmax")(layers.LSTM(6)(x))
    plain = keras.Model(inputs, outputs)
    copy = training_copy(plain)
    both = copy.layers[1]
    assert [type(layer) for layer in (both.forward_layer, both.backward_layer, copy.layers[2])] == [FastLSTM] * 3
    assert [weight.path for weight in copy.weights] == [weight.path for weight in plain.weights]
    assert_trains_alike(plain, copy, values(7, 9, 4), 3, 1e-4)


def test_normalised_features_reach_the_copy():
    plain = kzoo.create_model("lstm", input_shape=(8, 3), classes=2)
    plain.get_layer("normalization").set_weights([np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), np.array(9)])
    plain.get_layer("normalization").finalize_state()
    x = values(4, 8, 3)
    np.testing.assert_allclose(training_copy(plain).predict(x, verbose=0), plain.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_in_the_copy_alone(precision):
    plan = make_plan(resolve_recipe("resnet8", overrides={"precision": precision}))
    copy = plan.training_model()
    assert {layer.compute_dtype for layer in plan.model.layers} == {"float32"}
    assert copy.get_layer("stem_bn").compute_dtype == precision.removeprefix("mixed_")
    assert copy.get_layer("predictions").compute_dtype == "float32"
    x = plan.dataset.train.load(np.arange(64)).astype("float32")
    half, full = copy.predict(x, verbose=0), plan.model.predict(x, verbose=0)
    assert 0 < np.abs(half - full).max() < 0.03


def test_a_narrower_model_and_what_it_wraps_have_the_policies_of_the_one_its_factory_makes():
    def built(units, policy):
        inputs = keras.Input((6, 3))
        x = layers.Bidirectional(layers.LSTM(units, dtype=policy), dtype=policy, name="both")(inputs)
        x = layers.Dense(units, dtype=policy, name="hidden")(x)
        return keras.Model(inputs, layers.Dense(2, dtype="float32", name="answers")(x))

    narrow = built(3, "float32")
    copy = training_copy(narrow, built(5, "mixed_bfloat16"))
    both, hidden, answers = copy.layers[1:]
    computed = [layer.compute_dtype for layer in (both, both.forward_layer, both.backward_layer, hidden, answers)]
    assert computed == ["bfloat16"] * 4 + ["float32"]
    assert isinstance(both.forward_layer, FastLSTM)
    for ours, theirs in zip(copy.get_weights(), narrow.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


class Noted(LogReporter):
    """Keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_a_short_run_tries_no_other_precision():
    plan = make_plan(resolve_recipe("cnn", overrides={"precision": "auto", "epochs": 1}))
    reporter = Noted()
    settled = settle_precision(plan, reporter)
    assert settled.recipe.precision == "float32"
    assert list(settled.precision_rates) == ["float32"]
    assert reporter.lines[0].startswith("precision float32; measured: float32 ")


@pytest.mark.parametrize(("rate", "chosen"), [(1.05, "float32"), (1.5, "mixed_bfloat16")])
def test_the_faster_precision_is_taken_and_recorded(tmp_path, monkeypatch, rate, chosen):
    from kzoo.training import estimate

    seconds = {"float32": 0.2, "mixed_bfloat16": 0.2 / rate}
    monkeypatch.setattr(estimate, "_time_steps", lambda plan: (seconds[plan.recipe.precision], 1.0))
    monkeypatch.setattr(estimate, "_WORTH_A_TRIAL", 0.1)
    run = kzoo.train("cnn", epochs=1, settings={"precision": "auto"}, out=tmp_path / "run")
    assert run.recipe.precision == chosen
    assert run.info.precision_rates == {"float32": 160.0, "mixed_bfloat16": pytest.approx(160 * rate, abs=0.1)}
    assert {layer.compute_dtype for layer in run.model.layers} == {"float32"}
