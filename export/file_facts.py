"""All that a `.tflite` file says of itself, without running it."""

from __future__ import annotations

import gzip
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from .file_macs import count_file_macs
from .metadata_reader import ModelMetadata, TensorMetadata, read_metadata, read_packed_files
from .tflite_file import TFLiteFile, read_tflite


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """An input or output: value = scale x (q - zero_point) where it is quantised, and what the metadata say of it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None
    metadata: TensorMetadata | None


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file is made of.

    Attributes:
        path: the file.
        size: bytes.
        gzip_size: bytes after gzip.
        sha256: of the file.
        inputs: in the file's order, by their signature names.
        outputs: likewise.
        operators: `(name, count)` of every kind, in the order of first use.
        macs: multiply-accumulates of one run.
        uncounted: operators whose multiply-accumulates the file does not say.
        stateful: it remembers from one call to the next.
        min_runtime_version: the oldest TensorFlow Lite that knows its operators, None where it is not said.
        metadata: what it says for phone toolkits, None where it says nothing.
        packed: packed files with their sizes in bytes.
    """

    path: Path
    size: int
    gzip_size: int
    sha256: str
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    operators: tuple[tuple[str, int], ...]
    macs: int
    uncounted: tuple[str, ...]
    stateful: bool
    min_runtime_version: str | None
    metadata: ModelMetadata | None
    packed: dict[str, int]


def file_facts(path: str | os.PathLike[str]) -> FileFacts:
    """Read what a file says of itself. No runtime is needed.

    Raises:
        ExportError: the file is missing or damaged, or its metadata are.
    """
    file = read_tflite(Path(path))
    content = file.path.read_bytes()
    metadata = read_metadata(content)
    macs = count_file_macs(file)
    return FileFacts(
        path=file.path,
        size=file.size,
        gzip_size=len(gzip.compress(content, compresslevel=9)),
        sha256=hashlib.sha256(content).hexdigest(),
        inputs=_entries(file, file.inputs, metadata.inputs if metadata else ()),
        outputs=_entries(file, file.outputs, metadata.outputs if metadata else ()),
        operators=file.operator_counts,
        macs=macs.macs,
        uncounted=macs.uncounted,
        stateful=file.stateful,
        min_runtime_version=file.min_runtime_version,
        metadata=metadata,
        packed={name: len(packed) for name, packed in read_packed_files(content).items()},
    )


def signature_names(file: TFLiteFile) -> dict[int, str]:
    """Names of tensors by their indices: those of the signature where it has them, the converter's for the others."""
    names = {index: tensor.name for index, tensor in enumerate(file.tensors)}
    if file.signature is not None:
        for named in (file.signature.inputs, file.signature.outputs):
            names |= {index: name for name, index in named.items()}
    return names


def _entries(file: TFLiteFile, indices: tuple[int, ...], said: tuple[TensorMetadata, ...]) -> tuple[TensorEntry, ...]:
    """Metadata are in the order of the graph; those that do not match in number are of another graph."""
    metadata = said if len(said) == len(indices) else (None,) * len(indices)
    names = signature_names(file)
    return tuple(
        TensorEntry(names[index], tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point, each)
        for index, each in zip(indices, metadata, strict=True)
        for tensor in (file.tensors[index],)
    )
