"""Where a `.tflite` file runs: `check` on any file, whoever made it.

Needs NumPy and the standard library only. Where a runtime is installed the file is also tried on it, in a process of
its own.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from kzoo.errors import UsageError

from .arena import ArenaPlan, plan_arena
from .arithmetic import Arithmetic, Place, arithmetic, computed_dtype, operators
from .compatibility import Refusal, refusal, shapes_at_run_time, tensors_of
from .runtime import installed_runtime
from .targets import TARGETS, XNNPACK, Target, find_target, runtime_since, support
from .tflite_file import TFLiteFile, read_tflite
from .trial import Trial, try_file

Runs = Literal["runs", "partly", "no"]

_MOST_DIMENSIONS = 4
_VERSION = re.compile(r"\d+(\.\d+){0,3}")
_DENSE_PER_CHANNEL = "2.17"
_DENSE_PER_TENSOR = ("tflite-runtime", "tflm", "nnapi")
#: API level from which NNAPI has signed 8-bit values: https://developer.android.com/ndk/reference/group/neural-networks
_NNAPI_INT8 = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know, and what to do about it.

    Attributes:
        severity: `"error"`: it does not run there. `"warning"`: it runs, but slower, on the CPU, or differently.
        target: for which target, None for all.
        message: what it is.
        advice: what to do.
        place: the operator, None for what concerns the whole file.
    """

    severity: Literal["error", "warning"]
    target: str | None
    message: str
    advice: str
    place: Place | None = None

    def __str__(self) -> str:
        """The finding in one line."""
        where = f"{describe(self.place)} " if self.place else ""
        return f"{where}{self.message}. {self.advice}".strip()


@dataclass(frozen=True, slots=True)
class OperatorUse:
    """How often the file uses an operator in one version with one type of values, and which targets do not take it."""

    name: str
    version: int
    dtype: str
    count: int
    refused_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a file runs on a target: `"partly"` where a delegate leaves operators to the CPU.

    Attributes:
        runs: the verdict.
        release: which release of the target the table describes.
        taken: operators of the main graph that it takes.
        total: operators of the main graph.
        note: what else there is to say, "" where nothing.
    """

    runs: Runs
    release: str
    taken: int
    total: int
    note: str


@dataclass(frozen=True, slots=True)
class XNNPackUse:
    """What XNNPACK takes over, on this machine's processor.

    Attributes:
        partitions: into how many parts it puts its operators, each with a border to cross. None where the file was not
            tried, or the runtime does not say.
        outside: operators that it leaves to the runtime's own kernels; without a trial those that its table lacks.
    """

    partitions: int | None
    outside: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All that `check` finds out.

    Attributes:
        path: the file.
        size: bytes.
        arithmetic: what it computes in.
        operators: kinds, in the order of first use.
        stateful: whether it remembers something between calls.
        open_inputs: inputs with a dimension that the file leaves open.
        min_runtime: the oldest TensorFlow Lite runtime (TensorFlow's version numbers) with all its operators, None
            where one of them is in no published list.
        stated_min_runtime: what the file's metadata say, None where they say nothing.
        memory: what a microcontroller plans for the tensors.
        xnnpack: what the CPU delegate takes over.
        trial: what came of running it here, None where no runtime is installed.
        verdicts: by target.
        findings: what to know: of the file, and of the target that was asked for.
        target: what was asked for.
    """

    path: Path
    size: int
    arithmetic: Arithmetic
    operators: tuple[OperatorUse, ...]
    stateful: bool
    open_inputs: tuple[str, ...]
    min_runtime: str | None
    stated_min_runtime: str | None
    memory: ArenaPlan
    xnnpack: XNNPackUse
    trial: Trial | None
    verdicts: dict[str, Verdict]
    findings: tuple[Finding, ...]
    target: str | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings for which the file does not run where it should."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, for JSON."""
        return {**asdict(self), "path": str(self.path), "ok": not self.errors}


def check(
    path: str | os.PathLike[str], *, target: str | None = None, min_runtime: str | None = None, trial: bool = True
) -> CheckReport:
    """Look at a `.tflite` file: what it is made of, what it needs, where it runs.

    Args:
        path: any `.tflite` file.
        target: `"litert"`, `"tflite-runtime"`, `"tflm"`, `"nnapi"` or `"gpu"`. With one the report's errors are what
            keeps the file from it; without, the verdicts for all are there and nothing is an error.
        min_runtime: the oldest TensorFlow Lite runtime that must run it, such as `"2.14"`, in TensorFlow's numbers.
        trial: whether to run the file on the runtime that is installed here, in a process of its own.

    Raises:
        ExportError: the file is missing, damaged or of another kind.
        UsageError: an unknown target, or a `min_runtime` that is no version.

    Example:
        >>> check("model.tflite", target="tflm").memory.size
    """
    chosen = find_target(target) if target else None
    wanted = _version(min_runtime) if min_runtime is not None else None
    file = read_tflite(Path(path))
    runtime = installed_runtime() if trial else None
    tried = try_file(file, runtime) if runtime else None
    refused = {name: tuple(_refused(file, each)) for name, each in TARGETS.items()}
    found = {name: tuple(_findings(file, each, refused[name], tried)) for name, each in TARGETS.items()}
    verdicts = {name: _verdict(file, each, refused[name], found[name]) for name, each in TARGETS.items()}
    findings = (*_of_the_file(file), *_too_new(file, wanted, min_runtime), *(found[chosen.name] if chosen else ()))
    return CheckReport(
        path=file.path,
        size=file.size,
        arithmetic=arithmetic(file),
        operators=_uses(file),
        stateful=file.stateful,
        open_inputs=tuple(file.tensors[index].name for index in file.inputs if file.tensors[index].is_dynamic),
        min_runtime=needed_runtime(file),
        stated_min_runtime=file.min_runtime_version,
        memory=plan_arena(file),
        xnnpack=_xnnpack(file, tried),
        trial=tried,
        verdicts=verdicts,
        findings=findings,
        target=target,
    )


def wants_dense_per_tensor(target: str | None, min_runtime: str | None) -> bool:
    """Whether dense layers get one step a tensor, so that a file runs, and answers rightly, on a target or old runtime.

    Since TensorFlow Lite 2.17 the converter gives their weights a step a channel. Files of dynamic range say so by a
    version of the operator that older runtimes refuse. Files that are integers throughout do not say it: tflite-runtime
    2.14 answers rightly all the same, NNAPI and older TensorFlow Lite Micro cannot be asked before the file is there.
    """
    old = min_runtime is not None and _version(min_runtime) < _version(_DENSE_PER_CHANNEL)
    return old or target in _DENSE_PER_TENSOR


def describe(place: Place) -> str:
    """Where an operator stands, in words."""
    graph = f" of graph {place.graph}" if place.graph else ""
    return f"operator {place.index}{graph} {place.operator} ({place.tensor})"


def needed_runtime(file: TFLiteFile) -> str | None:
    """The oldest TensorFlow Lite runtime with every operator of a file, None where the list lacks one."""
    needed = [runtime_since(each.name, each.version) for _, each, _ in operators(file) if not each.custom]
    known = [version for version in needed if version is not None]
    return max(known, key=_version, default=None) if len(known) == len(needed) else None


def _version(text: str) -> tuple[int, ...]:
    if not _VERSION.fullmatch(text):
        raise UsageError(f"Expected a version of TensorFlow Lite, such as 2.14. Received: {text!r}.")
    numbers = tuple(map(int, text.split(".")))
    return (*numbers, 0, 0, 0)[:4]


def _too_new(file: TFLiteFile, wanted: tuple[int, ...] | None, text: str | None) -> Iterator[Finding]:
    if wanted is None:
        return
    advice = "Ask for a newer runtime, or replace the layer that makes it."
    for place, operator, _ in operators(file):
        since = None if operator.custom else runtime_since(operator.name, operator.version)
        if since is None:
            message = f"version {operator.version} is in no list of what TensorFlow Lite {text} has"
            yield Finding("error", None, message, advice, place)
        elif _version(since) > wanted:
            message = f"version {operator.version} needs TensorFlow Lite {since}, newer than {text}"
            yield Finding("error", None, message, advice, place)


def _of_the_file(file: TFLiteFile) -> Iterator[Finding]:
    """What there is to know wherever the file runs."""
    for index in file.inputs:
        if file.tensors[index].is_dynamic:
            message = f"input {file.tensors[index].name} has a dimension that is left open and counts as 1 here"
            yield Finding("warning", None, message, "Give the model a fixed batch and fixed sizes.")
    for place, operator, graph in operators(file):
        if operator.is_flex:
            yield Finding("warning", None, "needs TensorFlow's Flex delegate", "Replace the layer.", place)
        elif operator.custom:
            yield Finding("warning", None, "is a custom operator", "The app must bring it along.", place)
        elif shapes_at_run_time(operator, graph):
            advice = "Give the model a fixed batch and fixed sizes: delegates may refuse such a graph."
            yield Finding("warning", None, "computes the shape of its result at run time", advice, place)
    looked = arithmetic(file)
    if looked.kind.startswith("int16"):
        advice = "Try it on every target: of MobileNetV2 and an attention model in int16 no runtime took the file."
        yield Finding("warning", None, "the file computes in int16, for which runtimes have few kernels", advice)
    for place in looked.float_islands:
        advice = "Replace the layer by one that has an integer kernel."
        yield Finding("warning", None, "computes in floating point in a file of integers", advice, place)
    stated, needed = file.min_runtime_version, needed_runtime(file)
    if stated and needed and _VERSION.fullmatch(stated) and _version(stated) < _version(needed):
        message = f"the file says that TensorFlow Lite {stated} is enough, its operators need {needed}"
        yield Finding("warning", None, message, "Convert it again.")


@dataclass(frozen=True, slots=True)
class _Refused:
    """An operator that a target does not take; `impossible` where not even the CPU behind a delegate does."""

    place: Place
    why: Refusal
    impossible: bool


def _refused(file: TFLiteFile, target: Target) -> Iterator[_Refused]:
    for place, operator, graph in operators(file):
        why = refusal(target, operator, graph)
        if not target.is_delegate:
            if why:
                yield _Refused(place, why, impossible=True)
            continue
        nowhere = refusal(TARGETS["litert"], operator, graph)
        # A delegate sees the main graph only; what a loop or a branch does runs on the CPU with it.
        if nowhere or (why and place.graph == 0):
            yield _Refused(place, nowhere or why or Refusal("", ""), impossible=nowhere is not None)


def _findings(
    file: TFLiteFile, target: Target, refused: tuple[_Refused, ...], tried: Trial | None
) -> Iterator[Finding]:
    """What keeps a file from a target, or slows it down there."""
    for each in refused:
        if each.impossible:
            yield Finding("error", target.name, each.why.reason, each.why.advice, each.place)
        else:
            advice = f"It runs on the CPU instead. {each.why.advice}"
            yield Finding("warning", target.name, each.why.reason, advice, each.place)
    total = len(file.graphs[0].operators)
    if target.is_delegate and total and len(refused) == total and not any(each.impossible for each in refused):
        advice = "Choose another target, or another precision."
        yield Finding("error", target.name, f"{target.name} takes none of the {total} operators", advice)
    if target.name == "tflm":
        yield from _many_dimensions(file)
    if tried and tried.problem and (tried.runtime == target.name or target.is_delegate):
        message = f"{tried.release} was tried here and failed: {tried.problem}"
        yield Finding("error", target.name, message, "Convert it in another precision, or report it to the runtime.")


def _many_dimensions(file: TFLiteFile) -> Iterator[Finding]:
    for place, operator, graph in operators(file):
        if any(len(tensor.shape) > _MOST_DIMENSIONS for tensor in tensors_of(operator, graph)):
            advice = "Try it there: many kernels of TensorFlow Lite Micro take up to 4."
            yield Finding("warning", "tflm", "has a tensor of more than 4 dimensions", advice, place)


def _verdict(file: TFLiteFile, target: Target, refused: tuple[_Refused, ...], findings: tuple[Finding, ...]) -> Verdict:
    total = len(file.graphs[0].operators)
    left = sum(each.place.graph == 0 for each in refused)
    failed = any(each.severity == "error" for each in findings)
    runs: Runs = "no" if failed else "partly" if left else "runs"
    return Verdict(runs, target.release, total - left, total, _note(file, target) if not failed else "")


def _note(file: TFLiteFile, target: Target) -> str:
    if target.name != "nnapi":
        return ""
    levels = [known.api for each in file.graphs[0].operators if (known := support(target, each.name)) and known.api]
    int8 = any(tensor.dtype == "int8" for tensor in file.tensors)
    return f"Android API {max([*levels, _NNAPI_INT8 if int8 else 0])} or newer"


def _uses(file: TFLiteFile) -> tuple[OperatorUse, ...]:
    counts: Counter[tuple[str, int, str]] = Counter()
    refused: dict[tuple[str, int, str], dict[str, None]] = {}
    for _, operator, graph in operators(file):
        key = (operator.name, operator.version, computed_dtype(operator, graph))
        counts[key] += 1
        names = [name for name, target in TARGETS.items() if refusal(target, operator, graph)]
        refused.setdefault(key, {}).update(dict.fromkeys(names))
    return tuple(OperatorUse(*key, count, tuple(refused[key])) for key, count in counts.items())


def _xnnpack(file: TFLiteFile, tried: Trial | None) -> XNNPackUse:
    main = [(place, operator) for place, operator, _ in operators(file) if place.graph == 0]
    if tried and tried.partitions is not None:
        inside = {number for partition in tried.partitions for number in partition}
        return XNNPackUse(len(tried.partitions), tuple(place for place, _ in main if place.index not in inside))
    graph = file.graphs[0]
    return XNNPackUse(None, tuple(place for place, operator in main if refusal(XNNPACK, operator, graph)))
