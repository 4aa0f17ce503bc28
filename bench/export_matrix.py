"""Every model of the catalogue in every precision, trained on the digits: `python -m bench.export_matrix`.

Size of the file and accuracy of the Keras model and the file, on 538 digits that were not trained on.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np

import kzoo
from bench.machine import keep_results
from bench.small_runs import small_run
from kzoo.export import LiteModel, Quantization
from kzoo.models import CATALOG
from kzoo.run import Run
from kzoo.source import open_source

# What a row says after model, input and precision.
COLUMNS = (
    "size",
    "gzipped",
    "accuracy, Keras",
    "accuracy, file",
    "same answers",
    "largest difference",
    "XNNPACK partitions",
    "note",
)


def measure(run: Run, quantize: Quantization, file: Path) -> dict[str, Any]:
    """One row; a precision that cannot be had says why."""
    try:
        result = kzoo.export_model(run, file, quantize=quantize, max_drop=1)
    except kzoo.ExportError as error:
        return dict.fromkeys(COLUMNS, "") | {"note": str(error).split(":")[0]}
    source = open_source(run)
    data = source.dataset()
    samples = np.concatenate([split.load(np.arange(len(split))) for split in (data.val, data.test)])
    labels = np.concatenate([data.val.labels, data.test.labels])
    expected, received = source.predict(samples), LiteModel(file).predict(samples)
    return dict(
        zip(
            COLUMNS,
            (
                result.size,
                result.gzip_size,
                round(float((expected.argmax(-1) == labels).mean()), 4),
                round(float((received.argmax(-1) == labels).mean()), 4),
                round(float((received.argmax(-1) == expected.argmax(-1)).mean()), 4),
                f"{np.abs(received - expected).max():.1e}",
                result.xnnpack_partitions,
                "",
            ),
            strict=True,
        )
    )


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keeps the runs; those that are there are taken as they are")
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in (name for name, record in CATALOG.items() if record.classes):
            run = small_run(name, chosen.folder or Path(temporary))
            shape = "×".join(map(str, run.info.input.shape))
            for quantize in get_args(Quantization):
                file = Path(temporary) / f"{name}.{quantize}.tflite"
                row = {"model": name, "input": shape, "precision": quantize, **measure(run, quantize, file)}
                print(row, flush=True)
                rows.append(row)
    print(keep_results("export_matrix", "python -m bench.export_matrix", rows))


if __name__ == "__main__":
    main()
