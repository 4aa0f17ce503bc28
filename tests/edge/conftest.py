"""Files and the answers that ai-edge-litert gives with them, made once where TensorFlow is, used wherever a runtime is.

`make test-edge` runs these tests twice over one folder, `KZOO_EDGE_FILES`: first in the main environment, which makes
the files, then in that of a device, which has only them. Without that variable the folder is a temporary one.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kzoo
from kzoo.data import open_dataset
from kzoo.export import LiteModel

SAMPLES = 6


@pytest.fixture(scope="session")
def edge_files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("KZOO_EDGE_FILES")
    folder = Path(given).resolve() if given else tmp_path_factory.mktemp("edge")
    # Written last: a folder without it is begun and not ended.
    expected = folder / "expected.json"
    if not expected.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        fixture = request.getfixturevalue
        expected.write_text(json.dumps(make(fixture("trained_run"), fixture("trained_sequence_run"), folder)))
    return folder


@pytest.fixture(scope="session")
def expected(edge_files: Path) -> dict[str, Any]:
    """By the name of a `.tflite` file: what ai-edge-litert answered."""
    content: dict[str, Any] = json.loads((edge_files / "expected.json").read_text())
    return content


@pytest.fixture(scope="session")
def inputs(edge_files: Path) -> Callable[[str], list[str]]:
    """The names of the inputs for a file, in order."""
    return lambda name: inputs_of(edge_files, name)


def inputs_of(folder: Path, name: str) -> list[str]:
    pattern = "sequence-*.npy" if name.startswith("lstm") else "picture-*.*"
    return sorted(path.name for path in folder.glob(pattern))


def make(run: kzoo.Run, sequence_run: kzoo.Run, folder: Path) -> dict[str, Any]:
    """Export both runs, float and int8, with their kits, and write down how ai-edge-litert answers."""
    from kzoo.export.kits import write_kit  # needs jinja2, which a device does not have

    write_inputs(folder)
    answers = {}
    for name, source in (("cnn", run), ("lstm", sequence_run)):
        for quantize in ("fp32", "int8"):
            file = f"{name}.{quantize}.tflite"
            result = kzoo.export_model(source, folder / file, quantize=quantize, overwrite=True)
            write_kit(result, "rpi", folder / f"kit-{file}")
            answers[file] = answers_to(folder, file)
    return answers


def write_inputs(folder: Path) -> None:
    """Pictures of the model's size, larger ones that must be turned, cut and resampled, and sequences."""
    pictures, sequences = open_dataset("digits").test, open_dataset("digits", kind="sequence").test
    for index in range(SAMPLES):
        (pixels,), (sequence,) = pictures.load([index]), sequences.load([index])
        Image.fromarray(pixels[..., 0]).save(folder / f"picture-{index}.png")
        np.save(folder / f"sequence-{index}.npy", sequence)
    rng = np.random.default_rng(0)
    large = Image.fromarray(rng.integers(0, 256, (6, 9, 3), np.uint8)).resize((90, 61), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera on its side
    large.save(folder / "picture-large.jpg", exif=exif)
    alpha = Image.fromarray(rng.integers(0, 256, (5, 7), np.uint8)).resize(large.size)
    large.putalpha(alpha)
    large.save(folder / "picture-transparent.png")


def answers_to(folder: Path, file: str) -> dict[str, Any]:
    lite = LiteModel(folder / file, runtime="litert")
    test = open_dataset("digits", kind="sequence" if file.startswith("lstm") else "image").test
    predictions = kzoo.predict(lite.path, [folder / name for name in inputs_of(folder, file)], top=10, runtime="litert")
    return {
        "outputs": lite.predict(test.load(np.arange(len(test)))).tolist(),
        "step": lite.output_quantization[0] if lite.output_quantization else None,
        "predict": [dataclasses.asdict(each) for each in predictions],
        "evaluate": kzoo.evaluate(lite.path, "digits", runtime="litert").model_dump(mode="json"),
    }
