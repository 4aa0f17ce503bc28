"""Models trained on the real data of `KZOO_DATA`: `python -m bench.real_data text_cnn sms`.

Each run takes its packaged recipe, whatever `--set` changes, and one seed. The checkpoint is chosen on a part of the
training split, the test split is measured once, by the Keras model and by its int8 file. `sms` are the messages of the
SMS Spam Collection, `fsdd` the recordings of the Free Spoken Digit Dataset; rows of other models and data are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import kzoo
from bench.machine import RESULTS, keep_results
from kzoo.recipes import parse_setting

NAME = "real_data"
DATA = Path(os.environ.get("KZOO_DATA", Path(__file__).parents[2] / "shared" / "data"))


def prepare(data: str, folder: Path) -> Path:
    """Lay a data set out as kzoo reads it: its own test split beside the training split.

    Args:
        data: `"sms"` or `"fsdd"`.
        folder: where it is put.
    """
    place = folder / data
    if place.exists():
        return place
    if data == "sms":
        place.mkdir()
        for split in ("train", "test"):
            (place / f"{split}.csv").symlink_to((DATA / f"sms_spam_{split}.csv").resolve())
        return place
    with tarfile.open(DATA / f"{data}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return place


def measure(model: str, data: str, settings: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Train, export as int8, and measure both on the test split."""
    run = kzoo.train(model, prepare(data, folder), settings=settings, seed=seed, out=folder / f"{model}.{data}")
    result = kzoo.export_model(run, quantize="int8", max_drop=1)
    keras, file = run.metrics, kzoo.evaluate(result.path)
    rarest = min(keras.classes, key=lambda record: record.support).name

    def f1(metrics: Any) -> float:
        return next(record.f1 for record in metrics.classes if record.name == rarest)

    return {
        "model": model,
        "data": data,
        "settings": " ".join(f"{key}={value}" for key, value in settings.items()),
        "parameters": run.info.parameters,
        "epochs": run.info.epochs,
        "validation": round(run.info.metrics["val"]["accuracy"], 4),
        "test": round(keras.accuracy, 4),
        "test, macro F1": round(keras.f1, 4),
        "F1 of the rarest class": f"{rarest}: {f1(keras):.4f}",
        "test, int8": round(file.accuracy, 4),
        "F1 of the rarest, int8": round(f1(file), 4),
        "int8 bytes": result.size,
    }


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", choices=["sms", "fsdd"])
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="K=V")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    settings = dict(parse_setting(setting) for setting in chosen.settings)
    with tempfile.TemporaryDirectory() as temporary:
        row = measure(chosen.model, chosen.data, settings, chosen.seed, Path(temporary))
    file = RESULTS / f"{NAME}.json"
    earlier = json.loads(file.read_text())["rows"] if file.is_file() else []
    others = [each for each in earlier if (each["model"], each["data"]) != (row["model"], row["data"])]
    rows = sorted([*others, row], key=lambda each: (each["data"], each["model"]))
    print(keep_results(NAME, "python -m bench.real_data MODEL DATA --set K=V", rows))


if __name__ == "__main__":
    main()
