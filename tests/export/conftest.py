"""Real data (scikit-learn's digits), two small trained models, and their files, made once."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from kzoo.export import ExportResult, export_model

layers = keras.layers


@dataclass(frozen=True)
class Digits:
    """8x8 pixels 0-255, shape (samples, 8, 8, 1), in an order that is not by class."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


@pytest.fixture(scope="session")
def digits() -> Digits:
    images, labels = load_digits(return_X_y=True)
    images = (images / 16 * 255).round().astype(np.uint8).reshape(-1, 8, 8, 1)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    return Digits(images[:1300], labels[:1300], images[1300:], labels[1300:])


def trained(model: keras.Model, images: np.ndarray, labels: np.ndarray, epochs: int) -> keras.Model:
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images.astype(np.float32), labels, epochs=epochs, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="session")
def cnn(digits: Digits) -> keras.Model:
    """Pixels in; convolutions with BatchNormalization, one residual."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    y = layers.Conv2D(8, 3, padding="same")(layers.Dropout(0.1)(x))
    x = layers.Add()([x, layers.BatchNormalization(momentum=0.8)(y)])
    x = layers.Flatten()(layers.MaxPooling2D()(layers.ReLU(max_value=6)(x)))
    outputs = layers.Dense(10, activation="softmax", name="probabilities")(x)
    return trained(keras.Model(image, outputs, name="tiny_cnn"), digits.train, digits.train_labels, epochs=8)


@pytest.fixture(scope="session")
def lstm(digits: Digits) -> keras.Model:
    """Eight rows of eight pixels as a sequence."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8), name="rows"),
            layers.Rescaling(1 / 255),
            layers.LSTM(24),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ],
        name="tiny_lstm",
    )
    return trained(model, digits.train[..., 0], digits.train_labels, epochs=12)


@dataclass(frozen=True)
class Exports:
    """The four files of the two models."""

    CALIBRATION: ClassVar[int] = 200
    cnn_fp32: ExportResult
    cnn_int8: ExportResult
    lstm_fp32: ExportResult
    lstm_int8: ExportResult

    def each(self) -> dict[str, ExportResult]:
        return {name: getattr(self, name) for name in ("cnn_fp32", "cnn_int8", "lstm_fp32", "lstm_int8")}


@pytest.fixture(scope="session")
def exports(digits: Digits, cnn: keras.Model, lstm: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    folder = tmp_path_factory.mktemp("exports")
    made: dict[str, Any] = {}
    for name, model, cut in (("cnn", cnn, slice(None)), ("lstm", lstm, 0)):
        train, test = digits.train[..., cut], digits.test[..., cut]
        for quantize in ("fp32", "int8"):
            made[f"{name}_{quantize}"] = export_model(
                model,
                folder / f"{name}_{quantize}.tflite",
                quantize=quantize,
                calibration=train[: Exports.CALIBRATION] if quantize == "int8" else None,
                verification=(test, digits.test_labels),
                classes=[str(digit) for digit in range(10)],
                metadata=False,
                details={"data": {"name": "digits", "fingerprint": "abc"}},
            )
    return Exports(**made)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "model.tflite"
