"""Every precision on trained models and real data: what the file is made of, and what it answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from kzoo.errors import ExportError, UsageError
from kzoo.export import ExportResult, LiteModel, export_model, read_tflite

from .conftest import trained

if TYPE_CHECKING:
    from .conftest import Digits, Exports

layers = keras.layers
Export = Callable[..., ExportResult]


@pytest.fixture
def export_cnn(cnn: keras.Model, digits: Digits, target: Path) -> Export:
    def export(**arguments: Any) -> ExportResult:
        real = {"calibration": digits.train[:200], "verification": (digits.test, digits.test_labels)}
        return export_model(cnn, target, overwrite=True, **{**real, **arguments})

    return export


@pytest.fixture
def export_rows(digits: Digits, target: Path) -> Callable[..., ExportResult]:
    """Export a model of the digits' rows."""

    def export(model: keras.Model, **arguments: Any) -> ExportResult:
        train, test = digits.train[..., 0].astype(np.float32), digits.test[..., 0].astype(np.float32)
        real = {"calibration": train[:200], "verification": (test, digits.test_labels)}
        return export_model(model, target, overwrite=True, **{**real, **arguments})

    return export


def rows_model(digits: Digits, *middle: keras.layers.Layer, epochs: int = 12) -> keras.Model:
    keras.utils.set_random_seed(0)
    ends = layers.Dense(10, activation="softmax", name="probabilities")
    model = keras.Sequential([keras.Input((8, 8), name="rows"), layers.Rescaling(1 / 255), *middle, ends])
    return trained(model, digits.train[..., 0], digits.train_labels, epochs=epochs)


@pytest.fixture(scope="module")
def gru(digits: Digits) -> keras.Model:
    return rows_model(digits, layers.GRU(128))


def kinds(result: ExportResult) -> set[str]:
    return {operator.name for operator in result.operators}


def types(result: ExportResult) -> list[str]:
    return [tensor.dtype for tensor in (*result.inputs, *result.outputs)]


def test_half_precision_halves_the_file(export_cnn: Export, exports: Exports) -> None:
    result = export_cnn(quantize="fp16")
    assert "float32" not in result.constants
    assert result.constants["float16"] == exports.cnn_fp32.constants["float32"] / 2 > 0
    assert types(result) == ["float32", "float32"]
    assert 0 < result.parity.max_difference < 5e-3
    assert result.calibration is None


def test_dynamic_range_quantises_weights_only(export_rows: Export, digits: Digits) -> None:
    model = rows_model(digits, layers.Flatten(), layers.Dense(64, activation="relu"), epochs=6)
    result = export_rows(model, quantize="dynamic")
    assert types(result) == ["float32", "float32"]
    assert result.size < 0.5 * export_rows(model).size
    assert result.drop <= 0.01


@pytest.mark.parametrize(("quantize", "smaller"), [("fp16", 0.7), ("dynamic", 0.6), ("int8", 0.6), ("int16x8", 0.6)])
def test_a_gru_is_quantised_in_every_precision(
    export_rows: Export, gru: keras.Model, quantize: str, smaller: float
) -> None:
    """Its loop would keep its weights in float and say nothing: it is written out step by step."""
    result = export_rows(gru, quantize=quantize)
    assert "WHILE" not in kinds(result)
    assert result.size < smaller * export_rows(gru).size
    assert result.drop <= 0.01


@pytest.mark.parametrize(
    ("io", "step"), [("int8", (1.0, -128)), ("uint8", (1.0, 0)), ("float32", None)], ids=lambda value: str(value)
)
def test_inputs_and_outputs_are_of_the_type_asked_for(
    export_cnn: Export, exports: Exports, digits: Digits, io: Any, step: tuple[float, int] | None
) -> None:
    result = export_cnn(quantize="int8", io=io)
    assert types(result) == [io, io]
    assert result.float_operators == ()
    lite = LiteModel(result.path)
    assert lite.input_quantization == step
    # All three compute the same in between.
    np.testing.assert_array_equal(
        lite.predict(digits.test[:60]), LiteModel(exports.cnn_int8.path).predict(digits.test[:60])
    )


def test_an_app_feeds_uint8_pixels_without_touching_them(export_cnn: Export, digits: Digits, cnn: keras.Model) -> None:
    from ai_edge_litert.interpreter import Interpreter

    result = export_cnn(quantize="int8", io="uint8")
    runner = Interpreter(model_path=str(result.path)).get_signature_runner("serving_default")
    raw = np.concatenate([runner(image=image[np.newaxis])["probabilities"] for image in digits.test[:100]])
    expected = cnn.predict(digits.test[:100].astype(np.float32), verbose=0)
    assert np.abs(raw / 256 - expected).max() < 0.05
    assert (raw.argmax(-1) == expected.argmax(-1)).mean() >= 0.99


def test_sixteen_bits_come_nearer_than_eight(export_cnn: Export, exports: Exports) -> None:
    result = export_cnn(quantize="int16x8")
    assert types(result) == ["int16", "int16"]
    assert result.float_operators == ()
    assert result.parity.mean_difference < exports.cnn_int8.parity.mean_difference


def test_sixteen_bits_with_layer_normalisation_run(export_rows: Export, digits: Digits) -> None:
    inputs = keras.Input((8, 8), name="rows")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.LayerNormalization()(layers.Dense(16)(x))
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)])
    outputs = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    keras.utils.set_random_seed(0)
    model = trained(keras.Model(inputs, outputs), digits.train[..., 0], digits.train_labels, epochs=8)
    result = export_rows(model, quantize="int16x8", max_drop=0.02)
    assert "SQUARED_DIFFERENCE" not in kinds(result)
    assert result.float_operators == ()


PLAIN = """
import sys
import numpy as np, tensorflow as tf, tf_keras
x = tf_keras.Input((6, 8), batch_size=1)
model = tf_keras.Model(x, getattr(tf_keras.layers, sys.argv[2])(*map(int, sys.argv[4:]))(x))
converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([np.random.rand(1, 6, 8).astype("float32")] for _ in range(8))
converter.target_spec.supported_ops = [tf.lite.OpsSet[sys.argv[3]]]
open(sys.argv[1], "wb").write(converter.convert())
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
interpreter.invoke()
"""


def plainly_converted(path: Path, *arguments: str) -> int:
    """Exit status of a process that converts one layer without kzoo and runs the file."""
    command = [sys.executable, "-c", PLAIN, str(path), *arguments]
    return subprocess.run(command, capture_output=True, timeout=300).returncode


def test_without_the_workaround_such_a_file_is_written_and_does_not_run(tmp_path: Path) -> None:
    """https://github.com/google-ai-edge/LiteRT/issues/4383: once this fails, int16x8 needs no workaround."""
    path = tmp_path / "plain.tflite"
    bits = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
    assert plainly_converted(path, "LayerNormalization", bits) != 0
    assert path.stat().st_size > 0


def test_without_being_written_out_a_gru_ends_the_process(tmp_path: Path) -> None:
    """https://github.com/tensorflow/tensorflow/issues/75140: once this fails, int8 GRUs can stay loops."""
    path = tmp_path / "plain.tflite"
    assert plainly_converted(path, "GRU", "TFLITE_BUILTINS_INT8", "4") < 0
    assert plainly_converted(path, "LSTM", "TFLITE_BUILTINS_INT8", "4") == 0


def test_what_has_no_kernel_in_sixteen_bits_stays_in_float_and_is_named(export_cnn: Export, digits: Digits) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, name="conv"),
            layers.PReLU(name="slope"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ]
    )
    trained(model, digits.train, digits.train_labels, epochs=4)
    export = {"calibration": digits.train[:100], "verification": (digits.test, digits.test_labels)}
    path = export_cnn().path.with_name("prelu.tflite")
    result = export_model(model, path, quantize="int16x8", **export)
    assert [str(each) for each in result.float_operators] == ["PRELU (slope)"]
    assert types(result) == ["int16", "int16"]


def test_an_lstm_in_sixteen_bits_is_refused_with_what_can_be_had(lstm: keras.Model, export_rows: Export) -> None:
    with pytest.raises(ExportError, match=r"int16x8 is not possible with LSTM layers \(lstm\w*\).*int8, dynamic, fp16"):
        export_rows(lstm, quantize="int16x8")
    bidirectional = keras.Sequential([keras.Input((8, 8)), layers.Bidirectional(layers.LSTM(3), name="both")])
    with pytest.raises(ExportError, match=r"\(both\)"):
        export_rows(bidirectional, quantize="int16x8")


@pytest.mark.parametrize("quantize", ["fp16", "dynamic"])
def test_an_lstm_is_fused_in_every_other_precision(lstm: keras.Model, export_rows: Export, quantize: str) -> None:
    result = export_rows(lstm, quantize=quantize)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in kinds(result)
    assert result.stateful
    assert result.drop <= 0.01


def test_a_masked_lstm_answers_alike_however_much_is_padding(target: Path) -> None:
    """Token ids of several lengths, padded with zeros; the file must skip the padding as the model does."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((10,), dtype="int32", name="tokens")
    x = layers.LSTM(12)(layers.Embedding(20, 8, mask_zero=True)(tokens))
    model = keras.Model(tokens, layers.Dense(4, activation="softmax")(x))
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 20, (400, 10)).astype(np.int32)
    ids[np.arange(10) >= rng.integers(1, 11, 400)[:, np.newaxis]] = 0
    trained(model, ids, ids.max(axis=1) // 5, epochs=25)
    result = export_model(model, target, verification=(ids, ids.max(axis=1) // 5))
    assert result.accuracy_keras > 0.9
    assert result.parity.max_difference < 1e-5
    assert result.inputs[0].dtype == "int32"
    lite = LiteModel(result.path)
    short = np.array([[7, 3, 0, 0, 0, 0, 0, 0, 0, 0]], np.int32)
    np.testing.assert_allclose(lite.predict(short), model.predict(short, verbose=0), atol=1e-6)
    integers = export_model(
        model, target, quantize="int8", calibration=ids, verification=(ids, None), max_drop=0.02, overwrite=True
    )
    assert [each.dtype for each in (*integers.inputs, *integers.outputs)] == ["int32", "int8"]


def test_layers_that_stay_in_float_are_those_named(export_cnn: Export) -> None:
    result = export_cnn(quantize="int8", keep_float=["probabilities"])
    assert result.keep_float == ("probabilities",)
    assert {each.name for each in result.float_operators} == {"FULLY_CONNECTED"}
    assert {each.layer for each in result.float_operators} == {"probabilities"}
    assert types(result) == ["int8", "int8"]


def test_one_step_a_tensor_where_it_is_asked_for(export_cnn: Export, exports: Exports) -> None:
    def steps(path: Path) -> dict[str, int]:
        """How many steps the weights of each kind of operator have, read by TensorFlow Lite itself."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path))
        details = {each["index"]: each for each in interpreter.get_tensor_details()}
        return {
            operator.name: max(
                len(details[index]["quantization_parameters"]["scales"]) for index in operator.inputs[1:2]
            )
            for operator in read_tflite(path).operators
            if operator.name in ("CONV_2D", "FULLY_CONNECTED")
        }

    assert steps(exports.cnn_int8.path) == {"CONV_2D": 8, "FULLY_CONNECTED": 10}
    assert steps(export_cnn(quantize="int8", per_tensor="dense").path) == {"CONV_2D": 8, "FULLY_CONNECTED": 1}
    assert steps(export_cnn(quantize="int8", per_tensor="all").path) == {"CONV_2D": 1, "FULLY_CONNECTED": 1}


def test_the_layer_report_names_the_layer_that_loses(digits: Digits, target: Path) -> None:
    """One channel a thousand times larger than the others: with one step a tensor, the others round to nothing."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, activation="relu", name="fine")(x)
    x = layers.Conv2D(8, 3, name="broken")(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax", name="end")(layers.Flatten()(x)))
    trained(model, digits.train, digits.train_labels, epochs=4)
    kernel, bias = model.get_layer("broken").get_weights()
    kernel[..., 0] *= 1000
    model.get_layer("broken").set_weights([kernel, bias])
    dense, rest = model.get_layer("end").get_weights()
    dense.reshape(4, 4, 8, 10)[:, :, 0] /= 1000
    model.get_layer("end").set_weights([dense, rest])
    result = export_model(
        model,
        target,
        quantize="int8",
        per_tensor="all",
        calibration=digits.train[:100],
        verification=(digits.test, None),
        max_drop=1,
        layer_report=True,
    )
    assert result.layers is not None
    found = {each.layer: each for each in result.layers}
    assert result.layers[0].layer in ("broken", "end")
    assert found["broken"].operator == "CONV_2D"
    assert found["fine"].error < 0.05
    assert found["end"].error > 5 * found["fine"].error
    assert json.loads(result.sidecar.read_text())["layers"][0]["layer"] == result.layers[0].layer


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"quantize": "fp32", "io": "int8"}, UsageError, "Expected inputs and outputs of float32 for fp32"),
        ({"quantize": "int8", "io": "int16"}, UsageError, "int8 or uint8 or float32 for int8"),
        ({"quantize": "fp16", "keep_float": ["conv2d"]}, UsageError, "for int8 only"),
        (
            {"quantize": "int8", "keep_float": ["probabilites"]},
            UsageError,
            "'probabilites'. Did you mean probabilities",
        ),
        ({"quantize": "fp32", "per_tensor": "all"}, UsageError, "per_tensor"),
        ({"quantize": "int8", "per_tensor": "some"}, UsageError, "none, dense, all"),
        ({"quantize": "int16x8", "calibration": None}, ExportError, "Expected calibration data for int16x8"),
        ({"quantize": "int8", "calibration": np.full((9, 8, 8, 1), 7)}, ExportError, "7 everywhere for 'image'"),
        (
            {"quantize": "int8", "calibration": np.random.default_rng(0).uniform(0, 255, (64, 8, 8, 1))},
            ExportError,
            "noise for 'image'",
        ),
        ({"verification": (np.zeros((9, 8, 8, 1)), np.zeros(8))}, ExportError, r"one label a sample, shape=\(9,\)"),
        ({"verification": (np.zeros((9, 8, 8, 1)), np.full(9, 10))}, ExportError, "labels from 0 to 9"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_converted(
    export_cnn: Export,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    error: Any,
    message: str,
) -> None:
    monkeypatch.setattr("kzoo.export.exporter.convert_in_child", lambda *_, **__: pytest.fail("converted"))
    with pytest.raises(error, match=message) as caught:
        export_cnn(**arguments)
    assert "\n" not in str(caught.value)
    assert not list(target.parent.iterdir())
