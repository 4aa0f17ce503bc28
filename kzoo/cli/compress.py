"""`kzoo compress`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .terminal import TerminalReporter, load_keras, say

if TYPE_CHECKING:
    from kzoo.run import Run


@click.command()
@click.argument("run")
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
@click.option("--all-layers", is_flag=True, help="Compress the first layer and the last ones, too.")
@click.option("--epochs", type=click.IntRange(1), help="Of fine-tuning for each method. Default: a third of the run's.")
@click.option("--batch-size", type=click.IntRange(1), help="Default: the run's.")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Any value of the fine-tuning's recipe.")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory. Default: runs/MODEL.DATASET-METHODS-N")
@click.option("--force", is_flag=True, help="Replace a run that stands at --out.")
def compress(
    run: str,
    prune: float | None,
    schedule: str,
    pattern: str,
    scope: str,
    cluster: int | None,
    qat: bool,
    per_tensor: str,
    all_layers: bool,
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
    """  # noqa: D301 - click wants the character, not an escape of it
    from kzoo.export.compression.settings import PruneSettings
    from kzoo.recipes import parse_setting
    from kzoo.run import Run

    # What can be wrong is found before Keras is imported.
    overrides = dict(parse_setting(setting) for setting in settings)
    if prune is None and (schedule, pattern, scope) != ("polynomial", "unstructured", "layer"):
        raise click.UsageError("--schedule, --pattern and --scope go with --prune.")
    chosen = None if prune is None else PruneSettings(prune, schedule, pattern, scope)  # type: ignore[arg-type]
    parent = Run(run)
    load_keras()
    from kzoo.compression import compress as compress_run

    made = compress_run(
        parent,
        prune=chosen,
        cluster=cluster,
        qat=qat,
        per_tensor=per_tensor,
        all_layers=all_layers,
        epochs=epochs,
        batch_size=batch_size,
        settings=overrides,
        out=out,
        force=force,
        reporter=TerminalReporter(),
    )
    for line in _summary(made):
        say(line)
    click.echo(str(made.path))


def _summary(made: Run) -> list[str]:
    facts, metrics = made.info.compression, made.metrics
    assert facts is not None
    before = "" if facts.parent_accuracy is None else f" (before {facts.parent_accuracy:.4f})"
    lines = [f"test {metrics.headline}{before} on {metrics.samples:,} samples, best epoch {made.info.best_epoch}"]
    if facts.layers:
        lines.append(
            f"{len(facts.layers)} layers: {100 * facts.sparsity:.1f} % zeros, at most {facts.unique:,} values a "
            f"kernel; {100 * facts.total_sparsity:.1f} % zeros in all kernels"
        )
    if facts.ranges:
        lines.append(f"int8 file: kzoo export {made.path} --quantize int8")
    lines.append(f"report {made.path / 'report.html'}")
    return lines
