"""Every name of the catalogue as a float and as an int8 file: `python -m bench.conversions [NAME…]`.

The models are not trained: what is looked at is whether they convert to builtin operators and run as the Keras model
does (float files within 1e-4), their size, what is left in float and how many XNNPACK partitions they make. Images are
digits enlarged to 32 pixels in three channels, or to what the network needs; sequences are digits row by row; tokens
and users and items follow a seed. Trained models in every precision are in `bench.export_matrix`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

import kzoo
from bench.machine import keep_results, with_earlier
from kzoo.data import open_dataset
from kzoo.models import CATALOG, ModelRecord, create_model

PRECISIONS = ("fp32", "int8")
SIDES = {"alexnet": 64, "mobilevit_xxs": 64, "inception_v3": 75}
SAMPLES = 64
VOCABULARY = 500
USERS = 900


def samples(record: ModelRecord) -> np.ndarray:
    """Real digits, or tokens, as a model of this kind takes them."""
    rng = np.random.default_rng(0)
    if record.task == "recommendation":
        return rng.integers(1, USERS, (SAMPLES, 1)).astype(np.int32)
    kind = "image" if record.task == "image" else "sequence"
    split = open_dataset("digits", kind=kind).train
    values = split.load(np.arange(SAMPLES))
    if record.task == "image":
        side = SIDES.get(record.name, 32)
        enlarged = [np.asarray(Image.fromarray(image[..., 0]).resize((side, side))) for image in values]
        return np.repeat(np.stack(enlarged)[..., None], 3, axis=-1).astype(np.float32)
    if record.task == "text":
        tokens = rng.integers(1, VOCABULARY, (SAMPLES, 16))
        tokens[np.arange(16) >= rng.integers(4, 17, (SAMPLES, 1))] = 0
        return tokens.astype(np.int32)
    # Sixteen steps: a network may halve their number several times.
    return np.repeat(values, 2, axis=1).astype(np.float32)


def build(record: ModelRecord, x: np.ndarray) -> keras.Model:
    """The model for these samples, with statistics of them where it has a normalisation."""
    arguments: dict[str, Any] = {"input_shape": x.shape[1:]}
    if record.classes is not None:
        arguments["classes"] = 10
    if record.task == "text":
        arguments["vocabulary_size"] = VOCABULARY
    model = create_model(record.name, **arguments)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt(x)
    return model


def measure(record: ModelRecord, folder: Path) -> dict[str, Any]:
    """One row."""
    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    x = samples(record)
    model = build(record, x)
    row: dict[str, Any] = {"model": record.name, "input": "×".join(map(str, x.shape[1:]))}
    names = [tensor.name for tensor in model.inputs]
    data = x if len(names) == 1 else dict(zip(names, (x, x[::-1].copy()), strict=True))
    for precision in PRECISIONS:
        file = folder / f"{record.name}.{precision}.tflite"
        try:
            result = kzoo.export_model(model, file, quantize=precision, data=data, max_drop=1)
        except kzoo.ExportError as error:
            row |= {f"{precision}, bytes": str(error).split(". ")[0], f"{precision}, partitions": ""}
            continue
        row |= {f"{precision}, bytes": result.size, f"{precision}, partitions": result.xnnpack_partitions}
        if precision == "fp32":
            row["largest difference"] = f"{result.parity.max_difference:.1e}"
        else:
            row["in float"] = ", ".join(map(str, result.float_operators))
    return {column: row.get(column, "") for column in COLUMNS}


COLUMNS = (
    "model",
    "input",
    *(f"{precision}, {what}" for precision in PRECISIONS for what in ("bytes", "partitions")),
    "largest difference",
    "in float",
)


def main() -> None:
    """Measure, print each row, and keep the table; rows of other names stay where nothing was updated since."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="Of the catalogue. Default: all.")
    chosen = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for record in CATALOG.values():
            if not chosen.names or record.name in chosen.names:
                rows.append(measure(record, Path(folder)))
                print(rows[-1], flush=True)
    whole = with_earlier("conversions", rows, list(CATALOG))
    print(keep_results("conversions", "python -m bench.conversions", whole))


if __name__ == "__main__":
    main()
