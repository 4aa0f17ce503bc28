"""timm's networks on random weights against the zoo's with these weights: `make test-reference`.

`write_timm.py` writes timm's tensors and answers in an environment of its own; here they are imported.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from kzoo.pretrained.timm import read_config, read_tensors
from kzoo.pretrained.timm_names import ARCHITECTURES
from kzoo.pretrained.timm_tensors import convert

FILES = Path(os.environ.get("KZOO_REFERENCE_FILES", ""))
TOLERANCE = 1e-4

pytestmark = pytest.mark.skipif(
    "KZOO_REFERENCE_FILES" not in os.environ, reason="needs what timm computes: make test-reference"
)


@pytest.fixture(scope="module")
def compared() -> dict[str, dict[str, list[int]]]:
    return json.loads((FILES / "shapes.json").read_text())


def test_every_architecture_is_held_against_timm(compared: dict[str, dict[str, list[int]]]) -> None:
    assert {folder.name for folder in FILES.iterdir() if folder.is_dir()} | set(compared) == set(ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_zoo_computes_what_timm_does(name: str, compared: dict[str, dict[str, list[int]]]) -> None:
    if name in compared:
        # All tensors find their places, of their shapes.
        tensors = {key: np.ones(shape, "float32") for key, shape in compared[name].items()}
        side = 384 if name.endswith("384") else 224
        config = {"input_size": (3, side, side), "mean": [0.5] * 3, "std": [0.5] * 3}
        assert convert(name, tensors, config, {}).arguments["classes"] == 10
        return
    answers = load_file(FILES / name / "answers.safetensors")
    tensors, config = read_tensors(FILES / name / "model.safetensors"), read_config(FILES / name / "config.json")
    model = convert(name, tensors, config, {"classifier_activation": None}).model
    expected, received = answers["outputs"], np.asarray(model(answers["images"], training=False))
    scale = np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 1e-2 * scale  # the network answers its input
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE * max(1.0, float(scale)))
