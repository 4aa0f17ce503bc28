"""Everything that is decided before the first step: recipe, data and model, checked against each other."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np

from kzoo import models
from kzoo.data import (
    ARRAYS,
    Dataset,
    History,
    InputSpec,
    SoundSettings,
    SoundSplit,
    Split,
    TextSettings,
    guess_medium,
    open_dataset,
)
from kzoo.errors import DataError, RecipeError, RunError
from kzoo.pretrained import Pretrained, fetch_pretrained, is_published
from kzoo.recipes import Recipe, find_recipe, load_recipe
from kzoo.recipes.schema import SoundSection, TextSection
from kzoo.run import MODEL, DataFacts, RunInfo, is_run
from kzoo.versions import installed_versions
from kzoo.zoo import (
    LoadReport,
    create_model,
    find_record,
    head_layers,
    load_keras_file,
    transfer_weights,
)

from .acceleration import training_copy
from .augment import Augmenter, build_augmentation
from .distillation import load_teachers
from .feed import EpochOrder
from .lineage import check_lineage
from .meaningless import check_sections, refuse_settings_of_classes
from .normal import begin_at_mean, keep_normal
from .objectives import with_objective
from .sampled_softmax import begin_unknown_at_zero
from .sparse_training import check_maskable
from .standardise import standardise

if TYPE_CHECKING:
    from kzoo.data.spec import Kind


@dataclasses.dataclass(frozen=True)
class Start:
    """A trained model to go on with, as it is.

    Attributes:
        model: It.
        arguments: What its factory was called with.
        input: What it takes.
        classes: That it knows.
    """

    model: keras.Model
    arguments: dict[str, Any]
    input: InputSpec
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run that could begin now.

    Attributes:
        recipe: As resolved.
        dataset: Opened, split, its input decided.
        model: The plain model that will be saved, float32 whatever the precision of training.
        arguments: What the factory was called with.
        macs: Multiply–accumulates of one sample.
        augmenter: Random changes of training samples, or None.
        transfer: What became of the layers when weights were given, or None.
        teachers: What the model learns from beside the labels, as `load_teachers` gave them.
        maskable: Places, in the model's weights, of the kernels that train sparse; none where it is dense.
        precision_rates: Training samples a second by precision, where `settle_precision` measured them.
    """

    recipe: Recipe
    dataset: Dataset
    model: keras.Model
    arguments: dict[str, Any]
    macs: int
    augmenter: Augmenter | None
    transfer: LoadReport | None
    teachers: tuple[keras.Model, ...] = ()
    maskable: tuple[int, ...] = ()
    precision_rates: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """What a run of this plan is called, without its number."""
        return f"{self.recipe.model.name}.{self.dataset.name}"

    def order(self) -> EpochOrder:
        """Batches of the training split."""
        return EpochOrder(len(self.dataset.train), self.recipe.batch_size, self.recipe.seed)

    def training_split(self) -> Split:
        """What the model learns from, as the augmenter takes it: recordings that it changes are waveforms."""
        train = self.dataset.train
        changed = self.augmenter is not None and self.augmenter.takes_waveforms
        return train.waveforms if changed and isinstance(train, SoundSplit) else train

    def training_model(self) -> keras.Model:
        """Make the model that trains: a copy of `model` with its weights, in faster layers and the recipe's precision.

        The recipe's precision must be settled; see `settle_precision`.
        """
        precision = self.recipe.precision
        template = None if precision == "float32" else _build(self.recipe.model.name, self.arguments, precision)
        copy = training_copy(self.model, template)
        interactions = self.dataset.input.interactions
        history = None if interactions is None else History.of(self.dataset.train, interactions)
        return with_objective(copy, self.recipe.similarity, self.recipe.distillation, self.teachers, history)

    def info(self) -> RunInfo:
        """What `run.json` says before the first step."""
        record = models.CATALOG[self.recipe.model.name]
        data = self.dataset
        return RunInfo(
            status="training",
            model=record.name,
            arguments=self.arguments,
            task=record.task,
            classes=data.classes,
            input=data.input,
            data=DataFacts.of(data, self.recipe.data.source),
            seed=self.recipe.seed,
            parameters=self.model.count_params(),
            macs=self.macs,
            versions=installed_versions(),
            parent=self.recipe.transfer.weights if self.recipe.transfer else None,
            precision_rates=self.precision_rates,
            teachers=self.recipe.distillation.teachers if self.recipe.distillation else (),
        )

    def class_weights(self) -> dict[int, float] | None:
        """Weight of each class in the loss, by its index, or None."""
        chosen = self.recipe.class_weights
        if chosen is None:
            return None
        classes = self.dataset.classes
        if chosen == "balanced":
            counts = np.bincount(self.dataset.train.labels, minlength=len(classes))
            return {index: float(counts.sum() / (len(classes) * count)) for index, count in enumerate(counts)}
        unknown = sorted(set(chosen) - set(classes))
        if unknown:
            raise RecipeError(f"class_weights: unknown class {unknown[0]!r}, expected names of {', '.join(classes)}.")
        return {index: float(chosen.get(name, 1.0)) for index, name in enumerate(classes)}


def resolve_recipe(
    model: str,
    data: str | None = None,
    *,
    recipe: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Recipe:
    """Find the recipe of a model and dataset, with the user's values over it.

    Args:
        model: Name in the catalogue.
        data: Name of a dataset or a path. Default: what the recipe says.
        recipe: Name of a packaged recipe or a YAML file. Default: the packaged one that fits best.
        overrides: Values by dotted key.

    Raises:
        UsageError: Unknown model, or values that do not fit the schema.
    """
    record = find_record(model)
    chosen = dict(overrides or {})
    medium = ""
    if data is not None:
        # A path is kept whole, so that the run can be resumed and evaluated from anywhere.
        is_path = bool(data) and Path(data).exists() and not _is_builtin(data)
        chosen["data.source"] = str(Path(data).resolve()) if is_path else data
        medium = guess_medium(data) if is_path else ""
    if recipe is None:
        recipe = find_recipe(model, record.task, data or "digits", medium)
    return _with_whole_paths(load_recipe(recipe, model=model, overrides=chosen))


def _with_whole_paths(recipe: Recipe) -> Recipe:
    """Name the teachers so that a run which is resumed elsewhere finds them."""
    section = recipe.distillation
    if section is None:
        return recipe
    teachers = tuple(str(Path(name).resolve()) for name in section.teachers)
    return recipe.model_copy(update={"distillation": section.model_copy(update={"teachers": teachers})})


def make_plan(recipe: Recipe, data: Any = None, start: Start | None = None) -> Plan:
    """Open the data, build the model and check that everything fits.

    Args:
        recipe: A resolved recipe.
        data: Arrays to train on in place of what the recipe names.
        start: The model to train, in place of a new one; it may be no longer as its factory makes it.

    Raises:
        KzooError: Something does not fit; nothing has been written.
    """
    record = find_record(recipe.model.name)
    if data is None and recipe.data.source == ARRAYS:
        raise DataError("Expected the arrays of this run, received none: they are in no file. Pass them in Python.")
    keras.utils.set_random_seed(recipe.seed)
    published = _published(recipe)
    if published is not None:
        # The weights mean something only behind their own preprocessing: the recipe says which that is.
        chosen = {**published.architecture, **recipe.model.arguments}
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"arguments": chosen})})
    if record.compares and recipe.distillation is not None:
        raise RecipeError(f"Expected a classifier to distil into, received {record.name}, which compares samples.")
    parent = _parent_input(recipe) if start is None else start.input
    dataset = open_dataset(
        recipe.data.source if data is None else data,
        kind=cast("tuple[Kind, ...]", record.kinds),
        size=recipe.input.size,
        channels=recipe.input.channels or (None if published is None else published.channels),
        fit=recipe.input.fit,
        default_size=(record.input_shape[0], record.input_shape[1]) if record.task == "image" else None,
        seed=recipe.seed,
        fractions=recipe.data.fractions,
        cache=recipe.data.cache,
        classes_from=recipe.data.classes_from,
        one_class=record.task == "reconstruction",
        sound=(parent and parent.sound) or SoundSettings(**recipe.sound.model_dump()),
        text=(parent and parent.text) or TextSettings(**recipe.text.model_dump()),
        interactions=None if parent is None else parent.interactions,
    )
    check_sections(recipe, record.task, dataset.input)
    if record.task == "reconstruction":
        recipe, dataset = keep_normal(recipe, dataset)
    if record.task == "recommendation":
        refuse_settings_of_classes(recipe, "learns from who took what, and knows no classes")
    arguments = _arguments(recipe, record, dataset)
    layers = build_augmentation(recipe.augmentation, dataset.input)
    transfer = None
    if start is not None:
        _check_start(start, dataset)
        model, arguments = start.model, start.arguments
    else:
        model = _build(recipe.model.name, arguments)
        if recipe.transfer is not None:
            transfer = _transfer(recipe.transfer.weights, model, dataset, published)
        else:
            standardise(model, dataset.train)
            if record.task == "reconstruction":
                begin_at_mean(model)
            if record.task == "recommendation":
                begin_unknown_at_zero(model)
    # After the model, whose first weights are then the same with and without them.
    teachers = () if recipe.distillation is None else recipe.distillation.teachers
    plan = Plan(
        recipe=recipe,
        dataset=dataset,
        model=model,
        arguments=arguments,
        macs=models.count_macs(model),
        augmenter=Augmenter(layers) if layers else None,
        transfer=transfer,
        teachers=load_teachers(teachers, dataset.classes, dataset.input),
        maskable=() if recipe.sparse_training is None else check_maskable(model, recipe.sparse_training),
    )
    if record.compares and recipe.class_weights is not None:
        raise RecipeError(f"class_weights: {record.name} knows no classes but compares samples. Leave it out.")
    check_lineage(recipe, dataset)
    # Names of classes are checked while nothing has been written.
    plan.class_weights()
    return plan


def _arguments(recipe: Recipe, record: models.ModelRecord, dataset: Dataset) -> dict[str, Any]:
    """What the factory is called with: as the recipe says, and as follows from the data."""
    spec = dataset.input
    follows: dict[str, Any] = {"input_shape": spec.shape}
    if spec.interactions is not None:
        # User and item come apart.
        known = spec.interactions
        follows = {"input_shape": (1,), "users": len(known.users) + 1, "items": len(known.items) + 1}
    if record.classes is not None:
        follows["classes"] = len(dataset.classes)
    if spec.text is not None:
        follows["vocabulary_size"] = spec.text.vocabulary_size
    if recipe.regularisation.dropout is not None:
        follows["dropout"] = recipe.regularisation.dropout
    return {**recipe.model.arguments, **follows}


def _check_start(start: Start, dataset: Dataset) -> None:
    """Make sure that the data are such as the model was trained on."""
    if dataset.input != start.input or dataset.classes != start.classes:
        raise DataError(
            f"Expected data of input {start.input.shape} and {len(start.classes)} classes as the model knows, received "
            f"{dataset.input.shape} and {len(dataset.classes)} from {dataset.name}. Name the data it was trained on."
        )


def _parent_input(recipe: Recipe) -> InputSpec | None:
    """The input of the run that the weights come from: they mean something only behind the same front end.

    A student has its teacher's, if the recipe leaves it open.
    """
    if recipe.transfer is not None:
        source = recipe.transfer.weights
    elif recipe.distillation is not None and (recipe.sound, recipe.text) == (SoundSection(), TextSection()):
        source = recipe.distillation.teachers[0]
    else:
        return None
    if not is_run(source):
        return None
    from kzoo.run import Run

    return Run(source).info.input


def check_space(plan: Plan, directory: Path) -> None:
    """Make sure that the disk holds the run's files.

    Raises:
        RunError: It does not.
    """
    existing = next(parent for parent in [directory, *directory.resolve().parents] if parent.exists())
    # Best model and its candidate; two resume points of weights, optimizer slots, average and masks; plots and logs.
    need = plan.model.count_params() * 4 * (2 + 2 * (5 if plan.maskable else 4)) + 20_000_000
    free = shutil.disk_usage(existing).free
    if free < need:
        raise RunError(
            f"Expected {need / 1e6:,.0f} MB of free disk for the run, received {free / 1e6:,.0f} MB at {existing}. "
            f"Free some or choose another disk with --out."
        )


def _is_builtin(data: str) -> bool:
    from kzoo.data import list_datasets

    return data in {info.name for info in list_datasets()}


def _build(name: str, arguments: dict[str, Any], policy: str = "float32") -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return create_model(name, **arguments)
    finally:
        keras.config.set_dtype_policy(before)


def _published(recipe: Recipe) -> Pretrained | None:
    if recipe.transfer is None or not is_published(recipe.transfer.weights):
        return None
    return fetch_pretrained(recipe.model.name, recipe.transfer.weights, recipe.model.arguments)


def _transfer(weights: str, model: keras.Model, dataset: Dataset, published: Pretrained | None) -> LoadReport:
    from kzoo.run import Run

    skip: list[str] = []
    if published is not None:
        trained, skip = published.model, head_layers(model)
    elif is_run(weights):
        parent = Run(weights)
        trained = parent.model
        # As many classes as before are still other classes.
        skip = head_layers(model) if parent.info.classes != dataset.classes else []
    elif Path(weights).suffix == ".keras":
        trained = load_keras_file(weights)
    else:
        raise RunError(
            f"Expected --weights to be a run directory with {MODEL}, a .keras file or published weights as SOURCE:TAG, "
            f"received {weights}."
        )
    report = transfer_weights(trained, model, skip)
    if not report.loaded:
        raise RunError(
            f"Expected weights of a {model.name}, received {weights}: none of its layers fits. "
            f"Train the same architecture."
        )
    return report
