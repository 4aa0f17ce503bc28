"""Weights that have diverged answer with NaN or infinity: there is nothing to measure or to name then."""

from __future__ import annotations

import numpy as np

from kzoo.errors import DataError, RunError


def check_figures(figures: np.ndarray, what: str) -> None:
    """Make sure that a split can be measured.

    Args:
        figures: Of its samples, of any shape.
        what: They are.

    Raises:
        DataError: One is not finite.
    """
    if not np.isfinite(figures).all():
        raise DataError(
            f"Expected finite {what}. Received: NaN or infinity. The weights have diverged: train again with a lower "
            f"learning rate."
        )


def check_answer(answer: np.ndarray, what: str, name: str) -> None:
    """Make sure that a model has answered.

    Args:
        answer: To one sample, of any shape.
        what: It should be.
        name: Of the model.

    Raises:
        RunError: A value is not finite.
    """
    if not np.isfinite(answer).all():
        raise RunError(
            f"Expected {what}, received NaN or infinity from {name}. "
            f"Its weights have diverged: train again with a lower learning rate."
        )
