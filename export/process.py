"""Convert in a child process, so that a crash of the converter is an error here and TensorFlow stays out of here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .child_process import ChildProcess
from .precision import Precision

_COMMAND = (sys.executable, "-P", "-m", "kzoo.export._starter")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the child made.

    Attributes:
        content: the `.tflite` file.
        inputs: signature names of the inputs, in the order of the model's inputs.
        outputs: signature names of the outputs, in the order of the model's outputs.
        folded: layers whose scaling went into the weights of the next one.
        bridge_difference: largest relative difference between the Keras model and its tf_keras twin.
        twin: the same model as a float32 file, where it was asked for.
    """

    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    folded: tuple[str, ...]
    bridge_difference: float
    twin: bytes | None = None


class Converter(ChildProcess):
    """A child process for one conversion, which begins at once to import TensorFlow.

    That takes more than a second: start it before the model and the data are read, and hand it to `convert_in_child`.

    Args:
        command: what to start; the request file is its last argument. It waits for a line on standard input.
    """

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        super().__init__(
            command,
            name="converter",
            work="conversion",
            outcome="The model was not exported.",
            environment={"TF_ENABLE_ONEDNN_OPTS": "0"},
        )


def convert_in_child(
    model: Any,
    *,
    precision: Precision,
    samples: Sequence[np.ndarray],
    calibration: Sequence[np.ndarray] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    twin: bool = False,
    packages: Sequence[str] = (),
    timeout: float = 600,
    memory_limit: int | None = None,
    converter: Converter | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Conversion:
    """Convert a Keras model in a process of its own.

    Args:
        model: a functional or Sequential Keras model, on any backend.
        precision: the numbers of the file.
        samples: a few real samples, one array an input: both models must answer them alike.
        calibration: one array an input, where the precision needs it.
        ranges: what the outputs of layers lie between, by layer in the graph's order, where training has settled it;
            for int8, in place of what calibration finds.
        twin: make the float32 file as well.
        packages: whose layers the model has beside Keras's own, see `Graph.packages`.
        timeout: seconds until the child is stopped.
        memory_limit: bytes of memory at which the child is stopped. None: all but a tenth of the machine's. Held where
            the system tells a process's memory under /proc.
        converter: the process, started ahead. It is spent afterwards. Default: one that is started now.
        meanwhile: what to do here while the child works.

    Raises:
        ExportError: the conversion failed, crashed, took too long or too much memory. Nothing is left behind.
    """
    with converter or Converter() as child:
        folder = child.folder
        model.save(folder / "model.keras")
        for kind, arrays in (("sample", samples), ("calibration", calibration)):
            for number, array in enumerate(arrays):
                np.save(folder / f"{kind}-{number}.npy", array, allow_pickle=False)
        asked = {"precision": precision.to_json(), "inputs": len(samples), "twin": twin, "packages": list(packages)}
        asked["ranges"] = {name: list(pair) for name, pair in (ranges or {}).items()}
        child.request.write_text(json.dumps(asked))
        child.run(meanwhile, timeout, memory_limit)
        answer = json.loads((folder / "answer.json").read_text())
        return Conversion(
            content=(folder / "model.tflite").read_bytes(),
            inputs=tuple(answer["inputs"]),
            outputs=tuple(answer["outputs"]),
            folded=tuple(answer["folded"]),
            bridge_difference=answer["bridge_difference"],
            twin=(folder / "twin.tflite").read_bytes() if twin else None,
        )
