"""What Keras's callbacks do not do by themselves: whole files, timings, one line an epoch, a stop at NaN."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.errors import TrainingError

from .reporter import Reporter, clock

Logs = dict[str, Any] | None

HISTORY_FIELDS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "samples_per_second")


class BestModel(keras.callbacks.ModelCheckpoint):
    """Keep the epoch with the highest validation accuracy in `model.keras`; of equals the later one, which is calmer.

    Args:
        model: What is saved, with the weights of the model that trains; it is not compiled, so that the file holds no
            optimizer.
        file: Where the best epoch is kept; a whole file at every moment.
        checkpoints: Directory for the file while it is being written.
    """

    def __init__(self, model: keras.Model, file: Path, checkpoints: Path) -> None:
        self.candidate = checkpoints / "candidate.keras"
        # Keras fills in the path with str.format: braces of the user's folder have to stay.
        path = str(self.candidate).replace("{", "{{").replace("}", "}}")
        super().__init__(path, monitor="val_accuracy", mode="max", save_best_only=True)
        self.monitor_op = np.greater_equal
        self.saved_model = model
        self.trained_model = model
        self.file = file
        self.best_epoch: int | None = None

    def set_model(self, model: keras.Model) -> None:
        self.trained_model = model
        super().set_model(self.saved_model)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        # What only training needs stands after the model's own weights.
        self.saved_model.set_weights(self.trained_model.get_weights()[: len(self.saved_model.weights)])
        # Left half-written by a run that was killed in its midst.
        self.candidate.unlink(missing_ok=True)
        try:
            super().on_epoch_end(epoch, logs)
        except BaseException:
            self.candidate.unlink(missing_ok=True)
            raise
        if self.candidate.exists():
            self.candidate.replace(self.file)
            self.best_epoch = epoch + 1


class MeasuredStatistics(keras.callbacks.Callback):
    """Free batch normalisation's moving averages, at the end of each epoch, of the values that they began with.

    They begin at a mean of 0 and a variance of 1, of which a share of `momentum ** steps` is still in them after so
    many steps. Where variances are small, as behind depthwise convolutions, that is most of the average, and a network
    that has learned its training images answers at chance. What stays is the average of the batches' own statistics
    with the weights that the momentum gives them, as Adam corrects its averages (Kingma and Ba 2014, arXiv 1412.6980,
    section 3). Averages that were loaded are moved as Keras moves them.

    Args:
        steps: Of an epoch.

    Attributes:
        fresh: Names of the layers whose averages began so.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.fresh: list[str] = []
        self._epoch = 0
        self._before: dict[str, list[np.ndarray]] = {}

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if epoch == 0:
            self.fresh = [layer.name for layer in self.model.layers if _begins_at_no_statistics(layer)]
        self._epoch = epoch
        self._before = {name: _statistics(self.model.get_layer(name)) for name in self.fresh}

    def on_test_begin(self, logs: Logs = None) -> None:
        for name, before in self._before.items():
            layer = self.model.get_layer(name)
            # What the epoch has left of the averages as they were before, and was too much to begin with.
            share = layer.momentum ** (self.steps * (self._epoch + 1))
            mean, variance = (
                (now - share * then) / (1.0 - share) for now, then in zip(_statistics(layer), before, strict=True)
            )
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(np.maximum(variance, 0.0))
        self._before = {}


def _statistics(layer: keras.layers.BatchNormalization) -> list[np.ndarray]:
    # Copies: on TensorFlow these may be views of the variables.
    return [np.array(ops.convert_to_numpy(value)) for value in (layer.moving_mean, layer.moving_variance)]


def _begins_at_no_statistics(layer: keras.layers.Layer) -> bool:
    if not (isinstance(layer, keras.layers.BatchNormalization) and layer.trainable and layer.momentum < 1.0):
        return False
    mean, variance = _statistics(layer)
    return not mean.any() and bool((variance == 1.0).all())


class HistoryLog(keras.callbacks.CSVLogger):
    """`history.csv`: one row an epoch, counted from 1, with the time and rate of the training part.

    Args:
        file: The CSV file; rows are appended.
        samples: Training samples an epoch.
        further: Columns after those that every run has.
    """

    def __init__(self, file: Path, samples: int, further: tuple[str, ...] = ()) -> None:
        super().__init__(str(file), append=True)
        self.samples = samples
        self.further = further
        self._started = 0.0
        self._trained: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._started = time.perf_counter()
        self._trained = None

    def on_test_begin(self, logs: Logs = None) -> None:
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        row = {} if logs is None else logs
        seconds = (self._trained or time.perf_counter()) - self._started
        row["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(seconds, 4)
        row["samples_per_second"] = round(self.samples / seconds, 2)
        self.keys = [*HISTORY_FIELDS, *self.further]
        super().on_epoch_end(epoch + 1, row)


class Progress(keras.callbacks.Callback):
    """One line an epoch with rate and time left; within an epoch a passing status.

    Args:
        reporter: Where the lines go.
        epochs: Length of the whole run.
        batches: Batches of an epoch.
    """

    def __init__(self, reporter: Reporter, epochs: int, batches: int) -> None:
        super().__init__()
        self.reporter = reporter
        self.epochs = epochs
        self.batches = batches
        self._epoch = 0
        self._started = 0.0
        self._first_epoch: int | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self._first_epoch is None:
            self._first_epoch = epoch
            self._started = time.perf_counter()
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.reporter.wants_status():
            loss = float((logs or {}).get("loss", math.nan))
            batch = min(batch + 1, self.batches)
            self.reporter.status(f"epoch {self._epoch}/{self.epochs}  batch {batch}/{self.batches}  loss {loss:.4f}")

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        values = logs or {}
        done = self._epoch - (self._first_epoch or 0)
        left = (time.perf_counter() - self._started) / done * (self.epochs - self._epoch)
        width = len(str(self.epochs))
        density = f"  density {values['density']:.4f}" if "density" in values else ""
        self.reporter.line(
            f"epoch {self._epoch:{width}}/{self.epochs}"
            f"  loss {values['loss']:.4f}  accuracy {values['accuracy']:.4f}"
            f"  val_loss {values['val_loss']:.4f}  val_accuracy {values['val_accuracy']:.4f}"
            f"{density}  {values['samples_per_second']:,.0f} samples/s  left {clock(left)}"
        )


class EpochTensorBoard(keras.callbacks.TensorBoard):
    """TensorBoard's logs once an epoch, without its work at every batch, which costs small models 4 % of their time."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Nothing: no batch is profiled."""

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Nothing: no batch is logged."""


class StopAtNan(keras.callbacks.Callback):
    """End training at the first loss that is not a finite number.

    Args:
        file: The best model so far, named in the message.
        batches: Batches of an epoch.
    """

    def __init__(self, file: Path, batches: int) -> None:
        super().__init__()
        self.file = file
        self.batches = batches
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        # Where a dispatch takes several steps, Keras counts to its end, even if the epoch ends before.
        batch = min(batch + 1, self.batches)
        step = self._epoch * self.batches + batch
        self._check((logs or {}).get("loss", 0.0), "loss", f"(epoch {self._epoch + 1}, batch {batch})", step)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        # The last update of an epoch shows first here, before its weights can be taken for the best.
        step = (epoch + 1) * self.batches
        self._check((logs or {}).get("val_loss", 0.0), "validation loss", f"(after epoch {epoch + 1})", step)

    def _check(self, loss: Any, name: str, where: str, step: int) -> None:
        if math.isfinite(float(loss)):
            return
        kept = f"The best model so far is kept in {self.file}." if self.file.exists() else "No epoch had ended yet."
        raise TrainingError(
            f"Expected a finite {name}, received {float(loss)} at step {step} {where}. {kept} Train anew with a "
            f"lower optimizer.learning_rate, optimizer.global_clipnorm=1 or schedule.warmup_epochs=1."
        )
