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
    "lenet5": {"input_shape": (28, 40, 3), "activation": "relu"},
    "alexnet": {"input_shape": (90, 66, 1), "activation": "relu6", "hidden_units": 32},
    "vgg11_bn": {"input_shape": (33, 64, 3), "activation": "silu", "hidden_units": 48},
    "googlenet": {"input_shape": (70, 81, 1), "activation": "relu6"},
    "densenet40_12": {"input_shape": (17, 13, 1), "activation": "relu6"},
    "squeezenet": {"input_shape": (33, 66, 4), "activation": "silu"},
    "shufflenet_v2": {"input_shape": (66, 75, 1), "width": 0.5, "activation": "relu6"},
    "mobilenet_v2": {"input_shape": (33, 40, 1), "alpha": 0.35, "activation": "hard_silu"},
    "lstm": {"input_shape": (7, 3), "units": 5, "depth": 3},
    "attention": {"input_shape": (7, 3), "units": 6, "depth": 1, "heads": 3, "activation": "gelu"},
}
NAMES = list(zoo.CATALOG if os.environ.get("KZOO_MATRIX") == "whole" else NON_DEFAULT)
# Pixels a side for those that need more than 16.
SIDES: dict[str, int] = dict.fromkeys(zoo.list_models("vgg*"), 32)
# Those that must know height and width: with the classifier, or in any case.
FIXED_BY_THEIR_TOP = [*zoo.list_models("vgg*"), "alexnet"]
FIXED = ["shufflenet_v2"]
COMMON = {"classes": 3, "classifier_activation": None, "dropout": 0.3, "name": "renamed"}

LOAD_EVERYTHING = """
import json, sys
from pathlib import Path
import keras, numpy as np
differences = {}
for path in sorted(Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path)
    expected = np.load(path.with_suffix(".npz"))
    answers = keras.ops.convert_to_numpy(model(expected["x"], training=False))
    differences[path.stem] = float(np.abs(answers - expected["y"]).max())
print(json.dumps({"differences": differences, "kzoo": [m for m in sys.modules if m.split(".")[0] == "kzoo"]}))
"""


def example(shape: tuple[int, ...], batch: int, seed: int = 0) -> Any:
    """Give a batch: pixels for images, measurements in some unit for sequences."""
    rng = np.random.default_rng(seed)
    if len(shape) == 3:
        return rng.integers(0, 256, (batch, *shape)).astype("float32")
    return rng.normal(3.0, 2.0, (batch, *shape)).astype("float32")


def answers(model: keras.Model, x: Any) -> Any:
    """Ask a model once. Eagerly: tracing a graph of a hundred layers costs more than ten batches."""
    return keras.ops.convert_to_numpy(model(x, training=False))


def small_shape(name: str) -> tuple[int, ...]:
    side = SIDES.get(name, 16)
    return (side, side, 3) if zoo.CATALOG[name].task == "image" else (6, 4)


def test_every_family_is_looked_at() -> None:
    assert {zoo.CATALOG[name].family for name in NON_DEFAULT} == {record.family for record in zoo.CATALOG.values()}


@pytest.mark.parametrize("name", zoo.CATALOG)
def test_every_argument_is_documented(name: str) -> None:
    factory = getattr(zoo, name)
    documentation = inspect.getdoc(factory) or ""
    assert factory.__name__ == name and "{" not in documentation
    for argument in inspect.signature(factory).parameters:
        assert f"\n    {argument}: " in documentation, argument


def test_every_model_loads_where_kzoo_was_never_imported(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for name in NAMES:
        arguments = NON_DEFAULT.get(name, {"input_shape": small_shape(name)})
        model = zoo.create_model(name, **arguments, **COMMON)
        assert model.name == "renamed"
        x = example(arguments["input_shape"], batch=3)
        if zoo.CATALOG[name].task == "sequence":
            model.get_layer("normalization").adapt(x)
        for weight in model.trainable_weights:
            weight.assign(weight.numpy() + rng.normal(0, 0.02, weight.shape))
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", x=x, y=answers(model, x))
    command = [sys.executable, "-c", LOAD_EVERYTHING, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["kzoo"] == []
    assert answer["differences"].keys() == set(NAMES)
    assert max(answer["differences"].values()) < 1e-6, answer


@pytest.mark.parametrize("name", NAMES)
def test_one_gradient_step_lowers_the_loss(name: str) -> None:
    keras.utils.set_random_seed(11)
    model = zoo.create_model(name, input_shape=small_shape(name), classes=3)
    x, y = example(small_shape(name), batch=12), np.arange(12) % 3
    if zoo.CATALOG[name].task == "sequence":
        model.get_layer("normalization").adapt(x)
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    # Eager: tracing a graph for two steps costs more than the steps.
    model.compile(keras.optimizers.SGD(0.0001), "sparse_categorical_crossentropy", run_eagerly=True)
    first, second = (float(model.train_on_batch(x, y)) for _ in range(2))
    assert second < first
    for weight, old in zip(model.trainable_weights, before, strict=True):
        if "kernel" in weight.path:
            assert np.abs(weight.numpy() - old).max() > 0, f"{weight.path} is not trained"


@pytest.mark.parametrize("name", NAMES)
def test_features_without_the_classifier(name: str) -> None:
    shape = small_shape(name)
    x = example(shape, batch=2)
    full = zoo.create_model(name, input_shape=shape, include_top=False)
    features = answers(full, x)
    axes = tuple(range(1, features.ndim - 1))
    assert features.ndim == len(shape) + 1
    poolings = {"avg": features.mean(axis=axes), "max": features.max(axis=axes)}
    if name == "lstm":
        poolings["last"] = features[:, -1]
    for pooling, expected in poolings.items():
        model = zoo.create_model(name, input_shape=shape, include_top=False, pooling=pooling)
        model.set_weights(full.get_weights())
        if zoo.CATALOG[name].task == "sequence":
            model.get_layer("normalization").finalize_state()
        np.testing.assert_allclose(answers(model, x), expected, atol=1e-5 * np.abs(expected).max())
    assert "predictions" not in [layer.name for layer in full.layers]


@pytest.mark.parametrize("name", NAMES)
def test_odd_inputs(name: str) -> None:
    image = zoo.CATALOG[name].task == "image"
    side = SIDES.get(name, 16)
    shapes = [(side + 21, side + 13, 1), (side + 51, side + 85, 4)] if image else [(1, 3), (13, 1)]
    for shape in shapes:
        model = zoo.create_model(name, input_shape=shape, classes=5)
        x = example(shape, batch=3)
        together = answers(model, x)
        assert together.shape == (3, 5)
        np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(answers(model, x[1:2]), together[1:2], atol=1e-5)
    one_class = zoo.create_model(name, input_shape=shapes[0], classes=1, classifier_activation="sigmoid")
    probability = answers(one_class, example(shapes[0], batch=1))
    assert probability.shape == (1, 1) and 0 <= probability[0, 0] <= 1


@pytest.mark.parametrize("name", [name for name in NAMES if zoo.CATALOG[name].task == "image"])
def test_smallest_images(name: str) -> None:
    with pytest.raises(ValueError, match=r"too small.*Received.*\(1, 1, 3\).*Resize") as refused:
        zoo.create_model(name, input_shape=(1, 1, 3))
    smallest = int(str(refused.value).split("at least ")[1].split("x")[0])
    with pytest.raises(ValueError, match=rf"too small.*at least {smallest}x{smallest}"):
        zoo.create_model(name, input_shape=(max(40, smallest), smallest - 1, 3))
    model = zoo.create_model(name, input_shape=(smallest, smallest, 3), classes=2)
    assert np.isfinite(answers(model, example((smallest, smallest, 3), batch=2))).all()


@pytest.mark.parametrize(
    ("name", "small", "large"),
    [
        ("resnet18", (8, 10), (3, 3)),
        ("mobilenet_v2", (8, 10), (3, 3)),
        ("shufflenet_v2", (8, 10), (3, 3)),
        # Poolings without padding leave out a last odd row.
        ("googlenet", (8, 10), (2, 3)),
        ("densenet121", (8, 10), (2, 3)),
        ("squeezenet", (15, 19), (4, 5)),
        ("alexnet", (7, 9), (1, 2)),
    ],
)
def test_up_to_64_pixels_the_network_divides_less_than_beyond(
    name: str, small: tuple[int, int], large: tuple[int, int]
) -> None:
    with keras.StatelessScope(initialize_variables=False):
        models = [zoo.create_model(name, input_shape=(*size, 3), include_top=False) for size in ((64, 80), (65, 96))]
    assert [model.output_shape[1:3] for model in models] == [small, large]


def test_inception_v3_has_its_small_stem_up_to_74_pixels() -> None:
    with keras.StatelessScope(initialize_variables=False):
        models = [zoo.inception_v3(input_shape=(side, 80, 3), include_top=False) for side in (74, 75)]
    assert [model.output_shape[1:3] for model in models] == [(17, 19), (1, 1)]


def test_lenet5_frames_small_images_with_zeros() -> None:
    framed = zoo.lenet5(input_shape=(28, 31, 1))
    whole = zoo.lenet5()
    framed.set_weights(whole.get_weights())
    x = example((28, 31, 1), batch=2)
    padded = np.pad(x, ((0, 0), (2, 2), (0, 1), (0, 0)))
    np.testing.assert_allclose(answers(framed, x), answers(whole, padded), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in [*FIXED, "attention"]])
def test_sizes_known_only_when_called(name: str) -> None:
    image = zoo.CATALOG[name].task == "image"
    shape = (None, None, 3) if image else (None, 4)
    arguments = {"include_top": False} if name in FIXED_BY_THEIR_TOP else {"classes": 2}
    model = zoo.create_model(name, input_shape=shape, **arguments)
    fixed = zoo.create_model(name, input_shape=(76, 80, 3) if image else (6, 4), **arguments)
    model.set_weights(fixed.get_weights())
    x = example(fixed.input_shape[1:], batch=2)
    np.testing.assert_allclose(answers(model, x), answers(fixed, x), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_stock_and_known_to_the_bridge(name: str) -> None:
    tf_keras = pytest.importorskip("tf_keras")
    model = zoo.create_model(name, input_shape=small_shape(name), dropout=0.1)
    for layer in model.layers:
        kind = type(layer).__name__
        assert getattr(keras.layers, kind) is type(layer)
        assert hasattr(tf_keras.layers, kind)
    first = model.layers[1]
    assert first.name == ("rescaling" if zoo.CATALOG[name].task == "image" else "normalization")


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
    np.testing.assert_array_equal(answers(copy, x), answers(source, x))
    features = zoo.resnet8(input_shape=(8, 8, 1), include_top=False, weights=str(path))
    for weight, expected in zip(features.get_weights(), source.get_weights(), strict=False):
        np.testing.assert_array_equal(weight, expected)
    with pytest.raises(ValueError, match=r"do not fit 'resnet8'.*Received: weights=.*digits\.weights\.h5"):
        zoo.resnet8(input_shape=(8, 8, 1), classes=4, weights=path)
    path.write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match="do not fit"):
        zoo.resnet8(weights=path)
