"""Class folders of images, with or without folders of splits above them."""

from __future__ import annotations

import hashlib
import logging
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kzoo.errors import DataError

from .dataset import SPLITS, Dataset, Labels
from .image_split import FileSplit
from .images import SUFFIXES
from .index import ImageRecord, check_readable, index_images
from .labels import check_printable, natural_key
from .options import Options
from .spec import InputSpec
from .splitting import assign

logger = logging.getLogger(__name__)

_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_EXPECTED = "Put the images (JPEG, PNG, BMP or WebP) of each class into a folder of its own."


@dataclass(frozen=True, slots=True)
class _Part:
    """The sound images of one given split, ordered by class and path."""

    records: list[ImageRecord]
    labels: Labels


def open_folder(root: Path, options: Options) -> Dataset:
    """Open a folder of class folders.

    Images may lie deeper inside their class folder. Hidden files and files that are no JPEG, PNG, BMP or WebP
    by their suffix are ignored. Every image is decoded once to see that it is whole; unreadable ones are skipped.

    Raises:
        DataError: No class folders, one class only, a class without images, splits with different classes,
            more than 1 % unreadable images.
    """
    if options.kind != "image":
        raise DataError(f"Expected a dataset of sequences. Received: {root}, a folder of images. Use an .npz file.")
    source, root = str(root), root.absolute()
    files, classes = _find_files(root)
    given = {split: [path for paths in by_class.values() for path in paths] for split, by_class in files.items()}
    records = index_images(root, [path for paths in given.values() for path in paths])
    skipped = check_readable(root, records)
    sound = {record.path: record for record in records if not record.error}
    parts = {split: _sound_part(by_class, sound) for split, by_class in files.items()}
    spec = _choose_spec(root, sound.values(), options)
    stored = round(statistics.median(record.height * record.width for record in sound.values()))
    labels = {split: part.labels for split, part in parts.items()}
    splits: dict[str, FileSplit] = {}
    for split, share in assign(labels, classes, options.fractions, options.seed).items():
        part = parts[share.part]
        paths = [part.records[row].path for row in share.rows]
        splits[split] = FileSplit(root, paths, part.labels[share.rows], spec, options.cache, stored)
    return Dataset(
        name=root.resolve().name,
        source=source,
        classes=tuple(classes),
        input=spec,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        fingerprint=_fingerprint(sound.values()),
        skipped=skipped,
    )


def _find_files(root: Path) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """Give the image files (relative to the root) by split and class, and the class names."""
    folders = _find_splits(root)
    class_folders = {split: _subfolders(folder) for split, folder in folders.items()}
    classes = sorted(class_folders["train"], key=natural_key)
    if not classes:
        raise DataError(f"Expected class folders in {folders['train']}. Received none. {_EXPECTED}")
    if len(classes) < 2:
        raise DataError(f"Expected at least two class folders in {folders['train']}. Received only {classes[0]!r}.")
    check_printable(classes)
    for split, found in class_folders.items():
        _check_same_classes(folders[split], found, classes)
    seen = _Seen([*{root, *folders.values()}, *(path for found in class_folders.values() for path in found.values())])
    files = {
        split: {name: _images(root, found[name], seen) for name in classes} for split, found in class_folders.items()
    }
    return files, classes


def _find_splits(root: Path) -> dict[str, Path]:
    """Give the folders of the splits; where there are none, the root is all of `train`."""
    subfolders = _subfolders(root)
    splits: dict[str, Path] = {}
    for name, folder in subfolders.items():
        split = _SPLIT_NAMES.get(name.lower())
        # A class may be called "train": a split is what has folders inside.
        if split is None or not _subfolders(folder):
            continue
        if split in splits:
            raise DataError(f"Expected one {split} folder in {root}. Received: {splits[split].name} and {name}.")
        splits[split] = folder
    if not splits:
        return {"train": root}
    if "train" not in splits:
        raise DataError(f"Expected train/ beside {', '.join(path.name for path in splits.values())}/ in {root}.")
    ignored = sorted(set(subfolders) - {folder.name for folder in splits.values()}, key=natural_key)
    if ignored:
        logger.warning("ignored beside %s, since they hold no class folders of a split: %s", splits["train"], ignored)
    return {split: splits[split] for split in SPLITS if split in splits}


def _subfolders(folder: Path) -> dict[str, Path]:
    return {entry.name: Path(entry.path) for entry in _entries(folder) if _is_folder(entry)}


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """List what is not hidden, by name."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as error:
        raise DataError(f"Cannot read the folder {folder}: {error.strerror or error}.") from error
    return sorted(shown, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself, say


def _is_image(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in SUFFIXES


class _Seen:
    """Folders that were walked, by what they really are, so that links neither loop nor mix classes."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders: dict[tuple[int, int], Path] = {}
        for folder in folders:
            other = self._folders.get(_identity(folder))
            if other is not None:
                raise DataError(f"Expected different folders. Received: {other} and {folder}, which are the same.")
            self._folders[_identity(folder)] = folder

    def add(self, folder: Path) -> bool:
        """Say whether the folder is new."""
        identity = _identity(folder)
        new = identity not in self._folders
        self._folders.setdefault(identity, folder)
        return new


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _images(root: Path, class_folder: Path, seen: _Seen) -> list[str]:
    found: list[str] = []
    waiting = [class_folder]
    while waiting:
        for entry in _entries(waiting.pop()):
            path = Path(entry.path)
            if _is_folder(entry):
                if seen.add(path):
                    waiting.append(path)
            elif _is_image(entry):
                found.append(path.relative_to(root).as_posix())
    if not found:
        raise DataError(f"Expected images in the class folder {class_folder}. Received none. {_EXPECTED}")
    return sorted(found)


def _check_same_classes(folder: Path, found: Iterable[str], classes: Sequence[str]) -> None:
    missing, strange = set(classes) - set(found), set(found) - set(classes)
    if missing or strange:
        differences = [f"{name} is missing" for name in sorted(missing, key=natural_key)]
        differences += [f"{name} is not in train" for name in sorted(strange, key=natural_key)]
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise DataError(f"Expected the classes of train in {folder}. Received: {', '.join(differences[:5])}{more}.")


def _sound_part(by_class: Mapping[str, list[str]], sound: Mapping[str, ImageRecord]) -> _Part:
    records: list[ImageRecord] = []
    labels: list[int] = []
    for label, (name, paths) in enumerate(by_class.items()):
        readable = [sound[path] for path in paths if path in sound]
        if not readable:
            raise DataError(f"Expected sound images of class {name!r}. Received only unreadable ones: {paths[0]}.")
        records += readable
        labels += [label] * len(readable)
    return _Part(records, np.array(labels, np.int64))


def _choose_spec(root: Path, records: Iterable[ImageRecord], options: Options) -> InputSpec:
    sizes = {(record.height, record.width) for record in records}
    channels = options.channels or (1 if all(record.grey for record in records) else 3)
    largest = options.default_size
    shared = next(iter(sizes)) if len(sizes) == 1 else None
    if shared and largest and (shared[0] > largest[0] or shared[1] > largest[1]):
        shared = None
    size = options.size or shared or largest
    if size is None:
        raise DataError(f"Expected a size for the images in {root}, which have {len(sizes)}. Say size=(height, width).")
    return InputSpec(kind="image", shape=(*size, channels), fit=options.fit)


def _fingerprint(records: Iterable[ImageRecord]) -> str:
    digest = hashlib.sha256()
    for record in sorted(records, key=lambda record: record.path):
        digest.update(os.fsencode(record.path) + b"\0" + record.digest.encode() + b"\n")
    return digest.hexdigest()
