"""Look at what the converter made before anybody takes it for a finished file, and run it on real data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kzoo.errors import ExportError

from .layer_errors import LayerError, layer_errors
from .metadata import add_metadata, classifier_metadata
from .metadata_reader import ModelMetadata
from .portability import CheckReport, check
from .precision import Precision
from .process import Conversion
from .runtime import LiteModel
from .tflite_file import TFLiteFile, read_tflite
from .verification import Judge, Verification, verify


@dataclass(frozen=True, slots=True)
class Description:
    """What the file's metadata say of the model."""

    name: str
    text: str
    version: str
    classes: tuple[str, ...] | None
    kind: Literal["image", "sequence"]
    logits: bool


@dataclass(frozen=True, slots=True)
class Demands:
    """What was asked for: the numbers, the metadata (None for none), and where the file must run."""

    precision: Precision
    description: Description | None
    target: str | None
    min_runtime: str | None


@dataclass(frozen=True, slots=True)
class Examined:
    """The finished file and what was found out about it.

    Attributes:
        content: the file, metadata included.
        lite: the file as it was run.
        report: where it runs.
        verified: how it answers.
        layers: where it loses, None where no float twin was made.
    """

    content: bytes
    lite: LiteModel
    report: CheckReport
    verified: Verification
    layers: tuple[LayerError, ...] | None


def examine(
    conversion: Conversion,
    demands: Demands,
    *,
    few: Sequence[np.ndarray],
    verification: tuple[Sequence[np.ndarray], np.ndarray | None],
    answers: Sequence[np.ndarray],
    names: Sequence[str] | None,
    judge: Judge | None = None,
) -> Examined:
    """Give the file its metadata, check what it is made of and where it runs, and hold it against the Keras model.

    Args:
        conversion: what the child made of it.
        demands: what was asked for.
        few: a dozen real samples, one array an input, for the layer report.
        verification: real samples, one array an input, and their labels.
        answers: of the Keras model to the verification samples.
        names: of the samples.
        judge: of the answers. Default: the top-1 class.

    Raises:
        ExportError: the file does not run on its target, or is not what its precision promises.
    """
    with tempfile.TemporaryDirectory(prefix="kzoo-export-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(conversion.content)
        converted = read_tflite(path)
        _check_operators(converted)
        content = conversion.content
        if demands.description is not None:
            content = add_metadata(content, _metadata(converted, demands.description))
            path.write_bytes(content)
        report = check(path, target=demands.target, min_runtime=demands.min_runtime)
        _check_report(report)
        lite = LiteModel(path)
        _check_types(lite, demands.precision)
        verified = verify(
            answers,
            lite,
            verification[0],
            verification[1],
            input_names=conversion.inputs,
            output_names=conversion.outputs,
            names=names,
            judge=judge,
        )
        _ = lite.gzip_size  # read while the file is there
        layers = None
        if conversion.twin is not None:
            twin = Path(folder) / "twin.tflite"
            twin.write_bytes(conversion.twin)
            layers = layer_errors(path, twin, dict(zip(conversion.inputs, few, strict=True)))
    return Examined(content, lite, report, verified, layers)


def _metadata(file: TFLiteFile, description: Description) -> ModelMetadata:
    return classifier_metadata(
        file,
        name=description.name,
        description=description.text,
        version=description.version,
        classes=description.classes,
        kind=description.kind,
        logits=description.logits,
    )


def _check_operators(file: TFLiteFile) -> None:
    outside = file.custom_operators
    if outside:
        raise ExportError(
            f"The model needs operators that a plain runtime does not have: {', '.join(outside)}. "
            "Replace the layers they come from."
        )


def _check_report(report: CheckReport) -> None:
    if report.errors:
        wanted = report.target or "a runtime so old"
        more = f" ({len(report.errors) - 1} more.)" if len(report.errors) > 1 else ""
        raise ExportError(f"The file would not run on {wanted}: {report.errors[0]}{more}")


def _check_types(lite: LiteModel, precision: Precision) -> None:
    """What its name promises at both ends; token ids stay the integers they are."""
    wrong = {
        name: info.dtype
        for name, info in (*lite.inputs.items(), *lite.outputs.items())
        if info.dtype != precision.io_type and (info.scale is not None or info.is_float)
    }
    if wrong:
        found = ", ".join(f"{name} of {dtype}" for name, dtype in wrong.items())
        raise ExportError(
            f"Expected a {precision.quantize} file to take and give {precision.io_type}. Received: {found}. "
            "Choose another type of inputs and outputs."
        )
