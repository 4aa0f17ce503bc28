"""The image sets of keras.datasets, fetched once by a child process and mapped from disk ever after."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kzoo.errors import DataError

from .arrays import Part, from_parts
from .dataset import Array, Dataset, DatasetInfo
from .options import Options
from .system import cache_path

logger = logging.getLogger(__name__)

_LOADER = Path(__file__).with_name("_keras_download.py")
_FILES = ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy")


@dataclass(frozen=True, slots=True)
class _Record:
    description: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]


# The archive's own order.
# fmt: off
_CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)
# fmt: on

KERAS_DATASETS = {
    "mnist": _Record("70,000 handwritten digits", (28, 28, 1), tuple("0123456789")),
    "fashion_mnist": _Record(
        "70,000 pictures of clothes",
        (28, 28, 1),
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "cifar10": _Record(
        "60,000 photographs of animals and vehicles",
        (32, 32, 3),
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": _Record(
        "60,000 photographs of 100 things, fine labels",
        (32, 32, 3),
        _CIFAR100,
    ),
}


def keras_infos() -> list[DatasetInfo]:
    """Describe the sets; those that are stored already open without a network."""
    stored = cache_path("datasets")
    return [
        DatasetInfo(name, record.description, len(record.classes), record.shape, (stored / name).is_dir())
        for name, record in KERAS_DATASETS.items()
    ]


def open_keras(name: str, options: Options) -> Dataset:
    """Open one of keras.datasets. Its test split is the official one; val is carved out of train.

    Raises:
        DataError: When it is not stored yet and cannot be downloaded.
    """
    folder = cache_path("datasets") / name
    if not folder.is_dir():
        _fetch(name, folder)
    x_train, y_train, x_test, y_test = (_map(folder / file) for file in _FILES)
    parts = {"train": Part("train", x_train, y_train), "test": Part("test", x_test, y_test)}
    return from_parts(parts, KERAS_DATASETS[name].classes, name, name, options)


def _fetch(name: str, folder: Path) -> None:
    """Let a child process, the only one to import Keras, store the arrays; they appear all at once."""
    logger.info("downloading %s, once, to %s", name, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as temporary:
            made = Path(temporary) / name
            made.mkdir()
            _run_loader(name, made)
            if not folder.is_dir():  # another process may have stored the same in the meantime
                made.rename(folder)
    except OSError as error:
        raise DataError(f"{name} cannot be stored in {folder}: {error.strerror or error}. Set KZOO_CACHE.") from error


def _run_loader(name: str, folder: Path) -> None:
    # -P keeps the loader's own folder out of the import path.
    command = [sys.executable, "-P", str(_LOADER), name, str(folder)]
    child = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    if child.returncode == 0:
        return
    messages = child.stderr.decode(errors="replace").strip()
    logger.debug("%s", messages)
    reason = messages.splitlines()[-1][:300] if messages else f"the loader ended with {child.returncode}"
    raise DataError(
        f"{name} must be downloaded once and that failed: {reason.rstrip('.')}. "
        "Check the network and try again, or use digits, which is embedded and needs none."
    )


def _map(file: Path) -> Array:
    try:
        array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"The stored {file} is damaged. Remove {file.parent}: it is fetched anew.") from error
    return array
