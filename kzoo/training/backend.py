"""Keras backends other than TensorFlow, without TensorFlow."""

from __future__ import annotations

import contextlib
import importlib.abc
import sys
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def only_the_backend() -> Iterator[None]:
    """Keep TensorFlow from being imported while Keras runs on another backend.

    Keras imports it wherever it is installed, even to seed generators or to save a model, only to see whether an object
    is one of TensorFlow's. That takes seconds and, on an accelerator, memory. A process that has imported it already is
    left alone.
    """
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        yield
        return
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)


class _Hidden(importlib.abc.MetaPathFinder):
    """Makes TensorFlow look as if it were not installed.

    An entry None in `sys.modules` would be simpler, but Keras takes any entry there for TensorFlow itself.
    """

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "tensorflow":
            raise ModuleNotFoundError("kzoo leaves TensorFlow out while Keras runs on another backend", name=fullname)
