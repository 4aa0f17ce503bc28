"""How long training waits for class folders of JPEGs: `python -m bench.input_path --data CIFAR10`.

Three measurements, on the first images of a folder with the class folders under `train/`:

- waiting: an epoch of `model.fit` on kzoo's feed against one on the same batches, augmented and ready in memory. On a
  processor the feed also takes time from the step, which only this ratio sees. Beside it the share of an epoch that is
  spent in the feed's `next`, in a loop of single steps. Both for a split that memory holds, and for one whose images
  are decoded anew each epoch (`data.cache=none`). The ways take turns, and the medians count.
- feed alone: images a second without any step, against `keras.utils.image_dataset_from_directory` with Keras's own
  layers, cached, as its guides have it.
- growth: folders of 1,000 to 100,000 files: seconds to open, to decode an epoch, and what stays resident.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from bench.machine import keep_results

BATCH = 128
GROWTH = (1_000, 10_000, 100_000)


def make_folder(source: Path, target: Path, images: int) -> Path:
    """Class folders of `images` files: links to those of `source`, every tenth encoded anew."""
    classes = sorted(path for path in (source / "train").iterdir() if path.is_dir())
    files = {path.name: sorted(path.iterdir()) for path in classes}
    for number in range(images):
        name = classes[number % len(classes)].name
        place = number // len(classes)
        file = files[name][place % len(files[name])]
        link = target / name / f"{place:06}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        if number % 10 == 0:
            with Image.open(file) as image:
                image.save(link, quality=90 - place % 20)
        else:
            os.link(file, link) if file.stat().st_dev == link.parent.stat().st_dev else link.symlink_to(file)
    return target


def epoch_seconds(model: Any, batches: Any) -> float:
    """How long `model.fit` takes for all of the batches."""
    started = time.perf_counter()
    model.fit(batches, verbose=0)
    return time.perf_counter() - started


def waiting(model: str, folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Rows of one model: with the images in memory, and decoded anew."""
    import tensorflow as tf

    from kzoo.training import make_plan, resolve_recipe
    from kzoo.training.feed import make_feed
    from kzoo.training.phases import Phase, compile_for

    rows = []
    for cache in ("auto", "none"):
        # No file goes to validation and test that an epoch could use, but what the schema wants at least.
        settings = {
            "data.cache": cache,
            "data.fractions": [0.98, 0.01, 0.01],
            "batch_size": BATCH,
            "epochs": 4,
        }
        plan = make_plan(resolve_recipe(model, str(folder), recipe="image", overrides=settings))
        compiled = plan.training_model()
        compile_for(compiled, plan, Phase(0, 4, None, plan.recipe.optimizer.learning_rate))
        feed = make_feed(plan.dataset.train, plan.order(), len(plan.dataset.classes), plan.augmenter)
        batches = [batch for batch in feed if len(batch[0]) == BATCH]
        feed = feed.take(len(batches))
        stacked = tuple(tf.stack(parts) for parts in zip(*batches, strict=True))
        ready = tf.data.Dataset.from_tensor_slices(stacked).prefetch(2)
        for warm in (ready, feed):
            epoch_seconds(compiled, warm)
        compiled.train_on_batch(*batches[0])
        times: dict[str, list[float]] = {"feed": [], "ready": [], "blocked": []}
        for _ in range(rounds):
            times["ready"].append(epoch_seconds(compiled, ready))
            times["feed"].append(epoch_seconds(compiled, feed))
            times["blocked"].append(blocked_share(feed, compiled.train_on_batch))
        medians = {name: statistics.median(values) for name, values in times.items()}
        rows.append(
            {
                "model": model,
                "data.cache": cache,
                "batches of 128": len(batches),
                "ready in memory, s": round(medians["ready"], 2),
                "kzoo's feed, s": round(medians["feed"], 2),
                "ratio": round(medians["feed"] / medians["ready"], 3),
                "ratios by round": ", ".join(
                    f"{ours / plain:.3f}" for ours, plain in zip(times["feed"], times["ready"], strict=True)
                ),
                "share blocked in next": round(medians["blocked"], 4),
            }
        )
        print(rows[-1], flush=True)
    return rows


def blocked_share(feed: Iterable[Any], step: Callable[..., Any]) -> float:
    """Share of an epoch's time that passes in the feed's `next`; the first batch, which starts it, is left out."""
    iterator = iter(feed)
    next(iterator)
    started, blocked = time.perf_counter(), 0.0
    while True:
        asked = time.perf_counter()
        batch = next(iterator, None)
        blocked += time.perf_counter() - asked
        if batch is None:
            return blocked / (time.perf_counter() - started)
        step(*batch)


def feed_alone(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Images a second of both feeds in their second and later epochs."""
    import keras
    import tensorflow as tf

    from kzoo.training import make_plan, resolve_recipe
    from kzoo.training.feed import make_feed

    plan = make_plan(resolve_recipe("resnet8", str(folder), recipe="image", overrides={"batch_size": BATCH}))
    ours = make_feed(plan.dataset.train, plan.order(), len(plan.dataset.classes), plan.augmenter)
    shift = plan.recipe.augmentation.shift
    flip, move = keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(shift, shift, "constant")
    plain = keras.utils.image_dataset_from_directory(
        folder, label_mode="categorical", batch_size=None, image_size=plan.dataset.input.shape[:2], verbose=False
    )
    plain = plain.cache().shuffle(len(plan.dataset.train)).batch(BATCH)
    plain = plain.map(lambda x, y: (move(flip(x, training=True), training=True), y), tf.data.AUTOTUNE).prefetch(2)
    rates: dict[str, list[float]] = {"kzoo": [], "plain Keras": []}
    for _ in range(rounds + 1):
        for name, feed in (("kzoo", ours), ("plain Keras", plain)):
            started, images = time.perf_counter(), 0
            for batch, _labels in feed:
                images += len(batch)
            rates[name].append(images / (time.perf_counter() - started))
    return [
        {"feed": name, "images/s, first epoch": round(first), "images/s, later": round(statistics.median(later))}
        for name, (first, *later) in rates.items()
    ]


# In a process of its own, whose memory is nobody else's.
GROWTH_SCRIPT = """
import json, os, sys, time
from kzoo.data import open_dataset
from kzoo.training.feed import EpochOrder, make_feed
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
started = time.perf_counter()
data = open_dataset(sys.argv[1], cache="none", fractions=(0.98, 0.01, 0.01))
first = time.perf_counter() - started
started = time.perf_counter()
data = open_dataset(sys.argv[1], cache="none", fractions=(0.98, 0.01, 0.01))
again = time.perf_counter() - started
feed = make_feed(data.train, EpochOrder(len(data.train), 128, 0), 10)
started, sizes = time.perf_counter(), []
for batch in feed:
    sizes.append(resident())
decoding = time.perf_counter() - started
print(json.dumps([first, again, decoding / len(data.train), sizes[len(sizes) // 10], max(sizes)]))
"""


def growth(source: Path, images: int) -> dict[str, Any]:
    """One row of the table of growth."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        root = make_folder(source, Path(folder) / "images", images)
        environment = {**os.environ, "KZOO_CACHE": str(Path(folder) / "cache"), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", GROWTH_SCRIPT, str(root)]
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    first, again, decoding, early, peak = json.loads(output.splitlines()[-1])
    return {
        "images": images,
        "open first, s": round(first, 2),
        "open again, s": round(again, 2),
        "decode, µs/image": round(decoding * 1e6),
        "resident after a tenth of the epoch, MiB": round(early),
        "most in the epoch, MiB": round(peak),
    }


def main() -> None:
    """Measure, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train/CLASS/*.jpg")
    parser.add_argument("--only", choices=("waiting", "alone", "growth"))
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    command = f"python -m bench.input_path --data CIFAR10 --rounds {chosen.rounds}"
    # Beside the source, so that files can be links and not copies.
    with tempfile.TemporaryDirectory(dir=chosen.data.parent) as folder:
        if chosen.only in (None, "waiting"):
            sizes = {"resnet8": 40, "resnet18": 6}
            rows = itertools.chain.from_iterable(
                waiting(model, make_folder(chosen.data, Path(folder) / model, (count + 1) * BATCH), chosen.rounds)
                for model, count in sizes.items()
            )
            print(keep_results("input_path_waiting", command, list(rows)))
        if chosen.only in (None, "alone"):
            root = make_folder(chosen.data, Path(folder) / "alone", 20_000)
            print(keep_results("input_path_feed", command, feed_alone(root, chosen.rounds)))
    if chosen.only in (None, "growth"):
        print(keep_results("input_path_growth", command, [growth(chosen.data, images) for images in GROWTH]))


if __name__ == "__main__":
    main()
