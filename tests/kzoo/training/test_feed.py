"""Batches: every sample once an epoch, in an order that seed and epoch decide."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from kzoo.data import open_dataset
from kzoo.errors import RecipeError
from kzoo.recipes.schema import AugmentationSection
from kzoo.training import feed
from kzoo.training.augment import Augmenter, build_augmentation
from kzoo.training.feed import EpochOrder, PythonFeed, make_feed
from kzoo.training.flip_and_shift import FlipAndShift


@pytest.fixture(scope="module")
def digits():
    return open_dataset("digits")


def collect(feed):
    inputs, labels = zip(*((np.asarray(x), np.asarray(y)) for x, y in feed), strict=True)
    return np.concatenate(inputs), np.concatenate(labels)


def python_batches(split, order, augmenter=None):
    feed = PythonFeed(split, order, 10, augmenter)
    return [feed[index] for index in range(feed.num_batches)]


def test_an_epoch_holds_every_sample_once_with_its_label(digits):
    order = EpochOrder(len(digits.val), 32, seed=3)
    inputs, labels = collect(make_feed(digits.val, order, 10))
    positions = order.indices()
    assert sorted(positions) == list(range(len(digits.val)))
    np.testing.assert_array_equal(inputs, digits.val.load(positions))
    np.testing.assert_array_equal(labels.argmax(axis=1), digits.val.labels[positions])
    assert inputs.dtype == labels.dtype == np.float32


def test_order_follows_seed_and_epoch():
    order = EpochOrder(100, 32, seed=3)
    first = order.indices()
    order.epoch = 1
    second = order.indices()
    assert (first != second).any()
    again = EpochOrder(100, 32, seed=3)
    again.epoch = 1
    np.testing.assert_array_equal(second, again.indices())
    assert (EpochOrder(100, 32, seed=4).indices() != first).any()


def test_other_backends_get_the_same_batches(digits):
    order = EpochOrder(len(digits.val), 50, seed=1)
    for ours, theirs in zip(
        collect(make_feed(digits.val, order, 10)), collect(python_batches(digits.val, order)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("augmented", [False, True])
def test_batches_are_the_same_gathered_in_the_graph_and_asked_for_one_by_one(digits, monkeypatch, augmented):
    augmenter = None
    if augmented:
        augmenter = Augmenter(build_augmentation(AugmentationSection(flip="horizontal", shift=0.2), digits.input))
    order = EpochOrder(len(digits.val), 50, seed=1)
    gathered = collect(make_feed(digits.val, order, 10, augmenter))
    monkeypatch.setattr(feed, "_SMALL_SAMPLE", 0)
    loads = []
    monkeypatch.setattr(type(digits.val), "whole", lambda split: loads.append(split))
    for ours, theirs in zip(gathered, collect(make_feed(digits.val, order, 10, augmenter)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not loads


EACH = {
    "flip": {"flip": "horizontal_and_vertical"},
    "shift": {"shift": 0.2},
    "rotation": {"rotation": 30},
    "colour": {"colour": 0.5},
    "cutout": {"cutout": 0.5},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "randaugment": {"randaugment": {"magnitude": 0.8}},
}


@pytest.mark.slow(20)
@pytest.mark.parametrize("name", EACH)
def test_each_augmentation_changes_images_and_repeats_with_its_seed(digits, name):
    coloured = open_dataset("digits", size=16, channels=3)
    section = AugmentationSection.model_validate(EACH[name])
    augmenter = Augmenter(build_augmentation(section, coloured.input))
    order = EpochOrder(len(coloured.val), 64, seed=5)
    plain, labels = collect(make_feed(coloured.val, order, 10))
    changed, mixed = collect(make_feed(coloured.val, order, 10, augmenter))
    repeated, _ = collect(make_feed(coloured.val, order, 10, augmenter))
    order.epoch = 1
    later, _ = collect(make_feed(coloured.val, EpochOrder(len(coloured.val), 64, seed=6), 10, augmenter))
    np.testing.assert_array_equal(changed, repeated)
    assert np.abs(changed - plain).mean() > 1
    assert np.abs(changed - later).mean() > 1
    assert np.isfinite(changed).all()
    # Pixels stay in the range that the models are made for; interpolation may overshoot by rounding.
    assert changed.min() >= -0.5
    assert changed.max() <= 255.5
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-5)
    assert (name in ("mixup", "cutmix")) == bool((mixed != labels).any())


def test_cutout_erases_a_square_of_the_given_side(digits):
    section = AugmentationSection(cutout=0.5)
    large = open_dataset("digits", size=32)
    augmenter = Augmenter(build_augmentation(section, large.input))
    white = np.full((64, 32, 32, 1), 255.0, np.float32)
    erased, _ = augmenter(white, np.eye(10, dtype="float32")[np.zeros(64, int)], 7)
    counts = (np.asarray(erased) == 0).sum(axis=(1, 2, 3))
    assert (counts == 16 * 16).all()


def test_augmentation_that_does_not_fit_the_input_is_refused(digits):
    with pytest.raises(RecipeError, match="3 channels"):
        build_augmentation(AugmentationSection(colour=0.1), digits.input)
    sequences = open_dataset("digits", kind="sequence")
    with pytest.raises(RecipeError, match="no augmentation for sequences"):
        build_augmentation(AugmentationSection(flip="horizontal"), sequences.input)


def numbered(side, channels=1):
    """Images whose every pixel says where it stands, counted from 1."""
    places = np.arange(1, side * side * channels + 1, dtype=np.uint8).reshape(side, side, channels)
    return np.repeat(places[None], 200, axis=0)


def flipped_and_shifted(flip, shift, images):
    return np.asarray(FlipAndShift(flip, shift)({"images": images})["images"])


def test_a_shift_moves_every_image_by_whole_pixels_and_leaves_black():
    images = numbered(8)
    moved = flipped_and_shifted(None, 0.2, images)
    assert moved.dtype == np.uint8
    # 0.2 of 8 pixels are two to each side.
    padded = np.pad(images[0, ..., 0], 2)
    windows = {padded[row : row + 8, column : column + 8].tobytes() for row in range(5) for column in range(5)}
    found = {image.tobytes() for image in moved[..., 0]}
    assert found <= windows
    assert len(found) > 20


@pytest.mark.parametrize(("flip", "ways"), [("horizontal", 2), ("vertical", 2), ("horizontal_and_vertical", 4)])
def test_a_flip_mirrors_about_half_of_the_images(flip, ways):
    images = numbered(5, 3)
    turned = flipped_and_shifted(flip, 0.0, images)
    down = (1,) if flip == "horizontal" else (1, -1)
    across = (1,) if flip == "vertical" else (1, -1)
    expected = {images[0][::row, ::column].tobytes() for row in down for column in across}
    counts = Counter(image.tobytes() for image in turned)
    assert set(counts) == expected
    assert len(expected) == ways
    assert min(counts.values()) > 200 / ways / 2


def test_even_the_smallest_shift_moves_something():
    images = numbered(8)
    assert (flipped_and_shifted(None, 0.01, images) != images).any()


def test_the_streamed_feed_gives_the_same_batches(digits):
    order = EpochOrder(len(digits.val), 50, seed=1)
    section = AugmentationSection(flip="horizontal", shift=0.2)
    augmenter = Augmenter(build_augmentation(section, digits.input))
    held = collect(make_feed(digits.val, order, 10, augmenter))
    streamed = collect(make_feed(digits.val, order, 10, augmenter, streamed=True))
    for ours, theirs in zip(held, streamed, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_feed_asks_the_split_once_where_memory_holds_it(digits, monkeypatch):
    feed = make_feed(digits.val, EpochOrder(len(digits.val), 50, seed=1), 10)
    monkeypatch.setattr(type(digits.val), "load", lambda split, indices: pytest.fail("read again"))
    first, second = collect(feed), collect(feed)
    np.testing.assert_array_equal(first[0], second[0])


def test_the_end_of_an_epoch_waits_for_no_tuning(digits):
    # tf.data's tuning wakes after 10, 30, 70, 150, 310, 630 ms, ... and misses one end in four.
    feed, lived, waits = make_feed(digits.train, EpochOrder(len(digits.train), 1, seed=1), 10), 0.33, []
    assert not feed.options().autotune.enabled
    for _ in range(16):
        batches, began = iter(feed), time.perf_counter()
        while time.perf_counter() - began < lived:
            next(batches)
            time.sleep(0.002)
        ended = time.perf_counter()
        del batches
        waits.append(time.perf_counter() - ended)
    # One may be another process's.
    assert sorted(waits)[-2] < lived / 2


def test_places_in_a_vocabulary_stay_whole_numbers():
    texts = open_dataset((["a b a", "b a c", "c c a"] * 8, [0, 1, 1] * 8)).train
    order = EpochOrder(len(texts), 4, seed=0)
    for fed in (make_feed(texts, order, 2), PythonFeed(texts, order, 2, None)):
        batches = [np.asarray(inputs) for inputs, _ in fed]
        assert {batch.dtype for batch in batches} == {np.dtype("int32")}
        np.testing.assert_array_equal(np.concatenate(batches), texts.load(order.indices()))
