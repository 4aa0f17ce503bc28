"""The report of a run: one HTML page that needs nothing but itself, and the plots as PNG files beside it."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.figure import Figure

from kzoo.export.compression.kernels import KernelCount
from kzoo.files import write_bytes

from . import plots, score_plots
from ._pictures import is_image, thumbnail, value_range
from ._style import DARK, DPI, LIGHT, Theme, ending, to_png
from .metrics import TOP, ClassMetrics, Metrics, percent
from .mistakes import Mistakes, most_confused, worst_mistakes
from .ranking import RankingMetrics
from .reconstruction import ReconstructionMetrics
from .similarity import SimilarityMetrics

_LONGEST_TEXT = 300  # signs of a text that the page shows
_ROWS = 20  # classes that the page lists before the reader asks for all of them


@dataclass(frozen=True)
class RunContent:
    """What the report of any run says."""

    title: str
    """What was done, such as "resnet18 on digits"."""
    model: str
    """Name of the model."""
    facts: Sequence[tuple[str, str]]
    """(name, value) rows: parameters, MACs, input, dataset, seed, time, versions."""
    history: Sequence[Mapping[str, float]]
    """One row an epoch, as `plot_curves` takes it; empty for a model that was not trained here."""
    recipe_text: str
    """The recipe as YAML; empty if there is none."""


@dataclass(frozen=True)
class CompressionContent:
    """What was done to the run that a compressed one came from."""

    parent: str
    """The run that it came from."""
    methods: Sequence[str]
    """What was done, in this order."""
    changes: Sequence[tuple[str, str, str]]
    """(name, before, after) rows."""
    kernels: Sequence[KernelCount]
    """What stands in the kernels now."""
    treated: Mapping[str, str]
    """What was done to a layer, where anything was."""
    ranges: int
    """Tensors whose range was learned for the int8 file."""


@dataclass(frozen=True)
class ReportContent(RunContent):
    """All that the report of a classifier says."""

    metrics: Metrics
    """The result on the split that was measured."""
    mistakes: Mistakes
    """The worst mistakes, as `collect_mistakes` gives them."""
    compression: CompressionContent | None = None
    """Of a compressed run."""


@dataclass(frozen=True)
class SimilarityContent(RunContent):
    """All that the report of a model that compares two samples says."""

    metrics: SimilarityMetrics
    """The result on the pairs that were measured."""
    scores: np.ndarray
    """`(pairs,)` similarities."""
    same: np.ndarray
    """`(pairs,)`, whether a pair is of one class."""


@dataclass(frozen=True)
class ReconstructionContent(RunContent):
    """All that the report of a model that gives back its input says."""

    metrics: ReconstructionMetrics
    """The result on the split that was measured."""
    errors: np.ndarray
    """`(samples,)` mean squared errors."""
    anomalous: np.ndarray
    """`(samples,)`, whether a sample is an anomaly."""


@dataclass(frozen=True)
class RankingContent(RunContent):
    """All that the report of a recommender says."""

    metrics: RankingMetrics
    """The result on the split that was measured."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """A plot in both themes, ready for the page, and its size there in CSS pixels."""

    light: str
    dark: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Mistake:
    """One wrong prediction, ready for the page."""

    picture: str
    text: str
    true: str
    predicted: str
    probability: str
    name: str
    short_name: str


def write_report(directory: Path, content: ReportContent) -> Path:
    """Write `report.html` and `plots/*.png` into a directory.

    Everything is drawn before anything is written, each file is written atomically and the page last: a failure
    leaves the old page.

    Args:
        directory: an existing directory, such as that of a run.
        content: what to report.

    Returns:
        The path of `report.html`.

    Raises:
        OSError: the directory cannot be written.
    """
    # The page shows the mistakes one by one, so that they fit a phone, and few classes as bars of its table.
    apart = {"mistakes"} if len(content.metrics.classes) > _ROWS else {"mistakes", "class_scores"}
    return write_page(directory, _drawings(content), apart, lambda pictures: _render(content, pictures))


def write_similarity_report(directory: Path, content: SimilarityContent) -> Path:
    """Write `report.html` and `plots/*.png` of a model that compares two samples, as `write_report` does."""
    scores = functools.partial(score_plots.plot_similarities, content.scores, content.same, content.metrics.threshold)
    return _write_scores(directory, content, {"similarities": scores}, "similarity.html.j2")


def write_reconstruction_report(directory: Path, content: ReconstructionContent) -> Path:
    """Write `report.html` and `plots/*.png` of a model that gives back its input, as `write_report` does."""
    scores = (content.errors, content.anomalous, content.metrics.threshold)
    drawings: dict[str, Callable[[Theme], Figure]] = {"errors": functools.partial(score_plots.plot_errors, *scores)}
    if content.metrics.auc is not None:
        drawings["roc"] = functools.partial(score_plots.plot_roc, *scores)
    return _write_scores(directory, content, drawings, "reconstruction.html.j2")


def write_ranking_report(directory: Path, content: RankingContent) -> Path:
    """Write `report.html` and `plots/*.png` of a recommender, as `write_report` does."""
    return _write_scores(directory, content, {}, "ranking.html.j2")


def _write_scores(
    directory: Path,
    content: SimilarityContent | ReconstructionContent | RankingContent,
    drawings: dict[str, Callable[[Theme], Figure]],
    page: str,
) -> Path:
    if content.history:
        drawings["curves"] = functools.partial(plots.plot_curves, content.history)
    template = templates().get_template(page)
    return write_page(
        directory,
        drawings,
        set(),
        lambda pictures: template.render(
            content=content, metrics=content.metrics, pictures=pictures, light=LIGHT, dark=DARK
        ),
    )


def write_page(
    directory: Path,
    drawings: Mapping[str, Callable[[Theme], Figure]],
    apart: set[str],
    render: Callable[[Mapping[str, _Picture]], str],
) -> Path:
    """Draw, render and write; `apart` are plots that the page does not show."""
    files = {name: to_png(draw(LIGHT)) for name, draw in drawings.items()}
    page = render({name: _picture(files[name], to_png(drawings[name](DARK))) for name in drawings.keys() - apart})

    folder = Path(directory, "plots")
    folder.mkdir(exist_ok=True)
    for name, png in files.items():
        write_bytes(folder / f"{name}.png", png)
    report = Path(directory, "report.html")
    # File names may hold bytes that are no text; they must not cost the user the report.
    write_bytes(report, page.encode("utf-8", errors="replace"))
    return report


def _drawings(content: ReportContent) -> dict[str, Callable[[Theme], Figure]]:
    """Name the plots that this content has something for."""
    metrics, mistakes = content.metrics, content.mistakes
    drawings: dict[str, Callable[[Theme], Figure]] = {
        "confusion": functools.partial(plots.plot_confusion, metrics),
        "class_scores": functools.partial(plots.plot_class_scores, metrics),
    }
    if not mistakes.texts:
        drawings["mistakes"] = functools.partial(
            plots.plot_mistakes,
            mistakes.samples,
            mistakes.labels,
            mistakes.probabilities,
            [record.name for record in metrics.classes],
            mistakes.names,
        )
    if metrics.exits:
        drawings["exits"] = functools.partial(plots.plot_exits, metrics)
    if content.history:
        drawings["curves"] = functools.partial(plots.plot_curves, content.history)
    return drawings


def _render(content: ReportContent, pictures: Mapping[str, _Picture]) -> str:
    metrics = content.metrics
    samples = content.mistakes.samples
    template = templates().get_template("report.html.j2")
    return template.render(
        content=content,
        metrics=metrics,
        tiles=_tiles(metrics),
        pictures=pictures,
        wide=len(metrics.classes) > 12,
        pairs=most_confused(metrics),
        tables=_class_tables(metrics),
        absent=sum(record.support == 0 for record in metrics.classes),
        mistakes=_mistakes(content),
        tiny=len(samples) > 0 and is_image(samples[0]) and max(samples.shape[1:3]) < 64,
        texts=bool(content.mistakes.texts),
        light=LIGHT,
        dark=DARK,
    )


def templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kzoo.evaluation", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    return environment


def _tiles(metrics: Metrics) -> list[tuple[str, str]]:
    """Choose the numbers that stand beside the accuracy."""
    tiles = [("Macro F1", percent(metrics.f1))]
    if len(metrics.classes) > TOP:
        tiles.append(("Top-5 accuracy", percent(metrics.top5)))
    tiles.append(("Samples tested", f"{metrics.samples:,}"))
    tiles.append(("Mistakes", f"{metrics.mistakes:,}"))
    return tiles


def _class_tables(metrics: Metrics) -> list[list[ClassMetrics]]:
    """List the classes, the weakest first and those without samples last; with many, first the weakest alone."""
    ordered = sorted(metrics.classes, key=lambda record: (record.support == 0, record.f1))
    return [ordered] if len(ordered) <= _ROWS else [ordered[: _ROWS // 2], ordered]


def _mistakes(content: ReportContent) -> list[_Mistake]:
    shown, classes = content.mistakes, content.metrics.classes
    worst = worst_mistakes(shown.probabilities, shown.labels)
    pictured = len(worst) > 0 and not shown.texts
    limits = value_range(shown.samples) if pictured else (0.0, 1.0)
    return [
        _Mistake(
            picture=_base64(thumbnail(shown.samples[index], limits)) if pictured else "",
            text=shown.texts[index][:_LONGEST_TEXT] if shown.texts else "",
            true=classes[int(shown.labels[index])].name,
            predicted=classes[int(shown.probabilities[index].argmax())].name,
            probability=percent(float(shown.probabilities[index].max())),
            name=shown.names[index],
            short_name=ending(shown.names[index], 40),
        )
        for index in worst.tolist()
    ]


def _picture(light: bytes, dark: bytes) -> _Picture:
    # A PNG's width and height are the bytes 16 to 24, big-endian; a page has 96 of its pixels in an inch.
    width, height = (np.frombuffer(light[16:24], dtype=">u4") * 96 // DPI).tolist()
    return _Picture(light=_base64(light), dark=_base64(dark), width=width, height=height)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
