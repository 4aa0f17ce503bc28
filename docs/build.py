"""The reference of the Python API as HTML: `python docs/build.py build/docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc

import kzoo
import kzoo.export
import kzoo.models


def main(folder: Path) -> None:
    """Write one page a room."""
    for room in (kzoo, kzoo.models, kzoo.export):
        # pdoc shows what a module holds; names that are imported when they are used must be there first.
        for name in room.__all__:
            setattr(room, name, getattr(room, name))
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("kzoo", "kzoo.models", "kzoo.export", "!kzoo.__main__", output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
