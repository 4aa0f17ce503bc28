"""`kzoo export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .terminal import load_keras, say, show_json

if TYPE_CHECKING:
    from kzoo.export import ExportResult, TensorFacts


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--quantize", type=click.Choice(["fp32", "int8"]), default="fp32", show_default=True)
@click.option("--data", help="Other data to calibrate and verify on. Default: the run's own.")
@click.option(
    "--max-drop",
    type=float,
    default=1.0,
    show_default=True,
    help="Largest accepted drop of accuracy, percentage points.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: model.QUANTIZE.tflite in the run.")
@click.option("--force", is_flag=True, help="Replace a file that stands at --out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def export(
    run: str,
    quantize: Literal["fp32", "int8"],
    data: str | None,
    max_drop: float,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a .tflite file of a run, run it against the Keras model, and print its path last."""
    load_keras()
    from kzoo.exporting import export_model

    result = export_model(run, out, quantize=quantize, data=data, max_drop=max_drop / 100, overwrite=force)
    if as_json:
        show_json(result.model_dump(mode="json"))
        return
    for line in _summary(result):
        say(line)
    click.echo(str(result.path))


def _summary(result: ExportResult) -> list[str]:
    parity = result.parity
    given, answered = result.inputs[0], result.outputs[0]
    lines = [
        f"{result.quantize}: {result.size:,} bytes, {result.gzip_size:,} gzipped",
        f"input  {_tensor(given)}",
        f"output {_tensor(answered)}",
        f"operators {', '.join(f'{each.count} {each.name}' for each in result.operators)}",
        f"against Keras on {parity.samples:,} validation samples: same answer on {100 * parity.agreement:.2f} %, "
        f"largest difference {parity.max_difference:.2g}",
    ]
    if result.accuracy_keras is not None and result.accuracy_tflite is not None:
        lines.append(
            f"accuracy {100 * result.accuracy_keras:.2f} % Keras, {100 * result.accuracy_tflite:.2f} % file, "
            f"drop {100 * result.drop:+.2f} points of at most {100 * result.max_drop:.2f}"
        )
    if result.stateful:
        lines.append("the file keeps its state between calls: call reset_all_variables() between independent inputs")
    return lines


def _tensor(facts: TensorFacts) -> str:
    shape = "×".join(map(str, facts.shape))
    scaled = f", value = {facts.scale:.6g} × (q − {facts.zero_point})" if facts.scale is not None else ""
    return f"{facts.name} {shape} {facts.dtype}{scaled}"
