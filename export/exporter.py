"""A Keras model in, a verified `.tflite` file out."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.errors import ExportError
from kzoo.files import atomic_path

from .calibration import (
    CALIBRATION_SAMPLES,
    Arrays,
    as_arrays,
    check_real,
    fingerprint,
    gather,
    looks_like_pixels,
    pin_pixel_range,
    spread,
)
from .examination import Demands, Description, examine
from .folding import takes_pixels
from .graph import Graph, as_functional, read_graph
from .logits import without_softmax
from .portability import wants_dense_per_tensor
from .precision import IoType, PerTensor, Precision, Quantization
from .process import Converter, convert_in_child
from .result import CalibrationFacts, ExportResult, FloatOperator, OperatorCount, TensorFacts
from .verification import Judge, check_labels, keras_answers

#: Real samples on which the rebuilt model must answer like the Keras model before it is converted, and on which the
#: layers of a quantised file are compared.
_BRIDGE_SAMPLES = 12


def export_model(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    quantize: Quantization = "fp32",
    io: IoType | None = None,
    per_tensor: PerTensor | None = None,
    keep_float: Sequence[str] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    logits: bool = False,
    target: str | None = None,
    min_runtime: str | None = None,
    calibration: Arrays | Iterable[Arrays] | None = None,
    calibration_samples: int = CALIBRATION_SAMPLES,
    verification: tuple[Arrays, np.ndarray | None],
    names: Sequence[str] | None = None,
    judge: Judge | None = None,
    max_drop: float = 0.01,
    classes: Sequence[str] | None = None,
    metadata: bool = True,
    description: str = "",
    version: str = "",
    details: Mapping[str, object] | None = None,
    layer_report: bool = False,
    overwrite: bool = False,
    timeout: float = 600,
    memory_limit: int | None = None,
    converter: Converter | None = None,
) -> ExportResult:
    """Convert any functional or Sequential Keras 3 model of stock layers, and hold the file against it on real data.

    The file has batch 1, builtin operators only, and the layers' names as the names of its inputs and outputs. It takes
    what the model takes: where the model begins with a scaling of pixels, the file takes pixels 0-255; an int8 file
    takes q = pixel - 128.

    Args:
        model: the model, on any Keras backend.
        path: the `.tflite` file to write; its facts go to `<path>.json`.
        quantize: `"fp32"`, `"fp16"`, `"dynamic"`, `"int8"` or `"int16x8"`, see `Precision`, also for the next four.
        io: type of the file's inputs and outputs; None for the precision's own.
        per_tensor: which layers' weights have one step a tensor: `"none"`, `"dense"`, `"all"`; None to choose.
        keep_float: layers that an int8 file computes in float32.
        ranges: what the outputs of layers lie between, by layer, where quantisation-aware training has settled it; for
            int8. The others are measured on the calibration samples.
        logits: end the file before the model's last softmax, see `without_softmax`; it is held against the Keras model
            without that, too.
        target: a runtime or delegate that must take the file, see `check`.
        min_runtime: the oldest TensorFlow Lite runtime that must run it, such as `"2.14"`.
        calibration: for int8 and int16x8: real samples, `(samples, *input_shape)`, or an iterable of batches; a few
            hundred do. A tuple or a mapping by name where the model has several inputs. Where the model begins by
            scaling pixels, one value of the samples is set to 0 and one to 255 if none is, so that the input's range is
            exact.
        calibration_samples: how many of them are used at most.
        verification: `(inputs, labels)`: real samples that were not trained on, and their class indices `(samples,)` or
            None.
        names: what the verification samples are called, for the list of those that differ most.
        judge: of the answers of a model that knows no classes. Default: the top-1 class of the first output, or the
            side of 0.5 where it has one value only.
        max_drop: how much accuracy (or of the figure of `judge`) the file may lose on them, as a fraction; without
            labels, the share of samples whose top-1 class may change.
        classes: names of the classes by output index, for the sidecar and the file's metadata.
        metadata: put labels, input normalisation, description and version into the file: about 1 KB.
        description: a sentence on the model, for the metadata.
        version: of the model, for the metadata.
        details: more facts for the sidecar; what JSON can hold.
        layer_report: compare the quantised file with a float one layer by layer.
        overwrite: replace a file that is there.
        timeout: seconds the conversion may take.
        memory_limit: bytes of memory the conversion may take, None for all but a tenth of the machine's.
        converter: the process that converts, started ahead; None to start it when it is needed.

    Returns:
        The facts of the file, as they stand in the sidecar.

    Raises:
        ExportError: the model cannot be converted, the conversion crashed, a file is in the way, or the file loses more
            than `max_drop` (it is kept as `<path>.rejected` then).
        UsageError: choices of precision that do not fit together.

    Example:
        >>> export_model(model, "digits.tflite", quantize="int8", calibration=train_images,
        ...              verification=(test_images, test_labels))
    """
    file = Path(path)
    recorded = _recorded(details)
    precision = Precision(quantize, io, per_tensor, tuple(keep_float))
    precision.check()
    _check_request(file, precision, calibration, overwrite)
    model = without_softmax(model) if logits else as_functional(model)
    graph = read_graph(model)
    precision = precision.fitted(graph, dense_per_tensor=wants_dense_per_tensor(target, min_runtime))
    inputs = as_arrays(verification[0], graph.inputs, "verification data")
    if verification[1] is not None:
        check_labels(verification[1], (len(inputs[0]), *model.outputs[0].shape[1:]), judge)
    samples: list[np.ndarray] = []
    facts: CalibrationFacts | None = None
    if precision.needs_calibration:
        samples, facts = _calibrate(calibration, graph, inputs, calibration_samples)
    few = spread(inputs, _BRIDGE_SAMPLES)
    answers = functools.cache(functools.partial(keras_answers, model, inputs))
    conversion = convert_in_child(
        model,
        precision=precision,
        samples=few,
        calibration=samples,
        ranges=ranges if quantize == "int8" else None,
        twin=layer_report and quantize != "fp32",
        packages=graph.packages,
        timeout=timeout,
        memory_limit=memory_limit,
        converter=converter,
        meanwhile=answers,
    )
    labels = tuple(classes) if classes is not None else None
    described = Description(
        name=model.name,
        text=description,
        version=version,
        classes=labels,
        kind="image" if _takes_images(graph, inputs) else "sequence",
        logits=logits,
    )
    found = examine(
        conversion,
        Demands(precision, described if metadata else None, target, min_runtime),
        few=few,
        verification=(inputs, verification[1]),
        answers=answers(),
        names=names,
        judge=judge,
    )
    lite, verified = found.lite, found.verified
    accepted = verified.drop <= max_drop
    place = file if accepted else file.with_name(file.name + ".rejected")
    result = ExportResult(
        path=place,
        sidecar=place.with_name(place.name + ".json"),
        quantize=quantize,
        io=precision.io_type,
        per_tensor=precision.per_tensor or "none",
        keep_float=precision.keep_float,
        logits=logits,
        size=lite.size,
        gzip_size=lite.gzip_size,
        sha256=hashlib.sha256(found.content).hexdigest(),
        constants=lite.file.constant_sizes,
        operators=tuple(OperatorCount(name=name, count=count) for name, count in lite.operators),
        float_operators=FloatOperator.of(lite.file) if precision.needs_calibration else (),
        stateful=lite.file.stateful,
        inputs=tuple(TensorFacts.of(name, lite.inputs[name]) for name in conversion.inputs),
        outputs=tuple(TensorFacts.of(name, lite.outputs[name]) for name in conversion.outputs),
        folded=conversion.folded,
        target=target,
        min_runtime_version=found.report.min_runtime or lite.file.min_runtime_version,
        xnnpack_partitions=found.report.xnnpack.partitions,
        arena=found.report.memory.size,
        bridge_difference=conversion.bridge_difference,
        parity=verified.parity,
        figure="accuracy" if judge is None else judge.figure,
        accuracy_keras=verified.accuracy_keras,
        accuracy_tflite=verified.accuracy_tflite,
        drop=verified.drop,
        interval=verified.interval,
        max_drop=max_drop,
        class_drops=verified.classes,
        most_different=verified.most_different,
        layers=found.layers,
        calibration=facts,
        classes=labels,
        details=recorded,
    )
    _write(result, found.content)
    if not accepted:
        raise ExportError(_rejection(result))
    return result


def _takes_images(graph: Graph, inputs: Sequence[np.ndarray]) -> bool:
    """Whether there is one input, of images with pixels 0-255."""
    if len(graph.inputs) != 1:
        return False
    each = graph.inputs[0]
    images = len(each.shape) == 3 and each.shape[-1] in (1, 3)
    return images and (each.name in takes_pixels(graph) or looks_like_pixels(inputs[0]))


def _recorded(details: Mapping[str, object] | None) -> dict[str, Any]:
    try:
        return dict(json.loads(json.dumps(dict(details or {}))))
    except (TypeError, ValueError) as error:
        raise ExportError(f"Expected details that JSON can hold. Received: {error}.") from error


def _check_request(target: Path, precision: Precision, calibration: object, overwrite: bool) -> None:
    if precision.needs_calibration and calibration is None:
        raise ExportError(
            f"Expected calibration data for {precision.quantize}. Received: none. Pass a few hundred real samples: "
            "ranges measured on anything else would be wrong."
        )
    sidecar = target.with_name(target.name + ".json")
    for each in (target, sidecar):
        if each.is_dir() or (each.exists() and not overwrite):
            raise ExportError(f"{each} exists already. Choose another name, or allow overwriting (--force).")
    # Found now and not when the conversion is done.
    above = next(parent for parent in target.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ExportError(f"Cannot write {target}: {above} is not a folder that takes files. Choose another place.")


def _calibrate(
    calibration: Any, graph: Graph, verification: Sequence[np.ndarray], limit: int
) -> tuple[list[np.ndarray], CalibrationFacts]:
    arrays = gather(calibration, graph.inputs, limit)
    for each, array, real in zip(graph.inputs, arrays, verification, strict=True):
        check_real(array, real, each.name)
    facts_of = fingerprint(arrays)
    scaled = takes_pixels(graph)
    pinned = []
    for number, (each, array) in enumerate(zip(graph.inputs, arrays, strict=True)):
        if each.name in scaled and looks_like_pixels(array):
            arrays[number] = pin_pixel_range(array)
            pinned.append(each.name)
    return arrays, CalibrationFacts(count=len(arrays[0]), fingerprint=facts_of, pinned=tuple(pinned))


def _write(result: ExportResult, content: bytes) -> None:
    """Both or none: a file without its facts, or with those of another, must never lie there."""
    try:
        result.path.parent.mkdir(parents=True, exist_ok=True)
        # Both are whole before the first takes its name.
        with atomic_path(result.path) as file, atomic_path(result.sidecar) as sidecar:
            file.write_bytes(content)
            sidecar.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(f"Cannot write {result.path}: {error.strerror or error}.") from error


def _rejection(result: ExportResult) -> str:
    remedy = (
        "Calibrate with more and more varied samples, see in a layer report where it is lost and keep those layers in "
        "float, or take int16x8"
        if result.calibration is not None
        else "Check the model's layers"
    )
    if result.accuracy_keras is not None and result.accuracy_tflite is not None:
        lost = (
            f"loses {100 * result.drop:.2f} points of {result.figure} "
            f"({100 * result.accuracy_keras:.2f} % -> {100 * result.accuracy_tflite:.2f} %)"
        )
    else:
        lost = f"changes the top-1 class of {100 * result.drop:.2f} % of the samples"
    return (
        f"The {result.quantize} file {lost}; the limit is {100 * result.max_drop:.2f}. It is kept as {result.path}. "
        f"{remedy}, or allow a larger drop."
    )
