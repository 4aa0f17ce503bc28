"""Class folders: layouts, splits, skipping, the index, memory."""

from __future__ import annotations

import logging
import os
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.data import open_dataset
from kzoo.data.dataset import SPLITS
from kzoo.errors import DataError, UsageError


def files_of(dataset, root: Path) -> dict[str, list[str]]:
    return {
        name: [os.path.relpath(dataset.split(name).name(i), root) for i in range(len(dataset.split(name)))]
        for name in SPLITS
    }


def test_splits_are_exact_disjoint_and_complete(make_folder):
    root = make_folder({"cat": 20, "dog": 40, "owl": 7})
    dataset = open_dataset(root)
    counts = {name: np.bincount(dataset.split(name).labels).tolist() for name in SPLITS}
    assert counts == {"train": [14, 28, 5], "val": [3, 6, 1], "test": [3, 6, 1]}
    named = [*chain(*files_of(dataset, root).values())]
    assert len(named) == len(set(named)) == 67
    for split in map(dataset.split, SPLITS):
        assert [dataset.classes[label] for label in split.labels] == [
            Path(split.name(i)).parent.name for i in range(len(split))
        ]


def test_pixels_are_those_of_the_named_file(make_folder):
    dataset = open_dataset(make_folder({"cat": 10, "dog": 10}))
    pixels = dataset.val.load([1, 0])
    for place, number in enumerate([1, 0]):
        np.testing.assert_array_equal(pixels[place], np.asarray(Image.open(dataset.val.name(number))))


def test_order_of_the_file_system_does_not_matter(make_folder, tmp_path, monkeypatch):
    root = make_folder({"cat": 30, "dog": 30})
    first = open_dataset(root, seed=5)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Backwards)
    second = open_dataset(root, seed=5)
    assert files_of(first, root) == files_of(second, root)
    assert first.fingerprint == second.fingerprint
    assert files_of(open_dataset(root, seed=6), root) != files_of(first, root)
    assert open_dataset(root, seed=6, size=8).fingerprint == first.fingerprint


def test_fingerprint_follows_the_content_not_the_place(make_folder, tmp_path):
    first = make_folder({"cat": 5, "dog": 5})
    moved = make_folder({"cat": 5, "dog": 5}, root=tmp_path / "moved")
    before = open_dataset(first).fingerprint
    assert open_dataset(moved).fingerprint == before
    Image.new("RGB", (16, 16), "red").save(moved / "cat" / "000.png")
    changed = open_dataset(moved).fingerprint
    assert changed != before
    (moved / "cat" / "000.png").rename(moved / "cat" / "009.png")
    assert open_dataset(moved).fingerprint not in (before, changed)


def test_classes_sort_naturally(make_folder):
    dataset = open_dataset(make_folder({"10": 3, "9": 3, "b": 3, "A": 3, "class 2": 3, "class 11": 3}))
    assert dataset.classes == ("9", "10", "A", "b", "class 2", "class 11")


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_given_splits_are_taken_whole(make_folder, val):
    for under, count in (("train", 5), (val, 3), ("test", 2)):
        root = make_folder({"cat": count, "dog": count}, under)
    dataset = open_dataset(root)
    assert {name: len(dataset.split(name)) for name in SPLITS} == {"train": 10, "val": 6, "test": 4}
    assert all(path.startswith(val + os.sep) for path in files_of(dataset, root)["val"])


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        (["train"], {"train": 28, "val": 6, "test": 6}),
        (["train", "test"], {"train": 34, "val": 6, "test": 40}),
        (["train", "val"], {"train": 34, "val": 40, "test": 6}),
    ],
)
def test_missing_splits_are_carved_out_of_train(make_folder, given, sizes):
    for under in given:
        root = make_folder({"cat": 20, "dog": 20}, under)
    dataset = open_dataset(root)
    assert {name: len(dataset.split(name)) for name in SPLITS} == sizes
    named = [*chain(*files_of(dataset, root).values())]
    assert len(named) == len(set(named))
    for name in set(SPLITS) - set(given):
        assert all(path.startswith("train" + os.sep) for path in files_of(dataset, root)[name])


def test_what_is_no_image_is_ignored(make_folder):
    root = make_folder({"cat": 5, "dog": 5})
    (root / "cat" / "notes.txt").write_text("x")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    (root / "cat" / "._001.png").write_bytes(b"x")
    (root / ".hidden").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "README.md").write_text("x")
    (root / "cat" / "deeper").mkdir()
    Image.new("RGB", (16, 16)).save(root / "cat" / "deeper" / "x.PNG")
    dataset = open_dataset(root)
    assert dataset.classes == ("cat", "dog") and dataset.skipped == ()
    assert sum(len(dataset.split(name)) for name in SPLITS) == 11


def test_a_class_may_be_called_test(make_folder):
    assert open_dataset(make_folder({"test": 4, "train": 4})).classes == ("test", "train")


def test_folders_beside_the_splits_are_named(make_folder, caplog):
    make_folder({"cat": 6, "dog": 6}, "train")
    root = make_folder({"unlabelled": 3})
    with caplog.at_level(logging.WARNING):
        assert open_dataset(root).classes == ("cat", "dog")
    assert "unlabelled" in caplog.text


def test_size_and_channels_are_found(make_folder, tmp_path, picture):
    root = make_folder({"cat": 5, "dog": 5})
    assert open_dataset(root).input.shape == (16, 16, 3)
    assert open_dataset(root, default_size=(224, 224)).input.shape == (16, 16, 3)
    assert open_dataset(root, default_size=(224, 8)).input.shape == (224, 8, 3)
    assert open_dataset(root, size=(20, 10), channels=1, default_size=(8, 8)).input.shape == (20, 10, 1)
    picture(30, 20).save(root / "cat" / "000.png")
    assert open_dataset(root, default_size=(64, 64)).input.shape == (64, 64, 3)
    with pytest.raises(DataError, match="Say size"):
        open_dataset(root)
    for number, file in enumerate(root.rglob("*.png")):
        picture(16, 16, number, mode="L").save(file)
    assert open_dataset(root).input.shape == (16, 16, 1)


def test_mixed_formats_sizes_and_modes_load_together(tmp_path, picture):
    for label in ("a", "b"):
        (tmp_path / "d" / label).mkdir(parents=True)
        for number, (suffix, mode) in enumerate(
            [(".jpg", "RGB"), (".jpeg", "L"), (".png", "RGBA"), (".bmp", "RGB"), (".webp", "RGBA"), (".png", "P")]
        ):
            picture(20 + number, 40 - number, number, mode).save(tmp_path / "d" / label / f"{number}{suffix}")
    dataset = open_dataset(tmp_path / "d", size=24)
    for name in SPLITS:
        split = dataset.split(name)
        assert split.load(np.arange(len(split))).shape == (len(split), 24, 24, 3)


def test_copies_of_a_file_are_drawn_into_one_split(make_folder):
    plain = files_of(open_dataset(root := make_folder({"cat": 20, "dog": 20})), root)
    for split in SPLITS:
        for path in plain[split][:3]:
            (root / path).with_name(f"{Path(path).stem} (copy).png").write_bytes((root / path).read_bytes())
    dataset = open_dataset(root)
    # What was drawn before stays where it was, and each copy is beside its original.
    copies = {split: [f"{path.removesuffix('.png')} (copy).png" for path in plain[split][:3]] for split in SPLITS}
    assert {split: sorted(paths) for split, paths in files_of(dataset, root).items()} == {
        split: sorted(plain[split] + copies[split]) for split in SPLITS
    }
    assert dataset.repeated == ()


def test_a_class_of_nothing_but_copies_is_too_small_to_be_split(make_folder):
    root = make_folder({"cat": 9, "dog": 1})
    for number in range(8):
        (root / "dog" / f"{number} (copy).png").write_bytes((root / "dog" / "000.png").read_bytes())
    with pytest.raises(DataError, match=r"at least 3 different samples of each class.*dog has 1"):
        open_dataset(root)


def test_files_that_given_splits_share_are_named_and_stay(make_folder, caplog):
    for under, count in (("train", 10), ("test", 7)):
        root = make_folder({"cat": count, "dog": count}, under)
    for number in range(6):
        seen = (root / "train" / "cat" / f"00{number}.png").read_bytes()
        (root / "test" / "dog" / f"00{number}.png").write_bytes(seen)
    with caplog.at_level(logging.WARNING):
        dataset = open_dataset(root)
    assert dataset.repeated[0] == "test/dog/000.png = train/cat/000.png"
    assert dataset.describe()["repeated"] == list(dataset.repeated) and len(dataset.repeated) == 6
    assert len(dataset.test) == 14
    assert "6 images of validation and test" in caplog.text and "and 1 more" in caplog.text
    (root / "test" / "dog" / "000.png").unlink()
    assert len(open_dataset(root).repeated) == 5


@pytest.mark.parametrize(
    "damage", [b"", b"just text", "truncate", "one pixel"], ids=["empty", "text", "truncated", "1x1"]
)
def test_one_broken_image_in_a_hundred_is_skipped_and_named(make_folder, caplog, damage):
    root = make_folder({"cat": 60, "dog": 60}, suffix=".jpg")
    victim = root / "dog" / "007.jpg"
    if damage == "truncate":
        victim.write_bytes(victim.read_bytes()[:-200])
    elif damage == "one pixel":
        Image.new("RGB", (1, 1)).save(victim)
    else:
        victim.write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        dataset = open_dataset(root)
    assert len(dataset.skipped) == 1 and dataset.skipped[0].startswith("dog/007.jpg: ")
    assert dataset.describe()["skipped"] == list(dataset.skipped)
    assert sum(len(dataset.split(name)) for name in SPLITS) == 119
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "skipped 1 of 120" in caplog.text and "dog/007.jpg" in caplog.text


def test_more_than_one_percent_broken_is_an_error(make_folder):
    root = make_folder({"cat": 25, "dog": 25})
    (root / "cat" / "003.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 of 50: cat/003\.png"):
        open_dataset(root)


def test_exactly_one_percent_broken_is_not(make_folder):
    root = make_folder({"cat": 50, "dog": 50})
    (root / "cat" / "003.png").write_bytes(b"x")
    assert len(open_dataset(root).skipped) == 1


def test_a_class_of_which_nothing_is_readable_is_an_error(make_folder):
    root = make_folder({"cat": 100, "dog": 1})
    (root / "dog" / "000.png").write_bytes(b"x")
    with pytest.raises(DataError, match="'dog'"):
        open_dataset(root)


def test_folders_that_are_no_dataset(make_folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="Expected class folders"):
        open_dataset(empty)
    with pytest.raises(DataError, match="only 'cat'"):
        open_dataset(make_folder({"cat": 5}, root=tmp_path / "one"))
    lacking = make_folder({"cat": 5, "dog": 0}, root=tmp_path / "lacking")
    with pytest.raises(DataError, match=r"Expected images in the class folder .*dog"):
        open_dataset(lacking)
    with pytest.raises(DataError, match=r"at least 3 different samples of each class.*dog has 2"):
        open_dataset(make_folder({"cat": 5, "dog": 2}, root=tmp_path / "few"))
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="sequences"):
        open_dataset(make_folder({"cat": 5, "dog": 5}, root=tmp_path / "fine"), kind="sequence")
    with pytest.raises(DataError, match="train/"):
        open_dataset(make_folder({"cat": 5, "dog": 5}, "test", root=tmp_path / "only-test"))


def test_splits_must_have_the_same_classes(make_folder):
    make_folder({"cat": 5, "dog": 5, "owl": 5}, "train")
    root = make_folder({"cat": 5, "dog": 5, "hen": 5}, "test")
    with pytest.raises(DataError, match="owl is missing, hen is not in train"):
        open_dataset(root)


def test_links_neither_loop_nor_mix_classes(make_folder):
    root = make_folder({"cat": 10, "dog": 10})
    (root / "cat" / "up").symlink_to(root, target_is_directory=True)
    (root / "cat" / "self").symlink_to("self")
    (root / "dog" / "other").symlink_to(root / "cat", target_is_directory=True)
    (root / "dog" / "loop").symlink_to(root / "dog", target_is_directory=True)
    dataset = open_dataset(root)
    assert sum(len(dataset.split(name)) for name in SPLITS) == 20


def test_one_folder_under_two_names_is_an_error(make_folder):
    root = make_folder({"cat": 10, "dog": 10}, "train")
    (root / "test").symlink_to(root / "train", target_is_directory=True)
    with pytest.raises(DataError, match="are the same"):
        open_dataset(root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_what_is_no_file_is_not_waited_for(make_folder):
    root = make_folder({"cat": 60, "dog": 60})
    (root / "cat" / "000.png").unlink()
    os.mkfifo(root / "cat" / "000.png")
    assert open_dataset(root).skipped == ("cat/000.png: not a regular file",)


def test_dangling_link_is_skipped_and_named(make_folder):
    root = make_folder({"cat": 60, "dog": 60})
    (root / "cat" / "x.png").symlink_to("nowhere.png")
    assert open_dataset(root).skipped == ("cat/x.png: No such file or directory",)


@pytest.mark.parametrize(
    "arguments",
    [
        {"size": 0},
        {"size": (8,)},
        {"size": "8"},
        {"size": (8, 0)},
        {"channels": 2},
        {"fit": "squeeze"},
        {"kind": "video"},
        {"cache": "disk"},
        {"seed": -1},
        {"seed": 2**32},
        {"fractions": (0.8, 0.2, 0.0)},
        {"fractions": (0.8, 0.2)},
        {"fractions": (0.8, 0.2, 0.2)},
    ],
)
def test_arguments_out_of_range(make_folder, arguments):
    with pytest.raises(UsageError, match=f"{next(iter(arguments))}="):
        open_dataset(make_folder({"cat": 3, "dog": 3}), **arguments)
