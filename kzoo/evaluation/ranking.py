"""How well a model recommends: where the items that users took later stand among all that they had not taken before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from kzoo.data import History, InteractionFrontEnd, Split
from kzoo.errors import DataError
from kzoo.source import BATCH

from .finite import check_figures

#: How many items are recommended where a figure says @10.
TOP = 10

# From ids of users to the scores of all items, `(batch, items)`, the unknown item left out.
Scores = Callable[[np.ndarray], np.ndarray]


class RankingFigures(BaseModel):
    """Means over users, 0 to 1. The first two are as Liang et al. 2018 (arXiv 1802.05814) define them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recall: float
    """Share of a user's held-out items, or of ten where there are more, that are among the ten recommended."""
    ndcg: float
    """The same, weighed by place: the first counts most (normalised discounted cumulative gain)."""
    mrr: float
    """One through the place of the first held-out item."""


class RankingMetrics(BaseModel):
    """How a recommender fared on the interactions of one split."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    split: str
    """The part of the dataset that was measured: train, val or test."""
    samples: int
    """Number of users with held-out items."""
    interactions: int
    """Number of held-out items of all of them."""
    unknown_users: int
    """How many of the users were not in the training split: they are recommended what was taken most often."""
    unknown_items: int
    """How many of the held-out items were not: they count as missed."""
    items: int
    """Number of items that are ranked."""
    accuracy: float
    """The recall@10, under the name that all models share."""
    model: RankingFigures
    """Of the model."""
    popular: RankingFigures
    """Of recommending everybody what was taken most often in training."""

    @property
    def headline(self) -> str:
        """The one figure to name first."""
        return f"recall@{TOP} {self.model.recall:.4f} (most popular items {self.popular.recall:.4f})"


@dataclass(frozen=True)
class HeldOut:
    """What users took that a model has not seen.

    Attributes:
        users: `(users,)` ids.
        names: Of the first interaction of each, for reports.
        taken: For each user the ids of the items that were held out.
        seen: For each user the ids of the items that were taken before, and are not recommended.
    """

    users: np.ndarray
    names: tuple[str, ...]
    taken: tuple[np.ndarray, ...]
    seen: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, split: Split, history: History | None) -> HeldOut:
        """Gather a split by user, without what they had taken before.

        Users whom the model does not know share an id, and count one by one, each interaction as a user's.

        Args:
            split: Interactions.
            history: What was taken before; None for nothing.

        Raises:
            DataError: There is nothing that was not taken before.
        """
        pairs = split.load(np.arange(len(split)))
        keys = np.where(pairs[:, 0] > 0, pairs[:, 0], -1 - np.arange(len(pairs)))
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order][0] - 1))
        users, names, taken, seen = [], [], [], []
        for rows in np.split(order, starts[1:]):
            user = int(pairs[rows[0], 0])
            before = np.zeros(0, np.int32) if history is None else history.items_of(user)
            new = pairs[rows, 1][~np.isin(pairs[rows, 1], before)]
            if len(new):
                users.append(user)
                names.append(split.name(int(rows[0])))
                taken.append(new)
                seen.append(before)
        if not users:
            raise DataError("Expected interactions that training has not seen, received none. Use another split.")
        return cls(np.array(users, np.int32), tuple(names), tuple(taken), tuple(seen))

    def some(self, rows: np.ndarray) -> HeldOut:
        """Give the users at some places."""
        names, taken, seen = (tuple(values[row] for row in rows) for values in (self.names, self.taken, self.seen))
        return HeldOut(self.users[rows], names, taken, seen)

    def ranks(self, scores: np.ndarray, rows: range | None = None) -> list[np.ndarray]:
        """Give the places of each user's held-out items, 0 for the first; for the unknown item infinity.

        Args:
            scores: `(users, items)`, the unknown item left out. Of items with the same score the first comes first.
            rows: Which users they are of. Default: all.
        """
        found = []
        for row, given in zip(rows or range(len(self.users)), scores, strict=True):
            own = np.array(given, np.float64)
            own[self.seen[row] - 1] = -np.inf
            wanted = self.taken[row] - 1
            at = own[wanted][:, np.newaxis]
            earlier = np.arange(len(own)) < wanted[:, np.newaxis]
            before = ((own > at) | ((own == at) & earlier)).sum(axis=1)
            found.append(np.where(wanted < 0, np.inf, before))
        return found


def ranking_figures(ranks: list[np.ndarray]) -> RankingFigures:
    """Give the means over users.

    Args:
        ranks: As `HeldOut.ranks` gives them.
    """
    gains = 1 / np.log2(np.arange(TOP) + 2)
    recalls, ndcgs, reciprocals = [], [], []
    for places in ranks:
        hits = places[places < TOP].astype(np.int64)
        possible = min(TOP, len(places))
        recalls.append(len(hits) / possible)
        ndcgs.append(gains[hits].sum() / gains[:possible].sum())
        reciprocals.append(1 / (1 + places.min()))
    return RankingFigures(recall=float(np.mean(recalls)), ndcg=float(np.mean(ndcgs)), mrr=float(np.mean(reciprocals)))


def measure_ranking(
    scores: Scores, split: Split, history: History | None, front_end: InteractionFrontEnd, name: str
) -> RankingMetrics:
    """Measure a model on a split, against all items that a user had not taken in training.

    Args:
        scores: The model.
        split: Interactions.
        history: What was taken in training; None where the split is training itself, and nothing is left out.
        front_end: The users and items that the model knows.
        name: What the split is called.

    Raises:
        DataError: Nothing to measure on, or scores that are not finite.
    """
    held = HeldOut.of(split, history)
    ranks, popular = [], []
    # They are in that order.
    by_popularity = -np.arange(len(front_end.items), dtype=np.float32)
    for start in range(0, len(held.users), BATCH):
        rows = range(start, min(start + BATCH, len(held.users)))
        found = scores(held.users[rows.start : rows.stop])
        check_figures(found, "scores")
        ranks += held.ranks(found, rows)
        popular += held.ranks(np.broadcast_to(by_popularity, found.shape), rows)
    figures = ranking_figures(ranks)
    return RankingMetrics(
        split=name,
        samples=len(held.users),
        interactions=sum(map(len, held.taken)),
        unknown_users=int((held.users == 0).sum()),
        unknown_items=sum(int((taken == 0).sum()) for taken in held.taken),
        items=len(front_end.items),
        accuracy=figures.recall,
        model=figures,
        popular=ranking_figures(popular),
    )


def ranking_rows(metrics: RankingMetrics) -> list[tuple[str, str]]:
    """Give the result as (name, value) rows for a terminal."""
    rows = [
        ("Split", f"{metrics.split}, {metrics.interactions:,} interactions of {metrics.samples:,} users"),
        ("Items", f"{metrics.items:,}"),
    ]
    for title, figure in (("Recall@10", "recall"), ("NDCG@10", "ndcg"), ("MRR", "mrr")):
        own, popular = getattr(metrics.model, figure), getattr(metrics.popular, figure)
        rows.append((title, f"{own:.4f}, of the most popular items {popular:.4f}"))
    if metrics.unknown_users or metrics.unknown_items:
        rows.append(("New in it", f"{metrics.unknown_users:,} users, {metrics.unknown_items:,} items taken"))
    return rows
