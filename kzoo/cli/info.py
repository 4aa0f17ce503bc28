"""`kzoo info`: a model of the catalogue, or a `.tflite` file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from .terminal import load_keras, show_facts, show_json, show_table

if TYPE_CHECKING:
    from kzoo.export.file_facts import FileFacts, TensorEntry


@click.command()
@click.argument("model", metavar="MODEL_OR_TFLITE")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def info(model: str, as_json: bool) -> None:
    """Show one model of the catalogue, with its layers, or what a .tflite file says of itself."""
    if model.endswith(".tflite"):
        _show_file(model, as_json)
    else:
        _show_model(model, as_json)


def _show_model(model: str, as_json: bool) -> None:
    from kzoo.recipes import list_recipes
    from kzoo.zoo import create_model, find_record

    record = find_record(model)
    load_keras()
    layers = [_layer_row(layer) for layer in create_model(model).layers]
    recipes = [name for name in list_recipes() if name.split(".")[0] in (model, record.task)]
    if as_json:
        names = ("layer", "class", "output", "parameters")
        rows = [dict(zip(names, row, strict=True)) for row in layers]
        show_json({**record.describe(), "recipes": recipes, "layers": rows})
        return
    total = record.trainable_parameters + record.non_trainable_parameters
    show_facts(
        [
            ("Model", record.name),
            ("Family", record.family),
            ("Task", record.task),
            ("Paper", f"{record.paper.title} {record.paper.url}"),
            ("Default input", " × ".join(map(str, record.input_shape))),
            ("Default classes", "none" if record.classes is None else str(record.classes)),
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


def _show_file(path: str, as_json: bool) -> None:
    from kzoo.export.file_facts import file_facts

    facts = file_facts(path)
    if as_json:
        show_json({**dataclasses.asdict(facts), "path": str(facts.path)})
        return
    show_facts(_file_rows(facts))


def _file_rows(facts: FileFacts) -> list[tuple[str, str]]:
    metadata = facts.metadata
    said = (
        [
            ("Model", metadata.name),
            ("Description", metadata.description),
            ("Version", metadata.version),
            ("Author", metadata.author),
            ("License", metadata.license),
        ]
        if metadata
        else [("Metadata", "none")]
    )
    rows = [("File", str(facts.path)), *((name, value) for name, value in said if value)]
    for title, tensors in (("Input", facts.inputs), ("Output", facts.outputs)):
        for tensor in tensors:
            rows += [(title, _tensor(tensor)), *(("", line) for line in _said(tensor))]
    if metadata and metadata.labels is not None:
        rows.append((f"{len(metadata.labels)} labels", _shortened(metadata.labels)))
    rows += [
        ("Operators", ", ".join(f"{count} {name}" for name, count in facts.operators)),
        (
            "Multiply-adds",
            f"{facts.macs:,}" + (f", and those of {', '.join(facts.uncounted)}" if facts.uncounted else ""),
        ),
        ("Size", f"{facts.size:,} bytes, {facts.gzip_size:,} gzipped"),
        ("SHA-256", facts.sha256),
    ]
    if facts.stateful:
        rows.append(("State", "kept between calls: call reset_all_variables() between independent inputs"))
    if facts.min_runtime_version:
        rows.append(("Needs", f"TensorFlow Lite {facts.min_runtime_version} or newer"))
    rows += [("Packed", f"{name}, {size:,} bytes") for name, size in facts.packed.items()]
    return rows


def _tensor(tensor: TensorEntry) -> str:
    scaled = "" if tensor.scale is None else f", value = {tensor.scale:.6g} × (q − {tensor.zero_point})"
    return f"{tensor.name} {'×'.join(map(str, tensor.shape))} {tensor.dtype}{scaled}"


def _said(tensor: TensorEntry) -> list[str]:
    """What the metadata add to it."""
    metadata = tensor.metadata
    if metadata is None:
        return []
    lines = [metadata.description]
    if metadata.mean and metadata.std:
        kind = " ".join(filter(None, (metadata.color_space, metadata.content)))
        lines.append(f"{kind or 'value'}: (pixel − {_numbers(metadata.mean)}) / {_numbers(metadata.std)}")
    return [line for line in lines if line]


def _numbers(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"[{', '.join(f'{value:g}' for value in values)}]"


def _shortened(labels: tuple[str, ...], most: int = 10) -> str:
    return ", ".join(labels) if len(labels) <= most else f"{', '.join(labels[: most - 1])}, …, {labels[-1]}"
