"""How costs grow with sizes: `python -m bench.growth [images] [classes] [parameters] [steps]`.

Each cost is measured at growing sizes and fitted with `constant + factor x size ^ exponent`: what every process or
file costs once must not make a steep growth look flat. An exponent of at most about 1 is linear or better.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from bench.machine import keep_results
from kzoo import models
from kzoo.data import open_dataset
from kzoo.evaluation import ReportContent, collect_mistakes, compute_metrics, write_report
from kzoo.export import export_model
from kzoo.training.acceleration import training_copy

IMAGES = (1_000, 10_000, 100_000)
CLASSES = (10, 100, 1_000, 10_000)
STEPS = (16, 64, 256, 1_024)
# An int8 GRU is written out step by step: of more steps than these its conversion takes minutes.
LONGEST_WRITTEN_OUT = 256
ALPHAS = (0.25, 0.5, 1.0, 2.0)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Of the best fit `constant + factor x size ^ exponent`, by relative error; the constant is not negative."""
    x, y = np.asarray(sizes, float), np.asarray(costs, float)
    best = (np.inf, 0.0)
    for power in np.arange(0.0, 2.51, 0.01):
        basis = np.stack([np.ones_like(x), (x / x.max()) ** power], axis=1) / y[:, None]
        for columns in ([0, 1], [1]):
            weights, *_ = np.linalg.lstsq(basis[:, columns], np.ones_like(y), rcond=None)
            error = float(np.square(basis[:, columns] @ weights - 1).sum())
            if (weights >= 0).all() and error < best[0] * 0.999:
                best = (error, float(power))
    return round(best[1], 2)


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def images(folder: Path) -> dict[str, dict[int, float]]:
    """A folder of JPEGs: the first opening, the second, the first reading, the second."""
    costs: dict[str, dict[int, float]] = {}
    noise = np.random.default_rng(0).integers(0, 255, (64, 8, 8, 3), np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    done = 0
    for size in IMAGES:
        for number in range(done, size):
            place = folder / "images" / f"class{number % 10}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise[number % len(noise)]).save(place / f"{number}.jpg")
        done = size
        # From nothing, as a user's first command does.
        os.environ["KZOO_CACHE"] = str(folder / f"cache{size}")
        _note(costs, "images, opened first, s", size, seconds(open_dataset, folder / "images"))
        _note(costs, "images, opened again, s", size, seconds(open_dataset, folder / "images"))
        split = open_dataset(folder / "images").train
        for name in ("images, read first, s", "images, read again, s"):
            _note(costs, name, size, seconds(_read, split))
    return costs


def _read(split: Any) -> None:
    for start in range(0, len(split), 64):
        split.load(np.arange(start, min(start + 64, len(split))))


class _Blank:
    """Samples that hold nothing, under labels."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def load(self, indices: np.ndarray) -> np.ndarray:
        return np.zeros((len(indices), 32, 32, 3), np.uint8)

    def name(self, index: int) -> str:
        return f"sample {index}"


def classes(folder: Path) -> dict[str, dict[int, float]]:
    """As many test samples whatever the classes: metrics, their file, the report and its size."""
    costs: dict[str, dict[int, float]] = {}
    rng = np.random.default_rng(0)
    for size in CLASSES:
        labels = np.arange(10_000) % size
        predicted = np.where(rng.random(len(labels)) < 0.8, labels, rng.integers(0, size, len(labels)))
        data = _Blank(labels)
        chosen = np.zeros((len(labels), size), np.float32)
        chosen[np.arange(len(labels)), predicted] = 1
        names = [f"class {number}" for number in range(size)]
        metrics = compute_metrics(chosen, data.labels, names)
        _note(costs, "classes, metrics, s", size, seconds(compute_metrics, chosen, data.labels, names))
        _note(costs, "classes, metrics.json, s", size, seconds(metrics.model_dump_json))
        _note(costs, "classes, metrics.json, bytes", size, len(metrics.model_dump_json()))
        content = ReportContent("title", "model", [], [], metrics, collect_mistakes(data, chosen), "")
        _note(costs, "classes, report, s", size, seconds(write_report, folder, content))
        _note(costs, "classes, report, bytes", size, (folder / "report.html").stat().st_size)
    return costs


def parameters(folder: Path) -> dict[str, dict[int, float]]:
    """MobileNetV2 of several widths: building, saving it alone and with its optimizer to resume from, exporting."""
    costs: dict[str, dict[int, float]] = {}
    data = np.random.default_rng(0).random((16, 32, 32, 3), np.float32) * 255
    models.create_model("mobilenet_v2", input_shape=(32, 32, 3), classes=10)  # imports
    for alpha in ALPHAS:
        started = time.perf_counter()
        model = models.create_model("mobilenet_v2", alpha=alpha, input_shape=(32, 32, 3), classes=10)
        built = time.perf_counter() - started
        size = model.count_params()
        _note(costs, "parameters, built, s", size, built)
        _note(costs, "parameters, saved, s", size, seconds(model.save, folder / "m.keras"))
        _note(costs, "parameters, fp32 file, s", size, seconds(_export, model, data, folder))
        model.compile(keras.optimizers.AdamW())
        model.optimizer.build(model.trainable_variables)
        _note(costs, "parameters, resume point, s", size, seconds(model.save, folder / "m.keras"))
    return costs


def steps(folder: Path) -> dict[str, dict[int, float]]:
    """Sequences of several lengths: a training step, the export and its file."""
    costs: dict[str, dict[int, float]] = {}
    for name, build in {"lstm": _zoo("lstm"), "attention": _zoo("attention"), "GRU": _gru}.items():
        for size in STEPS:
            model = build(size)
            data = np.random.default_rng(0).random((64, size, 9), np.float32).cumsum(axis=1)
            trained = training_copy(model)
            trained.compile("sgd", "sparse_categorical_crossentropy")
            labels = np.zeros(len(data), int)
            _note(costs, f"steps, {name}, first training step, s", size, seconds(trained.train_on_batch, data, labels))
            step = min(seconds(trained.train_on_batch, data, labels) for _ in range(5))
            _note(costs, f"steps, {name}, training step, s", size, step)
            if name == "GRU" and size > LONGEST_WRITTEN_OUT:
                continue
            _note(
                costs,
                f"steps, {name}, int8 file, s",
                size,
                seconds(_export, model, data[:16], folder, "int8"),
            )
            _note(costs, f"steps, {name}, int8 file, bytes", size, (folder / "m.tflite").stat().st_size)
    return costs


def _zoo(name: str) -> Callable[[int], keras.Model]:
    return lambda size: models.create_model(name, input_shape=(size, 9))


def _gru(size: int) -> keras.Model:
    inputs = keras.Input((size, 9))
    return keras.Model(inputs, keras.layers.Dense(6, "softmax")(keras.layers.GRU(64)(inputs)))


def _export(model: keras.Model, data: np.ndarray, folder: Path, quantize: Any = "fp32") -> None:
    export_model(
        model,
        folder / "m.tflite",
        quantize=quantize,
        calibration=data,
        verification=(data, None),
        max_drop=1.0,
        overwrite=True,
    )


def _note(costs: dict[str, dict[int, float]], name: str, size: int, cost: float) -> None:
    costs.setdefault(name, {})[size] = cost
    print(f"{name} at {size:,}: {cost:.4g}", flush=True)


def main() -> None:
    """Measure, print and keep the table."""
    kinds = {"images": images, "classes": classes, "parameters": parameters, "steps": steps}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", default=list(kinds), help=", ".join(kinds))
    chosen = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for kind in chosen.kinds:
        with tempfile.TemporaryDirectory() as folder:
            costs = kinds[kind](Path(folder))
        rows += [
            {
                "cost": name,
                "at sizes": ", ".join(f"{size:,}" for size in each),
                "is": ", ".join(f"{cost:.3g}" if cost < 1000 else f"{cost:,.0f}" for cost in each.values()),
                "exponent": exponent(list(each), list(each.values())),
            }
            for name, each in costs.items()
        ]
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most")
    print(keep_results("growth", f"python -m bench.growth {' '.join(chosen.kinds)}", rows))


if __name__ == "__main__":
    main()
