"""How long every operator of a `.tflite` file takes.

The Python runtimes have no profiler, so every operator is timed alone: as a model of one operator that shares the
file's weights (`flatbuffer_edit.with_operators`), fed with what reaches it when the whole file runs on noise. Alone it
is not fused with its neighbours, and it pays for entering and leaving the delegate, which in the whole file several
operators share. So the sum may differ from the time of the whole file: both are reported. The shares show where the
time goes. One case of fusing is looked at, since it is common and large: a PAD is timed as what it adds to the
convolution behind it, which with XNNPACK is nothing (MobileNetV2's first at 96 pixels, measured: 0.077 ms alone, 0.000
ms in front of its convolution).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .file_macs import operator_macs
from .flatbuffer_edit import constant_tensors, with_operators
from .runtime import AUTO, LiteModel, noise, open_interpreter
from .tflite_file import TFLiteFile

_WARM_UP_RUNS = 3
_MOST_RUNS = 300
_FEWEST_RUNS = 10
#: Operators are timed no longer than this, but at least `_FEWEST_RUNS` times.
_SECONDS = 2.0
#: Every operator's model holds the file's weights; this many bytes of them are in memory at once.
_MOST_BYTES = 256 << 20
#: They only make ready what others read, once: from constants, or a place for a variable.
_PREPARING = frozenset({"DEQUANTIZE", "DENSIFY", "VAR_HANDLE", "HASHTABLE"})
_ONCE = "CALL_ONCE"
_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_PLACES = frozenset({"resource", "variant"})


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator's figures.

    Attributes:
        position: in the file's order, from 0.
        name: of the operator, as `CONV_2D`.
        output: name of the tensor that it writes first, empty where it writes none.
        shape: of that tensor.
        macs: its multiply-accumulates, None where the file does not say.
        time_ms: median time of one run alone, less the time of an empty model; of a PAD in front of a convolution, what
            it adds to that. None where it was not timed.
        share: of the sum of all operators' times, 0 to 1; None where it was not timed.
        note: why it was not timed, else empty.
    """

    position: int
    name: str
    output: str
    shape: tuple[int, ...]
    macs: int | None
    time_ms: float | None
    share: float | None
    note: str


@dataclass(frozen=True, slots=True)
class OperatorProfile:
    """Where a file's time goes.

    Attributes:
        operators: all operators of the main graph, in the file's order.
        sum_ms: of the operators' times.
        whole_ms: median time of the whole file, measured in turn with them.
        overhead_ms: median time of a model without operators, which the operators' times are less of.
        runs: timed runs of every operator, the fewest where they differ.
        runtime: which runtime ran it.
        threads: its threads.
    """

    operators: tuple[OperatorTime, ...]
    sum_ms: float
    whole_ms: float
    overhead_ms: float
    runs: int
    runtime: str
    threads: int


@dataclass(slots=True)
class _Timed:
    """Something that is run again and again; `without` is the same without what is to be timed, where not nothing."""

    run: Callable[[], object]
    without: _Timed | None = None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def profile_operators(path: str | os.PathLike[str], *, threads: int = 1, runtime: str = AUTO) -> OperatorProfile:
    """Time every operator of a file alone.

    Args:
        path: the file.
        threads: threads of the runtime.
        runtime: `"litert"` or `"tflite-runtime"`.

    Returns:
        Every operator of the main graph. What a loop or a branch does inside counts as one operator. Operators that
        only unpack constants are not timed but belong to those that read them, as in the whole file.

    Raises:
        ExportError: the file is missing, damaged, or cannot be run.
        UsageError: an unknown runtime.
    """
    model = LiteModel(path, runtime=runtime, threads=threads)
    model.feed_random()
    model.invoke()  # what cannot be run whole says so here
    return _Profiler(model).profile()


class _Profiler:
    def __init__(self, model: LiteModel) -> None:
        self._model = model
        self._file: TFLiteFile = model.file
        # Those of the main graph: files with custom operators, which may stand elsewhere too, are not opened.
        self._operators = self._file.operators
        self._content = model.path.read_bytes()
        self._given = constant_tensors(self._content) | {
            index for index, tensor in enumerate(self._file.tensors) if tensor.is_variable
        }
        self._makers = {
            output: position for position, operator in enumerate(self._operators) for output in operator.outputs
        }
        self._empty = self._open((), ())
        self._notes: dict[int, str] = {}

    def profile(self) -> OperatorProfile:
        seconds = _SECONDS / max(1, len(self._operators) * len(self._content) // _MOST_BYTES)
        whole: list[float] = []
        overheads: list[float] = []
        parts: dict[int, float] = {}
        runs = _MOST_RUNS
        for group in self._groups():
            first, empty = _Timed(self._model.invoke), _Timed(self._empty)
            _take_turns(
                [first, empty, *group.values(), *(each.without for each in group.values() if each.without)], seconds
            )
            whole += first.seconds
            overheads.append(empty.median)
            # As parts of the whole file's time of just then: later groups may meet a machine that is slower or faster.
            # What is faster than nothing is no faster than the clock can tell.
            for position, timed in group.items():
                less = (timed.without or empty).median
                parts[position] = max(timed.median - less, 1e-9) / first.median
            runs = min(runs, len(first.seconds))
        whole_ms = 1000 * statistics.median(whole)
        return OperatorProfile(
            operators=tuple(self._figures(position, parts, whole_ms) for position in range(len(self._operators))),
            sum_ms=whole_ms * sum(parts.values()),
            whole_ms=whole_ms,
            overhead_ms=1000 * statistics.median(overheads),
            runs=runs,
            runtime=self._model.runtime,
            threads=self._model.threads,
        )

    def _figures(self, position: int, parts: dict[int, float], whole_ms: float) -> OperatorTime:
        operator = self._operators[position]
        written = [self._file.tensors[index] for index in operator.outputs if index >= 0]
        part = parts.get(position)
        return OperatorTime(
            position=position,
            name=operator.name,
            output=written[0].name if written else "",
            shape=written[0].shape if written else (),
            macs=operator_macs(self._file, operator),
            time_ms=None if part is None else whole_ms * part,
            share=None if part is None else part / sum(parts.values()),
            note=self._notes.get(position, ""),
        )

    def _groups(self) -> Iterator[dict[int, _Timed]]:
        """Operators that can be run, as many at once as memory allows; of the others it is noted why not."""
        recorder = self._recorder()
        group: dict[int, _Timed] = {}
        for position, operator in enumerate(self._operators):
            if self._prepares(position) or operator.name == _ONCE:
                self._notes[position] = "once only, before the others"
                continue
            behind = self._convolution_behind(position)
            try:
                if behind is None:
                    group[position] = _Timed(self._alone(recorder, position))
                else:
                    without = _Timed(self._alone(recorder, behind))
                    group[position] = _Timed(self._alone(recorder, position, behind), without)
            except (ValueError, RuntimeError) as error:
                self._notes[position] = f"does not run alone: {' '.join(str(error).split())[:80]}"
            if len(group) * len(self._content) > _MOST_BYTES:
                yield group
                group.clear()  # lets the interpreters go
        yield group

    def _recorder(self) -> Any:
        """An interpreter that has run the file once and kept what every operator gave."""
        recorder = open_interpreter(self._model.runtime, keep_tensors=True, model_path=str(self._model.path))
        rng = np.random.default_rng(0)
        for index in self._file.inputs:
            recorder.set_tensor(index, noise(self._file.tensors[index], rng))
        recorder.invoke()
        return recorder

    def _prepares(self, position: int) -> bool:
        operator = self._operators[position]
        return operator.name in _PREPARING and self._given.issuperset(operator.inputs)

    def _with_what_it_needs(self, position: int) -> tuple[int, ...]:
        """The operator, behind what prepares its inputs: only then does a delegate take unpacked constants for such."""
        makers = {self._makers[index] for index in self._operators[position].inputs if index in self._makers}
        needed = {maker for maker in makers if self._prepares(maker)}
        written = {self._file.tensors[index].dtype for maker in needed for index in self._operators[maker].outputs}
        if written & _PLACES:
            needed |= {each for each, operator in enumerate(self._operators) if operator.name == _ONCE}
        return (*sorted(needed), position)

    def _fed(self, parts: tuple[int, ...]) -> list[int]:
        made = {index for part in parts for index in self._operators[part].outputs}
        read = dict.fromkeys(index for part in parts for index in self._operators[part].inputs if index >= 0)
        return [index for index in read if index not in made and index not in self._given]

    def _convolution_behind(self, position: int) -> int | None:
        """The convolution that a PAD is there for, and that alone reads what it writes."""
        operator = self._operators[position]
        if operator.name != "PAD" or operator.outputs[0] in self._file.outputs:
            return None
        readers = [each for each, other in enumerate(self._operators) if operator.outputs[0] in other.inputs]
        return readers[0] if len(readers) == 1 and self._operators[readers[0]].name in _CONVOLUTIONS else None

    def _alone(self, recorder: Any, *positions: int) -> Callable[[], object]:
        """What runs operators that follow each other, behind what prepares their inputs, on recorded values."""
        parts = tuple(dict.fromkeys(part for each in positions for part in self._with_what_it_needs(each)))
        inputs = self._fed(parts)
        unfit = {self._file.tensors[index].dtype for index in inputs} & {*_PLACES, "string"}
        if unfit:
            raise ValueError(f"it takes a {unfit.pop()}, which cannot be fed")
        feed = {index: recorder.get_tensor(index) for index in inputs}
        return self._open(parts, self._operators[positions[-1]].outputs, feed)

    def _open(
        self, parts: tuple[int, ...], outputs: tuple[int, ...], feed: dict[int, np.ndarray] | None = None
    ) -> Callable[[], object]:
        """Make a model of some operators, run it once, and give what runs it again."""
        feed = feed or {}
        content = with_operators(self._content, parts, list(feed), [index for index in outputs if index >= 0])
        interpreter = open_interpreter(self._model.runtime, threads=self._model.threads, model_content=content)
        for index, value in feed.items():
            interpreter.set_tensor(index, value)
        run: Callable[[], object] = interpreter.invoke
        run()
        return run


def _take_turns(contenders: list[_Timed], seconds: float) -> None:
    """Run all once, then all again, and so on.

    So a slow minute of the machine hits them all, and every operator finds the caches as in the whole file: used by the
    others, where it would find its own weights if it ran twice in a row.
    """
    round_seconds = sum(min(_once(each.run) for _ in range(_WARM_UP_RUNS)) for each in contenders)
    for _ in range(int(min(max(seconds / round_seconds, _FEWEST_RUNS), _MOST_RUNS))):
        for each in contenders:
            each.seconds.append(_once(each.run))


def _once(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
