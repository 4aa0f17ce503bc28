"""`kzoo benchmark`."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from .evaluate import RUNTIME
from .terminal import printable, say, show_json, show_table

if TYPE_CHECKING:
    from kzoo.export import BenchmarkResult, OperatorProfile, OperatorTime


class Table(Protocol):
    """Shows a table; as `show_table`."""

    def __call__(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None: ...


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=200, show_default=True, help="Timed runs a file.")
@RUNTIME
@click.option("--operators", is_flag=True, help="The time of every operator as well, each measured alone.")
@click.option("--markdown", is_flag=True, help="Tables in Markdown on stdout.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")
def benchmark(
    files: tuple[Path, ...], threads: int, runs: int, runtime: str, operators: bool, markdown: bool, as_json: bool
) -> None:
    """Time .tflite files on this machine, in turns, and show their work, size and memory.

    Several files are compared with the first: the ratio of the times is the median of ten turns, with the range that
    eight of ten turns lie in.
    """
    from kzoo.export import benchmark_many, profile_operators

    if markdown and as_json:
        raise click.UsageError("--markdown and --json exclude each other.")
    results = benchmark_many(files, threads=threads, runs=runs, runtime=runtime)
    profiles = [profile_operators(file, threads=threads, runtime=runtime) if operators else None for file in files]
    if as_json:
        show_json([_document(*each) for each in zip(results, profiles, strict=True)])
        return
    table = _show_markdown if markdown else show_table
    together = len({path.parent for path in files}) == 1
    names = [path.name if together else str(path) for path in files]
    _show_times(names, results, table)
    for name, profile in zip(names, profiles, strict=True):
        if profile is not None:
            click.echo(f"{'### ' if markdown else ''}{printable(name)}\n")
            _show_operators(profile, table)
    timed = sorted({result.runs for result in results})
    condition = (
        f"{results[0].runtime}, {threads} {'thread' if threads == 1 else 'threads'}, batch 1, "
        f"{'–'.join(map(str, dict.fromkeys((timed[0], timed[-1]))))} runs after a warm-up"
        f"{f', files in {printable(str(files[0].parent))}' if together else ''}"
    )
    uncounted = sorted({name for result in results for name in result.uncounted})
    if uncounted:
        condition += f"; MACs are without those of {', '.join(uncounted)}"
    if markdown:
        click.echo(condition)
    else:
        say(condition)


def _document(result: BenchmarkResult, profile: OperatorProfile | None) -> dict[str, object]:
    detail = None if profile is None else dataclasses.asdict(profile)
    return {**dataclasses.asdict(result), "path": str(result.path), "operator_profile": detail}


def _show_times(names: list[str], results: list[BenchmarkResult], table: Table) -> None:
    """Two tables, so that both fit a terminal."""
    compared = len(results) > 1
    rows = [
        (
            name,
            _time(result.p50_ms),
            _time(result.p90_ms),
            _time(result.p99_ms),
            *((_ratio(result),) if compared else ()),
        )
        for name, result in zip(names, results, strict=True)
    ]
    columns = ("file", "p50", "p90", "p99", *(("to the first",) if compared else ()))
    table(columns, rows, right=columns[1:])
    sizes = [
        (
            name,
            _macs(result.macs or (None if result.uncounted else 0)) + ("+" if result.macs and result.uncounted else ""),
            f"{result.size:,} B",
            f"{result.gzip_size:,} B",
            "unknown" if result.peak_memory is None else f"{result.peak_memory / 1e6:,.1f} MB",
            f"{result.arena:,} B",
        )
        for name, result in zip(names, results, strict=True)
    ]
    columns = ("file", "MACs", "size", "gzipped", "peak memory", "arena")
    table(columns, sizes, right=columns[1:])


def _show_operators(profile: OperatorProfile, table: Table) -> None:
    kinds: dict[str, list[OperatorTime]] = defaultdict(list)
    for operator in profile.operators:
        kinds[operator.name].append(operator)
    columns = ("operator", "count", "MACs", "time", "share")
    rows = [
        (name, str(len(each)), *_figures(each)) for name, each in sorted(kinds.items(), key=lambda kind: _took(kind[1]))
    ]
    table(columns, rows, right=columns[1:])
    each_columns = ("#", "operator", "output", "MACs", "time", "share")
    each_row = [
        (
            str(operator.position),
            operator.name,
            "×".join(map(str, operator.shape)),
            *((_macs(operator.macs), operator.note, "") if operator.note else _figures([operator])),
        )
        for operator in sorted(profile.operators, key=lambda operator: _took([operator]))
    ]
    table(each_columns, each_row, right=("#", "MACs", "time", "share"))
    click.echo(
        f"sum {_time(profile.sum_ms)} of operators timed alone, whole file {_time(profile.whole_ms)} "
        f"({profile.sum_ms / profile.whole_ms:.2f} times), call without operators {_time(profile.overhead_ms)}\n"
        "In the whole file the runtime takes neighbours together, so the shares say where the time goes, not what "
        "leaving an operator out would save."
    )


def _figures(operators: list[OperatorTime]) -> tuple[str, str, str]:
    times = [operator.time_ms for operator in operators if operator.time_ms is not None]
    counts = [operator.macs for operator in operators]
    macs = _macs(None if None in counts else sum(count or 0 for count in counts))
    if not times:
        return macs, "not timed", ""
    return macs, _time(sum(times)), f"{100 * sum(operator.share or 0 for operator in operators):.1f} %"


def _took(operators: list[OperatorTime]) -> float:
    """For sorting: the slowest first."""
    return -sum(operator.time_ms or 0 for operator in operators)


def _time(milliseconds: float) -> str:
    return f"{milliseconds:.4f} ms" if milliseconds < 1 else f"{milliseconds:,.3f} ms"


def _macs(count: int | None) -> str:
    return "unknown" if count is None else "–" if count == 0 else f"{count / 1e6:,.3f} M"


def _ratio(result: BenchmarkResult) -> str:
    ratio = result.ratio
    return "1" if ratio is None else f"{ratio.median:.3f} ({ratio.low:.3f}–{ratio.high:.3f})"


def _show_markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    rule = ["---:" if column in right else "---" for column in columns]
    for row in (columns, rule, *rows):
        click.echo(f"| {' | '.join(printable(cell).replace('|', chr(92) + '|') for cell in row)} |")
    click.echo()
