"""timm's tensors in the models of the zoo, without PyTorch: names, layouts, and everything that can be wrong.

Here the tensors are written out as timm calls them; `tests/reference` holds the importer against timm itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from safetensors.numpy import save_file
from scipy.special import erf

import kzoo
from kzoo.pretrained import fetch_pretrained, is_published
from kzoo.pretrained.timm_names import ARCHITECTURES
from kzoo.pretrained.timm_tensors import convert, layer_of
from kzoo.zoo import load_with_report

Array = Any
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SIGNED = {"mean": [0.5] * 3, "std": [0.5] * 3}


def random_tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    values = {}
    for name, shape in shapes.items():
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 25
        values[name] = rng.normal(0, 1 / np.sqrt(fan_in), shape).astype("float32")
        if name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
            values[name] = np.abs(values[name]) + 0.5
    return values


def resnet18(classes: int = 7) -> dict[str, Array]:
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_bn(conv: str, bn: str, outgoing: int, incoming: int, side: int) -> None:
        shapes[f"{conv}.weight"] = (outgoing, incoming, side, side)
        shapes.update({f"{bn}.{part}": (outgoing,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{bn}.num_batches_tracked"] = ()

    conv_bn("conv1", "bn1", 64, 3, 7)
    incoming = 64
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            path = f"layer{stage}.{block}"
            conv_bn(f"{path}.conv1", f"{path}.bn1", channels, incoming, 3)
            conv_bn(f"{path}.conv2", f"{path}.bn2", channels, channels, 3)
            if stage > 1 and block == 0:
                conv_bn(f"{path}.downsample.0", f"{path}.downsample.1", channels, incoming, 1)
            incoming = channels
    return random_tensors({**shapes, "fc.weight": (classes, 512), "fc.bias": (classes,)})


def vit_tiny(tokens: int) -> dict[str, Array]:
    units = 192
    shapes = {"cls_token": (1, 1, units), "pos_embed": (1, tokens, units)}
    sizes = {"patch_embed.proj": (units, 3, 16, 16), "head": (7, units), "norm": ()}
    for block in range(12):
        path = f"blocks.{block}"
        sizes |= {f"{path}.norm1": (), f"{path}.norm2": ()}
        sizes |= {f"{path}.attn.qkv": (3 * units, units), f"{path}.attn.proj": (units, units)}
        sizes |= {f"{path}.mlp.fc1": (4 * units, units), f"{path}.mlp.fc2": (units, 4 * units)}
    for path, size in sizes.items():
        shapes[f"{path}.weight"], shapes[f"{path}.bias"] = size or (units,), (size or (units,))[:1]
    return random_tensors(shapes)


def vit_forward(tensors: dict[str, Array], patches: Array) -> Array:
    """Compute what timm's vision transformer does with `(batch, patches, 3 * 16 * 16)`, channels first."""

    def linear(x: Array, path: str) -> Array:
        weight = tensors[f"{path}.weight"]
        return x @ weight.reshape(len(weight), -1).T + tensors[f"{path}.bias"]

    def norm(x: Array, path: str) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * tensors[f"{path}.weight"] + tensors[f"{path}.bias"]

    x = linear(patches, "patch_embed.proj")
    x = np.concatenate([np.repeat(tensors["cls_token"], len(x), axis=0), x], axis=1) + tensors["pos_embed"]
    for block in range(12):
        path = f"blocks.{block}"
        qkv = linear(norm(x, f"{path}.norm1"), f"{path}.attn.qkv").reshape(*x.shape[:2], 3, 3, 64)
        query, key, value = qkv.transpose(2, 0, 3, 1, 4)
        scores = np.exp(query @ key.transpose(0, 1, 3, 2) / 8)
        heads = scores / scores.sum(-1, keepdims=True) @ value
        x = x + linear(heads.transpose(0, 2, 1, 3).reshape(x.shape), f"{path}.attn.proj")
        y = linear(norm(x, f"{path}.norm2"), f"{path}.mlp.fc1")
        x = x + linear(y * (1 + erf(y / np.sqrt(2))) / 2, f"{path}.mlp.fc2")
    return linear(norm(x, "norm")[:, 0], "head")


@pytest.mark.parametrize(
    ("architecture", "tensor", "layer"),
    [
        ("resnet50", "layer3.5.conv2.weight", "stage3_block6_2_conv"),
        ("resnext50_32x4d", "layer2.0.downsample.1.running_var", "stage2_block1_shortcut_bn"),
        ("seresnet50", "layer4.2.se.fc2.bias", "stage4_block3_se_expand"),
        ("densenet201", "features.denseblock3.denselayer48.norm2.weight", "block3_layer48_2_bn"),
        ("densenet121", "features.transition2.conv.weight", "transition2_conv"),
        ("vgg16", "features.28.weight", "block5_3_conv"),
        ("vgg19_bn", "features.50.running_mean", "block5_4_bn"),
        ("vgg11", "pre_logits.fc2.weight", "hidden2"),
        ("mobilenetv1_100", "blocks.3.5.conv_pw.weight", "block11_pointwise_conv"),
        ("mobilenetv2_100", "blocks.0.0.conv_pw.weight", "stage1_block1_project_conv"),
        ("mobilenetv2_100", "blocks.5.2.bn1.bias", "stage6_block3_expand_bn"),
        ("mobilenetv3_small_100", "blocks.5.0.bn1.bias", "last_bn"),
        ("tf_mobilenetv3_large_100", "blocks.5.0.bn1.bias", "block13_expand_bn"),
        ("tf_mobilenetv3_large_100", "blocks.4.1.se.conv_reduce.bias", "block12_se_reduce"),
        ("mobilenetv3_large_100", "conv_head.bias", "widen"),
        ("tf_efficientnet_lite4", "blocks.6.0.conv_pwl.weight", "stage7_block1_project_conv"),
        ("mobilevit_xxs", "stages.3.1.transformer.3.mlp.fc1.weight", "stage4_vit_block4_mlp_widen"),
        ("mobilevit_xxs", "stages.1.2.conv2_kxk.bn.weight", "stage2_block3_depthwise_bn"),
        ("deit_tiny_patch16_224", "blocks.11.norm2.weight", "block12_mlp_norm"),
    ],
)
def test_a_tensor_has_its_layer(architecture: str, tensor: str, layer: str) -> None:
    record = ARCHITECTURES[architecture]
    assert layer_of(record, tensor) == (layer, tensor.rpartition(".")[2])


def test_vit_computes_what_its_tensors_do_in_timm() -> None:
    tensors = vit_tiny(1 + 5 * 6)
    config = {"input_size": (3, 80, 96), **SIGNED}
    model = convert("vit_tiny_patch16_224", tensors, config, {"classifier_activation": None}).model
    images = np.random.default_rng(1).integers(0, 256, (2, 80, 96, 3)).astype("float32")
    patches = (images / 127.5 - 1).reshape(2, 5, 16, 6, 16, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 30, -1)
    expected = vit_forward(tensors, patches)
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(model(images, training=False), expected, atol=1e-4)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay ResNet18's weights where a download would leave them; gives their folder."""
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path))
    folder = tmp_path / "timm" / "resnet18.a1_in1k"
    folder.mkdir(parents=True)
    save_file(resnet18(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": {"input_size": [3, 224, 224], **IMAGENET}}))
    return folder


def test_weights_load_from_the_cache(cached: Path) -> None:
    tensors = resnet18()
    model, report = load_with_report("resnet18", weights="timm:resnet18.a1_in1k")
    assert (report.adapted, report.fresh) == ((), ())
    assert (model.input_shape, model.output_shape) == ((None, 224, 224, 3), (None, 7))
    image = np.array([0.485, 0.456, 0.406], "float32").reshape(1, 1, 1, 3) * 255  # the mean becomes nothing
    np.testing.assert_allclose(model.get_layer("rescaling")(image), np.zeros((1, 1, 1, 3)), atol=1e-5)
    kernel = model.get_layer("stage2_block1_shortcut_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel[0, 0], tensors["layer2.0.downsample.0.weight"][:, :, 0, 0].T)
    statistics = model.get_layer("stage2_block1_shortcut_bn").get_weights()
    for part, value in zip(("weight", "bias", "running_mean", "running_var"), statistics, strict=True):
        np.testing.assert_array_equal(value, tensors[f"layer2.0.downsample.1.{part}"])

    grey, report = load_with_report(
        "resnet18", weights="timm:resnet18.a1_in1k", input_shape=(96, 96, 3), include_top=False, pooling="avg"
    )
    assert grey.output_shape == (None, 512)
    assert report.fresh == ()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_file_is_removed(cached: Path, file: str) -> None:
    whole = (cached / file).read_bytes()
    (cached / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(kzoo.WeightsError, match=f"timm's {file}, received a file that is damaged") as caught:
        kzoo.load("resnet18", weights="timm:resnet18.a1_in1k")
    assert "\n" not in str(caught.value)
    assert not (cached / file).exists()


def test_no_network_is_one_line(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("no route\nto host")

    monkeypatch.setattr(requests, "get", fail)
    with pytest.raises(kzoo.WeightsError, match=r"received nothing: no route to host\. Check the network"):
        kzoo.load("resnet18", weights="timm:resnet18.a2_in1k")


def test_weights_that_timm_does_not_publish(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = 401
        return response

    monkeypatch.setattr(requests, "get", answer)
    with pytest.raises(kzoo.UsageError, match=r"received timm:resnet18\.a9_in1k: .* has no config\.json"):
        kzoo.load("resnet18", weights="timm:resnet18.a9_in1k")


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnet18", "timm:resnet50.a1_in1k", "received timm:resnet50.a1_in1k, weights of resnet50"),
        ("resnet18", "timm:resnet18d.ra2_in1k", "weights that no model of the zoo can take"),
        ("resnet18", "timm:resnet18", "Expected timm:ARCHITECTURE.TRAINING"),
        ("resnet18", "timm:resnet18.a1/../..", "Expected timm:ARCHITECTURE.TRAINING"),
        ("resnet18_v2", "timm:resnetv2_18.ra4", "received resnet18_v2. Did you mean resnet18"),
        ("resnet18", "tim:resnet18.a1_in1k", "as SOURCE:TAG, .* Did you mean timm"),
        ("resnet18", "imagenet", "as SOURCE:TAG"),
        ("resnet81", "timm:resnet18.a1_in1k", "Unknown model 'resnet81'"),
    ],
)
def test_names_that_fit_nothing(name: str, weights: str, message: str) -> None:
    with pytest.raises(kzoo.UsageError, match=message):
        kzoo.load(name, weights=weights)


def test_a_path_is_no_published_weight() -> None:
    assert is_published("timm:resnet18.a1_in1k") and is_published("keras.applications:imagenet")
    assert not any(map(is_published, ("timm", r"C:\runs\resnet18", "runs/resnet18.digits-1", "model.keras")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("layer2.0.bn2.bias"), "layer stage2_block1_2_bn, received none called 'bias'"),
        (lambda tensors: tensors.update({"layer2.0.bn2.extra": np.ones(3)}), "stage2_block1_2_bn, received extra, too"),
        (lambda tensors: tensors.update({"layer9.0.bn2.bias": np.ones(3)}), "received more, for stage9_block1_2_bn"),
        (lambda tensors: tensors.update({"fc2.weight": np.ones(3)}), "received 'fc2.weight', which it has no place"),
        (
            lambda tensors: tensors.update({"conv1.weight": np.ones((64, 3, 5, 5))}),
            r"Expected weights \[\(7, 7, 3, 64\)\] for the layer stem_conv, received \[\(5, 5, 3, 64\)\]",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Any, message: str) -> None:
    tensors = resnet18()
    change(tensors)
    with pytest.raises(kzoo.WeightsError, match=message):
        convert("resnet18", tensors, {"input_size": (3, 96, 96), **IMAGENET}, {})


def test_a_preprocessing_that_the_zoo_has_not() -> None:
    config = {"input_size": (3, 96, 96), "mean": [0.1] * 3, "std": [0.2] * 3}
    with pytest.raises(kzoo.WeightsError, match=r"received \(0.1, 0.1, 0.1\) and \(0.2, 0.2, 0.2\)"):
        convert("resnet18", resnet18(), config, {})


def test_arguments_of_a_factory_go_with_published_weights_only(tmp_path: Path) -> None:
    with pytest.raises(kzoo.UsageError, match="Expected alpha with published weights only"):
        kzoo.load(tmp_path, alpha=0.5)
    with pytest.raises(kzoo.UsageError, match="SOURCE:TAG"):
        fetch_pretrained("resnet18", "resnet18.a1_in1k")
