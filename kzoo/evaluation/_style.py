"""The look that all plots share: two themes, one small palette that colour-blind readers can tell apart.

Everything is set on the figure itself. matplotlib's pyplot and rcParams are global to the process, which may be
someone's notebook.
"""

from __future__ import annotations

import functools
import io
import warnings
from dataclasses import dataclass

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

DPI = 144
TEXT = 11.0  # points
TITLE = 12.5
SMALL = 9.0


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a plot; the report's style sheet has the same."""

    surface: str
    ink: str
    muted: str
    rule: str
    blue: str
    orange: str


LIGHT = Theme(surface="#ffffff", ink="#1a2027", muted="#5d6771", rule="#e3e6e9", blue="#0b62a8", orange="#cf4f0a")
DARK = Theme(surface="#1a1f24", ink="#e7eaed", muted="#9aa5af", rule="#343b42", blue="#5cb0f2", orange="#ff9a57")

# Okabe and Ito's colours without black and yellow, in mid-tones that show on light and on dark ground alike.
SERIES = ("#3a8fd0", "#e0822a", "#1f9e77", "#c06a9c", "#8a7fd6", "#b39a1f", "#56a3c7", "#8c8c8c")

# matplotlib's own font has no Chinese, Japanese, Korean, Arabic or Hindi; class names may be in any of them.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Arial Unicode MS",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
)


@functools.cache
def fonts() -> tuple[str, ...]:
    """Names of the fonts to look a character up in, in order; only fonts that are installed."""
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in _FALLBACKS if name in installed))


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """Make an empty figure, `width` by `height` inches, that lays itself out when it is drawn."""
    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    return Figure(figsize=(width, height), dpi=DPI, facecolor=theme.surface, layout=layout)


def style_axes(axes: Axes, theme: Theme, *, grid: str | None = None) -> None:
    """Take the frame away, quieten the ticks and draw faint grid lines along `grid` ("x" or "y")."""
    axes.set_facecolor(theme.surface)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=5, labelsize=TEXT, labelcolor=theme.muted, labelfontfamily=fonts())
    axes.grid(False)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, axis=grid, color=theme.rule, linewidth=0.9, linestyle="-")  # type: ignore[arg-type]


def title(axes: Axes, text: str, theme: Theme) -> None:
    """Write a heading over the left end of the axes."""
    axes.set_title(text, loc="left", color=theme.ink, fontsize=TITLE, fontweight="bold", fontfamily=fonts(), pad=9)


def legend(axes: Axes, theme: Theme) -> None:
    """Name two colours over the right end of the axes."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=2,
        frameon=False,
        borderaxespad=0.3,
        handlelength=1.2,
        columnspacing=1.4,
        labelcolor=theme.muted,
        prop={"size": TEXT, "family": list(fonts())},
    )


def note(axes: Axes, text: str, theme: Theme) -> None:
    """Write over the right end of the axes, where no line can run through it."""
    axes.set_title(text, loc="right", color=theme.muted, fontsize=TEXT, fontfamily=fonts(), pad=9)


def message(figure: Figure, text: str, theme: Theme) -> None:
    """Say in the middle of an empty figure why there is nothing to see."""
    figure.text(0.5, 0.5, text, ha="center", va="center", color=theme.muted, fontsize=TITLE, fontfamily=fonts())


def plain(text: str, limit: int = 18) -> str:
    """Make untrusted text safe to draw on one line: no mathematics, no control characters, not too long."""
    line = "".join(character if character.isprintable() else " " for character in text)
    if len(line) > limit:
        # The ends of names tell them apart more often than their middles.
        tail = (limit - 1) // 3
        line = f"{line[: limit - 1 - tail]}…{line[-tail:]}"
    return line.replace("$", r"\$")


def ending(text: str, limit: int) -> str:
    """Keep the end of a long file name: it is the beginning that many files share."""
    return text if len(text) <= limit else f"…{text[1 - limit :]}"


def blend(share: np.ndarray, low: str, high: str) -> np.ndarray:
    """Mix two colours: `low` where the share is 0, `high` where it is 1. Adds an axis of red, green, blue."""
    weight = share[..., None]
    return np.asarray((1 - weight) * to_rgb(low) + weight * to_rgb(high))


def to_png(figure: Figure) -> bytes:
    """Draw a figure, without the empty margin around it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that no installed font has is drawn as boxes; the page has it in text.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(
            buffer, format="png", dpi=DPI, facecolor=figure.get_facecolor(), bbox_inches="tight", pad_inches=0.12
        )
    return buffer.getvalue()
