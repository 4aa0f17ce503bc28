"""Models that compare two samples: losses, pairs, equal error rate, and a run from training to file."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import kzoo
from kzoo.cli import cli
from kzoo.evaluation.pairs import choose_pairs
from kzoo.evaluation.similarity import equal_error
from kzoo.models import siamese
from kzoo.recipes.schema import SimilaritySection
from kzoo.run import Run
from kzoo.training.acceleration import training_copy
from kzoo.training.objectives import contrastive_loss, triplet_accuracy, triplet_loss, with_objective

LABELS = np.array([0, 0, 1, 1, 2, 0, 1])


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(len(LABELS), 4))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


@pytest.fixture(scope="module")
def distances(vectors):
    return ((vectors[:, None] - vectors[None]) ** 2).sum(axis=-1).astype("float32")


SAME = (LABELS[:, None] == LABELS[None]).astype("float32")
PAIRS = [(i, j) for i in range(len(LABELS)) for j in range(len(LABELS)) if i != j]


def test_contrastive_loss_is_that_of_the_paper(distances):
    alike = [distances[i, j] for i, j in PAIRS if SAME[i, j]]
    others = [max(0.0, 1.2 - np.sqrt(distances[i, j])) ** 2 for i, j in PAIRS if not SAME[i, j]]
    assert float(contrastive_loss(distances, SAME, 1.2)) == pytest.approx(np.mean(alike) + np.mean(others), rel=1e-5)


def test_triplet_loss_takes_semi_hard_negatives(distances):
    losses, in_order = [], []
    for i, j in PAIRS:
        if not SAME[i, j]:
            continue
        negatives = [distances[i, k] for k in range(len(LABELS)) if not SAME[i, k]]
        farther = [each for each in negatives if each > distances[i, j]]
        losses.append(max(0.0, distances[i, j] - (min(farther) if farther else max(negatives)) + 0.2))
        in_order += [distances[i, j] < each for each in negatives]
    assert any(losses) and not all(losses)
    assert float(triplet_loss(distances, SAME, 0.2)) == pytest.approx(np.mean(losses), rel=1e-5)


def test_triplet_accuracy_counts_the_triplets_in_order(vectors, distances):
    in_order = [
        distances[i, j] < distances[i, k] for i, j in PAIRS if SAME[i, j] for k in range(len(LABELS)) if not SAME[i, k]
    ]
    accuracy = np.asarray(triplet_accuracy(np.eye(3, dtype="float32")[LABELS], vectors))
    np.testing.assert_allclose(accuracy, np.full(len(LABELS), np.mean(in_order)), rtol=1e-5)


@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_what_trains_is_the_encoder_with_the_models_own_weights(loss):
    model = siamese(input_shape=(8, 3), width=8, units=4)
    trained = with_objective(training_copy(model), SimilaritySection(loss=loss, margin=0.5))
    assert len(trained.inputs) == 1
    for weight, own in zip(trained.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, own)


def test_pairs_are_of_different_samples_and_as_many_of_one_class_as_of_two():
    labels = np.repeat(np.arange(4), 10)
    pairs, same = choose_pairs(labels, limit=50, seed=3)
    assert len(pairs) == 100 and same.sum() == 50
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len({tuple(pair) for pair in pairs.tolist()}) == 100
    np.testing.assert_array_equal(labels[pairs[:, 0]] == labels[pairs[:, 1]], same)
    np.testing.assert_array_equal(choose_pairs(labels, 50, 3)[0], pairs)
    with pytest.raises(kzoo.DataError, match=r"at least two classes.*Received: 5 samples of 1 classes"):
        choose_pairs(np.zeros(5, int))


def test_equal_error_rate():
    scores = np.array([0.9, 0.8, 0.7, 0.3, 0.75, 0.2, 0.1, 0.05])
    same = np.array([True] * 4 + [False] * 4)
    # At 0.7 one pair of a class is missed, and one other accepted.
    assert equal_error(scores, same) == (0.25, 0.7)
    assert equal_error(np.array([0.9, 0.1]), np.array([True, False]))[0] == 0


def tone(path: Path, frequency: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    time = np.arange(2400) / 8000
    wave_form = np.sin(2 * np.pi * frequency * (1 + 0.02 * rng.normal()) * time) + 0.1 * rng.normal(size=len(time))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((8000 * wave_form).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A run on tones of three "speakers" under folders that are not the classes."""
    folder = tmp_path_factory.mktemp("voices")
    for number in range(60):
        word = folder / "data" / ("yes" if number % 2 else "no")
        word.mkdir(parents=True, exist_ok=True)
        speaker = number % 3
        tone(word / f"speaker{speaker}_{number}.wav", (300, 800, 2000)[speaker], number)
    return kzoo.train(
        "siamese",
        folder / "data",
        epochs=6,
        settings={
            "data.classes_from": "file_names",
            "model.arguments.width": 16,
            "optimizer.learning_rate": 0.01,
            "optimizer.ema": None,
            "callbacks.tensorboard": False,
        },
        out=folder / "run",
    )


def test_a_run_tells_speakers_apart(run):
    assert run.info.classes == ("speaker0", "speaker1", "speaker2")
    metrics = run.metrics
    assert metrics.eer < 0.2 and metrics.threshold == run.info.threshold
    assert metrics.accuracy == pytest.approx(1 - (metrics.false_accepts + metrics.false_rejects) / 2)
    assert kzoo.evaluate(run.path) == metrics
    page = (run.path / "report.html").read_text()
    assert "equal error rate" in page and "Similarity of pairs" in page
    assert (run.path / "plots" / "similarities.png").is_file()


def test_files_compare_as_the_model_does(run, tmp_path):
    result = kzoo.export_model(run.path, tmp_path / "m.tflite", quantize="int8", max_drop=0.05)
    assert {tensor.name for tensor in result.inputs} == {"left", "right"}
    assert abs(kzoo.evaluate(result.path).eer - run.metrics.eer) < 0.05
    same = sorted((run.path.parent / "data").rglob("speaker0_*.wav"))[:2]
    other = next((run.path.parent / "data").rglob("speaker2_*.wav"))
    for source in (run.path, result.path):
        first, second = kzoo.match(source, [*same, other])
        assert first.similarity > second.similarity
    with pytest.raises(kzoo.UsageError, match="received a model that compares two inputs"):
        kzoo.predict(run.path, same)


def test_the_command_line_compares_the_first_with_each_of_the_others(run):
    files = [str(path) for path in sorted((run.path.parent / "data").rglob("*.wav"))[:3]]
    done = CliRunner().invoke(cli, ["predict", str(run.path), *files])
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) == 2 and f"{files[0]} and {files[2]}: similarity " in done.stdout
    alone = CliRunner().invoke(cli, ["predict", str(run.path), files[0]])
    assert alone.exit_code != 0
    assert "at least two inputs to compare" in str(alone.exception) + alone.output


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_weights": "balanced"}, "siamese knows no classes but compares samples"),
        ({"data.classes_from": "names"}, "data.classes_from"),
        ({"similarity.loss": "triples"}, "similarity.loss"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(run, tmp_path, settings, message):
    with pytest.raises(kzoo.KzooError, match=message):
        kzoo.train("siamese", run.path.parent / "data", settings=settings, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_name_without_a_class_is_named(tmp_path):
    for name in ("a_1", "b_1", "c"):
        (tmp_path / "x").mkdir(exist_ok=True)
        (tmp_path / "y").mkdir(exist_ok=True)
        tone(tmp_path / "x" / f"{name}.wav", 500, 1)
        tone(tmp_path / "y" / f"{name}.wav", 500, 1)
    with pytest.raises(kzoo.DataError, match=r"names of files that begin with CLASS_ .*Received: x/c\.wav"):
        kzoo.train("siamese", tmp_path, settings={"data.classes_from": "file_names"}, out=tmp_path / "run")


def test_the_encoder_alone_is_loaded_with_its_weights(run):
    encoder = kzoo.load(run.path, include_top=False)
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(2, 3, *run.info.input.shape)).astype("float32")
    similarity = run.model.predict_on_batch([left, right])[:, 0]
    product = (encoder.predict_on_batch(left) * encoder.predict_on_batch(right)).sum(axis=1)
    np.testing.assert_allclose(product, similarity, atol=1e-5)
    with pytest.raises(kzoo.UsageError, match="siamese takes no argument 'classes'"):
        kzoo.load(run.path, classes=4)
