"""Where a quantised file loses what its float twin knows: layer by layer, on real samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from .runtime import AUTO, LiteModel
from .tensor_names import layers_in_name
from .tflite_file import TensorInfo


class LayerError(BaseModel):
    """How far one operator's answers in the quantised file are from those in the float file.

    Attributes:
        layer: the Keras layers the operator was made of, such as `"conv1, relu1"`; empty where its tensor bears none.
        operator: of the file, such as `"CONV_2D"`.
        dtype: what it computes in the file.
        error: root mean square of the difference over that of the float values. All before it is quantised as well.
        added: what this operator adds to the error it is fed: sqrt(error^2 - largest error of its inputs^2), 0 where it
            loses nothing itself.
        clipped: share of the float values that lie outside what the file's tensor can hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: str
    operator: str
    dtype: str
    error: float
    added: float
    clipped: float


@dataclass(slots=True)
class _Sums:
    """Running sums over the samples for one tensor."""

    limits: tuple[float, float]
    difference: float = 0.0
    signal: float = 0.0
    clipped: int = 0
    count: int = 0

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        self.difference += float(np.square(ours - theirs, dtype=np.float64).sum())
        self.signal += float(np.square(theirs, dtype=np.float64).sum())
        self.clipped += int(((theirs < self.limits[0]) | (theirs > self.limits[1])).sum())
        self.count += theirs.size

    @property
    def error(self) -> float:
        return math.sqrt(self.difference / self.signal) if self.signal else float(self.difference > 0)


def layer_errors(
    quantised: Path, twin: Path, samples: Mapping[str, np.ndarray], *, runtime: str = AUTO
) -> tuple[LayerError, ...]:
    """Run both files on the same samples and compare what every operator gives.

    Args:
        quantised: a file of any precision.
        twin: the same model as a float32 file. Operators are matched by the names of the tensors they write; one that
            the other file does not have is left out.
        samples: real samples by input name, `(samples, *input_shape)`; a dozen do.
        runtime: what runs them.

    Returns:
        The operators, those that add most error first.
    """
    ours, theirs = (LiteModel(path, runtime=runtime, keep_tensors=True) for path in (quantised, twin))
    places = _matching_tensors(ours, theirs)
    sums = {index: _Sums(_limits(ours.file.tensors[index])) for index in places}
    for mine, other in zip(ours.trace(samples), theirs.trace(samples), strict=True):
        for index, place in places.items():
            sums[index].add(mine[index], other[place])
    errors = {index: each.error for index, each in sums.items()}
    found = []
    for operator in ours.file.operators:
        for index in operator.outputs:
            if index not in errors:
                continue
            info = ours.file.tensors[index]
            fed = max((errors.get(each, 0.0) for each in operator.inputs), default=0.0)
            found.append(
                LayerError(
                    layer=", ".join(layers_in_name(info.name)),
                    operator=operator.name,
                    dtype=info.dtype,
                    error=errors[index],
                    added=math.sqrt(max(0.0, errors[index] ** 2 - fed**2)),
                    clipped=sums[index].clipped / sums[index].count,
                )
            )
    return tuple(sorted(found, key=lambda each: -each.added))


def _matching_tensors(ours: LiteModel, theirs: LiteModel) -> dict[int, int]:
    """Tensor of the first file -> tensor of the second, for what operators write."""
    names = {theirs.file.tensors[index].name: index for index in _written(theirs)}
    matching = {
        index: names[ours.file.tensors[index].name]
        for index in _written(ours)
        if ours.file.tensors[index].name in names
    }
    # An output has a name of its own in each file; the signature's is the same.
    matching |= {index: theirs.output_indices[name] for name, index in ours.output_indices.items()}
    return {
        index: place
        for index, place in matching.items()
        if ours.file.tensors[index].shape == theirs.file.tensors[place].shape
    }


def _written(model: LiteModel) -> Iterator[int]:
    for operator in model.file.operators:
        yield from (index for index in operator.outputs if index >= 0)


def _limits(info: TensorInfo) -> tuple[float, float]:
    if info.is_float or info.scale is None or info.zero_point is None:
        return -math.inf, math.inf
    span = np.iinfo(info.dtype)
    # Half a step outside is still rounded to the last level.
    return (
        (span.min - 0.5 - info.zero_point) * info.scale,
        (span.max + 0.5 - info.zero_point) * info.scale,
    )
