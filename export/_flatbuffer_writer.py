"""Write FlatBuffers in plain Python: a few small tables, alone or in front of a file that stays as it is.

Offsets in a FlatBuffer are unsigned and relative to where they stand, so a table may refer to anything that lies behind
it. Hence a new root, written in front of an old file, refers into the old file without moving or changing a byte of it.

Layout: https://flatbuffers.dev/internals/
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kzoo.errors import ExportError

#: Byte vectors begin at such a place, as TensorFlow Lite's `Buffer.data` must (`force_align: 16`).
ALIGNMENT = 16
_LARGEST = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number inside a table; `kind` is `struct`'s letter for its type, of at most four bytes."""

    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class Vector:
    """Numbers of one type."""

    kind: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Ref:
    """What lies at a position of the old file already."""

    position: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its fields by their numbers in the schema."""

    fields: Mapping[int, Scalar | Node]


#: What a field can point to: bytes are a vector of ubyte, a tuple is a vector of what it holds.
Node: TypeAlias = Vector | Ref | Table | str | bytes | tuple["Node", ...]


def write(root: Table, identifier: bytes, body: bytes = b"") -> bytes:
    """Lay out the tables, and the old file behind them.

    Args:
        root: the new root table.
        identifier: the four characters that name the kind of file.
        body: the old file that `Ref`s point into; it begins at a multiple of 16 and so keeps its alignment.

    Raises:
        ExportError: the whole would not fit into 2 GiB, the most a FlatBuffer can hold.
    """
    content = bytearray(4) + identifier
    waiting: deque[tuple[int, Node]] = deque([(0, root)])
    outside: list[tuple[int, Ref]] = []
    while waiting:
        place, node = waiting.popleft()
        if isinstance(node, Ref):
            outside.append((place, node))
        else:
            struct.pack_into("<I", content, place, _put(content, node, waiting) - place)
    _align(content, ALIGNMENT)
    if len(content) + len(body) > _LARGEST:
        raise ExportError(
            f"Expected a file that is smaller than 2 GiB with what is added. Received: one of {len(body):,} bytes. "
            "Make the model smaller."
        )
    for place, ref in outside:
        struct.pack_into("<I", content, place, len(content) + ref.position - place)
    return bytes(content) + body


def _put(
    content: bytearray, node: Vector | Table | str | bytes | tuple[Node, ...], waiting: deque[tuple[int, Node]]
) -> int:
    """Append one node, leave places for what it points to, and say where it begins."""
    if isinstance(node, Table):
        return _put_table(content, node, waiting)
    if isinstance(node, str):
        text = node.encode()
        _align(content, 4)
        position = len(content)
        content += struct.pack("<I", len(text)) + text + b"\0"
    elif isinstance(node, bytes):
        _align(content, ALIGNMENT, ahead=4)
        position = len(content)
        content += struct.pack("<I", len(node)) + node
    elif isinstance(node, Vector):
        _align(content, 4)
        position = len(content)
        content += struct.pack(f"<I{len(node.values)}{node.kind}", len(node.values), *node.values)
    else:
        _align(content, 4)
        position = len(content)
        content += struct.pack("<I", len(node)) + bytes(4 * len(node))
        waiting.extend((position + 4 + 4 * number, each) for number, each in enumerate(node))
    return position


def _put_table(content: bytearray, table: Table, waiting: deque[tuple[int, Node]]) -> int:
    """The vtable, which says where the fields lie, and the table right behind it."""
    _align(content, 4)
    vtable = len(content)
    entries = [0] * (max(table.fields, default=-1) + 1)
    inline = bytearray(4)
    pointers: list[tuple[int, Node]] = []
    for number, value in table.fields.items():
        kind = value.kind if isinstance(value, Scalar) else "I"
        _align(inline, struct.calcsize(kind))
        entries[number] = len(inline)
        if not isinstance(value, Scalar):
            pointers.append((len(inline), value))
        inline += struct.pack(f"<{kind}", value.value if isinstance(value, Scalar) else 0)
    content += struct.pack(f"<HH{len(entries)}H", 4 + 2 * len(entries), len(inline), *entries)
    _align(content, 4)
    position = len(content)
    struct.pack_into("<i", inline, 0, position - vtable)
    content += inline
    waiting.extend((position + offset, value) for offset, value in pointers)
    return position


def _align(content: bytearray, size: int, ahead: int = 0) -> None:
    """Pad with zeros until what comes `ahead` bytes from here stands at a multiple of `size`."""
    content += bytes(-(len(content) + ahead) % size)
