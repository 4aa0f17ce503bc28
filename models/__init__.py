"""kzoo.models: Keras 3 model factories with keras.applications' signature, built from stock layers only.

Importing this package imports no Keras: the catalogue is plain data, a factory's module is imported when the factory
is first asked for.

Example:
    >>> import kzoo.models
    >>> kzoo.models.list_models("resnet?")
    ['resnet8']
    >>> model = kzoo.models.resnet18(input_shape=(32, 32, 3), classes=10)
    >>> kzoo.models.count_macs(model)
    555422720
"""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .catalog import CATALOG, ModelRecord

if TYPE_CHECKING:
    import keras

    from .adaptive_computation import adaptive_lstm as adaptive_lstm
    from .anomaly_detection import autoencoder as autoencoder
    from .convnet import cnn as cnn
    from .convolutional_recurrent import cnn_lstm as cnn_lstm
    from .convolutional_recurrent import conv_lstm as conv_lstm
    from .densenet import densenet40_12 as densenet40_12
    from .densenet import densenet121 as densenet121
    from .densenet import densenet169 as densenet169
    from .densenet import densenet201 as densenet201
    from .early_exit import early_exit_resnet as early_exit_resnet
    from .efficientnet import efficientnet_lite0 as efficientnet_lite0
    from .efficientnet import efficientnet_lite1 as efficientnet_lite1
    from .efficientnet import efficientnet_lite2 as efficientnet_lite2
    from .efficientnet import efficientnet_lite3 as efficientnet_lite3
    from .efficientnet import efficientnet_lite4 as efficientnet_lite4
    from .fire import squeezenet as squeezenet
    from .inception import googlenet as googlenet
    from .inception import inception_v3 as inception_v3
    from .keyword_spotting import ds_cnn as ds_cnn
    from .lenet import lenet5 as lenet5
    from .mobilenetv1 import mobilenet_v1 as mobilenet_v1
    from .mobilenetv1 import mobilenet_v1_025_96 as mobilenet_v1_025_96
    from .mobilenetv2 import mobilenet_v2 as mobilenet_v2
    from .mobilenetv3 import mobilenet_v3_large as mobilenet_v3_large
    from .mobilenetv3 import mobilenet_v3_small as mobilenet_v3_small
    from .mobilevit import mobilevit_xxs as mobilevit_xxs
    from .recurrent import bigru as bigru
    from .recurrent import bilstm as bilstm
    from .recurrent import gru as gru
    from .recurrent import lstm as lstm
    from .recurrent import lstm_attention as lstm_attention
    from .resnet import resnet8 as resnet8
    from .resnet import resnet18 as resnet18
    from .resnet import resnet18_v2 as resnet18_v2
    from .resnet import resnet20 as resnet20
    from .resnet import resnet32 as resnet32
    from .resnet import resnet34 as resnet34
    from .resnet import resnet44 as resnet44
    from .resnet import resnet50 as resnet50
    from .resnet import resnet50_v2 as resnet50_v2
    from .resnet import resnet56 as resnet56
    from .resnet import resnet101 as resnet101
    from .resnet import resnet101_v2 as resnet101_v2
    from .resnet import resnet110 as resnet110
    from .resnet import resnet152 as resnet152
    from .resnet import resnet152_v2 as resnet152_v2
    from .resnet import resnet164_v2 as resnet164_v2
    from .resnet import resnext29_8x64d as resnext29_8x64d
    from .resnet import resnext50_32x4d as resnext50_32x4d
    from .resnet import se_resnet18 as se_resnet18
    from .resnet import se_resnet50 as se_resnet50
    from .resnet import wide_resnet28_10 as wide_resnet28_10
    from .resnet import wide_resnet40_2 as wide_resnet40_2
    from .retrieval import two_tower as two_tower
    from .self_attention import attention as attention
    from .self_attention import text_transformer as text_transformer
    from .self_attention import transformer_small as transformer_small
    from .self_attention import transformer_tiny as transformer_tiny
    from .shufflenet import shufflenet_v2 as shufflenet_v2
    from .temporal_convolution import tcn as tcn
    from .text import text_cnn as text_cnn
    from .twin_encoder import siamese as siamese
    from .vgg import alexnet as alexnet
    from .vgg import vgg11 as vgg11
    from .vgg import vgg11_bn as vgg11_bn
    from .vgg import vgg13 as vgg13
    from .vgg import vgg13_bn as vgg13_bn
    from .vgg import vgg16 as vgg16
    from .vgg import vgg16_bn as vgg16_bn
    from .vgg import vgg19 as vgg19
    from .vgg import vgg19_bn as vgg19_bn
    from .vit import vit_tiny as vit_tiny

__all__ = ["CATALOG", "ModelRecord", "count_macs", "create_model", "list_models", *CATALOG]


def list_models(pattern: str = "*", *, family: str | None = None, task: str | None = None) -> list[str]:
    """Name the models of the catalogue.

    Args:
        pattern: shell wildcards, `"resnet*"`; upper and lower case are the same.
        family: only this family.
        task: only models for `"image"`, `"sequence"`, `"text"`, `"similarity"`, `"reconstruction"` or
            `"recommendation"`, those that take other data, too, included.

    Returns:
        Names in the catalogue's order; empty where nothing fits the pattern.

    Raises:
        ValueError: if no model at all has this family or task.
    """
    records = CATALOG.values()
    _check_known("family", family, {record.family for record in records})
    _check_known("task", task, {record.task for record in records})
    return [
        record.name
        for record in records
        if fnmatch.fnmatchcase(record.name, pattern.lower())
        and family in (None, record.family)
        and task in (None, record.task, *record.kinds)
    ]


def create_model(name: str, /, **arguments: Any) -> keras.Model:
    """Build a model of the catalogue by its name.

    Args:
        name: a name that `list_models` gives.
        **arguments: those of the factory, `input_shape=(32, 32, 3), classes=10` for example.

    Returns:
        A functional model of stock Keras layers.

    Raises:
        ValueError: for a name that is not in the catalogue, or a value that does not fit.
        TypeError: for an argument that the factory does not take.

    Example:
        >>> from kzoo.models import create_model
        >>> create_model("mobilenet_v2", alpha=0.5, input_shape=(96, 96, 3), classes=5).name
        'mobilenet_v2'
    """
    _check_known("model", name, CATALOG)
    factory = _factory(CATALOG[name])
    accepted = inspect.signature(factory).parameters
    for argument in arguments:
        if argument not in accepted:
            raise TypeError(
                f"{name} takes no argument {argument!r}. "
                f"Received: {argument}={arguments[argument]!r}. {_nearest(argument, accepted)}"
            )
    return factory(**arguments)


def count_macs(model: keras.Model) -> int:
    """Count the multiply-accumulates of one example: convolutions, dense layers, recurrent cells and attention.

    Raises:
        ValueError: if the model is neither functional nor Sequential, or an axis of a shape is unknown.
    """
    from kzoo.macs import count_macs as count

    return count(model)


def _factory(record: ModelRecord) -> Callable[..., keras.Model]:
    module, function = record.factory.split(":")
    factory: Callable[..., keras.Model] = getattr(importlib.import_module(f".{module}", __name__), function)
    return factory


def _check_known(kind: str, name: str | None, known: Iterable[str]) -> None:
    if name is not None and name not in known:
        raise ValueError(f"There is no {kind} {name!r}. {_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    return f"Did you mean {', '.join(close)}?" if close else f"Known: {', '.join(sorted(known))}."


def __getattr__(name: str) -> Any:
    if name not in CATALOG:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _factory(CATALOG[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
