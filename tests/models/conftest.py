"""The same first weights in every run: how far rounding carries through a deep network depends on them."""

from __future__ import annotations

import keras
import pytest


@pytest.fixture(autouse=True)
def _same_first_weights() -> None:
    keras.utils.set_random_seed(1)
