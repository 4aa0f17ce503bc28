"""Read the metadata inside a `.tflite` file, whoever wrote it. See `metadata.py`."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from kzoo.errors import ExportError

from .flatbuffer_edit import metadata_entries
from .tflite_file import _read_bytes, _Table, _unpack

ENTRY = "TFLITE_METADATA"
IDENTIFIER = b"M001"
#: The schema's unions and enumerations, by their numbers. They grow at the end.
CONTENTS = (None, "feature", "image", "bounding box", "audio")
COLOR_SPACES = (None, "RGB", "grayscale")
FILE_KINDS = (
    None,
    "descriptions",
    "axis labels",
    "value labels",
    "score calibration",
    "vocabulary",
    "ScaNN index",
)
_NORMALIZATION = 1
#: Packed files are small texts; an archive that unfolds to more than this is not read.
_LARGEST_FILES = 64 << 20
_MOST_FILES = 1000
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What zipfile raises on archives that are damaged or encrypted, beside BadZipFile.
_ARCHIVE_ERRORS = (struct.error, zlib.error, EOFError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class AssociatedFile:
    """A packed file that a tensor's metadata names; `kind` is one of `FILE_KINDS`."""

    name: str
    description: str = ""
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """One input or output.

    Attributes:
        name: of the tensor, for people and for generated code.
        description: what it holds.
        content: `"feature"`, `"image"`, `"bounding box"`, `"audio"`, or None where it is not said.
        color_space: `"RGB"` or `"grayscale"` of an image.
        mean: the input takes (value - mean) / std; one number for all channels or one each; empty where it is not said.
        std: likewise.
        minimum: smallest number in the tensor, for all channels or one each; empty where it is not said.
        maximum: likewise.
        files: packed files that belong to it.
    """

    name: str = ""
    description: str = ""
    content: str | None = None
    color_space: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()
    files: tuple[AssociatedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a file says of its model.

    Attributes:
        name: of the model.
        description: a sentence on it.
        version: of the model, free text.
        author: who made it.
        license: of the model.
        inputs: in the order of the file, which need not be that of the Keras model.
        outputs: likewise.
        labels: names of the classes by index, None where no output names a file of them.
        min_parser_version: the oldest parser that knows all that is said.
    """

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    inputs: tuple[TensorMetadata, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()
    labels: tuple[str, ...] | None = None
    min_parser_version: str = ""


def read_metadata(source: str | os.PathLike[str] | bytes) -> ModelMetadata | None:
    """Read a file's metadata.

    Args:
        source: the path of a `.tflite` file, or its content.

    Returns:
        What it says, None where it says nothing.

    Raises:
        ExportError: not a `.tflite` file, or metadata that are damaged.
    """
    content = _content(source)
    blob = metadata_entries(content).get(ENTRY)
    if blob is None:
        return None
    try:
        if blob[4:8] != IDENTIFIER:
            raise ValueError("no metadata")
        return _model(_Table(blob, _unpack(blob, "<I", 0)), read_packed_files(content))
    except (struct.error, IndexError, ValueError) as error:
        raise ExportError(
            f"Expected whole TFLite metadata. Received: damaged ones ({error}). Export the file again."
        ) from error


def read_packed_files(source: str | os.PathLike[str] | bytes) -> dict[str, bytes]:
    """Read the files that are packed behind a model, such as `labels.txt`. Nothing is written to disk.

    Args:
        source: the path of a `.tflite` file, or its content.

    Returns:
        Their contents by name, in the archive's order; empty where there are none.

    Raises:
        ExportError: an archive that is damaged, encrypted, or larger than 64 MiB when unpacked.
    """
    content = _content(source)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _LARGEST_FILES:
                raise ExportError(
                    f"Expected at most {_LARGEST_FILES >> 20} MiB of packed files. Received: an archive of more."
                )
            if any(entry.compress_type not in _COMPRESSIONS for entry in entries):
                raise ValueError("compressed in an unusual way")
            # An entry gives no more than the size it claims, whatever its data would unfold to.
            return {entry.filename: archive.read(entry) for entry in entries}
    except zipfile.BadZipFile as error:
        if _end_of_archive(content) < 0:
            return {}
        raise _damaged_archive(error) from error
    except _ARCHIVE_ERRORS as error:
        raise _damaged_archive(error) from error


def archive_start(content: bytes) -> int:
    """Where the archive begins: the length of the file without it.

    Raises:
        ExportError: a damaged archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return min((entry.header_offset for entry in archive.infolist()), default=archive.start_dir)
    except zipfile.BadZipFile as error:
        if _end_of_archive(content) < 0:
            return len(content)
        raise _damaged_archive(error) from error
    except _ARCHIVE_ERRORS as error:
        raise _damaged_archive(error) from error


def _end_of_archive(content: bytes) -> int:
    """Position of the record that ends an archive without a comment, -1 where there is none."""
    return content.find(b"PK\5\6", len(content) - 22)


def _damaged_archive(error: Exception) -> ExportError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ExportError(f"Expected whole packed files. Received: a damaged archive ({reason}). Export the file again.")


def _content(source: str | os.PathLike[str] | bytes) -> bytes:
    return source if isinstance(source, bytes) else _read_bytes(Path(source))


def _model(table: _Table, files: dict[str, bytes]) -> ModelMetadata:
    graphs = table.tables(3)
    inputs = tuple(_tensor(each) for each in graphs[0].tables(2)) if graphs else ()
    outputs = tuple(_tensor(each) for each in graphs[0].tables(3)) if graphs else ()
    named = [file.name for output in outputs for file in output.files if file.kind in ("axis labels", "value labels")]
    if named and named[0] not in files:
        raise ValueError(f"{named[0]} is not packed")
    labels = files[named[0]] if named else None
    return ModelMetadata(
        name=table.text(0),
        description=table.text(1),
        version=table.text(2),
        author=table.text(4),
        license=table.text(5),
        inputs=inputs,
        outputs=outputs,
        labels=None if labels is None else tuple(line.rstrip("\r") for line in _lines(labels)),
        min_parser_version=table.text(7),
    )


def _lines(content: bytes) -> list[str]:
    """Only a line feed ends a line, as for the toolkits: a name may hold the other signs that Python splits at."""
    lines = content.decode().split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _tensor(table: _Table) -> TensorMetadata:
    content, stats = table.table(3), table.table(5)
    kind = content.scalar(0, "B") if content else 0
    properties = content.table(1) if content else None
    is_image = properties is not None and _named(CONTENTS, kind) == "image"
    units = (unit for unit in table.tables(4) if unit.scalar(0, "B") == _NORMALIZATION)
    options = next((unit.table(1) for unit in units), None)
    return TensorMetadata(
        name=table.text(0),
        description=table.text(1),
        content=_named(CONTENTS, kind),
        color_space=_named(COLOR_SPACES, properties.scalar(0, "b")) if properties and is_image else None,
        mean=options.vector(0, "f") if options else (),
        std=options.vector(1, "f") if options else (),
        maximum=stats.vector(0, "f") if stats else (),
        minimum=stats.vector(1, "f") if stats else (),
        files=tuple(
            AssociatedFile(file.text(0), file.text(1), _named(FILE_KINDS, file.scalar(2, "b")))
            for file in table.tables(6)
        ),
    )


def _named(names: tuple[str | None, ...], number: int) -> str | None:
    """None for what a later schema may have added."""
    return names[number] if 0 <= number < len(names) else None
