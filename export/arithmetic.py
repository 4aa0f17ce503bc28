"""What a `.tflite` file computes in: whether an int8 file is int8 throughout, and where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .targets import data_input
from .tflite_file import Graph, OperatorInfo, TFLiteFile

_BORDERS = ("QUANTIZE", "DEQUANTIZE")
_INTEGERS = ("int8", "uint8", "int16")
_SMALL = ("int8", "uint8", "int4", "int2", "uint4")
#: Operators with weights of their own: the others' integer constants are shapes and axes.
_WEIGHTED = (
    "BATCH_MATMUL", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CONV_2D", "DEPTHWISE_CONV_2D",
    "EMBEDDING_LOOKUP", "FULLY_CONNECTED", "LSTM", "RNN", "SVDF", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """One operator of a file: its graph (0 is the main one), its number there, and the first tensor that it writes."""

    graph: int
    index: int
    operator: str
    tensor: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a file computes in.

    Attributes:
        kind: in words, such as `"int8 throughout"`.
        float_islands: operators that compute in floating point in a file whose others compute in integers.
        hybrid: operators with integer weights and floating point values (dynamic range quantisation).
        float16_weights: whether weights are stored as float16 and widened before use.
    """

    kind: str
    float_islands: tuple[Place, ...]
    hybrid: tuple[Place, ...]
    float16_weights: bool


def arithmetic(file: TFLiteFile) -> Arithmetic:
    """Look at the types of every operator's values and weights."""
    floats, integers, hybrid = [], set(), []
    float16_weights = False
    for place, operator, graph in operators(file):
        dtype = computed_dtype(operator, graph)
        if operator.name in _BORDERS:
            float16_weights |= dtype == "float16"
        elif is_hybrid(operator, graph):
            hybrid.append(place)
        elif dtype.startswith(("float", "bfloat")):
            floats.append(place)
        elif dtype in _INTEGERS:
            integers.add(dtype)
    islands = (*floats, *hybrid) if integers else ()
    kind = _kind(integers, len(floats), len(hybrid), float16_weights)
    return Arithmetic(kind, islands, tuple(hybrid), float16_weights)


def _kind(integers: set[str], floats: int, hybrid: int, float16_weights: bool) -> str:
    if not integers:
        values = "float32" if floats or hybrid else "no arithmetic"
        weights = [name for name, there in (("int8", hybrid), ("float16", float16_weights)) if there]
        return f"{values} with {' and '.join(weights)} weights" if weights else values
    name = "int16 with int8 weights" if "int16" in integers else " and ".join(sorted(integers))
    count = floats + hybrid
    return f"{name} with {count} float operator{'s' * (count > 1)}" if count else f"{name} throughout"


def operators(file: TFLiteFile) -> Iterator[tuple[Place, OperatorInfo, Graph]]:
    """Every operator of every graph with its place."""
    for number, graph in enumerate(file.graphs):
        for index, operator in enumerate(graph.operators):
            written = next((graph.tensors[tensor].name for tensor in operator.outputs if tensor >= 0), "")
            yield Place(number, index, operator.name, written), operator, graph


def computed_dtype(operator: OperatorInfo, graph: Graph) -> str:
    """The type of the values an operator computes with; of its result where it has no such input."""
    number = data_input(operator.name)
    given = operator.inputs[number] if number < len(operator.inputs) else -1
    if given < 0:
        given = next((tensor for tensor in operator.outputs if tensor >= 0), -1)
    return graph.tensors[given].dtype if given >= 0 else ""


def is_hybrid(operator: OperatorInfo, graph: Graph) -> bool:
    """Whether an operator multiplies floating point values by integer weights."""
    written = (graph.tensors[each] for each in operator.outputs if each >= 0)
    if operator.name not in _WEIGHTED or not any(tensor.is_float for tensor in written):
        return False
    constants = (graph.tensors[each] for each in operator.inputs if each >= 0 and graph.tensors[each].is_constant)
    return any(constant.dtype in _SMALL for constant in constants)
