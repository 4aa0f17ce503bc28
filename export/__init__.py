"""A Keras model in, a verified `.tflite` file out; and what runs and times such files.

Importing this package imports neither TensorFlow nor Keras nor a runtime. `LiteModel`, `benchmark` and `check` import
no more than the runtime; `export_model` needs Keras, and leaves TensorFlow to a child process.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporter import export_model
    from .layer_errors import LayerError
    from .portability import CheckReport, Finding, check
    from .precision import IoType, PerTensor, Precision, Quantization
    from .result import CalibrationFacts, ExportResult, FloatOperator, OperatorCount, TensorFacts
    from .runtime import LiteModel
    from .tflite_file import TFLiteFile, read_tflite
    from .timing import BenchmarkResult, benchmark, benchmark_many
    from .verification import Parity, Verification

_HOMES = {
    "BenchmarkResult": "timing",
    "CalibrationFacts": "result",
    "CheckReport": "portability",
    "ExportResult": "result",
    "Finding": "portability",
    "FloatOperator": "result",
    "IoType": "precision",
    "LayerError": "layer_errors",
    "LiteModel": "runtime",
    "OperatorCount": "result",
    "Parity": "verification",
    "PerTensor": "precision",
    "Precision": "precision",
    "Quantization": "precision",
    "TFLiteFile": "tflite_file",
    "TensorFacts": "result",
    "Verification": "verification",
    "benchmark": "timing",
    "benchmark_many": "timing",
    "check": "portability",
    "export_model": "exporter",
    "read_tflite": "tflite_file",
}

__all__ = [
    "BenchmarkResult",
    "CalibrationFacts",
    "CheckReport",
    "ExportResult",
    "Finding",
    "FloatOperator",
    "IoType",
    "LayerError",
    "LiteModel",
    "OperatorCount",
    "Parity",
    "PerTensor",
    "Precision",
    "Quantization",
    "TFLiteFile",
    "TensorFacts",
    "Verification",
    "benchmark",
    "benchmark_many",
    "check",
    "export_model",
    "read_tflite",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
