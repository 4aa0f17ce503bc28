"""Sections of a recipe that make a model smaller, or teach a small one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kzoo.export.compression.settings import Criterion, PruneSettings
from kzoo.export.precision import PerTensor

from .section import NotNegative, Positive, Section


class CompressionSection(Section):
    """What `kzoo compress` did, in this order: each step fine-tunes for the recipe's epochs."""

    # Share of the multiply–adds that go with whole filters.
    filters: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    # What tells which filters matter. None: the scale of their batch normalisation, where they have one.
    filters_by: Criterion | None = None
    # Share of the squared singular values that the factors of a kernel keep.
    low_rank: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    # Or share of the full rank.
    rank: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    prune: PruneSettings | None = None
    # Values that the weights of a kernel share.
    clusters: Annotated[int, Field(ge=2)] | None = None
    # Quantisation-aware training.
    quantize: bool = False
    # Of the int8 file: which layers' kernels have one step; see `kzoo.export.Precision`.
    per_tensor: PerTensor = "none"
    # The first layer and the last ones are pruned and factorised, too.
    all_layers: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """Short names of what is done, in order."""
        chosen = {
            "filters": self.filters,
            "lowrank": self.rank if self.low_rank is None else self.low_rank,
            "prune": self.prune,
            "cluster": self.clusters,
            "qat": self.quantize or None,
        }
        return tuple(name for name, value in chosen.items() if value is not None)


class DistillationSection(Section):
    """Learn from trained classifiers as well as from the labels (Hinton et al. 2015, arXiv 1503.02531)."""

    # Run directories and `.keras` files; the softened probabilities of several are averaged.
    teachers: Annotated[tuple[str, ...], Field(min_length=1)]
    # What logits are divided by before the softmax of the teachers' loss.
    temperature: Positive = 4.0
    # Share of the teachers' loss, which is multiplied by temperature²; the rest is the labels'.
    weight: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    # Of the squared difference between the vectors before the classifiers, beside the loss (arXiv 1412.6550); 0: none.
    features: NotNegative = 0.0


class SparseTrainingSection(Section):
    """A network that is sparse from its first step to its last.

    `fixed` keeps a random choice of connections. `rigl` (Evci et al. 2020, arXiv 1911.11134) moves them: now and then
    those of the smallest weights are dropped and as many grow where the gradient is largest. First convolution,
    classifier, depthwise kernels, embeddings, biases and normalisations stay dense and are not counted.
    """

    method: Literal["fixed", "rigl"] = "rigl"
    # Share of weights that are zero.
    sparsity: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    # erk: small kernels stay denser (Erdős–Rényi-kernel); uniform: all alike.
    distribution: Literal["erk", "uniform"] = "erk"
    # Of rigl: steps between two moves. None: a fiftieth of the run's steps.
    interval: Annotated[int, Field(ge=1)] | None = None
    # Of rigl: share of a layer's connections that the first move changes; it falls along half a cosine.
    drop: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3
    # Of rigl: share of the run's steps after which nothing moves any more.
    until: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75

    @model_validator(mode="after")
    def _fixed_moves_nothing(self) -> SparseTrainingSection:
        defaults = {name: type(self).model_fields[name].default for name in ("interval", "drop", "until")}
        chosen = [name for name, default in defaults.items() if getattr(self, name) != default]
        if self.method == "fixed" and chosen:
            raise ValueError(f"sparse_training.{chosen[0]} is for method rigl; leave it out or set method=rigl")
        return self
