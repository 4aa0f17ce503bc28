"""Ranges of layers' outputs that quantisation-aware training has settled, in place of those that calibration finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema

from .tensor_names import layers_in_name
from .tflite_file import IDENTIFIER

#: Smallest and largest output by layer, in the order of the graph.
Ranges = Mapping[str, Sequence[float]]

_OPERATORS = schema.BuiltinOperator
#: They move values only: the converter gives what they write the range of what they read.
_MOVES = frozenset(
    {_OPERATORS.RESHAPE, _OPERATORS.EXPAND_DIMS, _OPERATORS.SQUEEZE, _OPERATORS.TRANSPOSE, _OPERATORS.PAD}
)


def settle_ranges(content: bytes, ranges: Ranges) -> bytes:
    """Write settled ranges into a calibrated file.

    A layer that became several operators keeps what calibration measured for each: its range is that of the last.

    Args:
        content: A float32 `.tflite` file whose tensors carry the ranges that calibration measured.
        ranges: By layer, in the order of the graph: where several layers were fused, the last one's counts.
    """
    if not ranges:
        return content
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    order = {name: place for place, name in enumerate(ranges)}
    for subgraph in model.subgraphs:
        for name, tensors in _tensors_by_layer(model, subgraph, order).items():
            if len(tensors) == 1 and tensors[0].quantization is not None:
                lowest, highest = ranges[name]
                tensors[0].quantization.min, tensors[0].quantization.max = [lowest], [highest]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _tensors_by_layer(model: Any, subgraph: Any, order: Mapping[str, int]) -> dict[str, list[Any]]:
    """Tensors that operators write, by the layer that they are the output of."""
    found: dict[str, list[Any]] = defaultdict(list)
    for operator in subgraph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode in _MOVES:
            continue
        for index in operator.outputs:
            tensor = subgraph.tensors[index]
            layers = [name for name in layers_in_name(tensor.name.decode()) if name in order]
            if layers:
                found[max(layers, key=order.__getitem__)].append(tensor)
    return found
