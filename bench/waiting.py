"""How long a user waits: `python -m bench.waiting [--against KZOO]`.

From the command to the first training step, to the exported file and to the other answers, each as a process of its
own with its start and its end. The first step is seen as the user sees it: training's status on a terminal. With
`--against`, the `kzoo` of another environment takes turns with this one; the figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import pty
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.machine import keep_results

IMAGE_MODELS = ("cnn", "resnet8", "resnet18", "mobilenet_v2")
SEQUENCE_MODELS = ("lstm", "attention")
FIRST_STEP = b"batch 1/"


def make_images(root: Path, classes: int = 10, each: int = 60) -> None:
    """Class folders of JPEGs of 32×32 pixels with a pattern of their own for every class."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        pattern = rng.integers(0, 255, (8, 8, 3)).repeat(4, axis=0).repeat(4, axis=1)
        for number in range(each):
            pixels = np.clip(pattern + rng.normal(0, 20, pattern.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=90)


def seconds(command: Sequence[str]) -> float:
    """From the start of a command to its end."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def seconds_until(command: Sequence[str], text: bytes) -> float:
    """From the start of a command until it writes a text to its terminal; then it is killed."""
    started = time.perf_counter()
    terminal, other = pty.openpty()
    child = subprocess.Popen(command, stdin=other, stdout=other, stderr=other)
    os.close(other)
    seen = b""
    try:
        while text not in seen:
            seen += os.read(terminal, 65_536)
        return time.perf_counter() - started
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        os.close(terminal)


def commands(folder: Path, models: Sequence[str]) -> dict[str, tuple[list[str], bytes | None]]:
    """What is measured: arguments by name, and the text that ends the wait where it is not the command's end."""
    image = str(next((folder / "images").rglob("*.jpg")))
    run = str(folder / "runs" / models[0])
    measured: dict[str, tuple[list[str], bytes | None]] = {
        "kzoo --help": (["--help"], None),
        "kzoo list": (["list"], None),
        f"kzoo info {models[0]}": (["info", models[0]], None),
        f"kzoo evaluate RUN ({models[0]})": (["evaluate", run], None),
    }
    if models[0] in IMAGE_MODELS:
        measured[f"kzoo predict RUN FILE ({models[0]})"] = (["predict", run, image], None)
    for model in models:
        out = str(folder / "out")
        train = ["train", model, "--data", data_for(model, folder), "--epochs", "1", "--out", out, "--force"]
        measured[f"{model}: first training step"] = (train, FIRST_STEP)
        file = str(folder / "model.tflite")
        export = ["export", str(folder / "runs" / model), "--quantize", "int8", "--max-drop", "100"]
        measured[f"{model}: int8 file"] = ([*export, "--out", file, "--force"], None)
    return measured


def data_for(model: str, folder: Path) -> str:
    """Images for models of images, the digits as sequences for the others."""
    return str(folder / "images") if model in IMAGE_MODELS else "digits"


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", help="The kzoo script of another environment.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=[*IMAGE_MODELS, *SEQUENCE_MODELS])
    chosen = parser.parse_args()
    ours = [sys.executable, "-m", "kzoo"]
    both = {"after": ours} | ({"before": [chosen.against]} if chosen.against else {})
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["KZOO_CACHE"] = str(folder / "cache")
        make_images(folder / "images")
        for model in chosen.models:
            train = ["train", model, "--data", data_for(model, folder), "--epochs", "1"]
            seconds([*ours, *train, "--out", str(folder / "runs" / model)])
        for what, (arguments, text) in commands(folder, chosen.models).items():
            taken: dict[str, list[float]] = {name: [] for name in both}
            for _ in range(chosen.rounds):
                for name, start in both.items():
                    command = [*start, *arguments]
                    taken[name].append(seconds(command) if text is None else seconds_until(command, text))
            medians = {name: statistics.median(values) for name, values in taken.items()}
            row: dict[str, Any] = {"from the command to": what}
            row |= {f"{name}, s": round(medians[name], 2) for name in sorted(both, reverse=True)}
            if "before" in medians:
                row["ratio"] = round(medians["after"] / medians["before"], 2)
            rows.append(row)
            print(row, flush=True)
    against = " --against KZOO" if chosen.against else ""
    print(keep_results("waiting", f"python -m bench.waiting --rounds {chosen.rounds}{against}", rows))


if __name__ == "__main__":
    main()
