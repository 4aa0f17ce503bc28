"""Write a converted file anew with everything that is alike in it once. Runs in the child process.

The converter writes 64-bit zeros for every channel of every kernel and again of every bias, an empty buffer and empty
quantisation for every tensor, and for a fused operator the names of all that went into it. In small files that is a
tenth to a third of the bytes. FlatBuffers lets any number of fields refer to one vector, and readers never write.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from typing import Any

import flatbuffers
import numpy as np

from ._flatbuffer_writer import ALIGNMENT
from .tensor_names import short_name
from .tflite_file import IDENTIFIER

#: The converter's record of its options and a hash of what it was given, which no runtime reads.
_RECORD = b"CONVERSION_METADATA"


def compact(model: Any) -> bytes:
    """The file of a model in fewer bytes: operators, tensors, their order and all numbers stay as they are.

    Args:
        model: a `ModelT` of the schema. Its names, buffers, metadata and empty quantisations are changed in place.
    """
    for graph in model.subgraphs:
        _shorten_names(model, graph)
        for tensor in graph.tensors:
            if tensor.quantization is not None and _says_nothing(tensor.quantization):
                tensor.quantization = None
    model.metadata = [entry for entry in model.metadata or () if entry.name != _RECORD]
    _drop_buffers(model)
    builder = _SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _shorten_names(model: Any, graph: Any) -> None:
    """To one part for each layer. Where that is another's name, constants get a number, the others a sum of their own.

    The names of computed tensors must not depend on the precision: by them a quantised file is held against its float
    twin. Those of a recurrent layer that is written out list all steps, so that the names of a long one would take more
    than its weights.
    """
    taken = {tensor.name for tensor in graph.tensors}
    for tensor in sorted(graph.tensors, key=lambda each: model.buffers[each.buffer].data is not None):
        shorter = short_name(tensor.name.decode()).encode()
        constant = model.buffers[tensor.buffer].data is not None
        marks = itertools.count(1) if constant else [zlib.crc32(tensor.name)]
        candidates = itertools.chain([shorter], (b"%s_%d" % (shorter, mark) for mark in marks))
        free = next((each for each in candidates if each not in taken), tensor.name)
        if len(free) < len(tensor.name):
            taken.add(free)
            tensor.name = free


def _says_nothing(quantization: Any) -> bool:
    values = (quantization.scale, quantization.zeroPoint, quantization.min, quantization.max)
    return quantization.details is None and all(each is None or len(each) == 0 for each in values)


def _drop_buffers(model: Any) -> None:
    """Those without data and without a reader. Buffer 0 is the empty one, for all tensors whose values are computed."""
    readers = [*(tensor for graph in model.subgraphs for tensor in graph.tensors), *model.metadata]
    read = {reader.buffer for reader in readers if model.buffers[reader.buffer].data is not None}
    kept = [0, *sorted(read - {0})]
    places = {number: place for place, number in enumerate(kept)}
    for reader in readers:
        reader.buffer = places.get(reader.buffer, 0)
    model.buffers = [model.buffers[number] for number in kept]


class _SharingBuilder(flatbuffers.Builder):
    """Writes equal vectors and equal strings once."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[tuple[int, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:
        key = x.itemsize, hashlib.sha256(x.tobytes()).digest()
        if key not in self._written:
            self._written[key] = self._aligned(x) if x.itemsize == 1 else super().CreateNumpyVector(x)
        return self._written[key]

    def _aligned(self, x: np.ndarray) -> int:
        """Bytes where `Buffer.data` must stand: the generated code knows nothing of the schema's `force_align`."""
        self.StartVector(1, x.size, ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        self.vectorNumElems = x.size
        return int(self.EndVector())

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:
        key = 0, s.encode(encoding, errors) if isinstance(s, str) else s
        if key not in self._written:
            self._written[key] = super().CreateString(s, encoding, errors)
        return self._written[key]
