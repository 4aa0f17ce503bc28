"""What compression costs and saves on real data: `python -m bench.compression [NAME…] [--methods METHOD,…]`.

The parents are trainings of `bench.accuracy`; the small ones are kept in `bench/parents`. Each version is `kzoo
compress`, then `kzoo export` with its gate open, and is measured on its exported file: accuracy on the test split,
bytes, zeros and values counted in the file, time side by side with the float file. What has lost half of its filters
learns for longer, and from the parent's answers as well. Runs lie under `runs/compression`; what is done there is
measured only. Rows of other methods of the same parent stay as they were; those of an earlier training of it stay until
all of their methods have been measured of this one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.accuracy import RUNS as PARENTS
from bench.accuracy import TRAININGS, measure
from bench.machine import describe_machine, keep_results, with_earlier
from bench.parents import name_weights
from kzoo.compression import search
from kzoo.compression.search import METHODS
from kzoo.evaluation.tradeoffs import Version
from kzoo.export import pack_gzip
from kzoo.run import Run

RUNS = PARENTS.parent / "compression"
#: Epochs of fine-tuning for each method, by parent.
EPOCHS = {"resnet8.cifar10": 6, "mobilenet_v2.cifar10": 2, "ds_cnn.fsdd": 8, "lstm.fsdd": 8, "bilstm.fsdd": 8}
_CONVOLUTIONAL = (
    "dense",
    "prune50",
    "cluster16",
    "filters50",
    "int8",
    "int8-per-tensor",
    "qat",
    "qat-per-tensor",
    "prune50-qat",
    "prune50-cluster64-qat",
    "cluster16-qat",
    "prune50-cluster16-qat",
    "filters50-qat",
)
#: Of those that have the parent as a teacher.
_FILTER_EPOCHS = {"filters50": 40, "filters50-qat": 12}
#: In place of those: kzoo's default, a third of the parent's epochs; where filters are gone, as many as the parent had,
#: as learning-rate rewinding has it (arXiv 2003.02389).
_OWN_EPOCHS = {
    "resnet8.cifar10": {"cluster16": 40, "filters50": 120},
    "mobilenet_v2.cifar10": {"prune50-cluster64-qat": 4, "filters50": 12, "filters50-qat": 4},
}
_RECURRENT = ("dense", "prune50", "cluster16", "int8")


def rows_of(name: str, methods: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Train, or go on with it, and measure the versions of a parent: those of some methods, or all."""
    training = next(each for each in TRAININGS if each.name == name)
    measure(training, keep=True)
    methods = methods or (_RECURRENT if "lstm" in name else _CONVOLUTIONAL)
    chosen = {"split": "test", "out": RUNS / name}
    for method, epochs in {**_FILTER_EPOCHS, **_OWN_EPOCHS.get(name, {})}.items():
        if method in methods:
            teachers = [PARENTS / name] if method in _FILTER_EPOCHS else []
            search(PARENTS / name, methods=[method], epochs=epochs, distill=teachers, **chosen)
    found = search(PARENTS / name, methods=methods, epochs=EPOCHS[name], **chosen)
    dense = found.versions[0]
    return [_row(name, version, dense, found.versions) for version in found.versions]


def _row(parent: str, version: Version, dense: Version, versions: tuple[Version, ...]) -> dict[str, Any]:
    # A float file beside the float file, an int8 file beside the int8 file.
    plain = next(each for each in versions if each.quantize == version.quantize)
    low, high = version.interval
    tuned = Run(version.run).recipe if version.minutes else None
    return {
        "model": parent,
        "parent": name_weights(PARENTS / parent),
        "version": version.name,
        "file": version.quantize,
        "epochs": tuned.epochs if tuned else 0,
        "teacher": "parent" if tuned and tuned.distillation else "",
        "test": round(version.accuracy, 4),
        "95 % interval": f"{low:.4f} to {high:.4f}",
        "points": round(100 * (version.accuracy - dense.accuracy), 2),
        "bytes": version.size,
        "gzipped": version.gzip_size,
        "--gzip": len(pack_gzip(Path(version.file).read_bytes())),
        "smaller": f"{plain.gzip_size / version.gzip_size:.2f}×",
        "zeros": f"{100 * version.sparsity:.1f} %",
        "values": version.unique,
        "million MACs": round(version.macs / 1e6, 2),
        "processor": describe_machine()["processor"],
        "time": f"{version.latency_ratio:.2f}×",
        "minutes": round(version.minutes, 1),
    }


def with_earlier_parents(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows, all of one parent, among those of before: models as in `EPOCHS`, versions as in `METHODS`."""
    model, parent = rows[0]["model"], rows[0]["parent"]
    merged = with_earlier("compression", rows, list(EPOCHS), ("model", "parent", "version"))
    merged = [row for row in merged if row["version"] in METHODS]
    measured = {row["version"] for row in merged if (row["model"], row["parent"]) == (model, parent)}
    older = [row for row in merged if row["model"] == model and row["parent"] != parent]
    if {row["version"] for row in older} <= measured:
        merged = [row for row in merged if row not in older]
    models, methods = list(EPOCHS), list(METHODS)
    return sorted(merged, key=lambda row: (models.index(row["model"]), row["parent"], methods.index(row["version"])))


def main() -> None:
    """Measure what was asked for and keep the table after each parent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"Of {', '.join(EPOCHS)}. Default: all.")
    parser.add_argument("--methods", type=lambda text: text.split(","), help="Of kzoo.compression.search.METHODS.")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(EPOCHS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for name in EPOCHS:
        if not chosen.names or name in chosen.names:
            rows = with_earlier_parents(rows_of(name, chosen.methods))
            print(keep_results("compression", "python -m bench.compression", rows), flush=True)


if __name__ == "__main__":
    main()
