"""What TensorFlow Lite Micro needs beside the programs' templates: the file as an array, and how operators register."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kzoo.errors import ExportError

_BYTES_A_LINE = 16

# Methods of MicroMutableOpResolver whose name is not `Add` and the operator's words, each with a capital.
# Source: tensorflow/lite/micro/micro_mutable_op_resolver.h of tensorflow/tflite-micro.
_IRREGULAR = {
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "CONV_2D": "AddConv2D",
    "CUMSUM": "AddCumSum",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "L2_POOL_2D": "AddL2Pool2D",
    "MAX_POOL_2D": "AddMaxPool2D",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}
_REGULAR = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE BATCH_TO_SPACE_ND BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL
CONCATENATION COS DEPTH_TO_SPACE DEQUANTIZE DIV ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV
FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION LEAKY_RELU LESS
LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MEAN MINIMUM MIRROR_PAD MUL NEG
NOT_EQUAL PACK PAD PRELU QUANTIZE READ_VARIABLE REDUCE_MAX RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR
ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE
SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE TRANSPOSE_CONV UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""

#: operator -> method of MicroMutableOpResolver that registers it.
METHODS = {
    name: "Add" + "".join(word.capitalize() for word in name.split("_")) for name in _REGULAR.split()
} | _IRREGULAR


def resolver_methods(operators: Sequence[str]) -> list[str]:
    """The methods that register these operators, in their order.

    Raises:
        ExportError: TensorFlow Lite Micro has no kernel for one of them.
    """
    missing = [name for name in operators if name not in METHODS]
    if missing:
        raise ExportError(
            f"Expected operators that TensorFlow Lite Micro has. Received: {', '.join(missing)}. "
            "Replace the layers they come from."
        )
    return [METHODS[name] for name in operators]


def array_lines(path: Path) -> list[str]:
    """The file's bytes as lines of a C initialiser."""
    content = path.read_bytes()
    return [
        ", ".join(f"0x{byte:02x}" for byte in content[start : start + _BYTES_A_LINE]) + ","
        for start in range(0, len(content), _BYTES_A_LINE)
    ]
