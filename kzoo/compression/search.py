"""Try several methods on a run, measure each on its exported file, and find what fits a budget."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo.errors import ExportError, RunError, UsageError
from kzoo.evaluation.measure import evaluate
from kzoo.evaluation.metrics import Metrics
from kzoo.evaluation.tradeoffs import Version, write_tradeoffs
from kzoo.export import PerTensor, Quantization, benchmark_many, count_file_kernels
from kzoo.exporting import export_model
from kzoo.files import write_json
from kzoo.run import Run, is_run, next_free
from kzoo.training.fit import RUNS
from kzoo.training.reporter import LogReporter, Reporter

from .pipeline import compress
from .request import check_parent

RESULTS = "versions.json"


@dataclasses.dataclass(frozen=True)
class Budget:
    """What a file may cost; None: as much as it likes.

    Attributes:
        size: Bytes of the file, gzipped, as apps and updates ship it.
        drop: Accuracy that it may lose against the parent's Keras model on the validation split, 0.01 being one point.
        latency_ms: Median of one run here, batch 1, one thread, in milliseconds.
        ram: Bytes that a microcontroller plans for the tensors.
    """

    size: int | None = None
    drop: float | None = None
    latency_ms: float | None = None
    ram: int | None = None

    def misses(self, version: Version, reference: float) -> list[tuple[str, float]]:
        """Say which limits a version misses, and by what share of the limit.

        Args:
            version: As it was measured.
            reference: The parent's accuracy.
        """
        lost = reference - version.accuracy
        found = [
            (f"{version.gzip_size:,} of {self.size or 0:,} bytes", version.gzip_size, self.size),
            (f"{100 * lost:.2f} of {100 * (self.drop or 0):.2f} points lost", lost, self.drop),
            (f"{version.latency_ms:.3f} of {self.latency_ms or 0:g} ms", version.latency_ms, self.latency_ms),
            (f"{version.arena:,} of {self.ram or 0:,} bytes of RAM", version.arena, self.ram),
        ]
        return [
            (text, value / limit - 1.0 if limit else math.inf)
            for text, value, limit in found
            if limit is not None and value > limit
        ]


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to a smaller file.

    Attributes:
        arguments: Of `compress`; none: the run as it is.
        quantize: Precision of the file.
        per_tensor: Of an int8 file that is quantised after training, see `kzoo.export.Precision`.
    """

    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    quantize: Quantization = "int8"
    per_tensor: PerTensor | None = None


#: What can be tried, by the accuracy and the training that it costs, the least first.
METHODS: Mapping[str, Method] = {
    "dense": Method(quantize="fp32"),
    "prune50": Method({"prune": 0.5}, quantize="fp32"),
    "cluster16": Method({"cluster": 16}, quantize="fp32"),
    "filters50": Method({"filters": 0.5}, quantize="fp32"),
    "int8": Method(),
    "int8-per-tensor": Method(per_tensor="all"),
    "qat": Method({"qat": True}),
    "qat-per-tensor": Method({"qat": True, "per_tensor": "all"}),
    "prune50-qat": Method({"prune": 0.5, "qat": True}),
    # Half of the weights in six bits: the entropy of eight is more than a gzipped file has room for.
    "prune50-cluster64-qat": Method({"prune": 0.5, "cluster": 64, "qat": True}),
    "cluster32-qat": Method({"cluster": 32, "qat": True}),
    "filters30-qat": Method({"filters": 0.3, "qat": True}),
    "cluster16-qat": Method({"cluster": 16, "qat": True}),
    "prune50-cluster16-qat": Method({"prune": 0.5, "cluster": 16, "qat": True}),
    "prune75-qat": Method({"prune": 0.75, "qat": True}),
    "filters50-qat": Method({"filters": 0.5, "qat": True}),
    "prune75-cluster16-qat": Method({"prune": 0.75, "cluster": 16, "qat": True}),
    "filters50-prune50-qat": Method({"filters": 0.5, "prune": 0.5, "qat": True}),
    "filters75-qat": Method({"filters": 0.75, "qat": True}),
}
#: What fits no better than its neighbours on a device, and stands in a sweep for comparison only.
_FOR_COMPARISON = frozenset({"dense", "prune50", "cluster16", "filters50", "int8-per-tensor", "qat-per-tensor"})


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        directory: Where `report.html`, `versions.json` and the runs lie.
        versions: In the order in which they were tried.
        chosen: The first one that fits the budget; None for a sweep, which has none.
    """

    directory: Path
    versions: tuple[Version, ...]
    chosen: Version | None


def search(
    run: Run | str | Path,
    budget: Budget | None = None,
    *,
    methods: Sequence[str] | None = None,
    split: str = "val",
    data: Any = None,
    out: str | Path | None = None,
    reporter: Reporter | None = None,
    **arguments: Any,
) -> Search:
    """Compress a run in several ways and measure the file of each.

    What was done under `out` before is measured again, not trained again, so that a search that was interrupted goes
    on.

    Args:
        run: A finished run of a classifier.
        budget: Ends the search at the first version that fits. None: everything is tried.
        methods: Names out of `METHODS`. Default: all; with a budget those that make int8 files.
        split: What the accuracy is measured on: `"val"`, or `"test"` for figures to publish. What is chosen is chosen
            on the validation split.
        data: Arrays `(x, y)` where the run was trained on arrays. Default: the data of the run.
        out: A directory. Default: `runs/RUN-sweep-N`.
        reporter: Where progress goes. Default: INFO records of the logger `kzoo`.
        arguments: Of `compress`, for each version: `epochs`, `settings`, ….

    Raises:
        RunError: Nothing fits; the message names what came nearest.
        UsageError: A method of another name.
    """
    parent = run if isinstance(run, Run) else Run(run)
    reporter = reporter or LogReporter()
    fitting_ones = [name for name in METHODS if budget is None or name not in _FOR_COMPARISON]
    chosen = fitting_ones if methods is None else list(methods)
    unknown = [name for name in chosen if name not in METHODS]
    if unknown:
        raise UsageError(f"Expected methods out of {', '.join(METHODS)}, received {unknown[0]!r}.")
    if budget is not None and split != "val":
        raise UsageError("Expected the validation split to choose on, received another.")
    if parent.info.compression is not None:
        raise UsageError(f"Expected a run that is not compressed yet, received {parent.path}. Take its parent.")
    check_parent(parent)
    directory = Path(out) if out else next_free(RUNS, f"{parent.path.name}-sweep")
    directory.mkdir(parents=True, exist_ok=True)
    if is_run(directory):
        raise RunError(f"Expected a directory of its own for a search, received {directory}, a run. Choose another.")
    reference = _accuracy(parent, data, split).accuracy
    versions: list[Version] = []
    fitting = None
    for name in chosen:
        version = _measured(name, parent, directory, split, versions, reporter, {"data": data, **arguments})
        if version is None:
            continue
        versions.append(version)
        write_json(directory / RESULTS, [each.model_dump(mode="json") for each in versions])
        missed = [] if budget is None else budget.misses(version, reference)
        reporter.line(describe(version) + (f"  too much: {'; '.join(text for text, _ in missed)}" if missed else ""))
        if budget is not None and not missed:
            fitting = version
            break
    write_tradeoffs(directory, f"{parent.path.name}: what smaller costs", parent.info.model, versions)
    if budget is not None and fitting is None:
        nearest = min(versions, key=lambda each: max(share for _, share in budget.misses(each, reference)))
        beyond = "; ".join(text for text, _ in budget.misses(nearest, reference))
        raise RunError(
            f"Expected a version within the budget, received none. {nearest.name} came nearest: {beyond}. "
            f"All are in {directory / 'report.html'}; allow more, or give them more --epochs."
        )
    return Search(directory, tuple(versions), fitting)


def describe(version: Version) -> str:
    """One line for the terminal."""
    return (
        f"{version.name:<22} accuracy {version.accuracy:.4f}  {version.size:,} bytes, {version.gzip_size:,} gzipped  "
        f"{100 * version.sparsity:.0f} % zeros  {version.latency_ratio:.2f}× time  {version.minutes:.1f} min"
    )


def _measured(
    name: str,
    parent: Run,
    directory: Path,
    split: str,
    versions: Sequence[Version],
    reporter: Reporter,
    arguments: Mapping[str, Any],
) -> Version | None:
    """Train, if need be, and measure a version; None where the model has nothing to compress so."""
    method = METHODS[name]
    run = parent if not method.arguments else _compressed(name, method, parent, directory, reporter, arguments)
    if run is None:
        return None
    file = _file(directory, name)
    data = arguments["data"]
    exported = export_model(
        run, file, quantize=method.quantize, data=data, per_tensor=method.per_tensor, max_drop=1.0, overwrite=True
    )
    metrics = _accuracy(file, data, split)
    first = _file(directory, versions[0].name) if versions else file
    timed = benchmark_many([first, file])[1]
    kernels = count_file_kernels(file)
    weights = sum(kernel.size for kernel in kernels)
    return Version(
        name=name,
        run=str(run.path),
        file=str(file),
        quantize=method.quantize,
        split=split,
        samples=metrics.samples,
        accuracy=metrics.accuracy,
        size=exported.size,
        gzip_size=exported.gzip_size,
        sparsity=sum(kernel.zeros for kernel in kernels) / weights if weights else 0.0,
        unique=max((kernel.unique for kernel in kernels), default=0),
        macs=timed.macs,
        arena=exported.arena,
        latency_ms=timed.p50_ms,
        latency_ratio=timed.ratio.median if timed.ratio else 1.0,
        minutes=0.0 if run is parent else run.info.seconds / 60,
    )


def _compressed(
    name: str,
    method: Method,
    parent: Run,
    directory: Path,
    reporter: Reporter,
    arguments: Mapping[str, Any],
) -> Run | None:
    path = directory / name
    if is_run(path) and Run(path).info.status == "done":
        return Run(path)
    try:
        return compress(parent, **method.arguments, **arguments, out=path, force=is_run(path), reporter=reporter)
    except ExportError as error:
        reporter.line(f"{name:<22} left out: {error}")
        return None


def _file(directory: Path, name: str) -> Path:
    return directory / f"{name}.{METHODS[name].quantize}.tflite"


def _accuracy(source: Any, data: Any, split: str) -> Metrics:
    metrics = evaluate(source, data, split=split)
    assert isinstance(metrics, Metrics)  # check_parent lets classifiers only through
    return metrics
