"""What the child process does, which `_starter.py` starts. See `process.py`."""

from __future__ import annotations

import functools
import importlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.errors import ExportError, KzooError
from kzoo.export.compression.batch_norm import fold_batch_norm
from kzoo.export.compression.equalisation import equalise

from ._convert import convert
from .bridge import build_bridge, check_bridge
from .float_model import as_float32
from .folding import fold_input_scaling
from .graph import Graph, read_graph
from .precision import Precision
from .ranges import Ranges
from .runtime import LiteModel


def main(request: Path) -> int:
    """Convert what the request names; answers and errors lie beside it as JSON."""
    try:
        answer = _answer(request.parent, **json.loads(request.read_text()))
    except KzooError as error:
        (request.parent / "error.json").write_text(json.dumps({"message": str(error)}))
        return error.exit_status
    (request.parent / "answer.json").write_text(json.dumps(answer))
    return 0


def _answer(
    folder: Path, precision: dict[str, Any], inputs: int, twin: bool, packages: list[str], ranges: Ranges
) -> dict[str, object]:
    def now(stage: str) -> None:
        """Leave word for the parent, should this process not live to tell."""
        (folder / "stage").write_text(stage)

    wanted = Precision(**precision)
    now("reading the model")
    for package in packages:
        importlib.import_module(package)  # Keras knows its layers from then on
    model = as_float32(keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True))
    graph = read_graph(model)
    now("rebuilding the model")
    folded = fold_input_scaling(graph, scalars_only=wanted.needs_calibration)
    # The loop of a GRU neither survives full-integer quantisation, where the calibrator ends the process
    # (https://github.com/tensorflow/tensorflow/issues/75140), nor gets its weights quantised in any other way.
    rebuilt = functools.partial(
        build_bridge, graph, unroll=wanted.quantize != "fp32", integers=wanted.needs_calibration
    )
    bridged = rebuilt()
    samples = _load(folder, "sample", inputs, graph)
    difference = check_bridge(model, graph, bridged, _with_random(samples))
    # What was trained for integers has its ranges and was equalised before; what is kept in float may be named after a
    # normalisation.
    if wanted.per_tensor == "all" and not ranges and not wanted.keep_float:
        equalise(graph, fold_batch_norm(graph))
        bridged = rebuilt()
    now("converting the model")
    calibration = _load(folder, "calibration", inputs, graph) if wanted.needs_calibration else {}
    content, input_names, output_names = convert(bridged, graph, wanted, calibration, ranges)
    path = folder / "model.tflite"
    path.write_bytes(content)
    if twin:
        (folder / "twin.tflite").write_bytes(convert(bridged, graph, Precision(), {})[0])
    now("running the converted file for the first time")
    # Once here: a file that kills the runtime must not do so in the parent.
    try:
        lite = LiteModel(path)
        lite.predict({name: samples[each.name][:1] for name, each in zip(input_names, graph.inputs, strict=True)})
    except ExportError as error:
        reason = str(error).replace(str(path), "the file").rstrip(".")
        raise ExportError(
            f"The model was converted to {wanted.quantize}, but {reason}. Choose another precision."
        ) from error
    return {"inputs": input_names, "outputs": output_names, "folded": folded, "bridge_difference": difference}


def _load(folder: Path, kind: str, count: int, graph: Graph) -> dict[str, np.ndarray]:
    arrays = [np.load(folder / f"{kind}-{number}.npy", allow_pickle=False, mmap_mode="r") for number in range(count)]
    return {each.name: array for each, array in zip(graph.inputs, arrays, strict=True)}


def _with_random(samples: dict[str, np.ndarray], count: int = 4) -> dict[str, np.ndarray]:
    """The samples and some noise over their range: real data may leave a part of the model untouched."""
    rng = np.random.default_rng(0)
    mixed = {}
    for name, array in samples.items():
        noise = rng.uniform(array.min(), array.max(), (count, *array.shape[1:])).astype(array.dtype)
        mixed[name] = np.concatenate([array, noise]).astype(np.float32)
    return mixed
