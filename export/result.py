"""What an export hands back, and what its sidecar says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from .arithmetic import arithmetic
from .layer_errors import LayerError
from .precision import IoType, PerTensor, Quantization
from .tensor_names import layers_in_name
from .tflite_file import TensorInfo, TFLiteFile
from .verification import ClassDrop, Difference, Parity


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorFacts(_Frozen):
    """An input or output of the file: what an app writer needs. value = scale x (q - zero_point)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None

    @classmethod
    def of(cls, name: str, info: TensorInfo) -> TensorFacts:
        """The facts of a file's tensor under its signature name."""
        return cls(name=name, shape=info.shape, dtype=info.dtype, scale=info.scale, zero_point=info.zero_point)


class CalibrationFacts(_Frozen):
    """Which data set the ranges of an int8 file: how many samples, their SHA-256, inputs whose pixels span 0-255."""

    count: int
    fingerprint: str
    pinned: tuple[str, ...]


class OperatorCount(_Frozen):
    """How often a file uses an operator."""

    name: str
    count: int


class FloatOperator(_Frozen):
    """An operator of an integer file that computes in floating point all the same."""

    name: str
    layer: str

    @classmethod
    def of(cls, file: TFLiteFile) -> tuple[FloatOperator, ...]:
        """Those of a file, each kind once a layer."""
        places = arithmetic(file).float_islands
        found = (cls(name=place.operator, layer=", ".join(layers_in_name(place.tensor))) for place in places)
        return tuple(dict.fromkeys(found))

    def __str__(self) -> str:
        return f"{self.name} ({self.layer})" if self.layer else self.name


class ExportResult(_Frozen):
    """A `.tflite` file that has been held against its Keras model.

    Attributes:
        path: the file.
        sidecar: `<file>.json`, which holds all of this.
        quantize: the file's precision, see `Precision`.
        io: type of its inputs and outputs; indices into tables stay integers.
        per_tensor: which layers' weights have one step a tensor.
        keep_float: layers that were to stay in float.
        logits: the outputs are logits, whose softmax are the model's answers; parity and differences are of logits.
        size: bytes.
        gzip_size: bytes after gzip.
        sha256: of the file.
        constants: bytes of weights, biases and shapes by their type, the largest first. The converter leaves weights of
            less than 1,024 values in float in dynamic files, and with them the LSTM they belong to; kernels of
            convolutions are made int8 all the same.
        operators: kinds of operators with their counts.
        float_operators: those of an int8 or int16x8 file that still compute in floating point.
        stateful: the file remembers from one call to the next: an app resets its variables between independent inputs.
        inputs: in the model's order, with the names of the file's signature.
        outputs: likewise.
        folded: scaling layers that went into the weights of the next layer.
        target: the runtime or delegate it was made for, None where none was named.
        min_runtime_version: the oldest TensorFlow Lite runtime that has all the operators in their versions.
        xnnpack_partitions: into how many parts the CPU delegate puts it here, None where the runtime does not say.
        arena: bytes that a microcontroller plans for its tensors, see `plan_arena`.
        bridge_difference: relative difference between the Keras model and the rebuilt one that was converted.
        parity: the file's answers against the Keras model's.
        figure: what the next two are: the accuracy, or what the caller's `Judge` measured.
        accuracy_keras: on the verification data, None without labels.
        accuracy_tflite: likewise.
        drop: what the gate looks at: the loss of accuracy, or 1 - top-1 agreement without labels.
        interval: 95 % confidence interval of `drop`, None without labels or for another figure than the accuracy.
        max_drop: the gate's limit.
        class_drops: accuracy of both by class, the largest drop first; empty without labels.
        most_different: the ten samples that both answer most differently.
        layers: where the file loses, see `layer_errors`; None where it was not asked for.
        calibration: None for a file that needs none.
        classes: names by output index, where they were given.
        details: what the caller wanted recorded.
    """

    path: Path
    sidecar: Path
    quantize: Quantization
    io: IoType
    per_tensor: PerTensor
    keep_float: tuple[str, ...]
    logits: bool
    size: int
    gzip_size: int
    sha256: str
    constants: dict[str, int]
    operators: tuple[OperatorCount, ...]
    float_operators: tuple[FloatOperator, ...]
    stateful: bool
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    folded: tuple[str, ...]
    target: str | None
    min_runtime_version: str | None
    xnnpack_partitions: int | None
    arena: int
    bridge_difference: float
    parity: Parity
    figure: str
    accuracy_keras: float | None
    accuracy_tflite: float | None
    drop: float
    interval: tuple[float, float] | None
    max_drop: float
    class_drops: tuple[ClassDrop, ...]
    most_different: tuple[Difference, ...]
    layers: tuple[LayerError, ...] | None
    calibration: CalibrationFacts | None
    classes: tuple[str, ...] | None
    details: dict[str, Any]
