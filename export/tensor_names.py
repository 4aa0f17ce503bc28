"""What the names of a converted model's tensors and nodes say of the layers they come from."""

from __future__ import annotations

import re

from .graph import MODEL_NAME


def layers_in_name(name: str) -> tuple[str, ...]:
    """Layers that a tensor or node of the converted model comes from; a fused operator's name holds all of its own.

    Example:
        >>> layers_in_name("model/relu1/Relu;model/conv1/Conv2D")
        ('relu1', 'conv1')
    """
    return tuple(dict.fromkeys(re.findall(rf"(?:^|;){MODEL_NAME}/([^/;]+)/", name)))


def short_name(name: str) -> str:
    """A name of a tensor or node with one part for each layer only, those of `layers_in_name`.

    Example:
        >>> short_name("model/relu1/Relu;model/conv1/BiasAdd;model/conv1/Conv2D")
        'model/relu1/Relu;model/conv1/BiasAdd'
    """
    parts: dict[tuple[str, ...], str] = {}
    for part in name.split(";"):
        parts.setdefault(layers_in_name(part), part)
    return ";".join(parts.values())
