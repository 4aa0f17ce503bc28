"""The one door to data: a name, a folder, a file or arrays in, a dataset out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kzoo.errors import DataError, UsageError

from .arrays import from_mapping
from .builtin import NAMES, open_builtin
from .csv_files import open_csv, split_files
from .dataset import Dataset
from .folders import open_folder
from .interaction import InteractionFrontEnd
from .npz import read_npz
from .options import Cache, ClassesFrom, Options, to_size
from .sound import SoundFrontEnd, SoundSettings
from .spec import KINDS, Fit, Kind
from .text import TextFrontEnd, TextSettings

# The source of data that was given in memory: no name and no path.
ARRAYS = "<arrays>"

# The last one stands for tf.data.Dataset, which is not imported here.
Source = str | Path | Mapping[str, ArrayLike] | tuple[ArrayLike, ArrayLike] | Any


def open_dataset(
    source: Source,
    *,
    kind: Kind | Sequence[Kind] | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    default_size: tuple[int, int] | None = None,
    seed: int = 0,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    cache: Cache = "auto",
    classes_from: ClassesFrom = "folders",
    one_class: bool = False,
    sound: SoundFrontEnd | SoundSettings | None = None,
    text: TextFrontEnd | TextSettings | None = None,
    interactions: InteractionFrontEnd | None = None,
) -> Dataset:
    """Open a dataset in three splits.

    Splits that the source gives are taken as they are; missing ones are carved out of train, stratified and seeded,
    the same on every machine; those of interactions user by user, the latest for test where a `timestamp` is given.
    Only the labels are read now, and each image or sound once, to see that it is whole; texts and tables are read into
    memory.

    Args:
        source: A known name (`digits`, `mnist`, …; `./digits` is a folder), a folder of class folders with images or
            WAV files, a CSV file or a folder with `train.csv` and, where there are any, `val.csv` and `test.csv`, an
            `.npz` file, arrays by key (`x_train`, `y_train`, …, or `x` and `y`), `(x, y)`, or a `tf.data.Dataset` of
            `(x, y)`, batched or not, which is read into memory. Interactions are a CSV file of the columns `user` and
            `item`, or arrays of these keys.
        kind: What the model takes: `"image"`, `"sequence"`, `"text"`, `"interaction"`, or several of them. Default:
            anything. What files and strings are follows from them; arrays of numbers are the first of these that they
            may be.
        size: Height and width of the images, one number for both. Default: for files, the size all of them share
            unless it exceeds `default_size`, else `default_size`; for arrays, their own.
        channels: 1, 3 or 4. Default: for files, 1 where all are grey, else 3; for arrays, their own.
        fit: How images of another shape are brought to size; see `InputSpec`.
        default_size: What the model prefers, as (height, width).
        seed: Of the carved splits.
        fractions: Of train, val and test, above 0 and with the sum 1.
        cache: `"auto"` keeps decoded pixels where a whole split takes at most a quarter of the free memory; `"none"`
            keeps memory flat.
        classes_from: Where the class of a file in class folders stands: `"folders"`, or `"file_names"` for what comes
            before the first `_` of a file's name, such as the speaker in `seven/jane_12.wav`.
        one_class: Whether val and test may hold classes that train lacks, and all of it may be of one class: for models
            that learn what is normal from nothing else.
        sound: The front end of a trained model, or what is wished of one. Default: what suits the recordings.
        text: Likewise, for texts.
        interactions: The users and items of a trained model. Default: those of the training split.

    Raises:
        UsageError: An unknown name, an argument out of range.
        DataError: A source that cannot be used as it is.

    Example:
        >>> digits = open_dataset("digits")
        >>> digits.train.load([0, 1]).shape
        (2, 8, 8, 1)
    """
    options = Options(
        kinds=KINDS if kind is None else (kind,) if isinstance(kind, str) else tuple(kind),
        size=to_size(size),
        channels=channels,
        fit=fit,
        default_size=to_size(default_size, "default_size"),
        seed=seed,
        fractions=fractions,
        cache=cache,
        classes_from=classes_from,
        one_class=one_class,
        sound=sound or SoundSettings(),
        text=text or TextSettings(),
        interactions=interactions,
    )
    if isinstance(source, Mapping):
        return from_mapping(source, "arrays", ARRAYS, options)
    if isinstance(source, tuple):
        if len(source) != 2:
            raise DataError(f"Expected (x, y). Received: a tuple of {len(source)}.")
        return from_mapping({"x": source[0], "y": source[1]}, "arrays", ARRAYS, options)
    if hasattr(source, "as_numpy_iterator"):
        return from_mapping(_collect(source), "arrays", ARRAYS, options)
    if not isinstance(source, (str, Path)):
        raise DataError(
            f"Expected a name, a path, arrays by key, (x, y) or a tf.data.Dataset. Received: {type(source).__name__}."
        )
    if not str(source):
        raise UsageError("Expected a dataset's name or a path. Received an empty one. kzoo data list names them.")
    if source in NAMES:
        return open_builtin(str(source), options)
    return _open_path(source, options)


def _collect(dataset: Any) -> dict[str, ArrayLike]:
    """Read a `tf.data.Dataset` of (x, y) into two arrays; one-hot labels become whole numbers."""
    if not isinstance(dataset.element_spec, tuple) or len(dataset.element_spec) != 2:
        raise DataError(f"Expected a tf.data.Dataset of (x, y). Received: elements {dataset.element_spec}.")
    batched = dataset.element_spec[1].shape.rank != 0
    inputs, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    join = np.concatenate if batched else np.stack
    joined = join(labels)
    return {"x": join(inputs), "y": joined.argmax(axis=1) if joined.ndim == 2 else joined}


def _open_path(source: str | Path, options: Options) -> Dataset:
    path = Path(source).expanduser()
    if path.is_dir():
        tables = split_files(path)
        return open_csv(tables, path.resolve().name, str(path), options) if tables else open_folder(path, options)
    if path.is_file() and path.suffix.lower() == ".npz":
        return from_mapping(read_npz(path), path.stem, str(path), options)
    if path.is_file() and path.suffix.lower() == ".csv":
        return open_csv({"train": path}, path.stem, str(path), options)
    if isinstance(source, str) and path.name == source and not path.suffix:
        return open_builtin(source, options)
    absent = "" if path.is_file() else ", which does not exist"
    raise DataError(
        f"Expected a folder of class folders or of CSV files, a .csv or an .npz file. Received: {path}{absent}."
    )
