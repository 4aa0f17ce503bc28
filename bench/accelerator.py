"""ResNet18 on JPEGs of CIFAR-10 on an accelerator: `python -m bench.accelerator --data CIFAR10`.

Images a second, and the time until 92 % of the validation images are right, of

- kzoo on JAX (`KERAS_BACKEND=jax`, recipe `image`),
- the same model in a plain Keras 3 loop on JAX: `model.fit` on arrays, Keras's own augmentation layers in the model,
- ResNet18 in a plain PyTorch loop with autocast to bfloat16 and channels-last; its data, too, lies on the device, and
  its augmentation runs there.

Each runs in a process of its own, so that none holds the device's memory while another runs; all read the images the
same way before the clock starts, and take the same split, batch, AdamW, cosine and label smoothing. The first epoch,
which compiles, is in the time to 92 % and not in the images a second. `--limit` cuts the data for a trial without an
accelerator, whose figures say nothing about one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import keep_results

GOAL = 0.92
RATE = 0.002
DECAY = 0.01
SMOOTHING = 0.1
SHIFT = 0.1


def arrays(data: str, limit: int | None) -> dict[str, np.ndarray]:
    """Decoded images of the training and the validation split."""
    from kzoo.data import open_dataset

    dataset = open_dataset(data)
    found = {}
    for name in ("train", "val"):
        split = dataset.split(name)
        places = np.random.default_rng(0).permutation(len(split))[:limit]
        found[f"x_{name}"], found[f"y_{name}"] = split.load(places), split.labels[places]
    return found


def run_kzoo(data: dict[str, np.ndarray], model: str, epochs: int, batch: int) -> list[tuple[float, float]]:
    """(Seconds since the start, validation accuracy) at the end of each epoch."""
    import kzoo

    ends: list[tuple[float, float]] = []

    class Ends:
        def line(self, text: str) -> None:
            if text.startswith("epoch"):
                accuracy = float(text.split("val_accuracy ")[1].split()[0])
                ends.append((time.perf_counter() - started, accuracy))

        def status(self, text: str) -> None:
            raise AssertionError("never wanted")

        def wants_status(self) -> bool:
            return False

    settings = {
        "optimizer.learning_rate": RATE,
        "optimizer.weight_decay": DECAY,
        "optimizer.ema": None,
        "regularisation.label_smoothing": SMOOTHING,
        "augmentation.shift": SHIFT,
        "callbacks.early_stopping": None,
        "precision": "mixed_bfloat16",
    }
    tested = {"x_test": data["x_val"], "y_test": data["y_val"]}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        options = {"recipe": "image", "epochs": epochs, "batch_size": batch, "settings": settings}
        kzoo.train(model, data={**data, **tested}, out=Path(folder) / "run", reporter=Ends(), **options)
    return ends


def run_keras(data: dict[str, np.ndarray], model: str, epochs: int, batch: int) -> list[tuple[float, float]]:
    """As `run_kzoo`."""
    import keras

    import kzoo

    keras.config.set_dtype_policy("mixed_bfloat16")
    shape, classes = data["x_train"].shape[1:], int(data["y_train"].max()) + 1
    layers = keras.layers
    augmented = [layers.RandomFlip("horizontal"), layers.RandomTranslation(SHIFT, SHIFT, fill_mode="constant")]
    inner = kzoo.create_model(model, input_shape=shape, classes=classes)
    whole = keras.Sequential([keras.Input(shape), *augmented, inner])
    steps = -(-len(data["x_train"]) // batch) * epochs
    eye = np.eye(classes, dtype="float32")
    whole.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(RATE, steps), DECAY, global_clipnorm=1.0),
        keras.losses.CategoricalCrossentropy(label_smoothing=SMOOTHING),
        metrics=["accuracy"],
    )
    ends: list[tuple[float, float]] = []

    class Ends(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            ends.append((time.perf_counter() - started, float((logs or {})["val_accuracy"])))

    started = time.perf_counter()
    whole.fit(
        data["x_train"].astype("float32"),
        eye[data["y_train"]],
        validation_data=(data["x_val"].astype("float32"), eye[data["y_val"]]),
        batch_size=batch,
        epochs=epochs,
        callbacks=[Ends()],
        verbose=0,
    )
    return ends


def run_torch(data: dict[str, np.ndarray], model: str, epochs: int, batch: int) -> list[tuple[float, float]]:
    """As `run_kzoo`; always ResNet18."""
    import torch
    from torch import nn

    from bench.torch_resnet import resnet18

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    started = time.perf_counter()
    held = {name: torch.from_numpy(values).to(device) for name, values in data.items()}
    net = resnet18(int(data["y_train"].max()) + 1).to(device).to(memory_format=torch.channels_last)
    count, side = len(data["x_train"]), data["x_train"].shape[1]
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, -(-count // batch) * epochs)
    loss_of = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    margin = round(SHIFT * side)

    def scaled(images: Any) -> Any:
        return (images.float() / 255).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def augmented(images: Any) -> Any:
        padded = nn.functional.pad(images, (0, 0, margin, margin, margin, margin))
        rows = torch.arange(side, device=device) + torch.randint(2 * margin + 1, (len(images), 1), device=device)
        columns = torch.arange(side, device=device).expand(len(images), side)
        flipped = torch.rand(len(images), 1, device=device) < 0.5
        columns = torch.where(flipped, side - 1 - columns, columns)
        columns = columns + torch.randint(2 * margin + 1, (len(images), 1), device=device)
        places = torch.arange(len(images), device=device)[:, None, None]
        return padded[places, rows[:, :, None], columns[:, None, :]]

    ends = []
    for _ in range(epochs):
        net.train()
        order = torch.randperm(count, device=device)
        for start in range(0, count, batch):
            places = order[start : start + batch]
            with torch.autocast(device, torch.bfloat16):
                loss = loss_of(net(scaled(augmented(held["x_train"][places]))), held["y_train"][places])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        net.eval()
        right = 0
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            for start in range(0, len(held["x_val"]), batch):
                answers = net(scaled(held["x_val"][start : start + batch])).argmax(1)
                right += int((answers == held["y_val"][start : start + batch]).sum())
        ends.append((time.perf_counter() - started, right / len(held["x_val"])))
    return ends


WAYS: dict[str, Callable[..., list[tuple[float, float]]]] = {
    "kzoo": run_kzoo,
    "plain Keras on JAX": run_keras,
    "plain PyTorch": run_torch,
}


def row(way: str, model: str, images: int, ends: list[tuple[float, float]]) -> dict[str, Any]:
    """What the ends of the epochs say."""
    times = [seconds for seconds, _ in ends]
    reached = next((seconds for seconds, accuracy in ends if accuracy >= GOAL), None)
    return {
        "way": way,
        "model": model,
        "training images": images,
        "epochs": len(ends),
        "first epoch with compilation, s": round(times[0], 1),
        "images/s, with validation": round(images / float(np.median(np.diff(times)))),
        f"s to {GOAL:.0%}": "not reached" if reached is None else round(reached, 1),
        "best validation accuracy": round(max(accuracy for _, accuracy in ends), 4),
    }


def main() -> None:
    """Run each way in its own process; print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with train/CLASS/*.jpg")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--limit", type=int, help="images of a split, for a trial")
    parser.add_argument("--way", choices=WAYS, help="this one alone, in this process, as JSON")
    chosen = parser.parse_args()
    if chosen.way:
        data = arrays(chosen.data, chosen.limit)
        ends = WAYS[chosen.way](data, chosen.model, chosen.epochs, chosen.batch_size)
        print(json.dumps(row(chosen.way, chosen.model, len(data["x_train"]), ends)))
        return
    options = ["--epochs", str(chosen.epochs), "--batch-size", str(chosen.batch_size), "--model", chosen.model]
    options += [] if chosen.limit is None else ["--limit", str(chosen.limit)]
    rows = []
    for way in WAYS if chosen.model == "resnet18" else [name for name in WAYS if name != "plain PyTorch"]:
        command = [sys.executable, "-m", "bench.accelerator", "--data", chosen.data, "--way", way, *options]
        environment = {**os.environ, "KERAS_BACKEND": "jax"}
        finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(finished.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    name = "accelerator" if chosen.limit is None else "accelerator_trial"
    print(keep_results(name, " ".join(["python -m bench.accelerator --data CIFAR10", *options]), rows))


if __name__ == "__main__":
    main()
