"""`.npz` files, without reading what can stay on disk."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from kzoo.errors import DataError

from .dataset import Array
from .system import available_memory

_LOCAL_HEADER = struct.Struct("<26x2H")  # up to the lengths of the file name and of the extra field
_OBJECTS = "holds Python objects, which are never loaded since they can run code: store numbers or strings"


def read_npz(path: Path) -> dict[str, Array]:
    """Open the arrays of a `.npz` file by name.

    Arrays that `numpy.savez` stored uncompressed are mapped from the file: they take no memory until rows are read,
    and may be larger than it. Those of `numpy.savez_compressed` are unpacked into memory. Pickled objects are
    never loaded.

    Raises:
        DataError: A damaged file, Python objects, a compressed array that does not fit into memory.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename.removesuffix(".npy"): _read_member(path, file, archive, info) for info in members}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, NotImplementedError) as error:
        hint = _OBJECTS if "Object arrays" in str(error) else f"cannot be read ({' '.join(str(error).split())})"
        raise DataError(f"Expected a .npz file as numpy.savez writes it. Received: {path}, which {hint}.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error


def _read_member(path: Path, file: BinaryIO, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    if info.compress_type == zipfile.ZIP_STORED:
        mapped = _map_member(path, file, info)
        if mapped is not None:
            return mapped
    if info.file_size > available_memory():
        raise DataError(
            f"{info.filename} in {path} takes {info.file_size / 1e9:.1f} GB unpacked, more than there is memory. "
            "Store it with numpy.savez instead of savez_compressed: then it is read from the file."
        )
    with archive.open(info) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _map_member(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> Array | None:
    """Map an uncompressed member, or None where its form does not allow it."""
    file.seek(info.header_offset)
    name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    file.seek(name_length + extra_length, 1)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        return None
    if dtype.hasobject or dtype.kind == "U" or 0 in shape or not shape:
        return None
    order: Literal["F", "C"] = "F" if fortran_order else "C"
    mapped: Array = np.memmap(path, dtype=dtype, mode="r", offset=file.tell(), shape=shape, order=order)
    return mapped
