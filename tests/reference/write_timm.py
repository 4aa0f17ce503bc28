"""Write what timm's networks compute: `python tests/reference/write_timm.py FOLDER`, in the reference environment.

A folder a network gets its tensors with random values (`model.safetensors`) and its configuration (`config.json`), as
timm publishes them, and images with the answers to them (`answers.safetensors`). Networks of which only the tensors'
names and shapes are to be compared have their places in `shapes.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import timm
import torch

# One of each kind; odd and even sizes before the layers that halve them, where the network takes any size.
FREE, FIXED = (70, 100), (224, 224)
COMPUTED = {
    "resnet18": FREE,
    "resnet50": FREE,
    "resnext50_32x4d": FREE,
    "seresnet50": FREE,
    "densenet121": FREE,
    "vgg11": FIXED,
    "vgg11_bn": FIXED,
    "mobilenetv1_100": FREE,
    "mobilenetv2_050": FREE,
    "mobilenetv2_140": FREE,
    "mobilenetv3_small_050": FREE,
    "mobilenetv3_large_100": FREE,
    "tf_mobilenetv3_small_075": FREE,
    "tf_mobilenetv3_small_minimal_100": FREE,
    "tf_mobilenetv3_large_100": FREE,
    "efficientnet_lite0": FREE,
    "tf_efficientnet_lite1": FREE,
    "vit_tiny_patch16_224": FIXED,
    "deit_tiny_patch16_224": FIXED,
    "mobilevit_xxs": FREE,
}
COMPARED = (
    *("resnet34", "resnet101", "resnet152", "densenet169", "densenet201"),
    *("vgg13", "vgg16", "vgg19", "vgg13_bn", "vgg16_bn", "vgg19_bn", "mobilenetv1_125", "mobilenetv2_100"),
    *("mobilenetv3_small_075", "mobilenetv3_small_100", "tf_mobilenetv3_small_100"),
    *("tf_mobilenetv3_large_075", "tf_mobilenetv3_large_minimal_100"),
    *(f"tf_efficientnet_lite{scale}" for scale in (0, 2, 3, 4)),
    "vit_tiny_patch16_384",
)
CLASSES = 10


def scatter(model: torch.nn.Module, images: torch.Tensor) -> None:
    """Move every weight off the zeros and ones it may start as; statistics are those of the images."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = 1.0
        elif isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.7, 1.3)
            torch.nn.init.normal_(module.bias, 0, 0.2)
        elif isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
            torch.nn.init.normal_(module.bias, 0, 0.1)
        elif isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            torch.nn.init.normal_(module.bias, 0, 0.1)
    for name, parameter in model.named_parameters():
        if name in ("cls_token", "pos_embed"):
            torch.nn.init.normal_(parameter, 0, 0.5)
    model.train()
    model(images)
    model.eval()


@torch.no_grad()
def compute(name: str, size: tuple[int, int], folder: Path) -> None:
    """Write a network's tensors, its configuration and its answers."""
    torch.manual_seed(1)
    model = timm.create_model(name, num_classes=CLASSES)
    mean, deviation = (torch.tensor(model.pretrained_cfg[key]) for key in ("mean", "std"))
    images = np.random.default_rng(1).integers(0, 256, (4, *size, 3)).astype("float32")
    prepared = ((torch.from_numpy(images) / 255 - mean) / deviation).permute(0, 3, 1, 2).contiguous()
    scatter(model, prepared)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    described = {"input_size": [3, *size], **{key: model.pretrained_cfg[key] for key in ("mean", "std")}}
    (folder / "config.json").write_text(json.dumps({"architecture": name, "pretrained_cfg": described}))
    answers = {"images": images, "outputs": model(prepared).numpy()}
    safetensors.numpy.save_file(answers, folder / "answers.safetensors")


def shapes(name: str) -> dict[str, list[int]]:
    """Give the shapes of a network's tensors by their names, without making them."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=CLASSES)
    return {key: list(tensor.shape) for key, tensor in model.state_dict().items()}


def main(folder: Path) -> None:
    """Write all."""
    for name, size in COMPUTED.items():
        compute(name, size, folder / name)
    (folder / "shapes.json").write_text(json.dumps({name: shapes(name) for name in COMPARED}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
