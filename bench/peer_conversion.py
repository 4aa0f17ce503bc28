"""Convert a model as a user without kzoo would: `python -m bench.peer_conversion MODEL PEER PRECISION SAMPLES FILE`.

A process of its own, since some of these conversions abort theirs or never end.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

PEERS = ("model.export", "TFLiteConverter")


def quantisation(samples: np.ndarray) -> dict[str, Any]:
    """Settings of the converter for integers throughout, as TensorFlow's guide gives them."""

    def representative() -> Iterator[list[np.ndarray]]:
        for sample in samples:
            yield [sample[np.newaxis].astype(np.float32)]

    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": representative,
        "inference_input_type": tf.int8,
        "inference_output_type": tf.int8,
    }


def convert(model: keras.Model, peer: str, precision: str, samples: np.ndarray, file: Path) -> None:
    """Write the file."""
    settings = quantisation(samples) if precision == "int8" else {}
    integers = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if peer == "model.export":
        spec = {"target_spec": {"supported_ops": integers}} if settings else {}
        model.export(str(file), format="litert", verbose=False, **settings, **spec)
        return
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    if settings:
        converter.target_spec.supported_ops = integers
    file.write_bytes(converter.convert())


def main() -> None:
    """Read the arguments and convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("precision", choices=("fp32", "int8"))
    parser.add_argument("samples", type=Path)
    parser.add_argument("file", type=Path)
    chosen = parser.parse_args()
    model = keras.saving.load_model(chosen.model, compile=False)
    convert(model, chosen.peer, chosen.precision, np.load(chosen.samples), chosen.file)


if __name__ == "__main__":
    main()
