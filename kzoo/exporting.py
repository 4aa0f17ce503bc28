"""From a run to a verified device file: data, classes and input for the export room."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kzoo import export
from kzoo.data import Dataset, Split
from kzoo.errors import UsageError
from kzoo.source import Source, open_source

if TYPE_CHECKING:
    from kzoo.export import ExportResult

CALIBRATION_SAMPLES = 256
# More samples would make the measured drop a little sharper and the command a lot slower.
VERIFICATION_SAMPLES = 2000


def export_model(
    source: Any,
    path: str | Path | None = None,
    *,
    quantize: Literal["fp32", "int8"] = "fp32",
    data: Any = None,
    max_drop: float = 0.01,
    calibration_samples: int = CALIBRATION_SAMPLES,
    seed: int = 0,
    overwrite: bool = False,
) -> ExportResult:
    """Write a `.tflite` file that has been run and behaves like the Keras model.

    Calibration samples come from the training split and verification samples from the validation split; the test split
    is left for `kzoo.evaluate`.

    Args:
        source: A run directory, a `.keras` file, a `Run`, or a `keras.Model`.
        path: The file. Default: `model.QUANTIZE.tflite` in the run, or beside the `.keras` file.
        quantize: `"fp32"`, or `"int8"` for full integer, input and output included.
        data: A dataset's name or path, or arrays `(x, y)`. Default: the data of the run. An array `x` alone is split in
            two, for calibration and for verification by top-1 agreement.
        max_drop: Largest accepted drop of accuracy (without labels: of agreement), 0.01 being one point.
        calibration_samples: How many samples set the ranges of int8.
        seed: Of the choice of samples.
        overwrite: Replace a file that stands at `path`.

    Returns:
        What was written and how it was measured.

    Raises:
        ExportError: The model cannot be converted, or the file does not behave like it and is kept as `.rejected`.
    """
    opened = open_source(source)
    if opened.model is None:
        raise UsageError(
            f"Expected a run or a .keras file to export, received {opened.name}, which is exported already."
        )
    target = Path(path) if path is not None else _default_path(opened, source, quantize)
    if target.suffix != ".tflite":
        raise UsageError(f"Expected a file name that ends in .tflite, received {target}. Choose another with --out.")
    if not 0 <= max_drop <= 1:
        raise UsageError(f"Expected a drop of 0 to 1, which is 100 points, received {max_drop:g}.")
    if isinstance(data, np.ndarray):
        calibration, checked, details = data[::2], (data[1::2], None), {}
    else:
        dataset = opened.dataset(data)
        rng = np.random.default_rng(seed)
        calibration = _load(dataset.train, _choose(dataset.train, calibration_samples, rng))
        chosen = _choose(dataset.val, VERIFICATION_SAMPLES, rng)
        checked = (_load(dataset.val, chosen), dataset.val.labels[chosen])
        details = _details(opened, dataset, seed)
    return export.export_model(
        opened.model,
        target,
        quantize=quantize,
        calibration=calibration,
        verification=checked,
        max_drop=max_drop,
        classes=opened.classes,
        details=details,
        overwrite=overwrite,
    )


def _default_path(opened: Source, source: Any, quantize: str) -> Path:
    if opened.run is not None:
        return opened.run.path / f"model.{quantize}.tflite"
    if isinstance(source, str | Path):
        return Path(source).with_suffix(f".{quantize}.tflite")
    raise UsageError("Expected a path for the file of a model that stands in no run, received none.")


def _choose(split: Split, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of at most `samples` samples, in the split's order."""
    if len(split) <= samples:
        return np.arange(len(split))
    return np.sort(rng.choice(len(split), samples, replace=False))


def _load(split: Split, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    return split.load(np.asarray(chosen))


def _details(opened: Source, dataset: Dataset, seed: int) -> dict[str, Any]:
    """What the sidecar says so that the file can be evaluated and fed without the run."""
    details: dict[str, Any] = {
        "model": opened.model.name,
        "input": {"kind": opened.input.kind, "shape": list(opened.input.shape), "fit": opened.input.fit},
        "dataset": {"source": dataset.source, "fingerprint": dataset.fingerprint},
        "sampling": {"seed": seed, "calibration_split": "train", "verification_split": "val"},
    }
    if opened.run is not None and opened.origin is not None:
        details["run"] = opened.run.path.name
        details["data"] = dataclasses.asdict(opened.origin)
    return details
