"""Datasets out of class folders: images or sounds, each file inspected once."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from kzoo.errors import DataError, some

from .class_folders import by_file_name, find_files
from .dataset import SPLITS, Dataset
from .image_files import ImageFiles
from .index import check_readable, index_files
from .medium import FileRecord, LabelledFiles, Medium
from .options import Options, expect_kind
from .sound_files import SoundFiles
from .splitting import assign, missing_splits

logger = logging.getLogger(__name__)

MEDIA = (ImageFiles(), SoundFiles())


def open_folder(root: Path, options: Options) -> Dataset:
    """Open a folder of class folders.

    Files may lie deeper inside their class folder. Hidden files and files that are neither images nor sounds by their
    suffix are ignored. Every file is decoded once to see that it is whole; unreadable ones are skipped. Copies of a
    file are drawn into the same split; files that given splits share are named in a warning.

    Raises:
        DataError: No class folders, one class only, a class without files, splits with different classes, images
            beside sounds, more than 1 % unreadable files, files that the model does not take.
    """
    source, root = str(root), root.absolute()
    files, medium = find_files(root, MEDIA, options.one_class)
    if options.classes_from == "file_names":
        files = by_file_name(root, files, options.one_class)
    expect_kind(options, medium.kind, medium.many, source)
    given = {split: [path for paths in by_class.values() for path in paths] for split, by_class in files.items()}
    records = index_files(root, [path for paths in given.values() for path in paths], medium)
    skipped = check_readable(root, records, medium)
    whole = {record.path: record for record in records if not record.error}
    parts = {split: _whole_part(by_class, whole, medium) for split, by_class in files.items()}
    classes = tuple(files["train"])
    labels = {split: part.labels for split, part in parts.items()}
    contents = [record.digest for record in parts["train"].records]
    shares = {
        split: LabelledFiles([parts[share.part].records[row] for row in share.rows], labels[share.part][share.rows])
        for split, share in assign(labels, classes, options.fractions, options.seed, contents).items()
    }
    spec, splits = medium.open(root, shares, options)
    return Dataset(
        name=root.resolve().name,
        source=source,
        classes=classes,
        input=spec,
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        fingerprint=_fingerprint(whole.values()),
        skipped=skipped,
        repeated=_repeated(root, shares, medium),
        drawn=tuple(missing_splits(parts, options.fractions)),
    )


def _whole_part(by_class: Mapping[str, list[str]], whole: Mapping[str, FileRecord], medium: Medium) -> LabelledFiles:
    records: list[FileRecord] = []
    labels: list[int] = []
    for label, (name, paths) in enumerate(by_class.items()):
        readable = [whole[path] for path in paths if path in whole]
        if paths and not readable:
            raise DataError(
                f"Expected readable {medium.many} of class {name!r}. Received only unreadable ones: {paths[0]}."
            )
        records += readable
        labels += [label] * len(readable)
    return LabelledFiles(records, np.array(labels, np.int64))


def _repeated(root: Path, shares: Mapping[str, LabelledFiles], medium: Medium) -> tuple[str, ...]:
    """Name the files of validation and test that an earlier split has as well, once as a warning."""
    earlier: dict[str, str] = {}
    repeated: list[str] = []
    for split in SPLITS:
        records = shares[split].records
        repeated += [f"{each.path} = {earlier[each.digest]}" for each in records if each.digest in earlier]
        for each in records:
            earlier.setdefault(each.digest, each.path)
    if repeated:
        logger.warning(
            "%d %s of validation and test under %s are also in an earlier split, which flatters the figures: %s",
            *(len(repeated), medium.many, root, some(repeated, between="; ")),
        )
    return tuple(repeated)


def _fingerprint(records: Iterable[FileRecord]) -> str:
    digest = hashlib.sha256()
    for record in sorted(records, key=lambda record: record.path):
        digest.update(os.fsencode(record.path) + b"\0" + record.digest.encode() + b"\n")
    return digest.hexdigest()
