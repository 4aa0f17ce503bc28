"""Trainings that the repository keeps, under `bench/parents/NAME`: what took an hour need not be trained again.

What others measure of such a run (its int8 file, its compressed versions) is then of the very same weights, wherever
and whenever it is measured. `kzoo.load("bench/parents/NAME")` gives the model. To train one anew, remove its folder.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from kzoo.files import write_bytes
from kzoo.run import HISTORY, INFO, LABELS, METRICS, MODEL, RECIPE, Run

KEPT = Path(__file__).parent / "parents"
# run.json last: until then there is no run.
_FILES = (MODEL, RECIPE, HISTORY, METRICS, LABELS, INFO)
# Git holds every version of a file for ever.
_LARGEST = 3_500_000
# Where the data lay, in the files that are kept.
_DATA = "KZOO_DATA"


def keep_parent(name: str, run: Path, data: Path) -> None:
    """Keep what other commands read of a run, if it has ended and is small, and none is kept under this name."""
    small = (run / MODEL).stat().st_size <= _LARGEST
    if small and Run(run).info.status == "done" and not (KEPT / name / INFO).exists():
        _copy(run, KEPT / name, str(data.resolve()), f"{_DATA}/{data.name}")


def restore_parent(name: str, run: Path, data: Path) -> bool:
    """Put the kept run, if there is one, where it would have been trained; tells whether there is."""
    found = (KEPT / name / INFO).exists()
    if found:
        _copy(KEPT / name, run, f"{_DATA}/{data.name}", str(data.resolve()))
    return found


def name_weights(run: Path) -> str:
    """What tells a training from another of the same command: the beginning of the SHA-256 of its model's file."""
    return hashlib.sha256((run / MODEL).read_bytes()).hexdigest()[:8]


def _copy(source: Path, target: Path, before: str, after: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in _FILES:
        content = (source / file).read_bytes()
        if file != MODEL:
            content = content.replace(before.encode(), after.encode())
        write_bytes(target / file, content)
