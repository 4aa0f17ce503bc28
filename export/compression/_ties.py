"""Numbers for channels, and which of them have to go or stay together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False, slots=True)
class Channels:
    """The numbers of the channels along one axis of a tensor (0 is the batch)."""

    axis: int
    ids: np.ndarray


class Ties:
    """Numbers tied into sets, some of which are fixed: their channels are never removed."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._fixed: set[int] = set()

    def new(self, count: int) -> np.ndarray:
        """Numbers that were not there before."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def tie(self, ids: np.ndarray, others: np.ndarray) -> None:
        """Each of the first goes with the one at its place among the others."""
        for one, other in zip(ids.tolist(), others.tolist(), strict=True):
            self._parents[self._root(other)] = self._root(one)

    def fix(self, *channels: Channels | None) -> None:
        """Keep all of these, and what is or will be tied to them."""
        for each in channels:
            if each is not None:
                self._fixed.update(each.ids.tolist())

    def resolve(self) -> tuple[np.ndarray, np.ndarray]:
        """For every number the one that stands for its set, and whether the set is fixed."""
        roots = np.array([self._root(number) for number in range(len(self._parents))], dtype=int)
        fixed = np.zeros(len(roots), dtype=bool)
        fixed[[self._root(number) for number in self._fixed]] = True
        return roots, fixed[roots]

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number
