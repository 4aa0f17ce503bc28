"""A run in, a smaller run out, with what was promised counted in its weights."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.data import ARRAYS
from kzoo.errors import RunError, TrainingError, UsageError
from kzoo.evaluation.finish import finish_run
from kzoo.export.child_process import ChildProcess
from kzoo.export.compression import FilterReport, LowRankReport, factorise, remove_filters
from kzoo.export.compression.kernels import choose_layers, count_kernels, layers_with_kernels, sparsity_of
from kzoo.export.compression.settings import Criterion, PruneSettings
from kzoo.export.compression.targets import prune_targets
from kzoo.export.graph import read_graph
from kzoo.files import atomic_path
from kzoo.macs import count_macs
from kzoo.recipes.smaller import CompressionSection
from kzoo.run import HISTORY, MODEL, CompressionFacts, Run, RunInfo, check_free, create_run, next_free
from kzoo.training.estimate import settle_precision
from kzoo.training.fit import RUNS, fit_run, recorded_end
from kzoo.training.plan import Plan, Start, check_space, make_plan
from kzoo.training.reporter import LogReporter, Reporter

from ._child import ANSWER, PROGRESS, RESULT
from .request import check_parent, check_section, fine_tuning_recipe

_COMMAND = (sys.executable, "-P", "-m", "kzoo.compression._child")
#: What was taken out has to be made up for: that part is trained at so many times the rate.
REBUILT_FACTOR = 5.0
#: Seconds between two looks for what the child says.
_LOOK = 0.1
_NO_LIMIT = 30 * 24 * 3600.0
_IN_CHILD = frozenset({"prune", "cluster", "qat"})


def compress(
    run: Run | str | Path,
    *,
    filters: float | None = None,
    filters_by: Criterion | None = None,
    low_rank: float | None = None,
    rank: float | None = None,
    prune: float | PruneSettings | None = None,
    cluster: int | None = None,
    qat: bool = False,
    per_tensor: str = "none",
    all_layers: bool = False,
    distill: Sequence[str | Path] = (),
    data: Any = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Make a smaller model of a run, fine-tuned on the run's own data.

    The methods are applied in the order of the arguments, each with its own fine-tuning (filters and low rank share
    one), and each keeps what the ones before it have reached.

    Args:
        run: A finished run of a classifier.
        filters: Share of the multiply–accumulates that go with whole filters, see
            `kzoo.export.compression.remove_filters`.
        filters_by: What tells which filters matter, `"batch_norm"` or `"l1"`. Default: the scale of a filter's batch
            normalisation, where it has one.
        low_rank: Share of the squared singular values that kernels keep as two factors, see
            `kzoo.export.compression.factorise`.
        rank: In place of it, the share of their full rank that they keep.
        prune: Share of zeros in the kernels, as 0.5, or `PruneSettings` for more.
        cluster: Number of values that the weights of a kernel share.
        qat: Train with the rounding of an int8 file; `kzoo.export_model(run, quantize="int8")` takes its ranges.
        per_tensor: Of that file: which layers' kernels have one step, `"none"`, `"dense"` or `"all"`. Clustered
            kernels need `"all"`, and get it.
        all_layers: Prune and factorise the first layer and the last ones, too, which lose most.
        distill: Runs or `.keras` files whose answers the smaller model learns as well, its parent for one; see the
            recipe's `distillation`.
        data: Arrays `(x, y)` where the run was trained on arrays. Default: the data of the run.
        epochs: Of fine-tuning for each method. Default: a third of the run's.
        batch_size: Default: the run's.
        settings: Any other value of the fine-tuning's recipe by dotted key. Default: the run's own recipe with a tenth
            of its learning rate (half of it for `filters` and `low_rank`), falling along a cosine. In place of `sgd`,
            clustering and training for integers take Adam at a hundredth of that. Without `filters` it is in float32.
        out: The new run's directory. Default: `runs/MODEL.DATASET-METHODS-N`.
        force: Replace a run that stands at `out`.
        reporter: Where progress goes. Default: INFO records of the logger `kzoo`.

    Returns:
        The new run, evaluated on the test split; `run.info.compression` says what was reached.

    Raises:
        KzooError: What was asked for cannot be done, or was not reached; the message says what to do.

    Example:
        >>> smaller = kzoo.compress("runs/resnet8.cifar10-1", prune=0.5, qat=True)  # doctest: +SKIP
    """
    section = check_section(
        filters=filters,
        filters_by=filters_by,
        low_rank=low_rank,
        rank=rank,
        prune=PruneSettings(prune) if isinstance(prune, int | float) else prune,
        clusters=cluster,
        quantize=qat,
        per_tensor=per_tensor,
        all_layers=all_layers,
    )
    parent = run if isinstance(run, Run) else Run(run)
    check_parent(parent, section)
    reporter = reporter or LogReporter()
    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "distillation.teachers": [str(Path(name).resolve()) for name in distill] or None,
    }
    recipe = fine_tuning_recipe(parent, section, {**given, **(settings or {})})
    if out is not None:
        check_free(Path(out), force=force)
    info = parent.info
    plan = make_plan(recipe, data, Start(parent.model, info.arguments, info.input, info.classes))
    if plan.dataset.fingerprint != info.data.fingerprint:
        raise RunError(
            f"Expected the data that {parent.path} was trained on, received {info.data.source} with other content. "
            f"Restore it, or train anew."
        )
    path = Path(out) if out else next_free(RUNS, f"{plan.name}-{'-'.join(section.methods)}")
    check_space(plan, path)
    plan, lines = _rebuilt(plan, section)
    _check_layers(plan.model, section)
    plan = settle_precision(plan, reporter)
    made = create_run(path, _info(parent, plan), plan.recipe, force=force)
    with recorded_end(made):
        reporter.line(
            f"model  {parent.path}: {info.parameters:,} parameters, "
            f"{' → '.join(section.methods)}, {recipe.epochs} epochs each"
        )
        for line in lines:
            reporter.line(line)
        answer = _trained(made, parent, plan, section, data, reporter)
        facts = _facts(made, parent, section, answer)
        history = made.history()
        made.update(
            compression=facts,
            best_epoch=answer["best_epoch"],
            epochs=len(history),
            seconds=round(sum(row["seconds"] for row in history), 1),
        )
        finish_run(made, made.model, plan.dataset)
    return made


def _trained(
    made: Run, parent: Run, plan: Plan, section: CompressionSection, data: Any, reporter: Reporter
) -> dict[str, Any]:
    """Fine-tune all stages, those in Keras first; the result's weights are in the run afterwards."""
    answer: dict[str, Any] = {"targets": {}, "clustered": [], "ranges": {}}
    start, trained = parent.path / MODEL, 0
    if plan.model is not parent.model:
        fit_run(made, _at_a_higher_rate(plan), reporter)
        answer["best_epoch"] = made.info.best_epoch
        start, trained = made.path / MODEL, len(made.history())
    if not _IN_CHILD.isdisjoint(section.methods):
        answer = _in_child(made, start, trained, data, reporter)
    return answer


def _rebuilt(plan: Plan, section: CompressionSection) -> tuple[Plan, list[str]]:
    """Give the plan of a model that is smaller from the start, and what to say of it; the same plan where none is."""
    model, lines = plan.model, []
    if section.filters is not None:
        model, widths = remove_filters(model, macs=section.filters, criterion=section.filters_by)
        lines.append(f"filters {len(widths.layers)} layers narrower: {_before_and_after(widths)}")
    if section.low_rank is not None or section.rank is not None:
        graph = read_graph(model)
        chosen = choose_layers(graph, ends=section.all_layers)
        spared = [layer.name for layer in layers_with_kernels(graph) if layer.name not in chosen]
        model, ranks = factorise(model, energy=section.low_rank, rank=section.rank, exclude=spared)
        lines.append(f"lowrank {len(ranks.layers)} layers in two: {_before_and_after(ranks)}")
    return (plan if model is plan.model else dataclasses.replace(plan, model=model, macs=count_macs(model))), lines


def _before_and_after(report: FilterReport | LowRankReport) -> str:
    return (
        f"{report.macs_before / 1e6:,.2f} → {report.macs_after / 1e6:,.2f} M multiply-adds, "
        f"{report.parameters_before:,} → {report.parameters_after:,} parameters"
    )


def _check_layers(model: keras.Model, section: CompressionSection) -> None:
    """Make sure that there is something to prune, before anything is written.

    Raises:
        ExportError: There is nothing.
    """
    graph = read_graph(model)
    if section.prune is not None and section.prune.pattern != "xnnpack":
        prune_targets(graph, section.prune, choose_layers(graph, ends=section.all_layers))


def _at_a_higher_rate(plan: Plan) -> Plan:
    """The same plan at the rate that a model with parts taken out needs."""
    optimizer = plan.recipe.optimizer
    optimizer = optimizer.model_copy(update={"learning_rate": optimizer.learning_rate * REBUILT_FACTOR})
    return dataclasses.replace(plan, recipe=plan.recipe.model_copy(update={"optimizer": optimizer}))


def _info(parent: Run, plan: Plan) -> RunInfo:
    return plan.info().model_copy(update={"parent": str(parent.path), "threshold": parent.info.threshold})


def _in_child(made: Run, model: Path, epochs_before: int, data: Any, reporter: Reporter) -> dict[str, Any]:
    """Run the stages that need TF-MOT; the result's weights are in the run afterwards."""
    child = ChildProcess(
        _COMMAND,
        name="compression",
        work="compression",
        outcome=f"What it had reached is in {made.path / HISTORY}.",
        # oneDNN as on the command line, also where a Python program calls.
        environment={
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        },
    )
    with child:
        asked: dict[str, Any] = {
            "run": str(made.path.absolute()),
            "model": str(model.absolute()),
            "epochs_before": epochs_before,
            "live": reporter.wants_status(),
            "data": None,
        }
        if made.info.data.source == ARRAYS:
            if not (isinstance(data, tuple) and len(data) == 2):
                raise UsageError("Expected the arrays (x, y) that the run was trained on, received none.")
            asked["data"] = str(child.folder / "data.npz")
            np.savez(asked["data"], x=np.asarray(data[0]), y=np.asarray(data[1]))
        child.request.write_text(json.dumps(asked))
        child.run(lambda: _follow(child, reporter), timeout=_NO_LIMIT)
        with atomic_path(made.path / MODEL) as file:
            file.write_bytes((child.folder / RESULT).read_bytes())
        answer: dict[str, Any] = json.loads((child.folder / ANSWER).read_text())
    return answer


def _follow(child: ChildProcess, reporter: Reporter) -> None:
    """Hand on what the child says until it ends."""
    told, rest = 0, b""
    file = child.folder / PROGRESS
    ended = False
    while not ended:
        ended = child.ended_within(_LOOK)
        if not file.exists():
            continue
        with file.open("rb") as stream:
            stream.seek(told)
            rest += stream.read()
            told = stream.tell()
        *lines, rest = rest.split(b"\n")
        for line in lines:
            kind, text = json.loads(line)
            (reporter.line if kind == "line" else reporter.status)(text)


def _facts(made: Run, parent: Run, section: CompressionSection, answer: Mapping[str, Any]) -> CompressionFacts:
    """Count what was reached.

    Raises:
        TrainingError: It is not what was asked for.
    """
    model: keras.Model = made.model
    counts = {each.layer: each for each in count_kernels(model)}
    for name, target in answer["targets"].items():
        count = counts[name]
        # TF-MOT keeps the rounded number of weights of each kernel, and at least one.
        if count.zeros < math.floor(target * count.size) - 2:
            raise TrainingError(
                f"Expected {100 * target:.1f} % zeros in layer {name}, received {100 * count.sparsity:.1f} %. "
                f"Give it more steps: --epochs, or a smaller --batch-size."
            )
    clustered = [counts[name] for name in answer["clustered"]]
    for count in clustered:
        if count.unique > (section.clusters or 0):
            raise TrainingError(
                f"Expected {section.clusters} values in layer {count.layer}, received {count.unique}. "
                f"Take another number."
            )
    return CompressionFacts(
        methods=section.methods,
        pruned=tuple(answer["targets"]),
        sparsity=sparsity_of(counts[name] for name in answer["targets"]),
        total_sparsity=sparsity_of(counts.values()),
        clustered=tuple(answer["clustered"]),
        unique=max((count.unique for count in clustered), default=0),
        parent_accuracy=parent.info.metrics.get("test", {}).get("accuracy"),
        parent_parameters=parent.info.parameters,
        parent_macs=parent.info.macs,
        per_tensor=section.per_tensor,
        ranges=answer["ranges"],
    )
