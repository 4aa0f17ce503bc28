"""What a kit's program must know of its model, out of the facts of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kzoo.errors import ExportError

if TYPE_CHECKING:
    from kzoo.export.result import ExportResult, TensorFacts

#: Lowest and highest value of the integers a kit can feed and read.
INTEGERS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
CHANNELS = (1, 3, 4)
FITS = ("crop", "pad", "stretch")


@dataclass(frozen=True)
class KitFacts:
    """A model as a kit's templates see it.

    Attributes:
        name: of the model, or of its file.
        file: name of the `.tflite` file that was exported.
        sha256: of it.
        precision: `quantize` of the export.
        kind: `"image"` or `"sequence"`.
        shape: `(height, width, channels)` or `(steps, features)`.
        fit: how an image of another shape is brought to it: `"crop"`, `"pad"` or `"stretch"`.
        input: the tensor fed.
        output: the tensor read, `(1, classes)`.
        labels: names by output index.
        stateful: its variables must be reset between independent inputs.
        operators: names of the operators, each once.
    """

    name: str
    file: str
    sha256: str
    precision: str
    kind: str
    shape: tuple[int, ...]
    fit: str
    input: TensorFacts
    output: TensorFacts
    labels: tuple[str, ...]
    stateful: bool
    operators: tuple[str, ...]

    @property
    def values(self) -> int:
        """How many numbers the input has."""
        product = 1
        for size in self.shape:
            product *= size
        return product


def facts_of(result: ExportResult) -> KitFacts:
    """Take from an export what a kit needs.

    Raises:
        ExportError: a model that is no classifier of one image or one sequence, or types that no kit can feed.
    """
    if len(result.inputs) != 1 or len(result.outputs) != 1:
        raise ExportError(
            f"Expected a model of one input and one output for a device kit. Received: {len(result.inputs)} inputs and "
            f"{len(result.outputs)} outputs. Write the program by hand from {result.sidecar}."
        )
    (given,), (answered,) = result.inputs, result.outputs
    if len(answered.shape) != 2:
        raise ExportError(
            f"Expected a classifier with an output (1, classes) for a device kit. Received: {answered.shape}. "
            f"Write the program by hand from {result.sidecar}."
        )
    for tensor in (given, answered):
        _check_type(tensor)
    kind, shape, fit = _input(result, given)
    names = result.classes or tuple(map(str, range(answered.shape[1])))
    if len(names) != answered.shape[1]:
        raise ExportError(
            f"Expected a name for each of {answered.shape[1]} outputs. Received: {len(names)} names. "
            "Export again with the model's classes."
        )
    return KitFacts(
        name=str(result.details.get("model") or result.path.stem),
        file=result.path.name,
        sha256=result.sha256,
        precision=result.quantize,
        kind=kind,
        shape=shape,
        fit=fit,
        input=given,
        output=answered,
        # Names of folders may hold bytes that are no text.
        labels=tuple(name.encode("utf-8", "replace").decode() for name in names),
        stateful=result.stateful,
        operators=tuple(each.name for each in result.operators),
    )


def _check_type(tensor: TensorFacts) -> None:
    quantised = tensor.dtype in INTEGERS and tensor.scale is not None and tensor.zero_point is not None
    if tensor.dtype != "float32" and not quantised:
        raise ExportError(
            f"Expected float32, int8, uint8 or int16 at {tensor.name} for a device kit. Received: {tensor.dtype}"
            f"{'' if tensor.scale else ' without a scale'}. Write the program by hand from the file's facts."
        )


def _input(result: ExportResult, given: TensorFacts) -> tuple[str, tuple[int, ...], str]:
    """Kind, shape and fit: as they were recorded, or as the tensor's axes say."""
    shape = given.shape[1:]
    recorded: dict[str, Any] = result.details.get("input") or {}
    kind = str(recorded.get("kind") or {3: "image", 2: "sequence"}.get(len(shape)))
    axes = {"image": 3, "sequence": 2}.get(kind)
    fit = str(recorded.get("fit") or "crop")
    if axes != len(shape) or fit not in FITS or tuple(recorded.get("shape") or shape) != shape:
        raise ExportError(
            f"Expected an image (height, width, channels) or a sequence (steps, features) for a device kit. "
            f"Received: {recorded or 'an input'} and a tensor {given.shape}. Write the program by hand."
        )
    if kind == "image" and shape[2] not in CHANNELS:
        raise ExportError(f"Expected images of 1, 3 or 4 channels for a device kit. Received: {shape[2]} channels.")
    return kind, shape, fit
