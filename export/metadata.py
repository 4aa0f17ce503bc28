"""The metadata inside a `.tflite` file: what phone toolkits read to feed it and to name its answers.

TensorFlow Lite Metadata is a FlatBuffer of its own in the file's metadata entry `TFLITE_METADATA`; the files that it
names, such as `labels.txt`, are a zip archive behind the model. MediaPipe Tasks, ML Kit, the TFLite Task Library and
Android Studio's import read both. Written here, read in `metadata_reader.py`, both in plain Python.

Schema: https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Literal

from kzoo.errors import ExportError

from ._flatbuffer_writer import Node, Scalar, Table, Vector, write
from .file_facts import signature_names
from .flatbuffer_edit import main_graph_size, with_metadata_entry
from .metadata_reader import (
    COLOR_SPACES,
    CONTENTS,
    ENTRY,
    FILE_KINDS,
    IDENTIFIER,
    AssociatedFile,
    ModelMetadata,
    TensorMetadata,
    archive_start,
)
from .tflite_file import TensorInfo, TFLiteFile

LABELS = "labels.txt"
# Nothing is written that a parser of the first version does not know.
_MIN_PARSER_VERSION = "1.0.0"
_NORMALIZATION = 1
# A file's bytes depend on what it says alone: the archive bears the earliest date that a zip can hold.
_DATE = (1980, 1, 1, 0, 0, 0)
_PIXELS = (0.0, 255.0)


def classifier_metadata(
    file: TFLiteFile,
    *,
    name: str,
    description: str = "",
    version: str = "",
    classes: Sequence[str] | None = None,
    kind: Literal["image", "sequence"] = "image",
    author: str = "",
    license: str = "",
    mean: float = 0.0,
    std: float = 1.0,
    logits: bool = False,
) -> ModelMetadata:
    """Say of a classifier's file what the toolkits want to know.

    The image inputs of kzoo's files take pixels 0-255 as they are, the model's own scaling being folded into its
    weights: mean 0 and standard deviation 1. MediaPipe Tasks feeds (pixel - mean) / std to a float input. To a uint8
    input it feeds the pixel itself, whatever mean, std and the tensor's quantisation say, which is right where that
    quantisation is 1 x (q - 0). It refuses int8 inputs and outputs, and images of one channel
    (https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/cc/vision/utils/image_tensor_specs.cc);
    ML Kit and the Task Library take float and uint8 only, too. There the metadata serves Android Studio, `kzoo info`
    and readers of one's own.

    Args:
        file: of the model, as `read_tflite` gives it.
        name: of the model.
        description: a sentence on it.
        version: of the model, free text.
        classes: their names by index of the first output. They become `labels.txt`, one a line.
        kind: what the inputs hold: images `(1, height, width, channels)`, or anything else.
        author: who made the model.
        license: of the model.
        mean: an image input takes (pixel - mean) / std, before quantisation.
        std: likewise.
        logits: the outputs are logits: their softmax, which the file leaves out, are the probabilities.

    Returns:
        What `add_metadata` writes; inputs and outputs are in the order of the file.

    Raises:
        ExportError: as many classes as the output does not have, or names that do not fit into lines.

    Example:
        >>> facts = classifier_metadata(read_tflite("digits.tflite"), name="digits", classes=list("0123456789"))
        >>> content = add_metadata(Path("digits.tflite").read_bytes(), facts)
    """
    names = signature_names(file)
    inputs = tuple(_input(names[index], file.tensors[index], kind, mean, std) for index in file.inputs)
    outputs = tuple(
        _output(names[index], file.tensors[index], classes if position == 0 else None, logits)
        for position, index in enumerate(file.outputs)
    )
    return ModelMetadata(
        name=name,
        description=description,
        version=version,
        author=author,
        license=license,
        inputs=inputs,
        outputs=outputs,
        labels=None if classes is None else tuple(classes),
        min_parser_version=_MIN_PARSER_VERSION,
    )


def _input(name: str, info: TensorInfo, kind: str, mean: float, std: float) -> TensorMetadata:
    if info.dtype in ("int32", "int64"):
        return TensorMetadata(name=name, description="Token ids.", content="feature")
    if kind == "sequence" or len(info.shape) != 4:
        return TensorMetadata(name=name, description="Features, one row a step.", content="feature")
    # The range is that of the stored numbers, which the schema has for float and uint8.
    ranges = {"float32": tuple((pixel - mean) / std for pixel in _PIXELS), "uint8": _PIXELS}
    limits = ranges.get(info.dtype, ())
    return TensorMetadata(
        name=name,
        description="Image with pixels 0-255.",
        content="image",
        color_space={1: "grayscale", 3: "RGB"}.get(info.shape[-1]),
        mean=(mean,),
        std=(std,),
        minimum=limits[:1],
        maximum=limits[1:],
    )


def _output(name: str, info: TensorInfo, classes: Sequence[str] | None, logits: bool) -> TensorMetadata:
    highest = None if logits else {"float32": 1.0, "uint8": 255.0}.get(info.dtype)
    described = "Logit of every class." if logits else "Probability of every class."
    files: tuple[AssociatedFile, ...] = ()
    if classes is not None:
        if len(classes) != info.shape[-1]:
            raise ExportError(
                f"Expected {info.shape[-1]} classes, as many as the output {name} has. Received: {len(classes)}."
            )
        files = (AssociatedFile(LABELS, "Names of the classes, one a line.", "axis labels"),)
    return TensorMetadata(
        name=name,
        description=described if classes is not None or logits else "",
        content="feature",
        minimum=() if highest is None else (0.0,),
        maximum=() if highest is None else (highest,),
        files=files,
    )


def add_metadata(content: bytes, metadata: ModelMetadata, files: Mapping[str, bytes] | None = None) -> bytes:
    """Put metadata into a `.tflite` file, in the place of what is there.

    The model itself is not touched: a small part is put in front of it and an archive behind.

    Args:
        content: the file.
        metadata: what to say, one entry for every input and output, in the file's order. Its labels become the file
            that an output names as its axis labels.
        files: more files to pack, by name.

    Returns:
        The new file.

    Raises:
        ExportError: not a `.tflite` file or a damaged one, entries that do not fit the inputs and outputs, labels that
            do not fit into lines or that no output names.
    """
    counts = main_graph_size(content)
    if counts != (len(metadata.inputs), len(metadata.outputs)):
        raise ExportError(
            f"Expected metadata for {counts[0]} inputs and {counts[1]} outputs. "
            f"Received: {len(metadata.inputs)} and {len(metadata.outputs)}."
        )
    packed = dict(files or {})
    if metadata.labels is not None:
        packed[_labels_file(metadata)] = _lines(metadata.labels)
    described = with_metadata_entry(content[: archive_start(content)], ENTRY, write(_model(metadata), IDENTIFIER))
    return described + _archive(packed, len(described)) if packed else described


def _labels_file(metadata: ModelMetadata) -> str:
    named = [file.name for output in metadata.outputs for file in output.files if file.kind == "axis labels"]
    if not named:
        raise ExportError("Expected an output with a file of axis labels for the labels. Received: none. Name one.")
    return named[0]


def _lines(labels: Sequence[str]) -> bytes:
    broken = [label for label in labels if label.splitlines() != [label]]
    if broken:
        raise ExportError(
            f"Expected class names of one line each for {LABELS}. Received: {broken[0]!r}. Rename the class."
        )
    return "".join(f"{label}\n" for label in labels).encode()


def _archive(files: Mapping[str, bytes], offset: int) -> bytes:
    """The files stored as they are, for readers that do not inflate, at places counted from the model's beginning."""
    whole = io.BytesIO(bytes(offset))
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    return whole.getvalue()[offset:]


def _table(**fields: Node | Scalar) -> Table:
    """A table with its fields by number (`_3=…`), without the empty ones, which are the schema's defaults."""
    return Table({int(number[1:]): value for number, value in fields.items() if value not in ("", ())})


def _model(metadata: ModelMetadata) -> Table:
    graph = _table(
        _2=tuple(_tensor(each) for each in metadata.inputs),
        _3=tuple(_tensor(each) for each in metadata.outputs),
    )
    return _table(
        _0=metadata.name,
        _1=metadata.description,
        _2=metadata.version,
        _3=(graph,),
        _4=metadata.author,
        _5=metadata.license,
        _7=metadata.min_parser_version or _MIN_PARSER_VERSION,
    )


def _tensor(tensor: TensorMetadata) -> Table:
    if len(tensor.mean) != len(tensor.std) or 0 in tensor.std:
        raise ExportError(
            f"Expected as many means as standard deviations, none of which is 0, of {tensor.name}. "
            f"Received: mean={tensor.mean}, std={tensor.std}."
        )
    units: tuple[Node, ...] = ()
    if tensor.mean:
        options = _table(_0=Vector("f", tensor.mean), _1=Vector("f", tensor.std))
        units = (_table(_0=Scalar("B", _NORMALIZATION), _1=options),)
    stats: Node = ()
    if tensor.minimum or tensor.maximum:
        stats = _table(_0=Vector("f", tensor.maximum), _1=Vector("f", tensor.minimum))
    return _table(
        _0=tensor.name,
        _1=tensor.description,
        _3=_content(tensor),
        _4=units,
        _5=stats,
        _6=tuple(
            _table(_0=file.name, _1=file.description, _2=Scalar("b", _number(FILE_KINDS, file.kind)))
            for file in tensor.files
        ),
    )


def _content(tensor: TensorMetadata) -> Node:
    if tensor.content is None:
        return ()
    properties = Table({0: Scalar("b", _number(COLOR_SPACES, tensor.color_space))} if tensor.color_space else {})
    return _table(_0=Scalar("B", _number(CONTENTS, tensor.content)), _1=properties)


def _number(names: tuple[str | None, ...], name: str | None) -> int:
    if name not in names:
        known = ", ".join(filter(None, names))
        raise ExportError(f"Expected one of {known} in the metadata. Received: {name!r}.")
    return names.index(name)
