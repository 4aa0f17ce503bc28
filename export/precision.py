"""Which numbers a file computes with: what a user asks for, checked before anything is converted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from kzoo.errors import ExportError, UsageError, nearest

if TYPE_CHECKING:
    from .graph import Call, Graph

Quantization = Literal["fp32", "fp16", "dynamic", "int8", "int16x8"]
IoType = Literal["float32", "int8", "uint8", "int16"]
PerTensor = Literal["none", "dense", "all"]

#: What inputs and outputs may be of, the default first. Indices into tables (token ids) stay the integers they are.
IO_TYPES: dict[Quantization, tuple[IoType, ...]] = {
    "fp32": ("float32",),
    "fp16": ("float32",),
    "dynamic": ("float32",),
    "int8": ("int8", "uint8", "float32"),
    "int16x8": ("int16", "float32"),
}
_NEEDS_RANGES = ("int8", "int16x8")


@dataclass(frozen=True, slots=True)
class Precision:
    """The numbers of a file.

    Attributes:
        quantize: `"fp32"`; `"fp16"`: weights in half precision, computed in float32; `"dynamic"`: weights in int8,
            inputs of each operator quantised as they come; `"int8"`: integers throughout; `"int16x8"`: activations of
            16 bits and weights of 8, for models that lose too much in int8 (slower: few kernels are tuned for it).
        io: type of inputs and outputs, one of `IO_TYPES[quantize]`; None for the first of them.
        per_tensor: which layers' weights have one step a tensor. With `"none"` each output channel has its own, which
            loses least. Runtimes before 2.17, NNAPI and older TensorFlow Lite Micro take dense layers with one step
            only (`"dense"`), some accelerators all layers (`"all"`). None: as `fitted` chooses.
        keep_float: names of layers that an int8 file still computes in float32.
    """

    quantize: Quantization = "fp32"
    io: IoType | None = None
    per_tensor: PerTensor | None = None
    keep_float: tuple[str, ...] = ()

    @property
    def io_type(self) -> IoType:
        """The type of inputs and outputs."""
        return self.io or IO_TYPES[self.quantize][0]

    @property
    def needs_calibration(self) -> bool:
        """Whether the ranges of activations have to be measured on real data."""
        return self.quantize in _NEEDS_RANGES

    def check(self) -> None:
        """Make sure that the choices fit together.

        Raises:
            UsageError: unknown or impossible choices.
        """
        if self.quantize not in IO_TYPES:
            known = ", ".join(get_args(Quantization))
            raise UsageError(f"Expected quantize to be one of {known}. Received: {self.quantize!r}.")
        if self.io_type not in IO_TYPES[self.quantize]:
            raise UsageError(
                f"Expected inputs and outputs of {' or '.join(IO_TYPES[self.quantize])} for {self.quantize}. "
                f"Received: {self.io!r}."
            )
        if self.keep_float and self.quantize != "int8":
            raise UsageError(
                f"Expected layers to keep in float for int8 only. Received: quantize={self.quantize!r} with "
                f"{', '.join(self.keep_float)}."
            )
        if self.per_tensor not in (None, *get_args(PerTensor)):
            raise UsageError(
                f"Expected per_tensor to be one of {', '.join(get_args(PerTensor))}. Received: {self.per_tensor!r}."
            )
        if self.per_tensor not in (None, "none") and self.quantize in ("fp32", "fp16"):
            raise UsageError(
                f"Expected weights in integers where per_tensor is given. Received: quantize={self.quantize!r}."
            )

    def fitted(self, graph: Graph, *, dense_per_tensor: bool = False) -> Precision:
        """The same with what was left open chosen for a model.

        Args:
            graph: the model's.
            dense_per_tensor: dense layers must have one step, because the file is for a runtime that wants it so.
                They get one as well where a recurrent layer is written out: the steps of its channels would be
                repeated at every time step, in files larger than the float one.

        Raises:
            UsageError: a layer to keep in float that the model does not have.
            ExportError: an LSTM for int16x8.
        """
        self._check_layers(graph)
        if self.per_tensor is not None:
            return self
        dense = dense_per_tensor or (self.needs_calibration and any(_written_out(graph)))
        return dataclasses.replace(self, per_tensor="dense" if dense else "none")

    def _check_layers(self, graph: Graph) -> None:
        names = [call.layer.name for _, call in graph.numbered_calls()]
        for name in self.keep_float:
            if name not in names:
                raise UsageError(
                    f"Expected layers of the model to keep in float. Received: {name!r}. {nearest(name, names)}"
                )
        # A layer may be called more than once.
        fused = list(dict.fromkeys(_fused_lstms(graph))) if self.quantize == "int16x8" else []
        if fused:
            raise ExportError(
                f"int16x8 is not possible with LSTM layers ({', '.join(fused)}): TensorFlow Lite has no LSTM operator "
                "with 16-bit activations. Choose int8, dynamic, fp16 or fp32."
            )

    def to_json(self) -> dict[str, object]:
        """What JSON can hold; `Precision(**content)` makes it again."""
        return dataclasses.asdict(self)


def _fused_lstms(graph: Graph) -> Iterator[str]:
    for _, call in graph.numbered_calls():
        if _recurrent_kind(call) == "LSTM" and call.kwargs.get("mask") is None:
            yield call.layer.name


def _written_out(graph: Graph) -> Iterator[str]:
    """Recurrent layers that become a run of operators for every time step."""
    for _, call in graph.numbered_calls():
        kind = _recurrent_kind(call)
        if kind in ("GRU", "SimpleRNN") or (kind == "LSTM" and call.kwargs.get("mask") is not None):
            yield call.layer.name


def _recurrent_kind(call: Call) -> str:
    """The kind of a recurrent layer, also of one that is wrapped in Bidirectional; other layers give their own."""
    layer = call.layer
    return str(layer.config["layer"]["class_name"]) if layer.kind == "Bidirectional" else layer.kind
