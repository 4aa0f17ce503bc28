"""Weights of keras.applications, for the networks that are the zoo's layer for layer.

Keras builds its own network and downloads its weights; they are moved from there, so that no file format is read here.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kzoo.errors import UsageError, WeightsError
from kzoo.zoo import create_model, find_record

from .weights import Pretrained, put, with_epsilon

if TYPE_CHECKING:
    import keras

_TAG = "imagenet"


@dataclass(frozen=True)
class _Network:
    """One of keras.applications.

    Attributes:
        function: that builds it.
        pixel_scaling: its preprocessing.
        arguments: of the zoo's factory, beside that.
        shared: arguments that both factories have.
        numbered: whether the layers of a kind have only the numbers that Keras gives in the order of their making.
    """

    function: str
    pixel_scaling: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    numbered: bool = False


_FAR_SIDE = {"padding": "same"}
_NETWORKS = {
    "vgg16": _Network("VGG16", "caffe"),
    "vgg19": _Network("VGG19", "caffe"),
    "inception_v3": _Network("InceptionV3", "signed", numbered=True),
    "densenet121": _Network("DenseNet121", "imagenet"),
    "densenet169": _Network("DenseNet169", "imagenet"),
    "densenet201": _Network("DenseNet201", "imagenet"),
    "mobilenet_v1": _Network("MobileNet", "signed", _FAR_SIDE, ("alpha",)),
    "mobilenet_v2": _Network("MobileNetV2", "signed", _FAR_SIDE, ("alpha",)),
    "mobilenet_v3_small": _Network("MobileNetV3Small", "signed", _FAR_SIDE, ("alpha", "minimalistic")),
    "mobilenet_v3_large": _Network("MobileNetV3Large", "signed", _FAR_SIDE, ("alpha", "minimalistic")),
}


def fetch(name: str, tag: str, arguments: dict[str, Any]) -> Pretrained:
    """Build a model of the zoo with the weights that Keras downloads.

    Args:
        name: of the model in the catalogue.
        tag: `"imagenet"`, the one set that keras.applications has.
        arguments: of the zoo's factory.

    Raises:
        UsageError: there are no such weights for this model.
        WeightsError: Keras could not get them, or they do not fit.
    """
    record = find_record(name)
    if name not in _NETWORKS:
        advice = (
            "Take timm's, as timm:resnet50.a1_in1k." if record.family == "resnet" else "Take timm's, if it has any."
        )
        raise UsageError(
            f"Expected a network that keras.applications has layer for layer ({', '.join(_NETWORKS)}), "
            f"received {name}. {advice}"
        )
    if tag != _TAG:
        raise UsageError(f"Expected keras.applications:{_TAG}, received keras.applications:{tag}. There is no other.")
    network = _NETWORKS[name]
    shared = {key: arguments[key] for key in network.shared if key in arguments}
    return convert(name, _build(network.function, record.input_shape, shared), arguments)


def convert(name: str, reference: keras.Model, arguments: dict[str, Any]) -> Pretrained:
    """Build a model of the zoo with the weights of a network of keras.applications.

    Args:
        name: of the model in the catalogue.
        reference: the network, with its classifier.
        arguments: of the zoo's factory.

    Raises:
        WeightsError: the two are not the same layer for layer.
    """
    network = _NETWORKS[name]
    arguments = {
        "pixel_scaling": network.pixel_scaling,
        **network.arguments,
        **arguments,
        "input_shape": tuple(reference.input_shape[1:]),
        "classes": reference.output_shape[-1],
    }
    model = create_model(name, **arguments)
    sources, targets = _weighted(reference), _weighted(model)
    if network.numbered:
        sources.sort(key=lambda layer: (type(layer).__name__, _number(layer.name)))
        targets.sort(key=lambda layer: (type(layer).__name__, _place(layer.name)))
    if len(sources) != len(targets):
        raise WeightsError(
            f"Expected the {len(targets)} layers with weights of {name}, received {len(sources)} from "
            f"keras.applications.{network.function}. Leave out the arguments that change the layers."
        )
    for source, target in zip(sources, targets, strict=True):
        values = source.get_weights()
        if type(source).__name__ == "BatchNormalization":
            values[-1] = with_epsilon(values[-1], source.epsilon, target.epsilon)
        if network.pixel_scaling == "caffe" and source is sources[0]:
            values[0] = values[0][:, :, ::-1]  # it takes blue, green, red
        put(target, values, source.name)
    return Pretrained(name, model, arguments)


def _build(function: str, input_shape: tuple[int, ...], shared: dict[str, Any]) -> keras.Model:
    import keras

    build = getattr(keras.applications, function)
    try:
        # Keras shows the download on the standard output, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            return build(input_shape=input_shape, weights=_TAG, **shared)
    except Exception as error:  # a failed download is a bare Exception there
        reason = " ".join(str(error).split()).rstrip(".")
        raise WeightsError(
            f"Expected the weights of keras.applications.{function}, received none: {reason}. "
            f"Check the network and the model's arguments, then call again."
        ) from error


def _weighted(model: keras.Model) -> list[Any]:
    return [layer for layer in model.layers if layer.weights]


def _number(name: str) -> int:
    """Give the number that Keras appends to a layer's name, across all models of a process; the first has none."""
    found = re.search(r"_(\d+)$", name)
    return int(found[1]) if found else 0


def _place(name: str) -> tuple[bool, list[int], bool, list[int]]:
    """Give where a layer stands in the order of making: the stem first, a module's pooled branch last."""
    head, _, tail = name.partition("_")
    numbers = [int(each) for each in re.findall(r"\d+", tail)]
    return not head.startswith("stem"), [int(each) for each in re.findall(r"\d+", head)], "pooled" in tail, numbers
