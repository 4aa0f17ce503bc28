"""Imports without what they only try.

Keras and TensorFlow import some packages wherever these are installed, only to be able to work with their objects:
half of the time that `import keras` takes. A leaf: any room may import it, it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

#: Wanted by Keras for wrappers of scikit-learn and galleries of images, for data frames and for JAX's functions.
_OPTIONAL = frozenset({"cv2", "jax", "matplotlib", "pandas", "sklearn"})


@contextlib.contextmanager
def hidden(packages: Collection[str]) -> Iterator[None]:
    """Make packages look as if they were not installed, but for those that were imported before.

    An entry None in `sys.modules` would be simpler, but Keras takes any entry there for the package itself.
    """
    finder = _Hidden(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextlib.contextmanager
def lean_imports() -> Iterator[None]:
    """Import Keras or TensorFlow in about half the time, in a process that is kzoo's own.

    Keras's wrappers of scikit-learn and its galleries of images do not work afterwards; the packages themselves do.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        with hidden(_OPTIONAL - {_backend()}):
            yield
    finally:
        # What was imported stays: no later collection need look through it.
        gc.freeze()
        if collecting:
            gc.enable()


def _backend() -> str:
    """Keras's backend, found as Keras finds it, whose own package cannot be hidden."""
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    home = os.environ.get("KERAS_HOME")
    settings = (Path(home) if home else Path.home() / ".keras") / "keras.json"
    try:
        return str(json.loads(settings.read_text()).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError, RuntimeError):
        return "tensorflow"


class _Hidden(importlib.abc.MetaPathFinder):
    def __init__(self, packages: Collection[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname in self._packages:
            raise ModuleNotFoundError(f"kzoo leaves {fullname} out here", name=fullname)
