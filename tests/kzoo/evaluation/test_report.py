"""The report: whole, self-contained, harmless whatever the names, and never half written."""

from __future__ import annotations

import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kzoo.evaluation.report
from kzoo.evaluation import compute_metrics, write_report


@pytest.fixture
def undrawn(monkeypatch):
    """Save the time of drawing plots, in tests of the page alone."""
    buffer = io.BytesIO()
    Image.new("RGB", (90, 60)).save(buffer, "png")
    monkeypatch.setattr(kzoo.evaluation.report, "to_png", lambda _figure: buffer.getvalue())


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._style = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._style = tag == "style"

    def handle_data(self, data):
        if not self._style:
            self.words.extend(data.split())

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


def page_of(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_a_report_says_all_that_it_should(written):
    content, folder = written
    page = page_of(folder / "report.html")
    mistakes = content.metrics.mistakes
    assert 2 < mistakes < 24
    for words in (
        "cnn on pets",
        f"{100 * content.metrics.accuracy:.1f}%",
        "accuracy on the test split",
        "Macro F1",
        "Samples tested 30",
        "1,234",
        "Most confused",
        "Every wrong prediction, the surest first",
        content.mistakes.names[0],
        "epochs: 4",
    ):
        assert words in page.text
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 2 + mistakes
    assert all(picture["alt"] for picture in pictures)


def test_plots_are_valid_pictures_that_show_something(written):
    _, folder = written
    plots = sorted(path.name for path in (folder / "plots").iterdir())
    assert plots == ["class_scores.png", "confusion.png", "curves.png", "mistakes.png"]
    for name in plots:
        with Image.open(folder / "plots" / name) as image:
            image.load()
            assert len(image.convert("RGB").getcolors(maxcolors=2**24)) > 20, name


def test_the_page_needs_nothing_but_itself(tmp_path, make_content):
    path = write_report(tmp_path, make_content([f"class {index}" for index in range(30)]))
    page = page_of(path)
    assert not page.tags() & {"script", "link", "iframe", "object", "embed", "base", "form", "a"}
    for tag, attributes in page.elements:
        for name in attributes.keys() & {"src", "srcset", "href", "data", "poster", "background", "action"}:
            assert attributes[name].startswith("data:image/png;base64,"), (tag, name)
        assert not [name for name in attributes if name.startswith("on")], tag
    html = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html


HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "</style></pre></details>"]


def test_hostile_text_stays_text(tmp_path, make_content, undrawn):
    everything = " ".join(HOSTILE)
    content = dataclasses.replace(
        make_content(HOSTILE, recipe=everything, name=everything),
        title=everything,
        model=everything,
        facts=[(everything, everything)],
    )
    page = page_of(write_report(tmp_path, content))
    assert "script" not in page.tags()
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    # Title twice, model, both columns of the facts, recipe.
    assert page.text.count(everything) >= 6
    assert all(f" {name} " in page.text for name in HOSTILE)


def test_names_that_are_no_text_do_not_cost_the_report(tmp_path, make_content, undrawn):
    path = write_report(tmp_path, make_content(["caf\udce9", "dog", "owl"], name="a\udcff\x00b"))
    assert "caf?" in path.read_text(encoding="utf-8")


def test_a_model_that_is_always_right(tmp_path, make_content, undrawn):
    path = write_report(tmp_path, make_content(right=True))
    assert path == tmp_path / "report.html"
    page = page_of(path)
    assert "No mistakes: all 30 predictions are right." in page.text
    assert "Most confused" not in page.text
    assert "100%" in page.text


def test_without_history_and_recipe(tmp_path, make_content, undrawn):
    page = page_of(write_report(tmp_path, make_content(epochs=0, recipe="")))
    assert "Training" not in page.text
    assert "Recipe" not in page.text
    assert not (tmp_path / "plots" / "curves.png").exists()


def test_more_mistakes_than_the_page_shows(tmp_path, make_content, undrawn):
    content = make_content([f"class {index}" for index in range(80)])
    assert content.metrics.mistakes > 24
    page = page_of(write_report(tmp_path, content))
    assert f"24 of {content.metrics.mistakes} wrong predictions, the surest first" in page.text


def test_many_classes_get_the_weakest_first_and_all_on_demand(tmp_path, make_content, undrawn):
    content = make_content([f"class_{index:03d}" for index in range(60)])
    html = write_report(tmp_path, content).read_text(encoding="utf-8")
    first, everything = html.split("All 60 classes</summary>")
    assert first.count('<th scope="row">') == 10 + 10  # confused pairs and weakest classes
    assert everything.count('<th scope="row">') == 60


def test_classes_without_samples_show_no_score(tmp_path, make_content, undrawn):
    metrics = compute_metrics(np.eye(3)[[0, 1, 0]], np.array([0, 1, 1]), ["cat", "dog", "absent"])
    content = dataclasses.replace(make_content(), metrics=metrics)
    page = page_of(write_report(tmp_path, content))
    assert "1 of 3 have no sample in the test split." in page.text
    assert "absent \N{EN DASH} \N{EN DASH} \N{EN DASH} 0" in page.text


@pytest.mark.parametrize("shape", [(32, 48, 3), (20, 4), (30, 20)], ids=str)
def test_other_kinds_of_samples(tmp_path, make_content, undrawn, shape):
    assert "Worst mistakes" in page_of(write_report(tmp_path, make_content(shape=shape))).text


@pytest.mark.parametrize("failing", ["curves.png", "report.html"])
def test_a_write_that_fails_leaves_the_old_report(tmp_path, make_content, undrawn, monkeypatch, failing):
    report = tmp_path / "report.html"
    report.write_text("the old report")
    (tmp_path / "plots").mkdir()
    for name in ("class_scores", "confusion", "curves", "mistakes"):
        (tmp_path / "plots" / f"{name}.png").write_bytes(b"")
    files = sorted(tmp_path.rglob("*"))
    replace = Path.replace

    def full_disk(self, target):
        if Path(target).name == failing:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(tmp_path, make_content())
    assert report.read_text() == "the old report"
    assert sorted(tmp_path.rglob("*")) == files


def test_a_drawing_that_fails_writes_nothing(tmp_path, make_content, undrawn, monkeypatch):
    def fail(*_arguments):
        raise RuntimeError("drawing failed")

    monkeypatch.setattr(kzoo.evaluation.report, "thumbnail", fail)
    with pytest.raises(RuntimeError, match="drawing failed"):
        write_report(tmp_path, make_content())
    assert list(tmp_path.iterdir()) == []
