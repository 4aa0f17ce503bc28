"""The multiply-accumulates of a `.tflite` file, from the shapes of its weights and outputs.

Counted as papers count them, and as `kzoo.models.count_macs` does for the Keras model: the products inside
convolutions, dense layers, matrix products and recurrent cells, for one run of the file; biases, activations and
pooling count nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .tflite_file import OperatorInfo, TFLiteFile

_Shape = tuple[int, ...]
_Rule = Callable[[list[_Shape], _Shape], int]


@dataclass(frozen=True, slots=True)
class FileMacs:
    """Multiply-accumulates of one run; `uncounted` names the operators whose products are not in it (loops, say)."""

    macs: int
    uncounted: tuple[str, ...]


def count_file_macs(file: TFLiteFile) -> FileMacs:
    """Count the multiply-accumulates of one run of a file.

    Example:
        >>> count_file_macs(read_tflite("resnet8.tflite")).macs
        12501632
    """
    counts = [operator_macs(file, operator) for operator in file.operators]
    unknown = (operator.name for operator, macs in zip(file.operators, counts, strict=True) if macs is None)
    return FileMacs(sum(macs or 0 for macs in counts), tuple(dict.fromkeys(unknown)))


def operator_macs(file: TFLiteFile, operator: OperatorInfo) -> int | None:
    """The same for one operator of it; None where it may multiply and the shapes do not say how often."""
    if operator.custom or operator.name in _UNCOUNTED:
        return None
    rule = _RULES.get(operator.name)
    if rule is None:
        return 0
    inputs = [file.tensors[index].shape if index >= 0 else () for index in operator.inputs]
    try:
        return rule(inputs, file.tensors[operator.outputs[0]].shape)
    except (IndexError, ZeroDivisionError):
        return None


def _conv(inputs: list[_Shape], output: _Shape) -> int:
    """Kernels of 2D convolutions, grouped ones too, are (output channels, height, width, channels of a group)."""
    return math.prod(output) * math.prod(inputs[1][1:])


def _depthwise(inputs: list[_Shape], output: _Shape) -> int:
    """The kernel is (1, height, width, output channels)."""
    return math.prod(output) * math.prod(inputs[1][1:3])


def _conv_3d(inputs: list[_Shape], output: _Shape) -> int:
    """The kernel is (depth, height, width, channels of a group, output channels)."""
    return math.prod(output) * math.prod(inputs[1][:-1])


def _transposed(inputs: list[_Shape], output: _Shape) -> int:
    """The inputs are the output's size, a kernel whose last axis is the input's channels, and the input."""
    return math.prod(inputs[2]) * math.prod(inputs[1][:-1])


def _dense(inputs: list[_Shape], output: _Shape) -> int:
    """The kernel is (units, features)."""
    return math.prod(output) * inputs[1][1]


def _matrix_product(inputs: list[_Shape], output: _Shape) -> int:
    """Rows x inner and inner x columns, either of which may be stored transposed: the inner size is in both."""
    first, second = (math.prod(shape[-2:]) for shape in inputs[:2])
    return math.prod(output) * math.isqrt(first * second // math.prod(output[-2:]))


def _recurrent(weights: slice, *more: int) -> _Rule:
    """Every step multiplies with all weights; the input is (batch, steps, features), or with steps first."""

    def macs(inputs: list[_Shape], output: _Shape) -> int:
        matrices = [*inputs[weights], *(inputs[index] for index in more if index < len(inputs))]
        each = sum(math.prod(shape) for shape in matrices if shape)
        return math.prod(inputs[0][:-1]) * each

    return macs


_RULES: dict[str, _Rule] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transposed,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _transposed,
    "FULLY_CONNECTED": _dense,
    "BATCH_MATMUL": _matrix_product,
    # Four gates' input weights, four gates' recurrent weights, the projection.
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _recurrent(slice(1, 9), 16),
    "UNIDIRECTIONAL_SEQUENCE_RNN": _recurrent(slice(1, 3)),
    "RNN": _recurrent(slice(1, 3)),
    "LSTM": _recurrent(slice(1, 9), 16),
    "SVDF": _recurrent(slice(1, 3)),
}

# They may multiply inside: in graphs of their own, as often as their data say, or in ways of which kzoo writes none.
_UNCOUNTED = frozenset(
    {
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "CALL",
        "IF",
        "STABLEHLO_CASE",
        "STABLEHLO_COMPOSITE",
        "STABLEHLO_CONVOLUTION",
        "STABLEHLO_DOT_GENERAL",
        "STABLEHLO_WHILE",
        "WHILE",
    }
)
