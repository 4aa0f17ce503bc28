"""Weights of timm, PyTorch Image Models, from https://huggingface.co/timm, read without PyTorch.

A tag is timm's own name, `ARCHITECTURE.TRAINING`: `resnet18.a1_in1k`. Weights come as safetensors, which hold numbers
and no code.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.data.system import cache_path
from kzoo.errors import UsageError, WeightsError, nearest
from kzoo.zoo import find_record

from .timm_names import ARCHITECTURES
from .timm_tensors import convert
from .weights import Pretrained

logger = logging.getLogger(__name__)

_HOME = "https://huggingface.co/timm"
_SILENCE_SECONDS = 20
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


def fetch(name: str, tag: str, arguments: dict[str, Any]) -> Pretrained:
    """Build a model of the zoo with weights that are downloaded once, to the user's cache.

    Args:
        name: of the model in the catalogue.
        tag: timm's name of the weights.
        arguments: of the zoo's factory.

    Raises:
        UsageError: there are no such weights for this model.
        WeightsError: they could not be downloaded, are damaged or do not fit.
    """
    find_record(name)
    architecture = tag.partition(".")[0]
    known = [each for each, record in ARCHITECTURES.items() if record.model == name]
    if not known:
        carried = sorted({record.model for record in ARCHITECTURES.values()})
        raise UsageError(f"Expected a model that timm has layer for layer, received {name}. {nearest(name, carried)}")
    if architecture not in known:
        described = ARCHITECTURES.get(architecture)
        kind = f"weights of {described.model}" if described else "weights that no model of the zoo can take"
        raise UsageError(
            f"Expected weights of {name} ({', '.join(known)}), received timm:{tag}, {kind}. Name others, or load that."
        )
    if not re.fullmatch(r"\w+\.\w+", tag):
        raise UsageError(
            f"Expected timm:ARCHITECTURE.TRAINING, for example timm:resnet18.a1_in1k, received timm:{tag}. "
            f"{_HOME} lists them."
        )
    config, weights = (_download(tag, file) for file in (_CONFIG, _WEIGHTS))
    return convert(architecture, read_tensors(weights), read_config(config), arguments)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file as float32.

    Raises:
        WeightsError: it is damaged; it is removed, so that the next call fetches it again.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return {name: np.asarray(value, "float32") for name, value in load_file(path).items()}
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise _damaged(path, error) from error


def read_config(path: Path) -> Mapping[str, Any]:
    """Read how the pixels of a network's input are prepared, timm's `pretrained_cfg`.

    Raises:
        WeightsError: it is damaged; it is removed, so that the next call fetches it again.
    """
    try:
        config = json.loads(path.read_bytes())["pretrained_cfg"]
        return {key: config[key] for key in ("input_size", "mean", "std")}
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _download(tag: str, file: str) -> Path:
    import pooch

    # Its hint to note down a checksum is for programmers.
    pooch.get_logger().setLevel("WARNING")
    url, folder = f"{_HOME}/{tag}/resolve/main/{file}", cache_path("timm", tag)
    if not (folder / file).is_file():
        logger.info("downloading %s, once, to %s", url, folder)
    try:
        downloader = pooch.HTTPDownloader(timeout=_SILENCE_SECONDS)
        return Path(pooch.retrieve(url, known_hash=None, fname=file, path=folder, downloader=downloader))
    except (OSError, ValueError) as error:  # the first are those of requests, too
        answer = getattr(getattr(error, "response", None), "status_code", None)
        # Hugging Face asks for a login where nothing of that name is public.
        if answer in (401, 403, 404):
            raise UsageError(
                f"Expected weights that timm publishes, received timm:{tag}: {_HOME}/{tag} has no {file}. "
                f"{_HOME} lists them."
            ) from error
        reason = " ".join(str(error).split()).rstrip(".")
        raise WeightsError(
            f"Expected {url}, received nothing: {reason}. Check the network and the space at {folder}, then call again."
        ) from error


def _damaged(path: Path, error: Exception) -> WeightsError:
    path.unlink(missing_ok=True)
    return WeightsError(
        f"Expected timm's {path.name}, received a file that is damaged: {error}. "
        f"It was removed from the cache; call again to download it anew."
    )
