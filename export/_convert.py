"""From a bridged tf_keras model to the bytes of a `.tflite` file. Runs in the child process."""

from __future__ import annotations

import keyword
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.lite.python import schema_py_generated as schema

# The one way to name tensors that stay in float; tf.lite.experimental.QuantizationDebugger calls it too, but gives
# files with float inputs and outputs only.
from tensorflow.lite.python.convert import mlir_quantize

from kzoo.errors import ExportError

from ._compact import compact
from ._dynamic import quantise_small_kernels, unpack_depthwise_kernels
from .graph import MODEL_NAME, Graph
from .precision import Precision
from .ranges import Ranges, settle_ranges
from .tensor_names import layers_in_name
from .tflite_file import read_tflite

_SIGNATURE = "serving_default"
_NOT_IN_16_BITS = re.compile(r"not yet supported for op: '(\w+)'")


def convert(
    model: tf_keras.Model,
    graph: Graph,
    precision: Precision,
    calibration: Mapping[str, np.ndarray],
    ranges: Ranges | None = None,
) -> tuple[bytes, list[str], list[str]]:
    """Convert a model of batch 1.

    Args:
        model: what `build_bridge` gave.
        graph: the graph it was built from; its names become the signature's.
        precision: the numbers of the file.
        calibration: real samples by input name, where `precision.needs_calibration`.
        ranges: of layers' outputs that training has settled, for int8; see `settle_ranges`.

    Returns:
        The file's bytes, and the signature names of inputs and outputs in the model's order.
    """
    inputs = _identifiers(each.name for each in graph.inputs)
    outputs = _identifiers(name for name, _ in graph.outputs)
    arrays = (
        {name: calibration[each.name] for name, each in zip(inputs, graph.inputs, strict=True)} if calibration else {}
    )
    dtypes = {name: each.dtype for name, each in zip(inputs, model.inputs, strict=True)}
    module = tf.Module()
    # Not the model itself: with it every layer would be traced and saved on its own, which takes seven times
    # as long for a MobileNetV2.
    module.kept = model.variables
    module.serve = _serving_function(model, inputs, outputs)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={_SIGNATURE: module.serve})

        def converter(*, with_floats: bool) -> tf.lite.TFLiteConverter:
            made = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[_SIGNATURE])
            _set_precision(made, precision, arrays, dtypes, with_floats)
            return made

        return _rewritten(_in_precision(converter, precision, ranges or {}), precision), inputs, outputs


def _rewritten(content: bytes, precision: Precision) -> bytes:
    """The converter's file in a form that is smaller, and faster where that can be."""
    # The schema is the converter's own, so that no field of its file is unknown.
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    if any(buffer.offset > 1 for buffer in model.buffers):
        return content  # a file of more than 2 GiB, which keeps its weights behind the FlatBuffer
    if precision.quantize == "dynamic":
        if precision.per_tensor != "all":
            quantise_small_kernels(model)
        unpack_depthwise_kernels(model)
    return compact(model)


def _in_precision(converter: Callable[..., tf.lite.TFLiteConverter], precision: Precision, ranges: Ranges) -> bytes:
    if precision.keep_float or ranges:
        return _in_two_steps(converter(with_floats=bool(precision.keep_float)), precision, ranges)
    try:
        return _converted(converter(with_floats=False).convert)
    except RuntimeError as error:
        # Kernels for 16 bits exist for some operators only. The others stay in float, and the file says which.
        if precision.quantize != "int16x8" or not _NOT_IN_16_BITS.search(str(error)):
            raise
        return _converted(converter(with_floats=True).convert)


def _set_precision(
    converter: tf.lite.TFLiteConverter,
    precision: Precision,
    arrays: Mapping[str, np.ndarray],
    dtypes: Mapping[str, tf.DType],
    with_floats: bool,
) -> None:
    if precision.quantize == "fp32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel = precision.per_tensor == "all"
    converter._experimental_disable_per_channel_quantization_for_dense_layers = precision.per_tensor != "none"
    if precision.quantize == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if precision.needs_calibration:
        sets = tf.lite.OpsSet
        integers = {
            "int8": sets.TFLITE_BUILTINS_INT8,
            "int16x8": sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        }[precision.quantize]
        converter.target_spec.supported_ops = [integers, sets.TFLITE_BUILTINS] if with_floats else [integers]
        converter.representative_dataset = _one_by_one(arrays, dtypes)
        converter.inference_output_type = tf.as_dtype(precision.io_type)
        if any(dtype.is_floating for dtype in dtypes.values()):  # token ids stay the integers they are
            converter.inference_input_type = tf.as_dtype(precision.io_type)


def _one_by_one(
    arrays: Mapping[str, np.ndarray], dtypes: Mapping[str, tf.DType]
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    def samples() -> Iterator[dict[str, np.ndarray]]:
        for number in range(len(next(iter(arrays.values())))):
            yield {
                name: array[number : number + 1].astype(dtypes[name].as_numpy_dtype) for name, array in arrays.items()
            }

    return samples


def _in_two_steps(converter: tf.lite.TFLiteConverter, precision: Precision, ranges: Ranges) -> bytes:
    """Measure the ranges first and take those that are settled, then quantise all but the layers that stay in float."""
    converter._experimental_calibrate_only = True
    calibrated = settle_ranges(_converted(converter.convert), ranges)
    types = [getattr(converter, f"inference_{side}_type") for side in ("input", "output")]
    return bytes(
        mlir_quantize(
            calibrated,
            disable_per_channel=precision.per_tensor == "all",
            disable_per_channel_for_dense_layers=precision.per_tensor != "none",
            input_data_type=types[0],
            output_data_type=types[1],
            denylisted_nodes=_tensors_of(calibrated, precision.keep_float),
        )
    )


def _tensors_of(content: bytes, layers: Sequence[str]) -> list[str]:
    """Names of the tensors that operators of these layers write. A fused operator bears the names of all its layers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        file = read_tflite(path)
    names = [file.tensors[index].name for operator in file.operators for index in operator.outputs]
    return [name for name in names if not set(layers).isdisjoint(layers_in_name(name))]


def _converted(convert: Callable[[], bytes]) -> bytes:
    """Convert; an operator that TensorFlow Lite does not have is an error that names it and its layer."""
    try:
        return bytes(convert())
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


def _identifiers(names: Iterable[str]) -> list[str]:
    """Names a signature can bear: those of Python's arguments, each once."""
    taken: list[str] = []
    for name in names:
        identifier = re.sub(r"\W|^(?=\d)", "_", name)
        while identifier in taken or keyword.iskeyword(identifier):
            identifier += "_"
        taken.append(identifier)
    return taken
