"""What models reach on real data: `python -m bench.accuracy [NAME…]`, and what is left of it in an int8 file.

Each training is `kzoo train`, which chooses the epoch on a part of the training split and measures the test split
once; then `kzoo export --quantize int8` and `kzoo evaluate` on the file. Runs lie under `runs/accuracy`: what was
interrupted goes on, and what is done, there or in `bench/parents`, is measured only. The data is looked for in the
folder that KZOO_DATA names.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.machine import describe_machine, keep_results, with_earlier
from bench.parents import keep_parent, restore_parent

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "accuracy"
SMS = "sms_spam"
DATA = Path(os.environ.get("KZOO_DATA", ROOT.parent / "shared" / "data"))


@dataclasses.dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        model: in the catalogue.
        data: a folder of KZOO_DATA once it is unpacked, or a table of it.
        epochs: as `kzoo train` takes them.
        settings: of the recipe, by dotted key, where they are not the packaged one's.
        classes: those whose F1 is reported, too.
    """

    model: str
    data: str
    epochs: int
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the command line takes."""
        return f"{self.model}.{self.data}"

    def command(self, data: Path, out: Path) -> list[str]:
        """The words after `kzoo`."""
        settings = [word for key, value in self.settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        return ["train", self.model, "--data", str(data), "--epochs", str(self.epochs), *settings, "--out", str(out)]


_CIFAR = {
    "batch_size": 128,
    "optimizer.name": "sgd",
    "optimizer.learning_rate": 0.1,
    "optimizer.nesterov": True,
    "optimizer.weight_decay": 0.0005,
    "augmentation.flip": "horizontal",
    "augmentation.shift": 0.125,
    "regularisation.label_smoothing": 0.0,
    "data.fractions": [0.9, 0.05, 0.05],
    "precision": "auto",
}

TRAININGS = (
    Training("resnet8", "cifar10", 120, _CIFAR),
    Training("mobilenet_v2", "cifar10", 12, {**_CIFAR, "model.arguments.alpha": 0.5}),
    Training("early_exit_resnet", "cifar10", 24, _CIFAR),
    Training("ds_cnn", "fsdd", 60),
    Training("lstm", "fsdd", 60),
    Training("adaptive_lstm", "fsdd", 40),
    Training("bilstm", "fsdd", 40),
    Training("attention", "fsdd", 60),
    Training("transformer_tiny", "fsdd", 40),
    Training("siamese", "fsdd", 40, {"data.classes_from": "file_names", "batch_size": 64}),
    Training("autoencoder", "fsdd", 100, {"reconstruction.normal": 3}),
    Training("text_cnn", SMS, 20, {"class_weights": "balanced"}, classes=("spam",)),
    Training("bilstm", SMS, 15, {"class_weights": "balanced"}, classes=("spam",)),
    Training("text_transformer", SMS, 15, {"class_weights": "balanced"}, classes=("spam",)),
)


def prepared(name: str) -> Path:
    """Give the folder of a dataset: as it lies there, unpacked, or with links to its tables."""
    folder = DATA / name
    if folder.exists():
        return folder
    kept = RUNS.parent / "data"
    if name == SMS:
        (kept / name).mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            link = kept / name / f"{split}.csv"
            link.unlink(missing_ok=True)
            link.symlink_to((DATA / f"{name}_{split}.csv").resolve())
        return kept / name
    if not (kept / name).exists():
        with tarfile.open(DATA / f"{name}.tar.xz") as archive:
            archive.extractall(kept, filter="data")
    return kept / name


def kzoo(*words: str) -> str:
    """Run a command of kzoo; its progress goes to the terminal, its answer comes back."""
    done = subprocess.run([sys.executable, "-m", "kzoo", *words], stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout


def measure(training: Training, keep: bool = False) -> dict[str, Any]:
    """Train, or go on with it, export and evaluate; with `keep`, keep the run in `bench/parents`."""
    out = RUNS / training.name
    data = prepared(training.data)
    if not (out / "run.json").exists() and not restore_parent(training.name, out, data):
        kzoo(*training.command(data, out))
    elif json.loads((out / "run.json").read_text())["status"] != "done":
        kzoo("train", training.model, "--resume", "--out", str(out))
    if keep:
        keep_parent(training.name, out, data)
    info = json.loads((out / "run.json").read_text())
    metrics = json.loads((out / "metrics.json").read_text())
    file = out / "model.int8.tflite"
    if not file.exists():
        kzoo("export", str(out), "--quantize", "int8", "--max-drop", "100")
    lite = json.loads(kzoo("evaluate", str(file), "--json"))
    notes = [f"F1 of {record['name']} {record['f1']:.4f}" for record in _classes(metrics, training.classes)]
    notes += [f"int8: {record['f1']:.4f}" for record in _classes(lite, training.classes)]
    if "eer" in metrics:
        notes.append(f"equal error rate {metrics['eer']:.4f}, int8: {lite['eer']:.4f}")
    if "auc" in metrics:
        areas = (
            f"{values['auc']:.4f} (up to 10 % false alarms {values['partial_auc']:.4f})" for values in (metrics, lite)
        )
        notes.append("area under ROC {}, int8: {}".format(*areas))
    row = {
        "model": training.name,
        "parameters": info["parameters"],
        "epochs": info["epochs"],
        "processor": describe_machine()["processor"],
        "minutes": round(info["seconds"] / 60, 1),
        "validation": round(info["metrics"]["val"]["accuracy"], 4),
        "test": round(metrics["accuracy"], 4),
        "int8, test": round(lite["accuracy"], 4),
        "int8, bytes": file.stat().st_size,
        "beside": ", ".join(notes),
        "command": shlex.join(["kzoo", *training.command(Path(training.data), Path("RUN"))]),
    }
    if metrics.get("exits"):
        keep_results(
            f"exits.{training.name}",
            f"python -m bench.accuracy {training.name}",
            [
                {
                    "threshold": point["threshold"],
                    "test accuracy": round(point["accuracy"], 4),
                    "million multiply-adds": round(point["macs"] / 1e6, 2),
                    "leave at each classifier": ", ".join(f"{share:.3f}" for share in point["shares"]),
                    "chosen": "on validation" if point["threshold"] == metrics["exit_threshold"] else "",
                }
                for point in metrics["exits"]
            ],
        )
    return row


def _classes(metrics: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    return [record for record in metrics.get("classes", ()) if record["name"] in names]


def main() -> None:
    """Measure what was asked for, one training after the other, and keep the table after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [training.name for training in TRAININGS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Of {', '.join(names)}. Default: all.")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for training in TRAININGS:
        if not chosen.names or training.name in chosen.names:
            rows = with_earlier("accuracy", [measure(training)], names)
            print(keep_results("accuracy", "python -m bench.accuracy", rows), flush=True)


if __name__ == "__main__":
    main()
