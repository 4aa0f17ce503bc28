"""`kzoo data list` and `kzoo data info`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from .terminal import printable, show_facts, show_json, show_table

if TYPE_CHECKING:
    from kzoo.data.spec import InputSpec, Kind


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
        "Also: a folder of class folders with images or WAV files (with or without train/ val/ test/ above), a CSV "
        "file (label and text, label and numbers, or user and item), a folder with train.csv and test.csv, or an .npz "
        "file."
    )


@data.command("info")
@click.argument("source", metavar="D")
@click.option("--kind", type=click.Choice(["image", "sequence", "text"]), help="Of arrays. Default: images.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def info(source: str, kind: Kind | None, as_json: bool) -> None:
    """Open a dataset and say what it holds: splits, classes, input, fingerprint."""
    from kzoo.data import open_dataset

    # 224: what image models take by default where images have many sizes.
    dataset = open_dataset(source, kind=kind, default_size=(224, 224))
    content = dataset.describe()
    if as_json:
        show_json(content)
        return
    show_facts(
        [
            ("Dataset", dataset.name),
            ("Source", dataset.source),
            ("Input", f"{dataset.input.kind} {'×'.join(map(str, dataset.input.shape))}"),
            *_front_end(dataset.input),
            ("Classes", str(len(dataset.classes))),
            ("Fingerprint", dataset.fingerprint),
            ("Skipped", str(len(dataset.skipped))),
        ]
    )
    for skipped in dataset.skipped:
        click.echo(f"  {printable(skipped)}")
    if dataset.repeated:
        show_facts([("Repeated", f"{len(dataset.repeated)} of validation and test, also in an earlier split")])
    for repeated in dataset.repeated:
        click.echo(f"  {printable(repeated)}")
    splits = content["splits"]
    rows = [(name, *(str(splits[split]["per_class"][name]) for split in splits)) for name in dataset.classes]
    rows.append(("all", *(str(splits[split]["samples"]) for split in splits)))
    show_table(("class", *splits), rows, right=tuple(splits))


def _front_end(spec: InputSpec) -> list[tuple[str, str]]:
    """What is computed before a model, as far as it is not said by the shape."""
    if spec.sound is not None:
        sound = spec.sound
        return [
            (
                "Front end",
                f"{sound.kind} of {sound.seconds:g} s at {sound.sample_rate:,} Hz, frames of {sound.window_ms:g} ms "
                f"every {sound.hop_ms:g} ms, {sound.mels} mels from {sound.low_hz:g} to {sound.high_hz:g} Hz",
            )
        ]
    if spec.interactions is not None:
        known = spec.interactions
        return [("Users", f"{len(known.users):,}"), ("Items", f"{len(known.items):,}")]
    return [] if spec.text is None else [("Vocabulary", f"{spec.text.vocabulary_size:,} places")]
