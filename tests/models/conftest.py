"""The same first weights in every run: how far rounding carries depends on them. Or none, where shapes are enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import keras
import pytest


@pytest.fixture(autouse=True)
def _same_first_weights() -> None:
    keras.utils.set_random_seed(1)


@pytest.fixture
def without_values() -> Callable[[], AbstractContextManager[None]]:
    """Give a block in which models get weights of their shapes and no values: the large ones have gigabytes."""

    @contextmanager
    def block() -> Iterator[None]:
        with keras.StatelessScope(initialize_variables=False):
            yield
        # Keras keeps a list of them, and would give all of them values in whichever test leaves the next such scope.
        keras.utils.clear_session(free_memory=False)

    return block
