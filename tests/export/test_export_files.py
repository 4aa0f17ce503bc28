"""The files of two trained models: what they are made of, and that they answer like the models on real data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from kzoo.errors import ExportError, UsageError
from kzoo.export import ExportResult, LiteModel, export_model, read_tflite

if TYPE_CHECKING:
    from .conftest import Digits, Exports

CNN_OPERATORS = {"CONV_2D", "ADD", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"}
LSTM_OPERATORS = {"UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "FULLY_CONNECTED", "SOFTMAX"}


def names(result: ExportResult) -> set[str]:
    return {operator.name for operator in result.operators}


def test_models_are_worth_exporting(exports: Exports) -> None:
    assert exports.cnn_fp32.accuracy_keras > 0.95
    assert exports.lstm_fp32.accuracy_keras > 0.9


def test_operators(exports: Exports) -> None:
    """The pixel scaling is gone, BatchNormalization is folded, the LSTM is fused."""
    assert names(exports.cnn_fp32) == names(exports.cnn_int8) == CNN_OPERATORS
    assert names(exports.lstm_fp32) == names(exports.lstm_int8) == LSTM_OPERATORS
    assert exports.cnn_int8.folded == ("rescaling",)
    assert exports.cnn_int8.float_operators == exports.lstm_int8.float_operators == ()
    assert exports.lstm_fp32.stateful and not exports.cnn_fp32.stateful


def test_float_files_answer_like_the_model(exports: Exports) -> None:
    for result in (exports.cnn_fp32, exports.lstm_fp32):
        assert result.parity.max_difference < 1e-5
        assert result.parity.agreement == 1
        assert result.drop == 0
        assert {tensor.dtype for tensor in (*result.inputs, *result.outputs)} == {"float32"}


def test_int8_files_lose_at_most_a_point(exports: Exports) -> None:
    for result in (exports.cnn_int8, exports.lstm_int8):
        assert result.drop <= 0.01
        assert result.parity.cosine > 0.995
        assert {tensor.dtype for tensor in (*result.inputs, *result.outputs)} == {"int8"}
        assert result.calibration.count == exports.CALIBRATION
    assert exports.lstm_int8.size < exports.lstm_fp32.size / 2


def test_an_app_feeds_pixels_as_they_are(exports: Exports, digits: Digits) -> None:
    """q = pixel - 128 through the bare interpreter is what `predict` gives for pixels 0-255."""
    from ai_edge_litert.interpreter import Interpreter

    result = exports.cnn_int8
    assert (result.inputs[0].scale, result.inputs[0].zero_point) == (1.0, -128)
    interpreter = Interpreter(model_path=str(result.path))
    runner = interpreter.get_signature_runner("serving_default")
    lite = LiteModel(result.path)
    for image in digits.test[:20]:
        raw = runner(image=(image[np.newaxis].astype(np.int16) - 128).astype(np.int8))["probabilities"]
        np.testing.assert_array_equal((raw.astype(np.float32) + 128) / 256, lite.predict(image[np.newaxis]))


def test_float_file_takes_the_same_pixels(exports: Exports, digits: Digits, cnn: keras.Model) -> None:
    answers = LiteModel(exports.cnn_fp32.path).predict(digits.test[:50])
    np.testing.assert_allclose(answers, cnn.predict(digits.test[:50], verbose=0), atol=1e-5)


def test_pixel_range_is_exact_whatever_the_calibration_holds(digits: Digits, cnn: keras.Model, target: Path) -> None:
    """Images that are neither black nor white anywhere: the range is pinned all the same."""
    dull = digits.train[:50] // 2 + 40
    result = export_model(cnn, target, quantize="int8", calibration=dull, verification=(digits.test, None), max_drop=1)
    assert (result.inputs[0].scale, result.inputs[0].zero_point) == (1.0, -128)
    assert result.calibration.pinned == ("image",)
    assert result.accuracy_keras is None
    assert result.drop == pytest.approx(1 - result.parity.agreement)


def test_order_of_samples_does_not_matter_to_a_recurrent_file(exports: Exports, digits: Digits) -> None:
    rows = digits.test[:30, ..., 0]
    for result in (exports.lstm_fp32, exports.lstm_int8):
        lite = LiteModel(result.path)
        together = lite.predict(rows)
        np.testing.assert_array_equal(together, lite.predict(rows[::-1])[::-1])
        np.testing.assert_array_equal(together[7:8], LiteModel(result.path).predict(rows[7:8]))


def test_signature_bears_the_layers_names(exports: Exports) -> None:
    signature = read_tflite(exports.cnn_int8.path).signature
    assert signature.key == "serving_default"
    assert (list(signature.inputs), list(signature.outputs)) == (["image"], ["probabilities"])


def test_sidecar_says_what_the_result_says(exports: Exports) -> None:
    for result in exports.each().values():
        assert result.sidecar == result.path.with_name(result.path.name + ".json")
        assert ExportResult.model_validate_json(result.sidecar.read_text()) == result
        content = result.path.read_bytes()
        facts = json.loads(result.sidecar.read_text())
        assert facts["sha256"] == hashlib.sha256(content).hexdigest()
        assert facts["size"] == len(content)
        assert facts["min_runtime_version"].count(".") == 2
        assert facts["details"] == {"data": {"name": "digits", "fingerprint": "abc"}}
        assert facts["classes"][3] == "3"


def test_an_existing_file_is_not_replaced(exports: Exports, digits: Digits, cnn: keras.Model) -> None:
    before = exports.cnn_fp32.path.read_bytes()
    with pytest.raises(ExportError, match="exists already"):
        export_model(cnn, exports.cnn_fp32.path, verification=(digits.test, None))
    assert exports.cnn_fp32.path.read_bytes() == before


def test_gate_keeps_a_bad_file_aside(digits: Digits, cnn: keras.Model, target: Path) -> None:
    """Calibrated with nearly black images the ranges are far too small."""
    target.write_bytes(b"an older file")
    with pytest.raises(ExportError, match=r"points of accuracy .* limit is 1\.00.*Calibrate") as caught:
        export_model(
            cnn,
            target,
            quantize="int8",
            calibration=(digits.train[:20] // 64).astype(np.float32),
            verification=(digits.test, digits.test_labels),
            overwrite=True,
        )
    assert caught.value.exit_status == 1
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"an older file"
    assert sorted(path.name for path in target.parent.iterdir()) == [
        "model.tflite",
        "model.tflite.rejected",
        "model.tflite.rejected.json",
    ]
    rejected = ExportResult.model_validate_json(target.with_name("model.tflite.rejected.json").read_text())
    assert rejected.drop > rejected.max_drop
    assert read_tflite(rejected.path).size == rejected.size


def test_mobilenet_v2_at_96_pixels(digits: Digits, target: Path) -> None:
    """keras.applications as it is, with BatchNormalization statistics that matter: only builtin operators come out."""
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=5)
    images = np.repeat(np.kron(digits.test[:8], np.ones((12, 12, 1))), 3, axis=-1).astype(np.float32) / 127.5 - 1
    result = export_model(model, target, verification=(images, None))
    assert names(result) <= {"CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "SOFTMAX", "PAD"}
    assert result.parity.max_difference < 1e-5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"quantize": "int8"}, ExportError, "Expected calibration data for int8. Received: none"),
        ({"quantize": "int4"}, UsageError, "Expected quantize to be one of fp32, fp16, dynamic, int8, int16x8"),
        ({"quantize": "int8", "calibration": np.zeros((5, 4, 4, 1))}, ExportError, r"calibration data of shape"),
        ({"quantize": "int8", "calibration": np.zeros((0, 8, 8, 1))}, ExportError, "no samples"),
        ({"quantize": "int8", "calibration": []}, ExportError, "no samples"),
        ({"quantize": "int8", "calibration": np.full((2, 8, 8, 1), np.nan)}, ExportError, "NaN"),
        ({"verification": (np.zeros((3, 9, 8, 1)), None)}, ExportError, "verification data of shape"),
        ({"details": {"model": object()}}, ExportError, "JSON"),
    ],
)
def test_wrong_requests_are_refused_at_once(cnn: keras.Model, target: Path, arguments, error, message) -> None:
    with pytest.raises(error, match=message) as caught:
        export_model(cnn, target, **{"verification": (np.zeros((3, 8, 8, 1)), None), **arguments})
    assert "\n" not in str(caught.value)
    assert not list(target.parent.iterdir())
