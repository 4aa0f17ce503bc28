"""`kzoo list` and `kzoo info`."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from kzoo import models

from .terminal import load_keras, show_facts, show_json, show_table


@click.command("list")
@click.argument("pattern", default="*")
@click.option("--family", help="Only this family, as resnet.")
@click.option("--task", type=click.Choice(["image", "sequence"]), help="Only models for this kind of input.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")
def list_models(pattern: str, family: str | None, task: str | None, as_json: bool) -> None:
    """List the models whose name fits PATTERN, as "resnet*"."""
    from kzoo.zoo import list_models as find_models

    records = [models.CATALOG[name] for name in find_models(pattern, family=family, task=task)]
    if as_json:
        show_json([dataclasses.asdict(record) for record in records])
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
            str(record.classes),
            record.paper,
        )
        for record in records
    ]
    columns = ("name", "family", "task", "parameters", "MACs", "input", "classes", "paper")
    show_table(columns, rows, right=("parameters", "MACs", "classes"))


@click.command()
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def info(model: str, as_json: bool) -> None:
    """Show one model of the catalogue: its card and its layers."""
    from kzoo.recipes import list_recipes
    from kzoo.zoo import create_model, find_record

    record = find_record(model)
    load_keras()
    layers = [_layer_row(layer) for layer in create_model(model).layers]
    recipes = [name for name in list_recipes() if name.split(".")[0] in (model, record.task)]
    if as_json:
        names = ("layer", "class", "output", "parameters")
        rows = [dict(zip(names, row, strict=True)) for row in layers]
        show_json({**dataclasses.asdict(record), "recipes": recipes, "layers": rows})
        return
    total = record.trainable_parameters + record.non_trainable_parameters
    show_facts(
        [
            ("Model", record.name),
            ("Family", record.family),
            ("Task", record.task),
            ("Paper", f"{record.paper} {record.url}"),
            ("Default input", " × ".join(map(str, record.input_shape))),
            ("Default classes", str(record.classes)),
            (
                "Parameters",
                f"{record.trainable_parameters:,} trainable, {record.non_trainable_parameters:,} statistics",
            ),
            ("Multiply-adds", f"{record.macs:,} a sample"),
            ("Weights", f"{total * 4 / 1e6:,.2f} MB float32, about {total / 1e6:,.2f} MB int8"),
            ("Recipes", ", ".join(recipes)),
        ]
    )
    columns = ("layer", "class", "output", "parameters")
    show_table(columns, [(*row[:3], f"{row[3]:,}") for row in layers], right=("parameters",))


def _layer_row(layer: Any) -> tuple[str, str, str, int]:
    output = layer.output
    shape = "×".join("batch" if size is None else str(size) for size in output.shape)
    return layer.name, type(layer).__name__, shape, layer.count_params()
