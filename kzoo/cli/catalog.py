"""`kzoo list`."""

from __future__ import annotations

import click

from kzoo import models

from .terminal import show_json, show_table


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--family", help="Only this family, as resnet.")
@click.option(
    "--task",
    type=click.Choice(["image", "sequence", "text", "similarity", "reconstruction", "recommendation"]),
    help="Only models for this kind of input, or that compare it, reconstruct it or recommend items.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")
def list_models(pattern: str, family: str | None, task: str | None, as_json: bool) -> None:
    """List the models whose name fits PATTERN, as "resnet*"."""
    from kzoo.zoo import list_models as find_models

    records = [models.CATALOG[name] for name in find_models(pattern, family=family, task=task)]
    if as_json:
        show_json([record.describe() for record in records])
        return
    if not records:
        click.echo("No model fits.", err=True)
        return
    rows = [
        (
            record.name,
            record.family,
            record.task,
            f"{record.trainable_parameters:,}",
            f"{record.macs / 1e6:,.1f} M",
            "×".join(map(str, record.input_shape)),
            "" if record.classes is None else str(record.classes),
            record.paper.title,
        )
        for record in records
    ]
    columns = ("name", "family", "task", "parameters", "MACs", "input", "classes", "paper")
    show_table(columns, rows, right=("parameters", "MACs", "classes"))
