"""Every factory: saving, features, odd inputs, learning."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kzoo.models as zoo

# A variant of each kind of network, with arguments that differ from every default, small enough to be quick. The others
# differ from these by numbers; `make test-matrix` takes them all.
NON_DEFAULT: dict[str, dict[str, Any]] = {
    "cnn": {"input_shape": (8, 8, 1), "activation": "silu"},
    "resnet8": {"input_shape": (20, 12, 4), "activation": "relu6"},
    "resnet18": {"input_shape": (66, 70, 1), "activation": "leaky_relu", "shortcut": "padding"},
    "resnet20": {"input_shape": (17, 16, 3), "activation": "elu", "normalization": "group"},
    "resnet50_v2": {"input_shape": (72, 70, 3), "pixel_scaling": "imagenet"},
    "resnext50_32x4d": {"input_shape": (16, 17, 4), "pixel_scaling": "signed"},
    "se_resnet18": {"input_shape": (24, 16, 3), "pixel_scaling": "caffe"},
    "early_exit_resnet": {"input_shape": (13, 16, 1), "blocks": 1, "width": 8, "activation": "relu6"},
    "lenet5": {"input_shape": (28, 40, 3), "activation": "relu"},
    "alexnet": {"input_shape": (90, 66, 1), "activation": "relu6", "hidden_units": 32},
    "vgg11_bn": {"input_shape": (33, 64, 3), "activation": "silu", "hidden_units": 48},
    "googlenet": {"input_shape": (70, 81, 1), "activation": "relu6"},
    "densenet40_12": {"input_shape": (17, 13, 1), "activation": "relu6"},
    "squeezenet": {"input_shape": (33, 66, 4), "activation": "silu"},
    "shufflenet_v2": {"input_shape": (66, 75, 1), "width": 0.5, "activation": "relu6"},
    "mobilenet_v1": {"input_shape": (70, 80, 3), "alpha": 0.25, "activation": "relu", "sparse_inference": True},
    "mobilenet_v2": {"input_shape": (33, 40, 1), "alpha": 0.35, "activation": "hard_silu"},
    "mobilenet_v3_small": {"input_shape": (33, 40, 3), "alpha": 0.5, "activation": "silu", "minimalistic": True},
    "efficientnet_lite0": {"input_shape": (67, 66, 3), "activation": "silu", "pixel_scaling": "imagenet"},
    "vit_tiny": {"input_shape": (17, 20, 4), "activation": "relu", "patch_size": 8},
    "mobilevit_xxs": {"input_shape": (20, 28, 1), "activation": "hard_silu", "pixel_scaling": "signed"},
    "lstm": {"input_shape": (7, 3), "units": 5, "depth": 3},
    "text_cnn": {"input_shape": (7,), "vocabulary_size": 9, "embedding": 4, "filters": 5, "widths": (2, 9)},
    "bigru": {"input_shape": (7,), "units": 5, "vocabulary_size": 9},
    "lstm_attention": {"input_shape": (7,), "units": 5, "depth": 1, "vocabulary_size": 9},
    "adaptive_lstm": {"input_shape": (7, 3), "units": 5, "max_ponder_steps": 2, "ponder_cost": 0.5},
    "cnn_lstm": {"input_shape": (7, 3), "units": 5, "depth": 2, "kernel_size": 3, "activation": "silu"},
    "conv_lstm": {"input_shape": (17, 3), "units": 5, "depth": 2, "kernel_size": 3},
    "tcn": {"input_shape": (7, 3), "units": 5, "depth": 3, "kernel_size": 2, "activation": "elu"},
    "ds_cnn": {"input_shape": (7, 3), "filters": 5, "depth": 2, "activation": "relu6"},
    "attention": {"input_shape": (7, 3), "units": 6, "depth": 1, "heads": 3, "activation": "gelu"},
    "transformer_tiny": {"input_shape": (7, 3), "units": 6, "depth": 2, "heads": 3, "positions": "sinusoidal"},
    "text_transformer": {"input_shape": (7,), "units": 6, "heads": 3, "share_layers": True, "vocabulary_size": 9},
    "siamese": {"input_shape": (7, 3), "units": 5, "width": 6, "depth": 2, "activation": "elu"},
    "autoencoder": {"input_shape": (3, 4), "units": 6, "depth": 1, "bottleneck": 2, "activation": "elu"},
    "two_tower": {"input_shape": (1,), "users": 9, "items": 12, "embedding": 4, "units": (5, 3), "temperature": 0.1},
}
# So that several workers share the longest test.
PARTS = 4
NAMES = list(zoo.CATALOG if os.environ.get("KZOO_MATRIX") == "whole" else NON_DEFAULT)
CLASSIFIERS = [name for name in NAMES if zoo.CATALOG[name].classes]
# Pixels a side for those that need more than 16.
SIDES: dict[str, int] = {**dict.fromkeys(zoo.list_models("vgg*"), 32), "mobilevit_xxs": 32}
# Those that must know height and width: with the classifier, or in any case.
FIXED_BY_THEIR_TOP = [*zoo.list_models("vgg*"), "alexnet"]
FIXED = [
    "shufflenet_v2",
    "vit_tiny",
    "mobilevit_xxs",
    "ds_cnn",
    "adaptive_lstm",
    "conv_lstm",
    "tcn",
    "text_cnn",
    "siamese",
    "autoencoder",
    "two_tower",
    *zoo.list_models(family="attention"),
]
COMMON = {"classes": 3, "classifier_activation": None, "dropout": 0.3, "name": "renamed"}

LOAD_EVERYTHING = """
import json, sys
from pathlib import Path
import keras, numpy as np
differences = {}
for path in sorted(Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path)
    expected = np.load(path.with_suffix(".npz"))
    x = expected["x"] if len(model.inputs) == 1 else [expected["x"], expected["x"][::-1]]
    grouped = any(getattr(layer, "groups", 1) > 1 for layer in model.layers)
    outputs = model.predict_on_batch(x) if grouped else model(x, training=False)
    answers = [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(outputs)]
    differences[path.stem] = float(max(np.abs(a - b).max() for a, b in zip(answers, expected["y"], strict=True)))
print(json.dumps({"differences": differences, "kzoo": [m for m in sys.modules if m.split(".")[0] == "kzoo"]}))
"""


def example(shape: tuple[int, ...], batch: int, seed: int = 0) -> Any:
    """Give a batch: pixels for images, measurements in some unit for sequences, tokens and a padding for texts."""
    rng = np.random.default_rng(seed)
    if len(shape) == 1:
        return np.pad(rng.integers(1, 9, (batch, max(1, shape[0] - 1))), ((0, 0), (0, int(shape[0] > 1))))
    if len(shape) == 3:
        return rng.integers(0, 256, (batch, *shape)).astype("float32")
    return rng.normal(3.0, 2.0, (batch, *shape)).astype("float32")


def answers(model: keras.Model, x: Any) -> list[Any]:
    """Ask a model once, output by output. Eagerly: tracing a graph of a hundred layers costs more than ten batches."""
    outputs = model.predict_on_batch(x) if grouped(model) else model(x, training=False)
    return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(outputs)]


def grouped(model: keras.Model) -> bool:
    """Tell whether convolutions are grouped: asked eagerly, Keras compiles every call of one anew and keeps it."""
    return any(isinstance(layer, keras.layers.Conv2D) and layer.groups > 1 for layer in model.layers)


def small_shape(name: str) -> tuple[int, ...]:
    side = SIDES.get(name, 16)
    return {"image": (side, side, 3), "text": (6,), "recommendation": (1,)}.get(zoo.CATALOG[name].task, (6, 4))


def taken(model: keras.Model, x: Any) -> Any:
    """Give a batch as a model takes it: one that compares two samples gets each with another."""
    return [x, x[::-1]] if len(model.inputs) == 2 else x


def answer(model: keras.Model, x: Any) -> Any:
    """Ask a model; of several outputs the first, which is the whole network's."""
    return answers(model, x)[0]


def normalise(model: keras.Model, x: Any = None) -> None:
    """Set the statistics of a model of measurements: those of `x`, or those that its weights say."""
    if "normalization" in [layer.name for layer in model.layers]:
        layer = model.get_layer("normalization")
        layer.finalize_state() if x is None else layer.adapt(x)


def test_every_family_is_looked_at() -> None:
    assert {zoo.CATALOG[name].family for name in NON_DEFAULT} == {record.family for record in zoo.CATALOG.values()}


@pytest.mark.parametrize("name", zoo.CATALOG)
def test_every_argument_is_documented(name: str) -> None:
    factory = getattr(zoo, name)
    documentation = inspect.getdoc(factory) or ""
    assert factory.__name__ == name and "{" not in documentation
    for argument in inspect.signature(factory).parameters:
        assert f"\n    {argument}: " in documentation, argument


@pytest.mark.parametrize("part", range(PARTS))
def test_every_model_loads_where_kzoo_was_never_imported(part: int, tmp_path: Path) -> None:
    names = NAMES[part::PARTS]
    rng = np.random.default_rng(5)
    for name in names:
        arguments = NON_DEFAULT.get(name, {"input_shape": small_shape(name)})
        model = zoo.create_model(name, **arguments, **(COMMON if zoo.CATALOG[name].classes else {"name": "renamed"}))
        assert model.name == "renamed"
        x = example(arguments["input_shape"], batch=3)
        normalise(model, x)
        for weight in model.trainable_weights:
            weight.assign(weight.numpy() + rng.normal(0, 0.02, weight.shape))
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", x=x, y=answers(model, taken(model, x)))
    command = [sys.executable, "-c", LOAD_EVERYTHING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["kzoo"] == []
    assert answer["differences"].keys() == set(names)
    assert max(answer["differences"].values()) < 1e-6, answer


@pytest.mark.parametrize("name", NAMES)
def test_one_gradient_step_lowers_the_loss(name: str) -> None:
    keras.utils.set_random_seed(11)
    x = example(small_shape(name), batch=12)
    if zoo.CATALOG[name].classes:
        model = zoo.create_model(name, input_shape=small_shape(name), classes=3)
        y, loss = np.arange(12) % 3, "sparse_categorical_crossentropy"
    else:
        model = zoo.create_model(name, input_shape=small_shape(name))
        y, loss = x if len(model.inputs) == 1 else np.zeros((12, 1)), "mean_squared_error"
    normalise(model, x)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    # Eager where that is quicker: see `answers`.
    losses = [loss] * len(model.outputs)
    # Clipped: the slope of the deepest is so steep at first, of norm 7,112 in resnet152, that a fixed share of it is a
    # step beyond the valley.
    model.compile(keras.optimizers.SGD(0.0001, global_clipnorm=10), losses, run_eagerly=not grouped(model))
    labels = [y] * len(model.outputs)
    first, second = (float(np.ravel(model.train_on_batch(taken(model, x), labels))[0]) for _ in range(2))
    assert second < first
    for weight, old in zip(model.trainable_weights, before, strict=True):
        if "kernel" in weight.path:
            assert np.abs(weight.numpy() - old).max() > 0, f"{weight.path} is not trained"


# text_cnn pools each of its convolutions by itself, siamese its steps in two ways, and the others do not.
POOLED_OTHERWISE = ("text_cnn", "siamese", "autoencoder", "two_tower")


@pytest.mark.parametrize("name", [name for name in NAMES if name not in POOLED_OTHERWISE])
def test_features_without_the_classifier(name: str) -> None:
    shape = small_shape(name)
    x = example(shape, batch=2)
    full = zoo.create_model(name, input_shape=shape, include_top=False)
    features = answer(full, x)
    axes = tuple(range(1, features.ndim - 1))
    axes_of_features = 4 if zoo.CATALOG[name].task == "image" or name == "ds_cnn" else 2 if name == "text_cnn" else 3
    assert features.ndim == axes_of_features
    poolings = {"avg": features.mean(axis=axes), "max": features.max(axis=axes)}
    if len(shape) == 1:  # a text, whose last place is padding
        poolings = {"avg": features[:, :-1].mean(axis=1)}
    elif name in ("lstm", "lstm_attention", "cnn_lstm", "tcn"):
        poolings["last"] = features[:, -1]
    elif name == "bigru":
        poolings["last"] = np.concatenate([features[:, -1, :64], features[:, 0, 64:]], axis=1)
    for pooling, expected in poolings.items():
        model = zoo.create_model(name, input_shape=shape, include_top=False, pooling=pooling)
        model.set_weights(full.get_weights())
        normalise(model)
        np.testing.assert_allclose(answer(model, x), expected, atol=1e-5 * np.abs(expected).max())
    assert "predictions" not in [layer.name for layer in full.layers]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_odd_inputs(name: str) -> None:
    side = SIDES.get(name, 16)
    odd = {
        3: [(side + 21, side + 13, 1), (side + 51, side + 85, 4)],
        2: [(1, 3), (13, 1), (3, 7)],
        1: [(1,), (13,)],
    }
    shapes = odd[len(small_shape(name))]
    for shape in shapes:
        # Before the softmax, which would turn the rounding of large logits into differences, or hide real ones.
        model = zoo.create_model(name, input_shape=shape, classes=5, classifier_activation=None)
        x = example(shape, batch=3)
        together = answer(model, x)
        assert together.shape == (3, 5)
        rounding = 1e-5 * np.abs(together).max()
        np.testing.assert_allclose(answer(model, x[1:2]), together[1:2], rtol=0, atol=rounding)
    probabilities = answer(zoo.create_model(name, input_shape=shapes[0], classes=5), example(shapes[0], batch=3))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    one_class = zoo.create_model(name, input_shape=shapes[0], classes=1, classifier_activation="sigmoid")
    probability = answer(one_class, example(shapes[0], batch=1))
    assert probability.shape == (1, 1) and 0 <= probability[0, 0] <= 1


@pytest.mark.parametrize("name", [name for name in NAMES if zoo.CATALOG[name].task == "image"])
def test_smallest_images(name: str) -> None:
    with pytest.raises(ValueError, match=r"too small.*Received.*\(1, 1, 3\).*Resize") as refused:
        zoo.create_model(name, input_shape=(1, 1, 3))
    smallest = int(str(refused.value).split("at least ")[1].split("x")[0])
    with pytest.raises(ValueError, match=rf"too small.*at least {smallest}x{smallest}"):
        zoo.create_model(name, input_shape=(max(40, smallest), smallest - 1, 3))
    model = zoo.create_model(name, input_shape=(smallest, smallest, 3), classes=2)
    assert np.isfinite(answer(model, example((smallest, smallest, 3), batch=2))).all()


@pytest.mark.parametrize(
    ("name", "small", "large"),
    [
        ("resnet18", (8, 10), (3, 3)),
        ("mobilenet_v1", (8, 10), (3, 3)),
        ("mobilenet_v2", (8, 10), (3, 3)),
        ("mobilenet_v3_large", (8, 10), (3, 3)),
        ("shufflenet_v2", (8, 10), (3, 3)),
        # Poolings without padding leave out a last odd row.
        ("googlenet", (8, 10), (2, 3)),
        ("densenet121", (8, 10), (2, 3)),
        ("squeezenet", (15, 19), (4, 5)),
        ("alexnet", (7, 9), (1, 2)),
    ],
)
def test_up_to_64_pixels_the_network_divides_less_than_beyond(
    without_values: Any, name: str, small: tuple[int, int], large: tuple[int, int]
) -> None:
    with without_values():
        models = [zoo.create_model(name, input_shape=(*size, 3), include_top=False) for size in ((64, 80), (65, 96))]
    assert [model.output_shape[1:3] for model in models] == [small, large]


@pytest.mark.parametrize("seed", range(4))
def test_no_class_of_squeezenet_begins_dead_behind_its_last_relu(seed: int) -> None:
    keras.utils.set_random_seed(seed)
    model = zoo.squeezenet(input_shape=(16, 16, 3), classes=10, classifier_activation=None)
    logits = answer(model, example((16, 16, 3), batch=8))
    assert logits.min() > 0.5 and np.ptp(logits.mean(0)) < 0.5


def test_inception_v3_has_its_small_stem_up_to_74_pixels(without_values: Any) -> None:
    with without_values():
        models = [zoo.inception_v3(input_shape=(side, 80, 3), include_top=False) for side in (74, 75)]
    assert [model.output_shape[1:3] for model in models] == [(17, 19), (1, 1)]


def test_lenet5_frames_small_images_with_zeros() -> None:
    framed = zoo.lenet5(input_shape=(28, 31, 1))
    whole = zoo.lenet5()
    framed.set_weights(whole.get_weights())
    x = example((28, 31, 1), batch=2)
    padded = np.pad(x, ((0, 0), (2, 2), (0, 1), (0, 0)))
    np.testing.assert_allclose(answers(framed, x), answers(whole, padded), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIXED])
def test_sizes_known_only_when_called(name: str) -> None:
    shape = small_shape(name)
    unknown = (None, *shape[1:]) if len(shape) < 3 else (None, None, 3)
    arguments = {"include_top": False} if name in FIXED_BY_THEIR_TOP else {"classes": 2}
    model = zoo.create_model(name, input_shape=unknown, **arguments)
    fixed = zoo.create_model(name, input_shape=(76, 80, 3) if len(shape) == 3 else shape, **arguments)
    model.set_weights(fixed.get_weights())
    x = example(fixed.input_shape[1:], batch=2)
    np.testing.assert_allclose(answer(model, x), answer(fixed, x), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_stock_and_known_to_the_bridge(name: str) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    dropout = {"dropout": 0.1} if zoo.CATALOG[name].classes else {}
    model = zoo.create_model(name, input_shape=small_shape(name), **dropout)
    for layer in model.layers:
        kind = type(layer).__name__
        assert getattr(keras.layers, kind) is type(layer)
        assert hasattr(tf_keras.layers, kind)
    of_ids = {"text_cnn": "padding", "two_tower": "user_embedding"}.get(name, "embedding")
    first = {3: "rescaling", 2: "normalization", 1: of_ids}
    # Beside other inputs, where there are any.
    assert model.layers[len(model.inputs)].name == first[len(small_shape(name))]


def test_half_precision_keeps_the_probabilities_in_float32() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        for name in ("cnn", "lstm"):
            model = zoo.create_model(name, input_shape=small_shape(name))
            assert model.output.dtype == "float32"
            assert model.get_layer("block1_conv" if name == "cnn" else "lstm1").compute_dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    source = zoo.resnet8(input_shape=(8, 8, 1), classes=3)
    path = tmp_path / "digits.weights.h5"
    source.save_weights(path)
    x = example((8, 8, 1), batch=2)
    copy = zoo.resnet8(input_shape=(8, 8, 1), classes=3, weights=path)
    np.testing.assert_array_equal(answer(copy, x), answer(source, x))
    features = zoo.resnet8(input_shape=(8, 8, 1), include_top=False, weights=str(path))
    for weight, expected in zip(features.get_weights(), source.get_weights(), strict=False):
        np.testing.assert_array_equal(weight, expected)
    with pytest.raises(ValueError, match=r"do not fit 'resnet8'.*Received: weights=.*digits\.weights\.h5"):
        zoo.resnet8(input_shape=(8, 8, 1), classes=4, weights=path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match="do not fit"):
        zoo.resnet8(weights=path)
