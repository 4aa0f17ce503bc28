"""A classifier's file in MediaPipe Tasks, which finds the labels and feeds the pixels by the metadata alone."""

from __future__ import annotations

from pathlib import Path

import keras
import mediapipe
import numpy as np
import pytest
from mediapipe.tasks import python as tasks

from kzoo.export import LiteModel, export_model

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


def exported(model: keras.Model, image: np.ndarray, path: Path, **precision: str) -> Path:
    images = np.stack([image, image[::-1], image[:, ::-1], 255 - image])
    data = {"calibration": images, "verification": (images, None)}
    return export_model(model, path, classes=CLASSES, max_drop=1, **data, **precision).path


def classify(path: Path, image: np.ndarray) -> dict[str, float]:
    options = tasks.vision.ImageClassifierOptions(base_options=tasks.BaseOptions(model_asset_path=str(path)))
    with tasks.vision.ImageClassifier.create_from_options(options) as classifier:
        result = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
    return {each.category_name: each.score for each in result.classifications[0].categories}


@pytest.mark.parametrize(
    "precision", [{}, {"quantize": "int8", "io": "uint8"}, {"quantize": "int8", "io": "float32"}], ids=str
)
def test_mediapipe_gives_the_same_labels_and_scores(model, image, precision, target) -> None:
    path = exported(model, image, target, **precision)
    expected = LiteModel(path).predict(image[np.newaxis])[0]
    assert expected.std() > 0.05
    assert classify(path, image) == pytest.approx(dict(zip(CLASSES, expected.tolist(), strict=True)), abs=1e-5)


def test_mediapipe_refuses_int8(model, image, target) -> None:
    """As `classifier_metadata` says; when this fails its docstring is out of date."""
    with pytest.raises(ValueError, match="uint8/float32"):
        classify(exported(model, image, target, quantize="int8"), image)
