"""`kzoo train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal import TerminalReporter, load_keras, say, show_facts

if TYPE_CHECKING:
    from kzoo.training import DryRun


@click.command()
@click.argument("model")
@click.option("--data", help="Built-in dataset, folder of class folders, .csv or .npz. Default: digits.")
@click.option("--recipe", help="Packaged recipe or YAML file. Default: the packaged one that fits best.")
@click.option(
    "--weights",
    help="What to start from: a run or .keras file of the same architecture, timm:TAG or keras.applications:imagenet.",
)
@click.option(
    "--distill",
    multiple=True,
    metavar="TEACHER",
    help="Learn from this run or .keras file as well as from the labels; several are averaged.",
)
@click.option("--epochs", type=click.IntRange(1), help="Override the recipe.")
@click.option("--batch-size", type=click.IntRange(1), help="Override the recipe.")
@click.option("--seed", type=click.IntRange(0), help="Of data order, augmentation, initial weights and splits.")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Override any value: optimizer.learning_rate=0.1")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory. Default: runs/MODEL.DATASET-N")
@click.option(
    "--resume", is_flag=True, help="Continue the unfinished run at --out, or the last one of this model and data."
)
@click.option("--force", is_flag=True, help="Replace a run that stands at --out.")
@click.option(
    "--dry-run", is_flag=True, help="Build everything, run a few steps, say what a run would take, write nothing."
)
def train(
    model: str,
    data: str | None,
    recipe: str | None,
    weights: str | None,
    distill: tuple[str, ...],
    epochs: int | None,
    batch_size: int | None,
    seed: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    force: bool,
    dry_run: bool,
) -> None:
    """Train MODEL on data. Prints the run directory last.

    \b
    kzoo train resnet18
    kzoo train mobilenet_v2 --data photos/ --epochs 20
    kzoo train lstm --data words/ --set sound.kind=mfcc
    kzoo train text_cnn --data messages.csv
    kzoo train resnet8 --data cifar10 --set optimizer.learning_rate=0.05 --set augmentation.flip=horizontal
    kzoo train resnet8 --distill runs/resnet18.digits-1 --set distillation.weight=0.7
    kzoo train cnn --set sparse_training.method=rigl --set sparse_training.sparsity=0.9
    """  # noqa: D301 - click wants the character, not an escape of it
    from kzoo.recipes import parse_setting
    from kzoo.zoo import find_record

    # What can be wrong is found before Keras is imported.
    find_record(model)
    overrides = dict(parse_setting(setting) for setting in settings)
    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "transfer.weights": weights}
    given["distillation.teachers"] = list(distill) or None
    overrides.update({key: value for key, value in given.items() if value is not None})
    if dry_run and (resume or force):
        raise click.UsageError("--dry-run goes with neither --resume nor --force.")
    load_keras()
    from kzoo import training

    if dry_run:
        plan = training.make_plan(training.resolve_recipe(model, data, recipe=recipe, overrides=overrides))
        for line in training.describe(plan):
            say(line)
        _show_dry_run(training.dry_run(plan, TerminalReporter()))
        return
    run = training.train(
        model,
        data,
        recipe=recipe,
        settings=overrides,
        out=out,
        resume=resume,
        force=force,
        reporter=TerminalReporter(),
    )
    metrics = run.metrics
    say(f"test {metrics.headline} on {metrics.samples:,} samples, best epoch {run.info.best_epoch}")
    say(f"report {run.path / 'report.html'}")
    click.echo(str(run.path))


def _show_dry_run(result: DryRun) -> None:
    from kzoo.training.reporter import clock

    show_facts(
        [
            ("Parameters", f"{result.parameters:,}"),
            ("Multiply-adds", f"{result.macs:,} a sample"),
            ("Precision", result.precision),
            ("Step", f"{1000 * result.step_seconds:,.1f} ms"),
            ("Expected time", f"{clock(result.expected_seconds)} for all training steps"),
            ("Peak memory", f"{result.peak_memory / 1e6:,.0f} MB"),
            ("Loss by then", f"{result.loss:.4f}"),
        ]
    )
