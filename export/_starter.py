"""Start of the child process: `python -m kzoo.export._starter REQUEST.json`. See `process.py`.

TensorFlow is imported while the parent still prepares the request: a line on standard input says that it is there.
"""

from __future__ import annotations

import atexit
import gc
import sys
from pathlib import Path

from kzoo.lean_imports import lean_imports


def start(request: Path) -> int:
    """Import, wait, convert; gives the exit status."""
    with lean_imports():
        from ._child import main
    # Nothing comes of a parent that has gone.
    return main(request) if sys.stdin.readline() else 1


if __name__ == "__main__":
    # At its end Python would look through all of TensorFlow for garbage, for a second.
    atexit.register(gc.freeze)
    sys.exit(start(Path(sys.argv[1])))
