"""kzoo: Keras models for phones, boards and microcontrollers.

Train a named architecture on your own data, export it to a `.tflite` file that is proven to behave like the Keras
model, and load trained models in any Keras app. Names are imported when they are first used: `import kzoo` loads
neither Keras nor TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kzoo.compression import compress
    from kzoo.errors import (
        DataError,
        ExportError,
        KzooError,
        RecipeError,
        RunError,
        TrainingError,
        UsageError,
        WeightsError,
    )
    from kzoo.evaluation.measure import evaluate
    from kzoo.evaluation.predict import detect, match, predict
    from kzoo.evaluation.recommend import recommend
    from kzoo.export import benchmark, check
    from kzoo.exporting import export_model
    from kzoo.run import Run
    from kzoo.training.fit import train
    from kzoo.zoo import create_model, list_models, load

__version__ = "0.1.0"

_HOMES = {
    "Run": "kzoo.run",
    "benchmark": "kzoo.export",
    "check": "kzoo.export",
    "compress": "kzoo.compression",
    "create_model": "kzoo.zoo",
    "detect": "kzoo.evaluation.predict",
    "evaluate": "kzoo.evaluation.measure",
    "export_model": "kzoo.exporting",
    "list_models": "kzoo.zoo",
    "load": "kzoo.zoo",
    "match": "kzoo.evaluation.predict",
    "predict": "kzoo.evaluation.predict",
    "recommend": "kzoo.evaluation.recommend",
    "train": "kzoo.training",
    "DataError": "kzoo.errors",
    "ExportError": "kzoo.errors",
    "KzooError": "kzoo.errors",
    "RecipeError": "kzoo.errors",
    "RunError": "kzoo.errors",
    "TrainingError": "kzoo.errors",
    "UsageError": "kzoo.errors",
    "WeightsError": "kzoo.errors",
}

__all__ = [
    "DataError",
    "ExportError",
    "KzooError",
    "RecipeError",
    "Run",
    "RunError",
    "TrainingError",
    "UsageError",
    "WeightsError",
    "__version__",
    "benchmark",
    "check",
    "compress",
    "create_model",
    "detect",
    "evaluate",
    "export_model",
    "list_models",
    "load",
    "match",
    "predict",
    "recommend",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kzoo' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    # Found once: a submodule of the same name, imported later, must not take the function's place.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
