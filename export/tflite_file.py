"""Read what a `.tflite` file says of itself: tensors, operators, signatures, metadata.

A small reader of the FlatBuffers layout in plain Python, so that a device with nothing but NumPy and a runtime has it
too, and so that every offset is checked: a truncated or foreign file ends in one clear error here, where a runtime that
trusts the offsets would read outside the file.

Layout: https://flatbuffers.dev/internals/, fields: `tflite/converter/schema/schema.fbs` of LiteRT.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kzoo.errors import ExportError

from ._operators import BUILTIN_OPERATORS, OPTIONS, TENSOR_TYPES

IDENTIFIER = b"TFL3"
_CUSTOM = BUILTIN_OPERATORS.index("CUSTOM")
_STATE_HANDLE = "VAR_HANDLE"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a graph. `scale` and `zero_point` are those of a tensor quantised as a whole, else None.

    `channels` scales lie along `channel_axis` where the tensor is quantised by channel, else 0 and None. A dimension
    that the file leaves open is 1 in `shape` and makes it `is_dynamic`. `constant_size` is how many bytes of a constant
    the file holds, 0 where the values are computed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None
    is_variable: bool
    channels: int = 0
    channel_axis: int | None = None
    is_dynamic: bool = False
    constant_size: int = 0
    is_sparse: bool = False

    @property
    def is_float(self) -> bool:
        """Whether the values are floating point numbers."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def is_constant(self) -> bool:
        """Whether the values lie in the file."""
        return self.constant_size > 0


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """One operator call: its name, version, and the tensors it reads and writes (-1: an input left out).

    `options` are those of its options that `_operators.OPTIONS` lists.
    """

    name: str
    version: int
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int] = field(default_factory=dict)

    @property
    def is_flex(self) -> bool:
        """Whether it is an operator of TensorFlow itself, which needs the Flex delegate."""
        return self.custom and self.name.startswith("Flex")

    @property
    def graphs(self) -> tuple[int, ...]:
        """Numbers of the graphs that it calls: the branches of an `IF`, condition and body of a `WHILE`."""
        return tuple(number for name, number in self.options.items() if name.endswith("_graph"))


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph of the file: the main one, or the body of a loop or a branch."""

    tensors: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """Names of inputs and outputs, each with its tensor index in the main graph."""

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True, slots=True)
class TFLiteFile:
    """The contents of a `.tflite` file, without its weights.

    `tensors`, `inputs` and `outputs` are those of the main graph, `operators` its operators and the custom ones of all
    others; `graphs` holds everything.
    """

    path: Path
    size: int
    tensors: tuple[TensorInfo, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[OperatorInfo, ...]
    signature: Signature | None
    min_runtime_version: str | None
    graphs: tuple[Graph, ...] = ()

    @property
    def operator_counts(self) -> tuple[tuple[str, int], ...]:
        """`(name, count)` of every kind of operator, in the order of first use."""
        return tuple(Counter(operator.name for operator in self.operators).items())

    @property
    def constant_sizes(self) -> dict[str, int]:
        """Bytes of the constants of all graphs (weights, biases, shapes) by their type, the largest first."""
        sizes: Counter[str] = Counter()
        for graph in self.graphs:
            for tensor in graph.tensors:
                sizes[tensor.dtype] += tensor.constant_size
        return {dtype: size for dtype, size in sizes.most_common() if size}

    @property
    def custom_operators(self) -> tuple[str, ...]:
        """Names of the operators that a runtime does not have built in."""
        return tuple(dict.fromkeys(operator.name for operator in self.operators if operator.custom))

    @property
    def stateful(self) -> bool:
        """Whether the graph remembers something from one `invoke` to the next."""
        return any(tensor.is_variable for tensor in self.tensors) or any(
            operator.name == _STATE_HANDLE for operator in self.operators
        )


def read_tflite(path: str | Path) -> TFLiteFile:
    """Read and check a `.tflite` file.

    Raises:
        ExportError: the file is missing, empty, of another kind, or damaged.
    """
    path = Path(path)
    content = _read_bytes(path)
    try:
        return _parse(path, content)
    except (struct.error, IndexError, ValueError) as error:
        raise ExportError(
            f"Expected a whole .tflite file. Received: {path}, which is damaged or cut short ({len(content)} bytes). "
            "Copy or export it again."
        ) from error


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise ExportError(f"Expected a .tflite file. Received: {path}, which is not a file. Check the path.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(f"Expected a readable .tflite file. Received: {path} ({error.strerror}).") from error
    if not content:
        raise ExportError(f"Expected a .tflite file. Received: {path}, which is empty. Export it again.")
    if content[4:8] != IDENTIFIER:
        raise ExportError(
            f"Expected a .tflite file (bytes 4-8 are 'TFL3'). Received: {path}, which is something else. "
            "Check the path."
        )
    return content


class _Table:
    """One FlatBuffers table. A field is named by its number in the schema; a field left out gives its default."""

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._position = position
        self._vtable = position - _unpack(content, "<i", position)
        self._vtable_size = _unpack(content, "<H", self._vtable)
        table_size = _unpack(content, "<H", self._vtable + 2)
        if (
            self._vtable_size < 4
            or self._vtable + self._vtable_size > len(content)
            or position + table_size > len(content)
        ):
            raise ValueError("table outside the file")

    def _field(self, number: int) -> int | None:
        entry = 4 + 2 * number
        offset = _unpack(self._content, "<H", self._vtable + entry) if entry < self._vtable_size else 0
        return self._position + offset if offset else None

    def scalar(self, number: int, kind: str, default: int = 0) -> int:
        position = self._field(number)
        return default if position is None else _unpack(self._content, "<" + kind, position)

    def _target(self, number: int) -> int | None:
        position = self._field(number)
        return None if position is None else position + _unpack(self._content, "<I", position)

    def table(self, number: int) -> _Table | None:
        position = self._target(number)
        return None if position is None else _Table(self._content, position)

    def vector(self, number: int, kind: str) -> tuple[Any, ...]:
        start, count = self._extent(number, struct.calcsize(kind))
        return struct.unpack_from(f"<{count}{kind}", self._content, start)

    def raw(self, number: int) -> bytes:
        start, count = self._extent(number, 1)
        return self._content[start : start + count]

    def length(self, number: int) -> int:
        """Bytes of a byte vector, checked to lie in the file, not copied."""
        return self._extent(number, 1)[1]

    def text(self, number: int) -> str:
        return self.raw(number).decode()

    def tables(self, number: int) -> list[_Table]:
        start, count = self._extent(number, 4)
        positions = range(start, start + 4 * count, 4)
        return [_Table(self._content, position + _unpack(self._content, "<I", position)) for position in positions]

    def _extent(self, number: int, size: int) -> tuple[int, int]:
        position = self._target(number)
        if position is None:
            return 0, 0
        count = _unpack(self._content, "<I", position)
        if position + 4 + count * size > len(self._content):
            raise ValueError("vector outside the file")
        return position + 4, count


def _unpack(content: bytes, kind: str, position: int) -> int:
    if position < 0:  # struct counts negative offsets from the end
        raise ValueError("offset outside the file")
    return int(struct.unpack_from(kind, content, position)[0])


def _parse(path: Path, content: bytes) -> TFLiteFile:
    model = _Table(content, _unpack(content, "<I", 0))
    codes = [_operator_code(table) for table in model.tables(1)]
    buffers = model.tables(4)
    sizes = []
    for buffer in buffers:
        # The data of a large file lie behind the tables, at an offset with a size.
        sizes.append(buffer.length(0) or buffer.scalar(2, "Q"))
        if buffer.scalar(1, "Q") + buffer.scalar(2, "Q") > len(content):
            raise ValueError("weights outside the file")
    graphs = tuple(_graph(table, codes, sizes) for table in model.tables(2))
    if not graphs:
        raise ValueError("no graph")
    _check_calls(graphs, 0, (), set())
    main = graphs[0]
    metadata = {table.text(0): buffers[table.scalar(1, "I")].raw(0) for table in model.tables(6)}
    version = metadata.get("min_runtime_version", b"").split(b"\0")[0].decode()
    return TFLiteFile(
        path=path,
        size=len(content),
        tensors=main.tensors,
        inputs=main.inputs,
        outputs=main.outputs,
        # operators of a loop's body or a branch count as well
        operators=main.operators + tuple(each for graph in graphs[1:] for each in graph.operators if each.custom),
        signature=_signature(model.tables(7), len(main.tensors)),
        min_runtime_version=version or None,
        graphs=graphs,
    )


def _operator_code(table: _Table) -> tuple[str, int, bool]:
    # The first field is a byte and holds 127 where the code needs the newer, wider one.
    code = max(table.scalar(0, "b"), table.scalar(3, "i"))
    version = table.scalar(2, "i", default=1)
    if code == _CUSTOM:
        return table.text(1), version, True
    if not 0 <= code < len(BUILTIN_OPERATORS):
        return f"BUILTIN_{code}", version, False
    return BUILTIN_OPERATORS[code], version, False


def _graph(table: _Table, codes: list[tuple[str, int, bool]], buffer_sizes: list[int]) -> Graph:
    tensors = tuple(_tensor(tensor, buffer_sizes) for tensor in table.tables(0))
    operators = []
    for operator in table.tables(3):
        name, version, custom = _at(codes, operator.scalar(0, "I"))
        chosen = operator.table(4)
        options = {key: chosen.scalar(number, "i") for key, number in OPTIONS.get(name, {}).items()} if chosen else {}
        reads, writes = operator.vector(1, "i"), operator.vector(2, "i")
        for index in (*reads, *writes):
            if not -1 <= index < len(tensors):
                raise ValueError("operator of an unknown tensor")
        operators.append(OperatorInfo(name, version, custom, reads, writes, options))
    inputs, outputs = table.vector(1, "i"), table.vector(2, "i")
    for index in (*inputs, *outputs):
        _at(tensors, index)
    return Graph(tensors, tuple(operators), inputs, outputs)


def _check_calls(graphs: tuple[Graph, ...], number: int, callers: tuple[int, ...], done: set[int]) -> None:
    """Every graph that is called exists, and none calls itself."""
    if number in callers:
        raise ValueError("graph that calls itself")
    if number not in done:
        for called in (called for operator in _at(graphs, number).operators for called in operator.graphs):
            _check_calls(graphs, called, (*callers, number), done)
        done.add(number)


def _tensor(table: _Table, buffer_sizes: list[int]) -> TensorInfo:
    shape = table.vector(0, "i")
    if any(size < 0 for size in shape) or math.prod(shape) >= 1 << 40:
        raise ValueError("tensor of an impossible size")
    quantization = table.table(4)
    scales = quantization.vector(2, "f") if quantization else ()
    zero_points = quantization.vector(3, "q") if quantization else ()
    whole = len(scales) == 1 and len(zero_points) == 1
    by_channel = quantization is not None and len(scales) > 1
    return TensorInfo(
        name=table.text(3),
        shape=shape,
        dtype=_at(TENSOR_TYPES, table.scalar(1, "b")),
        scale=float(scales[0]) if whole else None,
        zero_point=int(zero_points[0]) if whole else None,
        is_variable=bool(table.scalar(5, "B")),
        channels=len(scales) if by_channel else 0,
        channel_axis=quantization.scalar(6, "i") if quantization and by_channel else None,
        is_dynamic=any(size < 0 for size in table.vector(7, "i")),
        constant_size=_at(buffer_sizes, table.scalar(2, "I")),
        is_sparse=table.table(6) is not None,
    )


def _signature(tables: list[_Table], tensors: int) -> Signature | None:
    """The signature of the main graph; `serving_default` where there are several."""
    signatures = []
    for table in tables:
        if table.scalar(4, "I") == 0:
            maps = [{entry.text(0): entry.scalar(1, "I") for entry in table.tables(number)} for number in (0, 1)]
            for index in (*maps[0].values(), *maps[1].values()):
                _at(range(tensors), index)
            signatures.append(Signature(table.text(2), *maps))
    return next((each for each in signatures if each.key == "serving_default"), signatures[0] if signatures else None)


def _at(sequence: Any, index: int) -> Any:
    if not 0 <= index < len(sequence):
        raise ValueError("index outside its list")
    return sequence[index]
