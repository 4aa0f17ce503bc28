"""Which published weights there are to ask for: `SOURCE:TAG`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kzoo.errors import UsageError, nearest

from . import keras_applications, timm
from .weights import Pretrained

_SOURCES = {"keras.applications": keras_applications.fetch, "timm": timm.fetch}
_EXAMPLES = "keras.applications:imagenet or timm:resnet18.a1_in1k"


def is_published(weights: str) -> bool:
    """Tell whether this begins with the name of a source, as no path to a file does."""
    return weights.partition(":")[0] in _SOURCES and ":" in weights


def fetch_pretrained(name: str, weights: str, arguments: Mapping[str, Any] | None = None) -> Pretrained:
    """Build a model of the zoo with published weights; downloads them once.

    Args:
        name: of the model in the catalogue.
        weights: `SOURCE:TAG`.
        arguments: of the factory, for example `alpha=0.5`; they stand over what the source asks for.

    Raises:
        UsageError: the source, or the tag, is unknown or is another model's.
        WeightsError: the weights could not be downloaded, are damaged or do not fit.
    """
    source, _, tag = weights.partition(":")
    if source not in _SOURCES:
        raise UsageError(
            f"Expected weights as SOURCE:TAG, for example {_EXAMPLES}, received {weights!r}. "
            f"{nearest(source, _SOURCES)}"
        )
    return _SOURCES[source](name, tag, dict(arguments or {}))
