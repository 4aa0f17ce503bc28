"""Recordings: WAV files of every kind to waveforms, waveforms to features, class folders to datasets."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.io.wavfile

from kzoo.data import InputSpec, SoundFrontEnd, SoundSettings, guess_medium, open_dataset, read_input
from kzoo.data.sound import choose_front_end, extract_features, mel_weights
from kzoo.data.wav import UnreadableSoundError, decode_sound
from kzoo.errors import DataError

RNG = np.random.default_rng(0)
SINE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(4000) / 8000)


def wav(samples, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    scipy.io.wavfile.write(buffer, rate, samples)
    return buffer.getvalue()


def wav_of_24_bits(samples) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(8000)
        file.writeframes(b"".join(int(sample).to_bytes(3, "little", signed=True) for sample in samples))
    return buffer.getvalue()


def extensible(content: bytes) -> bytes:
    """The same PCM file as newer programs write it, with its coding in a GUID."""
    (size,) = struct.unpack_from("<I", content, 16)
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    described = struct.pack("<H", 0xFFFE) + content[22:36] + struct.pack("<HHI", 22, 16, 4) + guid
    body = b"WAVEfmt " + struct.pack("<I", len(described)) + described + content[20 + size :]
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("content", "step"),
    [
        (wav(np.rint(SINE * 127 + 128).astype(np.uint8)), 1 / 128),
        (wav(np.rint(SINE * 32767).astype(np.int16)), 1 / 32768),
        (extensible(wav(np.rint(SINE * 32767).astype(np.int16))), 1 / 32768),
        (wav_of_24_bits(np.rint(SINE * 2**23)), 2**-23),
        (wav(np.rint(SINE * (2**31 - 1)).astype(np.int32)), 1e-7),
        (wav(SINE.astype(np.float32)), 1e-7),
        (wav(SINE), 1e-7),
        (wav(np.stack([SINE + 0.1, SINE - 0.1], axis=1).astype(np.float32)), 1e-7),
        # An odd chunk before the samples, with its byte of padding, and one of another kind behind.
        (wav(SINE)[:12] + b"LIST\x03\0\0\0abc\0" + wav(SINE)[12:] + b"junk\x02\0\0\0ab", 1e-7),
        # As a program writes that does not know the end yet.
        (wav(SINE.astype(np.float32)).replace(struct.pack("<I", 16000), b"\xff\xff\xff\xff"), 1e-7),
    ],
    ids=["8", "16", "extensible", "24", "32", "float32", "float64", "stereo", "other chunks", "unknown length"],
)
def test_every_kind_of_wav_gives_the_same_waveform(content, step):
    rate, waveform = decode_sound(content)
    assert (rate, waveform.dtype, waveform.shape) == (8000, np.float32, (4000,))
    np.testing.assert_allclose(waveform, SINE, atol=1.01 * step)


WHOLE = wav(np.rint(SINE * 32767).astype(np.int16))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"hello" * 20, "not a WAV file"),
        (WHOLE[:40], "without samples, or truncated"),
        (WHOLE[:-2], "truncated"),
        (wav(np.zeros(0, np.int16)), "without samples"),
        (WHOLE[:20] + struct.pack("<H", 7) + WHOLE[22:], "mu-law"),
        (WHOLE[:22] + struct.pack("<H", 0) + WHOLE[24:], "0 channels"),
        (WHOLE[:34] + struct.pack("<H", 12) + WHOLE[36:], "12 bits"),
        (wav(np.array([0.0, np.nan], np.float32)), "NaN"),
        (WHOLE[:12] + WHOLE[36:], "before their format"),
    ],
)
def test_damaged_recordings_are_told_apart(content, reason):
    with pytest.raises(UnreadableSoundError, match=reason):
        decode_sound(content)


def features_by_hand(waveform, rate, window, hop, fft, mels, low, high):
    """Frame by frame and filter by filter, as the definition says it."""

    def mel(frequency):
        return 2595 * np.log10(1 + frequency / 700)

    edges = [mel(low) + place * (mel(high) - mel(low)) / (mels + 1) for place in range(mels + 2)]
    rows = []
    for start in range(0, len(waveform) - window + 1, hop):
        frame = [waveform[start + place] * np.sin(np.pi * place / window) ** 2 for place in range(window)]
        power = np.abs(scipy.fft.fft(frame, fft)) ** 2
        row = []
        for number in range(mels):
            left, centre, right = edges[number : number + 3]
            energy = 0.0
            for place in range(fft // 2 + 1):
                at = mel(place * rate / fft)
                if left < at <= centre:
                    energy += power[place] * (at - left) / (centre - left)
                elif centre < at < right:
                    energy += power[place] * (right - at) / (right - centre)
            row.append(np.log(energy + 1e-6))
        rows.append(row)
    return np.array(rows)


def test_features_are_what_their_definition_says():
    waveform = 0.3 * RNG.normal(size=1600) * np.linspace(0, 1, 1600)
    front_end = SoundFrontEnd(8000, 0.2, window_ms=25, hop_ms=10, mels=20, low_hz=50, high_hz=3800)
    expected = features_by_hand(waveform, 8000, 200, 80, 256, 20, 50, 3800)
    found = extract_features(waveform, front_end)
    assert found.shape == front_end.shape == (18, 20)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    cepstrum = extract_features(np.stack([waveform, waveform]), dataclasses.replace(front_end, kind="mfcc"))
    assert cepstrum.shape == (2, 18, 13)
    np.testing.assert_allclose(cepstrum[1], scipy.fft.dct(expected, norm="ortho")[:, :13], atol=1e-5)


def test_filters_are_those_of_tensorflow():
    tf = pytest.importorskip("tensorflow")
    expected = tf.signal.linear_to_mel_weight_matrix(40, 257, 16000, 20.0, 8000.0, dtype=tf.float64)
    np.testing.assert_allclose(mel_weights(SoundFrontEnd(16000, 1.0)), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"kind": "chroma"}, "kind='chroma'"),
        ({"mels": 100}, "mels=100"),
        ({"kind": "mfcc", "coefficients": 41}, "coefficients=41"),
        ({"high_hz": 5000.0}, "high_hz=5000"),
        ({"low_hz": 4000.0}, "low_hz=4000"),
        ({"window_ms": 2000.0}, "window_ms=2000"),
        ({"hop_ms": 0.01}, "hop_ms=0.01"),
        ({"seconds": 0.0}, "seconds=0"),
        ({"version": 2}, "version=2"),
    ],
)
def test_a_front_end_that_cannot_be_computed_is_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        SoundFrontEnd(**{"sample_rate": 8000, "seconds": 1.0, **arguments})


def test_what_is_not_wished_follows_from_the_training_recordings():
    durations = [0.31] * 95 + [4.0] * 5
    assert choose_front_end(SoundSettings(), [8000] * 100, durations) == SoundFrontEnd(8000, 0.5)
    assert choose_front_end(SoundSettings(), [8000, 44100], [60.0, 60.0]) == SoundFrontEnd(16000, 10.0)
    wished = SoundSettings(sample_rate=4000, seconds=0.2, kind="mfcc", mels=20, low_hz=100.0)
    front_end = SoundFrontEnd(4000, 0.2, kind="mfcc", mels=20, low_hz=100.0)
    assert choose_front_end(wished, [8000], [1.0]) == front_end
    spec = InputSpec("sequence", front_end.shape, sound=front_end)
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.fixture
def make_sounds(tmp_path):
    """Make class folders of tones: `make_sounds({"low": 200, "high": 800}, count=20)`."""

    def make(tones: dict[str, float], count: int = 20, rate: int = 8000, seconds: float = 0.3, under: str = "") -> Path:
        root = tmp_path / "sounds"
        for name, tone in tones.items():
            folder = root / under / name
            folder.mkdir(parents=True)
            for number in range(count):
                time = np.arange(round(rate * (seconds + 0.001 * number))) / rate
                samples = 0.5 * np.sin(2 * np.pi * tone * time + number)
                (folder / f"{number:03}.wav").write_bytes(wav(np.rint(samples * 32767).astype(np.int16), rate))
        return root

    return make


def test_class_folders_of_recordings_are_a_dataset(make_sounds):
    root = make_sounds({"low": 400, "high": 1600}, count=60)
    (root / "high" / "bad.wav").write_bytes(b"RIFF")
    dataset = open_dataset(root)
    assert dataset.classes == ("high", "low") and dataset.skipped[0].startswith("high/bad.wav: ")
    assert dataset.input.kind == "sequence" and dataset.input.sound.sample_rate == 8000
    assert dataset.input.sound.seconds == pytest.approx(0.4)
    features = dataset.test.load(np.arange(len(dataset.test)))
    assert features.dtype == np.float32 and features.shape[1:] == dataset.input.shape
    np.testing.assert_array_equal(features[3], read_input(dataset.test.name(3), dataset.input))
    # The loudest band says which class it is.
    loudest = features.mean(1).argmax(1)
    assert (loudest[dataset.test.labels == 0].min() > loudest[dataset.test.labels == 1].max()).all()
    waveforms = dataset.test.waveforms.load([3])
    np.testing.assert_array_equal(extract_features(waveforms, dataset.input.sound)[0], features[3])
    assert open_dataset(root, sound=SoundSettings(seconds=0.1)).fingerprint == dataset.fingerprint
    assert guess_medium(root) == "sound" and guess_medium(root / "low" / "000.wav") == ""


def test_a_recording_sounds_the_same_at_another_rate(make_sounds, tmp_path):
    root = make_sounds({"low": 400, "high": 1600}, rate=8000)
    spec = open_dataset(root).input
    time = np.arange(round(44100 * 0.3)) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 1600 * time)
    stereo = np.stack([1.4 * tone, 0.6 * tone], axis=1)
    (tmp_path / "other.wav").write_bytes(wav(np.rint(stereo * 32767).astype(np.int16), 44100))
    found, expected = read_input(tmp_path / "other.wav", spec), read_input(root / "high" / "000.wav", spec)
    whole = 1 + (2400 - spec.sound.window) // spec.sound.hop  # frames without the silence behind
    bands = expected[0] > expected[0].max() - 4
    np.testing.assert_allclose(found[1 : whole - 1, bands], expected[1 : whole - 1, bands], atol=0.05)


def test_without_scipy_only_another_rate_is_refused(make_sounds, tmp_path, monkeypatch):
    root = make_sounds({"low": 400, "high": 1600})
    spec = open_dataset(root).input
    monkeypatch.setitem(sys.modules, "scipy.signal", None)
    assert read_input(root / "low" / "000.wav", spec).shape == spec.shape
    (tmp_path / "other.wav").write_bytes(wav(SINE, 44100))
    with pytest.raises(DataError, match=r"8,000 samples a second.*other\.wav of 44,100.*Install scipy"):
        read_input(tmp_path / "other.wav", spec)


def test_the_window_is_chosen_by_training_recordings_alone(make_sounds):
    make_sounds({"low": 400, "high": 1600}, seconds=0.2, under="train")
    root = make_sounds({"low": 400, "high": 1600}, seconds=2.0, rate=16000, under="test")
    front_end = open_dataset(root).input.sound
    assert (front_end.sample_rate, front_end.seconds) == (8000, pytest.approx(0.3))


def test_folders_that_are_no_dataset_of_sounds(make_sounds, picture):
    root = make_sounds({"low": 400, "high": 1600})
    with pytest.raises(DataError, match=r"Expected images\. Received: .*, which holds sounds.*--task sequence"):
        open_dataset(root, kind="image")
    with pytest.raises(DataError, match="mels=400"):
        open_dataset(root, sound=SoundSettings(mels=400))
    picture().save(root / "low" / "cover.png")
    with pytest.raises(DataError, match=r"images or sounds under .*, not both.*high/000\.wav and low/cover\.png"):
        open_dataset(root)
