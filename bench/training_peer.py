"""One framework's training step, in a process of its own: `python -m bench.training_peer FRAMEWORK VARIANT MODEL`.

It answers the number of trainable parameters when it is ready, and for every line that it reads the samples a second
of some more steps on the same data. `bench.training_step` lets several of these take turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.training_models import BATCH, CLASSES, ZOO_ARGUMENTS, input_shape, keras_model, torch_model

Steps = Callable[[int], list[float]]
BATCHES = 2


def samples(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Random values like pixels or measurements, and one-hot labels."""
    random = np.random.default_rng(0)
    shape = input_shape(name)
    x = random.random((BATCH * BATCHES, *shape), dtype="float32") * (255 if len(shape) == 3 else 1)
    return x, np.eye(CLASSES, dtype="float32")[random.integers(0, CLASSES, len(x))]


def fitted(keras: Any, model: Any, x: np.ndarray, y: np.ndarray) -> Steps:
    """Steps of `model.fit`, as seconds between the ends of batches."""

    class Moments(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_train_begin(self, logs: Any = None) -> None:
            self.moments: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            # Read, so that a backend that computes behind Python's back has finished.
            float((logs or {})["loss"])
            self.moments.append(time.perf_counter())

    def steps(count: int) -> list[float]:
        moments = Moments()
        repeats = -(-(count + 1) // BATCHES)
        inputs, labels = np.concatenate([x] * repeats), np.concatenate([y] * repeats)
        model.fit(inputs, labels, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[moments])
        return np.diff(moments.moments).tolist()

    return steps


def keras_steps(variant: str, name: str) -> tuple[int, Steps]:
    """Keras 3 on the backend of the environment, as a user compiles it."""
    import keras

    keras.mixed_precision.set_global_policy(variant)
    return _compiled(keras, keras_model(keras, name), name)


def tf_keras_steps(variant: str, name: str) -> tuple[int, Steps]:
    """Keras 2."""
    import tf_keras

    tf_keras.mixed_precision.set_global_policy(variant)
    return _compiled(tf_keras, keras_model(tf_keras, name), name)


def _compiled(keras: Any, model: Any, name: str) -> tuple[int, Steps]:
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "categorical_crossentropy", metrics=["accuracy"])
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return parameters, fitted(keras, model, *samples(name))


def kzoo_steps(variant: str, name: str) -> tuple[int, Steps]:
    """The zoo's model as kzoo trains it."""
    import keras

    from kzoo.training import make_plan, resolve_recipe
    from kzoo.training.phases import Phase, compile_for

    x, y = samples(name)
    settings = {
        "precision": variant,
        "optimizer.name": "sgd",
        "schedule.name": "constant",
        "regularisation.dropout": 0.0,
        "batch_size": BATCH,
        **{f"model.arguments.{key}": value for key, value in ZOO_ARGUMENTS.get(name, {}).items()},
    }
    pixels = x.astype("uint8") if x.ndim == 4 else x
    recipe = resolve_recipe(name, "arrays", recipe="image" if x.ndim == 4 else "sequence", overrides=settings)
    plan = make_plan(recipe, (pixels, y.argmax(axis=1)))
    model = plan.training_model()
    compile_for(model, plan, Phase(0, 1, None, 0.01))
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return parameters, fitted(keras, model, x, y)


def torch_steps(variant: str, name: str) -> tuple[int, Steps]:
    """Plain PyTorch; the variant says autocast and memory format."""
    import torch

    half, last = "bf16" in variant, "channels-last" in variant
    torch.manual_seed(0)
    model = torch_model(torch, name)
    x, y = samples(name)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y.argmax(axis=1))
    if inputs.ndim == 4:
        inputs = (inputs / 255).permute(0, 3, 1, 2).contiguous()
        if last:
            model, inputs = (each.to(memory_format=torch.channels_last) for each in (model, inputs))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def step(batch: int) -> float:
        rows = slice(batch % BATCHES * BATCH, (batch % BATCHES + 1) * BATCH)
        started = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
        loss.backward()
        optimizer.step()
        loss.item()
        return time.perf_counter() - started

    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, lambda count: [step(batch) for batch in range(count)]


FRAMEWORKS = {"kzoo": kzoo_steps, "keras": keras_steps, "tf_keras": tf_keras_steps, "torch": torch_steps}


def main(framework: str, variant: str, name: str, seconds: float) -> None:
    """Warm up, then measure on request."""
    # Frameworks write to stdout, too.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    parameters, steps = FRAMEWORKS[framework](variant, name)
    warm = statistics.median(steps(1))
    count = max(1, round(seconds / warm))
    answers.write(f"{parameters}\n")
    answers.flush()
    for _ in sys.stdin:
        answers.write(f"{BATCH / statistics.median(steps(count)):.2f}\n")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:4], seconds=float(sys.argv[4]))
