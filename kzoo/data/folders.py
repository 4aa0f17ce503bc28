"""Datasets out of class folders: images or sounds, each file inspected once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from kzoo.errors import DataError

from .class_folders import by_file_name, find_files
from .dataset import Dataset
from .image_files import ImageFiles
from .index import check_readable, index_files
from .medium import FileRecord, LabelledFiles, Medium
from .options import Options, expect_kind
from .sound_files import SoundFiles
from .splitting import assign, missing_splits

MEDIA = (ImageFiles(), SoundFiles())


def open_folder(root: Path, options: Options) -> Dataset:
    """Open a folder of class folders.

    Files may lie deeper inside their class folder. Hidden files and files that are neither images nor sounds by their
    suffix are ignored. Every file is decoded once to see that it is whole; unreadable ones are skipped.

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
    shares = {
        split: LabelledFiles([parts[share.part].records[row] for row in share.rows], labels[share.part][share.rows])
        for split, share in assign(labels, classes, options.fractions, options.seed).items()
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


def _fingerprint(records: Iterable[FileRecord]) -> str:
    digest = hashlib.sha256()
    for record in sorted(records, key=lambda record: record.path):
        digest.update(os.fsencode(record.path) + b"\0" + record.digest.encode() + b"\n")
    return digest.hexdigest()
