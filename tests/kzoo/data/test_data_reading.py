"""Reading class folders: the index of what is decoded, pixels that are kept or not, memory, imports."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.data import image_files, index, open_dataset, system
from kzoo.errors import DataError


@pytest.fixture
def inspections(monkeypatch) -> list[bytes]:
    """Every content that is really decoded."""
    seen: list[bytes] = []
    original = image_files.inspect_image

    def counting(content):
        seen.append(content)
        return original(content)

    monkeypatch.setattr(image_files, "inspect_image", counting)
    return seen


def test_second_opening_decodes_only_what_changed(make_folder, inspections):
    root = make_folder({"cat": 60, "dog": 60})
    (root / "dog" / "001.png").write_bytes(b"broken")
    first = open_dataset(root)
    assert len(inspections) == 120
    second = open_dataset(root)
    assert len(inspections) == 120
    assert (second.fingerprint, second.skipped) == (first.fingerprint, first.skipped)
    Image.new("RGB", (16, 16), "blue").save(root / "cat" / "002.png")
    (root / "cat" / "003.png").unlink()
    assert open_dataset(root).fingerprint != first.fingerprint
    assert len(inspections) == 121


def test_damaged_or_foreign_index_is_made_anew(make_folder, inspections, own_cache):
    root = make_folder({"cat": 5, "dog": 5})
    expected = open_dataset(root).fingerprint
    (file,) = (own_cache / "index").iterdir()
    foreign = json.dumps({**json.loads(file.read_text()), "version": "of another age"})
    for content in ("", "{", "[]", '{"version": 3}', foreign):
        inspections.clear()
        file.write_text(content)
        assert open_dataset(root).fingerprint == expected
        assert len(inspections) == 10


def test_unwritable_cache_only_costs_time(make_folder, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "file" / "cache"))
    assert len(open_dataset(make_folder({"cat": 5, "dog": 5})).train) == 8 - 2
    assert "could not be stored" in caplog.text


def test_interrupted_indexing_keeps_what_is_done(make_folder, monkeypatch, inspections):
    root = make_folder({"cat": 30, "dog": 30})
    monkeypatch.setattr(index, "_BATCH", 10)
    inspect = index._inspect

    def interrupted(root, path, known, medium):
        if path.startswith("dog"):
            raise KeyboardInterrupt
        return inspect(root, path, known, medium)

    monkeypatch.setattr(index, "_inspect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_dataset(root)
    monkeypatch.setattr(index, "_inspect", inspect)
    inspections.clear()
    open_dataset(root)
    assert len(inspections) == 30


def test_file_lost_after_opening_is_named(make_folder):
    dataset = open_dataset(make_folder({"cat": 5, "dog": 5}), cache="none")
    Path(dataset.train.name(2)).unlink()
    with pytest.raises(DataError, match=Path(dataset.train.name(2)).name):
        dataset.train.load([1, 2, 3])


def count_reads(split, monkeypatch) -> list[int]:
    reads: list[int] = []
    original = split._read

    def counting(index):
        reads.append(index)
        return original(index)

    monkeypatch.setattr(split, "_read", counting)
    return reads


def test_second_epoch_decodes_nothing_where_memory_allows(make_folder, monkeypatch):
    train = open_dataset(make_folder({"cat": 20, "dog": 20})).train
    reads = count_reads(train, monkeypatch)
    order = np.random.RandomState(0).permutation(len(train))
    first = np.concatenate([train.load(order[:10]), train.load(order[10:])])
    assert sorted(reads) == list(range(len(train)))
    np.testing.assert_array_equal(train.load(order), first)
    np.testing.assert_array_equal(train.load([3, 3]), first[[list(order).index(3)] * 2])
    assert len(reads) == len(train)
    train.load(order)[:] = 0  # a batch is the caller's own
    np.testing.assert_array_equal(train.load(order), first)


def test_the_whole_split_is_decoded_once_and_kept(make_folder, monkeypatch):
    train = open_dataset(make_folder({"cat": 20, "dog": 20})).train
    reads = count_reads(train, monkeypatch)
    some = train.load([3, 1])
    whole = train.whole()
    np.testing.assert_array_equal(whole[[3, 1]], some)
    np.testing.assert_array_equal(train.load(range(len(train))), whole)
    assert sorted(reads) == list(range(len(train)))


def test_arrays_are_read_as_a_whole_where_memory_allows(monkeypatch):
    train = open_dataset("digits").train
    whole = train.whole()
    np.testing.assert_array_equal(whole, train.load(range(len(train))))
    monkeypatch.setattr("kzoo.data.system.available_memory", lambda: 4 * whole.nbytes - 1)
    assert train.whole() is None


@pytest.mark.parametrize("small", [0, 10**9])
def test_pixels_do_not_depend_on_the_threads(make_folder, monkeypatch, small):
    monkeypatch.setattr("kzoo.data.image_files._SMALL", small)
    train = open_dataset(make_folder({"cat": 30, "dog": 30}), cache="none").train
    used = set()
    read = train._read
    monkeypatch.setattr(train, "_read", lambda place: used.add(threading.current_thread()) or read(place))
    pixels = train.load(range(len(train)))
    assert (used == {threading.current_thread()}) == (small > 0)
    np.testing.assert_array_equal(pixels, np.concatenate([train.load([place]) for place in range(len(train))]))


@pytest.mark.parametrize(("cache", "free"), [("none", 2**40), ("auto", 1000)])
def test_nothing_is_kept_when_told_so_or_when_memory_is_short(make_folder, monkeypatch, cache, free):
    monkeypatch.setattr("kzoo.data.system.available_memory", lambda: free)
    train = open_dataset(make_folder({"cat": 10, "dog": 10}), cache=cache).train
    reads = count_reads(train, monkeypatch)
    train.load([0, 1])
    train.load([0, 1])
    assert train.whole() is None
    assert reads == [0, 1, 0, 1]


def test_memory_of_a_container_counts(tmp_path):
    files = {"memory.max": "1000\n", "memory.current": "900\n", "memory.stat": "anon 5\ninactive_file 300\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert system._container_memory(tmp_path) == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert system._container_memory(tmp_path) > 2**60
    assert system._container_memory(tmp_path / "none") > 2**60
    assert 0 < system.available_memory() < 2**60


def test_memory_stays_flat(tmp_path, picture):
    side, count = 640, 150
    for label in ("a", "b"):
        (tmp_path / "big" / label).mkdir(parents=True)
        for number in range(count // 2):
            picture(side, side, number).save(tmp_path / "big" / label / f"{number}.jpg")
    script = textwrap.dedent("""
        import json, os, sys
        import numpy as np
        from kzoo.data import open_dataset
        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        train = open_dataset(sys.argv[1], cache="none").train
        seen, sizes = 0, []
        for epoch in range(4):
            order = np.random.RandomState(epoch).permutation(len(train))
            for start in range(0, len(train), 8):
                seen += train.load(order[start : start + 8]).nbytes
                sizes.append(resident())
        print(json.dumps([seen // 4, max(sizes[:4]), max(sizes)]))
    """)
    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read from /proc")
    output = subprocess.run([sys.executable, "-c", script, str(tmp_path / "big")], capture_output=True, check=True)
    decoded, early, peak = json.loads(output.stdout)
    assert decoded > 120 * 2**20
    assert peak - early < 25 * 2**20


def test_neither_keras_nor_tensorflow_is_imported(make_folder):
    script = textwrap.dedent("""
        import sys
        import kzoo.data
        assert "sklearn" not in sys.modules
        kzoo.data.list_datasets()
        kzoo.data.open_dataset("digits").train.load([0])
        kzoo.data.open_dataset(sys.argv[1]).train.load([0])
        print(sorted({"keras", "tensorflow", "tf_keras", "jax"} & set(sys.modules)))
    """)
    root = make_folder({"cat": 5, "dog": 5})
    output = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, check=True, text=True)
    assert output.stdout.strip() == "[]"
