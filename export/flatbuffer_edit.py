"""Change what a `.tflite` file says of itself without touching its weights.

A new root table goes in front of the file and refers into it; every byte of the old file stays, and stays aligned
as it was. So nothing of the model is decoded and encoded again, and a field that kzoo does not know cannot get lost.

Schema: `tflite/converter/schema/schema.fbs` of LiteRT
(https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

from kzoo.errors import ExportError

from ._flatbuffer_writer import Node, Ref, Scalar, Table, Vector, write
from .tflite_file import IDENTIFIER, _Table, _unpack

# Fields of the schema's tables.
_VERSION, _SUBGRAPHS, _BUFFERS, _METADATA, _SIGNATURES, _LAST = 0, 2, 4, 6, 7, 9
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS, _GRAPH_NAME = range(5)
_DATA, _DATA_OFFSET = 0, 1
_OPTIONS_OFFSET = 9

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _checked(edit: Callable[_P, _R]) -> Callable[_P, _R]:
    """Say in one line that a file is damaged, wherever that is found."""

    @wraps(edit)
    def guarded(*arguments: _P.args, **options: _P.kwargs) -> _R:
        try:
            return edit(*arguments, **options)
        except (struct.error, IndexError, ValueError) as error:
            raise ExportError(
                f"Expected a whole .tflite file. Received: one that is damaged or cut short ({error}). "
                "Copy or export it again."
            ) from error

    return guarded


@_checked
def metadata_entries(content: bytes) -> dict[str, bytes]:
    """Every metadata entry of a file by its name, such as `min_runtime_version`.

    Raises:
        ExportError: not a `.tflite` file, or a damaged one.
    """
    model = _model(content)
    buffers = model.tables(_BUFFERS)
    entries = {}
    for entry in model.tables(_METADATA):
        index = entry.scalar(1, "I")
        if index >= len(buffers):
            raise ValueError("metadata without a buffer")
        entries[entry.text(0)] = buffers[index].raw(_DATA)
    return entries


@_checked
def with_metadata_entry(content: bytes, name: str, blob: bytes) -> bytes:
    """Add a metadata entry, or put it in the place of the one of that name.

    Args:
        content: the file.
        name: of the entry, such as `TFLITE_METADATA`.
        blob: what it holds.

    Returns:
        The new file. What was replaced stays in it as bytes that nothing refers to.

    Raises:
        ExportError: not a `.tflite` file, a damaged one, or one whose weights lie outside the FlatBuffer.
    """
    model = _editable(content)
    buffers = model.tables(_BUFFERS)
    others = (entry for entry in model.tables(_METADATA) if entry.text(0) != name)
    added = Table({0: name, 1: Scalar("I", len(buffers))})
    root = _root(model) | {
        _BUFFERS: (*_refs(buffers), Table({_DATA: blob})),
        _METADATA: (*_refs(others), added),
    }
    return write(Table(root), IDENTIFIER, content)


@_checked
def with_operators(content: bytes, operators: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The same file with a main graph of some of its operators only.

    Tensors, weights and the other graphs (bodies of loops, say) stay, so all indices keep their meaning. Signatures go:
    they would name inputs that the graph no longer has.

    Args:
        content: the file.
        operators: positions in the main graph, in the order in which they run.
        inputs: tensors that are fed.
        outputs: tensors that are read.

    Raises:
        ExportError: not a `.tflite` file, a damaged one, one whose weights lie outside the FlatBuffer, or an operator
            or tensor that it does not have.
    """
    model = _editable(content)
    main, *others = model.tables(_SUBGRAPHS)
    tensors, every = len(main.tables(_GRAPH_TENSORS)), main.tables(_GRAPH_OPERATORS)
    if not {*inputs, *outputs} <= set(range(tensors)) or not set(operators) <= set(range(len(every))):
        raise ExportError(
            f"Expected operators 0-{len(every) - 1} and tensors 0-{tensors - 1}, which the file has. Received: "
            f"operators={list(operators)}, inputs={list(inputs)}, outputs={list(outputs)}."
        )
    graph: dict[int, Scalar | Node] = {
        number: Ref(position)
        for number in (_GRAPH_TENSORS, _GRAPH_NAME)
        if (position := main._target(number)) is not None
    }
    graph |= {
        _GRAPH_INPUTS: Vector("i", inputs),
        _GRAPH_OUTPUTS: Vector("i", outputs),
        _GRAPH_OPERATORS: _refs(every[index] for index in operators),
    }
    root = _root(model) | {_SUBGRAPHS: (Table(graph), *_refs(others))}
    root.pop(_SIGNATURES, None)
    return write(Table(root), IDENTIFIER, content)


@_checked
def main_graph_size(content: bytes) -> tuple[int, int]:
    """How many inputs and outputs the main graph has."""
    main = _model(content).tables(_SUBGRAPHS)[0]
    return len(main.vector(_GRAPH_INPUTS, "i")), len(main.vector(_GRAPH_OUTPUTS, "i"))


@_checked
def constant_tensors(content: bytes) -> frozenset[int]:
    """Tensors of the main graph whose values are in the file."""
    model = _model(content)
    filled = [buffer.length(_DATA) > 0 or buffer.scalar(_DATA_OFFSET, "Q") > 1 for buffer in model.tables(_BUFFERS)]
    tensors = model.tables(_SUBGRAPHS)[0].tables(_GRAPH_TENSORS)
    return frozenset(index for index, tensor in enumerate(tensors) if filled[tensor.scalar(2, "I")])


def _model(content: bytes) -> _Table:
    if content[4:8] != IDENTIFIER:
        raise ExportError("Expected a .tflite file (bytes 4-8 are 'TFL3'). Received: something else. Check the path.")
    return _Table(content, _unpack(content, "<I", 0))


def _editable(content: bytes) -> _Table:
    """The root of a file whose every reference is a relative one."""
    model = _model(content)
    # Files of more than 2 GiB keep weights behind the FlatBuffer, at places counted from the beginning of the file.
    far = any(buffer.scalar(_DATA_OFFSET, "Q") > 1 for buffer in model.tables(_BUFFERS)) or any(
        operator.scalar(_OPTIONS_OFFSET, "Q") > 1
        for graph in model.tables(_SUBGRAPHS)
        for operator in graph.tables(_GRAPH_OPERATORS)
    )
    if far:
        raise ExportError(
            "Expected a file with its weights inside the FlatBuffer. Received: one that keeps them behind it, as files "
            "of 2 GiB and more do. Such a file cannot be changed here."
        )
    if any(model._field(number) is not None for number in range(_LAST + 1, _LAST + 16)):
        raise ExportError("Expected a file of the known schema. Received: a newer one. Update kzoo.")
    return model


def _root(model: _Table) -> dict[int, Scalar | Node]:
    """The fields of the old root, for the new one."""
    fields: dict[int, Scalar | Node] = {_VERSION: Scalar("I", model.scalar(_VERSION, "I"))}
    for number in range(_VERSION + 1, _LAST + 1):
        position = model._target(number)
        if position is not None:
            fields[number] = Ref(position)
    return fields


def _refs(tables: Iterable[_Table]) -> tuple[Ref, ...]:
    return tuple(Ref(table._position) for table in tables)
