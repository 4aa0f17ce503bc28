"""CSV files as datasets: `label,text`, a label and numbers, or `user,item`.

UTF-8 with a header, commas, and quotes where a cell holds a comma, a quote or a line break. One column is called
`label`. Where another is called `text` the samples are texts; else all others hold numbers, and the samples are
sequences: columns that are all called NAME_NUMBER, with the same run of numbers for every NAME, are the steps of the
features NAME; any others are the features of a single step. A file without labels has the columns `user` and `item`:
who took what, and in `timestamp`, where there is one, when, as a number or as an ISO 8601 date.
"""

from __future__ import annotations

import array
import csv
import datetime
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from kzoo.errors import DataError

from .arrays import Part, from_parts
from .dataset import SPLITS, Array, Dataset
from .interactions import ITEM, TIMESTAMP, USER, InteractionPart, from_interactions
from .labels import natural_key
from .options import Options
from .texts import TextPart, from_texts

logger = logging.getLogger(__name__)

LABEL, TEXT = "label", "text"

_SPLIT_FILES = {"train.csv": "train", "val.csv": "val", "valid.csv": "val", "validation.csv": "val", "test.csv": "test"}
_ADVICE = (
    "Expected a CSV file with a header, a column label, and a column text or columns of numbers; or the columns user "
    "and item."
)
_STEP = re.compile(r"(.+)_(\d+)")
# A cell may be as long as a book, but a quote that is never closed must not be read as one.
_LONGEST_CELL = 10_000_000


def split_files(folder: Path) -> dict[str, Path]:
    """Find `train.csv`, `val.csv` and `test.csv` of a folder; none where there is no `train.csv`.

    Raises:
        DataError: Two files for one split.
    """
    found: dict[str, Path] = {}
    for name, split in _SPLIT_FILES.items():
        path = folder / name
        if path.is_file():
            if split in found:
                raise DataError(f"Expected one file for {split} in {folder}. Received: {found[split].name} and {name}.")
            found[split] = path
    return {split: found[split] for split in SPLITS if split in found} if "train" in found else {}


def csv_kind(path: Path) -> Literal["text", "sequence", "interaction"]:
    """Say by its header what a CSV file holds.

    Raises:
        DataError: A file that is not read, or without a fitting header.
    """
    header = _header(path)
    if LABEL not in header:
        return "interaction"
    return "text" if TEXT in header else "sequence"


def open_csv(files: dict[str, Path], name: str, source: str, options: Options) -> Dataset:
    """Open CSV files of one form.

    Args:
        files: By split; one file alone is `"train"`, of which the other splits are carved.
        name: Short name of the dataset.
        source: What the user named.
        options: How to open it.

    Raises:
        DataError: Files that are no such CSV, with the line; other columns in one than in another.
    """
    headers = {path: _header(path) for path in files.values()}
    train = headers[files["train"]]
    for path, header in headers.items():
        if set(header) != set(train):
            raise DataError(
                f"Expected the columns of {files['train']} in {path} ({', '.join(train)}). "
                f"Received: {', '.join(header)}."
            )
    if LABEL not in train:
        taken = {split: _read_interactions(path) for split, path in files.items()}
        return from_interactions(taken, name, source, options)
    if TEXT in train:
        ignored = [column for column in train if column not in (LABEL, TEXT)]
        if ignored:
            logger.warning("ignored in %s, beside label and text: %s", source, ", ".join(ignored))
        texts = {split: _read_texts(path) for split, path in files.items()}
        return from_texts(texts, _classes(texts["train"].labels), name, source, options)
    steps = _steps([column for column in train if column != LABEL])
    tables = {split: _read_table(path, steps) for split, path in files.items()}
    named = [table.y for split, table in tables.items() if split == "train" or options.one_class]
    return from_parts(tables, _classes(np.concatenate(named)), name, source, options, kind="sequence")


def _classes(labels: Array) -> list[str]:
    return sorted(set(labels.tolist()), key=natural_key)


def _read_texts(path: Path) -> TextPart:
    header = _header(path)
    text = header.index(TEXT)
    texts, labels, names = [], [], []
    for row, label, line in _rows(path, header):
        if not row[text].strip():
            raise DataError(f"Expected a text in every row. Received: {path}, line {line}, an empty one.")
        texts.append(row[text])
        labels.append(label)
        names.append(f"{path.name}:{line}")
    return TextPart(texts, np.array(labels), names)


def _read_interactions(path: Path) -> InteractionPart:
    header = _header(path)
    item = header.index(ITEM)
    when = header.index(TIMESTAMP) if TIMESTAMP in header else None
    users, items, times = [], [], []
    for row, user, line in _rows(path, header, USER):
        if not row[item].strip():
            raise DataError(f"Expected an item in every row. Received: {path}, line {line}, an empty one.")
        users.append(user)
        items.append(row[item].strip())
        if when is not None:
            times.append(_seconds(row[when].strip(), path, line))
    return InteractionPart(path.name, np.array(users), np.array(items), None if when is None else np.array(times))


def _seconds(value: str, path: Path, line: int) -> float:
    """Read a moment, in any unit where it is a number."""
    if _is_number(value) and np.isfinite(float(value)):
        return float(value)
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise DataError(
            f"Expected a number or an ISO 8601 date as timestamp. Received: {path}, line {line}, {value[:40]!r}."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()


def _read_table(path: Path, steps: list[list[str]]) -> Part:
    """Read a table as `(rows, steps, features)` float32."""
    header = _header(path)
    places = [header.index(name) for step in steps for name in step]
    # Four bytes a cell: a table may be much larger as text.
    values, labels = array.array("f"), []
    for row, label, line in _rows(path, header):
        try:
            values.extend([float(row[place]) for place in places])
        except ValueError:
            wrong = next(place for place in places if not _is_number(row[place]))
            raise DataError(
                f"Expected numbers in all columns but label, or a column text. Received: {path}, line {line}, "
                f"{header[wrong]}={row[wrong][:40]!r}."
            ) from None
        labels.append(label)
    return Part(path.name, np.array(values, np.float32).reshape(len(labels), len(steps), -1), np.array(labels))


def _rows(path: Path, header: Sequence[str], column: str = LABEL) -> Iterator[tuple[list[str], str, int]]:
    """Give each row below the header with what stands in a column, and the line on which it begins."""
    records = _records(path)
    next(records)
    place, empty = header.index(column), True
    for row, line in records:
        empty = False
        if len(row) != len(header):
            raise DataError(
                f"Expected {len(header)} cells in every row ({', '.join(header)}). Received: {path}, line {line}, "
                f"{len(row)}. Quote cells that hold a comma."
            )
        value = row[place].strip()
        if not value:
            raise DataError(f"Expected a {column} in every row. Received: {path}, line {line}, an empty one.")
        yield row, value, line
    if empty:
        raise DataError(f"Expected rows below the header. Received: {path}, which has none.")


def _header(path: Path) -> tuple[str, ...]:
    """Read the names of the columns, in lower case."""
    header, _ = next(_records(path), ([], 0))
    names = tuple(name.strip().lower() for name in header)
    if LABEL not in names and not {USER, ITEM} <= {*names}:
        hint = " It seems to be separated by semicolons." if len(names) == 1 and ";" in names[0] else ""
        shown = ", ".join(repr(name[:40]) for name in header[:5]) or "nothing"
        raise DataError(f"{_ADVICE} Received: {path}, whose first line has {shown}.{hint}")
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise DataError(f"Expected a column beside {names[0]}, each with a name of its own. Received: {path}, {names}.")
    return names


def _records(path: Path) -> Iterator[tuple[list[str], int]]:
    """Give each row that is not blank, and the line on which it begins."""
    csv.field_size_limit(_LONGEST_CELL)
    rows = csv.reader(_lines(path), strict=True)
    line = 1
    try:
        for row in rows:
            if row:
                yield row, line
            line = rows.line_num + 1
    except csv.Error as error:
        raise DataError(f"Expected CSV. Received: {path}, line {line}: {error}.") from error


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                # A byte order mark before the first.
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"Expected UTF-8. Received: {path}, line {number}, which is not. Save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error


def _steps(columns: list[str]) -> list[list[str]]:
    """Arrange columns as steps of features: a list for each step."""
    matches = [_STEP.fullmatch(column) for column in columns]
    by_name: dict[str, dict[int, str]] = {}
    for match in matches:
        if match is None:
            return [columns]
        by_name.setdefault(match[1], {})[int(match[2])] = match[0]
    runs = [sorted(steps) for steps in by_name.values()]
    first = runs[0]
    if len(first) < 2 or first != list(range(first[0], first[0] + len(first))) or any(run != first for run in runs):
        return [columns]
    names = sorted(by_name, key=natural_key)
    return [[by_name[name][step] for name in names] for step in first]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
