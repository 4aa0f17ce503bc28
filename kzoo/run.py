"""The run directory: the one currency between kzoo's commands."""

from __future__ import annotations

import csv
import functools
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from kzoo.data import Dataset, InputSpec
from kzoo.errors import RecipeError, RunError
from kzoo.evaluation.kinds import AnyMetrics, metrics_of
from kzoo.export.precision import PerTensor
from kzoo.files import write_json, write_text
from kzoo.recipes import Recipe, dump_recipe, load_recipe

MODEL = "model.keras"
INFO = "run.json"
RECIPE = "recipe.yaml"
HISTORY = "history.csv"
METRICS = "metrics.json"
LABELS = "labels.txt"
VOCABULARY = "vocabulary.txt"
USERS = "users.txt"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
REPORT = "report.html"
_KITS = tuple(f"model.*.{platform}" for platform in ("tflm", "android", "ios", "web", "rpi"))
# All that kzoo writes into a run, as patterns; run.json last, so that until then it is a run.
_FILES = (MODEL, RECIPE, HISTORY, METRICS, LABELS, VOCABULARY, USERS, CHECKPOINTS, TENSORBOARD, REPORT, "plots")
_OWN = (*_FILES, "model.*.tflite*", *_KITS, INFO)


class DataFacts(BaseModel):
    """What a run was trained on."""

    model_config = ConfigDict(frozen=True)

    source: str
    fingerprint: str
    train: int
    val: int
    test: int
    skipped: int
    # Files of validation and test that an earlier split has as well.
    repeated: int = 0

    @classmethod
    def of(cls, data: Dataset, source: str) -> DataFacts:
        """Count what a dataset holds; `source` as the recipe names it."""
        return cls(
            source=source,
            fingerprint=data.fingerprint,
            train=len(data.train),
            val=len(data.val),
            test=len(data.test),
            skipped=len(data.skipped),
            repeated=len(data.repeated),
        )


class CompressionFacts(BaseModel):
    """What compression came to, counted in the final weights."""

    model_config = ConfigDict(frozen=True)

    methods: tuple[str, ...]
    # Layers that were pruned, and the share of zeros in their kernels.
    pruned: tuple[str, ...] = ()
    sparsity: float = 0.0
    # Of all kernels of the model.
    total_sparsity: float
    # Layers that were clustered, and the different values in the kernel that has most of them.
    clustered: tuple[str, ...] = ()
    unique: int = 0
    # The parent's, for comparison.
    parent_accuracy: float | None = None
    parent_parameters: int
    parent_macs: int
    # Of quantisation-aware training: what the int8 file is made with.
    per_tensor: PerTensor = "none"
    ranges: dict[str, tuple[float, float]] = {}


class RunInfo(BaseModel):
    """The content of `run.json`."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    format: Literal[1] = 1
    # training: begun and not ended, by now or by a kill; interrupted: ended by Ctrl-C; failed: see the terminal.
    status: Literal["training", "interrupted", "failed", "done"]
    model: str
    arguments: dict[str, Any]
    task: str
    classes: tuple[str, ...]
    input: InputSpec
    data: DataFacts
    seed: int
    # Training samples a second by precision, where the recipe left the choice to a measurement.
    precision_rates: dict[str, float] = {}
    parameters: int
    macs: int
    versions: dict[str, str]
    # The run, file or model that the first weights came from.
    parent: str | None = None
    # Runs and files that were learned from.
    teachers: tuple[str, ...] = ()
    # Of a network that was trained sparse: share of zeros in the kernels that were, counted in the saved model.
    sparsity: float | None = None
    epochs: int = 0
    best_epoch: int | None = None
    # Chosen on validation: how sure an early classifier must be, how similar two samples of a class at least are, or
    # above which error a sample is an anomaly.
    threshold: float | None = None
    # Of the training part of all epochs, as history.csv has them.
    seconds: float = 0.0
    # Of a run that kzoo compress made.
    compression: CompressionFacts | None = None
    # Headline figures by split and name, as {"test": {"accuracy": 0.98}}.
    metrics: dict[str, dict[str, float]] = {}

    @property
    def classifies(self) -> bool:
        """Whether the model tells classes apart."""
        return self.task in ("image", "sequence", "text")

    @property
    def compares(self) -> bool:
        """Whether the model takes two samples and says how similar they are."""
        return self.task == "similarity"

    @property
    def reconstructs(self) -> bool:
        """Whether the model gives back its input, and finds anomalies by its error."""
        return self.task == "reconstruction"

    @property
    def recommends(self) -> bool:
        """Whether the model scores a user with an item."""
        return self.task == "recommendation"


class Run:
    """A run directory that exists.

    Args:
        path: The directory.

    Raises:
        RunError: It is missing, or `run.json` is not kzoo's.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.info = self._read_info()

    def _read_info(self) -> RunInfo:
        file = self.path / INFO
        if not file.is_file():
            raise RunError(f"Expected a run directory with {INFO}, received {self.path}. kzoo train makes one.")
        try:
            return RunInfo.model_validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole file"
            reason = first["msg"].removeprefix("Value error, ").rstrip(".")
            raise RunError(
                f"Expected kzoo's {INFO} in {self.path}, received one wrong at {where}: {reason}. "
                f"Restore the file, or train anew elsewhere."
            ) from error

    def update(self, **changes: Any) -> None:
        """Change fields of `run.json`, on disk and here."""
        self.info = self.info.model_copy(update=changes)
        write_json(self.path / INFO, self.info.model_dump(mode="json"))

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The recipe as it was resolved when the run began."""
        try:
            return load_recipe(self.path / RECIPE)
        except RecipeError as error:
            raise RunError(
                f"Expected the run's own recipe in {self.path}: {error} Restore the file, or train anew."
            ) from error

    def history(self) -> list[dict[str, float]]:
        """Rows of `history.csv`, one an epoch; empty before the first has ended."""
        file = self.path / HISTORY
        if not file.is_file():
            return []
        try:
            with file.open(newline="") as lines:
                rows = list(csv.DictReader(lines))
            # A kill or a full disk leaves the last line incomplete.
            whole = [row for row in rows if None not in row.values()]
            return [{name: float(value) for name, value in row.items()} for row in whole]
        except (ValueError, TypeError, csv.Error) as error:
            raise RunError(
                f"Expected rows of numbers in {file}, received others. Repair the file, or train anew."
            ) from error

    @functools.cached_property
    def metrics(self) -> AnyMetrics:
        """Metrics on the test split, as measured at the end of training."""
        file = self.path / METRICS
        if not file.is_file():
            raise RunError(
                f"{self.path} has no {METRICS}: its training did not end (status {self.info.status}). "
                f"Continue with --resume."
            )
        try:
            return metrics_of(self.info.task).model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise RunError(
                f"Expected kzoo's metrics in {file}, received something else. Measure again with kzoo evaluate."
            ) from error

    @functools.cached_property
    def model(self) -> Any:
        """The best epoch's `keras.Model`, not compiled."""
        from kzoo.zoo import load_keras_file

        file = self.path / MODEL
        if not file.is_file():
            remedy = "Train anew" if self.info.status == "done" else "Continue with --resume"
            raise RunError(f"{self.path} has no {MODEL} (status {self.info.status}). {remedy}.")
        return load_keras_file(file)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def is_run(path: str | Path) -> bool:
    """Whether a path is a run directory, as far as its name list tells."""
    return (Path(path) / INFO).is_file()


def create_run(path: Path, info: RunInfo, recipe: Recipe, *, force: bool = False) -> Run:
    """Make a run directory with everything that is known before the first step.

    Args:
        path: Where; parents are made.
        info: Content of `run.json`.
        recipe: The resolved recipe.
        force: Replace a run that stands there. Anything that is not a run is never replaced.

    Raises:
        RunError: Something stands at `path` already.
    """
    check_free(path, force=force)
    path.mkdir(parents=True, exist_ok=True)
    _clear(path)
    write_text(path / RECIPE, dump_recipe(recipe))
    known = info.input.interactions
    # What the outputs of the exported file are called.
    _write_names(path / LABELS, info.classes if known is None else known.items)
    if known is not None:
        _write_names(path / USERS, known.users)
    if info.input.text is not None:
        _write_names(path / VOCABULARY, info.input.text.words)
    # run.json comes last: a directory that has one is a whole run.
    write_json(path / INFO, info.model_dump(mode="json"))
    return Run(path)


def _write_names(file: Path, names: Sequence[str]) -> None:
    write_text(file, "".join(f"{name}\n" for name in names))


def _clear(path: Path) -> None:
    """Remove the run that stands at `path`, but nothing else: not the user's own files, not the directory itself."""
    for pattern in _OWN:
        for entry in path.glob(pattern):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def check_free(path: Path, *, force: bool = False) -> None:
    """Make sure that a run can be made at `path`.

    Raises:
        RunError: Something stands there that may not be replaced.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not is_run(path):
        raise RunError(
            f"Expected a new directory for the run, received {path}, which exists and is not a run. "
            f"Choose another with --out."
        )
    if not force:
        raise RunError(
            f"Expected a new directory for the run, received {path}, which is a run already. "
            f"Choose another with --out, continue it with --resume, or replace it with --force."
        )
    # Some other program's run.json makes no run: what cannot be read as one is not deleted.
    Run(path)


def next_free(parent: Path, name: str) -> Path:
    """The first of `name-1`, `name-2`, … after all that exist, so that a later run has a higher number."""
    return parent / f"{name}-{max(_numbers(parent, name), default=0) + 1}"


def last_unfinished(parent: Path, name: str) -> Path | None:
    """The highest numbered `name-N` whose training did not end, or None."""
    for number in sorted(_numbers(parent, name), reverse=True):
        path = parent / f"{name}-{number}"
        if is_run(path) and Run(path).info.status != "done":
            return path
    return None


def _numbers(parent: Path, name: str) -> list[int]:
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    entries = parent.iterdir() if parent.is_dir() else []
    return [int(match.group(1)) for entry in entries if (match := pattern.fullmatch(entry.name))]
