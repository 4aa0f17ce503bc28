"""From a run to a verified device file: data, classes and input for the export room."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo import export
from kzoo.errors import ExportError, UsageError, nearest
from kzoo.export.kits import Platform, check_free, write_kit
from kzoo.export_samples import CALIBRATION_SAMPLES, samples_of, samples_of_arrays
from kzoo.files import write_bytes
from kzoo.ranker import ranker
from kzoo.source import Source, open_source

if TYPE_CHECKING:
    from kzoo.export import Converter, ExportResult, IoType, PerTensor, Quantization


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a file is to run: the runtime or delegate it must suit, the kit it gets, its inputs in an integer file."""

    runtime: str | None = None
    kit: Platform | None = None
    io: IoType | None = None


#: What `target` names.
PLACES: Mapping[str, _Place] = {
    "litert": _Place("litert"),
    "tflite-runtime": _Place("tflite-runtime"),
    "nnapi": _Place("nnapi"),
    "gpu": _Place("gpu"),
    "tflm": _Place("tflm", kit="tflm"),
    "android": _Place("litert", kit="android"),
    "ios": _Place("litert", kit="ios"),
    # LiteRT.js takes floats only.
    "web": _Place("litert", kit="web", io="float32"),
    "rpi": _Place("litert", kit="rpi"),
}


def export_model(
    source: Any,
    path: str | Path | None = None,
    *,
    quantize: Quantization = "fp32",
    io: IoType | None = None,
    per_tensor: PerTensor | None = None,
    keep_float: Sequence[str] = (),
    logits: bool = False,
    target: str | None = None,
    min_runtime: str | None = None,
    data: Any = None,
    max_drop: float = 0.01,
    calibration_samples: int = CALIBRATION_SAMPLES,
    seed: int = 0,
    metadata: bool | None = None,
    layer_report: bool = False,
    gzip: bool = False,
    overwrite: bool = False,
    timeout: float = 600,
    memory_limit: int | None = None,
    converter: Converter | None = None,
) -> ExportResult:
    """Write a `.tflite` file that has been run and behaves like the Keras model.

    Calibration samples come from the training split and verification samples from the validation split; the test split
    is left for `kzoo.evaluate`. Of a model that recommends the file is its `ranker`: an id of a user in, the scores of
    all items out.

    Args:
        source: A run directory, a `.keras` file, a `Run`, or any functional or Sequential `keras.Model`.
        path: The file. Default: `model.QUANTIZE.tflite` in the run, or beside the `.keras` file.
        quantize: `"fp32"`; `"fp16"` for weights in half precision; `"dynamic"` for weights in int8 that are computed
            with as the runtime can; `"int8"` for integers throughout, input and output included; `"int16x8"` for
            activations of 16 bits and weights of 8.
        io: Type of inputs and outputs: `"int8"`, `"uint8"` or `"float32"` for int8, `"int16"` or `"float32"` for
            int16x8. Default: the first. Token ids stay int32.
        per_tensor: Which layers' weights have one step a tensor: `"none"`, `"dense"` or `"all"`. Default: none of them,
            but dense ones where a GRU is written out step by step.
        keep_float: Names of layers that an int8 file computes in float32.
        logits: End the file at the logits, without the softmax, for an app that only ranks the classes. `kzoo.evaluate`
            and `kzoo.predict` apply it to the answers of such a file.
        target: Where the file must run: `"litert"`, `"tflite-runtime"`, `"tflm"`, `"nnapi"` or `"gpu"`, see
            `kzoo.check`. With `"tflm"`, `"android"`, `"ios"`, `"web"` or `"rpi"` a kit is written beside the file, see
            `kit_folder`: the file with a small, complete program for that platform.
        min_runtime: The oldest TensorFlow Lite runtime that must run the file, such as `"2.14"`.
        data: A dataset's name or path, or arrays `(x, y)`. Default: the data of the run. An array `x` alone is split in
            two, for calibration and for verification by top-1 agreement. For a model of several inputs `x` is a mapping
            by input name, alone or with labels as `(x, y)`.
        max_drop: Largest accepted drop of accuracy (without labels: of agreement), 0.01 being one point. For a model
            that gives back its input: of the area under ROC, or of the explained variance where validation has no
            anomalies. For one that recommends: of the recall@10.
        calibration_samples: How many samples set the ranges of int8 and int16x8.
        seed: Of the choice of samples.
        metadata: Put labels, input normalisation and a description into the file, about 1 KB. Default: yes, but for
            `"tflm"`, where nothing reads them.
        layer_report: Compare the quantised file with a float one layer by layer.
        gzip: Also write the file gzipped, see `packed_file` and `kzoo.export.pack_gzip`.
        overwrite: Replace a file that stands at `path`, and what is gzipped beside it.
        timeout: Seconds the conversion may take.
        memory_limit: Bytes of memory the conversion may take. Default: all but a tenth of the machine's.
        converter: The process that converts, started ahead, see `kzoo.export.Converter`. Default: it is started when it
            is needed.

    Returns:
        What was written and how it was measured.

    Raises:
        ExportError: The model cannot be converted, the file does not behave like it and is kept as `.rejected`, or what
            would be written is there already.
    """
    if not 0 <= max_drop <= 1:
        raise UsageError(f"Expected a drop of 0 to 1, which is 100 points, received {max_drop:g}.")
    if calibration_samples < 1:
        raise UsageError(f"Expected at least one calibration sample, received {calibration_samples}.")
    given = _loaded(source)
    opened = None if _takes_arrays_only(given, data) else open_source(given)
    model = given if opened is None else opened.model
    if model is None:
        raise UsageError(f"Expected a run or a .keras file to export, received {source}, which is exported already.")
    file = Path(path) if path is not None else _default_path(opened, source, quantize)
    if file.suffix != ".tflite":
        raise UsageError(f"Expected a file name that ends in .tflite, received {file}. Choose another with --out.")
    place = _find_place(target)
    packed = packed_file(file)
    stale = packed.is_file()
    if gzip and packed.exists() and not (overwrite and stale):
        raise ExportError(f"{packed} exists already. Choose another name, or allow overwriting (--force).")
    if place.kit:
        # Found now and not when the file is done.
        check_free(kit_folder(file, place.kit))
        _check_kit(opened, place.kit)
    if opened is None or isinstance(data, np.ndarray):
        samples = samples_of_arrays(data, opened)
    else:
        samples = samples_of(opened, opened.dataset(data), calibration_samples, seed)
    learned = _learned(opened) if quantize == "int8" else {}
    result = export.export_model(
        ranker(model) if opened is not None and opened.recommender else model,
        file,
        quantize=quantize,
        io=place.io if io is None and quantize in ("int8", "int16x8") else io,
        per_tensor=per_tensor or learned.get("per_tensor"),
        keep_float=keep_float,
        ranges=learned.get("ranges"),
        logits=logits,
        target=place.runtime,
        min_runtime=min_runtime,
        calibration=samples.calibration,
        calibration_samples=calibration_samples,
        verification=(samples.inputs, samples.labels),
        names=samples.names,
        judge=samples.judge,
        max_drop=max_drop,
        classes=_named_outputs(opened),
        metadata=metadata if metadata is not None else place.kit != "tflm",
        description=samples.description,
        version=samples.version,
        details=samples.details,
        layer_report=layer_report,
        overwrite=overwrite,
        timeout=timeout,
        memory_limit=memory_limit,
        converter=converter,
    )
    if place.kit:
        write_kit(result, place.kit, kit_folder(result.path, place.kit))
    if gzip or (overwrite and stale):
        write_bytes(packed, export.pack_gzip(result.path.read_bytes()))
    return result


def packed_file(file: Path) -> Path:
    """Where an exported file lies gzipped: `model.int8.tflite` in `model.int8.tflite.gz`."""
    return file.with_name(file.name + ".gz")


def kit_folder(file: Path, platform: str) -> Path:
    """Where the kit of an exported file lies: `model.int8.tflite` has that for Android in `model.int8.android`."""
    return file.with_suffix(f".{platform}")


def _check_kit(opened: Source | None, platform: str) -> None:
    """Make sure that a kit's program can prepare the model's input."""
    kinds = (
        {}
        if opened is None
        else {
            "pairs": opened.comparison,
            "anomalies": opened.detector,
            "interactions": opened.recommender,
            "sounds": opened.input.sound,
            "texts": opened.input.text,
        }
    )
    held = next((many for many, given in kinds.items() if given), None)
    if held is not None:
        raise UsageError(
            f"Expected a model of images or measurements for the {platform} kit, received one of {held}: no kit "
            f"computes what comes before or after such a model. Export without --target; the sidecar says what to do."
        )


def _find_place(target: str | None) -> _Place:
    if target is None:
        return _Place()
    if target not in PLACES:
        raise UsageError(f"Unknown target {target!r}. {nearest(target, PLACES)}")
    return PLACES[target]


def _loaded(source: Any) -> Any:
    """A `.keras` file that belongs to no run as the model that it is; anything else as it was given."""
    from kzoo.run import is_run
    from kzoo.zoo import load_keras_file

    alone = isinstance(source, str | Path) and Path(source).suffix == ".keras" and not is_run(Path(source).parent)
    return load_keras_file(source) if alone else source


def _takes_arrays_only(source: Any, data: Any) -> bool:
    """Whether a model is fed as no dataset is: several inputs, flat vectors, token ids, several outputs."""
    if not hasattr(source, "inputs") or not isinstance(data, np.ndarray | tuple | Mapping):
        return False
    shapes = [len(tensor.shape) for tensor in source.inputs]
    one_classifier = len(source.outputs) == 1 and len(source.outputs[0].shape) == 2
    return len(shapes) != 1 or shapes[0] not in (3, 4) or not one_classifier


def _named_outputs(opened: Source | None) -> Sequence[str] | None:
    """What the values of the output are called: classes or items; None where they are neither."""
    if opened is None:
        return None
    return (opened.classes if opened.recommender is None else opened.recommender.known.items) or None


def _learned(opened: Source | None) -> dict[str, Any]:
    """What quantisation-aware training has settled of a run's int8 file."""
    facts = opened.run.info.compression if opened is not None and opened.run is not None else None
    return {"ranges": facts.ranges, "per_tensor": facts.per_tensor} if facts is not None and facts.ranges else {}


def _default_path(opened: Source | None, source: Any, quantize: str) -> Path:
    if opened is not None and opened.run is not None:
        return opened.run.path / f"model.{quantize}.tflite"
    if isinstance(source, str | Path):
        return Path(source).with_suffix(f".{quantize}.tflite")
    raise UsageError("Expected a path for the file of a model that stands in no run, received none.")
