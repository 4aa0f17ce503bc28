"""`kzoo export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal import load_keras, printable, say, show_json

if TYPE_CHECKING:
    from kzoo.export import ExportResult, LayerError, TensorFacts


#: As kzoo.exporting.PLACES, which is not imported before a model is exported.
TARGETS = ("litert", "tflite-runtime", "nnapi", "gpu", "tflm", "android", "ios", "web", "rpi")


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--quantize",
    type=click.Choice(["fp32", "fp16", "dynamic", "int8", "int16x8"]),
    default="fp32",
    show_default=True,
    help="fp16 and dynamic: smaller weights; int8 and int16x8: integers throughout.",
)
@click.option(
    "--io",
    type=click.Choice(["float32", "int8", "uint8", "int16"]),
    help="Type of inputs and outputs. Default: int8 for int8, int16 for int16x8, else float32.",
)
@click.option(
    "--per-tensor",
    type=click.Choice(["none", "dense", "all"]),
    help="Layers whose weights get one step a tensor, not one a channel: for older runtimes and some accelerators.",
)
@click.option("--keep-float", multiple=True, metavar="LAYER", help="Leave this layer of an int8 file in float.")
@click.option("--logits", is_flag=True, help="End at the logits, without the softmax: enough to rank the classes.")
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    help="Where the file must run. tflm, android, ios, web and rpi write a kit with a program beside it.",
)
@click.option("--min-runtime", metavar="V", help="Oldest TensorFlow Lite that must run the file, as in 2.14.")
@click.option("--data", help="Other data to calibrate and verify on. Default: the run's own.")
@click.option(
    "--calibration-samples", type=click.IntRange(1), default=256, show_default=True, help="Out of the training split."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the choice of samples.")
@click.option(
    "--max-drop",
    type=float,
    default=1.0,
    show_default=True,
    help="Largest accepted drop of accuracy, percentage points.",
)
@click.option(
    "--metadata/--no-metadata",
    default=None,
    help="Labels, input normalisation and a description in the file, about 1 KB. Default: yes, but for tflm.",
)
@click.option("--layer-report", is_flag=True, help="Show layer by layer where the quantised file loses.")
@click.option("--gzip", is_flag=True, help="Also write FILE.gz, as short as gzip gets it; any gunzip unpacks it.")
@click.option("--out", type=click.Path(path_type=Path), help="Default: model.QUANTIZE.tflite in the run.")
@click.option("--force", is_flag=True, help="Replace a file that stands at --out.")
@click.option(
    "--timeout", type=click.FloatRange(min=1), default=600, show_default=True, help="Seconds the conversion may take."
)
@click.option(
    "--max-memory",
    type=click.FloatRange(min=0.1),
    metavar="GB",
    help="Memory the conversion may take. Default: nine tenths of the machine's.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def export(
    run: str,
    data: str | None,
    out: Path | None,
    max_drop: float,
    force: bool,
    max_memory: float | None,
    target: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Write a .tflite file of a run, run it against the Keras model, and print its path last.

    \b
    kzoo export runs/resnet18.digits-1 --quantize int8
    kzoo export runs/resnet18.digits-1 --quantize int8 --target android
    kzoo export runs/resnet18.digits-1 --quantize int8 --layer-report --keep-float predictions
    """  # noqa: D301 - click wants the character, not an escape of it
    from kzoo.export import Converter

    # Before all else, so that two processes import TensorFlow at the same time and not one after the other.
    with Converter() as converter:
        load_keras()
        from kzoo.exporting import export_model, kit_folder, packed_file

        result = export_model(
            run,
            out,
            data=data,
            target=target,
            max_drop=max_drop / 100,
            overwrite=force,
            memory_limit=None if max_memory is None else int(max_memory * 1e9),
            converter=converter,
            **options,
        )
    if as_json:
        show_json(result.model_dump(mode="json"))
        return
    for line in _summary(result):
        say(line)
    kit = kit_folder(result.path, target) if target else None
    if kit is not None and kit.is_dir():
        say(f"kit    {printable(str(kit))}: its README says how to build it")
    if options["gzip"]:
        packed = packed_file(result.path)
        say(f"gzip   {printable(str(packed))}: {packed.stat().st_size:,} bytes")
    if result.layers is not None:
        for line in _layer_report(result.layers):
            say(line)
    click.echo(str(result.path))


def _summary(result: ExportResult) -> list[str]:
    parity = result.parity
    lines = [
        f"{result.quantize}: {result.size:,} bytes, {result.gzip_size:,} gzipped",
        f"weights {', '.join(f'{size:,} bytes {dtype}' for dtype, size in result.constants.items())}",
        *(f"input  {_tensor(each)}" for each in result.inputs),
        *(f"output {_tensor(each)}" for each in result.outputs),
        f"operators {', '.join(f'{each.count} {each.name}' for each in result.operators)}",
        f"needs TensorFlow Lite {result.min_runtime_version}, arena {result.arena:,} bytes{_partitions(result)}",
    ]
    if result.float_operators:
        lines.append(f"in float  {', '.join(map(str, result.float_operators))}")
    if result.logits:
        lines.append("the answers are logits: their softmax are the probabilities")
    lines.append(
        f"against Keras on {parity.samples:,} validation samples: same answer on {100 * parity.agreement:.2f} %, "
        f"largest difference {parity.max_difference:.2g}"
    )
    if result.accuracy_keras is not None and result.accuracy_tflite is not None:
        lines.append(
            f"{result.figure} {100 * result.accuracy_keras:.2f} % Keras, {100 * result.accuracy_tflite:.2f} % file, "
            f"drop {100 * result.drop:+.2f} points of at most {100 * result.max_drop:.2f}"
        )
    if result.interval is not None and result.parity.agreement < 1:
        low, high = (100 * each for each in result.interval)
        lines.append(f"drop between {low:+.2f} and {high:+.2f} points at 95 % confidence{_worst_class(result)}")
    if result.stateful:
        lines.append("the file keeps its state between calls: call reset_all_variables() between independent inputs")
    return lines


def _partitions(result: ExportResult) -> str:
    count = result.xnnpack_partitions
    return "" if count is None else f", {count} XNNPACK partition{'' if count == 1 else 's'}"


def _worst_class(result: ExportResult) -> str:
    worst = result.class_drops[0] if result.class_drops else None
    if worst is None or worst.drop <= 0:
        return ""
    name = result.classes[worst.label] if result.classes is not None else str(worst.label)
    return f"; class {name} loses most, {100 * worst.drop:.2f} points on {worst.samples:,} samples"


def _layer_report(layers: Sequence[LayerError], most: int = 15) -> list[str]:
    """Where the file loses, in columns."""
    rows: list[tuple[str, ...]] = [("layer", "operator", "type", "error", "added", "cut off")]
    rows += [
        (
            each.layer or "(output)",
            each.operator,
            each.dtype,
            *(f"{100 * share:.2f} %" for share in (each.error, each.added, each.clipped)),
        )
        for each in layers[:most]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    more = [f"and {len(layers) - most} more in the sidecar"] if len(layers) > most else []
    return [
        "layers against the float model, those that lose most themselves first (root mean square, share of the signal)",
        *(f"  {line}" for line in lines + more),
    ]


def _tensor(facts: TensorFacts) -> str:
    shape = "×".join(map(str, facts.shape))
    scaled = f", value = {facts.scale:.6g} × (q − {facts.zero_point})" if facts.scale is not None else ""
    return f"{facts.name} {shape} {facts.dtype}{scaled}"
