"""timm's networks that are the zoo's layer for layer, and what their tensors are called here: data and nothing else.

A rule is a pattern for a tensor's name without its last part (`weight`, `bias`, …) and the name of the zoo's layer.
`{0}` stands for the first group, `{n[0]}` for the number after it, since timm counts from 0. What follows a slash says
which of several tensors of one layer this is. `{flat}` counts the blocks of all stages, which timm counts by stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Architecture:
    """One of timm's networks.

    Attributes:
        model: its name in the zoo's catalogue.
        rules: for its tensors' names.
        arguments: of the zoo's factory.
        epsilon: of its batch normalisation.
        blocks: of each stage, for the rules that need them.
    """

    model: str
    rules: Rules
    arguments: Mapping[str, Any] = field(default_factory=dict)
    epsilon: float = 1e-5
    blocks: tuple[int, ...] = ()


_RESNET: Rules = (
    (r"conv1", "stem_conv"),
    (r"bn1", "stem_bn"),
    (r"layer(\d+)\.(\d+)\.conv(\d)", "stage{0}_block{n[1]}_{2}_conv"),
    (r"layer(\d+)\.(\d+)\.bn(\d)", "stage{0}_block{n[1]}_{2}_bn"),
    (r"layer(\d+)\.(\d+)\.downsample\.0", "stage{0}_block{n[1]}_shortcut_conv"),
    (r"layer(\d+)\.(\d+)\.downsample\.1", "stage{0}_block{n[1]}_shortcut_bn"),
    (r"layer(\d+)\.(\d+)\.se\.fc1", "stage{0}_block{n[1]}_se_reduce"),
    (r"layer(\d+)\.(\d+)\.se\.fc2", "stage{0}_block{n[1]}_se_expand"),
    (r"fc", "predictions"),
)
_DENSENET: Rules = (
    (r"features\.conv0", "stem_conv"),
    (r"features\.norm0", "stem_bn"),
    (r"features\.denseblock(\d+)\.denselayer(\d+)\.conv(\d)", "block{0}_layer{1}_{2}_conv"),
    (r"features\.denseblock(\d+)\.denselayer(\d+)\.norm(\d)", "block{0}_layer{1}_{2}_bn"),
    (r"features\.transition(\d+)\.conv", "transition{0}_conv"),
    (r"features\.transition(\d+)\.norm", "transition{0}_bn"),
    (r"features\.norm5", "final_bn"),
    (r"classifier", "predictions"),
)
_MOBILE_ENDS: Rules = (
    (r"conv_stem", "stem_conv"),
    (r"bn1", "stem_bn"),
    (r"classifier", "predictions"),
)
_MOBILENET_V1: Rules = (
    *_MOBILE_ENDS,
    (r"blocks\.(\d+)\.(\d+)\.conv_dw", "block{flat}_depthwise_conv"),
    (r"blocks\.(\d+)\.(\d+)\.bn1", "block{flat}_depthwise_bn"),
    (r"blocks\.(\d+)\.(\d+)\.conv_pw", "block{flat}_pointwise_conv"),
    (r"blocks\.(\d+)\.(\d+)\.bn2", "block{flat}_pointwise_bn"),
)


def _inverted_residuals(block: str) -> Rules:
    """Give the rules for blocks of this name; the first stage's are not widened first."""
    return (
        *_MOBILE_ENDS,
        (r"blocks\.(0)\.(\d+)\.conv_dw", f"{block}_depthwise_conv"),
        (r"blocks\.(0)\.(\d+)\.bn1", f"{block}_depthwise_bn"),
        (r"blocks\.(0)\.(\d+)\.conv_pw", f"{block}_project_conv"),
        (r"blocks\.(0)\.(\d+)\.bn2", f"{block}_project_bn"),
        (r"blocks\.(\d+)\.(\d+)\.conv_pw", f"{block}_expand_conv"),
        (r"blocks\.(\d+)\.(\d+)\.bn1", f"{block}_expand_bn"),
        (r"blocks\.(\d+)\.(\d+)\.conv_dw", f"{block}_depthwise_conv"),
        (r"blocks\.(\d+)\.(\d+)\.bn2", f"{block}_depthwise_bn"),
        (r"blocks\.(\d+)\.(\d+)\.se\.conv_(reduce|expand)", f"{block}_se_{{2}}"),
        (r"blocks\.(\d+)\.(\d+)\.conv_pwl", f"{block}_project_conv"),
        (r"blocks\.(\d+)\.(\d+)\.bn3", f"{block}_project_bn"),
    )


_MOBILENET_V2: Rules = (
    *_inverted_residuals("stage{n[0]}_block{n[1]}"),
    (r"conv_head", "last_conv"),
    (r"bn2", "last_bn"),
)


def _mobilenet_v3(last: int) -> Rules:
    """Give the rules for a network whose last stage, one convolution, has this number."""
    return (
        (rf"blocks\.{last}\.0\.conv", "last_conv"),
        (rf"blocks\.{last}\.0\.bn1", "last_bn"),
        *_inverted_residuals("block{flat}"),
        (r"conv_head", "widen"),
    )


def _vgg(*convolutions: int, normalized: bool) -> Rules:
    """Give the rules for so many convolutions before each pooling; timm numbers all layers in one row."""
    rules, place = [], 0
    for block, count in enumerate(convolutions, start=1):
        for number in range(1, count + 1):
            rules.append((rf"features\.{place}", f"block{block}_{number}_conv"))
            if normalized:
                rules.append((rf"features\.{place + 1}", f"block{block}_{number}_bn"))
            place += 3 if normalized else 2
        place += 1
    return (*rules, (r"pre_logits\.fc(\d)", "hidden{0}"), (r"head\.fc", "predictions"))


_VIT: Rules = (
    (r"", "projection_and_position"),
    (r"patch_embed\.proj", "projection_and_position"),
    (r"blocks\.(\d+)\.norm1", "block{n[0]}_attention_norm"),
    (r"blocks\.(\d+)\.attn\.(qkv|proj)", "block{n[0]}_attention/{1}"),
    (r"blocks\.(\d+)\.norm2", "block{n[0]}_mlp_norm"),
    (r"blocks\.(\d+)\.mlp\.fc1", "block{n[0]}_mlp_widen"),
    (r"blocks\.(\d+)\.mlp\.fc2", "block{n[0]}_mlp_narrow"),
    (r"norm", "final_norm"),
    (r"head", "predictions"),
)
_MOBILEVIT: Rules = (
    (r"stem\.(conv|bn)", "stem_{0}"),
    (r"stages\.(\d+)\.(\d+)\.conv1_1x1\.(conv|bn)", "stage{n[0]}_block{n[1]}_expand_{2}"),
    (r"stages\.(\d+)\.(\d+)\.conv2_kxk\.(conv|bn)", "stage{n[0]}_block{n[1]}_depthwise_{2}"),
    (r"stages\.(\d+)\.(\d+)\.conv3_1x1\.(conv|bn)", "stage{n[0]}_block{n[1]}_project_{2}"),
    (r"stages\.(\d+)\.1\.conv_kxk\.(conv|bn)", "stage{n[0]}_vit_local_{1}"),
    (r"stages\.(\d+)\.1\.conv_1x1", "stage{n[0]}_vit_widen_conv"),
    (r"stages\.(\d+)\.1\.transformer\.(\d+)\.norm1", "stage{n[0]}_vit_block{n[1]}_attention_norm"),
    (r"stages\.(\d+)\.1\.transformer\.(\d+)\.attn\.(qkv|proj)", "stage{n[0]}_vit_block{n[1]}_attention/{2}"),
    (r"stages\.(\d+)\.1\.transformer\.(\d+)\.norm2", "stage{n[0]}_vit_block{n[1]}_mlp_norm"),
    (r"stages\.(\d+)\.1\.transformer\.(\d+)\.mlp\.fc1", "stage{n[0]}_vit_block{n[1]}_mlp_widen"),
    (r"stages\.(\d+)\.1\.transformer\.(\d+)\.mlp\.fc2", "stage{n[0]}_vit_block{n[1]}_mlp_narrow"),
    (r"stages\.(\d+)\.1\.norm", "stage{n[0]}_vit_norm"),
    (r"stages\.(\d+)\.1\.conv_proj\.(conv|bn)", "stage{n[0]}_vit_narrow_{1}"),
    (r"stages\.(\d+)\.1\.conv_fusion\.(conv|bn)", "stage{n[0]}_vit_fuse_{1}"),
    (r"final_conv\.(conv|bn)", "last_{0}"),
    (r"head\.fc", "predictions"),
)

_TENSORFLOW: Mapping[str, Any] = {"padding": "same"}
_V1_BLOCKS = (1, 2, 2, 6, 2)
_SMALL_BLOCKS, _LARGE_BLOCKS = (1, 2, 3, 2, 3), (1, 2, 3, 4, 2, 3)
_SMALL, _LARGE = _mobilenet_v3(len(_SMALL_BLOCKS)), _mobilenet_v3(len(_LARGE_BLOCKS))


def _small(epsilon: float = 1e-5, **arguments: Any) -> Architecture:
    return Architecture("mobilenet_v3_small", _SMALL, arguments, epsilon, _SMALL_BLOCKS)


def _large(epsilon: float = 1e-5, **arguments: Any) -> Architecture:
    return Architecture("mobilenet_v3_large", _LARGE, arguments, epsilon, _LARGE_BLOCKS)


ARCHITECTURES: Mapping[str, Architecture] = {
    **{name: Architecture(name, _RESNET) for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")},
    "resnext50_32x4d": Architecture("resnext50_32x4d", _RESNET),
    "seresnet50": Architecture("se_resnet50", _RESNET),
    **{name: Architecture(name, _DENSENET) for name in ("densenet121", "densenet169", "densenet201")},
    "vgg11": Architecture("vgg11", _vgg(1, 1, 2, 2, 2, normalized=False)),
    "vgg13": Architecture("vgg13", _vgg(2, 2, 2, 2, 2, normalized=False)),
    "vgg16": Architecture("vgg16", _vgg(2, 2, 3, 3, 3, normalized=False)),
    "vgg19": Architecture("vgg19", _vgg(2, 2, 4, 4, 4, normalized=False)),
    "vgg11_bn": Architecture("vgg11_bn", _vgg(1, 1, 2, 2, 2, normalized=True)),
    "vgg13_bn": Architecture("vgg13_bn", _vgg(2, 2, 2, 2, 2, normalized=True)),
    "vgg16_bn": Architecture("vgg16_bn", _vgg(2, 2, 3, 3, 3, normalized=True)),
    "vgg19_bn": Architecture("vgg19_bn", _vgg(2, 2, 4, 4, 4, normalized=True)),
    "mobilenetv1_100": Architecture("mobilenet_v1", _MOBILENET_V1, blocks=_V1_BLOCKS),
    "mobilenetv1_125": Architecture("mobilenet_v1", _MOBILENET_V1, {"alpha": 1.25}, blocks=_V1_BLOCKS),
    "mobilenetv2_050": Architecture("mobilenet_v2", _MOBILENET_V2, {"alpha": 0.5}),
    "mobilenetv2_100": Architecture("mobilenet_v2", _MOBILENET_V2),
    "mobilenetv2_140": Architecture("mobilenet_v2", _MOBILENET_V2, {"alpha": 1.4}),
    "mobilenetv3_small_050": _small(alpha=0.5),
    "mobilenetv3_small_075": _small(alpha=0.75),
    "mobilenetv3_small_100": _small(),
    "mobilenetv3_large_100": _large(),
    "tf_mobilenetv3_small_075": _small(1e-3, alpha=0.75, **_TENSORFLOW),
    "tf_mobilenetv3_small_100": _small(1e-3, **_TENSORFLOW),
    "tf_mobilenetv3_small_minimal_100": _small(1e-3, minimalistic=True, **_TENSORFLOW),
    "tf_mobilenetv3_large_075": _large(1e-3, alpha=0.75, **_TENSORFLOW),
    "tf_mobilenetv3_large_100": _large(1e-3, **_TENSORFLOW),
    "tf_mobilenetv3_large_minimal_100": _large(1e-3, minimalistic=True, **_TENSORFLOW),
    "efficientnet_lite0": Architecture("efficientnet_lite0", _MOBILENET_V2),
    **{
        f"tf_efficientnet_lite{scale}": Architecture(f"efficientnet_lite{scale}", _MOBILENET_V2, _TENSORFLOW, 1e-3)
        for scale in range(5)
    },
    "vit_tiny_patch16_224": Architecture("vit_tiny", _VIT),
    "vit_tiny_patch16_384": Architecture("vit_tiny", _VIT),
    "deit_tiny_patch16_224": Architecture("vit_tiny", _VIT),
    "mobilevit_xxs": Architecture("mobilevit_xxs", _MOBILEVIT),
}
