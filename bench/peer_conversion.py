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

PEERS = ("model.export", "TFLiteConverter", "ai-edge-quantizer")


def quantisation(precision: str, samples: np.ndarray) -> dict[str, Any]:
    """Settings of the converter, as TensorFlow's guide gives them."""
    if precision == "fp32":
        return {}
    if precision == "dynamic":
        return {"optimizations": [tf.lite.Optimize.DEFAULT]}

    def representative() -> Iterator[list[np.ndarray]]:
        for sample in samples:
            yield [sample[np.newaxis].astype(np.float32)]

    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": representative,
        "inference_input_type": tf.int8,
        "inference_output_type": tf.int8,
    }


def quantised(content: bytes, precision: str, samples: np.ndarray) -> bytes:
    """A float file through ai-edge-quantizer's recipe, inputs and outputs as that leaves them."""
    # Not a dependency: `pip install --no-deps --target FOLDER ai-edge-quantizer immutabledict`, FOLDER on PYTHONPATH.
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    chosen = recipe.dynamic_wi8_afp32() if precision == "dynamic" else recipe.static_wi8_ai8()
    made = quantizer.Quantizer(content, chosen)
    signatures = Interpreter(model_content=content).get_signature_list()
    (name,) = signatures
    (given,) = signatures[name]["inputs"]
    ranges = None
    if made.need_calibration:
        ranges = made.calibrate({name: [{given: sample[np.newaxis].astype(np.float32)} for sample in samples]})
    return bytes(made.quantize(ranges).quantized_model)


def convert(model: keras.Model, peer: str, precision: str, samples: np.ndarray, file: Path) -> None:
    """Write the file."""
    if peer == "ai-edge-quantizer":
        content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
        file.write_bytes(quantised(content, precision, samples))
        return
    settings = quantisation(precision, samples)
    integers = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if peer == "model.export":
        spec = {"target_spec": {"supported_ops": integers}} if precision == "int8" else {}
        model.export(str(file), format="litert", verbose=False, **settings, **spec)
        return
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    if precision == "int8":
        converter.target_spec.supported_ops = integers
    file.write_bytes(converter.convert())


def main() -> None:
    """Read the arguments and convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("precision", choices=("fp32", "dynamic", "int8"))
    parser.add_argument("samples", type=Path)
    parser.add_argument("file", type=Path)
    chosen = parser.parse_args()
    model = keras.saving.load_model(chosen.model, compile=False)
    convert(model, chosen.peer, chosen.precision, np.load(chosen.samples), chosen.file)


if __name__ == "__main__":
    main()
