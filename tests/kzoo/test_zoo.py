"""Loading: trained models as plain Keras models, adapted to other classes and inputs, and nothing unsafe."""

from __future__ import annotations

import logging
import zipfile

import keras
import numpy as np
import pytest

import kzoo
from kzoo.zoo import load_with_report, transfer_weights


def batch(*shape):
    return np.random.default_rng(0).integers(0, 256, (4, *shape)).astype("float32")


def test_a_run_loads_as_it_was_trained(trained_run):
    model = kzoo.load(trained_run.path)
    assert isinstance(model, keras.Model)
    x = batch(8, 8, 1)
    np.testing.assert_array_equal(model(x), trained_run.model(x))
    np.testing.assert_array_equal(kzoo.load(trained_run.path / "model.keras")(x), model(x))


def test_other_classes_give_a_fresh_head_on_the_trained_features(trained_run, caplog):
    with caplog.at_level(logging.WARNING, logger="kzoo.zoo"):
        model = kzoo.load(trained_run.path, classes=5)
    assert model.output_shape == (None, 5)
    assert "left fresh: predictions" in caplog.text
    x = batch(8, 8, 1)
    features = [keras.Model(m.input, m.get_layer("hidden").output)(x) for m in (model, trained_run.model)]
    np.testing.assert_allclose(features[0], features[1], rtol=1e-6)


def test_without_the_head(trained_run):
    model, report = load_with_report(trained_run.path, include_top=False, pooling="avg")
    assert model.output_shape == (None, 128)
    assert report.adapted == report.fresh == ()
    assert "predictions" not in report.loaded


def test_three_grey_channels_give_nearly_the_features_of_one(trained_run):
    model, report = load_with_report(trained_run.path, input_shape=(8, 8, 3))
    assert len(report.adapted) == 1
    assert report.fresh == ()
    grey = batch(8, 8, 1)
    np.testing.assert_allclose(model(np.repeat(grey, 3, axis=-1)), trained_run.model(grey), atol=1e-5)


def test_one_channel_gets_the_sum_of_three():
    colour = kzoo.create_model("resnet8", input_shape=(16, 16, 3))
    grey = kzoo.create_model("resnet8", input_shape=(16, 16, 1))
    assert transfer_weights(colour, grey).fresh == ()
    x = batch(16, 16, 1)
    np.testing.assert_allclose(grey(x), colour(np.repeat(x, 3, axis=-1)), atol=1e-5)


def test_statistics_of_sequences_are_carried_over(trained_sequence_run):
    model, report = load_with_report(trained_sequence_run.path, classes=3)
    assert "normalization" in report.loaded
    x = np.random.default_rng(0).random((2, 8, 8)).astype("float32") * 16
    ours, theirs = (m.get_layer("normalization")(x) for m in (model, trained_sequence_run.model))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert np.abs(np.asarray(ours) - x).max() > 0.1


def test_a_plain_keras_file_cannot_be_adapted(trained_run):
    with pytest.raises(kzoo.UsageError, match="run's directory"):
        kzoo.load(trained_run.path / "model.keras", classes=5)


def test_unknown_names_and_arguments_are_usage_errors():
    with pytest.raises(kzoo.UsageError, match=r"Unknown model 'resnet81'\. Did you mean resnet8"):
        kzoo.create_model("resnet81")
    with pytest.raises(kzoo.UsageError, match="clases"):
        kzoo.create_model("resnet8", clases=3)


def test_a_lambda_is_refused(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs))
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(kzoo.RunError) as caught:
        kzoo.load(tmp_path / "lambda.keras")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "no config"])
def test_damaged_files_are_refused(tmp_path, trained_run, damage):
    whole = (trained_run.path / "model.keras").read_bytes()
    file = tmp_path / "model.keras"
    file.write_bytes({"empty": b"", "text": b"hello", "truncated": whole[: len(whole) // 2]}.get(damage, whole))
    if damage == "no config":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("other.json", "{}")
    with pytest.raises(kzoo.RunError, match="not one or is damaged"):
        kzoo.load(file)
