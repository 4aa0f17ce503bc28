"""A Keras model in, a verified `.tflite` file out; and what runs and times such files.

Importing this package imports neither TensorFlow nor Keras nor a runtime. `LiteModel`, `benchmark` and `check` import
no more than the runtime; `export_model` needs Keras, and leaves TensorFlow to a child process.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporter import export_model
    from .file_kernels import FileKernel, count_file_kernels
    from .file_macs import FileMacs, count_file_macs
    from .layer_errors import LayerError
    from .metadata import add_metadata, classifier_metadata
    from .metadata_reader import AssociatedFile, ModelMetadata, TensorMetadata, read_metadata, read_packed_files
    from .operator_timing import OperatorProfile, OperatorTime, profile_operators
    from .packing import pack_gzip
    from .portability import CheckReport, Finding, check
    from .precision import IoType, PerTensor, Precision, Quantization
    from .process import Converter
    from .result import CalibrationFacts, ExportResult, FloatOperator, OperatorCount, TensorFacts
    from .runtime import LiteModel
    from .tflite_file import TFLiteFile, read_tflite
    from .timing import BenchmarkResult, Ratio, benchmark, benchmark_many
    from .verification import Parity, Verification

_HOMES = {
    "AssociatedFile": "metadata_reader",
    "BenchmarkResult": "timing",
    "CalibrationFacts": "result",
    "CheckReport": "portability",
    "Converter": "process",
    "ExportResult": "result",
    "Finding": "portability",
    "FloatOperator": "result",
    "IoType": "precision",
    "LayerError": "layer_errors",
    "FileKernel": "file_kernels",
    "FileMacs": "file_macs",
    "LiteModel": "runtime",
    "ModelMetadata": "metadata_reader",
    "OperatorCount": "result",
    "OperatorProfile": "operator_timing",
    "OperatorTime": "operator_timing",
    "Parity": "verification",
    "PerTensor": "precision",
    "Precision": "precision",
    "Quantization": "precision",
    "Ratio": "timing",
    "TFLiteFile": "tflite_file",
    "TensorFacts": "result",
    "TensorMetadata": "metadata_reader",
    "Verification": "verification",
    "add_metadata": "metadata",
    "benchmark": "timing",
    "benchmark_many": "timing",
    "check": "portability",
    "classifier_metadata": "metadata",
    "count_file_kernels": "file_kernels",
    "count_file_macs": "file_macs",
    "export_model": "exporter",
    "pack_gzip": "packing",
    "profile_operators": "operator_timing",
    "read_metadata": "metadata_reader",
    "read_packed_files": "metadata_reader",
    "read_tflite": "tflite_file",
}

__all__ = [
    "AssociatedFile",
    "BenchmarkResult",
    "CalibrationFacts",
    "CheckReport",
    "Converter",
    "ExportResult",
    "Finding",
    "FloatOperator",
    "IoType",
    "LayerError",
    "FileKernel",
    "FileMacs",
    "LiteModel",
    "ModelMetadata",
    "OperatorCount",
    "OperatorProfile",
    "OperatorTime",
    "Parity",
    "PerTensor",
    "Precision",
    "Quantization",
    "Ratio",
    "TFLiteFile",
    "TensorFacts",
    "TensorMetadata",
    "Verification",
    "add_metadata",
    "benchmark",
    "benchmark_many",
    "check",
    "classifier_metadata",
    "count_file_kernels",
    "count_file_macs",
    "export_model",
    "pack_gzip",
    "profile_operators",
    "read_metadata",
    "read_packed_files",
    "read_tflite",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
