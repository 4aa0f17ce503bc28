"""The end of a run: measured once on the test split, with a report."""

from __future__ import annotations

import datetime
import shutil
from typing import Any

from kzoo.data import Dataset
from kzoo.files import write_text
from kzoo.recipes import dump_recipe
from kzoo.run import CHECKPOINTS, METRICS, Run
from kzoo.source import keras_predict

from .measure import probabilities_of
from .metrics import Metrics, compute_metrics
from .mistakes import collect_mistakes
from .report import ReportContent, write_report


def finish_run(run: Run, model: Any, dataset: Dataset) -> Metrics:
    """Measure the best epoch's model on the test split, write metrics and report, and mark the run as done.

    Args:
        run: A run whose training has ended.
        model: The `keras.Model` with the best epoch's weights.
        dataset: What it was trained on.
    """
    probabilities = probabilities_of(keras_predict(model), dataset.test)
    metrics = compute_metrics(probabilities, dataset.test.labels, dataset.classes, "test")
    history = run.history()
    content = ReportContent(
        title=f"{run.info.model} on {dataset.name}",
        model=run.info.model,
        facts=_facts(run, dataset),
        history=history,
        metrics=metrics,
        mistakes=collect_mistakes(dataset.test, probabilities),
        recipe_text=dump_recipe(run.recipe),
    )
    write_text(run.path / METRICS, metrics.model_dump_json(indent=2) + "\n")
    write_report(run.path, content)
    headline = {"test": {"accuracy": metrics.accuracy, "top5": metrics.top5, "f1": metrics.f1}}
    best = next((row for row in history if row["epoch"] == run.info.best_epoch), None)
    if best is not None:
        headline["val"] = {"accuracy": best["val_accuracy"], "loss": best["val_loss"]}
    run.update(status="done", metrics=headline)
    shutil.rmtree(run.path / CHECKPOINTS, ignore_errors=True)
    return metrics


def _facts(run: Run, dataset: Dataset) -> list[tuple[str, str]]:
    info = run.info
    versions = [f"{name} {version}" for name, version in info.versions.items()]
    facts = [
        ("Parameters", f"{info.parameters:,}"),
        ("Multiply-adds", f"{info.macs / 1e6:,.1f} million a sample"),
        ("Input", " × ".join(map(str, info.input.shape)) + (" pixels 0–255" if info.input.kind == "image" else "")),
        ("Data", f"{dataset.name}, {len(dataset.classes)} classes"),
        ("Samples", f"{info.data.train:,} train, {info.data.val:,} validation, {info.data.test:,} test"),
        ("Fingerprint", info.data.fingerprint[:16]),
        ("Epochs", f"{info.epochs}, best {info.best_epoch}"),
        ("Training time", str(datetime.timedelta(seconds=round(info.seconds)))),
        ("Seed", str(info.seed)),
        ("Versions", ", ".join(versions)),
    ]
    if info.parent:
        facts.append(("Started from", info.parent))
    if info.data.skipped:
        facts.append(("Unreadable files", f"{info.data.skipped} skipped"))
    return facts
