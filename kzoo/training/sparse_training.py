"""Networks that are sparse from the first step: a fixed random choice of connections, or RigL, which moves them.

Evci et al. 2020, arXiv 1911.11134. The masks are variables of the optimizer: a resume point holds them, a compiled step
reads them, and a model file knows nothing of them. A weight without a connection has a gradient of zero and optimizer
slots of zero, so that no update, no momentum and no average makes it anything but zero.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.errors import RecipeError, TrainingError
from kzoo.recipes.smaller import SparseTrainingSection
from kzoo.zoo import head_layers

from .feed import PythonFeed

Logs = dict[str, Any] | None

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
# By the variables' names; a separable convolution's depthwise kernel has another.
_KERNELS = ("kernel", "recurrent_kernel", "pointwise_kernel")


def check_maskable(model: keras.Model, section: SparseTrainingSection) -> tuple[int, ...]:
    """Find the kernels that train sparse: all but the first convolution's, the classifiers' and depthwise ones.

    Args:
        model: The plain model.
        section: The recipe's `sparse_training`.

    Returns:
        Their places in `model.weights`.

    Raises:
        RecipeError: There are none, too few weights would be left, or the method does not run on this backend.
    """
    backend = keras.backend.backend()
    if section.method == "rigl" and backend not in ("tensorflow", "jax"):
        raise RecipeError(
            f"sparse_training.method=rigl expects Keras on TensorFlow or JAX, received {backend}. Set method=fixed."
        )
    layers = list(_flat(model))
    first = next((layer for layer in layers if isinstance(layer, _CONVOLUTIONS)), None)
    heads = head_layers(model)
    masked = {
        id(variable)
        for layer in layers
        if layer is not first and layer.name not in heads and not isinstance(layer, _DEPTHWISE)
        for variable in layer.trainable_variables
        if variable.name in _KERNELS
    }
    places = tuple(place for place, variable in enumerate(model.weights) if id(variable) in masked)
    if not places:
        raise RecipeError(
            f"sparse_training expects kernels between the first convolution and the classifier, received "
            f"{model.name}, which has none. Leave the section out."
        )
    connection_counts([model.weights[place].shape for place in places], section)
    return places


def connection_counts(shapes: Sequence[Sequence[int]], section: SparseTrainingSection) -> list[int]:
    """Say how many weights of each kernel have a connection; together exactly as many as the sparsity leaves.

    `uniform` gives each kernel the same density. `erk` gives it one in proportion to the sum of its axes over their
    product, at most 1 (Mocanu et al. 2018, arXiv 1707.04780; over kernel axes too: Evci et al. 2020).

    Args:
        shapes: Of the kernels.
        section: The recipe's `sparse_training`.

    Raises:
        RecipeError: Not every kernel would have a connection.
    """
    sizes = np.array([math.prod(shape) for shape in shapes])
    total = round((1.0 - section.sparsity) * int(sizes.sum()))
    if total < len(sizes):
        raise RecipeError(
            f"sparse_training.sparsity={section.sparsity:g} leaves {total} weights for {len(sizes)} kernels. Lower it."
        )
    if section.distribution == "uniform":
        wanted = sizes * (total / sizes.sum())
    else:
        wanted = _proportional(np.array([sum(shape) for shape in shapes], float), sizes, total)
    counts = np.clip(np.floor(wanted).astype(int), 1, sizes)
    # What rounding leaves goes where it is missed most; what the least of 1 took too much comes from the largest.
    for place in np.argsort(counts - wanted, kind="stable")[: max(total - counts.sum(), 0)]:
        counts[place] += 1
    while counts.sum() > total:
        counts[counts.argmax()] -= 1
    return [int(count) for count in counts]


def _proportional(shares: np.ndarray, sizes: np.ndarray, total: int) -> np.ndarray:
    """Divide a total in proportion to shares, no part larger than its size."""
    full = np.zeros(len(sizes), bool)
    while True:
        rest = total - sizes[full].sum()
        wanted = np.where(full, sizes, shares * (rest / shares[~full].sum() if rest and not full.all() else 0.0))
        if not (wanted > sizes).any():
            return wanted
        full |= wanted >= sizes


@dataclasses.dataclass
class Connections:
    """Which variables of an optimizer belong to which of the model's. No list: Keras would track what is in it."""

    kernels: tuple[Any, ...] = ()
    # By the identity of the model's variable.
    masks: dict[int, Any] = dataclasses.field(default_factory=dict)
    slots: dict[int, list[Any]] = dataclasses.field(default_factory=dict)


class MaskedOptimizer(keras.optimizers.Optimizer):
    """What is mixed into an optimizer so that it updates only weights with a connection."""

    def build(self, variables: list[Any]) -> None:
        """As Keras's."""
        self.connections = Connections()
        super().build(variables)

    def add_variable_from_reference(self, reference_variable: Any, *arguments: Any, **options: Any) -> Any:
        """As Keras's, and remember what the variable is for."""
        slot = super().add_variable_from_reference(reference_variable, *arguments, **options)
        self.connections.slots.setdefault(id(reference_variable), []).append(slot)
        return slot

    def connect(self, kernels: Sequence[Any], masks: Sequence[np.ndarray]) -> None:
        """Begin with these connections; what has none becomes zero.

        Args:
            kernels: Variables that the optimizer was built for.
            masks: 1 for a connection, of the kernels' shapes.
        """
        self.connections.kernels = tuple(kernels)
        for number, (kernel, mask) in enumerate(zip(kernels, masks, strict=True)):
            variable = self.add_variable(kernel.shape, dtype="float32", name=f"mask{number}")
            self.connections.masks[id(kernel)] = variable
            self.reconnect(kernel, mask, kept=mask)

    def mask_of(self, kernel: Any) -> np.ndarray:
        """Give a kernel's connections, 1 or 0."""
        return np.asarray(ops.convert_to_numpy(self.connections.masks[id(kernel)]))

    def reconnect(self, kernel: Any, mask: np.ndarray, kept: np.ndarray) -> None:
        """Change a kernel's connections; those that are not kept, be they lost or new, start from zero."""
        self.connections.masks[id(kernel)].assign(mask)
        for variable in (kernel, *self.connections.slots.get(id(kernel), ())):
            variable.assign(ops.convert_to_numpy(variable) * kept)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """As Keras's, without the gradients of what has no connection."""
        variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        masks = [self.connections.masks.get(id(variable)) for variable in variables]
        grads = [
            grad if grad is None or mask is None else grad * ops.cast(mask, grad.dtype)
            for grad, mask in zip(grads, masks, strict=True)
        ]
        super().apply(grads, trainable_variables)


def masked_kind(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """Give a kind of optimizer that updates only weights with a connection; see `MaskedOptimizer`."""
    return type(f"Masked{kind.__name__}", (MaskedOptimizer, kind), {})


def masked_optimizer(model: keras.Model) -> Any:
    """Find the optimizer with the masks in a compiled model; mixed precision wraps it."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def begin_sparse(model: keras.Model, places: Sequence[int], section: SparseTrainingSection, seed: int) -> None:
    """Choose connections at random and put all other weights to zero.

    Args:
        model: Compiled with an optimizer of a `masked_kind`, which is built.
        places: What `check_maskable` found.
        section: The recipe's `sparse_training`.
        seed: Seed of the run.
    """
    kernels = [model.weights[place] for place in places]
    counts = connection_counts([kernel.shape for kernel in kernels], section)
    # The last number keeps this stream apart from those of the feed.
    random = np.random.default_rng((seed, 0, 2))
    masks = []
    for kernel, count in zip(kernels, counts, strict=True):
        mask = np.zeros(math.prod(kernel.shape), "float32")
        mask[random.choice(mask.size, count, replace=False)] = 1.0
        masks.append(mask.reshape(kernel.shape))
    masked_optimizer(model).connect(kernels, masks)


def move_connections(
    weights: np.ndarray, mask: np.ndarray, gradient: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Drop connections of the smallest weights and grow as many where the gradient is largest.

    What was dropped may grow again at once, and then keeps its weight, as in the authors' code.

    Args:
        weights: Of a kernel.
        mask: Its connections, 1 or 0.
        gradient: Of the loss by every weight, with a connection or not.
        share: Of the connections to drop.

    Returns:
        The new mask, and the connections that both have.
    """
    old = mask.ravel() > 0
    moved = min(int(share * old.sum()), int((~old).sum()))
    if moved == 0:
        return mask, mask
    sizes = np.where(old, np.abs(weights).ravel(), np.inf)
    remaining = old.copy()
    remaining[np.argsort(sizes, kind="stable")[:moved]] = False
    pulls = np.where(remaining, -1.0, np.nan_to_num(np.abs(gradient).ravel()))
    new = remaining.copy()
    new[np.argsort(-pulls, kind="stable")[:moved]] = True
    return new.astype(mask.dtype).reshape(mask.shape), (new & old).astype(mask.dtype).reshape(mask.shape)


def drop_share(section: SparseTrainingSection, step: int, steps: int) -> float:
    """Share of connections that RigL moves before a step, counted from 0: of `steps`; 0 where nothing moves."""
    end = section.until * steps
    interval = section.interval or max(round(steps / 50), 1)
    if section.method == "fixed" or step == 0 or step % interval or step >= end:
        return 0.0
    return section.drop / 2 * (1 + math.cos(math.pi * step / end))


class SparseTraining(keras.callbacks.Callback):
    """Move connections when it is time, and hold every epoch's weights against the sparsity.

    Must stand after what puts averaged weights into the model and before what saves it. The column `density` counts
    weights that are not zero: a new connection is until its first update, and stays so where it has no gradient.

    Args:
        section: The recipe's `sparse_training`.
        feed: The training batches; the one that is about to be trained on says where connections grow.
        epochs: Length of the run.
        class_weights: Weight of each class in the loss.
    """

    def __init__(
        self,
        section: SparseTrainingSection,
        feed: PythonFeed,
        epochs: int,
        class_weights: Mapping[int, float] | None,
    ) -> None:
        super().__init__()
        self.section = section
        self.feed = feed
        self.steps = epochs * feed.num_batches
        self.class_weights = class_weights
        self._epoch = 0
        self._gradients: DenseGradients | None = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        share = drop_share(self.section, self._epoch * self.feed.num_batches + batch, self.steps)
        if not share:
            return
        if keras.backend.backend() == "jax":
            # Within an epoch the weights lie in the trainer's state; Keras takes them from the model after this call.
            self.model.jax_state_sync()
        optimizer = masked_optimizer(self.model)
        kernels = optimizer.connections.kernels
        self._gradients = self._gradients or DenseGradients(self.model, kernels)
        inputs, labels = self.feed[batch]
        gradients = self._gradients(inputs, labels, self._sample_weights(labels))
        for kernel, gradient in zip(kernels, gradients, strict=True):
            weights = ops.convert_to_numpy(kernel)
            optimizer.reconnect(kernel, *move_connections(weights, optimizer.mask_of(kernel), gradient, share))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        optimizer = masked_optimizer(self.model)
        kernels = [ops.convert_to_numpy(kernel) for kernel in optimizer.connections.kernels]
        masks = [optimizer.mask_of(kernel) for kernel in optimizer.connections.kernels]
        wanted = sum(connection_counts([kernel.shape for kernel in kernels], self.section))
        found = sum(int(mask.sum()) for mask in masks)
        astray = sum(np.count_nonzero(kernel * (1 - mask)) for kernel, mask in zip(kernels, masks, strict=True))
        if found != wanted or astray:
            raise TrainingError(
                f"Expected {wanted:,} connections after epoch {epoch + 1}, received {found:,} and {astray:,} weights "
                f"without one that are not zero. Train without sparse_training, and report this with the recipe."
            )
        if logs is not None:
            logs["density"] = density(kernels)

    def _sample_weights(self, labels: Any) -> Any:
        if self.class_weights is None:
            return None
        # As Keras weighs a sample whose label is mixed: by its largest class.
        return np.array([self.class_weights[int(label)] for label in ops.convert_to_numpy(labels).argmax(1)], "float32")


def density(kernels: Sequence[np.ndarray]) -> float:
    """Share of weights that are not zero."""
    return sum(np.count_nonzero(kernel) for kernel in kernels) / sum(kernel.size for kernel in kernels)


def saved_sparsity(model: keras.Model, places: Sequence[int], section: SparseTrainingSection) -> float:
    """Share of zeros in a trained model's kernels.

    Raises:
        TrainingError: There are fewer than the recipe asks for.
    """
    kernels = [ops.convert_to_numpy(model.weights[place]) for place in places]
    most = sum(connection_counts([kernel.shape for kernel in kernels], section))
    found = sum(np.count_nonzero(kernel) for kernel in kernels)
    if found > most:
        raise TrainingError(
            f"Expected at most {most:,} weights that are not zero in the saved model, received {found:,}. "
            f"Train without sparse_training, and report this with the recipe."
        )
    return 1.0 - density(kernels)


class DenseGradients:
    """The gradient of a batch's loss by every weight of some kernels, with a connection or not.

    Args:
        model: Compiled; nothing of it changes.
        kernels: Variables of the model.
    """

    def __init__(self, model: keras.Model, kernels: Sequence[Any]) -> None:
        self.model = model
        self.kernels = list(kernels)
        ours = {id(kernel) for kernel in kernels}
        self.others = [variable for variable in model.variables if id(variable) not in ours]
        self._compiled: Any = None

    def __call__(self, inputs: Any, labels: Any, sample_weights: Any = None) -> list[np.ndarray]:
        """Give the gradients, of the kernels' shapes.

        Args:
            inputs: `(batch, …)`.
            labels: `(batch, classes)`.
            sample_weights: `(batch,)`.
        """
        # Through NumPy: a tape follows tensors, and Keras hands on a variable as it is.
        kernels, others = (
            [ops.convert_to_tensor(ops.convert_to_numpy(variable)) for variable in group]
            for group in (self.kernels, self.others)
        )
        batch = (inputs, labels, sample_weights)
        if keras.backend.backend() == "jax":
            import jax

            self._compiled = self._compiled or jax.jit(jax.grad(self._loss))
            gradients = self._compiled(kernels, others, *batch)
        else:
            import tensorflow as tf

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(kernels)
                loss = self._loss(kernels, others, *batch)
            gradients = tape.gradient(loss, kernels, unconnected_gradients="zero")
        return [np.asarray(ops.convert_to_numpy(gradient)) for gradient in gradients]

    def _loss(self, kernels: Sequence[Any], others: Sequence[Any], inputs: Any, labels: Any, weights: Any) -> Any:
        state = zip([*self.kernels, *self.others], [*kernels, *others], strict=True)
        # Moving statistics and random generators advance in this scope alone.
        with keras.StatelessScope(state_mapping=list(state)):
            answers = self.model(inputs, training=True)
            loss = self.model.compute_loss(inputs, labels, answers, weights, training=True)
            # In half precision small gradients would be lost otherwise; what counts is their order.
            return self.model.optimizer.scale_loss(loss)


def _flat(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """All layers, those of nested models in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        else:
            yield layer
