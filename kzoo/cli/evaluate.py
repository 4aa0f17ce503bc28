"""`kzoo evaluate` and `kzoo predict`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .terminal import load_keras, printable, show_facts, show_json

if TYPE_CHECKING:
    from kzoo.evaluation.predict import Finding, Match
    from kzoo.evaluation.recommend import Recommendation

RUNTIME = click.option(
    "--runtime",
    type=click.Choice(["auto", "litert", "tflite-runtime"]),
    default="auto",
    show_default=True,
    help="What runs a .tflite file; auto: the one that is installed.",
)


@click.command()
@click.argument("source", metavar="RUN_OR_TFLITE")
@click.option("--data", help="Other data than the model was trained on, with the model's classes.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True)
@RUNTIME
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, with `accuracy`.")
def evaluate(source: str, data: str | None, split: str, runtime: str, as_json: bool) -> None:
    """Measure a run, a .keras or a .tflite file on data."""
    _load_what_it_needs(source)
    from kzoo.evaluation.kinds import metrics_rows
    from kzoo.evaluation.measure import evaluate as measure

    metrics = measure(source, data, split=split, runtime=runtime)
    if as_json:
        show_json(metrics.model_dump(mode="json"))
    else:
        show_facts(metrics_rows(metrics))


@click.command()
@click.argument("source", metavar="RUN_OR_TFLITE")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes, or items, to name."
)
@click.option("--seen", is_flag=True, help="Recommend also items that the user took in the training data.")
@RUNTIME
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")
def predict(source: str, inputs: tuple[str, ...], top: int, seen: bool, runtime: str, as_json: bool) -> None:
    """Classify images, WAV files, texts or .npy arrays.

    \b
    kzoo predict runs/resnet18.photos-1 new.jpg
    kzoo predict runs/lstm.words-1/model.int8.tflite yes.wav no.wav
    kzoo predict runs/text_cnn.sms-1 "You have won!" message.txt

    A model that compares two inputs is asked about the first with each of the others.

    \b
    kzoo predict runs/siamese.voices-1 jane.wav who.wav

    A model that gives back its input says how unusual each is.

    \b
    kzoo predict runs/autoencoder.pumps-1 today.wav

    A model that recommends takes names of users.

    \b
    kzoo predict runs/two_tower.likes-1 jane
    """  # noqa: D301 - click wants the character, not an escape of it
    _load_what_it_needs(source)
    from kzoo.evaluation.predict import detect, match
    from kzoo.evaluation.predict import predict as ask
    from kzoo.evaluation.recommend import recommend
    from kzoo.source import open_source

    opened = open_source(source, runtime=runtime)
    if opened.comparison is not None:
        _show_matches(match(opened, inputs), as_json)
        return
    if opened.detector is not None:
        _show_findings(detect(opened, inputs), as_json)
        return
    if opened.recommender is not None:
        _show_recommendations(recommend(opened, inputs, top=top, seen=seen), as_json)
        return
    predictions = ask(opened, inputs, top=top)
    if as_json:
        show_json([dataclasses.asdict(prediction) for prediction in predictions])
        return
    for prediction in predictions:
        pairs = zip(prediction.classes, prediction.probabilities, strict=True)
        answer = ", ".join(f"{name} {100 * share:.1f}%" for name, share in pairs)
        click.echo(printable(f"{prediction.input}: {answer}"))


def _show_matches(matches: Sequence[Match], as_json: bool) -> None:
    if as_json:
        show_json([dataclasses.asdict(each) for each in matches])
        return
    for each in matches:
        judged = {True: ", the same", False: ", different", None: ""}[each.same]
        click.echo(printable(f"{each.left} and {each.right}: similarity {each.similarity:.3f}{judged}"))


def _show_findings(findings: Sequence[Finding], as_json: bool) -> None:
    if as_json:
        show_json([dataclasses.asdict(each) for each in findings])
        return
    for each in findings:
        judged = {True: ", an anomaly", False: ", normal", None: ""}[each.anomaly]
        click.echo(printable(f"{each.input}: error {each.error:.4g}{judged}"))


def _show_recommendations(recommendations: Sequence[Recommendation], as_json: bool) -> None:
    if as_json:
        show_json([dataclasses.asdict(each) for each in recommendations])
        return
    for each in recommendations:
        pairs = zip(each.items, each.scores, strict=True)
        answer = ", ".join(f"{name} {score:.2f}" for name, score in pairs) if each.known else ", ".join(each.items)
        new = "" if each.known else " (not in the training data; what was taken most often)"
        click.echo(printable(f"{each.user}{new}: {answer}"))


def _load_what_it_needs(source: str) -> None:
    """A `.tflite` file is run without Keras and TensorFlow."""
    if not source.endswith(".tflite"):
        load_keras()
