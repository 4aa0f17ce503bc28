"""Every image of a folder decoded once, and remembered while the file does not change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL

from kzoo.errors import DataError
from kzoo.files import write_text

from .images import ImageFacts, UnreadableImageError, inspect_image
from .system import cache_path, spans, thread_pool

logger = logging.getLogger(__name__)

# What was found holds for this version of the rules and of Pillow.
_VERSION = f"1 with Pillow {PIL.__version__}"
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What is known of one file.

    Attributes:
        path: Relative to the root, with `/`.
        size: Bytes.
        mtime_ns: Time of the last change.
        digest: SHA-256 of the content, empty for a file that could not be opened.
        height: Of the upright image in pixels; 0 where it is unreadable.
        width: Likewise.
        grey: Whether the image has no colour.
        error: Why it is unreadable, empty for a sound image.
    """

    path: str
    size: int
    mtime_ns: int
    digest: str
    height: int = 0
    width: int = 0
    grey: bool = False
    error: str = ""


def index_images(root: Path, paths: Sequence[str]) -> list[ImageRecord]:
    """Decode each image once, by threads, and tell what it is.

    What was found is stored under the user's cache, keyed by the folder's absolute path, and used again for files whose
    path, size and time of change are the same.

    Args:
        root: A folder.
        paths: Files under it, relative, with `/`.

    Returns:
        One record a path, in the same order; those of unreadable files carry an `error`.
    """
    root = root.resolve()
    known = _load(root)
    found: dict[str, ImageRecord] = {}
    try:
        for record in _inspect_all(root, paths, known):
            found[record.path] = record
    finally:
        # Also when the user breaks off: a large folder takes minutes, which need not be spent twice.
        if any(known.get(path) is not record for path, record in found.items()):
            _save(root, {**known, **found} if len(found) < len(paths) else found)
    return [found[path] for path in paths]


def _inspect_all(root: Path, paths: Sequence[str], known: dict[str, ImageRecord]) -> Iterator[ImageRecord]:
    new = 0
    # In batches, since the pool takes up every task at once and a folder may hold a million.
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]

        def inspect(places: range, batch: Sequence[str] = batch) -> list[ImageRecord]:
            return [_inspect(root, batch[place], known.get(batch[place])) for place in places]

        for records in thread_pool().map(inspect, spans(len(batch))):
            new += sum(known.get(record.path) is not record for record in records)
            yield from records
        if new >= _BATCH:
            logger.info("checked %d of %d images under %s", start + len(batch), len(paths), root)


def _inspect(root: Path, path: str, known: ImageRecord | None) -> ImageRecord:
    file = root / path
    try:
        status = file.stat()
        if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return known
        if not stat.S_ISREG(status.st_mode):
            return ImageRecord(path, 0, 0, "", error="not a regular file")
        content = file.read_bytes()
    except OSError as error:
        return ImageRecord(path, -1, 0, "", error=error.strerror or str(error))
    record = ImageRecord(path, status.st_size, status.st_mtime_ns, hashlib.sha256(content).hexdigest())
    try:
        facts: ImageFacts = inspect_image(content)
    except UnreadableImageError as error:
        return dataclasses.replace(record, error=str(error))
    return dataclasses.replace(record, height=facts.height, width=facts.width, grey=facts.grey)


def _file(root: Path) -> Path:
    return cache_path("index") / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.json"


def _load(root: Path) -> dict[str, ImageRecord]:
    try:
        stored = json.loads(_file(root).read_text())
        if stored["version"] != _VERSION:
            return {}
        return {fields[0]: ImageRecord(*fields) for fields in stored["images"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError) as error:
        logger.info("the image index of %s is made anew: %s", root, error)
        return {}


def _save(root: Path, records: dict[str, ImageRecord]) -> None:
    images = [dataclasses.astuple(record) for record in records.values() if record.digest]
    file = _file(root)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # ASCII, since a file name may hold bytes that are no UTF-8.
        write_text(file, json.dumps({"version": _VERSION, "root": str(root), "images": images}))
    except OSError as error:
        logger.warning("the image index of %s could not be stored: %s", root, error.strerror or error)


def check_readable(root: Path, records: Sequence[ImageRecord], limit: float = 0.01) -> tuple[str, ...]:
    """Name the unreadable images, once as a warning.

    Returns:
        `path: reason` of each.

    Raises:
        DataError: When they are more than `limit` of all.
    """
    broken = tuple(f"{record.path}: {record.error}" for record in records if record.error)
    if not broken:
        return ()
    named = "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
    if len(broken) > limit * len(records):
        raise DataError(
            f"Expected at most {limit:.0%} unreadable images under {root}. "
            f"Received {len(broken)} of {len(records)}: {named}. Repair or remove them."
        )
    logger.warning("skipped %d of %d images under %s: %s", len(broken), len(records), root, named)
    return broken
