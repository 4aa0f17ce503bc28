"""The catalogue of models: plain data, so that listing it imports no Keras.

Parameters and multiply-accumulates hold at the record's own `input_shape` and `classes`; the tests build every model
and compare. `reference` says what else they were held against: a published figure or another implementation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Task = Literal["image", "sequence", "text", "similarity", "reconstruction", "recommendation"]


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
        task: `"image"` takes `(height, width, channels)`, `"sequence"` takes `(steps, features)`, `"text"` takes
            `(length,)` places in a vocabulary, and all tell classes apart; `"similarity"` compares two samples,
            `"reconstruction"` gives back the sequence that it takes, `"recommendation"` scores a user with an item.
        factory: `"module:function"` inside `kzoo.models`.
        input_shape: the factory's default, without the batch axis.
        classes: the factory's default; None for a model that knows no classes.
        trainable_parameters: weights that training changes.
        non_trainable_parameters: statistics of BatchNormalization and Normalization.
        macs: multiply-accumulates of one example, as `count_macs` counts them.
        paper: where it was described.
        reference: whose figure the parameters agree with, and which.
        kinds: data that it can be trained on: `"image"`, `"sequence"` (measurements and sound), `"text"` or
            `"interaction"` (who took what).
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

    @property
    def compares(self) -> bool:
        """Whether the model takes two samples and says how similar they are."""
        return self.task == "similarity"

    def describe(self) -> dict[str, Any]:
        """Give all of it in values that JSON can hold, the paper as `paper` and `url`."""
        return {**asdict(self), "paper": self.paper.title, "url": self.paper.url}


_SEQUENCE = ("sequence",)
_SOUND = (98, 40)
_TEXT = ("text",)
_CIFAR = (32, 32, 3)
_IMAGENET = (224, 224, 3)
_INCEPTION = (299, 299, 3)
_SENSORS = (128, 9)

_LENET = Paper(
    "Gradient-Based Learning Applied to Document Recognition, LeCun et al. 1998", "https://doi.org/10.1109/5.726791"
)
_ALEXNET = Paper(
    "One weird trick for parallelizing convolutional neural networks, Krizhevsky 2014",
    "https://arxiv.org/abs/1404.5997",
)
_VGG = Paper(
    "Very Deep Convolutional Networks for Large-Scale Image Recognition, Simonyan and Zisserman 2014",
    "https://arxiv.org/abs/1409.1556",
)
_GOOGLENET = Paper("Going Deeper with Convolutions, Szegedy et al. 2014", "https://arxiv.org/abs/1409.4842")
_INCEPTION_V3 = Paper(
    "Rethinking the Inception Architecture for Computer Vision, Szegedy et al. 2015", "https://arxiv.org/abs/1512.00567"
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
_DENSENET = Paper("Densely Connected Convolutional Networks, Huang et al. 2016", "https://arxiv.org/abs/1608.06993")
_SQUEEZENET = Paper(
    "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, Iandola et al. 2016",
    "https://arxiv.org/abs/1602.07360",
)
_SHUFFLENET_V2 = Paper(
    "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, Ma et al. 2018",
    "https://arxiv.org/abs/1807.11164",
)
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
_TWO_TOWER = Paper(
    "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations, Yi et al. 2019",
    "https://doi.org/10.1145/3298689.3346996",
)
_SIAMESE = Paper(
    "Signature Verification using a Siamese Time Delay Neural Network, Bromley et al. 1993",
    "https://proceedings.neurips.cc/paper/1993/hash/288cc0ff022877bd3df94bc9360b9c5d-Abstract.html",
)
_BIDIRECTIONAL = Paper(
    "Bidirectional Recurrent Neural Networks, Schuster and Paliwal 1997", "https://doi.org/10.1109/78.650093"
)
_GRU = Paper(
    "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation, Cho et al. 2014",
    "https://arxiv.org/abs/1406.1078",
)
_ADAPTIVE = Paper(
    "Adaptive Computation Time for Recurrent Neural Networks, Graves 2016", "https://arxiv.org/abs/1603.08983"
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
_TEXT_CNN = Paper(
    "Convolutional Neural Networks for Sentence Classification, Kim 2014", "https://arxiv.org/abs/1408.5882"
)

# fmt: off
_RECORDS = (
    ModelRecord("cnn", "cnn", "image", "convnet:cnn", _CIFAR, 10, 111_274, 448, 10_339_584, _LENET),
    ModelRecord("lenet5", "lenet", "image", "lenet:lenet5", (32, 32, 1), 10, 61_706, 0, 416_520, _LENET,
                "61,706 with every filter of C3 on all maps"),
    ModelRecord("alexnet", "vgg", "image", "vgg:alexnet", _IMAGENET, 1000, 61_100_840, 0, 714_188_480, _ALEXNET,
                "torchvision: 61,100,840, 0.714 G MACs"),
    ModelRecord("vgg11", "vgg", "image", "vgg:vgg11", _IMAGENET, 1000, 132_863_336, 0, 7_609_090_048, _VGG,
                "torchvision: 132,863,336, 7.609 G MACs"),
    ModelRecord("vgg13", "vgg", "image", "vgg:vgg13", _IMAGENET, 1000, 133_047_848, 0, 11_308_466_176, _VGG,
                "torchvision: 133,047,848, 11.308 G MACs"),
    ModelRecord("vgg16", "vgg", "image", "vgg:vgg16", _IMAGENET, 1000, 138_357_544, 0, 15_470_264_320, _VGG,
                "keras.applications: 138,357,544; torchvision: 15.470 G MACs"),
    ModelRecord("vgg19", "vgg", "image", "vgg:vgg19", _IMAGENET, 1000, 143_667_240, 0, 19_632_062_464, _VGG,
                "keras.applications: 143,667,240; torchvision: 19.632 G MACs"),
    ModelRecord("vgg11_bn", "vgg", "image", "vgg:vgg11_bn", _IMAGENET, 1000, 132_868_840, 5_504, 7_609_090_048, _VGG,
                "torchvision: 132,868,840, 7.609 G MACs"),
    ModelRecord("vgg13_bn", "vgg", "image", "vgg:vgg13_bn", _IMAGENET, 1000, 133_053_736, 5_888, 11_308_466_176, _VGG,
                "torchvision: 133,053,736, 11.308 G MACs"),
    ModelRecord("vgg16_bn", "vgg", "image", "vgg:vgg16_bn", _IMAGENET, 1000, 138_365_992, 8_448, 15_470_264_320, _VGG,
                "torchvision: 138,365,992, 15.470 G MACs"),
    ModelRecord("vgg19_bn", "vgg", "image", "vgg:vgg19_bn", _IMAGENET, 1000, 143_678_248, 11_008, 19_632_062_464, _VGG,
                "torchvision: 143,678,248, 19.632 G MACs"),
    ModelRecord("googlenet", "inception", "image", "inception:googlenet", _IMAGENET, 1000, 7_005_832, 14_560,
                1_582_671_872, _GOOGLENET, "torchvision: 6,624,904, and 380,928 more for 5x5 in place of 3x3"),
    ModelRecord("inception_v3", "inception", "image", "inception:inception_v3", _INCEPTION, 1000, 23_817_352, 34_432,
                5_713_216_096, _INCEPTION_V3,
                "keras.applications: 23,851,784 with statistics; torchvision: 5.713 G MACs"),
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
                1_814_160_384, _SENET, "timm, legacy_seresnet18: 11,778,592"),
    ModelRecord("se_resnet50", "resnet", "image", "resnet:se_resnet50", _IMAGENET, 1000, 28_088_024, 53_120,
                4_091_699_200, _SENET, "timm, seresnet50: 28,088,024"),
    ModelRecord("early_exit_resnet", "early_exit", "image", "early_exit:early_exit_resnet", _CIFAR, 10, 301_678, 1_824,
                44_353_408, _BRANCHYNET),
    ModelRecord("densenet40_12", "densenet", "image", "densenet:densenet40_12", _CIFAR, 10, 1_019_722, 18_096,
                264_812_928, _DENSENET, "table 2: 1.0 M"),
    ModelRecord("densenet121", "densenet", "image", "densenet:densenet121", _IMAGENET, 1000, 7_978_856, 83_648,
                2_834_161_664, _DENSENET, "torchvision: 7,978,856, 2.834 G MACs"),
    ModelRecord("densenet169", "densenet", "image", "densenet:densenet169", _IMAGENET, 1000, 14_149_480, 158_400,
                3_359_843_328, _DENSENET, "torchvision: 14,149,480, 3.360 G MACs"),
    ModelRecord("densenet201", "densenet", "image", "densenet:densenet201", _IMAGENET, 1000, 20_013_928, 229_056,
                4_291_365_888, _DENSENET, "torchvision: 20,013,928, 4.291 G MACs"),
    ModelRecord("squeezenet", "squeezenet", "image", "fire:squeezenet", _IMAGENET, 1000, 1_235_496, 0, 349_151_936,
                _SQUEEZENET, "torchvision, squeezenet1_1: 1,235,496, 0.349 G MACs"),
    ModelRecord("shufflenet_v2", "shufflenet", "image", "shufflenet:shufflenet_v2", _IMAGENET, 1000, 2_278_604, 16_180,
                144_907_992, _SHUFFLENET_V2, "torchvision, shufflenet_v2_x1_0: 2,278,604, 0.145 G MACs"),
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
                kinds=_SEQUENCE + _TEXT),
    ModelRecord("bilstm", "recurrent", "sequence", "recurrent:bilstm", _SENSORS, 6, 137_478, 19, 17_367_808,
                _BIDIRECTIONAL, kinds=_SEQUENCE + _TEXT),
    ModelRecord("gru", "recurrent", "sequence", "recurrent:gru", _SENSORS, 6, 39_750, 19, 4_940_160, _GRU,
                kinds=_SEQUENCE + _TEXT),
    ModelRecord("bigru", "recurrent", "sequence", "recurrent:bigru", _SENSORS, 6, 104_070, 19, 13_026_048,
                _BIDIRECTIONAL, kinds=_SEQUENCE + _TEXT),
    ModelRecord("lstm_attention", "recurrent", "sequence", "recurrent:lstm_attention", _SENSORS, 6, 56_582, 19,
                7_119_232, _POOLING, kinds=_SEQUENCE + _TEXT),
    ModelRecord("adaptive_lstm", "adaptive_lstm", "sequence", "adaptive_computation:adaptive_lstm", _SENSORS, 6, 34_119,
                19, 16_875_904, _ADAPTIVE, kinds=_SEQUENCE),
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
    ModelRecord("text_transformer", "attention", "text", "self_attention:text_transformer", (64,), 2, 368_514, 0,
                7_471_232, _ALBERT, kinds=_TEXT),
    ModelRecord("autoencoder", "autoencoder", "reconstruction", "anomaly_detection:autoencoder", (5, 128), None,
                267_928, 2_321, 264_192, _MLPERF_TINY, "MLPerf Tiny: 267,928, with statistics 269,992", _SEQUENCE),
    ModelRecord("siamese", "siamese", "similarity", "twin_encoder:siamese", _SOUND, None, 85_120, 657, 6_191_104,
                _SIAMESE, kinds=_SEQUENCE),
    ModelRecord("two_tower", "two_tower", "recommendation", "retrieval:two_tower", (1,), None, 84_064, 0, 0, _TWO_TOWER,
                kinds=("interaction",)),
    ModelRecord("text_cnn", "text", "text", "text:text_cnn", (64,), 2, 589_402, 0, 5_287_000, _TEXT_CNN, kinds=_TEXT),
)
# fmt: on

CATALOG: Mapping[str, ModelRecord] = MappingProxyType({record.name: record for record in _RECORDS})
"""Every model by its name, in the order in which lists show them."""
