"""Random changes of recordings: the same front end as in NumPy, functions of the seed, as strong as they say."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.io.wavfile

from kzoo.data import InputSpec, SoundFrontEnd, open_dataset
from kzoo.data.sound import extract_features
from kzoo.errors import RecipeError
from kzoo.recipes.schema import AugmentationSection, SpecAugmentSection
from kzoo.training.augment import Augmenter, build_augmentation
from kzoo.training.feed import EpochOrder, PythonFeed, make_feed

FRONT_END = SoundFrontEnd(8000, 0.25, mels=20)
SPEC = InputSpec("sequence", FRONT_END.shape, sound=FRONT_END)
LABELS = np.eye(4, dtype="float32")


@pytest.fixture(scope="module")
def waveforms():
    samples = np.random.default_rng(0).normal(size=(4, FRONT_END.samples))
    return (samples * np.array([[0.001], [0.01], [0.1], [0.5]])).astype("float32")


def change(waveforms, seed=5, **augmentation):
    import keras

    augmenter = Augmenter(build_augmentation(AugmentationSection(**augmentation), SPEC))
    changed, labels = augmenter(keras.ops.convert_to_tensor(waveforms), LABELS, seed)
    np.testing.assert_array_equal(labels, LABELS)
    return np.asarray(changed)


@pytest.mark.parametrize("kind", ["log_mel", "mfcc"])
def test_keras_computes_the_front_end_as_numpy_does(waveforms, kind):
    from kzoo.training.sound_augment import KEY, FrontEnd

    front_end = SoundFrontEnd(8000, 0.25, kind=kind, mels=20, window_ms=30)
    found = np.asarray(FrontEnd(front_end)({KEY: waveforms})[KEY])
    np.testing.assert_allclose(found, extract_features(waveforms, front_end), atol=2e-3)


def test_a_shift_moves_silence_in(waveforms):
    from kzoo.training.sound_augment import KEY, TimeShift

    shifted = np.asarray(TimeShift(40)({KEY: np.repeat(waveforms[3:], 400, axis=0)})[KEY])
    padded = np.pad(waveforms[3], 40)
    windows = np.stack([padded[begin : begin + len(waveforms[3])] for begin in range(81)])
    begins = [int(np.argmin(np.abs(windows - row).max(axis=1))) for row in shifted]
    for row, begin in zip(shifted, begins, strict=True):
        np.testing.assert_array_equal(row, windows[begin])
    assert (min(begins), max(begins)) == (0, 80) and 36 < np.mean(begins) < 44


def test_noise_is_as_strong_as_it_says(waveforms):
    from kzoo.training.sound_augment import KEY, WhiteNoise

    repeated = np.repeat(waveforms, 300, axis=0)
    noise = np.asarray(WhiteNoise(0.2)({KEY: repeated})[KEY]) - repeated
    ratio = noise.std(axis=1) / repeated.std(axis=1)
    assert ratio.max() < 0.22 and ratio.min() < 0.01 and 0.09 < ratio.mean() < 0.11


def test_masks_are_as_wide_as_they_say():
    from kzoo.training.sound_augment import KEY, SpecAugment

    features = np.random.default_rng(0).normal(size=(500, 40, 20)).astype("float32")
    masked = np.asarray(SpecAugment(1, 0.25, 2, 0.2)({KEY: features})[KEY])
    mean = features.mean(axis=(1, 2), keepdims=True)
    hidden = masked != features
    np.testing.assert_allclose(masked[hidden], np.broadcast_to(mean, features.shape)[hidden], atol=1e-5)
    frames, bins = hidden.all(axis=2).sum(axis=1), hidden.all(axis=1).sum(axis=1)
    assert (frames.max(), frames.min()) == (10, 0) and (bins.max(), bins.min()) == (8, 0)
    # Nothing else is hidden, and a stretch of frames is one piece.
    assert (hidden == (hidden.all(axis=2)[:, :, None] | hidden.all(axis=1)[:, None])).all()
    pieces = np.diff(np.pad(hidden.all(axis=2), ((0, 0), (1, 1))).astype(int), axis=1)
    assert ((pieces == 1).sum(axis=1) == (frames > 0)).all()


def test_changes_are_a_function_of_the_seed(waveforms):
    chosen = {"time_shift": 0.05, "noise": 0.2, "spec_augment": {"time_masks": 1}}
    first = change(waveforms, **chosen)
    assert first.shape == (4, *FRONT_END.shape)
    np.testing.assert_array_equal(change(waveforms, **chosen), first)
    other = change(waveforms, seed=6, **chosen)
    assert (np.abs(other - first).max(axis=(1, 2)) > 0.1).all()
    # The same strength of noise for loud and quiet recordings.
    np.testing.assert_allclose(change(waveforms, noise=1e-6), extract_features(waveforms, FRONT_END), atol=2e-3)


def test_masks_alone_need_no_waveforms():
    layers = build_augmentation(AugmentationSection(spec_augment=SpecAugmentSection()), SPEC)
    augmenter = Augmenter(layers)
    assert not augmenter.takes_waveforms
    changed, _ = augmenter(np.ones((4, *FRONT_END.shape), "float32"), LABELS, 3)
    assert changed.shape == (4, *FRONT_END.shape)


@pytest.mark.parametrize(
    ("augmentation", "spec", "named"),
    [
        ({"flip": "horizontal"}, SPEC, "sounds such as flip"),
        ({"noise": 0.1}, InputSpec("image", (8, 8, 1)), "images such as noise"),
        ({"time_shift": 0.1}, InputSpec("sequence", (8, 8)), "sequences such as time_shift"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(augmentation, spec, named):
    with pytest.raises(RecipeError, match=named):
        build_augmentation(AugmentationSection(**augmentation), spec)


def test_a_feed_gives_changed_features_of_the_training_recordings(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(12):
            buffer = io.BytesIO()
            scipy.io.wavfile.write(buffer, 8000, rng.integers(-9000, 9000, 2000).astype(np.int16))
            (tmp_path / name / f"{number}.wav").write_bytes(buffer.getvalue())
    dataset = open_dataset(tmp_path)
    order = EpochOrder(len(dataset.train), 8, seed=1)
    plain = np.concatenate([np.asarray(batch) for batch, _ in make_feed(dataset.train, order, 2)])
    np.testing.assert_array_equal(plain, dataset.train.load(order.indices()))
    section = AugmentationSection(noise=1e-7)
    augmenter = Augmenter(build_augmentation(section, dataset.input))
    fed = np.concatenate([np.asarray(x) for x, _ in make_feed(dataset.train.waveforms, order, 2, augmenter)])
    np.testing.assert_allclose(fed, plain, atol=5e-3)
    python = PythonFeed(dataset.train.waveforms, order, 2, augmenter)
    np.testing.assert_allclose(np.concatenate([np.asarray(x) for x, _ in python]), fed, atol=1e-4)
