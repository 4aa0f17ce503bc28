"""Plots: drawn without global state, not blank, true to their numbers, and undisturbed by odd input."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from kzoo.evaluation import compute_metrics, plot_class_scores, plot_confusion, plot_curves, plot_mistakes
from kzoo.evaluation._pictures import as_pixels, thumbnail, value_range
from kzoo.evaluation._style import DARK, LIGHT, plain, to_png


def drawn(figure: Figure) -> np.ndarray:
    """Render a figure and return its pixels."""
    assert isinstance(figure, Figure)
    image = Image.open(io.BytesIO(to_png(figure)))
    image.load()
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def has(pixels: np.ndarray, colour: str) -> bool:
    """Tell whether a colour is among the pixels."""
    wanted = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    return bool((pixels == wanted).all(axis=-1).any())


def texts(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text()]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("epochs", [1, 30])
def test_curves_show_training_and_validation(epochs, theme, history):
    pixels = drawn(plot_curves(history(epochs), theme))
    assert pixels[0, 0].tolist() == [int(theme.surface[index : index + 2], 16) for index in (1, 3, 5)]
    assert has(pixels, theme.blue)
    assert has(pixels, theme.orange)


def test_curves_mark_the_best_epoch_and_draw_what_is_given(history):
    rows = history(5)
    rows[2]["val_accuracy"] = 0.987
    figure = plot_curves(rows)
    assert "best: 98.7% in epoch 3" in texts(figure)
    loss, accuracy, rate = figure.axes
    assert [line.get_label() for line in loss.lines[:2]] == ["training", "validation"]
    assert accuracy.lines[1].get_ydata().tolist() == [row["val_accuracy"] for row in rows]
    assert rate.lines[0].get_ydata().tolist() == [row["learning_rate"] for row in rows]


def test_curves_of_a_short_or_broken_history(history):
    assert "No training history." in texts(plot_curves([]))
    only_training = plot_curves([{"loss": 1.0, "accuracy": 0.5}, {"loss": 0.5, "accuracy": 0.75}])
    assert len(only_training.axes) == 2
    assert "best: 75.0% in epoch 2" in texts(only_training)
    diverged = [{**row, "loss": np.nan, "val_loss": np.inf, "val_accuracy": np.nan} for row in history(3)]
    drawn(plot_curves(diverged))
    drawn(plot_curves([{name: np.nan for name in history(1)[0] if name != "epoch"}]))


def test_a_loss_that_spans_decades_is_drawn_logarithmically(history):
    rows = [{**row, "loss": 10.0**-index} for index, row in enumerate(history(5))]
    assert plot_curves(rows).axes[0].get_yscale() == "log"
    assert plot_curves(history(5)).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("classes", [1, 2, 10, 20])
def test_confusion_writes_its_counts(classes, measure):
    metrics = measure(classes, samples=10 * classes)
    figure = plot_confusion(metrics)
    drawn(figure)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert sorted(written) == sorted(str(count) for row in metrics.confusion for count in row.values())


def test_confusion_shades_by_share_of_the_true_class():
    labels = np.array([0] * 4 + [1] * 100)
    metrics = compute_metrics(np.eye(2)[[0, 0, 1, 1] + [1] * 100], labels, ["rare", "common"])
    figure = plot_confusion(metrics)
    shades = np.asarray(figure.axes[0].images[0].get_array())
    blue = np.array([int(LIGHT.blue[index : index + 2], 16) / 255 for index in (1, 3, 5)])
    assert shades[1, 1] == pytest.approx(blue)
    assert shades[0, 0] == pytest.approx((1 + blue) / 2)
    assert shades[1, 0] == pytest.approx([1, 1, 1])


def test_confusion_of_more_classes_than_pixels_puts_neighbours_into_one_cell():
    classes = 1800
    labels = np.arange(classes)
    predicted = labels.copy()
    predicted[0] = 1000
    figure = plot_confusion(compute_metrics(np.eye(classes, dtype=np.float32)[predicted], labels, ["class"] * classes))
    shades = np.asarray(figure.axes[0].images[0].get_array())
    blue, orange = (
        np.array([int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)])
        for colour in (LIGHT.blue, LIGHT.orange)
    )
    assert shades.shape == (900, 900, 3)
    assert shades[1, 1] == pytest.approx(blue)
    assert shades[0, 0] == pytest.approx((1 + blue) / 2)
    assert shades[0, 500] == pytest.approx(1 - 0.5**0.4 * (1 - orange))


def test_confusion_of_100_classes_thins_its_names_so_that_none_overlap(measure):
    figure = plot_confusion(measure(100, samples=2000))
    drawn(figure)
    axes = figure.axes[0]
    assert not axes.texts
    for labels, sides in ((axes.get_yticklabels(), ("y0", "y1")), (axes.get_xticklabels(), ("x0", "x1"))):
        spans = sorted(tuple(getattr(label.get_window_extent(), side) for side in sides) for label in labels)
        assert 20 <= len(spans) <= 50
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


@pytest.mark.parametrize(("classes", "columns"), [(2, 1), (30, 1), (100, 3)])
def test_class_scores_are_sorted_and_complete(classes, columns, measure):
    metrics = measure(classes, samples=20 * classes, noise=1.5)
    figure = plot_class_scores(metrics)
    drawn(figure)
    assert len(figure.axes) == columns
    scores = np.concatenate([np.asarray(axes.collections[-1].get_offsets())[:, 0] for axes in figure.axes])
    assert scores == pytest.approx(sorted(record.f1 for record in metrics.classes))


def test_class_scores_leave_out_classes_without_samples():
    metrics = compute_metrics(np.eye(3)[[0, 1, 0]], np.array([0, 1, 1]), ["a", "b", "absent"])
    assert "absent" not in texts(plot_class_scores(metrics))


@pytest.mark.parametrize(
    "shape",
    [
        (8, 8, 1),
        (32, 32, 3),
        (5, 9, 4),
        (7, 7, 2),
        (6, 6, 6),
        (1, 1, 3),
        (100, 160, 3),
        (8, 8),
        (50, 1),
        (1, 3),
        (40, 12),
    ],
    ids=str,
)
def test_mistakes_of_every_kind_of_sample(shape, predict):
    labels, probabilities = predict(3, samples=60)
    samples = (
        np.random.default_rng(0).integers(0, 256, (60, *shape)).astype(np.uint8 if len(shape) == 3 else np.float32)
    )
    names = [f"test[{index}]" for index in range(60)]
    figure = plot_mistakes(samples, labels, probabilities, ["cat", "dog", "owl"], names)
    pixels = drawn(figure)
    assert has(pixels, LIGHT.orange)
    wrong = int((probabilities.argmax(axis=1) != labels).sum())
    assert sum(text.startswith("→") for text in texts(figure)) == min(wrong, 24)
    assert Image.open(io.BytesIO(thumbnail(samples[0], value_range(samples)))).format == "PNG"


def test_a_mistake_is_captioned_with_both_classes_and_the_probability():
    figure = plot_mistakes(
        np.zeros((2, 4, 4, 1), np.uint8),
        np.array([0, 1]),
        np.array([[0.1, 0.9], [0.2, 0.8]]),
        ["cat", "dog"],
        ["a", "b"],
    )
    assert texts(figure) == ["cat", "→ dog", "90.0% · a"]


def test_a_model_that_is_always_right_has_no_mistakes_to_show():
    figure = plot_mistakes(np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 1]), np.eye(2), ["cat", "dog"], ["a", "b"])
    assert texts(figure) == ["No mistakes: every prediction is right."]


def test_pixels_of_every_number_of_channels():
    image = np.array([[[10, 20, 30, 40, 50]]])
    assert as_pixels(image[..., :1]).tolist() == [[[10, 10, 10]]]
    assert as_pixels(image[..., :2]).tolist() == [[[10, 10, 10, 20]]]
    assert as_pixels(image[..., :3]).tolist() == [[[10, 20, 30]]]
    assert as_pixels(image[..., :4]).tolist() == [[[10, 20, 30, 40]]]
    assert as_pixels(image).tolist() == [[[10, 20, 30]]]
    assert as_pixels(np.array([[[-5.0, 300.0, np.nan]]])).tolist() == [[[0, 255, 0]]]


@pytest.mark.parametrize(
    "name", [r"$\frac{$", "a\nb\tc", "caf\udce9", "x" * 500, "", "日本語", "%s {0} <b>"], ids=ascii
)
def test_hostile_class_names_are_drawn(name, recwarn, predict):
    labels, probabilities = predict(3, samples=30)
    names = [name, "dog", name]
    metrics = compute_metrics(probabilities, labels, names)
    drawn(plot_confusion(metrics))
    drawn(plot_class_scores(metrics))
    drawn(plot_mistakes(np.zeros((30, 4, 4, 1), np.uint8), labels, probabilities, names, [name] * 30))
    assert not recwarn.list


def test_long_names_keep_both_ends():
    assert plain("golden_retriever_from_the_north_01") == "golden_retri…th_01"
    assert plain("short") == "short"


def test_pyplot_and_global_settings_stay_untouched():
    code = """
import sys, matplotlib
# Reading the setting "backend" itself imports pyplot.
names = [name for name in matplotlib.rcParams if name != "backend"]
before = {name: matplotlib.rcParams[name] for name in names}
from kzoo.evaluation import plot_curves
from kzoo.evaluation._style import to_png
to_png(plot_curves([{"loss": 1.0, "accuracy": 0.5}]))
assert "matplotlib.pyplot" not in sys.modules
assert {name: matplotlib.rcParams[name] for name in names} == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_loads_nothing_heavy():
    code = """
import sys
import kzoo.evaluation
dir(kzoo.evaluation)
heavy = {"matplotlib", "sklearn", "keras", "tensorflow", "jinja2", "PIL"} & set(sys.modules)
assert not heavy, heavy
from kzoo.evaluation import Metrics, worst_mistakes
heavy = {"matplotlib", "sklearn", "keras", "tensorflow", "jinja2", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
