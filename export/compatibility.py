"""Why a target does not take an operator."""

from __future__ import annotations

from dataclasses import dataclass

from .arithmetic import computed_dtype, is_hybrid
from .targets import Support, Target, support
from .tflite_file import Graph, OperatorInfo, TensorInfo

_FLEX = "Replace the layer, or add TensorFlow's Flex delegate to the app."
_CUSTOM = "Register the operator with the app's own runtime: the plain one does not have it."
_REPLACE = "Replace the layer that makes it."
_OTHER_PRECISION = "Export it as fp32 or int8."
_HYBRID = "Export it as int8 or fp32: dynamic range quantisation does not run there."
_OLDER = "Update the runtime, or convert for an older one (`--min-runtime`)."
_BY_CHANNEL = "Convert it with one scale for all weights of a Dense layer, or update the runtime."
_STATIC = "Give the model a fixed batch and fixed sizes before it is converted."

#: Operators that take the shape of their result from an input, and which.
_SHAPE_INPUTS = {
    "BROADCAST_TO": (1,), "FILL": (0,), "PAD": (1,), "PADV2": (1,), "RANGE": (0, 1, 2), "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,), "RESIZE_NEAREST_NEIGHBOR": (1,), "SLICE": (1, 2), "TILE": (1,), "TRANSPOSE_CONV": (0,),
}  # fmt: skip
_SHAPE_FROM_VALUES = ("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "UNIQUE", "WHERE")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why, as the end of a sentence that begins with the operator, and what to do."""

    reason: str
    advice: str


def refusal(target: Target, operator: OperatorInfo, graph: Graph) -> Refusal | None:
    """The first reason for which a target does not take an operator, None where none is known."""
    if operator.is_flex:
        return Refusal("is an operator of TensorFlow itself", _FLEX)
    if operator.custom:
        return None if operator.name in target.custom else Refusal("is a custom operator", _CUSTOM)
    known = support(target, operator.name)
    if known is None:
        return Refusal("is not among its operators", _REPLACE)
    return (
        _version(known, operator)
        or _hybrid(target, operator, graph)
        or _types(target, known, operator, graph)
        or _dimensions(target, operator, graph)
        or _options(target, operator)
    )


def _version(known: Support, operator: OperatorInfo) -> Refusal | None:
    if known.version is None or operator.version <= known.version:
        return None
    # From version 12 on: weights of a fully connected layer with a scale for every channel.
    advice = _BY_CHANNEL if operator.name == "FULLY_CONNECTED" and operator.version == 12 else _OLDER
    return Refusal(f"is version {operator.version}, it takes up to {known.version}", advice)


def _hybrid(target: Target, operator: OperatorInfo, graph: Graph) -> Refusal | None:
    # Measured on tflite-micro; the NNAPI delegate takes hybrid convolutions and dense layers from API 29 on.
    if not is_hybrid(operator, graph):
        return None
    if target.name == "tflm" or (target.name == "nnapi" and "SEQUENCE" in operator.name):
        return Refusal("has integer weights for float values", _HYBRID)
    return None


def _types(target: Target, known: Support, operator: OperatorInfo, graph: Graph) -> Refusal | None:
    if not known.types:
        return None
    used = {computed_dtype(operator, graph)}
    if target.every_tensor:
        used |= {tensor.dtype for tensor in tensors_of(operator, graph) if not tensor.is_constant}
        # Constants of other types are converted when the delegate is built.
        used -= {"int32"} if operator.name == "GATHER" else set()
    wrong = sorted(used - known.types)
    if not wrong:
        return None
    return Refusal(
        f"has values of type {' and '.join(wrong)}", _OTHER_PRECISION if {*wrong} <= {"float16", "int16"} else _REPLACE
    )


def _dimensions(target: Target, operator: OperatorInfo, graph: Graph) -> Refusal | None:
    most = target.most_dimensions
    largest = max((len(tensor.shape) for tensor in tensors_of(operator, graph)), default=0)
    if most is None or largest <= most:
        return None
    return Refusal(f"has a tensor of {largest} dimensions, it takes up to {most}", _REPLACE)


def _options(target: Target, operator: OperatorInfo) -> Refusal | None:
    masks = [name.removesuffix("_mask") for name, value in operator.options.items() if name.endswith("_mask") and value]
    if target.name != "gpu" or not masks:
        return None
    return Refusal(f"removes or adds axes ({', '.join(masks)})", "Slice with ranges, then reshape.")


def shapes_at_run_time(operator: OperatorInfo, graph: Graph) -> bool:
    """Whether the shape of an operator's result depends on values that the file does not hold."""
    numbers = _SHAPE_INPUTS.get(operator.name, ())
    given = [operator.inputs[number] for number in numbers if number < len(operator.inputs)]
    computed = any(each >= 0 and not graph.tensors[each].is_constant for each in given)
    return computed or operator.name in _SHAPE_FROM_VALUES


def tensors_of(operator: OperatorInfo, graph: Graph) -> list[TensorInfo]:
    """All tensors that an operator reads or writes."""
    return [graph.tensors[each] for each in (*operator.inputs, *operator.outputs) if each >= 0]
