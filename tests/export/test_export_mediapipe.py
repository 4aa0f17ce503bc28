"""A classifier's file in MediaPipe Tasks, which finds the labels and feeds the pixels by the metadata alone.

MediaPipe is no dependency of kzoo: `pip install mediapipe` to run this (0.10.35 was the last it was run with).
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.export import LiteModel, add_metadata, classifier_metadata, read_tflite

tasks = pytest.importorskip(
    "mediapipe.tasks.python", reason="MediaPipe, another reader of the metadata, is not installed"
)
mediapipe = pytest.importorskip("mediapipe")

CLASSES = ["Käse", "猫", "a dog, say", "d", "e"]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    pixels[:12] //= 3
    return pixels


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(len(CLASSES)),
            layers.Rescaling(8.0),
            layers.Softmax(name="probabilities"),
        ]
    )
    return model


def described(model: keras.Model, image: np.ndarray, dtype: str, path: Path) -> Path:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if dtype != "float32":
        whole = np.stack([np.zeros_like(image), np.full_like(image, 255), image])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([each[np.newaxis].astype(np.float32)] for each in whole)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, dtype)
    path.write_bytes(converter.convert())
    facts = classifier_metadata(read_tflite(path), name="tiny", classes=CLASSES)
    path.write_bytes(add_metadata(path.read_bytes(), facts))
    return path


def classify(path: Path, image: np.ndarray) -> dict[str, float]:
    options = tasks.vision.ImageClassifierOptions(base_options=tasks.BaseOptions(model_asset_path=str(path)))
    with tasks.vision.ImageClassifier.create_from_options(options) as classifier:
        result = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
    return {each.category_name: each.score for each in result.classifications[0].categories}


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_mediapipe_gives_the_same_labels_and_scores(model, image, dtype, target) -> None:
    path = described(model, image, dtype, target)
    expected = LiteModel(path).predict(image[np.newaxis])[0]
    assert expected.std() > 0.05
    assert classify(path, image) == pytest.approx(dict(zip(CLASSES, expected.tolist(), strict=True)), abs=1e-5)


def test_mediapipe_refuses_int8(model, image, target) -> None:
    """As `classifier_metadata` says; when this fails its docstring is out of date."""
    with pytest.raises(ValueError, match="uint8/float32"):
        classify(described(model, image, "int8", target), image)
