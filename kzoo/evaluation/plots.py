"""Pictures of a training and of its result, each a matplotlib `Figure` made without pyplot or other global state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ._pictures import draw_sample, is_image, value_range
from ._style import (
    LIGHT,
    SMALL,
    TEXT,
    TITLE,
    Theme,
    blend,
    ending,
    fonts,
    legend,
    message,
    new_figure,
    note,
    plain,
    style_axes,
    title,
)
from .metrics import Metrics, percent
from .mistakes import worst_mistakes

COUNTED_CLASSES = 20  # up to here a confusion matrix has room for its numbers
_MOST_CELLS = 900  # pixels that a confusion matrix has along a side
_SCORES = 120  # classes that plot_class_scores shows at most
_SCORES_A_COLUMN = 34


def plot_curves(history: Sequence[Mapping[str, float]], theme: Theme = LIGHT) -> Figure:
    """Draw loss, accuracy and learning rate over the epochs, with the best epoch marked.

    The best epoch is the last one of the highest validation accuracy, or training accuracy where nothing was
    validated.

    Args:
        history: one row an epoch: `loss`, `accuracy` and, where there are any, `epoch`, `val_loss`, `val_accuracy`,
            `learning_rate`.
        theme: colours.
    """
    rates = _column(history, "learning_rate")
    panels = 2 if np.isnan(rates).all() else 3
    figure = new_figure(6, 6 if panels == 3 else 5.2, theme)
    if not history:
        message(figure, "No training history.", theme)
        return figure
    epochs = np.array([row.get("epoch", index + 1) for index, row in enumerate(history)])
    axes = figure.subplots(panels, 1, sharex=True, height_ratios=[3, 3, 1.1][:panels])
    for panel, name in zip(axes, ("loss", "accuracy"), strict=False):
        _plot_pair(panel, epochs, history, name, theme)
    axes[1].yaxis.set_major_formatter(PercentFormatter(1.0))
    if panels == 3:
        _plot_rates(axes[2], epochs, rates, theme)
    axes[-1].set_xlabel("Epoch", color=theme.muted, fontsize=TEXT, fontfamily=fonts())
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes[-1].set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    _mark_best(axes, epochs, history, theme)
    return figure


def plot_confusion(metrics: Metrics, theme: Theme = LIGHT) -> Figure:
    """Draw the confusion matrix: true classes down, predicted classes across.

    Shading is the share of the true class, blue where right and orange where wrong. Counts are written in up to 20
    classes; beyond, the names are thinned out. Of more classes than there are pixels, neighbours share a cell.
    """
    classes = len(metrics.classes)
    together = math.ceil(classes / _MOST_CELLS)
    counts = _confusion_counts(metrics, together)
    size = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Below 1, the exponent lifts rare mistakes out of the background.
    colours = blend(shares**0.4, theme.surface, theme.orange)
    right = np.arange(size)
    colours[right, right] = blend(shares[right, right], theme.surface, theme.blue)

    side = 6.0 if size <= 12 else 8.4
    figure = new_figure(side, side, theme)
    axes = figure.subplots()
    style_axes(axes, theme)
    # Beyond a few hundred classes a cell is less than a pixel: average then, or whole rows would vanish.
    axes.imshow(colours, interpolation="nearest" if size <= 200 else "antialiased")
    cell = 0.76 * side * 72 / size  # points
    _name_classes(axes, [record.name for record in metrics.classes[::together]], cell, theme)
    if size <= COUNTED_CLASSES:
        edges = np.arange(size + 1) - 0.5
        axes.hlines(edges, -0.5, size - 0.5, color=theme.rule, linewidth=0.8)
        axes.vlines(edges, -0.5, size - 0.5, color=theme.rule, linewidth=0.8)
        _write_counts(axes, counts, colours, cell, theme)
    else:
        for spine in axes.spines.values():
            spine.set(visible=True, color=theme.rule)
    axes.set_xlabel("Predicted class", color=theme.muted, fontsize=TEXT, fontfamily=fonts(), labelpad=8)
    axes.set_ylabel("True class", color=theme.muted, fontsize=TEXT, fontfamily=fonts(), labelpad=8)
    return figure


def plot_mistakes(
    samples: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    names: Sequence[str],
    theme: Theme = LIGHT,
) -> Figure:
    """Show the 24 wrong predictions the model was surest of, with the true and the predicted class.

    Args:
        samples: `(samples, height, width, channels)` pixels 0 to 255, or `(samples, steps, features)` sequences.
        labels: `(samples,)` class indices.
        probabilities: `(samples, classes)`.
        classes: names of the classes.
        names: file names, or places in the dataset, of the samples.
        theme: colours.
    """
    worst = worst_mistakes(probabilities, labels)
    if not len(worst):
        figure = new_figure(6, 2, theme)
        message(figure, "No mistakes: every prediction is right.", theme)
        return figure
    columns = min(len(worst), 6)
    rows = math.ceil(len(worst) / columns)
    figure = new_figure(1.75 * columns, 2.15 * rows, theme)
    # Cells of one size that is known need no search for a layout, which takes a second here.
    figure.set_layout_engine("none")
    spacing = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.22, "hspace": 0.5}
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw=spacing)
    limits = value_range(samples)
    for axes in grid.flat[len(worst) :]:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, worst.tolist(), strict=False):
        draw_sample(axes, samples[index], theme, limits)
        predicted = int(probabilities[index].argmax())
        lines = (
            (plain(classes[int(labels[index])]), theme.ink, TEXT),
            (f"→ {plain(classes[predicted])}", theme.orange, TEXT),
            (f"{percent(probabilities[index, predicted])} · {plain(ending(names[index], 18))}", theme.muted, SMALL - 1),
        )
        below = 4 if is_image(samples[index]) else 15  # points; a sequence has its steps written there
        for line, (text, colour, size) in enumerate(lines):
            axes.annotate(
                text,
                xy=(0, 0),
                xycoords="axes fraction",
                xytext=(0, -below - 13 * line),
                textcoords="offset points",
                va="top",
                color=colour,
                fontsize=size,
                fontfamily=fonts(),
            )
    return figure


def plot_class_scores(metrics: Metrics, theme: Theme = LIGHT) -> Figure:
    """Draw the F1 score of every class that the split has, the weakest first; the 120 weakest if there are more."""
    known = sorted((record for record in metrics.classes if record.support), key=lambda record: record.f1)
    shown = known[:_SCORES]
    columns = math.ceil(len(shown) / _SCORES_A_COLUMN)
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(max(6.0, 3.4 * columns), 1.1 + 0.22 * rows, theme)
    # Dots, unlike bars, may start anywhere: good models differ only near 1.
    lowest = max(0.0, math.floor(10 * shown[0].f1 - 0.5) / 10)
    grid = figure.subplots(1, columns, squeeze=False)[0]
    for column, axes in enumerate(grid):
        part = shown[column * rows : (column + 1) * rows]
        places = np.arange(len(part))
        scores = [record.f1 for record in part]
        style_axes(axes, theme, grid="x")
        axes.hlines(places, lowest, 1, color=theme.rule, linewidth=0.9)
        axes.axvline(metrics.f1, color=theme.muted, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.scatter(scores, places, s=34, color=theme.blue, zorder=3, clip_on=False)
        axes.set_yticks(places, [plain(record.name) for record in part])
        axes.tick_params(axis="y", labelcolor=theme.ink, labelsize=TEXT if columns == 1 else SMALL)
        axes.set_ylim(rows - 0.4, -0.6)
        axes.set_xlim(lowest, 1)
        axes.xaxis.set_major_locator(MaxNLocator(5 if columns == 1 else 3, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    few = "" if len(shown) == len(known) else f"the {len(shown)} weakest of {len(known):,} classes, "
    # A title of the first column would push the second one away.
    figure.suptitle(
        f"F1 by class ({few}dashed: macro {percent(metrics.f1)})",
        x=0.01,
        ha="left",
        color=theme.ink,
        fontsize=TITLE,
        fontweight="bold",
        fontfamily=fonts(),
    )
    return figure


def plot_exits(metrics: Metrics, theme: Theme = LIGHT) -> Figure:
    """Draw accuracy against the mean multiply–accumulates of a sample, a point a threshold, the chosen one marked."""
    figure = new_figure(6, 3.6, theme)
    axes = figure.subplots()
    style_axes(axes, theme, grid="y")
    points = sorted(metrics.exits, key=lambda point: point.macs)
    work, accuracies = [point.macs / 1e6 for point in points], [point.accuracy for point in points]
    axes.plot(work, accuracies, color=theme.blue, linewidth=2, marker="o", ms=5)
    for point in points:
        if point.threshold == metrics.exit_threshold:
            axes.plot(
                point.macs / 1e6, point.accuracy, "o", ms=9, mfc=theme.surface, mec=theme.orange, mew=2.4, zorder=4
            )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlim(left=0)
    axes.set_xlabel("Million multiply-adds a sample, on average", color=theme.muted, fontsize=TEXT, fontfamily=fonts())
    title(axes, "Accuracy", theme)
    note(axes, f"marked: threshold {metrics.exit_threshold:g}", theme)
    return figure


def _column(history: Sequence[Mapping[str, float]], name: str) -> np.ndarray:
    """Take one quantity out of the history; what is missing or not finite becomes NaN, which leaves a gap."""
    values = np.array([row.get(name, np.nan) for row in history], dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def _plot_pair(axes: Axes, epochs: np.ndarray, history: Sequence[Mapping[str, float]], name: str, theme: Theme) -> None:
    """Plot a quantity of the training part and the validation part in one panel."""
    style_axes(axes, theme, grid="y")
    lines = ((name, "training", theme.blue), (f"val_{name}", "validation", theme.orange))
    drawn = []
    for key, label, colour in lines:
        values = _column(history, key)
        if not np.isnan(values).all():
            drawn.append(values[~np.isnan(values)])
            axes.plot(
                epochs, values, color=colour, label=label, linewidth=2, marker="o" if len(epochs) < 3 else "", ms=5
            )
    values = np.concatenate(drawn) if drawn else np.zeros(1)
    logarithmic = name == "loss" and values.min() > 0 and values.max() > 100 * values.min()
    if logarithmic:
        axes.set_yscale("log")
    title(axes, f"{name.capitalize()} (logarithmic)" if logarithmic else name.capitalize(), theme)
    if name == "loss" and drawn:
        legend(axes, theme)


def _plot_rates(axes: Axes, epochs: np.ndarray, rates: np.ndarray, theme: Theme) -> None:
    """Plot the learning rate, with its highest value written at the axis."""
    style_axes(axes, theme, grid="y")
    axes.plot(epochs, rates, color=theme.muted, linewidth=1.6, marker="o" if len(epochs) < 3 else "", ms=4)
    highest = float(np.nanmax(rates)) or 1.0
    axes.set_ylim(0, 1.1 * highest)
    axes.set_yticks([0, highest], ["0", f"{highest:.2g}"])
    title(axes, "Learning rate", theme)


def _mark_best(axes: Sequence[Axes], epochs: np.ndarray, history: Sequence[Mapping[str, float]], theme: Theme) -> None:
    """Draw a line through the best epoch and say how good it was."""
    validated, trained = _column(history, "val_accuracy"), _column(history, "accuracy")
    values, colour = (trained, theme.blue) if np.isnan(validated).all() else (validated, theme.orange)
    if np.isnan(values).all():
        return
    # Of equals the last, as the run keeps it.
    best = len(values) - 1 - int(np.nanargmax(values[::-1]))
    for panel in axes:
        panel.axvline(epochs[best], color=theme.muted, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
    axes[1].plot(epochs[best], values[best], "o", ms=8, mfc=theme.surface, mec=colour, mew=2.2, zorder=4)
    note(axes[1], f"best: {percent(values[best])} in epoch {epochs[best]:.0f}", theme)


def _confusion_counts(metrics: Metrics, together: int) -> np.ndarray:
    """Sum the confusion over blocks of classes that share a cell; on the diagonal only what is right counts."""
    rows, columns, counts = metrics.confused().T
    size = math.ceil(len(metrics.classes) / together)
    summed = np.zeros((size, size), np.int64)
    apart = (rows == columns) | (rows // together != columns // together)
    np.add.at(summed, (rows[apart] // together, columns[apart] // together), counts[apart])
    return summed


def _name_classes(axes: Axes, names: Sequence[str], cell: float, theme: Theme) -> None:
    """Put class names at both axes: thinned to what there is room for, turned when they are wider than a cell."""
    size = TEXT if len(names) <= COUNTED_CLASSES else SMALL
    step = math.ceil(1.3 * size / cell)
    places = range(0, len(names), step)
    texts = [plain(names[place]) for place in places]
    turned = max(map(len, texts)) * 0.62 * size > step * cell
    axes.set_yticks(places, texts)
    axes.set_xticks(places, texts, rotation=90 if turned else 0)
    axes.tick_params(labelsize=size, labelcolor=theme.ink)


def _write_counts(axes: Axes, counts: np.ndarray, colours: np.ndarray, cell: float, theme: Theme) -> None:
    """Write each count that is not zero into its cell, in whichever of two colours stands out."""
    longest = len(f"{counts.max():,}")
    size = max(5.0, min(12.0, 0.85 * cell / (0.62 * longest)))
    dark, light = sorted((theme.ink, theme.surface), key=lambda colour: int(colour[1:3], 16))
    for row, column in zip(*np.nonzero(counts), strict=True):
        luminance = float(colours[row, column] ** 2.2 @ (0.2126, 0.7152, 0.0722))
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}",
            ha="center",
            va="center",
            color=dark if luminance > 0.25 else light,
            fontsize=size,
            fontweight="bold" if row == column else "normal",
            fontfamily=fonts(),
        )
