"""The catalogue against the built models, and the room's public functions."""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import pkgutil
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import pytest

import kzoo.models as zoo

# Published figures: trainable parameters, BatchNorm statistics, multiply-accumulates (torchvision, timm, MLPerf Tiny,
# keras.applications), None where nobody says it.
PUBLISHED = {
    "lenet5": (61_706, 0, None),
    "alexnet": (61_100_840, 0, None),
    "vgg11": (132_863_336, 0, None),
    "vgg13": (133_047_848, 0, None),
    "vgg16": (138_357_544, 0, 15_470_264_320),
    "vgg19": (143_667_240, 0, None),
    "vgg11_bn": (132_868_840, None, None),
    "vgg13_bn": (133_053_736, None, None),
    "vgg16_bn": (138_365_992, None, None),
    "vgg19_bn": (143_678_248, None, None),
    # torchvision has 3x3 in place of 5x5, from so many channels to so many, in nine modules.
    "googlenet": (
        6_624_904 + (25 - 9) * (16 * 32 + 32 * 96 + 16 * 48 + 24 * 64 * 2 + 32 * 64 + 32 * 128 + 32 * 128 + 48 * 128),
        None,
        None,
    ),
    "inception_v3": (23_817_352, 34_432, None),
    "densenet121": (7_978_856, 83_648, 2_834_161_664),
    "densenet169": (14_149_480, 158_400, None),
    "densenet201": (20_013_928, 229_056, None),
    "squeezenet": (1_235_496, 0, None),
    "shufflenet_v2": (2_278_604, None, None),
    "resnet50": (25_557_032, 53_120, 4_089_184_256),
    "resnet101": (44_549_160, 105_344, 7_801_405_440),
    "resnet152": (60_192_808, 151_424, 11_513_626_624),
    "resnext50_32x4d": (25_028_904, 68_224, 4_230_479_872),
    "resnet50_v2": (25_549_352, None, None),
    "resnet101_v2": (44_541_480, None, None),
    "resnet152_v2": (60_185_128, None, None),
    "wide_resnet28_10": (36_479_194, None, None),
    "wide_resnet40_2": (2_243_546, None, None),
    "se_resnet18": (11_778_592, None, None),
    "se_resnet50": (28_088_024, None, None),
    "resnet34": (21_797_672, 17_024, 3_663_761_408),
    "resnet18": (11_689_512, 9_600, 1_814_073_344),
    "mobilenet_v1": (4_231_976, 21_888, 568_740_352),
    "mobilenet_v2": (3_504_872, 34_112, 300_774_272),
    "mobilenet_v3_small": (2_542_856, 12_112, None),
    "mobilenet_v3_large": (5_483_032, 24_400, None),
    "efficientnet_lite0": (4_652_008, 42_016, None),
    "efficientnet_lite1": (5_416_680, None, None),
    "efficientnet_lite2": (6_092_072, None, None),
    "efficientnet_lite3": (8_197_096, None, None),
    "efficientnet_lite4": (13_006_568, None, None),
    "vit_tiny": (5_717_416 - 2 * 192, 0, None),
    "mobilevit_xxs": (1_272_024, None, None),
    "resnet8": (78_186, 480, 12_501_632),
    "ds_cnn": (23_756, None, None),
    "autoencoder": (267_928, None, None),
}


def parameters(model: Any) -> tuple[int, int]:
    """Count trainable and other weights."""
    return (
        sum(prod(weight.shape) for weight in model.trainable_weights),
        sum(prod(weight.shape) for weight in model.non_trainable_weights),
    )


@pytest.mark.parametrize("name", list(reversed(zoo.CATALOG)))
def test_a_record_tells_the_truth_about_its_model(without_values: Any, name: str) -> None:
    record = zoo.CATALOG[name]
    with without_values():
        model = zoo.create_model(name)
    counted = (*parameters(model), zoo.count_macs(model))
    assert counted == (record.trainable_parameters, record.non_trainable_parameters, record.macs)
    for ours, published in zip(counted, PUBLISHED.get(name, counted), strict=True):
        assert published in (None, ours)
    assert {tensor.shape for tensor in model.inputs} == {(None, *record.input_shape)}
    gives = {"similarity": (1,), "recommendation": (1,), "reconstruction": record.input_shape}
    assert {tensor.shape for tensor in model.outputs} == {(None, *gives.get(record.task, (record.classes,)))}
    assert model.name == record.name == name


@pytest.mark.parametrize(
    ("name", "arguments", "trainable"),
    [
        ("resnet18", {"input_shape": (32, 32, 3), "classes": 10}, 11_173_962),
        # keras.applications' MobileNetV2 of this width has 410,208 parameters before the classifier.
        ("mobilenet_v2", {"alpha": 0.35, "classes": 2}, 410_208 - 14_016 - 64 + 2 * 1281),
        # torchvision's shufflenet_v2_x0_5, x1_5 and x2_0
        ("shufflenet_v2", {"width": 0.5}, 1_366_792),
        ("shufflenet_v2", {"width": 1.5}, 3_503_624),
        ("shufflenet_v2", {"width": 2.0}, 7_393_996),
    ],
)
def test_variants_have_the_published_parameters(name: str, arguments: dict[str, Any], trainable: int) -> None:
    assert parameters(zoo.create_model(name, **arguments))[0] == trainable


def test_mlperf_tinys_models_are_so_in_size() -> None:
    assert zoo.resnet8().count_params() == 78_666
    assert zoo.mobilenet_v1_025_96().count_params() == 221_794
    # Theirs begin with no normalisation of the features: mean and variance of each, and a count.
    assert zoo.ds_cnn().count_params() == 24_908 + 2 * 10 + 1
    assert zoo.autoencoder().count_params() == 269_992 + 2 * 128 + 1


def test_listing_imports_no_keras() -> None:
    program = (
        "import sys, json, kzoo.models as zoo\n"
        "zoo.list_models('res*', task='image'); [record.macs for record in zoo.CATALOG.values()]\n"
        "print(json.dumps([m for m in sys.modules if m.split('.')[0] in ('keras', 'tensorflow', 'jax', 'tf_keras')]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, list(zoo.CATALOG)),
        ({"pattern": "resnet1*_v2"}, ["resnet18_v2", "resnet101_v2", "resnet152_v2", "resnet164_v2"]),
        ({"pattern": "ResNet?"}, ["resnet8"]),
        ({"pattern": "resnet"}, []),
        ({"pattern": "*[48]", "family": "resnet"}, ["resnet8", "resnet44", "resnet18", "resnet34", "se_resnet18"]),
        ({"pattern": "*n", "task": "sequence"}, ["lstm_attention", "tcn", "ds_cnn", "attention"]),
        ({"pattern": "l*", "task": "image"}, ["lenet5"]),
    ],
)
def test_list_models_filters(arguments: dict[str, str], names: list[str]) -> None:
    assert zoo.list_models(**arguments) == names


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: zoo.create_model("resnet81"), "There is no model 'resnet81'.*resnet8"),
        (lambda: zoo.create_model("zzz"), "Known: .*attention, .*cnn"),
        (lambda: zoo.list_models(family="resnets"), "There is no family 'resnets'.*resnet"),
        (lambda: zoo.list_models(task="video"), "There is no task 'video'.*image"),
    ],
)
def test_unknown_names_bring_the_nearest(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_unknown_argument_brings_the_nearest() -> None:
    with pytest.raises(TypeError, match=r"resnet8 takes no argument 'clases'.*Did you mean classes"):
        zoo.create_model("resnet8", clases=3)


def test_the_package_hands_on_every_factory_and_no_module_hides_one() -> None:
    modules = {module.name for module in pkgutil.iter_modules(zoo.__path__)}
    for record in zoo.CATALOG.values():
        # Importing a module sets the package's attribute of that name, so the names must differ.
        assert record.name not in modules
        module, function = record.factory.split(":")
        factory = getattr(importlib.import_module(f"kzoo.models.{module}"), function)
        assert getattr(zoo, record.name) is factory
        assert record.name in zoo.__all__ and record.name in dir(zoo)
    with pytest.raises(AttributeError, match="no_such_model"):
        zoo.no_such_model  # noqa: B018


def test_the_room_imports_nothing_but_keras_and_itself() -> None:
    allowed = {"keras", *sys.stdlib_module_names}
    for module in pkgutil.iter_modules(zoo.__path__):
        source = importlib.import_module(f"kzoo.models.{module.name}").__file__
        assert source is not None
        tree = ast.parse(Path(source).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module is not None and node.module.split(".")[0] in allowed


@pytest.mark.parametrize("module", ["", *(f".{module.name}" for module in pkgutil.iter_modules(zoo.__path__))])
def test_examples_in_docstrings_run(module: str) -> None:
    found = doctest.DocTestFinder().find(importlib.import_module(f"kzoo.models{module}"))
    # Variants have the docstring of their builder.
    different = {tuple(example.source for example in each.examples): each for each in found}
    runner = doctest.DocTestRunner()
    for each in different.values():
        runner.run(each)
    assert runner.failures == 0
