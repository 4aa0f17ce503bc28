"""`kzoo check`: where a `.tflite` file runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kzoo.errors import ExportError

from .terminal import printable, show_facts, show_json, show_table

if TYPE_CHECKING:
    from kzoo.export import CheckReport, Finding

#: As kzoo.export.TARGETS, which is not imported before a file is looked at.
TARGETS = ("tflm", "nnapi", "gpu", "litert", "tflite-runtime")


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--target", type=click.Choice(TARGETS), help="Fail where the file does not run on it.")
@click.option(
    "--min-runtime", metavar="V", help="Fail where the file needs a newer TensorFlow Lite than V, as in 2.14."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def check(file: Path, target: str | None, min_runtime: str | None, as_json: bool) -> None:
    """Look at any .tflite file: what it computes in, what it needs, where it runs."""
    from kzoo.export import check as check_file

    report = check_file(file, target=target, min_runtime=min_runtime)
    if as_json:
        show_json(report.as_dict())
    else:
        _show(report)
    if report.errors:
        raise ExportError(_failure(report, target, min_runtime))


def _failure(report: CheckReport, target: str | None, min_runtime: str | None) -> str:
    wanted = [target] if target and any(each.target == target for each in report.errors) else []
    if min_runtime and any(each.target is None for each in report.errors):
        wanted.append(f"TensorFlow Lite {min_runtime}")
    more = f" ({len(report.errors) - 1} more.)" if len(report.errors) > 1 else ""
    return f"{report.path} does not run on {' and '.join(wanted)}: {report.errors[0]}{more}"


def _show(report: CheckReport) -> None:
    show_facts(_facts(report))
    columns = ("operator", "version", "values", "count", "not taken by")
    rows = [
        (each.name, str(each.version), each.dtype, str(each.count), ", ".join(each.refused_by))
        for each in report.operators
    ]
    show_table(columns, rows, right=("version", "count"))
    targets = [
        (name, verdict.runs, f"{verdict.taken} of {verdict.total}", verdict.note or verdict.release)
        for name, verdict in report.verdicts.items()
    ]
    show_table(("target", "runs", "operators", ""), targets, right=("operators",))
    for line in _lines(report.findings):
        click.echo(printable(line))


def _facts(report: CheckReport) -> list[tuple[str, str]]:
    memory, xnnpack = report.memory, report.xnnpack
    most = f", most at operator {memory.fullest[0]} {memory.fullest[1]}" if memory.fullest else ""
    state = f", and {memory.variables:,} B of state" if memory.variables else ""
    parts = "unknown" if xnnpack.partitions is None else f"{xnnpack.partitions} partition(s)"
    outside = ", ".join(_counted(place.operator for place in xnnpack.outside)) or "nothing"
    facts = [
        ("file", f"{report.path}, {report.size:,} bytes"),
        ("computes in", report.arithmetic.kind),
        ("needs", f"TensorFlow Lite {report.min_runtime}" if report.min_runtime else "unknown: operators in no list"),
        ("memory", f"{memory.size:,} B planned for tensors{most}{state}; scratch buffers of kernels come on top"),
        ("XNNPACK", f"{parts}, outside: {outside}"),
    ]
    if report.stateful:
        facts.append(("state", "kept between calls: call reset_all_variables() between independent inputs"))
    if report.trial:
        facts.append(("tried", f"{report.trial.release}: {report.trial.problem or 'runs'}"))
    return facts


def _counted(names: Iterable[str]) -> list[str]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return [f"{count} {name}" for name, count in counts.items()]


def _lines(findings: Sequence[Finding]) -> list[str]:
    """One line for findings that differ in the operator's number only."""
    alike: dict[tuple[str | None, ...], list[Finding]] = {}
    for each in findings:
        key = (each.severity, each.target, each.message, each.advice, each.place.operator if each.place else None)
        alike.setdefault(key, []).append(each)
    return [
        f"{first.severity}: {first}" + (f" ({len(rest)} more like it.)" if rest else "")
        for first, *rest in alike.values()
    ]
