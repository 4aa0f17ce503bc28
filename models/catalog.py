"""The catalogue of models: plain data, so that listing it imports no Keras.

Parameters and multiply-accumulates hold at the record's own `input_shape` and `classes`; the tests build every model
and compare. `reference` says what else they were held against: a published figure or another implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Task = Literal["image", "sequence"]


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
        family: models of one idea.
        task: `"image"` takes `(height, width, channels)`, `"sequence"` takes `(steps, features)`.
        factory: `"module:function"` inside `kzoo.models`.
        input_shape: the factory's default, without the batch axis.
        classes: the factory's default.
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
    classes: int
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
_MOBILENET_V1 = Paper(
    "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, Howard et al. 2017",
    "https://arxiv.org/abs/1704.04861",
)
_MOBILENET_V2 = Paper(
    "MobileNetV2: Inverted Residuals and Linear Bottlenecks, Sandler et al. 2018", "https://arxiv.org/abs/1801.04381"
)
_MOBILENET_V3 = Paper("Searching for MobileNetV3, Howard et al. 2019", "https://arxiv.org/abs/1905.02244")
_EFFICIENTNET = Paper(
    "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, Tan and Le 2019",
    "https://arxiv.org/abs/1905.11946",
)
_DEIT = Paper(
    "Training Data-Efficient Image Transformers and Distillation through Attention, Touvron et al. 2020",
    "https://arxiv.org/abs/2012.12877",
)
_MOBILEVIT = Paper(
    "MobileViT: Light-Weight, General-Purpose, and Mobile-Friendly Vision Transformer, Mehta and Rastegari 2021",
    "https://arxiv.org/abs/2110.02178",
)
_LSTM = Paper("Long Short-Term Memory, Hochreiter and Schmidhuber 1997", "https://doi.org/10.1162/neco.1997.9.8.1735")
_ATTENTION = Paper("Attention Is All You Need, Vaswani et al. 2017", "https://arxiv.org/abs/1706.03762")

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
    ModelRecord("mobilenet_v1", "mobilenet", "image", "mobilenetv1:mobilenet_v1", _IMAGENET, 1000, 4_231_976, 21_888,
                568_740_352, _MOBILENET_V1, "keras.applications: 4,253,864 with statistics; table 4: 569 M MACs"),
    ModelRecord("mobilenet_v1_025_96", "mobilenet", "image", "mobilenetv1:mobilenet_v1_025_96", (96, 96, 3), 2, 216_322,
                5_472, 7_489_664, _MLPERF_TINY, "MLPerf Tiny: 221,794 with statistics, 7.5 M MACs"),
    ModelRecord("mobilenet_v2", "mobilenet", "image", "mobilenetv2:mobilenet_v2", _IMAGENET, 1000, 3_504_872, 34_112,
                300_774_272, _MOBILENET_V2, "torchvision: 3,504,872, 0.301 G MACs"),
    ModelRecord("mobilenet_v3_small", "mobilenet", "image", "mobilenetv3:mobilenet_v3_small", _IMAGENET, 1000,
                2_542_856, 12_112, 56_510_400, _MOBILENET_V3, "torchvision: 2,542,856, 0.057 G MACs"),
    ModelRecord("mobilenet_v3_large", "mobilenet", "image", "mobilenetv3:mobilenet_v3_large", _IMAGENET, 1000,
                5_483_032, 24_400, 216_589_760, _MOBILENET_V3, "torchvision: 5,483,032, 0.217 G MACs"),
    ModelRecord("efficientnet_lite0", "efficientnet", "image", "efficientnet:efficientnet_lite0", _IMAGENET, 1000,
                4_652_008, 42_016, 385_187_552, _EFFICIENTNET, "timm, efficientnet_lite0: 4,652,008"),
    ModelRecord("efficientnet_lite1", "efficientnet", "image", "efficientnet:efficientnet_lite1", (240, 240, 3), 1000,
                5_416_680, 53_664, 600_185_232, _EFFICIENTNET, "timm, efficientnet_lite1: 5,416,680"),
    ModelRecord("efficientnet_lite2", "efficientnet", "image", "efficientnet:efficientnet_lite2", (260, 260, 3), 1000,
                6_092_072, 58_096, 859_736_272, _EFFICIENTNET, "timm, efficientnet_lite2: 6,092,072"),
    ModelRecord("efficientnet_lite3", "efficientnet", "image", "efficientnet:efficientnet_lite3", (280, 280, 3), 1000,
                8_197_096, 76_672, 1_383_321_872, _EFFICIENTNET, "timm, efficientnet_lite3: 8,197,096"),
    ModelRecord("efficientnet_lite4", "efficientnet", "image", "efficientnet:efficientnet_lite4", (300, 300, 3), 1000,
                13_006_568, 112_368, 2_553_034_336, _EFFICIENTNET, "timm, efficientnet_lite4: 13,006,568"),
    ModelRecord("vit_tiny", "vit", "image", "vit:vit_tiny", _IMAGENET, 1000, 5_717_032, 0, 1_253_830_656, _DEIT,
                "timm, vit_tiny_patch16_224: 5,717,416, of which 384 are sums of others here"),
    ModelRecord("mobilevit_xxs", "mobilevit", "image", "mobilevit:mobilevit_xxs", (256, 256, 3), 1000, 1_272_024, 4_112,
                407_364_096, _MOBILEVIT, "timm, mobilevit_xxs: 1,272,024"),
    ModelRecord("lstm", "recurrent", "sequence", "recurrent:lstm", _SENSORS, 6, 52_358, 19, 6_586_752, _LSTM,
                kinds=_SEQUENCE),
    ModelRecord("attention", "attention", "sequence", "self_attention:attention", _SENSORS, 6, 76_230, 19, 12_657_024,
                _ATTENTION, kinds=_SEQUENCE),
)
# fmt: on

CATALOG: Mapping[str, ModelRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""Every model by its name, in the order in which lists show them."""
