"""The catalogue of models: plain data, so that listing it imports no Keras.

Parameters and multiply-accumulates hold at the record's own `input_shape` and `classes`; the tests build every model
and compare. Where the literature gives the figure it is the same one (torchvision for the ImageNet models, MLPerf Tiny
for ResNet8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What is known of a model before it is built.

    Attributes:
        name: the name `create_model` takes.
        family: models of one file and one idea.
        task: `"image"` takes `(height, width, channels)`, `"sequence"` takes `(steps, features)`.
        factory: `"module:function"` inside `kzoo.models`.
        input_shape: the factory's default, without the batch axis.
        classes: the factory's default.
        trainable_parameters: weights that training changes.
        non_trainable_parameters: statistics of BatchNormalization and Normalization.
        macs: multiply-accumulates of one example, as `count_macs` counts them.
        paper: title, first author and year.
        url: where the paper (or the reference implementation) lies.
    """

    name: str
    family: str
    task: Literal["image", "sequence"]
    factory: str
    input_shape: tuple[int, ...]
    classes: int
    trainable_parameters: int
    non_trainable_parameters: int
    macs: int
    paper: str
    url: str


_RESNET_PAPER = "Deep Residual Learning for Image Recognition, He et al. 2015"
_RESNET_URL = "https://arxiv.org/abs/1512.03385"

_RECORDS = (
    ModelRecord(
        name="cnn",
        family="cnn",
        task="image",
        factory="convnet:cnn",
        input_shape=(32, 32, 3),
        classes=10,
        trainable_parameters=111_274,
        non_trainable_parameters=448,
        macs=10_339_584,
        paper="Gradient-Based Learning Applied to Document Recognition, LeCun et al. 1998",
        url="https://doi.org/10.1109/5.726791",
    ),
    ModelRecord(
        name="resnet8",
        family="resnet",
        task="image",
        factory="resnet:resnet8",
        input_shape=(32, 32, 3),
        classes=10,
        trainable_parameters=78_186,
        non_trainable_parameters=480,
        macs=12_501_632,
        paper="MLPerf Tiny Benchmark, Banbury et al. 2021",
        url="https://arxiv.org/abs/2106.07597",
    ),
    ModelRecord(
        name="resnet18",
        family="resnet",
        task="image",
        factory="resnet:resnet18",
        input_shape=(224, 224, 3),
        classes=1000,
        trainable_parameters=11_689_512,
        non_trainable_parameters=9_600,
        macs=1_814_073_344,
        paper=_RESNET_PAPER,
        url=_RESNET_URL,
    ),
    ModelRecord(
        name="resnet34",
        family="resnet",
        task="image",
        factory="resnet:resnet34",
        input_shape=(224, 224, 3),
        classes=1000,
        trainable_parameters=21_797_672,
        non_trainable_parameters=17_024,
        macs=3_663_761_408,
        paper=_RESNET_PAPER,
        url=_RESNET_URL,
    ),
    ModelRecord(
        name="mobilenet_v2",
        family="mobilenet",
        task="image",
        factory="mobilenet:mobilenet_v2",
        input_shape=(224, 224, 3),
        classes=1000,
        trainable_parameters=3_504_872,
        non_trainable_parameters=34_112,
        macs=300_774_272,
        paper="MobileNetV2: Inverted Residuals and Linear Bottlenecks, Sandler et al. 2018",
        url="https://arxiv.org/abs/1801.04381",
    ),
    ModelRecord(
        name="lstm",
        family="recurrent",
        task="sequence",
        factory="recurrent:lstm",
        input_shape=(128, 9),
        classes=6,
        trainable_parameters=52_358,
        non_trainable_parameters=19,
        macs=6_586_752,
        paper="Long Short-Term Memory, Hochreiter and Schmidhuber 1997",
        url="https://doi.org/10.1162/neco.1997.9.8.1735",
    ),
    ModelRecord(
        name="attention",
        family="attention",
        task="sequence",
        factory="self_attention:attention",
        input_shape=(128, 9),
        classes=6,
        trainable_parameters=76_230,
        non_trainable_parameters=19,
        macs=12_657_024,
        paper="Attention Is All You Need, Vaswani et al. 2017",
        url="https://arxiv.org/abs/1706.03762",
    ),
)

CATALOG: Mapping[str, ModelRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""Every model by its name, in the order in which lists show them."""
