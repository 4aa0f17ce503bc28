"""The same models through kzoo and through what a Keras user would take instead: `python -m bench.export_peers`.

The peers are `model.export(format="litert")` of Keras, `TFLiteConverter.from_keras_model` of TensorFlow, and
ai-edge-quantizer on the float file of the latter, for int8 with the same calibration samples as kzoo. `resnet8` also
meets MLPerf Tiny's own model of these layers. Every file is run on plain ai-edge-litert and held against its Keras
model on 538 digits that were not trained on; the latency of both files is measured in turns. kzoo's files have their
metadata: labels, description, input. Where one is worse the last lines say so, and the exit status is 1.

ai-edge-quantizer is looked for where Python looks: `pip install --no-deps --target FOLDER ai-edge-quantizer
immutabledict`, then PYTHONPATH=FOLDER.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bench.export_reference import mlperf_resnet8
from bench.machine import keep_results, with_earlier
from bench.peer_conversion import PEERS
from bench.plain_keras import PLAIN_MODELS, trained
from bench.small_runs import small_run
from kzoo.data import Dataset, open_dataset
from kzoo.errors import ExportError
from kzoo.export import LiteModel, benchmark_many, check, export_model
from kzoo.source import open_source

ZOO = ("cnn", "resnet8", "mobilenet_v2", "lstm", "attention")
KNOWN = (*ZOO, *PLAIN_MODELS)
PRECISIONS = ("fp32", "dynamic", "int8")
REFERENCE = "MLPerf Tiny's model, TFLiteConverter"
CALIBRATION_SAMPLES = 256
CONVERSION_SECONDS = 300
# What is within these is not called worse: metadata and labels, and the noise of a busy machine.
LARGER, SLOWER = 1.01, 1.02


@dataclass(frozen=True)
class Case:
    """A trained model with real data: to calibrate with, and to be asked about."""

    name: str
    model: keras.Model
    calibration: np.ndarray
    samples: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """How a file that runs compares with its Keras model."""

    path: Path
    size: int
    gzip_size: int
    agreement: float
    difference: float
    accuracy: float


def cases(names: Sequence[str], runs: Path) -> Iterator[Case]:
    """Train or open the models, one at a time."""
    for name in names:
        if name in ZOO:
            source = open_source(small_run(name, runs))
            yield case(name, source.model, source.dataset())
        else:
            size = PLAIN_MODELS[name].size
            data = open_dataset("digits", kind="image" if size else "sequence", size=size, channels=3 if size else None)
            yield case(name, trained(name, data), data)


def case(name: str, model: keras.Model, data: Dataset) -> Case:
    """Calibrate with what was trained on; ask about the rest."""
    chosen = np.arange(CALIBRATION_SAMPLES)
    rest = [split.load(np.arange(len(split))).astype(np.float32) for split in (data.val, data.test)]
    labels = np.concatenate([data.val.labels, data.test.labels])
    return Case(name, model, data.train.load(chosen).astype(np.float32), np.concatenate(rest), labels, data.classes)


def convert_with_peer(case: Case, model: keras.Model, peer: str, precision: str, file: Path) -> str:
    """Convert in a child process; gives what went wrong, "" where nothing did."""
    saved, samples = file.with_suffix(".keras"), file.with_suffix(".npy")
    model.save(saved)
    np.save(samples, case.calibration)
    command = [sys.executable, "-m", "bench.peer_conversion", saved, peer, precision, samples, file]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=CONVERSION_SECONDS)
    except subprocess.TimeoutExpired:
        return f"does not end within {CONVERSION_SECONDS} s"
    if finished.returncode < 0:
        return f"the process dies of signal {-finished.returncode}"
    kinds = re.findall(r"^[\w.]*?(\w+(?:Error|Exception))\b", finished.stderr, re.MULTILINE)
    return "" if finished.returncode == 0 else f"no: {kinds[-1] if kinds else finished.returncode}"


def problem_running(file: Path) -> str:
    """Why a file does not run on the plain runtime, tried in a process of its own; "" where it does."""
    report = check(file)
    flex = [each.name for each in report.operators if each.name.startswith("Flex")]
    if flex:
        return f"needs {', '.join(flex)}"
    return report.trial.problem or "" if report.trial else "no runtime is installed"


def answers(case: Case, file: Path, expected: np.ndarray) -> Answers:
    """Ask a file everything."""
    lite = LiteModel(file)
    received = lite.predict(case.samples)
    same = received.argmax(-1) == expected.argmax(-1)
    return Answers(
        path=file,
        size=lite.size,
        gzip_size=lite.gzip_size,
        agreement=float(same.mean()),
        difference=float(np.abs(received - expected).max()),
        accuracy=float((received.argmax(-1) == case.labels).mean()),
    )


def contenders(case: Case, precision: str) -> Iterator[tuple[str, keras.Model]]:
    """What kzoo's file is held against, and the model that it is made of."""
    for peer in PEERS:
        if peer != "ai-edge-quantizer" or precision != "fp32":
            yield peer, case.model
    if case.name == "resnet8":
        yield REFERENCE, mlperf_resnet8(case.model)


def compare(case: Case, precision: str, folder: Path, runs: int) -> Iterator[dict[str, Any]]:
    """One row a peer."""
    expected = case.model.predict(case.samples, verbose=0)
    stem = f"{case.name}-{precision}".replace(" ", "-")
    try:
        exported = export_model(
            case.model,
            folder / f"{stem}-kzoo.tflite",
            quantize=precision,  # type: ignore[arg-type]
            calibration=case.calibration if precision == "int8" else None,
            verification=(case.samples, case.labels),
            max_drop=1,
            classes=case.classes,
            description=f"{case.name} for {len(case.classes)} classes of digits",
        )
        ours, trouble = answers(case, exported.path, expected), ""
    except ExportError as error:
        ours, trouble = None, str(error)
    for peer, model in contenders(case, precision):
        file = folder / f"{stem}-{peer}.tflite"
        fails = convert_with_peer(case, model, "TFLiteConverter" if peer == REFERENCE else peer, precision, file)
        refuses = "" if fails else problem_running(file)
        theirs = None if fails or refuses else answers(case, file, expected)
        verdict = {"converts": fails or "yes", "runs": "no" if fails else refuses or "yes"}
        yield {
            "model": case.name,
            "precision": precision,
            "peer": peer,
            **verdict,
            **figures(ours, theirs, trouble, runs),
        }


def figures(ours: Answers | None, theirs: Answers | None, trouble: str, runs: int) -> dict[str, Any]:
    """Both files' figures; "worse" says in what kzoo's is."""
    empty = dict.fromkeys(("size, kzoo : peer", "gzipped, kzoo : peer", "latency, kzoo : peer"), "")
    row: dict[str, Any] = {
        "size, kzoo": ours.size if ours else trouble,
        **empty,
        "agreement, kzoo": round(ours.agreement, 4) if ours else "",
        "agreement, peer": round(theirs.agreement, 4) if theirs else "",
        "largest difference, kzoo": f"{ours.difference:.1e}" if ours else "",
        "largest difference, peer": f"{theirs.difference:.1e}" if theirs else "",
        "accuracy, kzoo": round(ours.accuracy, 4) if ours else "",
        "accuracy, peer": round(theirs.accuracy, 4) if theirs else "",
        "worse": "kzoo fails" if ours is None and theirs is not None else "",
    }
    if ours is None or theirs is None:
        return row
    latency = benchmark_many([theirs.path, ours.path], runs=runs)[1].ratio
    assert latency is not None
    larger = ours.size / theirs.size
    row["size, kzoo : peer"] = round(larger, 3)
    row["gzipped, kzoo : peer"] = round(ours.gzip_size / theirs.gzip_size, 3)
    row["latency, kzoo : peer"] = f"{latency.median:.3f} ({latency.low:.3f}–{latency.high:.3f})"
    reasons = {
        "size": larger > LARGER,
        "latency": latency.median > SLOWER and latency.low > 1,
        "agreement": ours.agreement < theirs.agreement,
    }
    row["worse"] = ", ".join(reason for reason, found in reasons.items() if found)
    return row


def main() -> int:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=KNOWN, default=KNOWN, help="the others' figures stay")
    parser.add_argument("--runs", type=int, default=300, help="timed runs of each file")
    parser.add_argument("--folder", type=Path, help="keeps runs and files; trained runs that are there are taken")
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        files = Path(tempfile.mkdtemp(dir=folder))
        for each in cases(chosen.models, folder):
            for precision in PRECISIONS:
                for row in compare(each, precision, files, chosen.runs):
                    print(row, flush=True)
                    rows.append(row)
    command = f"python -m bench.export_peers --runs {chosen.runs}"
    print(keep_results("export_peers", command, with_earlier("export_peers", rows, KNOWN)))
    worse = [row for row in rows if row["worse"]]
    for row in worse:
        print(f"kzoo is worse than {row['peer']} with {row['model']} in {row['precision']}: {row['worse']}")
    if not worse:
        print("kzoo is nowhere worse.")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
