"""The memory that a microcontroller plans for a file's tensors.

The method is that of TensorFlow Lite Micro: every tensor that is computed lives from the operator that writes it to the
last that reads it; the largest are placed first, each at the lowest offset where nothing that lives at the same time
lies (`micro/micro_allocation_info.cc` and `micro/memory_planner/greedy_memory_planner.cc` of
https://github.com/tensorflow/tflite-micro).
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from .tflite_file import Graph, TensorInfo, TFLiteFile

ALIGNMENT = 16
_BITS = {
    "int2": 2, "int4": 4, "uint4": 4, "bool": 8, "int8": 8, "uint8": 8, "float8_e4m3fn": 8, "float8_e5m2": 8,
    "int16": 16, "uint16": 16, "float16": 16, "bfloat16": 16, "int32": 32, "uint32": 32, "float32": 32, "resource": 32,
    "int64": 64, "uint64": 64, "float64": 64, "complex64": 64, "complex128": 128,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A tensor's bytes, from the step that creates it to the last that uses it, both counted from 0."""

    size: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class ArenaPlan:
    """What a microcontroller plans for the tensors that are computed.

    The arena that TensorFlow Lite Micro needs is larger: the scratch buffers that kernels ask for lie among the
    tensors, and its own structures come on top. Of 227 files (one operator each, CNNs, LSTMs, GRUs, attention; float32,
    int8, int16) that the x86-64 build tflite-micro 0.dev20261023182759 ran, 202 had this very size as the "head" of
    their arena; the others' scratch buffers added 32 to 16,384 bytes. Its "tail" was 4 to 26 KB for whole models.

    Attributes:
        size: bytes of the planned tensors.
        variables: bytes of the state that lives from call to call, outside the plan.
        live: bytes of the tensors that live at the same time at the fullest moment: no plan can be smaller.
        fullest: number and name of the operator of that moment, None for an empty graph.
        suggested: bytes of an arena in which the whole should find room, see `_whole_arena`.
    """

    size: int
    variables: int
    live: int
    fullest: tuple[int, str] | None
    suggested: int


def plan_arena(file: TFLiteFile) -> ArenaPlan:
    """Plan a file's tensors. A dimension that the file leaves open counts as 1."""
    steps: list[tuple[int, str]] = []
    lifetimes: list[Lifetime] = []
    _collect(file.graphs, 0, steps, lifetimes, set())
    changes = [0] * (len(steps) + 2)
    for each in lifetimes:
        changes[each.first] += each.size
        changes[each.last + 1] -= each.size
    moments = list(itertools.accumulate(changes))
    live = max(moments)
    fullest = moments.index(live)
    variables = [_size(tensor) for graph in file.graphs for tensor in graph.tensors if tensor.is_variable]
    size = max((offset + each.size for offset, each in place(lifetimes)), default=0)
    return ArenaPlan(
        size=size,
        variables=sum(variables),
        live=live,
        # Step 0 is the moment before the first operator: only the inputs are there.
        fullest=steps[max(fullest, 1) - 1] if steps else None,
        suggested=_whole_arena(file, size, variables),
    )


def _whole_arena(file: TFLiteFile, size: int, variables: list[int]) -> int:
    """The tensors, TensorFlow Lite Micro's own structures and the scratch buffers of its LSTM, generously.

    Measured on x86-64 with the reference kernels of tflite-micro 0.dev20261023182759: 24 bytes a tensor, 64 an operator
    and up to 170 of an operator's own data, 8 a quantised channel, an LSTM's four gates. Of 10 files (CNNs, LSTMs,
    GRU, attention; float32 and int8) this is 1.00 to 1.9 times what was used. Structures are smaller on 32-bit
    boards; kernels tuned for a board may want more scratch.
    """
    tensors = sum(len(graph.tensors) for graph in file.graphs)
    operators = sum(len(graph.operators) for graph in file.graphs)
    channels = sum(
        graph.tensors[index].channels
        for graph in file.graphs
        for operator in graph.operators
        for index in operator.inputs[1:2]
        if index >= 0
    )
    scratch = 4 * max(variables, default=0)
    structures = 24 * tensors + (64 + 200) * operators + 8 * channels + 2048
    return -(-(size + sum(variables) + scratch + structures) // 1024) * 1024


def place(lifetimes: Iterable[Lifetime]) -> list[tuple[int, Lifetime]]:
    """Offsets for tensors: the largest first, of equals the later, in the lowest gap that is free while they live."""
    latest_first = list(lifetimes)[::-1]
    placed: list[tuple[int, Lifetime]] = []
    for wanted in sorted(latest_first, key=lambda each: -each.size):
        offset = 0
        for start, other in placed:
            if other.first > wanted.last or wanted.first > other.last:
                continue
            if start - offset >= wanted.size:
                break
            offset = max(offset, start + other.size)
        bisect.insort(placed, (offset, wanted), key=lambda each: each[0])
    return placed


def _collect(
    graphs: tuple[Graph, ...], number: int, steps: list[tuple[int, str]], lifetimes: list[Lifetime], done: set[int]
) -> None:
    """Lifetimes of one graph's tensors; a graph that an operator calls takes its steps while that operator runs."""
    if number in done:
        return
    done.add(number)
    graph = graphs[number]
    start = len(steps)
    first = dict.fromkeys(graph.inputs, start)
    last = dict(first)
    for index, operator in enumerate(graph.operators):
        steps.append((index, operator.name))
        for tensor in operator.outputs:
            first[tensor] = len(steps)
        for called in operator.graphs:
            steps.append((index, operator.name))
            _collect(graphs, called, steps, lifetimes, done)
        last.update(dict.fromkeys((*operator.inputs, *operator.outputs), len(steps)))
    last.update(dict.fromkeys(graph.outputs, len(steps)))
    for tensor, created in sorted(first.items()):
        info = graph.tensors[tensor] if tensor >= 0 else None
        if info and not info.is_constant and not info.is_variable and _size(info):
            lifetimes.append(Lifetime(_size(info), created, last[tensor]))


def _size(tensor: TensorInfo) -> int:
    """Bytes, rounded up as they are placed. Of what has no fixed size, such as a string, nothing can be said."""
    size = -(-math.prod(tensor.shape) * _BITS.get(tensor.dtype, 0) // 8)
    return -(-size // ALIGNMENT) * ALIGNMENT
