"""What an exported file is calibrated and verified with, for each kind of model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np

from kzoo.data import Dataset, History, Split, of_class
from kzoo.evaluation.pairs import choose_pairs
from kzoo.evaluation.ranking import TOP, HeldOut, ranking_figures
from kzoo.evaluation.reconstruction import area_under_roc, threshold_of
from kzoo.export.verification import Judge
from kzoo.source import Source, keras_reconstruct, squared_errors

CALIBRATION_SAMPLES = 256
# Scores of all items for all users that verify: 80 MB.
VERIFICATION_SCORES = 20_000_000
# More samples would make the measured drop a little sharper and the command a lot slower.
VERIFICATION_SAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Samples:
    """What a file is calibrated and verified with, and what the sidecar says of it."""

    calibration: Any
    inputs: Any
    labels: np.ndarray | None
    names: tuple[str, ...] | None
    details: dict[str, Any]
    judge: Judge | None = None
    description: str = ""
    version: str = ""


def samples_of(opened: Source, dataset: Dataset, calibration_samples: int, seed: int) -> Samples:
    """Choose samples of a dataset as the kind of model wants it.

    Args:
        opened: The model.
        dataset: As it takes it.
        calibration_samples: How many calibrate at most.
        seed: Of the choice.
    """
    if opened.comparison is not None:
        chosen = _from_pairs
    elif opened.detector is not None:
        chosen = _from_normal
    elif opened.recommender is not None:
        chosen = _from_interactions
    else:
        chosen = _from_dataset
    return chosen(opened, dataset, calibration_samples, seed)


def samples_of_arrays(data: Any, opened: Source | None) -> Samples:
    """Take arrays as they are: every other sample calibrates, the others verify, since their order often is by class.

    Args:
        data: Inputs, alone or with labels as `(x, y)`.
        opened: The model, if it is one that takes a dataset.
    """
    inputs, labels = data if isinstance(data, tuple) and len(data) == 2 else (data, None)
    facts = {} if opened is None else _model_facts(opened)
    details = {**facts, "sampling": {"calibration_split": "every other", "verification_split": "the others"}}

    def part(start: int) -> Any:
        if isinstance(inputs, Mapping):
            return {name: np.asarray(array)[start::2] for name, array in inputs.items()}
        if isinstance(inputs, tuple):
            return tuple(np.asarray(array)[start::2] for array in inputs)
        return np.asarray(inputs)[start::2]

    return Samples(
        calibration=part(0),
        inputs=part(1),
        labels=None if labels is None else np.asarray(labels)[1::2],
        names=None,
        details=details,
    )


def _from_dataset(opened: Source, dataset: Dataset, calibration_samples: int, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    calibration = _load(dataset.train, _choose(dataset.train, calibration_samples, rng))
    chosen = _choose(dataset.val, VERIFICATION_SAMPLES, rng)
    return Samples(
        calibration=calibration,
        inputs=_load(dataset.val, chosen),
        labels=dataset.val.labels[chosen],
        names=tuple(dataset.val.name(int(index)) for index in chosen),
        details=_details(opened, dataset, seed),
        description=f"{opened.model.name} for {len(opened.classes)} classes of {dataset.name}",
        version=opened.run.path.name if opened.run is not None else "",
    )


def _from_pairs(opened: Source, dataset: Dataset, calibration_samples: int, seed: int) -> Samples:
    """Pairs of training samples calibrate a model that compares two, pairs of validation samples verify it."""
    assert opened.comparison is not None
    threshold = opened.comparison.threshold
    left, right = (tensor.name for tensor in opened.model.inputs)
    rng = np.random.default_rng(seed)
    chosen = _choose(dataset.train, calibration_samples, rng)
    pairs, same = choose_pairs(dataset.val.labels, VERIFICATION_SAMPLES // 2, seed)
    names = [dataset.val.name(index) for index in range(len(dataset.val))]
    details = _details(opened, dataset, seed)
    return Samples(
        calibration={
            left: _load(dataset.train, chosen),
            right: _load(dataset.train, chosen[rng.permutation(len(chosen))]),
        },
        inputs={left: _load(dataset.val, pairs[:, 0]), right: _load(dataset.val, pairs[:, 1])},
        labels=same.astype(np.int64),
        names=tuple(f"{names[first]} and {names[second]}" for first, second in pairs.tolist()),
        details={**details, "similarity": {"threshold": threshold}},
        judge=Judge(functools.partial(_above, boundary=0.5 if threshold is None else threshold)),
        description=f"{opened.model.name} for pairs of {dataset.name}",
        version=opened.run.path.name if opened.run is not None else "",
    )


def _from_normal(opened: Source, dataset: Dataset, calibration_samples: int, seed: int) -> Samples:
    """Normal training samples calibrate a model that gives back its input, all validation samples verify it."""
    detector = opened.detector
    assert detector is not None
    label = dataset.classes.index(detector.normal)
    usual = dataclasses.replace(dataset, train=of_class(dataset.train, label))
    samples = _from_dataset(opened, usual, calibration_samples, seed)
    assert samples.labels is not None
    anomalous = samples.labels != label
    errors = functools.partial(squared_errors, samples.inputs)
    boundary = detector.threshold
    if boundary is None:
        boundary = threshold_of(errors(keras_reconstruct(opened.model)(samples.inputs))[~anomalous])
    parts = bool(anomalous.any() and not anomalous.all())
    variance = float(samples.inputs.var()) or 1.0
    return dataclasses.replace(
        samples,
        labels=anomalous.astype(np.int64),
        details={**samples.details, "reconstruction": {"normal": detector.normal, "threshold": detector.threshold}},
        judge=Judge(
            decide=lambda answers: (errors(answers) > boundary).astype(np.int64),
            # Without anomalies: the share of the variance that is given back.
            score=lambda answers: (
                area_under_roc(errors(answers), anomalous) or 0.0
                if parts
                else 1 - float(errors(answers).mean()) / variance
            ),
            figure="area under ROC" if parts else "explained variance",
        ),
        description=f"{opened.model.name} for {detector.normal} of {dataset.name}",
    )


def _from_interactions(opened: Source, dataset: Dataset, calibration_samples: int, seed: int) -> Samples:
    """Users of training interactions calibrate a model that recommends, users of validation ones verify it."""
    assert opened.recommender is not None
    known = opened.recommender.known
    rng = np.random.default_rng(seed)
    held = HeldOut.of(dataset.val, History.of(dataset.train, known))
    most = max(1, min(VERIFICATION_SAMPLES, VERIFICATION_SCORES // len(known.items)))
    held = held.some(_choose(held.users, most, rng))
    calibration = _load(dataset.train, _choose(dataset.train, calibration_samples, rng))
    return Samples(
        calibration=calibration[:, :1],
        inputs=held.users[:, np.newaxis],
        # Whether one of the items that a user took is among the first ten: it should be.
        labels=np.ones(len(held.users), np.int64),
        names=held.names,
        details=_details(opened, dataset, seed),
        judge=Judge(
            decide=lambda answers: np.array([int(places.min() < TOP) for places in held.ranks(answers)]),
            score=lambda answers: ranking_figures(held.ranks(answers)).recall,
            figure=f"recall@{TOP}",
        ),
        description=f"{opened.model.name} for {len(known.items)} items of {dataset.name}",
        version=opened.run.path.name if opened.run is not None else "",
    )


def _above(similarities: np.ndarray, boundary: float) -> np.ndarray:
    """Whether pairs are of one class, `(pairs,)` 0 or 1."""
    return (similarities[:, 0] > boundary).astype(np.int64)


def _choose(there: Sized, most: int, rng: np.random.Generator) -> np.ndarray:
    """Places of at most so many of what is there, in its order."""
    if len(there) <= most:
        return np.arange(len(there))
    return np.sort(rng.choice(len(there), most, replace=False))


def _load(split: Split, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    return split.load(np.asarray(chosen))


def _details(opened: Source, dataset: Dataset, seed: int) -> dict[str, Any]:
    """What the sidecar says so that the file can be evaluated and fed without the run."""
    details: dict[str, Any] = {
        **_model_facts(opened),
        "dataset": {"source": dataset.source, "fingerprint": dataset.fingerprint},
        "sampling": {"seed": seed, "calibration_split": "train", "verification_split": "val"},
    }
    if opened.run is not None and opened.origin is not None:
        details["run"] = opened.run.path.name
        details["data"] = dataclasses.asdict(opened.origin)
    return details


def _model_facts(opened: Source) -> dict[str, Any]:
    exits = opened.exits
    early = {} if exits is None else {"exits": {"threshold": exits.threshold, "macs": exits.macs[-1]}}
    return {
        **early,
        "model": opened.model.name,
        "input": opened.input.to_dict(),
    }
