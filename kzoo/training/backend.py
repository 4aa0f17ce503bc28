"""Keras backends other than TensorFlow, without TensorFlow."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import keras

from kzoo.lean_imports import hidden


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
    with hidden({"tensorflow"}):
        yield
