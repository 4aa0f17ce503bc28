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

# Published figures: trainable parameters, BatchNorm statistics, multiply-accumulates (torchvision, timm, MLPerf Tiny),
# None where nobody says it.
PUBLISHED = {
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
    "mobilenet_v2": (3_504_872, 34_112, 300_774_272),
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
def test_a_record_tells_the_truth_about_its_model(name: str) -> None:
    record = zoo.CATALOG[name]
    model = zoo.create_model(name)
    counted = (*parameters(model), zoo.count_macs(model))
    assert counted == (record.trainable_parameters, record.non_trainable_parameters, record.macs)
    for ours, published in zip(counted, PUBLISHED.get(name, counted), strict=True):
        assert published in (None, ours)
    assert model.input_shape == (None, *record.input_shape)
    assert model.output_shape == (None, *((record.classes,) if record.classes else record.input_shape))
    assert model.name == record.name == name


@pytest.mark.parametrize(
    ("name", "arguments", "trainable"),
    [
        ("resnet18", {"input_shape": (32, 32, 3), "classes": 10}, 11_173_962),
        # keras.applications' MobileNetV2 of this width has 410,208 parameters before the classifier.
        ("mobilenet_v2", {"alpha": 0.35, "classes": 2}, 410_208 - 14_016 - 64 + 2 * 1281),
    ],
)
def test_variants_have_the_published_parameters(name: str, arguments: dict[str, Any], trainable: int) -> None:
    assert parameters(zoo.create_model(name, **arguments))[0] == trainable


def test_mlperf_tinys_models_are_so_in_size() -> None:
    assert zoo.resnet8().count_params() == 78_666
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
        ({"pattern": "l*", "task": "image"}, []),
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
    assert doctest.testmod(importlib.import_module(f"kzoo.models{module}")).failed == 0
