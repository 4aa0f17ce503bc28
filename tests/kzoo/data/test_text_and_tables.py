"""Texts and tables: words to places in a vocabulary, CSV files to datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kzoo.data import InputSpec, TextFrontEnd, TextSettings, guess_medium, match_classes, open_dataset, read_input
from kzoo.data.text import build_front_end, tokenise
from kzoo.errors import DataError

TEXTS = {"ham": "See you at home", "spam": "WIN a prize now"}


def rows(count: int = 10) -> str:
    pairs = [(label, text, number) for number in range(count) for label, text in TEXTS.items()]
    return "".join(f'{label},"{text}, number {number}"\n' for label, text, number in pairs)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't STOP", ["don't", "stop"]),
        ("call 0800-12a £5.", ["call", "0000", "-", "00", "a", "£", "0", "."]),
        ("Ça va? Привет мир", ["ça", "va", "?", "привет", "мир"]),
        ("a_b\t😀\n''", ["a", "_", "b", "😀", "'", "'"]),
        (" \n", []),
    ],
)
def test_a_text_is_cut_into_words_numbers_and_signs(text, tokens):
    assert tokenise(text) == tokens


def test_a_vocabulary_has_what_occurs_twice_the_most_frequent_first():
    texts = ["b a b", "c a b", "once c"]
    front_end = build_front_end(TextSettings(), texts)
    assert front_end.words == ("b", "a", "c")
    assert (front_end.vocabulary_size, front_end.length) == (5, 3)
    assert front_end.encode("A never C B a").tolist() == [3, 1, 4]
    assert front_end.encode("b").tolist() == [2, 0, 0]
    small = build_front_end(TextSettings(vocabulary_size=3, length=5), texts)
    assert small == TextFrontEnd(("b",), 5)
    lengths = build_front_end(TextSettings(), ["w " * 7] * 96 + ["w " * 500] * 4)
    assert lengths.length == 7
    assert build_front_end(TextSettings(), ["w " * 500] * 4).length == 128


def test_a_front_end_comes_back_from_json():
    spec = InputSpec("text", (4,), text=TextFrontEnd(("a", "ü"), 4))
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    with pytest.raises(ValueError, match="version=2"):
        TextFrontEnd(("a",), 4, version=2)
    with pytest.raises(ValueError, match="front end"):
        InputSpec("text", (4,))


def test_one_file_is_split_by_seed_and_its_vocabulary_is_of_the_training_part(tmp_path):
    unique = "".join(f"ham,word{'x' * number} word{'x' * number} again\n" for number in range(40))
    path = write(tmp_path / "sms.csv", "\ufefflabel,text\n" + rows(20) + unique)
    dataset = open_dataset(path)
    assert (dataset.name, dataset.classes, dataset.input.kind) == ("sms", ("ham", "spam"), "text")
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [56, 12, 12]
    known = set(dataset.input.text.words)
    for name in ("val", "test"):
        split = dataset.split(name)
        lonely = [text for index in range(len(split)) if "again" in (text := split.text(index))]
        assert lonely and not known & {text.split()[0] for text in lonely}
    first = dataset.test.text(0)
    assert dataset.test.load([0])[0].tolist() == dataset.input.text.encode(first).tolist()
    assert dataset.test.load([0]).dtype == np.int32
    line = int(dataset.test.name(0).removeprefix("sms.csv:"))
    assert first in path.read_text().splitlines()[line - 1].replace('"', "")
    assert open_dataset(path).fingerprint == dataset.fingerprint
    assert open_dataset(path, seed=1).input.text != dataset.input.text
    assert guess_medium(path) == "text"


def test_a_folder_of_files_gives_the_splits_and_a_cell_may_hold_lines(tmp_path):
    first = '"first\nsecond, ""third""",spam\n'
    write(tmp_path / "sms/train.csv", "text,Label\n" + first + "fine,ham\n" * 9 + "bad,spam\n" * 9)
    write(tmp_path / "sms/test.csv", "label,text\nham,fine\nspam,bad\n")
    dataset = open_dataset(tmp_path / "sms")
    assert (len(dataset.test), len(dataset.train) + len(dataset.val)) == (2, 19)
    found = {dataset.split(name).text(index) for name in ("train", "val") for index in range(len(dataset.split(name)))}
    assert 'first\nsecond, "third"' in found
    assert dataset.test.name(1) == "test.csv:3"
    turned = match_classes(dataset, ["spam", "ham"]).test
    assert (turned.text(1), turned.labels.tolist()) == ("bad", [1, 0])
    # As a trained model takes the same data, whatever their own words are.
    front_end = TextFrontEnd(("fine",), 3)
    assert open_dataset(tmp_path / "sms", text=front_end).test.load([0, 1]).tolist() == [[2, 0, 0], [1, 0, 0]]


def test_texts_in_memory_are_a_dataset():
    texts = [f"{text} {number}" for number in range(20) for text in TEXTS.values()]
    dataset = open_dataset((texts, [0, 1] * 20))
    assert dataset.input.kind == "text" and dataset.train.text(0) in texts
    with pytest.raises(DataError, match=r"images or sequences.*texts"):
        open_dataset((texts, [0, 1] * 20), kind=("image", "sequence"))
    with pytest.raises(DataError, match=r"x\[3\]"):
        open_dataset(([*texts[:3], " ", *texts[4:]], [0, 1] * 20))


def test_a_text_is_read_from_a_file_or_is_what_was_said(tmp_path):
    spec = InputSpec("text", (3,), text=TextFrontEnd(("hello", "you"), 3))
    assert read_input(write(tmp_path / "a.txt", "\ufeffHello\nyou"), spec).tolist() == [2, 3, 0]
    assert read_input("you, hello " + "x" * 5000, spec).tolist() == [3, 1, 2]
    assert read_input("a/b\0", spec).tolist() == [1, 1, 1]
    for wrong, message in [
        (str(tmp_path / "b.txt"), "does not exist"),
        (write(tmp_path / "c.txt", b"\xff"), "UTF-8"),
        (" ", "empty"),
    ]:
        with pytest.raises(DataError, match=message):
            read_input(wrong, spec)


def table(columns: list[str], values: np.ndarray) -> str:
    lines = [",".join(["label", *columns])]
    lines += [",".join([str(number % 2), *map(repr, row)]) for number, row in enumerate(values.tolist())]
    return "\n".join(lines) + "\n"


def test_numbered_columns_are_steps_and_others_features_of_one(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    plain = open_dataset(write(tmp_path / "plain.csv", table(list("abcdef"), values)))
    assert (plain.input.shape, plain.classes, plain.input.kind) == ((1, 6), ("0", "1"), "sequence")
    names = ["y_2", "x_1", "y_1", "x_2", "x_3", "y_3"]
    steps = open_dataset(write(tmp_path / "steps.csv", table(names, values)))
    assert steps.input.shape == (3, 2)
    row = int(steps.train.name(0).removesuffix("]").split("[")[1])
    np.testing.assert_array_equal(steps.train.load([0])[0], values[row][[1, 2, 3, 0, 4, 5]].reshape(3, 2))
    uneven = open_dataset(write(tmp_path / "uneven.csv", table(["x_1", "x_2", "x_3", "y_1", "y_2", "y_4"], values)))
    assert uneven.input.shape == (1, 6)
    assert guess_medium(tmp_path / "steps.csv") == ""


HEAD = "label,text\n"
WRONG = {
    "no header": ("ham,Ok lar\nspam,WIN\n", "first line has 'ham', 'Ok lar'"),
    "nothing": ("", "first line has nothing"),
    "semicolons": ("label;text\nham;a\n", "separated by semicolons"),
    "no text": ("label\nham\n", "a column beside label"),
    "one column twice": ("label,text,text\nham,a,b\n", "name of its own"),
    "header alone": (HEAD, "none"),
    "one class": (HEAD + "ham,a\n" * 9, "at least two classes"),
    "too few": (HEAD + "ham,a\n" * 9 + "spam,b\n", "spam has 1"),
    "empty text": (HEAD + rows(3) + "ham, \n", "line 8, an empty one"),
    "empty label": (HEAD + rows(3) + ",a\n", "label in every row.*line 8"),
    "a comma too much": (HEAD + rows(3) + "ham,a,b\n", "line 8, 3"),
    "a cell too few": (HEAD + rows(3) + "ham\n", "line 8, 1"),
    "open quote": (HEAD + rows(3) + 'ham,"a\nspam,b\n', "line 8: unexpected end"),
    "not UTF-8": (HEAD.encode() + b"ham,caf\xe9\n", "line 2, which is not"),
    "words among numbers": ("label,a,b\n" + "x,1,2\ny,3,4\n" * 4 + "x,1,red\n", "line 10, b='red'"),
    "no number": ("label,a,b\n" + "x,1,2\ny,3,4\n" * 4 + "x,nan,1\n", r"finite.*data\.csv x\[8, 0, 0\]"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_no_dataset_is_told_with_its_line(tmp_path, content, message):
    path = write(tmp_path / "data.csv", content)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path)
    assert "\n" not in str(caught.value)


def test_files_of_a_folder_must_fit_each_other(tmp_path):
    write(tmp_path / "train.csv", HEAD + rows())
    write(tmp_path / "test.csv", "label,words\nham,a\n")
    with pytest.raises(DataError, match=r"columns of .*train\.csv in .*test\.csv \(label, text\).*label, words"):
        open_dataset(tmp_path)
    write(tmp_path / "test.csv", HEAD + "eggs,a\n")
    with pytest.raises(DataError, match="'eggs'"):
        open_dataset(tmp_path)
    write(tmp_path / "val.csv", HEAD + rows(1))
    write(tmp_path / "valid.csv", HEAD + rows(1))
    with pytest.raises(DataError, match="one file for val"):
        open_dataset(tmp_path)
