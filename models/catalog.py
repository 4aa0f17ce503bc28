"""The catalogue of models: plain data, so that listing it imports no Keras.

Parameters and multiply-accumulates hold at the record's own `input_shape` and `classes`; the tests build every model
and compare. `reference` says what else they were held against: a published figure or another implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Task = Literal["image", "sequence", "text", "similarity"]


class Paper(NamedTuple):
    """Where a model was described first.

    Attributes:
        title: with the first author and the year.
        url: where the paper (or the reference implementation) lies.
    """

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What is known of a model before it is built.

    Attributes:
        name: the name `create_model` takes.
        family: models of one file and one idea.
        task: `"image"` takes `(height, width, channels)`, `"sequence"` takes `(steps, features)`, `"text"` takes
            `(length,)` places in a vocabulary; `"similarity"` compares two samples.
        factory: `"module:function"` inside `kzoo.models`.
        input_shape: the factory's default, without the batch axis.
        classes: the factory's default; None for a model that knows no classes.
        trainable_parameters: weights that training changes.
        non_trainable_parameters: statistics of BatchNormalization and Normalization.
        macs: multiply-accumulates of one example, as `count_macs` counts them.
        paper: where it was described.
        reference: whose figure the parameters agree with, and which.
        kinds: data that it can be trained on: `"image"`, `"sequence"` (measurements and sound) or `"text"`.
    """

    name: str
    family: str
    task: Task
    factory: str
    input_shape: tuple[int, ...]
    classes: int | None
    trainable_parameters: int
    non_trainable_parameters: int
    macs: int
    paper: Paper
    reference: str = ""
    kinds: tuple[str, ...] = ("image",)

    def describe(self) -> dict[str, Any]:
        """Give all of it in values that JSON can hold, the paper as `paper` and `url`."""
        return {**asdict(self), "paper": self.paper.title, "url": self.paper.url}


_SEQUENCE = ("sequence",)
_SOUND = (98, 40)
_TEXT = ("text",)
_CIFAR = (32, 32, 3)
_IMAGENET = (224, 224, 3)
_SENSORS = (128, 9)

_LENET = Paper(
    "Gradient-Based Learning Applied to Document Recognition, LeCun et al. 1998", "https://doi.org/10.1109/5.726791"
)
_MLPERF_TINY = Paper("MLPerf Tiny Benchmark, Banbury et al. 2021", "https://arxiv.org/abs/2106.07597")
_RESNET = Paper("Deep Residual Learning for Image Recognition, He et al. 2015", "https://arxiv.org/abs/1512.03385")
_RESNET_V2 = Paper("Identity Mappings in Deep Residual Networks, He et al. 2016", "https://arxiv.org/abs/1603.05027")
_WIDE = Paper("Wide Residual Networks, Zagoruyko and Komodakis 2016", "https://arxiv.org/abs/1605.07146")
_RESNEXT = Paper(
    "Aggregated Residual Transformations for Deep Neural Networks, Xie et al. 2016", "https://arxiv.org/abs/1611.05431"
)
_SENET = Paper("Squeeze-and-Excitation Networks, Hu et al. 2017", "https://arxiv.org/abs/1709.01507")
_BRANCHYNET = Paper(
    "BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks, Teerapittayanon et al. 2017",
    "https://arxiv.org/abs/1709.01686",
)
_MOBILENET_V2 = Paper(
    "MobileNetV2: Inverted Residuals and Linear Bottlenecks, Sandler et al. 2018", "https://arxiv.org/abs/1801.04381"
)
_LSTM = Paper("Long Short-Term Memory, Hochreiter and Schmidhuber 1997", "https://doi.org/10.1162/neco.1997.9.8.1735")
_SIAMESE = Paper(
    "Signature Verification using a Siamese Time Delay Neural Network, Bromley et al. 1993",
    "https://proceedings.neurips.cc/paper/1993/hash/288cc0ff022877bd3df94bc9360b9c5d-Abstract.html",
)
_ATTENTION = Paper("Attention Is All You Need, Vaswani et al. 2017", "https://arxiv.org/abs/1706.03762")
_TEXT_CNN = Paper(
    "Convolutional Neural Networks for Sentence Classification, Kim 2014", "https://arxiv.org/abs/1408.5882"
)

# fmt: off
_RECORDS = (
    ModelRecord("cnn", "cnn", "image", "convnet:cnn", _CIFAR, 10, 111_274, 448, 10_339_584, _LENET),
    ModelRecord("resnet8", "resnet", "image", "resnet:resnet8", _CIFAR, 10, 78_186, 480, 12_501_632, _MLPERF_TINY,
                "MLPerf Tiny: 78,666 with statistics, 12.5 M MACs"),
    ModelRecord("resnet20", "resnet", "image", "resnet:resnet20", _CIFAR, 10, 269_722, 1_376, 40_551_040, _RESNET,
                "table 6: 0.27 M"),
    ModelRecord("resnet32", "resnet", "image", "resnet:resnet32", _CIFAR, 10, 464_154, 2_272, 68_862_592, _RESNET,
                "table 6: 0.46 M"),
    ModelRecord("resnet44", "resnet", "image", "resnet:resnet44", _CIFAR, 10, 658_586, 3_168, 97_174_144, _RESNET,
                "table 6: 0.66 M"),
    ModelRecord("resnet56", "resnet", "image", "resnet:resnet56", _CIFAR, 10, 853_018, 4_064, 125_485_696, _RESNET,
                "table 6: 0.85 M"),
    ModelRecord("resnet110", "resnet", "image", "resnet:resnet110", _CIFAR, 10, 1_727_962, 8_096, 252_887_680, _RESNET,
                "table 6: 1.7 M"),
    ModelRecord("resnet18", "resnet", "image", "resnet:resnet18", _IMAGENET, 1000, 11_689_512, 9_600, 1_814_073_344,
                _RESNET, "torchvision: 11,689,512, 1.814 G MACs"),
    ModelRecord("resnet34", "resnet", "image", "resnet:resnet34", _IMAGENET, 1000, 21_797_672, 17_024, 3_663_761_408,
                _RESNET, "torchvision: 21,797,672, 3.664 G MACs"),
    ModelRecord("resnet50", "resnet", "image", "resnet:resnet50", _IMAGENET, 1000, 25_557_032, 53_120, 4_089_184_256,
                _RESNET, "torchvision: 25,557,032, 4.089 G MACs"),
    ModelRecord("resnet101", "resnet", "image", "resnet:resnet101", _IMAGENET, 1000, 44_549_160, 105_344, 7_801_405_440,
                _RESNET, "torchvision: 44,549,160, 7.801 G MACs"),
    ModelRecord("resnet152", "resnet", "image", "resnet:resnet152", _IMAGENET, 1000, 60_192_808, 151_424,
                11_513_626_624, _RESNET, "torchvision: 60,192,808, 11.514 G MACs"),
    ModelRecord("resnet18_v2", "resnet", "image", "resnet:resnet18_v2", _IMAGENET, 1000, 11_687_720, 7_808,
                1_814_073_344, _RESNET_V2),
    ModelRecord("resnet50_v2", "resnet", "image", "resnet:resnet50_v2", _IMAGENET, 1000, 25_549_352, 45_440,
                4_089_184_256, _RESNET_V2, "timm, resnetv2_50: 25,549,352"),
    ModelRecord("resnet101_v2", "resnet", "image", "resnet:resnet101_v2", _IMAGENET, 1000, 44_541_480, 97_664,
                7_801_405_440, _RESNET_V2, "timm, resnetv2_101: 44,541,480"),
    ModelRecord("resnet152_v2", "resnet", "image", "resnet:resnet152_v2", _IMAGENET, 1000, 60_185_128, 143_744,
                11_513_626_624, _RESNET_V2, "timm, resnetv2_152: 60,185,128"),
    ModelRecord("resnet164_v2", "resnet", "image", "resnet:resnet164_v2", _CIFAR, 10, 1_703_258, 24_224, 247_646_720,
                _RESNET_V2, "table 4: 1.7 M"),
    ModelRecord("wide_resnet28_10", "resnet", "image", "resnet:wide_resnet28_10", _CIFAR, 10, 36_479_194, 17_952,
                5_243_328_768, _WIDE, "table 4: 36.5 M"),
    ModelRecord("wide_resnet40_2", "resnet", "image", "resnet:wide_resnet40_2", _CIFAR, 10, 2_243_546, 5_408,
                327_599_360, _WIDE, "table 4: 2.2 M"),
    ModelRecord("resnext29_8x64d", "resnet", "image", "resnet:resnext29_8x64d", _CIFAR, 10, 34_426_698, 57_472,
                5_387_266_048, _RESNEXT, "table 7: 34.4 M"),
    ModelRecord("resnext50_32x4d", "resnet", "image", "resnet:resnext50_32x4d", _IMAGENET, 1000, 25_028_904, 68_224,
                4_230_479_872, _RESNEXT, "torchvision: 25,028,904, 4.230 G MACs"),
    ModelRecord("se_resnet18", "resnet", "image", "resnet:se_resnet18", _IMAGENET, 1000, 11_778_592, 9_600,
                1_814_160_384, _SENET, "timm, seresnet18: 11,778,592"),
    ModelRecord("se_resnet50", "resnet", "image", "resnet:se_resnet50", _IMAGENET, 1000, 28_088_024, 53_120,
                4_091_699_200, _SENET, "timm, seresnet50: 28,088,024"),
    ModelRecord("early_exit_resnet", "early_exit", "image", "early_exit:early_exit_resnet", _CIFAR, 10, 301_678, 1_824,
                44_353_408, _BRANCHYNET),
    ModelRecord("mobilenet_v2", "mobilenet", "image", "mobilenet:mobilenet_v2", _IMAGENET, 1000, 3_504_872, 34_112,
                300_774_272, _MOBILENET_V2, "torchvision: 3,504,872, 0.301 G MACs"),
    ModelRecord("lstm", "recurrent", "sequence", "recurrent:lstm", _SENSORS, 6, 52_358, 19, 6_586_752, _LSTM,
                kinds=_SEQUENCE),
    ModelRecord("siamese", "siamese", "similarity", "twin_encoder:siamese", _SOUND, None, 85_120, 657, 6_191_104,
                _SIAMESE, kinds=_SEQUENCE),
    ModelRecord("attention", "attention", "sequence", "self_attention:attention", _SENSORS, 6, 76_230, 19, 12_657_024,
                _ATTENTION, kinds=_SEQUENCE),
    ModelRecord("text_cnn", "text", "text", "text:text_cnn", (64,), 2, 589_402, 0, 5_287_000, _TEXT_CNN, kinds=_TEXT),
)
# fmt: on

CATALOG: Mapping[str, ModelRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""Every model by its name, in the order in which lists show them."""
