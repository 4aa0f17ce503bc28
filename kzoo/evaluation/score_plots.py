"""Pictures of scores that part two kinds of samples: similarities of pairs, errors of anomalies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ._style import LIGHT, TEXT, Theme, fonts, legend, new_figure, note, style_axes, title


def plot_similarities(scores: np.ndarray, same: np.ndarray, threshold: float, theme: Theme = LIGHT) -> Figure:
    """Draw how similar pairs of one class and pairs of different classes are, with the threshold between them.

    Args:
        scores: `(pairs,)` similarities.
        same: `(pairs,)`, whether a pair is of one class.
        threshold: Drawn dashed.
        theme: colours.
    """
    figure = new_figure(6, 3.4, theme)
    axes = figure.subplots()
    edges = np.linspace(min(float(scores.min()), -0.2), 1.0, 61)
    _two_histograms(axes, {"one class": scores[same], "different classes": scores[~same]}, edges, threshold, theme)
    axes.set_xlabel("Similarity", color=theme.muted, fontsize=TEXT, fontfamily=fonts())
    title(axes, "Share of pairs", theme)
    return figure


def plot_errors(errors: np.ndarray, anomalous: np.ndarray, threshold: float, theme: Theme = LIGHT) -> Figure:
    """Draw the errors of normal samples and of anomalies on a logarithmic scale, with the threshold between them.

    Args:
        errors: `(samples,)` mean squared errors.
        anomalous: `(samples,)`, whether a sample is an anomaly.
        threshold: Drawn dashed.
        theme: colours.
    """
    figure = new_figure(6, 3.4, theme)
    axes = figure.subplots()
    # A constant input may be given back without any error.
    shown = np.maximum(errors, np.finfo(np.float32).tiny)
    edges = np.geomspace(0.95 * float(shown.min()), 1.05 * float(shown.max()), 61)
    _two_histograms(axes, {"normal": shown[~anomalous], "anomalies": shown[anomalous]}, edges, threshold, theme)
    axes.set_xscale("log")
    axes.set_xlabel("Mean squared error", color=theme.muted, fontsize=TEXT, fontfamily=fonts())
    title(axes, "Share of samples", theme)
    return figure


def _two_histograms(
    axes: Axes, parts: Mapping[str, np.ndarray], edges: np.ndarray, threshold: float, theme: Theme
) -> None:
    """Draw the scores of two kinds as shares of each, and what parts them."""
    style_axes(axes, theme, grid="y")
    for (label, part), colour in zip(parts.items(), (theme.blue, theme.orange), strict=True):
        if len(part):
            weights = np.full(len(part), 1 / len(part))
            axes.hist(part, edges.tolist(), weights=weights, color=colour, alpha=0.6, label=label)
    axes.axvline(threshold, color=theme.muted, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend(axes, theme)


def plot_roc(errors: np.ndarray, anomalous: np.ndarray, threshold: float, theme: Theme = LIGHT) -> Figure:
    """Draw the share of anomalies that is found against that of false alarms, with the threshold marked.

    Arguments as `plot_errors`.
    """
    from sklearn.metrics import roc_curve

    figure = new_figure(6, 3.6, theme)
    axes = figure.subplots()
    style_axes(axes, theme, grid="y")
    alarms, found, _ = roc_curve(anomalous, errors)
    axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.plot(alarms, found, color=theme.blue, linewidth=2)
    above = errors > threshold
    place = (float(above[~anomalous].mean()), float(above[anomalous].mean()))
    axes.plot(*place, "o", ms=9, mfc=theme.surface, mec=theme.orange, mew=2.4, zorder=4)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("False alarms", color=theme.muted, fontsize=TEXT, fontfamily=fonts())
    title(axes, "Anomalies found", theme)
    note(axes, f"marked: threshold {threshold:.4g}", theme)
    return figure
