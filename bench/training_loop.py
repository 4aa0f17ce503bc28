"""What kzoo's training loop costs over bare `model.fit` on the same arrays: `python -m bench.training_loop`.

Both train the same compiled model, batch size and epochs, with validation. kzoo's epochs count everything that it does
between two epochs: history, best model, resume point, TensorBoard. The two take turns, so that a slow minute of the
machine hits both, and the first epoch, which compiles, is left out. On a machine that others share the fastest epochs
say most: what slows an epoch down from outside is in neither of them. With `KERAS_BACKEND=jax` both run on JAX.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import kzoo
from bench.machine import keep_results
from kzoo.data import open_dataset
from kzoo.training import make_plan, resolve_recipe
from kzoo.training.phases import Phase, compile_for

# Plain optimizers and no augmentation: bare `model.fit` has nothing to set against those.
SETTINGS = {
    "optimizer.name": "sgd",
    "schedule.name": "constant",
    "augmentation.shift": 0.0,
    "augmentation.rotation": 0.0,
    "callbacks.early_stopping": None,
    "batch_size": 128,
}


@dataclasses.dataclass(frozen=True)
class Epoch:
    """Seconds of a whole epoch, and of its training part alone."""

    whole: float
    training: float


class Stamps(keras.callbacks.Callback):
    """The moments at which bare epochs end, and the seconds of their training parts."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[float] = []
        self.training: list[float] = []
        self._began = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = time.perf_counter()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.training.append(time.perf_counter() - self._began)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.moments.append(time.perf_counter())


class EpochLines:
    """A reporter that notes when kzoo says that an epoch has ended."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def line(self, text: str) -> None:
        if text.startswith("epoch"):
            self.moments.append(time.perf_counter())

    def status(self, text: str) -> None:
        raise AssertionError("never wanted")

    def wants_status(self) -> bool:
        return False


def digits(kind: str, size: int | None, times: int) -> dict[str, np.ndarray]:
    """The embedded digits, repeated so that an epoch is long enough to measure."""
    data = open_dataset("digits", kind=kind, size=size)  # type: ignore[arg-type]
    arrays = {}
    for name in ("train", "val", "test"):
        split = data.split(name)
        repeats = times if name == "train" else 1
        arrays[f"x_{name}"] = np.concatenate([split.load(np.arange(len(split)))] * repeats)
        arrays[f"y_{name}"] = np.concatenate([split.labels] * repeats)
    return arrays


def bare_epochs(model: str, arrays: dict[str, np.ndarray], epochs: int) -> list[Epoch]:
    """Each epoch but the first under bare `model.fit`."""
    plan = make_plan(resolve_recipe(model, overrides={**SETTINGS, "epochs": epochs}), arrays)
    compiled = plan.training_model()
    compile_for(compiled, plan, Phase(0, epochs, None, plan.recipe.optimizer.learning_rate))
    eye = np.eye(len(plan.dataset.classes), dtype="float32")
    stamps = Stamps()
    compiled.fit(
        arrays["x_train"].astype("float32"),
        eye[plan.dataset.train.labels],
        validation_data=(arrays["x_val"].astype("float32"), eye[plan.dataset.val.labels]),
        batch_size=plan.recipe.batch_size,
        epochs=epochs,
        callbacks=[stamps],
        verbose=0,
    )
    return list(map(Epoch, np.diff(stamps.moments).tolist(), stamps.training[1:]))


def kzoo_epochs(model: str, arrays: dict[str, np.ndarray], epochs: int) -> list[Epoch]:
    """Each epoch but the first under `kzoo.train`."""
    lines = EpochLines()
    with tempfile.TemporaryDirectory() as folder:
        settings = {**SETTINGS, "epochs": epochs}
        run = kzoo.train(model, data=arrays, settings=settings, out=Path(folder) / "run", reporter=lines)
        training = [row["seconds"] for row in run.history()[1:]]
    return list(map(Epoch, np.diff(lines.moments).tolist(), training))


def compare(bare: list[Epoch], ours: list[Epoch]) -> dict[str, Any]:
    """Columns of the table."""
    whole = [[epoch.whole for epoch in epochs] for epochs in (bare, ours)]
    training = [[epoch.training for epoch in epochs] for epochs in (bare, ours)]
    return {
        "bare model.fit, fastest epoch, s": round(min(whole[0]), 3),
        "kzoo, fastest epoch, s": round(min(whole[1]), 3),
        "ratio of the fastest": round(min(whole[1]) / min(whole[0]), 3),
        "ratio of the medians": round(statistics.median(whole[1]) / statistics.median(whole[0]), 3),
        "training part: ratio of the fastest": round(min(training[1]) / min(training[0]), 3),
        "of the medians": round(statistics.median(training[1]) / statistics.median(training[0]), 3),
        "bare, fastest to slowest": f"{min(whole[0]):.2f}–{max(whole[0]):.2f}",
        "kzoo, fastest to slowest": f"{min(whole[1]):.2f}–{max(whole[1]):.2f}",
    }


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5, help="of the digits in an epoch; sequences four times")
    chosen = parser.parse_args()
    rows = []
    for model, kind, size, times in (
        ("resnet8", "image", 32, 1),
        ("cnn", "image", 32, 1),
        ("lstm", "sequence", None, 4),
    ):
        arrays = digits(kind, size, times * chosen.repeats)
        bare: list[Epoch] = []
        ours: list[Epoch] = []
        for _ in range(chosen.rounds):
            bare += bare_epochs(model, arrays, chosen.epochs)
            ours += kzoo_epochs(model, arrays, chosen.epochs)
        rows.append({"model": model, "samples an epoch": len(arrays["x_train"]), **compare(bare, ours)})
        print(rows[-1])
    backend = keras.backend.backend()
    options = f"--rounds {chosen.rounds} --epochs {chosen.epochs} --repeats {chosen.repeats}"
    command = f"KERAS_BACKEND={backend} python -m bench.training_loop {options}"
    print(keep_results("training_loop" if backend == "tensorflow" else f"training_loop_{backend}", command, rows))


if __name__ == "__main__":
    main()
