"""The end of a run: measured once on the test split, with a report."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from kzoo.data import Dataset, History
from kzoo.exits import Exits, keras_exits
from kzoo.export.compression.kernels import count_kernels
from kzoo.files import write_text
from kzoo.ranker import keras_scores
from kzoo.recipes import dump_recipe
from kzoo.run import CHECKPOINTS, METRICS, Run
from kzoo.source import Detector, keras_compare, keras_predict, keras_reconstruct

from .exit_curve import cheapest_threshold, exit_curve
from .kinds import AnyMetrics
from .measure import answers_of, measure_split
from .metrics import Metrics, percent
from .mistakes import collect_mistakes
from .ranking import RankingMetrics, measure_ranking
from .reconstruction import ReconstructionMetrics, errors_of, measure_reconstruction, threshold_of
from .report import (
    CompressionContent,
    RankingContent,
    ReconstructionContent,
    ReportContent,
    SimilarityContent,
    write_ranking_report,
    write_reconstruction_report,
    write_report,
    write_similarity_report,
)
from .similarity import SimilarityMetrics, measure_similarity


def finish_run(run: Run, model: Any, dataset: Dataset) -> AnyMetrics:
    """Measure the best epoch's model on the test split, write metrics and report, and mark the run as done.

    Args:
        run: A run whose training has ended.
        model: The `keras.Model` with the best epoch's weights.
        dataset: What it was trained on.
    """
    metrics, headline = _FINISH.get(run.info.task, _finish_classifier)(run, model, dataset)
    write_text(run.path / METRICS, metrics.model_dump_json(indent=2) + "\n")
    figures = {"test": headline}
    best = next((row for row in run.history() if row["epoch"] == run.info.best_epoch), None)
    if best is not None:
        figures["val"] = {"accuracy": best["val_accuracy"], "loss": best["val_loss"]}
    run.update(status="done", metrics=figures)
    shutil.rmtree(run.path / CHECKPOINTS, ignore_errors=True)
    return metrics


def _finish_classifier(run: Run, model: Any, dataset: Dataset) -> tuple[Metrics, dict[str, float]]:
    """Measure and report; gives the metrics and the headline figures among them."""
    exits = _settle_threshold(run, model, dataset)
    metrics, probabilities = measure_split(exits or keras_predict(model), dataset.test, dataset.classes, "test")
    content = ReportContent(
        **_content(run, dataset),
        metrics=metrics,
        mistakes=collect_mistakes(dataset.test, probabilities),
        compression=_compression(run, model, metrics),
    )
    write_report(run.path, content)
    return metrics, {"accuracy": metrics.accuracy, "top5": metrics.top5, "f1": metrics.f1}


def _finish_similarity(run: Run, model: Any, dataset: Dataset) -> tuple[SimilarityMetrics, dict[str, float]]:
    """The same for a model that compares two samples; the threshold is that of equal errors on validation."""
    compare = keras_compare(model)
    run.update(threshold=measure_similarity(compare, dataset.val, "val")[0].threshold)
    metrics, scores, same = measure_similarity(compare, dataset.test, "test", run.info.threshold)
    content = SimilarityContent(**_content(run, dataset), metrics=metrics, scores=scores, same=same)
    write_similarity_report(run.path, content)
    return metrics, {"accuracy": metrics.accuracy, "eer": metrics.eer, "auc": metrics.auc}


def _finish_reconstruction(run: Run, model: Any, dataset: Dataset) -> tuple[ReconstructionMetrics, dict[str, float]]:
    """The same for a model that gives back its input; most normal validation samples stay below the threshold."""
    section = run.recipe.reconstruction
    assert section is not None and section.normal is not None
    errors = Detector(keras_reconstruct(model), section.normal, None).errors
    threshold = threshold_of(errors_of(errors, dataset.val), section.percentile)
    run.update(threshold=threshold)
    metrics, found, anomalous = measure_reconstruction(
        errors,
        dataset.test,
        "test",
        label=dataset.classes.index(section.normal),
        normal=section.normal,
        threshold=threshold,
    )
    content = ReconstructionContent(**_content(run, dataset), metrics=metrics, errors=found, anomalous=anomalous)
    write_reconstruction_report(run.path, content)
    figures = {"accuracy": metrics.accuracy, "auc": metrics.auc, "partial_auc": metrics.partial_auc}
    return metrics, {name: figure for name, figure in figures.items() if figure is not None}


def _finish_recommendation(run: Run, model: Any, dataset: Dataset) -> tuple[RankingMetrics, dict[str, float]]:
    """The same for a recommender, beside what everybody likes."""
    known = dataset.input.interactions
    assert known is not None
    metrics = measure_ranking(keras_scores(model), dataset.test, History.of(dataset.train, known), known, "test")
    write_ranking_report(run.path, RankingContent(**_content(run, dataset), metrics=metrics))
    figures = metrics.model
    return metrics, {"accuracy": metrics.accuracy, "ndcg": figures.ndcg, "popular": metrics.popular.recall}


# What is no classifier, by its task.
_FINISH: Mapping[str, Callable[[Run, Any, Dataset], tuple[AnyMetrics, dict[str, float]]]] = {
    "similarity": _finish_similarity,
    "reconstruction": _finish_reconstruction,
    "recommendation": _finish_recommendation,
}


def _content(run: Run, dataset: Dataset) -> dict[str, Any]:
    """What the reports of all runs say; fields of `RunContent`."""
    return {
        "title": f"{run.info.model} on {dataset.name}",
        "model": run.info.model,
        "facts": _facts(run, dataset),
        "history": run.history(),
        "recipe_text": dump_recipe(run.recipe),
    }


def _compression(run: Run, model: Any, metrics: Metrics) -> CompressionContent | None:
    """What was done to a compressed run's parent, and what stands in the kernels of the model."""
    info, facts = run.info, run.info.compression
    if facts is None:
        return None
    before = "not measured" if facts.parent_accuracy is None else percent(facts.parent_accuracy)
    done = {"pruned": facts.pruned, "clustered": facts.clustered}
    treated = {
        layer: ", ".join(name for name, layers in done.items() if layer in layers)
        for layer in (*facts.pruned, *facts.clustered)
    }
    return CompressionContent(
        parent=info.parent or "",
        methods=facts.methods,
        changes=(
            ("Accuracy on the test split", before, percent(metrics.accuracy)),
            ("Parameters", f"{facts.parent_parameters:,}", f"{info.parameters:,}"),
            ("Million multiply-adds", f"{facts.parent_macs / 1e6:,.2f}", f"{info.macs / 1e6:,.2f}"),
        ),
        kernels=count_kernels(model),
        treated=treated,
        ranges=len(facts.ranges),
    )


def _settle_threshold(run: Run, model: Any, dataset: Dataset) -> Exits | None:
    """Choose on the validation split how sure an early classifier must be, where the model has any."""
    exits = keras_exits(model, threshold=1.0)
    if exits is None:
        return None
    curve = exit_curve(answers_of(exits.answers, dataset.val), dataset.val.labels, exits.macs)
    threshold = cheapest_threshold(curve)
    run.update(threshold=threshold)
    return dataclasses.replace(exits, threshold=threshold)


def _facts(run: Run, dataset: Dataset) -> list[tuple[str, str]]:
    info = run.info
    versions = [f"{name} {version}" for name, version in info.versions.items()]
    facts = [
        ("Parameters", f"{info.parameters:,}"),
        ("Multiply-adds", f"{info.macs / 1e6:,.1f} million a sample"),
        ("Input", " × ".join(map(str, info.input.shape)) + (" pixels 0–255" if info.input.kind == "image" else "")),
        ("Data", f"{dataset.name}, {dataset.tells_apart}"),
        ("Samples", f"{info.data.train:,} train, {info.data.val:,} validation, {info.data.test:,} test"),
        ("Fingerprint", info.data.fingerprint[:16]),
        ("Epochs", f"{info.epochs}, best {info.best_epoch}"),
        ("Training time", str(datetime.timedelta(seconds=round(info.seconds)))),
        ("Seed", str(info.seed)),
        ("Versions", ", ".join(versions)),
    ]
    if info.parent:
        facts.append(("Started from", info.parent))
    if info.teachers:
        facts.append(("Teachers", ", ".join(info.teachers)))
    if info.sparsity is not None:
        facts.append(("Sparsity", f"{info.sparsity:.4f} of the kernels trained sparse"))
    if info.data.skipped:
        facts.append(("Unreadable files", f"{info.data.skipped} skipped"))
    if info.data.repeated:
        facts.append(("Repeated files", f"{info.data.repeated} of validation and test are in an earlier split as well"))
    return facts
