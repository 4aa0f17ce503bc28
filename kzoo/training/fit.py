"""Train a model: `model.fit` with Keras's callbacks, in phases, into a run directory."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kzoo.data import ARRAYS
from kzoo.errors import RunError, TrainingError, UsageError
from kzoo.evaluation.finish import finish_run
from kzoo.recipes.schema import Plateau
from kzoo.run import (
    CHECKPOINTS,
    HISTORY,
    MODEL,
    TENSORBOARD,
    Run,
    check_free,
    create_run,
    last_unfinished,
    next_free,
)

from .backend import only_the_backend
from .callbacks import BestModel, EpochTensorBoard, HistoryLog, MeasuredStatistics, Progress, StopAtNan
from .estimate import settle_precision
from .feed import EpochOrder, FollowEpoch, PythonFeed, WatchedSplit, make_feed
from .on_device import Places, train_on_device
from .phases import Phase, compile_for, phases_of
from .plan import Plan, check_space, make_plan, resolve_recipe
from .reporter import LogReporter, Reporter
from .resume import ResumePoint, SavedPoint, find_point, truncate_history
from .schedule import PlateauWarmUp
from .sparse_training import SparseTraining, saved_sparsity

RUNS = Path("runs")


@only_the_backend()
def train(
    model: str,
    data: Any = None,
    *,
    recipe: str | Path | None = None,
    weights: str | Path | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    distill: str | Path | Sequence[str | Path] = (),
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Train a model on data and leave a run directory.

    Args:
        model: Name in the catalogue.
        data: Name of a dataset, a path to class folders, CSV or `.npz`, or arrays `(x, y)`. Default: as the recipe
            says.
        recipe: Name of a packaged recipe or a YAML file. Default: the packaged one that fits best.
        weights: A run or `.keras` file of the same architecture to start from, or published weights as
            `kzoo.load` takes them.
        epochs: Overrides the recipe, as do the next two.
        batch_size: Samples a step.
        seed: Of data order, augmentation, initial weights and splits.
        distill: Trained classifiers of the same classes and input to learn from as well as from the labels: run
            directories or `.keras` files. How much they count: `distillation` in the recipe.
        settings: Any other value of the recipe by dotted key.
        out: The run directory. Default: `runs/MODEL.DATASET-N`.
        resume: Continue an unfinished run: the one at `out`, or the last of this model and dataset.
        force: Replace a run that stands at `out`.
        reporter: Where progress goes. Default: INFO records of the logger `kzoo`.

    Returns:
        The run, evaluated on the test split.

    Raises:
        KzooError: What was asked for cannot be done; the message says what to do.
        KeyboardInterrupt: Ctrl-C; the run can be resumed.
    """
    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    given["transfer.weights"] = weights and str(weights)
    teachers = [distill] if isinstance(distill, str | Path) else distill
    given["distillation.teachers"] = [str(teacher) for teacher in teachers] or None
    overrides = {**(settings or {}), **{key: value for key, value in given.items() if value is not None}}
    in_memory = not (data is None or isinstance(data, str | Path))
    source = ARRAYS if in_memory else None if data is None else str(data)
    reporter = reporter or LogReporter()
    resolved = resolve_recipe(model, source, recipe=recipe, overrides=overrides)
    if resolved.compression is not None:
        raise UsageError("Expected a recipe without compression, received one with it. Train, then run kzoo compress.")
    if resume:
        run = _unfinished(model, Path(out) if out else None, resolved.data.source)
        if source is not None and resolved.data.source != run.info.data.source:
            raise UsageError(
                f"Expected the data that {run.path} began with, {run.info.data.source}, received "
                f"{resolved.data.source}. Drop --data, or train anew."
            )
        if overrides or recipe:
            raise UsageError(
                f"Expected --resume alone, received {', '.join(overrides) or 'a recipe'} too: a run goes on "
                f"with the recipe in {run.path}. Drop these options, or train anew."
            )
        if run.info.status == "done":
            reporter.line(f"{run.path} is done already.")
            return run
        if run.recipe.compression is not None:
            raise UsageError(f"Expected a run of kzoo train, received {run.path}. {_how_to_go_on(run)}")
        plan = make_plan(run.recipe, data if in_memory else None)
        _check_same_data(run, plan)
        run.update(status="training")
    else:
        if out is not None:
            check_free(Path(out), force=force)
        plan = settle_precision(make_plan(resolved, data if in_memory else None), reporter)
        path = Path(out) if out else next_free(RUNS, plan.name)
        check_space(plan, path)
        run = create_run(path, plan.info(), plan.recipe, force=force)
    with recorded_end(run):
        for line in describe(plan):
            reporter.line(line)
        fit_run(run, plan, reporter)
        finish_run(run, plan.model, plan.dataset)
    return run


def describe(plan: Plan) -> list[str]:
    """What a plan comes to, for the terminal."""
    data, recipe = plan.dataset, plan.recipe
    # A pair of ids has no shape to speak of.
    shape = "" if data.input.interactions else f"input {'×'.join(map(str, data.input.shape))}, "
    lines = [
        f"model  {recipe.model.name}: {plan.model.count_params():,} parameters, {plan.macs / 1e6:,.1f} M multiply-adds,"
        f" {shape}{data.tells_apart}",
        f"data   {data.name}: {len(data.train):,} train, {len(data.val):,} validation, {len(data.test):,} test",
    ]
    if recipe.reconstruction is not None:
        lines.append(
            f"normal {recipe.reconstruction.normal}: what is learned; all else in the test split are anomalies"
        )
    if data.skipped:
        lines.append(f"       {len(data.skipped)} unreadable files skipped, the first: {data.skipped[0]}")
    if data.repeated:
        lines.append(f"       {len(data.repeated)} files are in two splits, the first: {data.repeated[0]}")
    if plan.transfer is not None:
        lines.append(f"weights {plan.transfer}")
    if recipe.distillation is not None:
        lines.append(f"teachers {', '.join(recipe.distillation.teachers)}")
    if recipe.sparse_training is not None:
        section = recipe.sparse_training
        weights = sum(math.prod(plan.model.weights[place].shape) for place in plan.maskable)
        lines.append(f"sparse {section.method}: {section.sparsity:g} of {weights:,} weights are zero")
    return lines


def fit_run(run: Run, plan: Plan, reporter: Reporter) -> None:
    """Train from the beginning or the run's resume point to the end, and leave the best epoch's weights in the model.

    Raises:
        TrainingError: The loss is not a number.
    """
    checkpoints = run.path / CHECKPOINTS
    checkpoints.mkdir(exist_ok=True)
    point = find_point(checkpoints)
    truncate_history(run.path / HISTORY, point.epoch if point else 0)
    if point is not None:
        reporter.line(f"resuming {run.path} at epoch {point.epoch + 1}")
    order = plan.order()
    best = BestModel(plan.model, run.path / MODEL, checkpoints)
    callbacks = _callbacks(run, plan, order, best, reporter)
    model = plan.training_model()
    for phase in phases_of(plan):
        if point is not None and point.epoch >= phase.end:
            continue
        _fit_phase(plan, model, phase, order, callbacks, point)
        point = None
        if callbacks[0].model.stop_training:
            break
    plan.model.load_weights(run.path / MODEL)
    if plan.recipe.sparse_training is not None:
        run.update(sparsity=saved_sparsity(plan.model, plan.maskable, plan.recipe.sparse_training))
    history = run.history()
    seconds = round(sum(row["seconds"] for row in history), 1)
    run.update(best_epoch=best.best_epoch, epochs=len(history), seconds=seconds)


def _fit_phase(
    plan: Plan,
    model: keras.Model,
    phase: Phase,
    order: EpochOrder,
    callbacks: list[keras.callbacks.Callback],
    point: SavedPoint | None,
) -> None:
    compile_for(model, plan, phase)
    first = phase.first
    resume_point = callbacks[-1]
    assert isinstance(resume_point, ResumePoint)
    if point is not None:
        first = point.epoch
        point.load_into(model)
        resume_point.restored = point.counted
    train, val, classes = WatchedSplit(plan.training_split()), WatchedSplit(plan.dataset.val), len(plan.dataset.classes)
    # Always the same, but mixed: what compares the samples of a batch needs several classes in it.
    val_order = EpochOrder(len(val.labels), plan.recipe.batch_size, plan.recipe.seed)
    warmup, weights = _warmup(plan, phase, order), plan.class_weights()
    try:
        moves = plan.recipe.sparse_training is not None and plan.recipe.sparse_training.method == "rigl"
        one_by_one = moves or len(warmup) > 0
        on_device = train_on_device(model, train, val, classes, plan.augmenter, weights, batch_by_batch=one_by_one)
        model.fit(
            Places(order) if on_device else make_feed(train, order, classes, plan.augmenter),
            validation_data=Places(val_order) if on_device else make_feed(val, val_order, classes),
            initial_epoch=first,
            epochs=phase.end,
            class_weight=None if on_device else weights,
            callbacks=[*warmup, *callbacks],
            # The feed shuffles by itself.
            shuffle=False,
            verbose=0,
        )
    except Exception as error:
        raise train.error or val.error or error from None


def _callbacks(
    run: Run, plan: Plan, order: EpochOrder, best: BestModel, reporter: Reporter
) -> list[keras.callbacks.Callback]:
    """All callbacks that live as long as the run; the resume point stands last, as it keeps what the others counted."""
    recipe = plan.recipe
    callbacks: list[keras.callbacks.Callback] = [
        FollowEpoch(order),
        StopAtNan(run.path / MODEL, order.batches),
        MeasuredStatistics(order.batches),
    ]
    if recipe.optimizer.ema is not None:
        # Before the best model is saved, so that it is the average that is saved.
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    sparse = recipe.sparse_training
    if sparse is not None:
        feed = PythonFeed(plan.training_split(), order, len(plan.dataset.classes), plan.augmenter)
        callbacks.append(SparseTraining(sparse, feed, recipe.epochs, plan.class_weights()))
    callbacks += [
        HistoryLog(run.path / HISTORY, len(plan.dataset.train), () if sparse is None else ("density",)),
        best,
        Progress(reporter, recipe.epochs, order.batches),
    ]
    if recipe.callbacks.early_stopping is not None:
        callbacks.append(keras.callbacks.EarlyStopping("val_loss", patience=recipe.callbacks.early_stopping))
    if isinstance(recipe.schedule, Plateau):
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                "val_loss",
                factor=recipe.schedule.factor,
                patience=recipe.schedule.patience,
                min_lr=recipe.schedule.minimum,
            )
        )
    if recipe.callbacks.tensorboard and keras.backend.backend() == "tensorflow":
        callbacks.append(EpochTensorBoard(run.path / TENSORBOARD, write_graph=False))
    return [*callbacks, ResumePoint(run.path / CHECKPOINTS, callbacks)]


def _warmup(plan: Plan, phase: Phase, order: EpochOrder) -> list[keras.callbacks.Callback]:
    """The warm-up of a rate that no schedule but a callback changes."""
    schedule = plan.recipe.schedule
    if not isinstance(schedule, Plateau):
        return []
    return [
        PlateauWarmUp(phase.learning_rate, phase.first, round(schedule.warmup_epochs * order.batches), order.batches)
    ]


@contextlib.contextmanager
def recorded_end(run: Run) -> Iterator[None]:
    """Write into `run.json` how training ended, unless it was killed."""
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(_how_to_go_on(run))
        _record_end(run, "interrupted")
        raise
    except Exception as error:
        _record_end(run, "failed")
        # TensorFlow has one class for a full disk (TensorBoard's files) and for too little memory.
        exhausted = type(error).__name__ == "ResourceExhaustedError"
        if isinstance(error, OSError) or (exhausted and os.strerror(errno.ENOSPC) in str(error)):
            reason = os.strerror(getattr(error, "errno", None) or errno.ENOSPC)
            raise TrainingError(
                f"Cannot write {run.path}: {reason}. What was complete before is kept. Make room. {_how_to_go_on(run)}"
            ) from error
        if isinstance(error, MemoryError) or exhausted:
            raise TrainingError(
                "Out of memory while training. Train anew with a lower --batch-size, a smaller input.size or "
                "data.cache=none."
            ) from error
        raise


def _record_end(run: Run, status: str) -> None:
    # What ended the training may keep this from being written, too: a full disk, say. It is what the user must know.
    with contextlib.suppress(OSError, RunError):
        run.update(status=status, epochs=len(run.history()))


def _how_to_go_on(run: Run) -> str:
    path = shlex.quote(str(run.path))
    if run.recipe.compression is not None:
        return f"Compress anew with: kzoo compress {run.info.parent} --force --out {path} and the same options"
    return f"Continue with: kzoo train {run.info.model} --resume --out {path}"


def _unfinished(model: str, out: Path | None, source: str) -> Run:
    if out is not None:
        run = Run(out)
        if run.info.model != model:
            raise UsageError(f"Expected a run of {model}, received {out}, a run of {run.info.model}.")
        return run
    # As the dataset is called: a folder by its whole name, a file without its suffix.
    name = f"{model}.{Path(source).stem if source.endswith(('.npz', '.csv')) else Path(source).name}"
    path = last_unfinished(RUNS, name)
    if path is None:
        raise RunError(f"Expected an unfinished run {RUNS / name}-N to resume, received none. Name it with --out.")
    return Run(path)


def _check_same_data(run: Run, plan: Plan) -> None:
    if plan.dataset.fingerprint != run.info.data.fingerprint:
        raise RunError(
            f"Expected the data that {run.path} began with, received {plan.recipe.data.source} with other "
            f"content. Restore it, or train anew."
        )
