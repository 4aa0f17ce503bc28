"""Points from which a killed run goes on as if it had never stopped.

A point is the state in which an epoch begins: weights, optimizer, random generators of dropout, and what the callbacks
have counted. Data order and augmentation are functions of the epoch (see `feed.py`) and need no state.
"""

from __future__ import annotations

import csv
import io
import json
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
from keras import ops

from kzoo.errors import RunError
from kzoo.files import atomic_path, write_json, write_text

# What each callback counts, by class name. None of Keras's callbacks saves its own state.
COUNTED = {
    "BestModel": ("best", "best_epoch"),
    "MeasuredStatistics": ("fresh",),
    "EarlyStopping": ("wait", "best", "best_epoch"),
    "ReduceLROnPlateau": ("wait", "best", "cooldown_counter"),
}
# Saving takes at most about this share of the training time, however short the epochs are.
SHARE_OF_TIME = 0.01


class ResumePoint(keras.callbacks.Callback):
    """Save a resume point when an epoch begins. Must stand last: it keeps what the callbacks before it counted.

    Args:
        directory: The run's `checkpoints/`.
        others: The callbacks before this one.
    """

    def __init__(self, directory: Path, others: list[keras.callbacks.Callback]) -> None:
        super().__init__()
        self.directory = directory
        self.others = others
        self.restored: dict[str, dict[str, Any]] | None = None
        self._next_save = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        # Keras's callbacks forget what they counted in their own on_train_begin.
        if self.restored is not None:
            for callback in self.others:
                for name, value in self.restored.get(type(callback).__name__, {}).items():
                    setattr(callback, name, value)
            self.restored = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        started = time.perf_counter()
        if epoch == 0 or started < self._next_save:
            return
        self._save(epoch)
        ended = time.perf_counter()
        self._next_save = ended + (ended - started) / SHARE_OF_TIME

    def _save(self, epoch: int) -> None:
        weights = self.directory / f"epoch-{epoch:04}.keras"
        # Not save_weights: HDF5, writing to a full disk by itself, complains on stderr and may end the process.
        with atomic_path(weights) as temporary:
            self.model.save(temporary)
        counted = {
            type(callback).__name__: {
                name: _plain(getattr(callback, name)) for name in COUNTED[type(callback).__name__]
            }
            for callback in self.others
            if type(callback).__name__ in COUNTED
        }
        # The point exists from this write on; until then the one before it stands.
        point = {"epoch": epoch, "weights": weights.name, "counted": counted, "seeds": _seeds(self.model)}
        write_json(self.directory / "resume.json", point)
        for old in self.directory.glob("epoch-*.keras"):
            if old != weights:
                old.unlink()


class SavedPoint:
    """A resume point on disk.

    Attributes:
        epoch: Number, from 0, of the epoch that begins here.
        counted: What the callbacks had counted, by class name.
    """

    def __init__(self, directory: Path) -> None:
        file = directory / "resume.json"
        try:
            content = json.loads(file.read_text())
            self.epoch: int = int(content["epoch"])
            counted: dict[str, dict[str, Any]] = content["counted"]
            self.counted = {name: dict(counts) for name, counts in counted.items()}
            self.seeds: list[list[int]] = list(content["seeds"])
            # The name alone: a point never leads out of its own directory.
            self.weights = directory / Path(content["weights"]).name
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(file) from error

    def load_into(self, model: keras.Model) -> None:
        """Set weights, optimizer and random generators of a model that `compile_for` made ready."""
        try:
            model.load_weights(self.weights)
            for state, seed in zip(_seed_states(model), self.seeds, strict=True):
                state.assign(seed)
        except (OSError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError) as error:
            raise self._damaged(self.weights) from error

    @staticmethod
    def _damaged(file: Path) -> RunError:
        return RunError(
            f"Expected a whole resume point, received {file}, which is missing or damaged. Its epochs cannot be "
            f"continued: train anew, with --weights {file.parent.parent} to start from the best epoch so far."
        )


def find_point(directory: Path) -> SavedPoint | None:
    """The resume point of a run's `checkpoints/`, or None where no epoch was completed."""
    return SavedPoint(directory) if (directory / "resume.json").is_file() else None


def truncate_history(file: Path, epochs: int) -> None:
    """Keep the first `epochs` rows of `history.csv`: what came after the resume point is done again."""
    if not file.is_file():
        return
    rows = list(csv.reader(io.StringIO(file.read_text())))
    kept = [row for row in rows[1:] if row and row[0].isdigit() and int(row[0]) <= epochs and len(row) == len(rows[0])]
    out = io.StringIO()
    csv.writer(out).writerows([*rows[:1], *kept])
    write_text(file, out.getvalue())


def _seed_states(model: keras.Model) -> list[Any]:
    # Keras leaves the states of random generators (dropout's) out of weight files.
    return [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]


def _seeds(model: keras.Model) -> list[list[int]]:
    # In the model's order: Keras numbers the generators of a process through, so that their names come out otherwise.
    return [[int(number) for number in ops.convert_to_numpy(state)] for state in _seed_states(model)]


def _plain(value: Any) -> Any:
    return float(value) if hasattr(value, "dtype") else value
