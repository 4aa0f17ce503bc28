"""`kzoo data list` and `kzoo data info`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from .terminal import printable, show_facts, show_json, show_table

if TYPE_CHECKING:
    from kzoo.data.spec import Kind


@click.group()
def data() -> None:
    """What a model can be trained on."""


@data.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")
def list_data(as_json: bool) -> None:
    """List the built-in datasets."""
    from kzoo.data import list_datasets

    found = list_datasets()
    if as_json:
        show_json([dataclasses.asdict(info) for info in found])
        return
    rows = [
        (
            info.name,
            str(info.classes),
            "×".join(map(str, info.shape)),
            "yes" if info.offline else "no",
            info.description,
        )
        for info in found
    ]
    show_table(("name", "classes", "input", "offline", "description"), rows, right=("classes",))
    click.echo(
        "Also: a folder of class folders with images (with or without train/ val/ test/ above), or an .npz file."
    )


@data.command("info")
@click.argument("source", metavar="D")
@click.option("--kind", type=click.Choice(["image", "sequence"]), default="image", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def info(source: str, kind: Kind, as_json: bool) -> None:
    """Open a dataset and say what it holds: splits, classes, input, fingerprint."""
    from kzoo.data import open_dataset

    # 224: what image models take by default where images have many sizes.
    dataset = open_dataset(source, kind=kind, default_size=(224, 224) if kind == "image" else None)
    content = dataset.describe()
    if as_json:
        show_json(content)
        return
    show_facts(
        [
            ("Dataset", dataset.name),
            ("Source", dataset.source),
            ("Input", f"{dataset.input.kind} {'×'.join(map(str, dataset.input.shape))}"),
            ("Classes", str(len(dataset.classes))),
            ("Fingerprint", dataset.fingerprint),
            ("Skipped", str(len(dataset.skipped))),
        ]
    )
    for skipped in dataset.skipped:
        click.echo(f"  {printable(skipped)}")
    splits = content["splits"]
    rows = [(name, *(str(splits[split]["per_class"][name]) for split in splits)) for name in dataset.classes]
    rows.append(("all", *(str(splits[split]["samples"]) for split in splits)))
    show_table(("class", *splits), rows, right=tuple(splits))
