"""Wrong arguments: what was expected, what was received, what to do."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from kzoo.models import CATALOG, create_model


@pytest.mark.parametrize("name", [name for name, record in CATALOG.items() if record.classes])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 0}, r"`classes` must be a whole number of at least 1\. Received: classes=0"),
        ({"classes": 2.0}, r"Received: classes=2\.0"),
        ({"classes": True}, "Received: classes=True"),
        ({"pooling": "mean", "include_top": False}, "`pooling` must be None or one of '.*pooling='mean'"),
        ({"pooling": "avg"}, "`pooling` must be None (when `include_top` is True.*Leave pooling out|or one of 'max')"),
        ({"dropout": 1.0}, r"`dropout` must be at least 0 and below 1.*dropout=1\.0"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"classifier_activation": "softmaxx"}, "`classifier_activation` must be the name.*'softmaxx'"),
        ({"weights": "imagenet"}, r"`weights` must be None or the path of a `\.weights\.h5` file.*kzoo\.load"),
        ({"weights": "/nowhere/a.weights.h5"}, "must name a file that exists"),
        ({"weights": 3}, "Received: weights=3"),
        ({"input_shape": ()}, "must be .*without the batch axis.*for example"),
        ({"input_shape": (1, 8, 8, 3)}, "must be .*without the batch axis"),
        ({"input_shape": 8}, "input_shape=8"),
        ({"input_shape": "8x8x3"}, "input_shape='8x8x3'"),
    ],
)
def test_every_factory_refuses(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(name, **arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cnn", {"input_shape": (8, 8, 0)}, r"`input_shape\[\.\.\.\]` must be a whole number of at least 1"),
        ("cnn", {"input_shape": (8, 8, None)}, "channels of `input_shape` must be known"),
        ("cnn", {"activation": "rilu"}, "`activation` must be the name of a Keras activation.*'rilu'.*'relu'"),
        ("resnet8", {"activation": keras.activations.relu}, "`activation` must be the name"),
        ("resnet20", {"normalization": "layer"}, "`normalization` must be 'batch' or 'group'.*'layer'"),
        ("resnet20", {"shortcut": "none"}, "`shortcut` must be None, 'projection'.*shortcut='none'"),
        ("resnet20", {"pixel_scaling": "0-1"}, "`pixel_scaling` must be one of 'unit'.*pixel_scaling='0-1'"),
        ("resnet20", {"pixel_scaling": "caffe", "input_shape": (8, 8, 1)}, "red, green and blue.*1 channels"),
        ("resnet18", {"input_shape": (1, 1, 3)}, r"too small: this network needs at least 8x8.*\(1, 1, 3\)"),
        ("vgg16", {"input_shape": (None, 64, 3)}, r"Height and width .* known.*\(None, 64, 3\).*include_top=False"),
        ("alexnet", {"hidden_units": 0}, "`hidden_units` must be a whole number of at least 1"),
        ("shufflenet_v2", {"width": 0.75}, r"`width` must be one of 0\.5, 1\.0, 1\.5, 2\.0\. Received: width=0\.75"),
        ("shufflenet_v2", {"input_shape": (64, None, 3), "include_top": False}, "Height and width .* Interleaving"),
        ("mobilenet_v2", {"alpha": 0}, "`alpha` must be a positive number"),
        ("mobilenet_v2", {"alpha": float("nan")}, "`alpha` must be a positive number"),
        ("mobilenet_v1", {"sparse_inference": True, "input_shape": (64, 99, 3)}, r"needs a stem of stride 2.*\(64, 99"),
        ("mobilenet_v3_small", {"sparse_inference": True, "input_shape": (96, 96, 1)}, r"on 3 channels.*\(96, 96, 1\)"),
        ("efficientnet_lite0", {"sparse_inference": True, "input_shape": (32, 32, 3)}, "more than 64 pixels a side"),
        ("vit_tiny", {"patch_size": 0}, "`patch_size` must be a whole number of at least 1"),
        ("vit_tiny", {"input_shape": (16, None, 3)}, r"height and width must be known.*\(16, None, 3\)"),
        ("vit_tiny", {"input_shape": (15, 20, 3), "patch_size": 16}, "too small: this network needs at least 16x16"),
        ("mobilevit_xxs", {"input_shape": (None, None, 3)}, "height and width must be known"),
        ("lstm", {"units": 0}, "`units` must be a whole number of at least 1"),
        ("lstm", {"depth": 0}, "`depth` must be"),
        ("lstm", {"input_shape": (8, None)}, "how many features"),
        ("attention", {"input_shape": (None, 3)}, "how many steps and features"),
        ("attention", {"units": 10, "heads": 4}, "multiple of `heads`.*units=10, heads=4.*units=8"),
        ("attention", {"pooling": "last", "include_top": False}, "`pooling` must be None or one of 'avg', 'max'"),
        ("attention", {"positions": "none"}, "`positions` must be 'learned' or 'sinusoidal'.*positions='none'"),
        ("lstm", {"input_shape": (8,)}, r"must be \(steps, features\).*for example"),
        ("gru", {"vocabulary_size": 1}, "`vocabulary_size` must be a whole number of at least 2.*vocabulary_size=1"),
        ("gru", {"vocabulary_size": 9, "input_shape": (8, 3)}, r"must be \(steps,\)"),
        ("gru", {"vocabulary_size": 9, "include_top": False, "pooling": "max"}, "one of 'last', 'avg'.*'max'"),
        ("text_transformer", {"input_shape": (None,)}, "must say how many steps there are.*longest text"),
        ("cnn_lstm", {"kernel_size": 0}, "`kernel_size` must be"),
        ("adaptive_lstm", {"ponder_cost": -0.1}, "`ponder_cost` must be 0 or more"),
        ("conv_lstm", {"input_shape": (None, 3)}, "how many steps and features"),
        ("tcn", {"units": 2.5}, "`units` must be a whole number"),
        ("mobilenet_v2", {"padding": "valid"}, "`padding` must be 'symmetric' or 'same'. Received: padding='valid'"),
        ("mobilenet_v1", {"padding": "same", "sparse_inference": True}, "needs padding on both sides alike"),
        ("ds_cnn", {"filters": 0}, "`filters` must be"),
        ("two_tower", {"users": 1}, "`users` must be a whole number of at least 2.*users=1"),
        ("two_tower", {"items": 2.5}, "`items` must be a whole number"),
        ("two_tower", {"embedding": 0}, "`embedding` must be"),
        ("two_tower", {"units": (8, 0)}, r"`units\[\.\.\.\]` must be a whole number of at least 1"),
        ("two_tower", {"temperature": 0}, "`temperature` must be None or a positive number.*temperature=0"),
        ("two_tower", {"temperature": float("inf")}, "`temperature` must be None or a positive number"),
        ("two_tower", {"input_shape": (2,)}, r"`input_shape` must be \(1,\), one id.*\(2,\)"),
        ("two_tower", {"input_shape": (2, 3)}, "without the batch axis"),
        ("autoencoder", {"bottleneck": 0}, "`bottleneck` must be"),
        ("autoencoder", {"weights": "imagenet"}, "`weights` must be None or the path"),
        ("autoencoder", {"input_shape": (8,)}, "must be .*without the batch axis"),
    ],
)
def test_a_factory_refuses(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(name, **arguments)


def test_numpy_integers_and_lists_are_shapes_too() -> None:
    model = create_model("resnet8", input_shape=[np.int64(8), np.int32(8), 1], classes=np.int64(3))
    assert model.input_shape == (None, 8, 8, 1) and model.output_shape == (None, 3)


def test_channels_first_is_refused() -> None:
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="need the data format 'channels_last'"):
            create_model("cnn")
    finally:
        keras.config.set_image_data_format("channels_last")
