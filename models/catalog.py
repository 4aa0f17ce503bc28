"""The catalogue of models: plain data, so that listing it imports no Keras.

Parameters and multiply-accumulates hold at the record's own `input_shape` and `classes`; the tests build every model
and compare. `reference` says what else they were held against: a published figure or another implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Task = Literal["image", "sequence", "reconstruction"]


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
        task: `"image"` takes `(height, width, channels)`, `"sequence"` takes `(steps, features)` or, for text,
            `(steps,)`; both tell classes apart. `"reconstruction"` gives back the sequence that it takes.
        factory: `"module:function"` inside `kzoo.models`.
        input_shape: the factory's default, without the batch axis.
        classes: the factory's default; 0 where there is nothing to tell apart.
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
_MOBILENET_V2 = Paper(
    "MobileNetV2: Inverted Residuals and Linear Bottlenecks, Sandler et al. 2018", "https://arxiv.org/abs/1801.04381"
)
_LSTM = Paper("Long Short-Term Memory, Hochreiter and Schmidhuber 1997", "https://doi.org/10.1162/neco.1997.9.8.1735")
_BIDIRECTIONAL = Paper(
    "Bidirectional Recurrent Neural Networks, Schuster and Paliwal 1997", "https://doi.org/10.1109/78.650093"
)
_GRU = Paper(
    "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation, Cho et al. 2014",
    "https://arxiv.org/abs/1406.1078",
)
_POOLING = Paper(
    "Hierarchical Attention Networks for Document Classification, Yang et al. 2016",
    "https://doi.org/10.18653/v1/N16-1174",
)
_DEEP_CONV_LSTM = Paper(
    "Deep Convolutional and LSTM Recurrent Neural Networks for Multimodal Wearable Activity Recognition, "
    "Ordonez and Roggen 2016",
    "https://doi.org/10.3390/s16010115",
)
_CONV_LSTM = Paper(
    "Convolutional LSTM Network: A Machine Learning Approach for Precipitation Nowcasting, Shi et al. 2015",
    "https://arxiv.org/abs/1506.04214",
)
_TCN = Paper(
    "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling, Bai et al. 2018",
    "https://arxiv.org/abs/1803.01271",
)
_PRE_NORM = Paper(
    "On Layer Normalization in the Transformer Architecture, Xiong et al. 2020", "https://arxiv.org/abs/2002.04745"
)
_ALBERT = Paper(
    "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations, Lan et al. 2019",
    "https://arxiv.org/abs/1909.11942",
)
_HELLO_EDGE = Paper(
    "Hello Edge: Keyword Spotting on Microcontrollers, Zhang et al. 2017", "https://arxiv.org/abs/1711.07128"
)
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
    ModelRecord("mobilenet_v2", "mobilenet", "image", "mobilenet:mobilenet_v2", _IMAGENET, 1000, 3_504_872, 34_112,
                300_774_272, _MOBILENET_V2, "torchvision: 3,504,872, 0.301 G MACs"),
    ModelRecord("lstm", "recurrent", "sequence", "recurrent:lstm", _SENSORS, 6, 52_358, 19, 6_586_752, _LSTM,
                kinds=_SEQUENCE + _TEXT),
    ModelRecord("bilstm", "recurrent", "sequence", "recurrent:bilstm", _SENSORS, 6, 137_478, 19, 17_367_808,
                _BIDIRECTIONAL, kinds=_SEQUENCE + _TEXT),
    ModelRecord("gru", "recurrent", "sequence", "recurrent:gru", _SENSORS, 6, 39_750, 19, 4_940_160, _GRU,
                kinds=_SEQUENCE + _TEXT),
    ModelRecord("bigru", "recurrent", "sequence", "recurrent:bigru", _SENSORS, 6, 104_070, 19, 13_026_048,
                _BIDIRECTIONAL, kinds=_SEQUENCE + _TEXT),
    ModelRecord("lstm_attention", "recurrent", "sequence", "recurrent:lstm_attention", _SENSORS, 6, 56_582, 19,
                7_119_232, _POOLING, kinds=_SEQUENCE + _TEXT),
    ModelRecord("cnn_lstm", "convolutional_recurrent", "sequence", "convolutional_recurrent:cnn_lstm", _SENSORS, 6,
                57_030, 275, 2_728_320, _DEEP_CONV_LSTM, kinds=_SEQUENCE),
    ModelRecord("conv_lstm", "convolutional_recurrent", "sequence", "convolutional_recurrent:conv_lstm", _SENSORS, 6,
                26_566, 19, 3_358_912, _CONV_LSTM, kinds=_SEQUENCE),
    ModelRecord("tcn", "tcn", "sequence", "temporal_convolution:tcn", _SENSORS, 6, 114_630, 1_299, 14_451_072, _TCN,
                kinds=_SEQUENCE),
    ModelRecord("ds_cnn", "ds_cnn", "sequence", "keyword_spotting:ds_cnn", (49, 10), 12, 23_756, 1_173, 2_656_768,
                _HELLO_EDGE, "MLPerf Tiny: 23,756, with statistics 24,908", _SEQUENCE),
    ModelRecord("attention", "attention", "sequence", "self_attention:attention", _SENSORS, 6, 76_230, 19, 12_657_024,
                _ATTENTION, kinds=_SEQUENCE + _TEXT),
    ModelRecord("transformer_tiny", "attention", "sequence", "self_attention:transformer_tiny", _SENSORS, 6, 209_222,
                19, 33_628_544, _PRE_NORM, kinds=_SEQUENCE + _TEXT),
    ModelRecord("transformer_small", "attention", "sequence", "self_attention:transformer_small", _SENSORS, 6,
                1_208_198, 19, 176_308_992, _PRE_NORM, kinds=_SEQUENCE + _TEXT),
    ModelRecord("text_transformer", "attention", "sequence", "self_attention:text_transformer", (64,), 2, 368_514, 0,
                7_471_232, _ALBERT, kinds=_TEXT),
    ModelRecord("autoencoder", "autoencoder", "reconstruction", "anomaly_detection:autoencoder", (5, 128), 0, 267_928,
                2_321, 264_192, _MLPERF_TINY, "MLPerf Tiny: 267,928, with statistics 269,992", _SEQUENCE),
)
# fmt: on

CATALOG: Mapping[str, ModelRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""Every model by its name, in the order in which lists show them."""
