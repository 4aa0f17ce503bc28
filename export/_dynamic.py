"""What a file of dynamic precision gains over the converter's: smaller kernels, and one part for the CPU delegate.

Runs in the child process, on the schema's objects.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

_BUILTIN, _TYPES = schema.BuiltinOperator, schema.TensorType
_INPUT, _FILTER = 0, 1
#: Versions with a step for every channel, and the oldest runtime that has them.
_CONVOLUTION, _DEQUANTIZE = (_BUILTIN.CONV_2D, 5), (_BUILTIN.DEQUANTIZE, 5)
_RUNTIMES = {_CONVOLUTION: (2, 4, 0), _DEQUANTIZE: (2, 7, 0)}


def quantise_small_kernels(model: Any) -> None:
    """Give the convolutions whose kernels the converter leaves in float int8 ones, a step a channel, in place.

    It does so where a kernel has less than 1,024 values. With float values XNNPACK computes such a convolution in
    float, which is slower, and the kernel takes four times the bytes.
    """
    for graph in model.subgraphs:
        for operator, given, kernel in _convolutions(model, graph, _BUILTIN.CONV_2D):
            readers = sum(int(operator.inputs[_FILTER]) in other.inputs for other in graph.operators)
            grouped = kernel.shape[-1] != given.shape[-1]
            data = model.buffers[kernel.buffer].data
            if kernel.type == _TYPES.FLOAT32 and data is not None and readers == 1 and not grouped:
                _quantise(model, kernel, data.view(np.float32).reshape(kernel.shape))
                operator.opcodeIndex = _operator_code(model, _CONVOLUTION)


def unpack_depthwise_kernels(model: Any) -> None:
    """Put a DEQUANTIZE between every depthwise convolution of float values and its int8 kernel, in place.

    XNNPACK multiplies float values by int8 weights in dense layers and convolutions, in depthwise convolutions it does
    not (https://github.com/google-ai-edge/LiteRT/blob/main/tflite/delegates/xnnpack/README.md): each of them ends a run
    of operators that it takes as one. A DEQUANTIZE of constants it computes once, when the file is loaded; behind it
    the convolution is one in float.
    """
    for graph in model.subgraphs:
        before = {
            id(operator): _dequantize(model, graph, operator)
            for operator, _, kernel in _convolutions(model, graph, _BUILTIN.DEPTHWISE_CONV_2D)
            if kernel.type == _TYPES.INT8
        }
        graph.operators = [
            each for operator in graph.operators for each in (before.get(id(operator)), operator) if each is not None
        ]


def _convolutions(model: Any, graph: Any, kind: int) -> Iterator[tuple[Any, Any, Any]]:
    """Those of float values, with the tensors they read."""
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode == kind:
            given, kernel = (graph.tensors[operator.inputs[number]] for number in (_INPUT, _FILTER))
            if given.type == _TYPES.FLOAT32:
                yield operator, given, kernel


def _quantise(model: Any, kernel: Any, values: np.ndarray) -> None:
    largest = np.abs(values).reshape(len(values), -1).max(axis=1)
    scale = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
    steps = np.round(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
    model.buffers.append(schema.BufferT(data=steps.reshape(-1).view(np.uint8)))
    kernel.type, kernel.buffer = _TYPES.INT8, len(model.buffers) - 1
    kernel.quantization = schema.QuantizationParametersT(scale=scale, zeroPoint=np.zeros(len(scale), np.int64))


def _dequantize(model: Any, graph: Any, operator: Any) -> Any:
    """The new operator; the convolution reads what it writes."""
    packed = int(operator.inputs[_FILTER])
    unpacked = copy.copy(graph.tensors[packed])
    unpacked.name += b"/float"
    unpacked.type, unpacked.buffer, unpacked.quantization = _TYPES.FLOAT32, 0, None
    graph.tensors.append(unpacked)
    operator.inputs = operator.inputs.copy()  # out of the file, where nothing can be changed
    operator.inputs[_FILTER] = len(graph.tensors) - 1
    return schema.OperatorT(
        opcodeIndex=_operator_code(model, _DEQUANTIZE),
        inputs=np.array([packed], np.int32),
        outputs=np.array([len(graph.tensors) - 1], np.int32),
        builtinOptionsType=schema.BuiltinOptions.DequantizeOptions,
        builtinOptions=schema.DequantizeOptionsT(),
    )


def _operator_code(model: Any, wanted: tuple[int, int]) -> int:
    """The place of an operator of a version in the file's table, where it is added if need be."""
    known = [(code.builtinCode, code.version) for code in model.operatorCodes]
    if wanted not in known:
        # Operators of numbers below 127 bear them in the older field, too.
        model.operatorCodes.append(
            schema.OperatorCodeT(deprecatedBuiltinCode=wanted[0], builtinCode=wanted[0], version=wanted[1])
        )
        _need_runtime(model, _RUNTIMES[wanted])
        return len(known)
    return known.index(wanted)


def _need_runtime(model: Any, version: tuple[int, ...]) -> None:
    """Say in the file which runtime it needs at least, unless it says a newer one already."""
    for entry in model.metadata or ():
        if entry.name == b"min_runtime_version":
            buffer = model.buffers[entry.buffer]
            said = bytes(buffer.data).rstrip(b"\0").decode()
            if tuple(map(int, said.split("."))) < version:
                text = ".".join(map(str, version)).encode()
                buffer.data = np.frombuffer(text.ljust(len(buffer.data), b"\0"), np.uint8)
