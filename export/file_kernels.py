"""Zeros and different values in the weights of a `.tflite` file: whether it holds what compression promised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .tensor_names import layers_in_name
from .tflite_file import TFLiteFile, _Table, _unpack, read_tflite

#: Operators with kernels, and which of their inputs are kernels.
_KERNELS = {
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "FULLY_CONNECTED": (1,),
    "TRANSPOSE_CONV": (1,),
    "BATCH_MATMUL": (0, 1),
    # Four gates from the inputs, four from the state.
    "UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 9)),
    "LSTM": tuple(range(1, 9)),
}
_TYPES = {"float32": "<f4", "float16": "<f2", "int8": "i1", "uint8": "u1", "int16": "<i2", "int32": "<i4"}


@dataclass(frozen=True, slots=True)
class FileKernel:
    """One kernel of a file.

    Attributes:
        tensor: its name in the file.
        layers: of the model that it comes from, as far as the operator's name says.
        operator: that multiplies with it.
        size: number of weights.
        zeros: how many of them stand for zero.
        unique: different numbers as they are stored: of an int8 kernel, integers.
    """

    tensor: str
    layers: tuple[str, ...]
    operator: str
    size: int
    zeros: int
    unique: int


def count_file_kernels(path: str | Path) -> list[FileKernel]:
    """Count the kernels of a file that was written by kzoo, in the order of its operators, each once.

    Raises:
        ExportError: it is no `.tflite` file.
    """
    file = read_tflite(path)
    content = Path(path).read_bytes()
    found = []
    for operator, layers, index in _kernels(file):
        tensor = file.tensors[index]
        values = np.frombuffer(_constant(content, index), _TYPES[tensor.dtype])
        zero = tensor.zero_point or 0
        found.append(
            FileKernel(
                tensor=tensor.name,
                layers=layers,
                operator=operator,
                size=values.size,
                zeros=int(np.count_nonzero(values == zero)),
                unique=int(np.unique(values).size),
            )
        )
    return found


def _kernels(file: TFLiteFile) -> Iterator[tuple[str, tuple[str, ...], int]]:
    seen = set()
    for operator in file.operators:
        layers = layers_in_name(file.tensors[operator.outputs[0]].name) if operator.outputs else ()
        for place in _KERNELS.get(operator.name, ()):
            index = operator.inputs[place] if place < len(operator.inputs) else -1
            if index < 0 or index in seen:
                continue
            tensor = file.tensors[index]
            if tensor.is_constant and tensor.dtype in _TYPES and not tensor.is_sparse:
                seen.add(index)
                yield operator.name, layers, index


def _constant(content: bytes, index: int) -> bytes:
    """The bytes of a tensor of the main graph."""
    model = _Table(content, _unpack(content, "<I", 0))
    buffer = model.tables(2)[0].tables(0)[index].scalar(2, "I")
    return model.tables(4)[buffer].raw(0)
