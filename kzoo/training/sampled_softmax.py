"""What a recommender is trained for: of the items of a batch, each user's own is to have the highest score.

Yi et al. 2019, https://doi.org/10.1145/3298689.3346996: a softmax over the items of the batch in place of all items,
each score corrected by how often its item comes into a batch. The paper estimates that on a stream; here the training
split has been counted.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.data import History

# Far below any score, and finite.
_NEVER = -1e9


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What is known of a batch's items before they are scored. No list: what Keras would take for a part of the model.

    Attributes:
        history: What each user took in the training split.
        log_shares: `(items,)` float32, logarithm of the share of an item in the training split.
    """

    history: History
    log_shares: np.ndarray

    @classmethod
    def of(cls, history: History) -> Sampling:
        """Count an item that was never taken as if it had been once."""
        shares = np.maximum(history.counts, 1) / max(int(history.counts.sum()), 1)
        return cls(history, np.log(shares).astype(np.float32))


class SampledSoftmax(keras.Model):
    """Two towers that learn from interactions, `(batch, 2)` ids of user and item, by `sampled_softmax`.

    Its outputs are the vectors of users and of items, `(batch, embedding)` each; its weights those of the model that
    scores pairs.
    """

    sampling: Sampling

    @classmethod
    def of(cls, model: keras.Model, history: History) -> SampledSoftmax:
        """Make one of a model's layers.

        Args:
            model: `two_tower`: the names of a tower's layers begin with "user_" or "item_".
            history: What the training split holds.
        """
        pairs = keras.Input((2,), dtype="int32", name="interaction")
        vectors = []
        for side, x in zip(("user", "item"), ops.split(pairs, 2, axis=1), strict=True):
            for layer in model.layers:
                x = layer(x) if layer.name.startswith(f"{side}_") else x
            vectors.append(x)
        trained = cls(pairs, vectors, name=model.name)
        trained.sampling = Sampling.of(history)
        return trained

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Give the mean sampled softmax of the batch and the penalties of the layers, a scalar."""
        log_shares = ops.take(self.sampling.log_shares, x[:, 1])
        losses = sampled_softmax(_scores(y_pred), log_shares, self._left_out(x))
        return ops.sum([ops.mean(losses), *self.losses])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Measure where each user's own item stands among those of the batch."""
        ranks = reciprocal_ranks(_scores(y_pred), self._left_out(x))
        return super().compute_metrics(x, y, ops.expand_dims(ranks, 1), sample_weight)

    def _left_out(self, x: Any) -> Any:
        """Say which items of the batch are no wrong answer for which user, `(batch, batch)`; never a user's own."""
        users, items = x[:, 0], x[:, 1]
        same = ops.equal(ops.expand_dims(items, 1), items)
        taken = has_taken(self.sampling.history, users, items)
        others = ops.logical_not(ops.eye(ops.shape(items)[0], dtype="bool"))
        return ops.logical_and(ops.logical_or(same, taken), others)


def sampled_softmax(scores: Any, log_shares: Any, left_out: Any) -> Any:
    """Give the cross-entropy of each user's own item against the items of the batch, `(batch,)`.

    Args:
        scores: `(batch, batch)`, of each user with each item; a user's own item is on the diagonal.
        log_shares: `(batch,)`, logarithm of how often each item comes into a batch. It is taken off the scores: what is
            often there by chance would else be punished for it.
        left_out: `(batch, batch)`, accidental hits: items that are no wrong answer for a user.
    """
    corrected = ops.where(left_out, _NEVER, scores - log_shares)
    return ops.logsumexp(corrected, axis=1) - ops.diagonal(corrected)


def reciprocal_ranks(scores: Any, left_out: Any) -> Any:
    """Give one through the place of each user's own item among those of the batch, `(batch,)`; equals stand before it.

    Arguments as `sampled_softmax`.
    """
    own = ops.expand_dims(ops.diagonal(scores), 1)
    # One of those that are at least as high is the item itself.
    before = ops.logical_and(scores >= own, ops.logical_not(left_out))
    return 1 / ops.maximum(ops.sum(ops.cast(before, "float32"), axis=1), 1.0)


def has_taken(history: History, users: Any, items: Any) -> Any:
    """Say whether each user took each item, `(users, items)`, by bisection of the user's items."""
    wanted = ops.expand_dims(items, 0)
    first, end = (ops.expand_dims(ops.take(history.starts, users + past), 1) for past in (0, 1))
    low = first + ops.zeros_like(wanted)
    high = end + ops.zeros_like(wanted)
    for _ in range(int(np.diff(history.starts).max()).bit_length()):
        middle = (low + high) // 2
        smaller = ops.logical_and(_item_at(history, middle) < wanted, low < high)
        low, high = ops.where(smaller, middle + 1, low), ops.where(smaller, high, middle)
    return ops.logical_and(low < end, ops.equal(_item_at(history, low), wanted))


def _item_at(history: History, places: Any) -> Any:
    # Behind the last user's items there is nothing to read.
    return ops.take(history.items, ops.minimum(places, len(history.items) - 1))


def begin_unknown_at_zero(model: keras.Model) -> None:
    """Let the user and the item that nobody knows, id 0, have the score 0 with everything.

    Nothing trains them, so that this stays: a new user is recommended what was taken most often.
    """
    for side in ("user", "item"):
        layer = model.get_layer(f"{side}_embedding")
        (table,) = layer.get_weights()
        table[0] = 0
        layer.set_weights([table])


def _scores(vectors: Any) -> Any:
    users, items = (ops.cast(each, "float32") for each in vectors)
    return ops.matmul(users, ops.transpose(items))
