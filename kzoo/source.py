"""What a command takes as RUN: a run directory, a `.keras` file, a `.tflite` file, or a model in Python."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo.data import ARRAYS, Dataset, InputSpec, InteractionFrontEnd, input_type, match_classes, open_dataset
from kzoo.errors import DataError, RunError, UsageError
from kzoo.exits import LAST, Exits, exit_order, file_exits, keras_exits
from kzoo.probabilities import as_probabilities, softmax
from kzoo.ranker import keras_scores

if TYPE_CHECKING:
    from kzoo.data.options import ClassesFrom
    from kzoo.data.spec import Kind
    from kzoo.export import LiteModel
    from kzoo.run import Run

BATCH = 64
# By the number of axes, the batch included.
_KINDS: Mapping[int, Kind] = {4: "image", 3: "sequence"}


@dataclasses.dataclass(frozen=True)
class DataOrigin:
    """How to open the data of a run again, with the same splits."""

    source: str
    seed: int
    fractions: tuple[float, float, float]
    fingerprint: str
    classes_from: ClassesFrom = "folders"

    @property
    def is_in_memory(self) -> bool:
        """Whether the data were arrays: they are in no file, but split as before when they are given again."""
        return self.source == ARRAYS


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A model that compares two samples.

    Attributes:
        compare: From two batches to the similarity of their samples, `(batch,)`.
        threshold: From which similarity two samples count as of one class; None where nobody has chosen one.
    """

    compare: Callable[[np.ndarray, np.ndarray], np.ndarray]
    threshold: float | None


@dataclasses.dataclass(frozen=True)
class Detector:
    """A model that gives back its input, the worse the less normal it is.

    Attributes:
        reconstruct: From a batch `(batch, steps, features)` to the same shape.
        normal: Name of the class that it has learned.
        threshold: Error above which a sample counts as an anomaly; None where nobody has chosen one.
    """

    reconstruct: Callable[[np.ndarray], np.ndarray]
    normal: str
    threshold: float | None

    def errors(self, batch: np.ndarray) -> np.ndarray:
        """Give the mean squared error of each sample, `(batch,)`."""
        return squared_errors(batch, self.reconstruct(batch))


def squared_errors(batch: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Give the mean squared error of each sample, `(batch,)`."""
    difference = np.asarray(answers, np.float64) - batch
    return np.asarray(np.square(difference).reshape(len(batch), -1).mean(axis=1))


@dataclasses.dataclass(frozen=True)
class Recommender:
    """A model that scores items for a user.

    Attributes:
        scores: From `(batch,)` int32 ids of users to the scores of all items, `(batch, items)`, in the order of
            `known.items`.
        known: The users and the items.
    """

    scores: Callable[[np.ndarray], np.ndarray]
    known: InteractionFrontEnd


@dataclasses.dataclass(frozen=True)
class Source:
    """A model that can be asked, wherever it came from.

    Attributes:
        name: For messages.
        classes: Names, in the order of the outputs.
        input: What the model takes.
        predict: From `(batch, *input.shape)`, uint8, float32 or int32, to probabilities `(batch, classes)`.
        model: The `keras.Model`, or None for a `.tflite` file.
        run: The run it belongs to, if it stands in one.
        origin: The data it was trained on, if known.
        exits: All answers of a network with early classifiers; None for others.
        comparison: How a model that compares two samples is asked; None for others.
        detector: How a model that gives back its input is asked; None for others.
        recommender: How a model that scores items for a user is asked; None for others.
    """

    name: str
    classes: tuple[str, ...]
    input: InputSpec
    predict: Callable[[np.ndarray], np.ndarray]
    model: Any = None
    run: Run | None = None
    origin: DataOrigin | None = None
    exits: Exits | None = None
    comparison: Comparison | None = None
    detector: Detector | None = None
    recommender: Recommender | None = None

    def dataset(self, data: Any = None) -> Dataset:
        """Open data as this model takes it; by default the data it was trained on, split as it was then.

        Raises:
            UsageError: No data is given and none is known.
            DataError: The data has classes that the model does not know, or lacks the one that it holds to be normal.
        """
        if data is None and (self.origin is None or self.origin.is_in_memory):
            raise UsageError(
                f"Expected data, received none, and {self.name} does not say what it was trained on. "
                f"Name it with --data."
            )
        origin = self.origin or DataOrigin(source="", seed=0, fractions=(0.7, 0.15, 0.15), fingerprint="")
        image = self.input.kind == "image"
        dataset = open_dataset(
            origin.source if data is None else data,
            kind=self.input.kind,
            size=(self.input.shape[0], self.input.shape[1]) if image else None,
            channels=self.input.shape[2] if image else None,
            fit=self.input.fit,
            seed=origin.seed,
            fractions=origin.fractions,
            classes_from=origin.classes_from,
            one_class=self.detector is not None,
            sound=self.input.sound,
            text=self.input.text,
            interactions=self.input.interactions,
        )
        if data is None and dataset.fingerprint != origin.fingerprint:
            raise RunError(
                f"Expected the data that {self.name} was trained on, received {origin.source} with other "
                f"content: its splits would mix training and test samples. Name other data with --data."
            )
        if dataset.input.sound != self.input.sound:
            held, taken = ("sounds", "other sequences") if self.input.sound is None else ("other sequences", "sounds")
            raise UsageError(f"Expected data as {self.name} takes it, {taken}, received {dataset.name}: {held}.")
        if dataset.input.shape != self.input.shape:
            raise UsageError(
                f"Expected samples of shape {self.input.shape}, received {dataset.input.shape} from {dataset.name}."
            )
        if self.detector is not None and self.detector.normal not in dataset.classes:
            raise DataError(
                f"Expected data with the class {self.detector.normal!r}, which {self.name} holds to be normal, "
                f"received {dataset.name} with {', '.join(dataset.classes[:10])}. Name the class of what is normal so."
            )
        # What compares, gives back or recommends need not know classes.
        return match_classes(dataset, self.classes) if self.classes else dataset


def open_source(source: Any, *, runtime: str = "auto", threads: int = 1) -> Source:
    """Open what a command takes as RUN.

    Args:
        source: A run directory, a `.keras` or `.tflite` file, a `Run`, a `keras.Model`, or what this gave before.
        runtime: What runs a `.tflite`: `"litert"`, `"tflite-runtime"`, or the one that is installed (`"auto"`).
        threads: Of that runtime.

    Raises:
        RunError: Nothing there that can be asked.
    """
    if isinstance(source, Source):
        return source
    # First of all: a device that only runs such files has none of the packages that a run is read with.
    if isinstance(source, str | Path) and Path(source).suffix == ".tflite":
        return _from_tflite(Path(source), runtime, threads)
    from kzoo.run import Run, is_run

    if isinstance(source, Run):
        return _from_run(source)
    if not isinstance(source, str | Path):
        return _from_model(source, getattr(source, "name", "model"))
    path = Path(source)
    if is_run(path):
        return _from_run(Run(path))
    if path.suffix == ".keras":
        if is_run(path.parent) and path.name == "model.keras":
            return _from_run(Run(path.parent))
        from kzoo.zoo import load_keras_file

        return _from_model(load_keras_file(path), str(path))
    raise RunError(f"Expected a run directory, a .keras or a .tflite file, received {path}. kzoo train makes runs.")


def _from_run(run: Run) -> Source:
    info = run.info
    model = run.model
    taken, answers = (tensors[0].shape for tensors in (model.inputs, model.outputs))
    pairs = info.compares or info.recommends
    values = info.input.shape if info.reconstructs else (1 if pairs else len(info.classes),)
    # The two halves of an interaction are inputs of their own.
    wanted = (1,) if info.recommends else info.input.shape
    if ((None, *wanted), (None, *values), 1 + pairs) != (taken, answers, len(model.inputs)):
        known = {
            "similarity": "compare two samples",
            "reconstruction": "give it back",
            "recommendation": "score a user with an item",
        }.get(info.task, f"know {len(info.classes)} classes")
        raise RunError(
            f"Expected the model of {run.path} to take {info.input.shape} and to {known}, "
            f"received one from {taken} to {answers}. Its files are not of one run: train anew."
        )
    origin = DataOrigin(
        source=info.data.source,
        seed=info.seed,
        fractions=run.recipe.data.fractions,
        classes_from=run.recipe.data.classes_from,
        fingerprint=info.data.fingerprint,
    )
    if info.compares:
        comparison = Comparison(keras_compare(model), info.threshold)
        return Source(str(run.path), (), info.input, _knows_no_classes, model, run, origin, comparison=comparison)
    if info.reconstructs:
        section = run.recipe.reconstruction
        if section is None or section.normal is None:
            raise RunError(f"Expected reconstruction.normal in the recipe of {run.path}, received none. Train anew.")
        detector = Detector(keras_reconstruct(model), section.normal, info.threshold)
        return Source(str(run.path), (), info.input, _knows_no_classes, model, run, origin, detector=detector)
    if info.input.interactions is not None:
        recommender = Recommender(keras_scores(model), info.input.interactions)
        return Source(str(run.path), (), info.input, _knows_no_classes, model, run, origin, recommender=recommender)
    exits = keras_exits(model, 1.0 if info.threshold is None else info.threshold)
    predict = keras_predict(model) if exits is None else exits.predict
    return Source(str(run.path), info.classes, info.input, predict, model, run, origin, exits)


def _from_model(model: Any, name: str) -> Source:
    shape = getattr(model, "input_shape", None)
    outputs = getattr(model, "output_shape", None)
    if not (isinstance(shape, tuple) and isinstance(outputs, tuple) and len(outputs) == 2 and None not in shape[1:]):
        raise UsageError(
            f"Expected a classifier with one input of known size and one output (batch, classes), "
            f"received {name} with input {shape} and output {outputs}."
        )
    kind = _KINDS.get(len(shape))
    if kind is None:
        raise UsageError(
            f"Expected an input (batch, height, width, channels) or (batch, steps, features), "
            f"received {shape} of {name}."
        )
    try:
        spec = InputSpec(kind=kind, shape=shape[1:])
    except ValueError as error:
        raise UsageError(f"{name} cannot be fed: {error}") from error
    return Source(name, tuple(map(str, range(outputs[-1]))), spec, keras_predict(model), model)


def _from_tflite(path: Path, runtime: str, threads: int) -> Source:
    from kzoo.export import LiteModel

    file = LiteModel(path, runtime=runtime, threads=threads)
    facts = _sidecar(path)
    if "sha256" in facts and facts["sha256"] != file.sha256:
        raise RunError(
            f"Expected {path} as its sidecar {path.name}.json describes it, received other content: the file is "
            f"damaged, cut short, or another one. Copy both again, or export again."
        )
    kind = _KINDS.get(1 + len(file.input_shape))
    described = facts.get("details", {}).get("input") if isinstance(facts.get("details", {}), dict) else None
    order = exit_order(list(file.outputs))
    outputs = file.output_shape if order is None else tuple(file.outputs[LAST].shape[1:])
    if (kind is None and not described) or (len(outputs) != 1 and "reconstruction" not in facts.get("details", {})):
        raise UsageError(
            f"Expected a classifier of images (height, width, channels) or sequences (steps, features), or of texts "
            f"with its sidecar, received {path} from {file.input_shape} to {outputs}."
        )
    try:
        names = facts.get("classes") or [str(number) for number in range(outputs[0])]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError(names)
        details = facts.get("details", {})
        spec = InputSpec.from_dict(details.get("input") or {"kind": kind, "shape": file.input_shape})
        origin = DataOrigin(**details["data"]) if details.get("data") else None
        similarity, reconstruction = details.get("similarity"), details.get("reconstruction")
        exit_facts = details.get("exits") or {"macs": 0, "threshold": 1.0}
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(
            f"Expected kzoo's sidecar in {path}.json, received one that is not. Export the file again."
        ) from error
    if similarity is not None:
        comparison = Comparison(_file_compare(file), **similarity)
        return Source(str(path), (), spec, _knows_no_classes, origin=origin, comparison=comparison)
    if reconstruction is not None:
        detector = Detector(file.predict, **reconstruction)
        return Source(str(path), (), spec, _knows_no_classes, origin=origin, detector=detector)
    if spec.interactions is not None:
        recommender = Recommender(lambda users: file.predict(users[:, np.newaxis]), spec.interactions)
        return Source(str(path), (), spec, _knows_no_classes, origin=origin, recommender=recommender)
    classes = tuple(names)
    if (spec.shape, len(classes)) != (file.input_shape, outputs[0]):
        raise RunError(
            f"Expected the sidecar of {path} in {path}.json, received that of a file from {spec.shape} to "
            f"{len(classes)} classes. Put the right one beside it, or export again."
        )
    # Where the sidecar says so nobody has to guess: logits may look like probabilities.
    probabilities = softmax if facts.get("logits") else as_probabilities
    if order is not None:
        exits = file_exits(
            lambda batch: probabilities(_in_order(file.predict_outputs(batch), order)), len(order), **exit_facts
        )
        return Source(str(path), classes, spec, exits.predict, None, None, origin, exits)
    return Source(str(path), classes, spec, lambda batch: probabilities(file.predict(batch)), None, None, origin)


def _knows_no_classes(batch: np.ndarray) -> np.ndarray:
    raise UsageError(
        "Expected a classifier, received a model that compares two inputs or gives back one. Ask it with kzoo.match or "
        "kzoo.detect."
    )


def _file_compare(file: LiteModel) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    left, right = file.inputs
    return lambda one, other: file.predict({left: one, right: other})[:, 0]


def _in_order(outputs: Mapping[str, np.ndarray], order: Sequence[int]) -> np.ndarray:
    """Give all classifiers' answers as one array `(batch, exits, classes)`, the earliest classifier first."""
    arrays = list(outputs.values())
    return np.stack([arrays[place] for place in order], axis=1)


def _sidecar(path: Path) -> dict[str, Any]:
    sidecar = path.with_name(f"{path.name}.json")
    if not sidecar.is_file():
        return {}
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"Expected JSON in {sidecar}, received something else. Export the file again.") from error
    if not isinstance(content, dict):
        raise RunError(f"Expected a JSON object in {sidecar}, received something else. Export the file again.")
    return content


def keras_compare(model: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Ask a Keras model of two inputs how similar they are, one batch a call: `(batch,)`."""
    return lambda left, right: np.asarray(model.predict_on_batch([as_input(left), as_input(right)]), np.float32)[:, 0]


def keras_reconstruct(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Ask a Keras model that gives back its input, one batch a call."""
    return lambda batch: np.asarray(model.predict_on_batch(as_input(batch)), np.float32)


def keras_predict(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Ask a Keras model for probabilities, one batch a call."""
    return lambda batch: as_probabilities(model.predict_on_batch(as_input(batch)))


def as_input(batch: np.ndarray) -> np.ndarray:
    """Turn samples into what a Keras model takes: places in a vocabulary stay whole numbers, all else is float32."""
    return batch.astype(input_type(batch.dtype), copy=False)
