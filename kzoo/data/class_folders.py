"""Walk class folders, with or without folders of splits above them."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from kzoo.errors import DataError, some

from .dataset import SPLITS
from .labels import check_printable, natural_key
from .medium import Medium

logger = logging.getLogger(__name__)

_SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def find_files(
    root: Path, media: Sequence[Medium], one_class: bool = False
) -> tuple[dict[str, dict[str, list[str]]], Medium]:
    """Find the files of each class.

    Args:
        root: The folder, absolute.
        media: What the files may be.
        one_class: See `open_dataset`.

    Returns:
        Paths (relative to the root, with `/`) by split and class, the classes in natural order and the same in all
        splits; and what they all are.

    Raises:
        DataError: No class folders, one only, one without files, splits with different classes, files of two media.
    """
    folders = _find_splits(root)
    class_folders = {split: _subfolders(folder) for split, folder in folders.items()}
    if not class_folders["train"]:
        raise DataError(
            f"Expected class folders in {folders['train']}. Received none. "
            f"{_advice(media)}, or texts or a table into train.csv."
        )
    classes = _classes(class_folders, one_class)
    if len(classes) < 2 and not one_class:
        raise DataError(f"Expected at least two class folders in {folders['train']}. Received only {classes[0]!r}.")
    check_printable(classes)
    for split, found in class_folders.items():
        _check_same_classes(folders[split], found, set(found) if one_class else classes)
    seen = _Seen([*{root, *folders.values()}, *(path for found in class_folders.values() for path in found.values())])
    files = {
        split: {name: _files(root, found[name], seen, media) if name in found else [] for name in classes}
        for split, found in class_folders.items()
    }
    found_files = itertools.chain.from_iterable(paths for by_class in files.values() for paths in by_class.values())
    medium = _common_medium(root, found_files, media)
    many = " or ".join(each.many for each in ([medium] if medium else media))
    empty = [
        folder for split, found in class_folders.items() for name, folder in found.items() if not files[split][name]
    ]
    if empty or medium is None:
        raise DataError(f"Expected {many} in the class folder {empty[0]}. Received none. {_advice(media)}.")
    return files, medium


def by_file_name(
    root: Path, files: Mapping[str, Mapping[str, list[str]]], one_class: bool = False
) -> dict[str, dict[str, list[str]]]:
    """Sort the files of class folders anew, by what stands before the first `_` of their names.

    Args:
        root: The folder.
        files: As `find_files` gives them.
        one_class: See `open_dataset`.

    Raises:
        DataError: A file without such a beginning, one class only, splits with different classes.
    """
    sorted_anew: dict[str, dict[str, list[str]]] = {}
    for split, by_class in files.items():
        found: dict[str, list[str]] = {}
        for path in itertools.chain.from_iterable(by_class.values()):
            name, underscore, _ = PurePosixPath(path).name.partition("_")
            if not (name and underscore):
                raise DataError(f"Expected names of files that begin with CLASS_ under {root}. Received: {path}.")
            found.setdefault(name, []).append(path)
        sorted_anew[split] = {name: sorted(paths) for name, paths in found.items()}
    classes = _classes(sorted_anew, one_class)
    check_printable(classes)
    if len(classes) < 2 and not one_class:
        raise DataError(f"Expected at least two classes in the names of files under {root}. Received: {classes[0]!r}.")
    for split, found in sorted_anew.items():
        _check_same_classes(root / split, found, set(found) if one_class else classes)
    return {split: {name: found.get(name, []) for name in classes} for split, found in sorted_anew.items()}


def _classes(found: Mapping[str, Mapping[str, object]], one_class: bool) -> list[str]:
    """Name the classes of all splits, or of train alone, in natural order."""
    return sorted(set().union(*found.values()) if one_class else found["train"], key=natural_key)


def _advice(media: Sequence[Medium]) -> str:
    kinds = " or ".join(f"{medium.many} ({medium.formats})" for medium in media)
    return f"Put the {kinds} of each class into a folder of its own"


def _common_medium(root: Path, paths: Iterable[str], media: Sequence[Medium]) -> Medium | None:
    """Say what all files are, or None where there are none."""
    first: dict[Medium, str] = {}
    by_suffix = {suffix: medium for medium in media for suffix in medium.suffixes}
    for path in paths:
        first.setdefault(by_suffix[PurePosixPath(path).suffix.lower()], path)
    if len(first) > 1:
        one, other = list(first.values())[:2]
        raise DataError(
            f"Expected {' or '.join(medium.many for medium in media)} under {root}, not both. "
            f"Received: {one} and {other}. Move the ones or the others away."
        )
    return next(iter(first), None)


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


def _files(root: Path, class_folder: Path, seen: _Seen, media: Sequence[Medium]) -> list[str]:
    suffixes = frozenset().union(*(medium.suffixes for medium in media))
    found: list[str] = []
    waiting = [class_folder]
    while waiting:
        for entry in _entries(waiting.pop()):
            path = Path(entry.path)
            if _is_folder(entry):
                if seen.add(path):
                    waiting.append(path)
            elif path.suffix.lower() in suffixes:
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def _check_same_classes(folder: Path, found: Iterable[str], classes: Iterable[str]) -> None:
    missing, strange = set(classes) - set(found), set(found) - set(classes)
    if missing or strange:
        differences = [f"{name} is missing" for name in sorted(missing, key=natural_key)]
        differences += [f"{name} is not in train" for name in sorted(strange, key=natural_key)]
        raise DataError(f"Expected the classes of train in {folder}. Received: {some(differences)}.")
