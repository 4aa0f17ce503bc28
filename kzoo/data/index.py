"""Every file of a folder decoded once, and remembered while it does not change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kzoo.errors import DataError, some
from kzoo.files import write_text

from .medium import FileRecord, Medium, UnreadableFileError
from .system import cache_path, spans, thread_pool

logger = logging.getLogger(__name__)

_BATCH = 1024


def index_files(root: Path, paths: Sequence[str], medium: Medium) -> list[FileRecord]:
    """Decode each file once, by threads, and tell what it is.

    What was found is stored under the user's cache, keyed by the folder's absolute path, and used again for files whose
    path, size and time of change are the same.

    Args:
        root: A folder.
        paths: Files under it, relative, with `/`.
        medium: What they are.

    Returns:
        One record a path, in the same order; those of unreadable files carry an `error`.
    """
    root = root.resolve()
    known = _load(root, medium)
    found: dict[str, FileRecord] = {}
    try:
        for record in _inspect_all(root, paths, known, medium):
            found[record.path] = record
    finally:
        # Also when the user breaks off: a large folder takes minutes, which need not be spent twice.
        if any(known.get(path) is not record for path, record in found.items()):
            _save(root, {**known, **found} if len(found) < len(paths) else found, medium)
    return [found[path] for path in paths]


def _inspect_all(
    root: Path, paths: Sequence[str], known: dict[str, FileRecord], medium: Medium
) -> Iterator[FileRecord]:
    new = 0
    # In batches, since the pool takes up every task at once and a folder may hold a million.
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]

        def inspect(places: range, batch: Sequence[str] = batch) -> list[FileRecord]:
            return [_inspect(root, batch[place], known.get(batch[place]), medium) for place in places]

        for records in thread_pool().map(inspect, spans(len(batch))):
            new += sum(known.get(record.path) is not record for record in records)
            yield from records
        if new >= _BATCH:
            logger.info("checked %d of %d %s under %s", start + len(batch), len(paths), medium.many, root)


def _inspect(root: Path, path: str, known: FileRecord | None, medium: Medium) -> FileRecord:
    file = root / path
    try:
        status = file.stat()
        if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return known
        if not stat.S_ISREG(status.st_mode):
            return FileRecord(path, 0, 0, "", error="not a regular file")
        content = file.read_bytes()
    except OSError as error:
        return FileRecord(path, -1, 0, "", error=error.strerror or str(error))
    record = FileRecord(path, status.st_size, status.st_mtime_ns, hashlib.sha256(content).hexdigest())
    try:
        return dataclasses.replace(record, facts=medium.inspect(content))
    except UnreadableFileError as error:
        return dataclasses.replace(record, error=str(error))


def _file(root: Path) -> Path:
    return cache_path("index") / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def _load(root: Path, medium: Medium) -> dict[str, FileRecord]:
    try:
        stored = json.loads(_file(root).read_text())
        if stored["version"] != medium.version:
            return {}
        return {fields[0]: _to_record(fields, medium) for fields in stored["files"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError) as error:
        logger.info("the index of %s is made anew: %s", root, error)
        return {}


def _to_record(fields: Sequence[Any], medium: Medium) -> FileRecord:
    record = FileRecord(*fields)
    return record if record.facts is None else dataclasses.replace(record, facts=medium.facts(*record.facts))


def _save(root: Path, records: dict[str, FileRecord], medium: Medium) -> None:
    files = [dataclasses.astuple(record) for record in records.values() if record.digest]
    file = _file(root)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # ASCII, since a file name may hold bytes that are no UTF-8.
        write_text(file, json.dumps({"version": medium.version, "root": str(root), "files": files}))
    except OSError as error:
        logger.warning("the index of %s could not be stored: %s", root, error.strerror or error)


def check_readable(root: Path, records: Sequence[FileRecord], medium: Medium, limit: float = 0.01) -> tuple[str, ...]:
    """Name the unreadable files, once as a warning.

    Returns:
        `path: reason` of each.

    Raises:
        DataError: When they are more than `limit` of all.
    """
    broken = tuple(f"{record.path}: {record.error}" for record in records if record.error)
    if not broken:
        return ()
    named = some(broken, between="; ")
    if len(broken) > limit * len(records):
        raise DataError(
            f"Expected at most {limit:.0%} unreadable {medium.many} under {root}. "
            f"Received {len(broken)} of {len(records)}: {named}. Repair or remove them."
        )
    logger.warning("skipped %d of %d %s under %s: %s", len(broken), len(records), medium.many, root, named)
    return broken
