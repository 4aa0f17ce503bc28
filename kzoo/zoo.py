"""Models by name, and trained models for any Keras app."""

from __future__ import annotations

import dataclasses
import json
import logging
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo import models
from kzoo.errors import RunError, UsageError, nearest

if TYPE_CHECKING:
    import keras

    from kzoo.run import Run

logger = logging.getLogger(__name__)


def list_models(pattern: str = "*", *, family: str | None = None, task: str | None = None) -> list[str]:
    """Names in the catalogue, in its order.

    Args:
        pattern: With wildcards, as `"resnet*"`.
        family: Only this family, as `"resnet"`.
        task: Only models for `"image"`, `"sequence"`, `"text"`, `"similarity"`, `"reconstruction"` or
            `"recommendation"`.

    Example:
        >>> import kzoo
        >>> kzoo.list_models("resnet*")
        ['resnet8', 'resnet18', 'resnet34']

    Raises:
        UsageError: No model at all has this family or task.
    """
    try:
        return models.list_models(pattern, family=family, task=task)
    except ValueError as error:
        raise UsageError(str(error)) from error


def find_record(name: str) -> models.ModelRecord:
    """What the catalogue says of a model.

    Raises:
        UsageError: No model has that name.
    """
    try:
        return models.CATALOG[name]
    except KeyError:
        raise UsageError(f"Unknown model {name!r}. {nearest(name, models.CATALOG)}") from None


def create_model(name: str, **arguments: Any) -> keras.Model:
    """Build a model with fresh weights.

    Args:
        name: A name of `list_models`.
        arguments: What the factory takes: `include_top`, `weights`, `input_shape`, `pooling`, `classes`,
            `classifier_activation`, `dropout`, …; see `kzoo.models`.

    Returns:
        A functional `keras.Model`. Image models take `(batch, height, width, channels)` pixels 0–255, sequence models
        `(batch, steps, features)`, text models `(batch, length)` places in a vocabulary.

    Raises:
        UsageError: No model has that name, or the factory does not take an argument as it is.
    """
    find_record(name)
    try:
        return models.create_model(name, **arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {_first_line(error)}") from error


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """What became of each layer with weights when a trained model took another shape.

    Attributes:
        loaded: Layers whose weights were taken as they are.
        adapted: First convolutions whose kernel was fitted to another number of input channels.
        fresh: Layers that keep their random weights.
    """

    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} layers loaded"]
        parts += [f"adapted: {', '.join(self.adapted)}"] if self.adapted else []
        parts += [f"left fresh: {', '.join(self.fresh)}"] if self.fresh else []
        return "; ".join(parts)


def load(
    source: str | Path | Run,
    *,
    weights: str | None = None,
    classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    include_top: bool = True,
    pooling: str | None = None,
    **arguments: Any,
) -> keras.Model:
    """Load a trained model as a plain `keras.Model`.

    Args:
        source: A run directory, a `.keras` file, or, with `weights`, a name of `list_models`. A `.keras` file cannot be
            adapted by the arguments below.
        weights: Published weights, `"keras.applications:imagenet"` or `"timm:TAG"`, which are downloaded once. The
            model takes pixels 0–255: its first layer does what their source does with them.
        classes: Number of classes of a new head with random weights. Default: as trained.
        input_shape: Another input, as `(height, width, channels)`. Fewer or more channels adapt the first convolution.
        include_top: False leaves the classification head out.
        pooling: Without the head: None, `"avg"` or `"max"`.
        arguments: With `weights`, further arguments of the factory, as `alpha=0.5`.

    Returns:
        The model. What was loaded, adapted and left fresh is logged under `kzoo.zoo`: as INFO if everything was loaded,
        else as WARNING.

    Raises:
        RunError: There is no trained model, or it is not one that can be opened safely.
        UsageError: A `.keras` file was to be adapted, or there are no such weights for this model.
        WeightsError: Published weights could not be downloaded, are damaged or do not fit.

    Example:
        >>> model = kzoo.load("runs/resnet18.digits-1", classes=5)  # doctest: +SKIP
        >>> model = kzoo.load("resnet18", weights="timm:resnet18.a1_in1k", classes=5)  # doctest: +SKIP
    """
    model, report = load_with_report(
        source,
        weights=weights,
        classes=classes,
        input_shape=input_shape,
        include_top=include_top,
        pooling=pooling,
        **arguments,
    )
    changed = report.adapted or report.fresh
    logger.log(logging.WARNING if changed else logging.INFO, "%s: %s", source, report)
    return model


def load_with_report(
    source: str | Path | Run,
    *,
    weights: str | None = None,
    classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    include_top: bool = True,
    pooling: str | None = None,
    **arguments: Any,
) -> tuple[keras.Model, LoadReport]:
    """The same as `load`, with the report as a value."""
    from kzoo.run import Run

    if weights is not None:
        from kzoo.pretrained import fetch_pretrained

        published = fetch_pretrained(str(source), weights, arguments)
        return _adapt(published.name, published.model, published.arguments, classes, input_shape, include_top, pooling)
    if arguments:
        raise UsageError(
            f"Expected {', '.join(arguments)} with published weights only, received no weights. "
            f"A run keeps the arguments that it was trained with."
        )
    if not isinstance(source, Run):
        path = Path(source)
        if path.suffix == ".keras":
            if (classes, input_shape, include_top, pooling) != (None, None, True, None):
                raise UsageError(
                    f"Expected a run directory to adapt, received {path}: a .keras file alone does not say "
                    f"how to rebuild its model. Pass the run's directory."
                )
            model = load_keras_file(path)
            return model, LoadReport(tuple(layer.name for layer in model.layers if layer.weights), (), ())
        source = Run(path)
    facts = source.info.compression
    asked_as_is = (classes, input_shape, include_top, pooling) == (None, None, True, None)
    if facts is not None and not asked_as_is and not {"filters", "lowrank"}.isdisjoint(facts.methods):
        raise UsageError(
            f"Expected a run that its factory can build again to adapt, received {source.path}, which has other layers "
            f"since kzoo compress. Adapt its parent {source.info.parent}, or load it as it is."
        )
    return _adapt(source.info.model, source.model, source.info.arguments, classes, input_shape, include_top, pooling)


def _adapt(
    name: str,
    trained: keras.Model,
    arguments: Mapping[str, Any],
    classes: int | None,
    input_shape: tuple[int, ...] | None,
    include_top: bool,
    pooling: str | None,
) -> tuple[keras.Model, LoadReport]:
    """Give a trained model as it is, or another of the same architecture with its weights."""
    arguments = dict(arguments)
    same_classes = classes is None or classes == arguments.get("classes")
    same_input = input_shape is None or tuple(input_shape) == tuple(arguments["input_shape"])
    if same_classes and same_input and include_top:
        return trained, LoadReport(tuple(layer.name for layer in trained.layers if layer.weights), (), ())
    arguments["input_shape"] = tuple(input_shape or arguments["input_shape"])
    if classes is not None:
        arguments["classes"] = classes
    if pooling is not None:
        arguments["pooling"] = pooling
    # A model that knows no classes takes neither of the two, and says so.
    model = create_model(name, **arguments, include_top=include_top)
    return model, transfer_weights(trained, model)


def transfer_weights(trained: keras.Model, fresh: keras.Model, skip: Collection[str] = ()) -> LoadReport:
    """Copy weights between two models layer by layer, by the layers' names.

    A first convolution over another number of channels keeps its strength: one channel gets the sum of the kernel, more
    channels get it repeated and scaled down, as timm does.

    Args:
        trained: Where the weights come from.
        fresh: Where they go; changed in place.
        skip: Layers that keep their random weights.
    """
    by_name = {layer.name: layer for layer in trained.layers if layer.weights}
    loaded, adapted, left = [], [], []
    for layer in fresh.layers:
        if not layer.weights:
            continue
        known = by_name.get(layer.name)
        if known is None or layer.name in skip or len(known.weights) != len(layer.weights):
            left.append(layer.name)
            continue
        weights = known.get_weights()
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if [weight.shape for weight in weights] == wanted:
            layer.set_weights(weights)
            if hasattr(layer, "finalize_state"):
                # Normalization computes with values derived from its weights.
                layer.finalize_state()
            loaded.append(layer.name)
        elif type(layer).__name__ == "Conv2D" and _differ_in_channels(weights, wanted):
            layer.set_weights([_fit_channels(weights[0], wanted[0][2]), *weights[1:]])
            adapted.append(layer.name)
        else:
            left.append(layer.name)
    return LoadReport(tuple(loaded), tuple(adapted), tuple(left))


def head_layers(model: keras.Model) -> list[str]:
    """Names of the layers that know the classes: the last layer with weights, or that of every output.

    What compares two samples, or gives back its input, knows no classes.
    """
    if len(model.inputs) > 1 or len(model.outputs[0].shape) > 2:
        return []
    if len(model.outputs) > 1:
        return list(model.output_names)
    return [layer.name for layer in model.layers if layer.weights][-1:]


def load_keras_file(path: str | Path) -> keras.Model:
    """Open a `.keras` file without running anything that it contains.

    Raises:
        RunError: It is missing, not a Keras file, or has a Lambda or a class that Keras does not know.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"Expected a .keras file, received {path}, which is not a file. Check the path.")
    damaged = f"Expected a .keras file, received {path}, which is not one or is damaged. Copy or train it again."
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, LookupError, ValueError, RuntimeError) as error:
        raise RunError(damaged) from error
    if broken or not isinstance(config, dict):
        raise RunError(damaged)
    # Losses and optimizers of one's own are not needed, and not looked at.
    foreign = sorted(set(_foreign_classes({**config, "compile_config": None})))
    if foreign:
        raise RunError(
            f"Expected a .keras file of Keras's own layers, received {path} with {', '.join(foreign)}. "
            f"Code that a file brings along is never run; build the model from Keras's layers."
        )
    import keras

    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise RunError(f"{damaged} Keras says: {_first_line(error)}") from error


def _foreign_classes(config: Any) -> Iterator[str]:
    """Names of what a model's configuration asks for beside Keras: classes of other modules, and Lambda's code."""
    if isinstance(config, dict):
        module, name = config.get("module"), config.get("class_name")
        if name == "Lambda" or (isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins")):
            yield str(name) if name == "Lambda" else f"{module}.{name}"
    children = config.values() if isinstance(config, dict) else config if isinstance(config, list) else ()
    for child in children:
        yield from _foreign_classes(child)


def _differ_in_channels(weights: list[Any], wanted: list[tuple[int, ...]]) -> bool:
    have, want = weights[0].shape, wanted[0]
    return (have[:2], have[3]) == (want[:2], want[3]) and [w.shape for w in weights[1:]] == wanted[1:]


def _fit_channels(kernel: Any, channels: int) -> Any:
    """Repeat a kernel `(height, width, in, out)` over another number of input channels, scaled to the same total."""
    have = kernel.shape[2]
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return np.take(kernel, np.arange(channels) % have, axis=2) * (have / channels)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
