"""What can be asked of each method: plain values, checked before anything is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from kzoo.errors import UsageError

Schedule = Literal["polynomial", "constant"]
Pattern = Literal["unstructured", "2:4", "block", "xnnpack"]
Scope = Literal["layer", "global"]
#: What tells which filters matter: the scale that batch normalisation gives them, or their L1 norms.
Criterion = Literal["batch_norm", "l1"]


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """Magnitude pruning.

    Attributes:
        sparsity: share of zeros in the kernels that are pruned.
        schedule: `"polynomial"`: from none to all over the first part of training; `"constant"`: all from the start.
        pattern: `"unstructured"`; `"2:4"`: two of four weights in a row; `"block"`: whole blocks of dense and
            recurrent kernels; `"xnnpack"`: what XNNPACK's sparse kernels take, 1×1 convolutions.
        scope: `"layer"`: each layer reaches the sparsity; `"global"`: all together, the smallest weights first.
        block: rows and columns of a block.
    """

    sparsity: float
    schedule: Schedule = "polynomial"
    pattern: Pattern = "unstructured"
    scope: Scope = "layer"
    block: tuple[int, int] = (4, 4)

    def __post_init__(self) -> None:
        if not 0.0 < self.sparsity < 1.0:
            raise UsageError(f"Expected a sparsity between 0 and 1, as 0.5. Received: {self.sparsity:g}.")
        for name, kind in (("schedule", Schedule), ("pattern", Pattern), ("scope", Scope)):
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise UsageError(f"Expected {name} to be one of {known}. Received: {getattr(self, name)!r}.")
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise UsageError(f"Expected a sparsity of 0.5 with the pattern 2:4. Received: {self.sparsity:g}.")
        if self.scope == "global" and self.pattern == "2:4":
            raise UsageError("Expected the scope layer with the pattern 2:4, which is the same everywhere.")
