"""From a run to a file: the same answers, the same evaluation, and data that is kept apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

import kzoo
from kzoo.data import open_dataset


@pytest.mark.slow(25)
@pytest.mark.parametrize("quantize", ["fp32", "int8"])
def test_a_run_becomes_a_file_that_answers_alike(trained_run, tmp_path, quantize):
    result = kzoo.export_model(trained_run, tmp_path / "m.tflite", quantize=quantize)
    assert result.path.stat().st_size == result.size
    sidecar = json.loads(result.sidecar.read_text())
    assert sidecar["details"]["run"] == "cnn.digits"
    assert sidecar["classes"] == list("0123456789")
    keras_metrics, file_metrics = trained_run.metrics, kzoo.evaluate(result.path)
    assert file_metrics.samples == keras_metrics.samples == 269
    assert file_metrics.accuracy == pytest.approx(keras_metrics.accuracy, abs=0 if quantize == "fp32" else 0.01)
    # Verified on the validation split; the test split is left for `evaluate`.
    assert result.parity.samples == 269
    assert result.accuracy_keras == pytest.approx(kzoo.evaluate(trained_run, split="val").accuracy)
    if quantize == "int8":
        assert result.calibration.count == 256
        assert (result.inputs[0].dtype, result.inputs[0].scale, result.inputs[0].zero_point) == ("int8", 1.0, -128)
        assert result.outputs[0].dtype == "int8"
        assert result.float_operators == ()


@pytest.mark.slow(25)
def test_an_int8_lstm_is_fused_and_evaluates_like_keras(trained_sequence_run, tmp_path):
    result = kzoo.export_model(trained_sequence_run, tmp_path / "lstm.tflite", quantize="int8")
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in {each.name for each in result.operators}
    assert kzoo.evaluate(result.path).accuracy >= trained_sequence_run.metrics.accuracy - 0.01


@pytest.mark.slow(10)
def test_a_bare_model_and_an_array_are_gated_by_agreement(trained_run, tmp_path):
    digits = open_dataset("digits").train
    x = digits.load(np.arange(200))
    result = kzoo.export_model(trained_run.model, tmp_path / "bare.tflite", quantize="int8", data=x, max_drop=0.05)
    assert result.accuracy_keras is None
    assert result.drop == pytest.approx(1 - result.parity.agreement)
    assert result.parity.samples == result.calibration.count == 100


def test_an_exported_file_is_no_source_of_an_export(trained_run, tmp_path):
    x = np.zeros((10, 8, 8, 1), "uint8")
    with pytest.raises(kzoo.KzooError):
        kzoo.export_model(tmp_path / "missing.tflite", tmp_path / "m.tflite", data=x)
