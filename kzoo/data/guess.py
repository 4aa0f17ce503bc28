"""What a path holds, as far as one file tells: the recipe of a run is chosen before its data are read."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Literal

from .csv_files import csv_kind, split_files
from .wav import SUFFIXES

# Folders that are looked into at most.
_FOLDERS = 1000


def guess_medium(source: str | Path) -> Literal["sound", "text", ""]:
    """Say whether a path holds WAV files or texts; anything else is the empty string.

    Raises:
        DataError: A CSV file without a fitting header.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        tables = split_files(path)
        if not tables:
            return "sound" if _holds_sounds(path) else ""
        path = tables["train"]
    is_text = path.is_file() and path.suffix.lower() == ".csv" and csv_kind(path) == "text"
    return "text" if is_text else ""


def _holds_sounds(folder: Path) -> bool:
    for _, _, names in itertools.islice(os.walk(folder, followlinks=True), _FOLDERS):
        suffixes = {Path(name).suffix.lower() for name in names if not name.startswith(".")}
        if suffixes & SUFFIXES:
            return True
    return False
