"""From a dataset's split to the batches that `model.fit` takes.

The order of an epoch and the seed of each batch are functions of the run's seed and the epoch's number alone, so that a
run that was killed goes on exactly as if it had not been.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np

from kzoo.data import Split, input_type
from kzoo.errors import KzooError

from .augment import Augmenter

# Bytes of a sample up to which asking Python for a batch costs more than making it: 64 x 64 pixels in colour.
_SMALL_SAMPLE = 64 * 64 * 3


class EpochOrder:
    """Which samples stand in which batch of an epoch.

    Args:
        samples: Size of the split.
        batch_size: Samples of a batch; the last one of an epoch may be smaller.
        seed: Seed of the run.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.batches = math.ceil(samples / batch_size)

    def indices(self) -> np.ndarray:
        """Order of the samples in the current epoch, `(samples,)`."""
        return _permutation(self.samples, self.seed, self.epoch)

    def batch(self, number: int) -> np.ndarray:
        """Places of a batch's samples in the split, `(batch,)`."""
        return self.indices()[number * self.batch_size : (number + 1) * self.batch_size]

    def seeds(self) -> np.ndarray:
        """Seeds for the random changes of each batch of the current epoch, `(batches,)`."""
        return _seeds(self.batches, self.seed, self.epoch)


# Kept for the epoch: a feed that is asked batch by batch would make them anew for each.
@functools.lru_cache(maxsize=1)
def _permutation(samples: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(samples)


@functools.lru_cache(maxsize=1)
def _seeds(batches: int, seed: int, epoch: int) -> np.ndarray:
    # The last number keeps this stream apart from that of the order.
    states = np.random.SeedSequence((seed, epoch, 1)).generate_state(batches)
    return (states >> 1).astype(np.int64)


class FollowEpoch(keras.callbacks.Callback):
    """Tell a feed's order which epoch begins."""

    def __init__(self, order: EpochOrder) -> None:
        super().__init__()
        self.order = order

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.order.epoch = epoch


class WatchedSplit:
    """A split that keeps the error of its `load`: a `tf.data` thread passes on only its text, with a traceback in it.

    Args:
        split: What is read.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.labels = split.labels
        self.error: KzooError | None = None

    def load(self, indices: np.ndarray) -> np.ndarray:
        """As `Split.load`."""
        try:
            return self.split.load(indices)
        except KzooError as error:
            self.error = error
            raise

    def whole(self) -> np.ndarray | None:
        """As `Split.whole`."""
        return self.split.whole()


def make_feed(
    split: Split | WatchedSplit,
    order: EpochOrder,
    classes: int,
    augmenter: Augmenter | None = None,
    *,
    streamed: bool = False,
) -> Any:
    """Stream a split in batches of `(inputs, one-hot labels)`, float32; places in a vocabulary stay int32.

    On TensorFlow this is a `tf.data.Dataset`, which loads and augments ahead of the training step; on any other backend
    it is a `PythonFeed`, and TensorFlow is not imported. Where memory holds a split of small samples it is read as a
    whole first, and no batch of any epoch needs Python. Large ones come batch by batch, so that the first step need not
    wait for the last image.

    Args:
        split: What to stream.
        order: Which samples stand in which batch.
        classes: Number of classes.
        augmenter: Random changes of samples.
        streamed: Read only what is asked for, for the few steps of an estimate.
    """
    if keras.backend.backend() == "tensorflow":
        small = split.load(np.arange(1)).nbytes <= _SMALL_SAMPLE
        return _tf_feed(split, split.whole() if small and not streamed else None, order, classes, augmenter)
    return PythonFeed(split, order, classes, augmenter)


def _tf_feed(
    split: Split | WatchedSplit, whole: np.ndarray | None, order: EpochOrder, classes: int, augmenter: Augmenter | None
) -> Any:
    import tensorflow as tf

    sample = split.load(np.arange(1)) if whole is None else whole[:1]
    with tf.device("CPU"):
        labels = tf.constant(split.labels)
        samples = None if whole is None else tf.constant(whole)

    def read(indices: Any) -> Any:
        if samples is not None:
            return tf.gather(samples, indices)
        inputs = tf.numpy_function(split.load, [indices], tf.as_dtype(sample.dtype), stateful=False)
        inputs.set_shape((None, *sample.shape[1:]))
        return inputs

    def epoch(_: Any) -> Any:
        # Python is asked once an epoch; a question a batch would cost small models a tenth of their time.
        indices, seeds = tf.numpy_function(lambda: (order.indices(), order.seeds()), [], (tf.int64, tf.int64))

        def batch(number: Any) -> Any:
            places = indices[number * order.batch_size : (number + 1) * order.batch_size]
            places.set_shape((None,))
            inputs, one_hot = read(places), tf.one_hot(tf.gather(labels, places), classes)
            if augmenter is None:
                return tf.cast(inputs, input_type(sample.dtype)), one_hot
            return augmenter(inputs, one_hot, seeds[number])

        # Python reads one batch at a time, by as many threads as pay.
        calls = 1 if samples is None else 2
        return tf.data.Dataset.range(order.batches).map(batch, num_parallel_calls=calls, deterministic=True)

    feed = tf.data.Dataset.range(1).flat_map(epoch)
    feed = feed.apply(tf.data.experimental.assert_cardinality(order.batches)).prefetch(2)
    options = tf.data.Options()
    # Nothing is left to tune here, and the thread that would do it now and then misses that an epoch has ended: its end
    # waits until it wakes by itself, which takes up to as long as the epoch did.
    options.autotune.enabled = False
    return feed.with_options(options)


class PythonFeed(keras.utils.PyDataset):
    """The same batches, made one by one when they are asked for, on any backend. Arguments as `make_feed`."""

    def __init__(
        self, split: Split | WatchedSplit, order: EpochOrder, classes: int, augmenter: Augmenter | None
    ) -> None:
        super().__init__()
        self.split = split
        self.order = order
        self.classes = classes
        self.augmenter = augmenter

    @property
    def num_batches(self) -> int:
        return self.order.batches

    def __getitem__(self, batch: int) -> tuple[Any, Any]:
        indices = self.order.batch(batch)
        inputs = self.split.load(indices)
        labels = np.eye(self.classes, dtype="float32")[self.split.labels[indices]]
        if self.augmenter is None:
            return inputs.astype(input_type(inputs.dtype)), labels
        return self.augmenter(keras.ops.convert_to_tensor(inputs), labels, int(self.order.seeds()[batch]))
