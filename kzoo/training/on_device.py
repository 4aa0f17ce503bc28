"""On JAX: samples that lie on the device, batches made inside the compiled step, several steps a dispatch.

`model.fit` then iterates over nothing but the places of the samples and the seeds of the batches. Keras compiles
`model.train_step` by itself; here the same method is compiled together with what makes its batch.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.data import input_type
from kzoo.data.system import fits_memory

from .augment import Augmenter
from .feed import EpochOrder, WatchedSplit

# Steps that an accelerator takes between two answers to Python. A processor's own step is long against a dispatch,
# and its convolutions run slower inside a loop: one.
STEPS_PER_DISPATCH = 16
# Share of a device's free memory that samples may take.
SHARE_OF_DEVICE = 0.25

# Makes (inputs, labels, sample weights) of places, seed, samples and labels.
MakeBatch = Callable[[Any, Any, Any, Any], tuple[Any, ...]]


class Places(keras.utils.PyDataset):
    """What `model.fit` iterates over: of each batch the places of its samples, `(batch,)`, and its seed, `(1,)`.

    Args:
        order: Which samples stand in which batch.
    """

    def __init__(self, order: EpochOrder) -> None:
        super().__init__()
        self.order = order

    @property
    def num_batches(self) -> int:
        return self.order.batches

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        return self.order.batch(batch).astype(np.int32), self.order.seeds()[batch : batch + 1].astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Resident:
    """A split on the device.

    Attributes:
        samples: `(samples, ...)` as the split has them, images uint8.
        labels: `(samples,)` int32.
    """

    samples: Any
    labels: Any


def train_on_device(
    model: keras.Model,
    train: WatchedSplit,
    val: WatchedSplit,
    classes: int,
    augmenter: Augmenter | None,
    class_weights: Mapping[int, float] | None,
    *,
    batch_by_batch: bool = False,
) -> bool:
    """Put both splits on the device and make `model.fit` and `model.evaluate` take `Places`.

    The model trains on the same batches as with `make_feed`: order and augmentation follow seed and epoch alone.

    Args:
        model: Compiled, not fitted yet.
        train: What it learns from.
        val: What it is validated on.
        classes: Number of classes.
        augmenter: Random changes of training images.
        class_weights: Weight of each class in the loss; `model.fit` must not be given them, too.
        batch_by_batch: Whether a callback changes something at every batch, so that a dispatch takes one step.

    Returns:
        False where it is not possible and nothing was changed: on another backend, on several devices, or where the
        splits do not fit into the memory of the device.
    """
    if keras.backend.backend() != "jax" or keras.distribution.distribution() is not None or not model.jit_compile:
        return False
    residents = _place(train, val)
    if residents is None:
        return False
    weights = None if class_weights is None else np.array([class_weights[index] for index in range(classes)], "float32")

    _build_loss_and_metrics(model, classes, weighted=weights is not None)
    model.steps_per_execution = 1 if batch_by_batch else steps_per_dispatch()
    # Keras makes these two only where there are none.
    model.train_function = _compiled(model, model.train_step, _batch_maker(classes, augmenter, weights), residents[0])
    model.test_function = _compiled(model, model.test_step, _batch_maker(classes, None, None), residents[1])
    return True


def steps_per_dispatch() -> int:
    """How many steps the device takes between two answers to Python."""
    import jax

    return 1 if jax.default_backend() == "cpu" else STEPS_PER_DISPATCH


def _place(train: WatchedSplit, val: WatchedSplit) -> tuple[Resident, Resident] | None:
    import jax

    size = sum(split.load(np.arange(1)).nbytes * len(split.labels) for split in (train, val))
    # None where the device's memory is the machine's.
    memory = jax.local_devices()[0].memory_stats()
    if memory is None:
        fits = fits_memory(size)
    else:
        fits = size <= SHARE_OF_DEVICE * (memory["bytes_limit"] - memory["bytes_in_use"])
    if not fits:
        return None
    wholes = [split.whole() for split in (train, val)]
    if any(whole is None for whole in wholes):
        return None
    placed = [
        Resident(jax.device_put(whole), jax.device_put(split.labels.astype(np.int32)))
        for whole, split in zip(wholes, (train, val), strict=True)
    ]
    return placed[0], placed[1]


def _batch_maker(classes: int, augmenter: Augmenter | None, weights: np.ndarray | None) -> MakeBatch:
    def make_batch(places: Any, seed: Any, samples: Any, labels: Any) -> tuple[Any, ...]:
        inputs = ops.take(samples, places, axis=0)
        one_hot = ops.one_hot(ops.take(labels, places), classes)
        if augmenter is not None:
            inputs, one_hot = augmenter(inputs, one_hot, seed)
        inputs = ops.cast(inputs, input_type(samples.dtype))
        if weights is None:
            return inputs, one_hot
        # As Keras weighs a sample whose label is mixed: by its largest class.
        return inputs, one_hot, ops.take(weights, ops.argmax(one_hot, axis=-1))

    return make_batch


def _build_loss_and_metrics(model: keras.Model, classes: int, weighted: bool) -> None:
    """Let Keras make the state that it would else make from a first batch of images."""
    labels = ops.zeros((1, classes))
    given = [ops.zeros((1, *tensor.shape[1:]), tensor.dtype) for tensor in (*model.inputs, *model.outputs)]
    inputs, *answers = given
    answers = answers if len(answers) > 1 else answers[0]
    weight = ops.ones((1,)) if weighted else None
    # What Keras compiled, which objectives with a loss of their own leave aside: unbuilt, it would ask for images.
    keras.Model.compute_loss(model, None, labels, labels, weight)
    model.compute_loss(inputs, labels, answers, weight, training=False)
    model.compute_metrics(inputs, labels, answers, weight)
    model.reset_metrics()


def _compiled(model: keras.Model, step: Callable[..., Any], make_batch: MakeBatch, resident: Resident) -> Any:
    """What Keras calls with its state and an iterator over `Places`, once for `model.steps_per_execution` batches."""
    import jax

    def one(state: Any, places: Any, seed: Any, samples: Any, labels: Any) -> Any:
        return step(state, make_batch(places, seed[0], samples, labels))

    def several(state: Any, places: Any, seeds: Any, samples: Any, labels: Any) -> Any:
        def body(state: Any, batch: tuple[Any, Any]) -> Any:
            logs, state = one(state, *batch, samples, labels)
            return state, logs

        state, logs = jax.lax.scan(body, state, (places, seeds))
        return jax.tree.map(lambda values: values[-1], logs), state

    run_one = jax.jit(one, donate_argnums=0)
    run_several = jax.jit(several, donate_argnums=0)

    def function(state: Any, iterator: Iterator[tuple[Any, Any]]) -> Any:
        steps = model.steps_per_execution
        batches = list(itertools.islice(iterator, steps))
        if 1 < len(batches) == steps and len(batches[0][0]) == len(batches[-1][0]):
            places, seeds = (np.stack(parts) for parts in zip(*batches, strict=True))
            return run_several(state, places, seeds, resident.samples, resident.labels)
        # The end of an epoch: its own programs, compiled once as jax.jit keeps them by shape.
        for places, seed in batches:
            logs, state = run_one(state, places, seed, resident.samples, resident.labels)
        return logs, state

    return function
