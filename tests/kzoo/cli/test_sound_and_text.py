"""Recordings and texts from file to prediction, and what a user gets wrong with them."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile

HAM = ("see you at home tonight", "are you coming", "the meeting is at noon", "ok thanks", "call me when you can")
SPAM = ("win a free prize now", "free entry call now", "you won cash, claim now!", "txt WIN to 80085", "free prize")


def make_tones(root: Path, tones=(("low", 400), ("high", 1600)), count=20) -> None:
    rng = np.random.default_rng(0)
    for name, tone in tones:
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(count):
            time = np.arange(1600) / 8000
            samples = 0.3 * np.sin(2 * np.pi * tone * time + number) + 0.03 * rng.normal(size=1600)
            buffer = io.BytesIO()
            scipy.io.wavfile.write(buffer, 8000, np.rint(samples * 32767).astype(np.int16))
            (folder / f"{number}.wav").write_bytes(buffer.getvalue())


def make_messages(path: Path, count=12) -> None:
    rows = [f'{label},"{text}"' for label, texts in (("ham", HAM), ("spam", SPAM)) for text in texts * count]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("label,text\n" + "\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """A text model that was trained on a few messages. Shared: do not change it."""
    import kzoo

    folder = tmp_path_factory.mktemp("text")
    make_messages(folder / "sms.csv")
    settings = {"model.arguments.filters": 16, "model.arguments.embedding": 16, "optimizer.ema": None}
    return kzoo.train("text_cnn", folder / "sms.csv", epochs=12, settings=settings, out=folder / "run")


@pytest.fixture(scope="module")
def sound_run(tmp_path_factory):
    """An LSTM that was trained on tones. Shared: do not change it."""
    import kzoo

    folder = tmp_path_factory.mktemp("sound")
    make_tones(folder / "tones", count=30)
    settings = {"model.arguments.units": 8, "model.arguments.depth": 1, "sound.mels": 20, "optimizer.ema": None}
    return kzoo.train("lstm", folder / "tones", epochs=12, settings=settings, out=folder / "run")


@pytest.mark.slow(20)
def test_texts_from_file_to_prediction(invoke, text_run, place):
    assert text_run.metrics.accuracy == 1.0 and text_run.recipe.epochs == 12
    words = (text_run.path / "vocabulary.txt").read_text().split()
    assert words == list(text_run.info.input.text.words) and "free" in words
    exported = invoke("export", text_run.path, "--quantize", "int8", "--out", place / "text.tflite")
    assert exported.exit_code == 0, exported.stderr
    sidecar = json.loads((place / "text.tflite.json").read_text())
    assert sidecar["inputs"][0]["dtype"] == "int32" and sidecar["details"]["input"]["text"]["words"] == words
    Path("message.txt").write_text("Are you coming home?")
    for source in (text_run.path, "text.tflite"):
        asked = invoke("predict", source, "Claim your FREE prize now!", "message.txt", "--json")
        answers = json.loads(asked.stdout)
        assert [answer["classes"][0] for answer in answers] == ["spam", "ham"], source
    assert "Token ids." in invoke("info", "text.tflite").stdout
    measured = json.loads(invoke("evaluate", "text.tflite", "--json").stdout)
    assert measured["accuracy"] == 1.0
    # Other data, which has words that the model does not know.
    make_messages(Path("other/sms.csv"), count=3)
    with Path("other/sms.csv").open("a") as file:
        file.write("ham,unheard whatsoever\n")
    other = invoke("evaluate", text_run.path, "--data", "other/sms.csv", "--split", "train", "--json")
    assert json.loads(other.stdout)["samples"] == 23


@pytest.mark.slow(20)
def test_sounds_from_file_to_prediction(invoke, sound_run, place):
    assert sound_run.recipe.augmentation.spec_augment is not None  # the recipe for sounds
    assert sound_run.metrics.accuracy == 1.0
    exported = invoke("export", sound_run.path, "--out", place / "sound.tflite")
    assert exported.exit_code == 0, exported.stderr
    described = json.loads((place / "sound.tflite.json").read_text())["details"]["input"]["sound"]
    assert (described["sample_rate"], described["mels"], described["version"]) == (8000, 20, 1)
    make_tones(Path("new"), (("x", 410), ("y", 1570)), count=1)
    for source in (sound_run.path, "sound.tflite"):
        answers = json.loads(invoke("predict", source, "new/x/0.wav", "new/y/0.wav", "--json").stdout)
        assert [answer["classes"][0] for answer in answers] == ["low", "high"], source
    assert json.loads(invoke("evaluate", "sound.tflite", "--json").stdout)["accuracy"] == 1.0


@pytest.mark.slow(15)
def test_a_run_goes_on_with_its_own_words(text_run, tmp_path):
    import kzoo

    (tmp_path / "new.csv").write_text("label,text\n" + "yes,fresh words entirely\nno,other fresh ones\n" * 9)
    settings = {"transfer.head_epochs": 1, "model.arguments.filters": 16, "model.arguments.embedding": 16}
    run = kzoo.train(
        "text_cnn", tmp_path / "new.csv", weights=text_run.path, epochs=2, settings=settings, out=tmp_path / "run"
    )
    assert run.info.input.text == text_run.info.input.text


def test_a_kit_for_what_it_cannot_compute_is_refused(fails, text_run, sound_run):
    for run, held in ((text_run, "texts"), (sound_run, "sounds")):
        fails("export", run.path, "--target", "android", "--out", "m.tflite", words=["android", held], status=2)


def test_a_trained_model_refuses_other_data(fails, sound_run, text_run):
    make_messages(Path("sms.csv"))
    fails("evaluate", sound_run.path, "--data", "sms.csv", words=["sms.csv", "texts"])
    fails("evaluate", sound_run.path, "--data", "digits", words=["sounds", "digits"], status=2)
    fails("evaluate", text_run.path, "--data", "digits", words=["texts", "digits"])
    fails("predict", text_run.path, "missing.txt", words=["missing.txt", "does not exist"])
    Path("x.wav").write_bytes(b"RIFF")
    fails("predict", sound_run.path, "x.wav", words=["x.wav", "WAV"])


def sounds_with(content):
    def make():
        make_tones(Path("data"))
        Path("data/low/bad.wav").write_bytes(content)

    return make


def sounds_and_images():
    make_tones(Path("data"))
    Path("data/low/cover.png").write_bytes(b"x")


def messages(content):
    return lambda: Path("data.csv").write_bytes(content)


CALLS = {
    "no WAV": (sounds_with(b"hello"), "lstm --data data", ["1 of 41", "low/bad.wav: not a WAV file"], 1),
    "empty WAV": (sounds_with(b""), "lstm --data data", ["low/bad.wav: an empty file"], 1),
    "images among sounds": (sounds_and_images, "lstm --data data", ["not both", "low/cover.png"], 1),
    "sounds for images": (lambda: make_tones(Path("data")), "cnn --data data", ["sounds", "--task sequence"], 1),
    "sounds for a text model": (lambda: make_tones(Path("data")), "text_cnn --data data", ["texts", "sounds"], 1),
    "digits for a text model": (lambda: None, "text_cnn", ["texts", "digits"], 1),
    "texts for a TCN": (lambda: make_messages(Path("data.csv")), "tcn --data data.csv", ["--task text"], 1),
    "no header": (messages(b"ham,hello\n"), "text_cnn --data data.csv", ["a column label", "'ham'"], 1),
    "one class": (messages(b"label,text\n" + b"ham,hello\n" * 9), "text_cnn --data data.csv", ["two classes"], 1),
    "Latin-1": (messages(b"label,text\nham,caf\xe9\n"), "text_cnn --data data.csv", ["UTF-8", "line 2"], 1),
    "a sound setting for texts": (
        lambda: make_messages(Path("data.csv")),
        "text_cnn --data data.csv --set sound.mels=20",
        ["sound.mels", "recordings"],
        2,
    ),
    "too many mels": (lambda: make_tones(Path("data")), "lstm --data data --set sound.mels=300", ["mels=300"], 1),
    "a flip of sounds": (
        lambda: make_tones(Path("data")),
        "lstm --data data --set augmentation.flip=horizontal",
        ["sounds", "flip"],
        2,
    ),
    "an unknown key": (lambda: None, "lstm --set sound.mel=20", ["'sound.mel'", "Did you mean mels"], 2),
}


@pytest.mark.parametrize(("make", "call", "words", "status"), CALLS.values(), ids=CALLS)
def test_wrong_sounds_and_texts_are_told_in_one_line(fails, place, make, call, words, status):
    make()
    before = sorted(path.name for path in place.iterdir())
    fails("train", *shlex.split(call), words=words, status=status)
    assert sorted(path.name for path in place.iterdir()) == before


def test_what_a_dataset_holds_is_told(invoke):
    make_tones(Path("tones"))
    make_messages(Path("sms/train.csv"))
    make_messages(Path("sms/test.csv"), count=1)
    sounds = invoke("data", "info", "tones")
    assert "log_mel of 0.2 s at 8,000 Hz" in sounds.stdout, sounds.stderr
    content = json.loads(invoke("data", "info", "sms", "--json").stdout)
    assert content["splits"]["test"]["per_class"] == {"ham": 5, "spam": 5}
    assert content["input"]["text"]["words"][0] in ("you", "now", "free")


class Stops:
    """A reporter that is interrupted when the second epoch has ended."""

    def line(self, text):
        if text.startswith("epoch 2/"):
            raise KeyboardInterrupt

    def status(self, text): ...

    def wants_status(self):
        return False


@pytest.mark.slow(20)
def test_a_run_goes_on_with_the_same_changes_of_its_sounds(place):
    import kzoo

    make_tones(place / "tones", count=10)
    settings = {"model.arguments.units": 4, "model.arguments.depth": 1, "augmentation.noise": 1.0, "epochs": 3}
    whole = kzoo.train("lstm", place / "tones", settings=settings, out="whole")
    with pytest.raises(KeyboardInterrupt):
        kzoo.train("lstm", place / "tones", settings=settings, out="stopped", reporter=Stops())
    resumed = kzoo.train("lstm", place / "tones", out="stopped", resume=True)
    for row, expected in zip(resumed.history(), whole.history(), strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    plain = {**settings, "augmentation.noise": 0.0}
    other = kzoo.train("lstm", place / "tones", settings=plain, out="plain").history()
    assert abs(other[-1]["loss"] - whole.history()[-1]["loss"]) > 1e-4
