"""Datasets by name: digits, keras.datasets through the child process, and real CIFAR-10 JPEGs."""

from __future__ import annotations

import json
import os
import tarfile
import textwrap
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kzoo.data import keras_datasets, list_datasets, open_dataset
from kzoo.data.dataset import SPLITS
from kzoo.errors import DataError, UsageError

DATA = Path(os.environ.get("KZOO_DATA", Path(__file__).parents[3] / "../shared/data"))


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    original = load_digits()
    images, sequences = open_dataset("digits"), open_dataset("digits", kind="sequence")
    assert images.input.shape == (8, 8, 1) and sequences.input.shape == (8, 8)
    assert images.classes == sequences.classes == tuple("0123456789")
    total = 0
    for name in SPLITS:
        image, sequence = images.split(name), sequences.split(name)
        rows = [int(image.name(i)[7:-1]) for i in range(len(image))]
        np.testing.assert_array_equal(
            image.load(np.arange(len(image)))[..., 0], np.rint(original.images[rows] * 15.9375)
        )
        np.testing.assert_array_equal(sequence.load(np.arange(len(image))), original.images[rows])
        np.testing.assert_array_equal(image.labels, original.target[rows])
        total += len(rows)
    assert total == 1797 and images.train.load([0]).dtype == np.uint8 and sequences.val.load([0]).dtype == np.float32


def test_digits_at_another_size_for_a_model_of_colour_images():
    dataset = open_dataset("digits", size=32, channels=3)
    batch = dataset.train.load([0, 1, 2])
    assert batch.shape == (3, 32, 32, 3) and (batch[..., :1] == batch).all()


def test_description_is_json_and_complete():
    description = json.loads(json.dumps(open_dataset("digits").describe()))
    assert set(description) == {"name", "source", "fingerprint", "input", "classes", "splits", "skipped", "repeated"}
    assert sum(split["samples"] for split in description["splits"].values()) == 1797
    assert all(sum(s["per_class"].values()) == s["samples"] for s in description["splits"].values())
    assert description["fingerprint"] == "b43999681acf9b7d6a4594d099d4699a3c884f8e2dfc394cf6774d3d9c3172eb"


def test_names_are_listed_and_unknown_ones_get_the_nearest():
    listed = {info.name: info for info in list_datasets()}
    assert list(listed) == ["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"]
    assert listed["digits"].offline and not listed["cifar10"].offline
    assert listed["cifar100"].classes == 100 and listed["cifar10"].shape == (32, 32, 3)
    with pytest.raises(UsageError, match="Did you mean cifar10"):
        open_dataset("cifar-10")
    with pytest.raises(UsageError, match="Known: cifar10"):
        open_dataset("qqqq")


def test_names_of_cifar100_are_the_archives():
    names = keras_datasets.KERAS_DATASETS["cifar100"].classes
    assert len(set(names)) == 100 and list(names) == sorted(names)


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """Put another script in the place of the child that downloads."""

    def use(body: str) -> Path:
        script = tmp_path / "loader.py"
        script.write_text("import sys\nimport numpy as np\nname, folder = sys.argv[1:]\n" + textwrap.dedent(body))
        monkeypatch.setattr(keras_datasets, "_LOADER", script)
        return script

    return use


FAKE = """
    shape = (28, 28) if "mnist" in name else (32, 32, 3)
    classes = 100 if name == "cifar100" else 10
    for split, count in (("train", 20 * classes), ("test", 2 * classes)):
        y = (np.arange(count) % classes).astype(np.uint8)
        x = np.zeros((count, *shape), np.uint8)
        x[:] = (np.arange(count) % 256).reshape(-1, *[1] * len(shape))
        np.save(f"{folder}/x_{split}.npy", x)
        np.save(f"{folder}/y_{split}.npy", y if "mnist" in name else y[:, None])
    print("progress that no one must see")
"""


@pytest.mark.parametrize("name", keras_datasets.KERAS_DATASETS)
def test_keras_dataset_is_fetched_once_and_mapped(name, loader, own_cache, capfd):
    script = loader(FAKE)
    dataset = open_dataset(name)
    script.write_text("raise SystemExit(9)")
    again = open_dataset(name)
    classes = len(dataset.classes)
    assert dataset.fingerprint == again.fingerprint
    assert {s: len(dataset.split(s)) for s in SPLITS} == {
        "train": 17 * classes,
        "val": 3 * classes,
        "test": 2 * classes,
    }
    assert np.bincount(dataset.val.labels).tolist() == [3] * classes
    assert dataset.test.name(5) == "test[5]" and dataset.val.name(0).startswith("train[")
    number = int(dataset.val.name(4)[6:-1])
    assert (dataset.val.load([4]) == number % 256).all() and dataset.val.labels[4] == number % classes
    assert isinstance(dataset.train._part.x, np.memmap)
    assert sorted(path.name for path in (own_cache / "datasets").iterdir()) == [name]
    assert next(info for info in list_datasets() if info.name == name).offline
    assert capfd.readouterr() == ("", "")


def test_mnist_is_a_sequence_of_rows_and_cifar_is_none(loader):
    loader(FAKE)
    assert open_dataset("mnist", kind="sequence").input.shape == (28, 28)
    with pytest.raises(DataError, match=r"\(samples, steps, features\)"):
        open_dataset("cifar10", kind="sequence")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('no route to host')", "no route to host"),
        ("np.save(f'{folder}/x_train.npy', np.zeros(3)); sys.exit(3)", "ended with 3"),
        ("import os; os.kill(os.getpid(), 9)", "ended with -9"),
    ],
)
def test_failed_download_is_one_line_and_leaves_nothing(loader, own_cache, capfd, body, reason):
    loader(body)
    with pytest.raises(DataError, match=rf"mnist must be downloaded.*{reason}.*use digits") as caught:
        open_dataset("mnist")
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)
    assert list((own_cache / "datasets").iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_damaged_store_says_what_to_remove(loader, own_cache):
    loader(FAKE)
    open_dataset("mnist")
    (own_cache / "datasets" / "mnist" / "x_test.npy").write_bytes(b"\x93NUM")
    with pytest.raises(DataError, match=r"x_test\.npy is damaged"):
        open_dataset("mnist")


def test_unwritable_store_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="KZOO_CACHE"):
        open_dataset("mnist")
    assert len(list_datasets()) == 5


def test_real_loader_without_a_network(monkeypatch, tmp_path, capfd):
    # A proxy at a port where nothing listens stands for a network that is not there, on machines that have one too.
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(DataError, match=r"mnist must be downloaded once and that failed: .*use digits") as caught:
        open_dataset("mnist")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_real_loader_with_what_keras_has_stored(monkeypatch, tmp_path):
    """The archive that Keras caches is read by Keras itself, in the child; nothing is downloaded."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "datasets").mkdir(parents=True)
    x, y = np.random.RandomState(0).randint(0, 256, (60, 28, 28), np.uint8), np.arange(60, dtype=np.uint8) % 10
    np.savez(tmp_path / "keras" / "datasets" / "mnist.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    wrapper = tmp_path / "loader.py"
    wrapper.write_text(
        textwrap.dedent(f"""
        import runpy, sys
        import keras.src.datasets.mnist as mnist
        mnist.get_file = lambda fname, **_: {str(tmp_path / "keras" / "datasets")!r} + "/" + fname
        runpy.run_path({str(keras_datasets._LOADER)!r}, run_name="__main__")
    """)
    )
    monkeypatch.setattr(keras_datasets, "_LOADER", wrapper)
    dataset = open_dataset("mnist")
    np.testing.assert_array_equal(dataset.test.load(np.arange(20))[..., 0], x[:20])


def test_silent_host_is_given_up_soon(monkeypatch):
    """The guard around connecting ends a child that a network without answer would hold for minutes."""
    from kzoo.data import _keras_download

    reasons: list[str] = []
    monkeypatch.setattr(_keras_download, "_fail", reasons.append)
    _keras_download._within(0.05, lambda address: time.sleep(0.5))(("example.org", 443))
    _keras_download._within(5.0, lambda address: None)(("example.org", 443))
    assert reasons == ["no connection to example.org within 0 s"]


@pytest.fixture(scope="module")
def cifar(tmp_path_factory) -> Path:
    """Thirty images of each class and split of the real archive."""
    archive = DATA / "cifar10.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no {archive}: set KZOO_DATA to the folder of the real data")
    root = tmp_path_factory.mktemp("cifar")
    counts: Counter[str] = Counter()
    with tarfile.open(archive, "r|xz") as members:
        for member in members:
            place = Path(member.name)
            if not member.isfile() or ".." in place.parts or len(place.parts) != 4 or counts[str(place.parent)] >= 30:
                continue
            counts[str(place.parent)] += 1
            content = members.extractfile(member)
            assert content is not None
            target = root.joinpath(*place.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
    return root / "cifar10"


def test_real_jpegs(cifar):
    dataset = open_dataset(cifar, default_size=(224, 224))
    assert dataset.input.shape == (32, 32, 3) and dataset.skipped == ()
    assert dataset.classes == keras_datasets.KERAS_DATASETS["cifar10"].classes
    assert {name: len(dataset.split(name)) for name in SPLITS} == {"train": 250, "val": 50, "test": 300}
    batch = dataset.train.load(np.arange(250))
    assert 100 < batch.mean() < 140 and 50 < batch.std() < 75
