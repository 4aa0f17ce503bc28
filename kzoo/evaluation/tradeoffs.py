"""What several versions of a model cost and reach, side by side: a table, a picture, and which of them are worth it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from pydantic import BaseModel, ConfigDict

from ._style import DARK, LIGHT, SMALL, TEXT, Theme, fonts, new_figure, plain, style_axes, title
from .report import templates, write_page

_Z = 1.96  # of 95 % confidence


class Version(BaseModel):
    """One version of a model, measured on its exported file.

    Attributes:
        name: What was done, as `"prune50-qat"`.
        run: Its run directory.
        file: The `.tflite` file.
        quantize: Its precision.
        split: Part of the data that the accuracy was measured on.
        samples: Of it.
        accuracy: Of the file, 0–1.
        size: Bytes.
        gzip_size: Bytes after gzip.
        sparsity: Share of zeros in the file's kernels.
        unique: Different values in the kernel that has most of them.
        macs: Multiply–accumulates of one run.
        arena: Bytes that a microcontroller plans for the tensors.
        latency_ms: Median of one run here, batch 1, one thread.
        latency_ratio: Time in proportion to the first version's, side by side.
        minutes: Spent on training it, from the parent on.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    run: str
    file: str
    quantize: str
    split: str
    samples: int
    accuracy: float
    size: int
    gzip_size: int
    sparsity: float
    unique: int
    macs: int
    arena: int
    latency_ms: float
    latency_ratio: float
    minutes: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy (Wilson 1927)."""
        n, p = self.samples, self.accuracy
        centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
        return centre - half, centre + half


def worth_it(versions: Sequence[Version], cost: Callable[[Version], float]) -> list[Version]:
    """Give those that no other beats: none is as cheap and more accurate, nor as accurate and cheaper (Pareto).

    Args:
        versions: Measured on the same samples.
        cost: The smaller the better.
    """
    ordered = sorted(versions, key=lambda each: (cost(each), -each.accuracy))
    found: list[Version] = []
    for each in ordered:
        if not found or each.accuracy > found[-1].accuracy:
            found.append(each)
    return found


def plot_tradeoff(
    versions: Sequence[Version],
    best: Sequence[Version],
    cost: Callable[[Version], float],
    label: str,
    theme: Theme = LIGHT,
) -> Figure:
    """Draw the accuracy of several versions of a model against what they cost.

    Args:
        versions: A dot each, with its 95 % confidence interval.
        best: Those that no other beats, by rising cost; a line joins them and they are named.
        cost: Where a version stands on the horizontal axis.
        label: What that is.
        theme: Colours.
    """
    figure = new_figure(6, 4.2, theme)
    axes = figure.subplots()
    style_axes(axes, theme, grid="y")
    for each in versions:
        low, high = each.interval
        colour = theme.blue if each in best else theme.muted
        axes.vlines(cost(each), low, high, color=colour, alpha=0.35, linewidth=1.2)
        axes.plot(cost(each), each.accuracy, "o", color=colour, ms=6, zorder=3)
    axes.plot([cost(each) for each in best], [each.accuracy for each in best], color=theme.blue, linewidth=1.4)
    for number, each in enumerate(best):
        axes.annotate(
            plain(each.name, 28),
            (cost(each), each.accuracy),
            # Neighbours lie near each other: their names take turns above and below.
            xytext=(6, -11 if number % 2 else 5),
            textcoords="offset points",
            color=theme.ink,
            fontsize=SMALL,
            fontfamily=fonts(),
        )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(x=0.18)
    axes.set_xlabel(label, color=theme.muted, fontsize=TEXT, fontfamily=fonts())
    title(axes, "Accuracy", theme)
    return figure


def write_tradeoffs(directory: Path, heading: str, model: str, versions: Sequence[Version]) -> Path:
    """Write `report.html` with the table and the pictures, which also lie in `plots/` as PNG files.

    Args:
        directory: An existing directory.
        heading: Of the page.
        model: Name of the model.
        versions: The first is what the others are compared with.

    Returns:
        The path of `report.html`.
    """
    costs: dict[str, tuple[Callable[[Version], float], str]] = {
        "size": (lambda each: each.gzip_size / 1000, "Kilobytes of the file, gzipped"),
        "latency": (lambda each: each.latency_ratio, f"Time of one run, {versions[0].name} being 1"),
    }
    drawings: dict[str, Callable[[Theme], Figure]] = {
        name: functools.partial(plot_tradeoff, versions, worth_it(versions, cost), cost, label)
        for name, (cost, label) in costs.items()
    }
    best = {each.name for name, (cost, _) in costs.items() for each in worth_it(versions, cost)}
    template = templates().get_template("tradeoffs.html.j2")
    content = {"title": heading, "model": model, "facts": (), "recipe_text": ""}
    return write_page(
        directory,
        drawings,
        set(),
        lambda pictures: template.render(
            content=content, versions=versions, best=best, pictures=pictures, light=LIGHT, dark=DARK
        ),
    )
