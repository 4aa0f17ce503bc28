"""Arrays, `.npz` files, labels and splitting."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from kzoo.data import match_classes, open_dataset
from kzoo.data.dataset import SPLITS
from kzoo.data.npz import read_npz
from kzoo.data.splitting import carve
from kzoo.errors import DataError, UsageError


def pixels(count: int = 30, *shape: int, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (count, *(shape or (6, 5, 3)))).astype(dtype)


def labels(count: int = 30, classes: int = 3) -> np.ndarray:
    return np.arange(count) % classes


def whole(split) -> np.ndarray:
    return split.load(np.arange(len(split)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, np.float32, np.float64])
def test_rows_come_back_with_their_labels(dtype):
    x, y = pixels(dtype=dtype), labels()
    dataset = open_dataset((x, y))
    for name in SPLITS:
        split = dataset.split(name)
        rows = [int(split.name(i).removeprefix("arrays[").removesuffix("]")) for i in range(len(split))]
        np.testing.assert_array_equal(whole(split), x[rows])
        np.testing.assert_array_equal(split.labels, y[rows])
        assert whole(split).dtype == np.uint8 and split.labels.dtype == np.int64


def test_grey_images_get_a_channel_and_lists_are_arrays():
    dataset = open_dataset((pixels(30, 6, 5).tolist(), [str(label) for label in labels()]))
    assert dataset.input.shape == (6, 5, 1) and dataset.train.load([0]).shape == (1, 6, 5, 1)


def test_arrays_change_size_only_when_asked():
    x = pixels(30, 6, 6)
    assert open_dataset((x, labels()), default_size=(2, 2)).input.shape == (6, 6, 1)
    resized = open_dataset((x, labels()), size=12, channels=3)
    assert resized.input.shape == (12, 12, 3) and whole(resized.val).shape == (6, 12, 12, 3)
    assert resized.val.name(0).startswith("arrays[")
    assert resized.fingerprint == open_dataset((x, labels())).fingerprint


def test_fingerprint_follows_the_content():
    x, y = pixels(), labels()
    prints = {open_dataset(source).fingerprint for source in [(x, y), (x[::-1], y), (x, (y + 1) % 3), (x, y + 1)]}
    assert len(prints) == 4
    assert open_dataset({"x": x, "y": y}, seed=3).fingerprint in prints


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_all_splits(tmp_path, save):
    parts = {f"x_{name}": pixels(9, seed=i) for i, name in enumerate(SPLITS)}
    save(tmp_path / "d.npz", **parts, **{f"y_{name}": labels(9) for name in SPLITS}, classes=["a", "b", "c"])
    dataset = open_dataset(tmp_path / "d.npz")
    assert dataset.name == "d" and dataset.classes == ("a", "b", "c")
    for name in SPLITS:
        np.testing.assert_array_equal(whole(dataset.split(name)), parts[f"x_{name}"])
    assert dataset.val.name(3) == "val[3]"


def test_uncompressed_npz_is_mapped_and_compressed_is_not(tmp_path):
    x = np.asfortranarray(pixels())
    np.savez(tmp_path / "plain.npz", x=x, y=labels(), names=np.array(["a"]))
    np.savez_compressed(tmp_path / "packed.npz", x=x, y=labels())
    plain, packed = read_npz(tmp_path / "plain.npz"), read_npz(tmp_path / "packed.npz")
    assert isinstance(plain["x"], np.memmap) and not isinstance(packed["x"], np.memmap)
    np.testing.assert_array_equal(plain["x"], x)
    np.testing.assert_array_equal(packed["x"], x)
    assert plain["names"].tolist() == ["a"]


def test_val_and_test_are_never_the_same_samples():
    x, y = pixels(60), labels(60)
    dataset = open_dataset({"x_train": x, "y_train": y, "x_val": x[:9], "y_val": y[:9]})
    assert {name: len(dataset.split(name)) for name in SPLITS} == {"train": 51, "val": 9, "test": 9}
    assert {dataset.test.name(i) for i in range(9)}.isdisjoint(dataset.train.name(i) for i in range(51))


def test_sequences_are_float32():
    x = np.random.RandomState(0).randn(30, 7, 2)
    dataset = open_dataset((x, labels()), kind="sequence")
    assert dataset.input.shape == (7, 2) and dataset.train.load([0]).dtype == np.float32
    with pytest.raises(UsageError, match="for images"):
        open_dataset((x, labels()), kind="sequence", size=8)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["b", "a", "c10"] * 10, ("a", "b", "c10")),
        (np.array([3, 7, 5] * 10), ("3", "5", "7")),
        (np.array([-1, 1] * 15), ("-1", "1")),
        (np.array([b"yes", b"no"] * 15), ("no", "yes")),
        (np.array(["u", "v"] * 15, object), ("u", "v")),
        (np.array([[0], [1], [2]] * 10, np.uint8), ("0", "1", "2")),
    ],
)
def test_labels_become_places(y, classes):
    dataset = open_dataset((pixels(), y))
    assert dataset.classes == classes
    flat = [value.decode() if isinstance(value, bytes) else str(value) for value in np.ravel(np.asarray(y)).tolist()]
    for name in SPLITS:
        split = dataset.split(name)
        rows = [int(split.name(i)[7:-1]) for i in range(len(split))]
        assert [classes[label] for label in split.labels] == [flat[row] for row in rows]


def test_names_of_classes_keep_their_order():
    x = pixels()
    named = open_dataset({"x": x, "y": labels(), "classes": ["zebra", "ant", "cow"]})
    assert named.classes == ("zebra", "ant", "cow") and set(named.test.labels) == {0, 1, 2}
    words = np.array(["zebra", "ant", "cow"])[labels()]
    by_word = open_dataset({"x": x, "y": words, "classes": ["zebra", "ant", "cow"]})
    np.testing.assert_array_equal(by_word.train.labels, named.train.labels)


X, Y = pixels(), labels()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((X / 255.0, Y), "Multiply by 255"),
        ((X.astype(np.int16) - 128, Y), "pixels 0-255.*from -128"),
        ((X.astype(np.int32) * 2, Y), "pixels 0-255"),
        ((X.astype(np.float32) * np.nan, Y), r"finite.*nan at arrays x\[0, 0, 0, 0\]"),
        ((X.astype(bool), Y), "Expected numbers"),
        ((X.astype(object), Y), "Expected numbers"),
        ((X[..., :2], Y), r"\(30, 6, 5, 2\)"),
        ((X[:, :1, :1], Y), "2x2"),
        ((X.reshape(30, -1), Y), r"\(30, 90\)"),
        ((X[:0], Y[:0]), "none empty"),
        ((X, Y[:29]), "30, .*29"),
        ((X, 5), r"y of shape \(\)"),
        ((X, Y * 0), "two classes"),
        ((X, Y.astype(float)), "whole number"),
        ((X, np.eye(3)[Y]), "argmax"),
        ((X, [None] * 30), "whole number"),
        (([[1, 2], [3]], [0, 1]), "samples of one shape"),
        ((X, Y, Y), "a tuple of 3"),
        ({"x": X}, "without y"),
        ({"y_train": Y}, "without x_train"),
        ({}, "nothing"),
        ({"x": X, "y": Y, "x_train": X, "y_train": Y}, "not both"),
        ({"x_train": X, "y_train": Y, "x_valid": X, "y_valid": Y}, "x_valid.*x_val"),
        ({"x_val": X, "y_val": Y}, "x_train and y_train"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y}, "one shape in all splits"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 5}, "test has the label 5"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y.astype(str)}, "one type"),
        ({"x": X, "y": Y, "classes": ["a", "b"]}, "label 2"),
        ({"x": X, "y": Y, "classes": ["a", "b", "a"]}, "one twice"),
        ({"x": X, "y": Y, "classes": ["a", "b", "c", "d"]}, "none of 'd'"),
        ({"x": X, "y": Y, "classes": [1, 2, 3]}, "list of strings"),
        ((X[:7], Y[:7]), r"at least 3 different samples of each class.*1 has 2, 2 has 2"),
        (7, "int"),
        ("no/such/folder", "does not exist"),
        ("nothing.npz", "does not exist"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(source, message):
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(source)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_value_that_is_no_number_is_named_by_its_index(monkeypatch, value):
    monkeypatch.setattr("kzoo.data.arrays._CHUNK_BYTES", 1)
    x = np.zeros((30, 4, 2))
    x[17, 3, 1] = value
    with pytest.raises(DataError, match=r"arrays x\[17, 3, 1\]"):
        open_dataset((x, Y), kind="sequence")


def test_files_that_are_no_npz(tmp_path):
    np.savez(tmp_path / "objects.npz", x=X, y=np.array([{}] * 30, object))
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "whole.npz", x=X, y=Y)
    (tmp_path / "torn.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:900])
    np.savez_compressed(tmp_path / "packed.npz", x=X, y=Y)
    content = bytearray((tmp_path / "packed.npz").read_bytes())
    content[200:400] = bytes(200)
    (tmp_path / "packed.npz").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("x.npy", b"nonsense")
    (tmp_path / "data.csv").write_text("a,b")
    for name, message in [
        ("objects", "never loaded"),
        ("empty", "cannot be read"),
        ("torn", "cannot be read"),
        ("packed", "cannot be read"),
        ("other", "cannot be read"),
    ]:
        with pytest.raises(DataError, match=message) as caught:
            open_dataset(tmp_path / f"{name}.npz")
        assert f"{name}.npz" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"data\.csv"):
        open_dataset(tmp_path / "data.csv")


def test_compressed_npz_larger_than_memory_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "big.npz", x=np.zeros((100, 64, 64), np.uint8), y=labels(100))
    monkeypatch.setattr("kzoo.data.npz.available_memory", lambda: 1000)
    with pytest.raises(DataError, match=r"numpy\.savez"):
        open_dataset(tmp_path / "big.npz")


@pytest.mark.parametrize("seed", range(3))
def test_carving_is_stratified_to_the_sample(seed):
    sizes = [3, 4, 10, 20, 33, 100]
    y = np.random.RandomState(seed).permutation(np.repeat(np.arange(6), sizes))
    parts = carve(y, "abcdef", {"val": 0.15, "test": 0.15}, seed)
    assert np.bincount(y[parts["val"]]).tolist() == [1, 1, 2, 3, 5, 15]
    assert np.bincount(y[parts["test"]]).tolist() == [1, 1, 2, 3, 5, 15]
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(y)))


def test_carving_leaves_train_something_at_extreme_fractions():
    parts = carve(np.repeat([0, 1], 4), "ab", {"val": 0.49, "test": 0.49}, 0)
    assert np.bincount(np.repeat([0, 1], 4)[parts["train"]]).tolist() == [1, 1]


def test_carving_is_the_same_for_ever():
    parts = carve(np.arange(40) % 2, "ab", {"val": 0.15, "test": 0.15}, 0)
    assert parts["val"].tolist() == [2, 3, 23, 36, 37, 38]
    assert parts["test"].tolist() == [5, 16, 20, 25, 34, 35]


def test_labels_follow_the_models_classes():
    dataset = open_dataset({"x": X, "y": Y, "classes": ["cat", "dog", "owl"]})
    matched = match_classes(dataset, ["hen", "owl", "dog", "cat"])
    assert matched.classes == ("hen", "owl", "dog", "cat")
    for name in SPLITS:
        before, after = dataset.split(name), matched.split(name)
        assert [matched.classes[i] for i in after.labels] == [dataset.classes[i] for i in before.labels]
        np.testing.assert_array_equal(whole(after), whole(before))
        assert after.name(0) == before.name(0)
    assert match_classes(dataset, dataset.classes) is dataset
    with pytest.raises(DataError, match=r"labels that are not the model's: dog\. The model knows cat, owl, hen"):
        match_classes(dataset, ["cat", "owl", "hen"])


def test_split_by_name():
    dataset = open_dataset((X, Y))
    assert dataset.split("val") is dataset.val
    with pytest.raises(UsageError, match="split='dev'"):
        dataset.split("dev")


# Unbatched one-hot labels look like a batch of whole numbers.
@pytest.mark.parametrize(("batched", "one_hot"), [(True, True), (True, False), (False, False)])
def test_a_tf_dataset_is_read_into_arrays(batched, one_hot):
    import tensorflow as tf

    x = np.arange(40 * 16, dtype=np.uint8).reshape(40, 4, 4)
    y = np.arange(40) % 2
    stream = tf.data.Dataset.from_tensor_slices((x, np.eye(2)[y] if one_hot else y))
    opened = open_dataset(stream.batch(7) if batched else stream)
    assert opened.fingerprint == open_dataset((x, y)).fingerprint
