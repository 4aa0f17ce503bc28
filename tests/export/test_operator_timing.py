"""Where a file's time goes, and how much it multiplies: every operator is there, and the heavy one is seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import models
from kzoo.errors import ExportError, UsageError
from kzoo.export import (
    FileMacs,
    benchmark_many,
    count_file_macs,
    export_model,
    operator_timing,
    profile_operators,
    read_tflite,
    timing,
)
from kzoo.export.file_macs import operator_macs
from kzoo.models import count_macs

if TYPE_CHECKING:
    from .conftest import Exports

layers = keras.layers


def converted(path: Path, model: keras.Model, **settings: Any) -> Path:
    """A file of the bare converter, for models and precisions that are not kzoo's."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def heavy() -> keras.Model:
    """Its second convolution multiplies some thousand times as often as the others."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(128, 1, name="light")(inputs)
    x = layers.Conv2D(128, 5, padding="same", name="heavy")(x)
    return keras.Model(inputs, layers.Conv2D(1, 1, name="thin")(x))


# ---------------------------------------------------------------------------------------------------------------------
# Time


@pytest.mark.parametrize("name", ["cnn_fp32", "cnn_int8", "lstm_fp32", "lstm_int8"])
def test_every_operator_is_timed(exports: Exports, name: str) -> None:
    path = exports.each()[name].path
    profile = profile_operators(path)
    file = read_tflite(path)
    assert [each.name for each in profile.operators] == [operator.name for operator in file.operators]
    assert [each.position for each in profile.operators] == list(range(len(file.operators)))
    assert [each.shape for each in profile.operators] == [
        file.tensors[operator.outputs[0]].shape for operator in file.operators
    ]
    assert all(each.time_ms > 0 and not each.note for each in profile.operators)
    assert sum(each.share for each in profile.operators) == pytest.approx(1)
    assert profile.sum_ms == pytest.approx(sum(each.time_ms for each in profile.operators))
    assert sum(each.macs for each in profile.operators) == count_file_macs(file).macs
    assert profile.whole_ms > profile.overhead_ms > 0
    assert profile.runs >= 10


def test_the_heavy_operator_has_the_largest_share(heavy: keras.Model, target: Path) -> None:
    profile = profile_operators(converted(target, heavy))
    shares = [each.share for each in profile.operators]
    heaviest = max(profile.operators, key=lambda each: each.macs)
    assert heaviest.macs > 1000 * min(each.macs for each in profile.operators if each.macs)
    assert heaviest.share == max(shares)
    assert heaviest.share > 10 * sorted(shares)[-2]


def test_padding_counts_as_what_it_adds_to_its_convolution(target: Path) -> None:
    """Alone this PAD takes some four times as long as the convolution that the runtime merges it into."""
    inputs = keras.Input((96, 96, 3))
    x = layers.ZeroPadding2D(1)(inputs)
    outputs = layers.Conv2D(32, 3, strides=2, padding="valid")(x)
    padding, convolution = profile_operators(converted(target, keras.Model(inputs, outputs))).operators
    assert (padding.name, convolution.name) == ("PAD", "CONV_2D")
    assert padding.share < convolution.share


def test_unpacked_weights_belong_to_those_that_read_them(heavy: keras.Model, target: Path) -> None:
    """A float16 file unpacks its weights with operators of their own, which the runtime folds away."""
    half = tf.lite.TargetSpec(supported_types=[tf.float16])
    profile = profile_operators(converted(target, heavy, optimizations=[tf.lite.Optimize.DEFAULT], target_spec=half))
    unpacking = [each for each in profile.operators if each.name == "DEQUANTIZE"]
    assert len(unpacking) >= 3
    assert all(each.time_ms is None and each.note == "once only, before the others" for each in unpacking)
    assert max(profile.operators, key=lambda each: each.share or 0).macs == 16 * 16 * 128 * 128 * 25


class Counter(tf.Module):
    """A loop of five steps, and a sum that is kept from one call to the next."""

    def __init__(self) -> None:
        self.sum = tf.Variable(tf.zeros((1, 4)))

    @tf.function(input_signature=[tf.TensorSpec((1, 4))])
    def step(self, x: tf.Tensor) -> tf.Tensor:
        self.sum.assign_add(x)
        step = lambda number, y: (number + 1, tf.matmul(y, tf.eye(4)))  # noqa: E731
        return tf.while_loop(lambda number, y: number < 5, step, [0, x])[1] + self.sum


def test_loops_and_variables(target: Path) -> None:
    counter = Counter()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([counter.step.get_concrete_function()], counter)
    converter.experimental_enable_resource_variables = True
    target.write_bytes(converter.convert())
    profile = profile_operators(target)
    timed = {each.name for each in profile.operators if each.time_ms is not None}
    assert {"WHILE", "READ_VARIABLE", "ASSIGN_VARIABLE", "ADD"} <= timed
    assert {each.name: each.note for each in profile.operators if each.note} == dict.fromkeys(
        ["CALL_ONCE", "VAR_HANDLE"], "once only, before the others"
    )
    assert count_file_macs(read_tflite(target)).uncounted == ("WHILE",)


def test_operators_share_the_memory_that_there_is(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that do not fit into memory together are timed in groups."""
    monkeypatch.setattr(operator_timing, "_MOST_BYTES", exports.cnn_fp32.size)
    profile = profile_operators(exports.cnn_fp32.path)
    assert all(each.time_ms > 0 for each in profile.operators)
    assert sum(each.share for each in profile.operators) == pytest.approx(1)


def test_wrong_files_and_runtimes(tmp_path: Path, exports: Exports) -> None:
    with pytest.raises(ExportError, match="not a file"):
        profile_operators(tmp_path / "absent.tflite")
    with pytest.raises(UsageError, match="Did you mean litert"):
        profile_operators(exports.cnn_fp32.path, runtime="liter")


def test_profiling_needs_a_runtime_only(exports: Exports) -> None:
    code = """
import sys
for name in ("tensorflow", "keras", "tf_keras", "jax", "pydantic", "flatbuffers", "yaml", "sklearn"):
    sys.modules[name] = None
from kzoo.export import profile_operators, read_metadata
assert profile_operators(sys.argv[1]).sum_ms > 0
assert read_metadata(sys.argv[1]) is None
"""
    command = [sys.executable, "-c", code, str(exports.cnn_int8.path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_ratios_are_those_of_the_turns(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that gets slower and slower: the ratio stays what it is."""
    speed = iter(np.repeat(np.linspace(1, 30, 10), 2))
    cost = {exports.cnn_int8.path: 0.002, exports.cnn_fp32.path: 0.004}

    def slower(model: Any, runs: int) -> list[float]:
        return [cost[model.path] * (next(speed) if runs > 1 else 1)] * runs

    monkeypatch.setattr(timing, "_timed", slower)
    first, second = benchmark_many([exports.cnn_int8.path, exports.cnn_fp32.path], runs=20)
    assert first.ratio is None
    assert (second.ratio.median, second.ratio.low, second.ratio.high) == pytest.approx((2, 2, 2))
    assert first.p50_ms < first.p90_ms < first.p99_ms == pytest.approx(60)
    assert second.p50_ms / first.p50_ms == pytest.approx(2)


def test_ratios_of_a_single_run(exports: Exports) -> None:
    _, other = benchmark_many([exports.cnn_int8.path, exports.cnn_int8.path], runs=1)
    assert other.ratio.low == other.ratio.median == other.ratio.high > 0


# ---------------------------------------------------------------------------------------------------------------------
# Multiply-accumulates


def test_macs_are_those_of_the_keras_model(exports: Exports, cnn: keras.Model, lstm: keras.Model) -> None:
    for model, results in ((cnn, (exports.cnn_fp32, exports.cnn_int8)), (lstm, (exports.lstm_fp32, exports.lstm_int8))):
        for result in results:
            assert count_file_macs(read_tflite(result.path)) == FileMacs(count_macs(model), uncounted=())


@pytest.mark.slow(15)
@pytest.mark.parametrize(
    ("name", "shape"), [("resnet8", (32, 32, 3)), ("mobilenet_v2", (64, 64, 3)), ("attention", (24, 5))]
)
def test_macs_of_the_zoo(name: str, shape: tuple[int, ...], target: Path) -> None:
    model = getattr(models, name)(input_shape=shape, classes=7)
    samples = np.random.default_rng(0).uniform(0, 1, (4, *shape)).astype(np.float32)
    export_model(model, target, verification=(samples, None), max_drop=1)
    assert count_file_macs(read_tflite(target)).macs == count_macs(model)


@pytest.mark.parametrize(
    ("layer", "shape", "operator"),
    [
        (layers.Conv2D(6, 3, groups=2, strides=2), (9, 9, 4), "CONV_2D"),
        (layers.DepthwiseConv2D((3, 2), depth_multiplier=2), (9, 8, 3), "DEPTHWISE_CONV_2D"),
        (layers.Conv2DTranspose(5, 3, strides=2, padding="same"), (6, 7, 4), "TRANSPOSE_CONV"),
        (layers.Conv3D(5, 3, padding="same"), (4, 5, 6, 2), "CONV_3D"),
        (layers.Dense(5), (7, 3), "FULLY_CONNECTED"),
    ],
)
def test_macs_of_a_layer(layer: keras.Layer, shape: tuple[int, ...], operator: str, target: Path) -> None:
    inputs = keras.Input(shape, batch_size=1)
    model = keras.Model(inputs, layer(inputs))
    file = read_tflite(converted(target, model))
    (counted,) = [each for each in file.operators if each.name == operator]
    assert operator_macs(file, counted) == count_macs(model) > 0
