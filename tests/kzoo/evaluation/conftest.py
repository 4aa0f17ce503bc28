"""Predictions to measure and to report on, as functions that tests call with what they vary."""

from __future__ import annotations

import numpy as np
import pytest

from kzoo.evaluation import Mistakes, ReportContent, compute_metrics, worst_mistakes


def _predict(classes: int, samples: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % classes
    logits = noise * rng.normal(size=(samples, classes))
    logits[np.arange(samples), labels] += 2.5
    exponentials = np.exp(logits)
    return labels, exponentials / exponentials.sum(axis=1, keepdims=True)


def _history(epochs: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch + 1,
            "loss": 2 / (epoch + 1),
            "accuracy": 1 - 0.5 / (epoch + 1),
            "val_loss": 2.2 / (epoch + 1),
            "val_accuracy": 0.95 - 0.5 / (epoch + 1),
            "learning_rate": 0.1 / (epoch + 1),
        }
        for epoch in range(epochs)
    ]


def _measure(classes: int, samples: int, noise: float = 1.0):
    labels, probabilities = _predict(classes, samples, noise)
    return compute_metrics(probabilities, labels, [f"class {index}" for index in range(classes)])


def _make_content(
    classes=("cat", "dog", "owl"), *, shape=(8, 8, 1), right=False, epochs=4, recipe="epochs: 4", name="test"
) -> ReportContent:
    labels, probabilities = _predict(len(classes), max(30, len(classes)), noise=1.5)
    if right:
        probabilities = np.eye(len(classes))[labels]
    worst = worst_mistakes(probabilities, labels)
    return ReportContent(
        title="cnn on pets",
        model="cnn",
        facts=[("Parameters", "1,234"), ("Seed", "0")],
        history=_history(epochs),
        metrics=compute_metrics(probabilities, labels, classes),
        mistakes=Mistakes(
            samples=np.random.default_rng(1).integers(0, 256, (len(worst), *shape)).astype(np.uint8),
            labels=labels[worst],
            probabilities=probabilities[worst],
            names=[f"{name}[{index}]" for index in worst.tolist()],
        ),
        recipe_text=recipe,
    )


@pytest.fixture
def predict():
    """Make labels and probabilities of a model that is right most of the time."""
    return _predict


@pytest.fixture
def measure():
    """Measure such a model."""
    return _measure


@pytest.fixture
def history():
    """Make the rows of a training that goes well."""
    return _history


@pytest.fixture(scope="session")
def make_content():
    """Make the content of a report, with wrong predictions or without."""
    return _make_content


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Write one report and return its content and its folder, for tests that only look."""
    from kzoo.evaluation import write_report

    folder = tmp_path_factory.mktemp("report")
    content = _make_content()
    write_report(folder, content)
    return content, folder
