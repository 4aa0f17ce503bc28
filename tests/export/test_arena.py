"""The plan of a microcontroller's memory, on graphs that can be counted by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from kzoo.export import TFLiteFile, read_tflite
from kzoo.export.arena import Lifetime, place, plan_arena
from kzoo.export.tflite_file import Graph, OperatorInfo, TensorInfo

if TYPE_CHECKING:
    from .conftest import Exports


def tensor(size: int, dtype: str = "int8", *, variable: bool = False, constant: int = 0) -> TensorInfo:
    return TensorInfo("t", (1, size), dtype, None, None, variable, constant_size=constant)


def operator(name: str, reads: tuple[int, ...], writes: tuple[int, ...], **options: int) -> OperatorInfo:
    return OperatorInfo(name, 1, False, reads, writes, options)


def file_of(*graphs: Graph) -> TFLiteFile:
    main = graphs[0]
    return TFLiteFile(
        Path("x.tflite"), 0, main.tensors, main.inputs, main.outputs, main.operators, None, None, graphs=graphs
    )


def test_a_chain_needs_its_two_largest_neighbours() -> None:
    sizes = (32, 96, 64, 16)
    steps = tuple(operator(name, (n,), (n + 1,)) for n, name in enumerate(("A", "B", "C")))
    plan = plan_arena(file_of(Graph(tuple(map(tensor, sizes)), steps, (0,), (3,))))
    assert (plan.size, plan.live, plan.variables) == (96 + 64, 96 + 64, 0)
    assert plan.fullest == (1, "B")


def test_sizes_are_rounded_up_and_types_count() -> None:
    tensors = (tensor(3), tensor(5, "float32"), tensor(9, "int16"), tensor(33, "int4"))
    plan = plan_arena(file_of(Graph(tensors, (operator("A", (0,), (1, 2, 3)),), (0,), (1, 2, 3))))
    assert plan.size == 16 + 32 + 32 + 32


def test_weights_state_and_optional_inputs_are_not_planned() -> None:
    tensors = (tensor(16), tensor(4096, constant=4096), tensor(48, variable=True), tensor(16))
    plan = plan_arena(file_of(Graph(tensors, (operator("A", (0, 1, 2, -1), (3,)),), (0,), (3,))))
    assert (plan.size, plan.variables) == (32, 48)


def test_a_residual_keeps_its_tensor_alive() -> None:
    """0 -> 1 -> 2 -> 3, and 1 is added to 3: it lives through the middle."""
    tensors = tuple(map(tensor, (16, 64, 128, 64, 16)))
    steps = (
        operator("A", (0,), (1,)),
        operator("B", (1,), (2,)),
        operator("C", (2,), (3,)),
        operator("D", (1, 3), (4,)),
    )
    plan = plan_arena(file_of(Graph(tensors, steps, (0,), (4,))))
    assert plan.live == plan.size == 64 + 128 + 64
    assert plan.fullest == (2, "C")


def test_a_loops_body_is_planned_beside_what_waits_for_it() -> None:
    body = Graph((tensor(160), tensor(320)), (operator("B", (0,), (1,)),), (0,), (1,))
    condition = Graph((tensor(160), tensor(1, "bool")), (operator("C", (0,), (1,)),), (0,), (1,))
    main = Graph((tensor(160), tensor(160)), (operator("WHILE", (0,), (1,), a_graph=1, b_graph=2),), (0,), (1,))
    # The loop's own input and output wait while the body holds its two.
    assert plan_arena(file_of(main, condition, body)).size == 160 + 160 + 160 + 320


def test_an_empty_graph_needs_nothing() -> None:
    assert plan_arena(file_of(Graph((), (), (), ()))).size == 0


def test_places_never_overlap_and_come_near_the_least_possible() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        firsts = rng.integers(0, 20, 30)
        lasts = firsts + rng.integers(0, 6, 30)
        wanted = [
            Lifetime(16 * int(size), int(first), int(last))
            for size, first, last in zip(rng.integers(1, 50, 30), firsts, lasts, strict=True)
        ]
        placed = place(wanted)
        assert sorted(each.size for _, each in placed) == sorted(each.size for each in wanted)
        for (one, a), (other, b) in itertools.combinations(placed, 2):
            together = a.first <= b.last and b.first <= a.last
            assert not together or one + a.size <= other or other + b.size <= one
        least = max(sum(each.size for each in wanted if each.first <= step <= each.last) for step in range(30))
        assert least <= max(offset + each.size for offset, each in placed) <= 1.5 * least


@pytest.mark.parametrize(("name", "bytes_a_value"), [("cnn_fp32", 4), ("cnn_int8", 1)])
def test_a_trained_cnn(exports: Exports, name: str, bytes_a_value: int) -> None:
    """8x8x8 three times, around the second convolution: the branch of the residual, and what it reads and writes."""
    plan = plan_arena(read_tflite(exports.each()[name].path))
    assert plan.size == plan.live
    assert plan.live in {2 * 512 * bytes_a_value, 3 * 512 * bytes_a_value}
