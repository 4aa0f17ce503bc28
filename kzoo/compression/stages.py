"""Fine-tuning with TF-MOT, one stage after the other. It imports TensorFlow and TF-MOT: it is for the child process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from kzoo.export.bridge import build_bridge, return_weights
from kzoo.export.compression.batch_norm import FoldedNormalization, fold_batch_norm
from kzoo.export.compression.clustering import Clusterer
from kzoo.export.compression.coverage import Coverage, cover
from kzoo.export.compression.equalisation import equalise
from kzoo.export.compression.kernels import choose_layers, choose_layers_to_cluster
from kzoo.export.compression.pruning import Pruner, layers_for_xnnpack
from kzoo.export.compression.quantization import QuantizationTrainer
from kzoo.export.compression.targets import prune_targets
from kzoo.export.compression.wrapping import Wrapping
from kzoo.export.graph import read_graph
from kzoo.recipes.smaller import CompressionSection
from kzoo.training.reporter import Reporter

from .finetune import FineTuning


@dataclasses.dataclass
class Outcome:
    """What the stages came to, beside the weights that are in the model.

    Attributes:
        targets: sparsity of each layer that was pruned.
        clustered: layers whose weights share values.
        ranges: of outputs, where training for integers has settled them.
        best_epoch: of the last stage, counted over the whole run from 1.
    """

    targets: dict[str, float] = dataclasses.field(default_factory=dict)
    clustered: list[str] = dataclasses.field(default_factory=list)
    ranges: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    best_epoch: int | None = None


def run_stages(model: keras.Model, section: CompressionSection, tuning: FineTuning, reporter: Reporter) -> Outcome:
    """Prune, cluster and train for integers, as far as it is asked; the model's weights are those of the last stage.

    Args:
        model: Changed in place.
        section: What is asked.
        tuning: How each stage trains.
        reporter: Where it is said what each stage does.

    Raises:
        ExportError: The model has nothing that can be compressed so.
    """
    outcome = Outcome()
    for name, stage in (("prune", _prune), ("cluster", _cluster), ("qat", _quantize)):
        if name in section.methods:
            stage(model, section, tuning, reporter, outcome)
    return outcome


def _prune(
    model: keras.Model, section: CompressionSection, tuning: FineTuning, reporter: Reporter, outcome: Outcome
) -> None:
    assert section.prune is not None
    graph = read_graph(model)
    layers = choose_layers(graph, ends=section.all_layers)
    if section.prune.pattern == "xnnpack":
        layers = [name for name in layers_for_xnnpack(graph) if name in layers]
    targets = prune_targets(graph, section.prune, layers)
    outcome.targets = targets
    wrapping = Pruner(section.prune, targets, tuning.steps)
    reporter.line(
        f"prune  {len(targets)} layers to {100 * section.prune.sparsity:g} % zeros ({section.prune.pattern}, "
        f"{section.prune.schedule}), complete at step {wrapping.last_update} of {tuning.steps}"
    )
    bridged = build_bridge(graph, batch_size=None, wrap=wrapping)
    outcome.best_epoch = _fit(model, bridged, [], wrapping, tuning, normalised=True, first_step=wrapping.last_update)


def _cluster(
    model: keras.Model, section: CompressionSection, tuning: FineTuning, reporter: Reporter, outcome: Outcome
) -> None:
    assert section.clusters is not None
    graph = read_graph(model)
    # A file holds folded kernels: it is those that are to have few values, for channels of like ranges.
    folded = fold_batch_norm(graph)
    equalised = equalise(graph, folded)
    layers = choose_layers_to_cluster(graph, equalised)
    wrapping = Clusterer(section.clusters, layers, keep_zeros=bool(outcome.targets))
    bridged = build_bridge(graph, batch_size=None, wrap=wrapping)
    outcome.clustered = wrapping.clustered
    reporter.line(f"cluster {len(outcome.clustered)} layers to {section.clusters} values a kernel")
    outcome.best_epoch = _fit(model, bridged, folded, wrapping, tuning)


def _quantize(
    model: keras.Model, section: CompressionSection, tuning: FineTuning, reporter: Reporter, outcome: Outcome
) -> None:
    graph = read_graph(model)
    folded = fold_batch_norm(graph)
    if section.per_tensor == "all" and not outcome.clustered:  # equalised already, with values that are shared now
        equalise(graph, folded)
    coverage = cover(graph, section.per_tensor)
    for line in describe_coverage(coverage):
        reporter.line(line)
    wrapping = QuantizationTrainer(
        coverage,
        keep_zeros=list(outcome.targets),
        keep_clusters=outcome.clustered,
    )
    kept: dict[str, Any] = {}
    bridged = build_bridge(graph, batch_size=None, wrap=wrapping)
    outcome.best_epoch = _fit(
        model, bridged, folded, wrapping, tuning, and_keep=lambda: kept.update(ranges=wrapping.ranges())
    )
    outcome.ranges = kept["ranges"]


def describe_coverage(coverage: list[Coverage]) -> list[str]:
    """One line a layer that counts: what training simulates of it."""
    width = max((len(each.layer) for each in coverage), default=0)
    lines = []
    for each in coverage:
        parts = [f"kernel by {each.kernel}"] if each.kernel else []
        parts += ["output"] if each.output else []
        done = ", ".join(parts) or each.note or "with the next"
        lines.append(f"qat    {each.layer:<{width}}  {each.kind:<22} {done}")
    return lines


def _fit(
    model: keras.Model,
    bridged: Any,
    folded: list[FoldedNormalization],
    wrapping: Wrapping,
    tuning: FineTuning,
    *,
    normalised: bool = False,
    first_step: int = 0,
    and_keep: Callable[[], None] = lambda: None,
) -> int:
    """Train the wrapped model and bring the best epoch's weights into the Keras model; gives that epoch."""
    best, weights = tuning.fit(bridged, wrapping, normalised=normalised, first_step=first_step, and_keep=and_keep)
    for each in folded:
        weights.update(each.unfolded(*weights[each.layer.name]))
    # The graph of the model itself: the folded one knows nothing of the normalisations.
    return_weights(read_graph(model), weights)
    return best
