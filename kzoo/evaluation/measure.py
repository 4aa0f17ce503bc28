"""Measure a model on a split; the same for Keras models and `.tflite` files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kzoo.data import History, Split
from kzoo.exits import Exits, chosen
from kzoo.source import BATCH, open_source

from .exit_curve import THRESHOLDS, exit_curve
from .kinds import AnyMetrics
from .metrics import Metrics, compute_metrics
from .ranking import measure_ranking
from .reconstruction import measure_reconstruction
from .similarity import measure_similarity


def evaluate(
    source: Any, data: Any = None, *, split: str = "test", runtime: str = "auto", threads: int = 1
) -> AnyMetrics:
    """Measure a model on a split.

    Args:
        source: A run, a `.keras` or `.tflite` file, or a `keras.Model`.
        data: Name, path or arrays. Default: the data the model was trained on, split as it was then.
        split: `"train"`, `"val"` or `"test"`.
        runtime: What runs a `.tflite`: `"litert"`, `"tflite-runtime"`, or the one that is installed (`"auto"`).
        threads: Of that runtime.

    Returns:
        What a classifier got right; or, for a model that compares two samples, how well it tells pairs apart;
        or, for one that gives back its input, how well its error tells anomalies; or, for a recommender, where the
        items that users took stand among all that they had not taken in the training split of the data.

    Raises:
        KzooError: There is no such model or data, or they do not fit each other.

    Example:
        >>> kzoo.evaluate("runs/resnet18.digits-1").accuracy  # doctest: +SKIP
        0.989
    """
    opened = open_source(source, runtime=runtime, threads=threads)
    dataset = opened.dataset(data)
    samples = dataset.split(split)
    if opened.comparison is not None:
        comparison = opened.comparison
        return measure_similarity(comparison.compare, samples, split, comparison.threshold)[0]
    if opened.detector is not None:
        detector = opened.detector
        label = dataset.classes.index(detector.normal)
        return measure_reconstruction(
            detector.errors, samples, split, label=label, normal=detector.normal, threshold=detector.threshold
        )[0]
    if opened.recommender is not None:
        known = opened.recommender.known
        history = None if split == "train" else History.of(dataset.train, known)
        return measure_ranking(opened.recommender.scores, samples, history, known, split)
    return measure_split(opened.exits or opened.predict, samples, opened.classes, split)[0]


def measure_split(
    predict: Exits | Callable[[np.ndarray], np.ndarray], samples: Split, classes: Sequence[str], split: str
) -> tuple[Metrics, np.ndarray]:
    """Measure a classifier, or a network with early ones, on a split.

    Args:
        predict: What answers: from a batch to probabilities, or `Exits`.
        samples: The split.
        classes: Names.
        split: What the split is called.

    Returns:
        The metrics, and the probabilities they were computed from, `(samples, classes)`.
    """
    if not isinstance(predict, Exits):
        probabilities = answers_of(predict, samples)
        return compute_metrics(probabilities, samples.labels, classes, split), probabilities
    answers = answers_of(predict.answers, samples)
    probabilities = chosen(answers, predict.threshold)
    metrics = compute_metrics(probabilities, samples.labels, classes, split)
    curve = exit_curve(answers, samples.labels, predict.macs, sorted({*THRESHOLDS, predict.threshold}))
    return metrics.model_copy(update={"exits": curve, "exit_threshold": predict.threshold}), probabilities


def answers_of(predict: Callable[[np.ndarray], np.ndarray], split: Split) -> np.ndarray:
    """Ask for every sample of a split, in its order, batch by batch: `(samples, …)`."""
    starts = range(0, len(split), BATCH)
    batches = (np.arange(start, min(start + BATCH, len(split))) for start in starts)
    return np.concatenate([predict(split.load(indices)) for indices in batches])
