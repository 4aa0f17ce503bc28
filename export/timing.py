"""How fast a `.tflite` file answers, how large it is, how much memory it takes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kzoo.errors import ExportError, UsageError

from .arena import plan_arena
from .file_macs import count_file_macs
from .runtime import LiteModel

_WARM_UP_SECONDS = 0.2
_WARM_UP_RUNS = 5
#: A file is timed no longer than this, however many runs were asked for, but at least `_FEWEST_RUNS` times.
_SECONDS = 10.0
_FEWEST_RUNS = 10
#: Files are timed in turns of this many runs, so that a slow minute of the machine hits them all.
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Ratio:
    """A file's time in proportion to the first file's, from the medians of every turn, so that slow minutes cancel out.

    Attributes:
        median: of all turns' ratios; 0.5 is twice as fast.
        low: nine of ten turns gave more.
        high: nine of ten turns gave less.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """One file's figures.

    Attributes:
        path: the file.
        p50_ms: median time of one run, batch 1, in milliseconds.
        p90_ms: nine of ten runs are as fast.
        p99_ms: 99 of 100 runs are as fast; of fewer than 100 runs the slowest.
        mean_ms: mean.
        runs: how many were timed; fewer than asked for where the file is slow.
        size: bytes.
        gzip_size: bytes after gzip.
        peak_memory: bytes by which the memory of a fresh process grows from before the file is opened to the peak of
            running it (resident set, measured apart from the timing). Some 10 MB of it is the runtime's own start, the
            same for every file; the weights count as far as they are read. None where the system does not say (it is
            read from Linux's /proc).
        runtime: which runtime ran it.
        threads: its threads.
        macs: multiply-accumulates of one run.
        uncounted: operators whose multiply-accumulates the file does not say, loops for one.
        ratio: time in proportion to the first file's, None for the first file.
        arena: bytes that a microcontroller plans for the tensors, see `plan_arena`.
    """

    path: Path
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    runs: int
    size: int
    gzip_size: int
    peak_memory: int | None
    runtime: str
    threads: int
    macs: int
    uncounted: tuple[str, ...]
    ratio: Ratio | None
    arena: int


def benchmark(
    path: str | os.PathLike[str], *, threads: int = 1, runs: int = 200, runtime: str = "auto"
) -> BenchmarkResult:
    """Time one file. See `benchmark_many`."""
    return benchmark_many([path], threads=threads, runs=runs, runtime=runtime)[0]


def benchmark_many(
    paths: Sequence[str | os.PathLike[str]], *, threads: int = 1, runs: int = 200, runtime: str = "auto"
) -> list[BenchmarkResult]:
    """Time several files side by side: after a warm-up, in turns, on noise, batch 1.

    Args:
        paths: the files.
        threads: threads of the runtime.
        runs: timed runs of each file; a file that needs more than 10 s for them is timed less often.
        runtime: `"litert"`, `"tflite-runtime"`, or the one that is installed (`"auto"`).

    Returns:
        One result a file, in the order of `paths`.

    Raises:
        ExportError: a file that cannot be run.
        UsageError: runs or threads below 1, an unknown runtime.
    """
    if runs < 1 or threads < 1:
        raise UsageError(f"Expected runs and threads of at least 1. Received: runs={runs}, threads={threads}.")
    models = [LiteModel(path, runtime=runtime, threads=threads) for path in paths]
    planned = [_planned_runs(model, runs) for model in models]
    turns: list[list[list[float]]] = [[] for _ in models]
    for turn in range(_ROUNDS):
        for model, count, measured in zip(models, planned, turns, strict=True):
            share = count * (turn + 1) // _ROUNDS - count * turn // _ROUNDS
            measured.append(_timed(model, share))
    return [
        _result(model, measured, _ratio(measured, turns[0]) if position else None)
        for position, (model, measured) in enumerate(zip(models, turns, strict=True))
    ]


def _planned_runs(model: LiteModel, runs: int) -> int:
    """Warm up, and see how many runs the time is enough for."""
    model.feed_random()
    durations: list[float] = []
    while len(durations) < _WARM_UP_RUNS or (sum(durations) < _WARM_UP_SECONDS and len(durations) < runs):
        durations += _timed(model, 1)
    affordable = int(_SECONDS / max(statistics.median(durations), 1e-9))
    return min(runs, max(affordable, _FEWEST_RUNS))


def _timed(model: LiteModel, runs: int) -> list[float]:
    durations = []
    for _ in range(runs):
        start = time.perf_counter()
        model.invoke()
        durations.append(time.perf_counter() - start)
    return durations


def _ratio(measured: list[list[float]], first: list[list[float]]) -> Ratio:
    """Few runs leave some turns empty, but never the last one."""
    both = [(mine, other) for mine, other in zip(measured, first, strict=True) if mine and other]
    ratios = sorted(statistics.median(mine) / statistics.median(other) for mine, other in both)
    low, high = np.quantile(ratios, [0.1, 0.9])
    return Ratio(median=statistics.median(ratios), low=float(low), high=float(high))


def _result(model: LiteModel, turns: list[list[float]], ratio: Ratio | None) -> BenchmarkResult:
    ordered = sorted(1000 * each for turn in turns for each in turn)
    macs = count_file_macs(model.file)
    return BenchmarkResult(
        path=model.path,
        p50_ms=statistics.median(ordered),
        p90_ms=_percentile(ordered, 90),
        p99_ms=_percentile(ordered, 99),
        mean_ms=statistics.fmean(ordered),
        runs=len(ordered),
        size=model.size,
        gzip_size=model.gzip_size,
        peak_memory=_peak_memory(model),
        runtime=model.runtime,
        threads=model.threads,
        macs=macs.macs,
        uncounted=macs.uncounted,
        ratio=ratio,
        arena=plan_arena(model.file).size,
    )


def _percentile(ordered: list[float], percent: int) -> float:
    """The smallest that so many of a hundred do not exceed."""
    return ordered[-(-percent * len(ordered) // 100) - 1]


def _peak_memory(model: LiteModel) -> int | None:
    """Measured in a child: this process has other things in memory, and freed memory hides what a file takes."""
    command = [sys.executable, "-P", "-m", "kzoo.export._memory", str(model.path), model.runtime, str(model.threads)]
    finished = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    if finished.returncode != 0:
        lines = finished.stderr.strip().splitlines() or ["no reason given"]
        raise ExportError(f"Could not measure the memory of {model.path}: {lines[-1][:200]}")
    answer = finished.stdout.strip()
    return int(answer) if answer else None
