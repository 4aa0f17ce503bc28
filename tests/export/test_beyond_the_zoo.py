"""Models that are not kzoo's: keras.applications, several inputs, shared and nested parts, functional subclasses.

The applications' weights are random, but their heads are fitted on real data, so that every layer has its part in an
answer that can be right or wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import kzoo
from kzoo.export import ExportResult, export_model

if TYPE_CHECKING:
    from .conftest import Digits

layers = keras.layers
applications = keras.applications
FITTED, CHECKED = 400, 150


def enlarged(images: np.ndarray, size: int) -> np.ndarray:
    """Digits of 8x8 pixels as `(samples, size, size, 3)`, pixels 0-255."""
    return np.kron(images, np.ones((size // 8, size // 8, 3))).astype(np.float32)


def with_head(backbone: keras.Model, images: np.ndarray, labels: np.ndarray) -> keras.Model:
    """A classifier of the backbone's features, fitted to them."""
    features = backbone.predict(images, verbose=0)
    middle, scale = features.mean(axis=0), features.std(axis=0).mean()
    fit = LogisticRegression(max_iter=500).fit((features - middle) / scale, labels)
    head = layers.Dense(10, activation="softmax", name="probabilities")
    model = keras.Model(backbone.input, head(backbone.output))
    head.set_weights([fit.coef_.T / scale, fit.intercept_ - fit.coef_ @ middle / scale])
    return model


def mobilenet_v3_small() -> keras.Model:
    model = applications.MobileNetV3Small((32, 32, 3), weights=None, include_top=False, pooling="avg", dropout_rate=0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(2 * layer.gamma)  # hard-swish halves small values: untrained, nothing would be left
    return model


APPLICATIONS: dict[str, Callable[[], keras.Model]] = {
    "MobileNetV3Small": mobilenet_v3_small,
    "EfficientNetB0": lambda: applications.EfficientNetB0(
        weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    ),
    "DenseNet121": lambda: applications.DenseNet121(
        weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg"
    ),
}


@pytest.mark.slow(60)
@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_applications(digits: Digits, target: Path, name: str) -> None:
    keras.utils.set_random_seed(0)
    images = enlarged(digits.train[:FITTED], 32)
    model = with_head(APPLICATIONS[name](), images, digits.train_labels[:FITTED])
    checked = (enlarged(digits.test[:CHECKED], 32), digits.test_labels[:CHECKED])
    float_file = export_model(model, target, verification=checked)
    assert float_file.accuracy_keras > 0.8
    assert float_file.parity.max_difference < 1e-4
    integers = export_model(
        model, target, quantize="int8", calibration=images[:100], verification=checked, max_drop=1, overwrite=True
    )
    assert integers.float_operators == ()
    assert {tensor.dtype for tensor in (*integers.inputs, *integers.outputs)} == {"int8"}
    assert integers.parity.agreement >= 0.93
    assert integers.size < 0.5 * float_file.size


def test_two_inputs_through_the_public_function(digits: Digits, target: Path) -> None:
    """Upper and lower half of a digit, the halves by name, a model that shares the layer that reads them."""
    keras.utils.set_random_seed(0)
    upper, lower = keras.Input((4, 8), name="upper"), keras.Input((4, 8), name="lower")
    shared = layers.Dense(32, activation="relu", name="shared")
    halves = [shared(layers.Flatten()(layers.Rescaling(1 / 255)(half))) for half in (upper, lower)]
    outputs = layers.Dense(10, activation="softmax", name="probabilities")(layers.Concatenate()(halves))
    model = keras.Model({"upper": upper, "lower": lower}, outputs)

    def feed(images: np.ndarray) -> dict[str, np.ndarray]:
        return {"upper": images[:, :4, :, 0].astype(np.float32), "lower": images[:, 4:, :, 0].astype(np.float32)}

    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(feed(digits.train), digits.train_labels, epochs=15, batch_size=32, verbose=0)
    for quantize in ("fp32", "int8"):
        result = kzoo.export_model(
            model, target, quantize=quantize, data=(feed(digits.test), digits.test_labels), overwrite=True
        )
        assert result.accuracy_keras > 0.9
        assert [tensor.name for tensor in result.inputs] == ["lower", "upper"]
        assert result.drop <= 0.01
    model.save(target.with_name("two.keras"))
    again = kzoo.export_model(target.with_name("two.keras"), data=(feed(digits.test), digits.test_labels))
    assert again.path == target.with_name("two.fp32.tflite")
    assert again.accuracy_keras == result.accuracy_keras


def test_flat_vectors_and_a_subclass_of_a_functional_model(digits: Digits, target: Path) -> None:
    class Backbone(keras.Model):
        """Built as KerasHub builds its own: a functional model whose class and configuration are its own."""

        def __init__(self, width: int) -> None:
            inputs = keras.Input((64,), name="pixels")
            x = layers.Dense(width, activation="relu")(layers.Rescaling(1 / 255)(inputs))
            super().__init__(inputs=inputs, outputs=layers.Dense(10, activation="softmax", name="y")(x))
            self.width = width

        def get_config(self) -> dict[str, int]:
            return {"width": self.width}

    keras.utils.set_random_seed(0)
    model = Backbone(32)
    model.compile("adam", "sparse_categorical_crossentropy")
    flat = digits.train.reshape(-1, 64).astype(np.float32)
    model.fit(flat, digits.train_labels, epochs=10, batch_size=32, verbose=0)
    data = (digits.test.reshape(-1, 64).astype(np.float32), digits.test_labels)
    result = kzoo.export_model(model, target, quantize="int8", data=data)
    assert result.accuracy_keras > 0.9
    assert (result.inputs[0].scale, result.inputs[0].zero_point) == (1.0, -128)


def test_a_nested_model_of_the_users(digits: Digits, target: Path) -> None:
    keras.utils.set_random_seed(0)
    patch = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(patch)
    encoder = keras.Model(
        patch, layers.GlobalMaxPooling2D()(layers.Conv2D(24, 3, activation="relu")(x)), name="encoder"
    )
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.RandomTranslation(0.1, 0.1),
            layers.Rescaling(1 / 255),
            encoder,
            keras.Sequential([layers.Dropout(0.1), layers.Dense(10, activation="softmax")], name="head"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(digits.train.astype(np.float32), digits.train_labels, epochs=10, batch_size=64, verbose=0)
    result: ExportResult = kzoo.export_model(model, target, quantize="int8", data=(digits.test, digits.test_labels))
    assert result.accuracy_keras > 0.85
    assert {operator.name for operator in result.operators} == {"CONV_2D", "REDUCE_MAX", "FULLY_CONNECTED", "SOFTMAX"}
