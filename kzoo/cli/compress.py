"""`kzoo compress`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal import TerminalReporter, load_keras, say

if TYPE_CHECKING:
    from kzoo.export.compression.settings import Criterion
    from kzoo.run import Run


@click.command()
@click.argument("run")
@click.option("--filters", type=float, metavar="S", help="Share of the multiply-adds to remove with whole filters.")
@click.option(
    "--filters-by",
    type=click.Choice(["batch_norm", "l1"]),
    help="What tells which matter. Default: the scale of their batch normalisation, where they have one.",
)
@click.option("--low-rank", type=float, metavar="E", help="Kernels as two factors that keep this share, as 0.9.")
@click.option("--rank", type=float, metavar="R", help="Or as two factors of this share of the full rank, as 0.25.")
@click.option("--prune", type=float, metavar="S", help="Share of zeros in the kernels, as 0.5.")
@click.option(
    "--schedule",
    type=click.Choice(["polynomial", "constant"]),
    default="polynomial",
    show_default=True,
    help="How the zeros come: more and more, or all at once.",
)
@click.option(
    "--pattern",
    type=click.Choice(["unstructured", "2:4", "block", "xnnpack"]),
    default="unstructured",
    show_default=True,
    help="Where they may stand; xnnpack: 1×1 convolutions of a model built with sparse_inference.",
)
@click.option(
    "--scope",
    type=click.Choice(["layer", "global"]),
    default="layer",
    show_default=True,
    help="Whether each layer has that share, or all together.",
)
@click.option("--cluster", type=int, metavar="N", help="Number of values that the weights of a kernel share, as 16.")
@click.option("--qat", is_flag=True, help="Train with the rounding of the int8 file that kzoo export then writes.")
@click.option(
    "--per-tensor",
    type=click.Choice(["none", "dense", "all"]),
    default="none",
    show_default=True,
    help="With --qat: layers whose kernel has one step in the int8 file. Clustered kernels always have.",
)
@click.option("--distill", multiple=True, metavar="TEACHER", help="A run or .keras file to learn from, too.")
@click.option("--all-layers", is_flag=True, help="Prune and factorise the first layer and the last ones, too.")
@click.option("--sweep", is_flag=True, help="Try many combinations: what each costs and reaches.")
@click.option("--max-size", metavar="BYTES", help="Search for an int8 file no larger, gzipped: 100k, 1.5M.")
@click.option("--max-drop", type=click.FloatRange(0), metavar="POINTS", help="Points of accuracy that it may lose.")
@click.option("--max-latency", type=click.FloatRange(0, min_open=True), metavar="MS", help="Time of one run here.")
@click.option("--max-ram", metavar="BYTES", help="Memory that a microcontroller plans for its tensors.")
@click.option("--epochs", type=click.IntRange(1), help="Of fine-tuning for each method. Default: a third of the run's.")
@click.option("--batch-size", type=click.IntRange(1), help="Default: the run's.")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Any value of the fine-tuning's recipe.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory. Default: runs/MODEL.DATASET-METHODS-N")
@click.option("--force", is_flag=True, help="Replace a run that stands at --out.")
def compress(
    run: str,
    filters: float | None,
    filters_by: Criterion | None,
    low_rank: float | None,
    rank: float | None,
    prune: float | None,
    schedule: str,
    pattern: str,
    scope: str,
    cluster: int | None,
    qat: bool,
    per_tensor: str,
    distill: tuple[str, ...],
    all_layers: bool,
    sweep: bool,
    max_size: str | None,
    max_drop: float | None,
    max_latency: float | None,
    max_ram: str | None,
    epochs: int | None,
    batch_size: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    force: bool,
) -> None:
    """Make a smaller model of RUN, fine-tuned on its own data. Prints the new run directory last.

    \b
    kzoo compress runs/resnet8.cifar10-1 --prune 0.5
    kzoo compress runs/resnet8.cifar10-1 --cluster 16 --qat
    kzoo compress runs/resnet8.cifar10-1 --prune 0.5 --cluster 16 --qat --epochs 10
    kzoo compress runs/resnet8.cifar10-1 --max-size 50k --max-drop 1
    kzoo compress runs/resnet8.cifar10-1 --sweep
    """  # noqa: D301 - click wants the character, not an escape of it
    from kzoo.export.compression.settings import PruneSettings
    from kzoo.recipes import parse_setting
    from kzoo.run import Run

    # What can be wrong is found before Keras is imported.
    overrides = dict(parse_setting(setting) for setting in settings)
    if prune is None and (schedule, pattern, scope) != ("polynomial", "unstructured", "layer"):
        raise click.UsageError("--schedule, --pattern and --scope go with --prune.")
    chosen = None if prune is None else PruneSettings(prune, schedule, pattern, scope)  # type: ignore[arg-type]
    limits: dict[str, Any] = {
        "size": parse_bytes(max_size),
        "drop": None if max_drop is None else max_drop / 100,
        "latency_ms": max_latency,
        "ram": parse_bytes(max_ram),
    }
    asked: dict[str, Any] = {
        "filters": filters,
        "filters_by": filters_by,
        "low_rank": low_rank,
        "rank": rank,
        "prune": chosen,
        "cluster": cluster,
        "qat": qat,
    }
    searches = sweep or any(value is not None for value in limits.values())
    methods = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value]
    if sweep and any(value is not None for value in limits.values()):
        raise click.UsageError("--sweep measures everything: leave out the limits, or leave out --sweep.")
    if searches and (methods or force):
        raise click.UsageError(f"A search chooses by itself: leave out {', '.join(methods) or '--force'}.")
    parent = Run(run)
    load_keras()
    training: dict[str, Any] = {
        "all_layers": all_layers,
        "distill": distill,
        "epochs": epochs,
        "batch_size": batch_size,
        "settings": overrides,
        "out": out,
        "reporter": TerminalReporter(),
    }
    if searches:
        from kzoo.compression import Budget, search

        found = search(parent, None if sweep else Budget(**limits), **training)
        say(f"report {found.directory / 'report.html'}")
        click.echo(found.chosen.file if found.chosen is not None else str(found.directory))
        return
    from kzoo.compression import compress as compress_run

    made = compress_run(parent, **asked, per_tensor=per_tensor, force=force, **training)
    for line in _summary(made):
        say(line)
    click.echo(str(made.path))


def parse_bytes(text: str | None) -> int | None:
    """Read `100k`, `1.5M` or `65536` as bytes, of 1000 each.

    Raises:
        click.BadParameter: It is something else.
    """
    if text is None:
        return None
    factor = {"k": 1e3, "m": 1e6}.get(text[-1:].lower(), 1.0)
    try:
        value = float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        value = 0.0
    if not value >= 1:
        raise click.BadParameter(f"Expected bytes as 100k or 1.5M, received {text!r}.")
    return int(value)


def _summary(made: Run) -> list[str]:
    facts, metrics = made.info.compression, made.metrics
    assert facts is not None
    before = "" if facts.parent_accuracy is None else f" (before {facts.parent_accuracy:.4f})"
    lines = [f"test {metrics.headline}{before} on {metrics.samples:,} samples, best epoch {made.info.best_epoch}"]
    if facts.pruned:
        lines.append(
            f"{len(facts.pruned)} layers pruned: {100 * facts.sparsity:.1f} % zeros, "
            f"{100 * facts.total_sparsity:.1f} % in all kernels"
        )
    if facts.clustered:
        lines.append(f"{len(facts.clustered)} layers clustered: at most {facts.unique:,} values a kernel")
    if facts.ranges:
        lines.append(f"int8 file: kzoo export {made.path} --quantize int8")
    lines.append(f"report {made.path / 'report.html'}")
    return lines
