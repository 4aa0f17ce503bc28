"""What is done to the converter's file: the same model in fewer bytes, and one that the CPU delegate takes whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.lite.python import schema_py_generated as schema

from kzoo.export import LiteModel, check, export_model, read_tflite
from kzoo.export._compact import compact
from kzoo.export.flatbuffer_edit import metadata_entries
from kzoo.export.tensor_names import layers_in_name, short_name

from .conftest import trained

if TYPE_CHECKING:
    from .conftest import Digits, Exports

layers = keras.layers
Plain = Callable[[str], bytes]


@pytest.fixture(scope="module")
def plain() -> Plain:
    """A small model as the converter alone writes it."""
    tf_keras.utils.set_random_seed(0)
    stock = tf_keras.layers
    x = inputs = stock.Input((8, 8, 3), batch_size=1)
    for number in range(3):
        x = stock.DepthwiseConv2D(3, padding="same", activation="relu", name=f"depthwise{number}")(x)
        x = stock.Conv2D(128, 1, activation="relu6", name=f"pointwise{number}")(x)
    model = tf_keras.Model(inputs, stock.Dense(10)(stock.GlobalAveragePooling2D()(x)), name="model")

    def samples() -> Iterator[list[np.ndarray]]:
        rng = np.random.default_rng(0)
        return ([rng.uniform(size=(1, 8, 8, 3)).astype(np.float32)] for _ in range(8))

    def convert(quantize: str) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [] if quantize == "fp32" else [tf.lite.Optimize.DEFAULT]
        if quantize == "int8":
            converter.representative_dataset = samples
        return bytes(converter.convert())

    return convert


@pytest.mark.parametrize(("quantize", "share"), [("fp32", 1.0), ("dynamic", 0.97), ("int8", 0.9)])
def test_the_same_model_in_fewer_bytes(plain: Plain, tmp_path: Path, quantize: str, share: float) -> None:
    content = plain(quantize)
    smaller = compact(schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)))
    assert len(smaller) < share * len(content)
    kept, whole = metadata_entries(smaller), metadata_entries(content)
    assert kept == {"min_runtime_version": whole["min_runtime_version"]}
    before, after = tmp_path / "before.tflite", tmp_path / "after.tflite"
    before.write_bytes(content)
    after.write_bytes(smaller)
    one, other = read_tflite(before), read_tflite(after)
    assert one.operators == other.operators
    assert (one.inputs, one.outputs) == (other.inputs, other.outputs)
    for theirs, ours in zip(one.tensors, other.tensors, strict=True):
        assert layers_in_name(ours.name) == layers_in_name(theirs.name)
        assert [getattr(ours, each) for each in FACTS] == [getattr(theirs, each) for each in FACTS]
    x = np.random.default_rng(1).uniform(size=(10, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(LiteModel(after).predict(x), LiteModel(before).predict(x))


FACTS = ("shape", "dtype", "scale", "zero_point", "channels", "channel_axis", "constant_size", "is_variable")


def test_names_of_a_loop_that_is_written_out_grow_with_its_steps() -> None:
    def length(steps: int) -> int:
        inputs = tf_keras.Input((steps, 3), batch_size=1)
        model = tf_keras.Model(inputs, tf_keras.layers.GRU(4, unroll=True, name="gru")(inputs), name="model")
        content = bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        written = compact(schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)))
        graph = schema.ModelT.InitFromObj(schema.Model.GetRootAs(written)).subgraphs[0]
        names = [tensor.name for tensor in graph.tensors]
        assert len(set(names)) == len(names)
        return sum(map(len, names))

    assert length(64) < 10 * length(8)


def test_names_of_tensors_stay_different(plain: Plain) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(plain("int8")))
    compact(model)
    names = [tensor.name for tensor in model.subgraphs[0].tensors]
    assert len(set(names)) == len(names)


def test_constants_stand_where_a_microcontroller_can_read_them(exports: Exports) -> None:
    """At multiples of 16, as the schema wants them."""
    for result in exports.each().values():
        content = np.frombuffer(result.path.read_bytes(), np.uint8)
        model = schema.Model.GetRootAs(content.tobytes())
        root = schema.Model.GetRootAs(content)
        filled = [root.Buffers(index).DataAsNumpy() for index in range(model.BuffersLength())]
        places = [data.ctypes.data - content.ctypes.data for data in filled if isinstance(data, np.ndarray)]
        assert len(places) > 5
        assert [place % 16 for place in places] == [0] * len(places)


def test_a_short_name_says_each_layer_once() -> None:
    long = "model/act/Relu;model/conv/BiasAdd/ReadVariableOp;model/conv/BiasAdd;model/conv/Conv2D1"
    short = short_name(long)
    assert short == "model/act/Relu;model/conv/BiasAdd/ReadVariableOp"
    assert layers_in_name(short) == layers_in_name(long) == ("act", "conv")
    assert short_name("model/a/Mul;model/b/Add;model/a/Sub") == "model/a/Mul;model/b/Add"
    assert short_name("StatefulPartitionedCall:0") == "StatefulPartitionedCall:0"


def test_without_being_unpacked_depthwise_weights_divide_a_dynamic_file(plain: Plain, tmp_path: Path) -> None:
    """Once this fails, `unpack_depthwise_kernels` can go."""
    path = tmp_path / "plain.tflite"
    path.write_bytes(plain("dynamic"))
    assert {place.operator for place in check(path).xnnpack.outside} == {"DEPTHWISE_CONV_2D"}


def test_a_dynamic_file_with_depthwise_convolutions_is_one_part(digits: Digits, target: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(128, 3, activation="relu"),
            layers.DepthwiseConv2D(3, name="first"),
            layers.DepthwiseConv2D(3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    trained(model, digits.train, digits.train_labels, epochs=4)
    result = export_model(model, target, quantize="dynamic", verification=(digits.test, digits.test_labels))
    assert result.xnnpack_partitions == 1
    assert {each.name: each.count for each in result.operators}["DEQUANTIZE"] == 2
    assert result.min_runtime_version is not None
    assert tuple(map(int, result.min_runtime_version.split("."))) >= (2, 7)
    assert check(result.path).findings == ()
    # Both kernels are int8 in the file, and as good as in float.
    weights = [each for each in read_tflite(result.path).tensors if each.is_constant and each.shape == (1, 3, 3, 128)]
    assert {(each.dtype, each.channels) for each in weights} == {("int8", 128)}
    assert len(weights) == 2
    assert result.parity.max_difference < 0.05


def test_small_kernels_of_a_dynamic_file_are_int8(cnn: keras.Model, digits: Digits, target: Path) -> None:
    """The converter leaves both kernels of the small CNN in float."""
    result = export_model(cnn, target, quantize="dynamic", verification=(digits.test, digits.test_labels))
    kernels = {each.shape: each for each in read_tflite(target).tensors if each.is_constant and len(each.shape) == 4}
    assert set(kernels) == {(8, 3, 3, 1), (8, 3, 3, 8)}
    assert {(each.dtype, each.channels, each.channel_axis) for each in kernels.values()} == {("int8", 8, 0)}
    assert result.parity.max_difference < 0.05
    assert result.xnnpack_partitions == 1
    assert check(target).findings == ()


def test_one_step_a_tensor_keeps_small_kernels_in_float(cnn: keras.Model, digits: Digits, target: Path) -> None:
    real = {"verification": (digits.test, digits.test_labels)}
    export_model(cnn, target, quantize="dynamic", per_tensor="all", **real)
    assert not any(each.channels for each in read_tflite(target).tensors)
