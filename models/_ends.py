"""The two ends that families share: opening a model, the classifier and its weights.

Only stock Keras layers, and only such as `tf_keras` has too: a saved model loads where kzoo is not installed, and the
export bridge can rebuild every layer from its `get_config()`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
from keras import layers

from . import _arguments as check
from ._blocks import activate, check_activation

SMALL_INPUT = 64
"""Pixels on the shorter side up to which a network keeps its first layers at full resolution, as is usual for CIFAR."""


_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PIXEL_SCALINGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # One factor, which an int8 input absorbs exactly.
        "unit": {"scale": 1.0 / 255},
        "signed": {"scale": 1.0 / 127.5, "offset": -1.0},
        "imagenet": {
            "scale": [1 / (255 * deviation) for deviation in _IMAGENET_DEVIATION],
            "offset": [-mean / deviation for mean, deviation in zip(_IMAGENET_MEAN, _IMAGENET_DEVIATION, strict=True)],
        },
        "caffe": {"scale": 1.0, "offset": [-123.68, -116.779, -103.939]},
    }
)
"""What becomes of pixels 0-255 before the first layer, as arguments of `Rescaling`; channels are red, green, blue."""


def is_small(shape: tuple[int | None, int | None, int], limit: int = SMALL_INPUT) -> bool:
    """Tell whether `(height, width, channels)` is small enough for the stem without downsampling: up to `limit`."""
    sides = [side for side in shape[:2] if side is not None]
    return bool(sides) and min(sides) <= limit


def open_image(
    shape: tuple[int | None, int | None, int], pixel_scaling: str = "unit"
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Start an image model: pixels 0-255 in, brought to the network's range by the layer "rescaling".

    Args:
        shape: `(height, width, channels)`.
        pixel_scaling: a key of `PIXEL_SCALINGS`.

    Returns:
        The model's input and the scaled pixels, both `(batch, height, width, channels)`.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "kzoo's image models need the data format 'channels_last'. "
            f"Received: keras.config.image_data_format()={keras.config.image_data_format()!r}. "
            "Call keras.config.set_image_data_format('channels_last') first."
        )
    if pixel_scaling not in PIXEL_SCALINGS:
        raise ValueError(
            f"`pixel_scaling` must be one of {', '.join(map(repr, PIXEL_SCALINGS))}. "
            f"Received: pixel_scaling={pixel_scaling!r}. Leave it out for models that you train yourself."
        )
    if pixel_scaling in ("imagenet", "caffe") and shape[2] != 3:
        raise ValueError(
            f"`pixel_scaling={pixel_scaling!r}` has figures for red, green and blue. "
            f"Received: {shape[2]} channels. Give images of 3 channels, or leave it out."
        )
    inputs = keras.Input(shape, name="image")
    return inputs, layers.Rescaling(**PIXEL_SCALINGS[pixel_scaling], name="rescaling")(inputs)


def open_sequence(shape: tuple[int | None, int]) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Start a sequence model: features in their own units, centred and scaled by statistics that `adapt` sets later.

    Returns:
        The model's input and the normalised features, both `(batch, steps, features)`.
    """
    inputs = keras.Input(shape, name="sequence")
    return inputs, feature_normalization()(inputs)


def feature_normalization() -> layers.Normalization:
    """Give the layer that a sequence model begins with."""
    # float32 whatever the policy: raw measurements may lie outside float16's range.
    return layers.Normalization(axis=-1, dtype="float32", name="normalization")


def open_text(
    length: int | None, vocabulary_size: int, width: int
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Start a text model: token ids, 0 for padding, to vectors.

    Args:
        length: tokens of the longest text, None for any.
        vocabulary_size: number of different ids.
        width: of the vectors.

    Returns:
        The model's input `(batch, steps)`, the vectors `(batch, steps, width)` and the mask `(batch, steps)`, true
        where there is a token. Hand it to every layer that mixes steps.
    """
    inputs = keras.Input((length,), dtype="int32", name="tokens")
    x = layers.Embedding(vocabulary_size, width, name="embedding")(inputs)
    # What `mask_zero` would compute. As a tensor of its own it also reaches what lies behind layers that hand none on.
    return inputs, x, keras.ops.not_equal(inputs, 0)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a model and the arguments of keras.applications that shape it, checked when it is made.

    Attributes:
        include_top: end with the classifier; without it the model gives features.
        weights: None for fresh weights, or the path of a `.weights.h5` file.
        pooling: without the classifier only: None for the whole feature map, `"avg"` or `"max"` for one vector.
        classes: how many the classifier tells apart.
        classifier_activation: `"softmax"` for probabilities, None for logits.
        name: the model's name.
        dropout: share of the classifier's inputs dropped in training.
        poolings: what `pooling` may be.
    """

    include_top: bool
    weights: str | os.PathLike[str] | None
    pooling: str | None
    classes: int
    classifier_activation: str | None
    name: str
    dropout: float
    poolings: Sequence[str] = ("avg", "max")

    def __post_init__(self) -> None:
        check.whole_number("classes", self.classes)
        check.dropout_rate(self.dropout)
        if self.classifier_activation is not None:
            check_activation("classifier_activation", self.classifier_activation)
        if self.include_top and self.pooling is not None:
            raise ValueError(
                "`pooling` must be None when `include_top` is True: the classifier has its own pooling. "
                f"Received: include_top=True, pooling={self.pooling!r}. "
                "Leave pooling out, or set include_top=False for features."
            )
        if self.pooling is not None and self.pooling not in self.poolings:
            raise ValueError(
                f"`pooling` must be None or one of {', '.join(map(repr, self.poolings))}. "
                f"Received: pooling={self.pooling!r}. None keeps the whole feature map."
            )
        _check_weights(self.weights)

    def pool(
        self, x: keras.KerasTensor, *, keepdims: bool = False, mask: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        """Bring a feature map to one vector, `(batch, channels)`, unless the whole map was asked for.

        Args:
            x: `(batch, height, width, channels)` or `(batch, steps, channels)`.
            keepdims: take the average of an image as a 1x1 map first, which is where XNNPACK's sparse inference ends.
            mask: `(batch, steps)`, true for the steps that an average over steps is to count.
        """
        kind = "avg" if self.include_top else self.pooling
        if kind is None:
            return x
        image = len(x.shape) == 4
        if kind == "avg":
            if not image:
                return layers.GlobalAveragePooling1D(name="avg_pool")(x, mask=mask)
            x = layers.GlobalAveragePooling2D(keepdims=keepdims, name="avg_pool")(x)
            return layers.Flatten(name="flatten")(x) if keepdims else x
        maximum = layers.GlobalMaxPooling2D if image else layers.GlobalMaxPooling1D
        return maximum(name="max_pool")(x)

    def hidden(self, x: keras.KerasTensor, units: Sequence[int], activation: str) -> keras.KerasTensor:
        """Flatten a feature map and add dense layers, each with the activation and dropout; `build` drops the last's.

        So networks ended before there was average pooling. With `include_top=False` this is `pool`.
        """
        if not self.include_top:
            return self.pool(x)
        x = layers.Flatten(name="flatten")(x)
        for number, width in enumerate(units, start=1):
            if number > 1 and self.dropout > 0:
                x = layers.Dropout(self.dropout, name=f"hidden{number - 1}_dropout")(x)
            x = layers.Dense(width, kernel_initializer="he_normal", name=f"hidden{number}")(x)
            x = activate(x, activation, f"hidden{number}_act")
        return x

    def classify(self, x: keras.KerasTensor, name: str = "predictions") -> keras.KerasTensor:
        """Add a classifier, a `Dense` of this name, to one vector `(batch, channels)`."""
        if self.dropout > 0:
            x = layers.Dropout(self.dropout, name="dropout" if name == "predictions" else f"{name}_dropout")(x)
        # float32 whatever the policy: a half-precision softmax makes the loss useless.
        classifier = layers.Dense(
            check.whole_number("classes", self.classes),  # a plain int: Keras takes no NumPy integer
            activation=self.classifier_activation,
            dtype="float32",
            name=name,
        )
        return classifier(x)

    def build(self, inputs: keras.KerasTensor, x: keras.KerasTensor) -> keras.Model:
        """Add the classifier called "predictions" if wanted, make the model and load its weights."""
        return self.finish(inputs, self.classify(x) if self.include_top else x)

    def finish(self, inputs: Any, outputs: Any) -> keras.Model:
        """Make the model of its inputs and outputs, and load its weights."""
        model = keras.Model(inputs, outputs, name=self.name)
        if self.weights is not None:
            _load_weights(model, self.weights)
        return model


def _check_weights(weights: str | os.PathLike[str] | None) -> None:
    if weights is None:
        return
    if not isinstance(weights, (str, os.PathLike)) or not os.fspath(weights).endswith(".weights.h5"):
        raise ValueError(
            "`weights` must be None or the path of a `.weights.h5` file. "
            f"Received: weights={weights!r}. For pretrained weights by name use kzoo.load."
        )
    if not Path(weights).is_file():
        raise ValueError(
            f"`weights` must name a file that exists. Received: weights={os.fspath(weights)!r}. Check the path."
        )


def _load_weights(model: keras.Model, weights: str | os.PathLike[str]) -> None:
    try:
        with warnings.catch_warnings():
            # Keras 3.15 also looks for the weights by graph depth, which differs between a model with its classifier
            # and one without. They are found by layer all the same.
            warnings.filterwarnings("ignore", message="Skipping nested container at '_operations_by_depth")
            model.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"The weights do not fit {model.name!r}: they must come from the same model with the same arguments. "
            f"Received: weights={os.fspath(weights)!r}. Build it with the arguments it was saved with "
            f"(classes, channels, include_top). Keras says: {error}"
        ) from error
