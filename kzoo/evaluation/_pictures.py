"""Samples of a dataset as pictures: images as they are, sequences as lines or, when wide, as a heat map."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ._style import DPI, SERIES, SMALL, Theme, fonts

_LINES = 8  # features of a sequence that are told apart as lines
_THUMBNAIL = 160  # pixels
_TINY = 64  # pixels; smaller images are enlarged pixel by pixel, not blurred
_NEUTRAL = "#858f98"  # shows on light and on dark ground alike


def is_image(sample: np.ndarray) -> bool:
    """Tell an image `(height, width, channels)` from a sequence `(steps, features)`."""
    return sample.ndim == 3


def as_pixels(image: np.ndarray) -> np.ndarray:
    """Turn an image of any number of channels into what a screen can show.

    Args:
        image: `(height, width, channels)`, 0 to 255. One channel is grey, two are grey and alpha, four are colour and
            alpha; of other numbers the first three are shown as colour.

    Returns:
        `(height, width, 3 or 4)` uint8.
    """
    pixels: np.ndarray = np.clip(np.nan_to_num(image), 0, 255).astype(np.uint8)
    channels = pixels.shape[-1]
    if channels == 1:
        return np.repeat(pixels, 3, axis=-1)
    if channels == 2:
        return pixels[..., [0, 0, 0, 1]]
    return pixels if channels == 4 else pixels[..., :3]


def value_range(samples: np.ndarray) -> tuple[float, float]:
    """Find the lowest and highest finite value, so that all sequences are drawn to one scale."""
    finite = samples[np.isfinite(samples)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def draw_sample(axes: Axes, sample: np.ndarray, theme: Theme, limits: tuple[float, float]) -> None:
    """Draw one sample: an image, a sequence of few features as lines over its steps, of many as a heat map.

    Args:
        axes: where to draw.
        sample: `(height, width, channels)` or `(steps, features)` or `(steps,)`.
        theme: colours.
        limits: lowest and highest value that the axis of a sequence has room for.
    """
    axes.spines[:].set_visible(False)
    axes.set_facecolor("none")
    axes.tick_params(length=0, labelsize=SMALL - 1.5, labelcolor=theme.muted, labelfontfamily=fonts(), pad=2)
    if is_image(sample):
        axes.set(xticks=[], yticks=[], anchor="SW")
        # Behind transparent pixels.
        axes.set_facecolor(theme.rule)
        tiny = max(sample.shape[:2]) < _TINY
        axes.imshow(as_pixels(sample), interpolation="nearest" if tiny else "antialiased")
        return
    _draw_sequence(axes, sample.reshape(len(sample), -1), theme, limits)


def thumbnail(sample: np.ndarray, limits: tuple[float, float]) -> bytes:
    """Encode one sample as a small PNG that suits a light and a dark page."""
    buffer = io.BytesIO()
    if is_image(sample):
        image = Image.fromarray(as_pixels(sample))
        image.thumbnail((_THUMBNAIL, _THUMBNAIL))
        image.save(buffer, "png")
        return buffer.getvalue()
    figure = Figure(figsize=(1.5, 1.5), dpi=DPI, facecolor="none")
    neutral = Theme("none", _NEUTRAL, _NEUTRAL, _NEUTRAL + "66", SERIES[0], SERIES[1])
    draw_sample(figure.add_axes((0.2, 0.14, 0.78, 0.84)), sample, neutral, limits)
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="none")
    return buffer.getvalue()


def _draw_sequence(axes: Axes, sequence: np.ndarray, theme: Theme, limits: tuple[float, float]) -> None:
    steps, features = sequence.shape
    if features > _LINES:
        axes.imshow(
            sequence.T,
            aspect="auto",
            origin="lower",
            cmap="cividis",
            vmin=limits[0],
            vmax=limits[1],
            interpolation="nearest",
        )
        axes.set(xticks=[0, steps - 1], yticks=[0, features - 1])
    else:
        for feature, colour in zip(sequence.T, SERIES, strict=False):
            axes.plot(feature, color=colour, linewidth=1.3, marker="." if steps == 1 else "")
        axes.grid(True, axis="y", color=theme.rule, linewidth=0.7)
        axes.set_ylim(*limits)
        axes.set_xticks([0, steps - 1] if steps > 1 else [0])
        axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.set_box_aspect(1)
