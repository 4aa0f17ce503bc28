"""Write a kit: fill the platform's templates, put the model beside them, and let the folder appear whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import jinja2

from kzoo.errors import ExportError, UsageError, nearest
from kzoo.export.arena import plan_arena
from kzoo.export.tflite_file import read_tflite

from .facts import INTEGERS, KitFacts, facts_of
from .literals import FILTERS
from .tflm import array_lines, resolver_methods

if TYPE_CHECKING:
    from kzoo.export.result import ExportResult

Platform = Literal["tflm", "android", "ios", "web", "rpi"]
PLATFORMS: tuple[Platform, ...] = get_args(Platform)

_TEMPLATES = Path(__file__).with_name("templates")
#: Where the model lies in a kit; in that of a microcontroller it is an array of the program.
_MODEL: Mapping[str, str] = {
    "android": "app/src/main/assets/model.tflite",
    "ios": "model.tflite",
    "web": "model.tflite",
    "rpi": "model.tflite",
}
#: Templates that only a model of images needs.
_IMAGES_ONLY = frozenset({"Resample.kt.j2", "Resample.swift.j2", "resample.js.j2"})


def write_kit(result: ExportResult, platform: Platform, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write a `.tflite` file with a small, complete program that does this model's preprocessing.

    Args:
        result: what the export of the file gave back.
        platform: `"tflm"` (C++ for TensorFlow Lite Micro), `"android"` (Kotlin), `"ios"` (Swift), `"web"` (JavaScript
            with LiteRT.js) or `"rpi"` (Python).
        folder: the kit; made here. It is there whole or not at all.

    Returns:
        The files written, sorted.

    Raises:
        ExportError: the folder holds something, the file is not that of `result`, or the platform cannot run it.
        UsageError: an unknown platform.

    Example:
        >>> write_kit(kzoo.export_model(run, quantize="int8"), "rpi", "kits/rpi")
    """
    if platform not in PLATFORMS:
        raise UsageError(f"Unknown platform {platform!r}. {nearest(platform, PLATFORMS)}")
    target = Path(folder)
    facts = facts_of(result)
    _check(result, facts, platform, target)
    values: dict[str, Any] = {"facts": facts, "model_path": _MODEL.get(platform), "limits": INTEGERS}
    if platform == "tflm":
        values |= {
            "arena_bytes": plan_arena(read_tflite(result.path)).suggested,
            "methods": resolver_methods(facts.operators),
            "lines": array_lines(result.path),
            "model_size": result.path.stat().st_size,
        }
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.absolute().parent) as beside:
            # Within the private folder, so that the kit itself is as readable as other folders.
            whole = Path(beside) / "kit"
            _fill(whole, platform, facts, values, result.path)
            if target.is_dir():
                target.rmdir()  # an empty one
            whole.replace(target)
    except OSError as error:
        raise ExportError(f"Cannot write {target}: {error.strerror or error}.") from error
    return tuple(sorted(path for path in target.rglob("*") if path.is_file()))


def check_free(folder: Path) -> None:
    """Make sure that a kit can be made at `folder`: nothing is there, or an empty folder.

    Raises:
        ExportError: something is.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ExportError(
            f"{folder} exists already and is not empty. Move it away, or choose another folder for the kit."
        )


def _check(result: ExportResult, facts: KitFacts, platform: str, target: Path) -> None:
    check_free(target)
    try:
        digest = hashlib.sha256(result.path.read_bytes()).hexdigest()
    except OSError as error:
        raise ExportError(f"Expected the exported file. Received: {result.path} ({error.strerror}).") from error
    if digest != result.sha256:
        raise ExportError(f"Expected {result.path} as it was exported. Received: other content. Export it again.")
    integers = [tensor.name for tensor in (facts.input, facts.output) if tensor.dtype != "float32"]
    if platform == "web" and integers:
        raise ExportError(
            f"Expected float input and output for the web: LiteRT.js takes no other. Received: integers at "
            f"{', '.join(integers)}. Export as fp32, fp16 or dynamic, with float input and output."
        )
    if platform == "web" and facts.stateful:
        raise ExportError(
            "Expected a model without variables for the web: LiteRT.js 2.5 loads no other. Received: one that keeps "
            "its state between calls, such as an LSTM's. Take a model without recurrent layers."
        )


def _fill(whole: Path, platform: str, facts: KitFacts, values: Mapping[str, Any], model: Path) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    for template in sorted((_TEMPLATES / platform).rglob("*.j2")):
        if facts.kind != "image" and template.name in _IMAGES_ONLY:
            continue
        path = whole / template.relative_to(_TEMPLATES / platform).with_suffix("")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = environment.get_template(template.relative_to(_TEMPLATES).as_posix()).render(values)
        path.write_text(content, encoding="utf-8")
    if platform in _MODEL:
        path = whole / _MODEL[platform]
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model, path)
