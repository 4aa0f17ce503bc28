"""From a bridged tf_keras model to the bytes of a `.tflite` file. Runs in the child process."""

from __future__ import annotations

import keyword
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from kzoo.errors import ExportError

from .bridge import MODEL_NAME
from .graph import Graph

_SIGNATURE = "serving_default"


def convert(
    model: tf_keras.Model, graph: Graph, quantize: str, calibration: Mapping[str, np.ndarray]
) -> tuple[bytes, list[str], list[str]]:
    """Convert a model of batch 1.

    Args:
        model: what `build_bridge` gave.
        graph: the graph it was built from; its names become the signature's.
        quantize: `"fp32"`, or `"int8"` for integers throughout, the inputs and outputs included.
        calibration: real samples by input name, for int8.

    Returns:
        The file's bytes, and the signature names of inputs and outputs in the model's order.
    """
    inputs = _identifiers(each.name for each in graph.inputs)
    outputs = _identifiers(name for name, _ in graph.outputs)
    module = tf.Module()
    # Not the model itself: with it every layer would be traced and saved on its own, which takes seven times
    # as long for a MobileNetV2.
    module.kept = model.variables
    module.serve = _serving_function(model, inputs, outputs)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={_SIGNATURE: module.serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[_SIGNATURE])
        if quantize == "int8":
            arrays = {name: calibration[each.name] for name, each in zip(inputs, graph.inputs, strict=True)}
            dtypes = {name: each.dtype for name, each in zip(inputs, model.inputs, strict=True)}
            _full_integer(converter, arrays, dtypes)
        return _converted(converter), inputs, outputs


def _converted(converter: tf.lite.TFLiteConverter) -> bytes:
    """Convert; an operator that TensorFlow Lite does not have is an error that names it and its layer."""
    try:
        return bytes(converter.convert())
    except Exception as error:
        text = str(error)
        missing = dict.fromkeys(re.findall(r"'(tf\.\w+)' op", text) + re.findall(r"error: '(\w+\.\w+)' op", text))
        # The converter's own class of errors is not public.
        if type(error).__name__ != "ConverterError" or not missing:
            raise
        layers = dict.fromkeys(re.findall(rf'"{MODEL_NAME}/([^/"]+)/', text))
        where = f" (from layer {', '.join(layers)})" if layers else ""
        raise ExportError(
            f"The model needs operators that a plain runtime does not have: {', '.join(missing)}{where}. "
            "Replace the layers they come from."
        ) from error


def _serving_function(
    model: tf_keras.Model, inputs: list[str], outputs: list[str]
) -> tf.types.experimental.GenericFunction:
    specs = [
        tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in zip(inputs, model.inputs, strict=True)
    ]

    def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        answers = model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)
        return dict(zip(outputs, answers if isinstance(answers, list) else [answers], strict=True))

    return tf.function(serve, input_signature=specs)


def _full_integer(
    converter: tf.lite.TFLiteConverter, arrays: Mapping[str, np.ndarray], dtypes: Mapping[str, tf.DType]
) -> None:
    def samples() -> Iterator[dict[str, np.ndarray]]:
        for number in range(len(next(iter(arrays.values())))):
            yield {
                name: array[number : number + 1].astype(dtypes[name].as_numpy_dtype) for name, array in arrays.items()
            }

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_output_type = tf.int8
    if any(dtype.is_floating for dtype in dtypes.values()):  # token ids stay the integers they are
        converter.inference_input_type = tf.int8


def _identifiers(names: Iterable[str]) -> list[str]:
    """Names a signature can bear: those of Python's arguments, each once."""
    taken: list[str] = []
    for name in names:
        identifier = re.sub(r"\W|^(?=\d)", "_", name)
        while identifier in taken or keyword.iskeyword(identifier):
            identifier += "_"
        taken.append(identifier)
    return taken
