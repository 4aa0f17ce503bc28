"""Device kits: whole or not there, true to their file, and what their languages make of any class name."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from kzoo.data import InputSpec, decode_image
from kzoo.errors import ExportError, UsageError
from kzoo.export import ExportResult, OperatorCount, TensorFacts, read_tflite
from kzoo.export.arena import plan_arena
from kzoo.export.kits import PLATFORMS, write_kit
from kzoo.export.kits.tflm import METHODS

if TYPE_CHECKING:
    from .conftest import Exports

STUB = Path(__file__).with_name("tflm_stub")
# What each language could take for something else.
NASTY = (
    'a"b',
    "c\\d\\",
    "$e ${f}",
    "\\(g)",
    "ü 漢字 😀",
    "line\nbreak",
    "tab\t",
    "??/ trigraph",
    "</script>",
    "\u2028x",
)


def tool(name: str) -> str:
    """A program's path. Where it is not installed the test is skipped, on a build server it fails."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {name}, which is not installed")
    return path


def of(result: ExportResult, shape: tuple[int, ...], fit: str = "crop", **changes: Any) -> ExportResult:
    """The same file said to take another input, with class names that no language takes lightly."""
    kind = "image" if len(shape) == 3 else "sequence"
    given = result.inputs[0].model_copy(update={"shape": (1, *shape)})
    details = {"model": 'my */ "model" \\', "input": {"kind": kind, "shape": list(shape), "fit": fit}}
    return result.model_copy(update={"inputs": (given,), "details": details, "classes": NASTY, **changes})


def kit(result: ExportResult, platform: Any, folder: Path) -> Path:
    write_kit(result, platform, folder)
    return folder


def sources(folder: Path) -> str:
    """All the text of a kit."""
    return "\n".join(
        path.read_text() for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".tflite"
    )


PRINT_LABELS = """
#include <cstdio>
#include "labels.h"
int main() { for (auto label : kLabels) std::printf("%s%c", label, 0); }
"""

CASES = [
    (name, platform)
    for name, platform in itertools.product(("cnn_fp32", "cnn_int8", "lstm_fp32", "lstm_int8"), PLATFORMS)
    if platform != "web" or name == "cnn_fp32"
]


@pytest.mark.parametrize(("name", "platform"), CASES)
def test_a_kit_is_whole_and_true_to_its_file(exports: Exports, tmp_path: Path, name: str, platform: Any) -> None:
    result = exports.each()[name]
    files = write_kit(result, platform, tmp_path / "kits" / "one")
    assert files == tuple(sorted(path for path in (tmp_path / "kits" / "one").rglob("*") if path.is_file()))
    assert [path.name for path in (tmp_path / "kits").iterdir()] == ["one"]
    assert {"README.md"} < {path.name for path in files}
    if platform != "tflm":
        (model,) = (path for path in files if path.suffix == ".tflite")
        assert model.read_bytes() == result.path.read_bytes()
    text = sources(tmp_path / "kits" / "one")
    assert "{{" not in text and "{%" not in text
    for tensor in (result.inputs[0], result.outputs[0]):
        if platform != "rpi":  # which asks the interpreter
            assert f"{tensor.name} {'x'.join(map(str, tensor.shape))} {tensor.dtype}" in text
    # The folder is as readable as any other.
    assert (tmp_path / "kits" / "one").stat().st_mode & 0o777 == tmp_path.joinpath("kits").stat().st_mode & 0o777


@pytest.mark.parametrize("platform", ["tflm", "android", "ios"])
def test_scales_and_sizes_are_the_files(exports: Exports, tmp_path: Path, platform: Any) -> None:
    """Numbers that no other place of the programs has."""
    given = TensorFacts(name="in", shape=(1, 17, 19, 3), dtype="int16", scale=0.0123456789, zero_point=-77)
    answered = TensorFacts(name="out", shape=(1, 10), dtype="uint8", scale=0.0987654321, zero_point=99)
    changed = of(exports.cnn_int8, (17, 19, 3), inputs=(given,), outputs=(answered,))
    text = sources(kit(changed.model_copy(update={"inputs": (given,)}), platform, tmp_path / "kit"))
    for wanted in (r"\b0\.0123456789f?\b", r"\b0\.0987654321f?\b", r"= -77\b", r"= 99\b", "32767", "-32768"):
        assert re.search(wanted, text), wanted
    for name, size in (("height", 17), ("width", 19), ("channels", 3)):
        assert re.search(rf"(?i)\b(?:kInput)?{name} = {size}\b", text), name


@pytest.mark.parametrize("platform", PLATFORMS)
def test_only_a_model_with_variables_is_reset(exports: Exports, tmp_path: Path, platform: Any) -> None:
    plain = sources(kit(exports.cnn_fp32, platform, tmp_path / "plain"))
    reset = {
        "tflm": "interpreter.Reset()",
        "android": "interpreter.resetVariableTensors()",
        "ios": "let fresh = try Interpreter",
        "rpi": "interpreter.reset_all_variables()",
        "web": "",
    }[platform]
    if platform == "web":
        with pytest.raises(ExportError, match=r"without variables for the web"):
            kit(exports.lstm_fp32, platform, tmp_path / "stateful")
    else:
        assert reset not in plain
        assert reset in sources(kit(exports.lstm_fp32, platform, tmp_path / "stateful"))


def test_a_folder_that_holds_something_is_left_alone(exports: Exports, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name in ("mine", "file"):
        with pytest.raises(ExportError, match="exists already and is not empty"):
            kit(exports.cnn_int8, "rpi", tmp_path / name)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert (kit(exports.cnn_int8, "rpi", tmp_path / "empty") / "classify.py").is_file()


def test_a_kit_that_cannot_be_written_leaves_nothing(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ExportError, match="No space left"):
        kit(exports.cnn_int8, "rpi", tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


def test_what_no_kit_can_serve_is_refused(exports: Exports, tmp_path: Path) -> None:
    cnn = exports.cnn_int8
    (given,), (answered,) = cnn.inputs, cnn.outputs
    for platform, changes, error, words in (
        ("rpi", {"inputs": (given, given)}, ExportError, "2 inputs and 1 outputs"),
        ("rpi", {"outputs": (answered.model_copy(update={"shape": (1, 8, 8, 2)}),)}, ExportError, "output .1, classes"),
        ("rpi", {"inputs": (given.model_copy(update={"dtype": "int32"}),)}, ExportError, "Received: int32"),
        ("rpi", {"inputs": (given.model_copy(update={"scale": None}),)}, ExportError, "int8 without a scale"),
        ("rpi", {"inputs": (given.model_copy(update={"shape": (1, 8)}),)}, ExportError, "an image .height"),
        ("rpi", {"inputs": (given.model_copy(update={"shape": (1, 8, 8, 2)}),)}, ExportError, "1, 3 or 4 channels"),
        ("rpi", {"details": {"input": {"kind": "sequence", "shape": [8, 8]}}}, ExportError, "Received: .'kind'"),
        ("rpi", {"classes": ("a", "b")}, ExportError, "2 names"),
        ("rpi", {"sha256": "0" * 64}, ExportError, "other content"),
        ("rpi", {"path": tmp_path / "gone.tflite"}, ExportError, "gone.tflite"),
        ("web", {}, ExportError, "Export as fp32, fp16 or dynamic"),
        ("tflm", {"operators": (OperatorCount(name="CONV_3D", count=1),)}, ExportError, "CONV_3D"),
        ("androit", {}, UsageError, "Did you mean android"),
    ):
        with pytest.raises(error, match=words):
            kit(cnn.model_copy(update=changes), platform, tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


IN_KOTLIN = r"""
    "a\"b",
    "c\\d\\",
    "\$e \${f}",
    "\\(g)",
    "ü 漢字 😀",
    "line\u000abreak",
    "tab\u0009",
    "??/ trigraph",
    "</script>",
    "\u2028x",
"""
IN_SWIFT = r"""
    "a\"b",
    "c\\d\\",
    "$e ${f}",
    "\\(g)",
    "ü 漢字 😀",
    "line\u{a}break",
    "tab\u{9}",
    "??/ trigraph",
    "</script>",
    "\u{2028}x",
"""


def test_names_are_literals_in_kotlin_and_swift(exports: Exports, tmp_path: Path) -> None:
    result = of(exports.cnn_fp32, (8, 8, 1))
    (kotlin,) = kit(result, "android", tmp_path / "android").rglob("Labels.kt")
    assert f"arrayOf({IN_KOTLIN})" in kotlin.read_text()
    assert f"= [{IN_SWIFT}]" in (kit(result, "ios", tmp_path / "ios") / "Labels.swift").read_text()


def test_names_in_javascript_and_json(exports: Exports, tmp_path: Path) -> None:
    program = (kit(of(exports.cnn_fp32, (8, 8, 1)), "web", tmp_path / "w") / "classify.js").read_text()
    (array,) = re.findall(r"^const LABELS = (\[.*?^\]);", program, re.MULTILINE | re.DOTALL)
    printed = subprocess.run(
        [tool("node"), "-p", f"JSON.stringify({array})"], capture_output=True, text=True, check=True
    )
    assert tuple(json.loads(printed.stdout)) == NASTY
    labels = kit(of(exports.cnn_fp32, (8, 8, 1)), "rpi", tmp_path / "r") / "labels.json"
    assert tuple(json.loads(labels.read_text())) == NASTY
    title = re.search("<h1>(.*)</h1>", (tmp_path / "w" / "index.html").read_text())
    assert title and title[1] == "my */ &#34;model&#34; \\"


def test_every_operator_of_the_table_is_one(exports: Exports) -> None:
    from kzoo.export._operators import BUILTIN_OPERATORS

    assert set(METHODS) <= set(BUILTIN_OPERATORS)
    assert METHODS["CONV_2D"] == "AddConv2D"
    assert METHODS["BATCH_TO_SPACE_ND"] == "AddBatchToSpaceNd"
    assert METHODS["RELU6"] == "AddRelu6"


@pytest.mark.parametrize(
    ("name", "printed"),
    [("cnn_fp32", "input 128\n"), ("cnn_int8", "input 0\n"), ("lstm_fp32", "reset\ninput 0\n"), ("lstm_int8", None)],
)
def test_a_tflm_kit_compiles_and_runs(exports: Exports, tmp_path: Path, name: str, printed: str | None) -> None:
    """Against headers that declare what it uses of the library, and an interpreter that answers with class 3."""
    compiler = tool("g++")
    result = exports.each()[name]
    changed = of(result, result.inputs[0].shape[1:])
    folder = kit(changed, "tflm", tmp_path / "kit")
    array = re.findall(r"0x([0-9a-f]{2})", (folder / "model.cc").read_text())
    assert bytes.fromhex("".join(array)) == result.path.read_bytes()
    (tmp_path / "labels.cc").write_text(PRINT_LABELS)
    strict = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic", "-trigraphs", f"-I{folder}"]
    subprocess.run([*strict, tmp_path / "labels.cc", "-o", tmp_path / "labels"], check=True)
    assert tuple(subprocess.check_output([tmp_path / "labels"]).decode().split("\0")[:-1]) == NASTY

    integer = ["-DSTUB_INT8"] if result.quantize == "int8" else []
    programs = [folder / "main.cc", folder / "model.cc"]
    subprocess.run([*strict, *integer, f"-I{STUB}", *programs, "-o", tmp_path / "classify"], check=True)
    output = subprocess.check_output([tmp_path / "classify"], text=True)
    assert output.count("operator ") == len(result.operators)
    arena = plan_arena(read_tflite(result.path)).suggested
    assert f"arena: {arena} of {arena} bytes" in output
    # (64 + 128) / 256, or 0.75 as it is.
    assert output.endswith(f"{NASTY[3]}: 750/1000\n")
    assert printed is None or printed in output


PICTURES: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "grey": lambda rng: Image.fromarray(rng.integers(0, 256, (40, 27), np.uint8)),
    "colour": lambda rng: Image.fromarray(rng.integers(0, 256, (31, 50, 3), np.uint8)),
    "exact": lambda rng: Image.fromarray(rng.integers(0, 256, (8, 10, 3), np.uint8)),
    "small": lambda rng: Image.fromarray(rng.integers(0, 256, (3, 5, 3), np.uint8)),
    "alpha": lambda rng: Image.fromarray(rng.integers(0, 256, (33, 20, 4), np.uint8)),
    "grey and alpha": lambda rng: Image.fromarray(rng.integers(0, 256, (33, 20, 4), np.uint8)).convert("LA"),
    "palette": lambda rng: Image.fromarray(rng.integers(0, 256, (33, 20, 3), np.uint8)).quantize(7),
    "16 bits": lambda rng: Image.fromarray(rng.integers(0, 65536, (33, 20), np.uint16)),
    "one bit": lambda rng: Image.fromarray(rng.integers(0, 256, (33, 20), np.uint8)).convert("1"),
}


@pytest.mark.parametrize(("fit", "channels"), list(itertools.product(("crop", "pad", "stretch"), (1, 3, 4))))
def test_the_python_kit_prepares_pictures_as_kzoo(exports: Exports, tmp_path: Path, fit: Any, channels: int) -> None:
    folder = kit(of(exports.cnn_fp32, (8, 10, channels), fit), "rpi", tmp_path / "kit")
    program = module(folder / "classify.py")
    spec = InputSpec(kind="image", shape=(8, 10, channels), fit=fit)
    rng = np.random.default_rng(0)
    for name, draw in PICTURES.items():
        path = tmp_path / f"{name}.png"
        draw(rng).save(path)
        np.testing.assert_array_equal(program.read_sample(path), decode_image(path.read_bytes(), spec), name)
    exif = Image.Exif()
    for orientation in (1, 3, 6, 7):
        exif[0x0112] = orientation
        large = Image.fromarray(rng.integers(0, 256, (7, 5, 3), np.uint8)).resize((201, 160))
        large.save(tmp_path / "large.jpg", exif=exif)
        expected = decode_image((tmp_path / "large.jpg").read_bytes(), spec)
        np.testing.assert_array_equal(program.read_sample(tmp_path / "large.jpg"), expected)


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("classify", path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
