"""Convert in a child process, so that a crash of the converter is an error here and TensorFlow stays out of here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.errors import ExportError

_COMMAND = (sys.executable, "-P", "-m", "kzoo.export._child")
_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONWARNINGS": "ignore",
}
#: Beginnings of lines on standard error that explain no failure.
_NOISE = (
    "WARNING",
    "INFO",
    "W0000",
    "I0000",
    "fully_quantize",
    "Fatal Python error",
    "Extension modules",
    "Current thread",
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What the child made.

    Attributes:
        content: the `.tflite` file.
        inputs: signature names of the inputs, in the order of the model's inputs.
        outputs: signature names of the outputs, in the order of the model's outputs.
        folded: layers whose scaling went into the weights of the next one.
        bridge_difference: largest relative difference between the Keras model and its tf_keras twin.
    """

    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    folded: tuple[str, ...]
    bridge_difference: float


def convert_in_child(
    model: Any,
    *,
    quantize: str,
    samples: Sequence[np.ndarray],
    calibration: Sequence[np.ndarray] = (),
    timeout: float = 600,
    command: Sequence[str] = _COMMAND,
) -> Conversion:
    """Convert a Keras model in a process of its own.

    Args:
        model: a functional or Sequential Keras model, on any backend.
        quantize: `"fp32"` or `"int8"`.
        samples: a few real samples, one array an input: both models must answer them alike.
        calibration: one array an input, for int8.
        timeout: seconds until the child is stopped.
        command: what to start; the request file is its last argument.

    Raises:
        ExportError: the conversion failed, crashed or took too long. Nothing is left behind.
    """
    with tempfile.TemporaryDirectory(prefix="kzoo-export-") as name:
        folder = Path(name)
        request = folder / "request.json"
        model.save(folder / "model.keras")
        for kind, arrays in (("sample", samples), ("calibration", calibration)):
            for number, array in enumerate(arrays):
                np.save(folder / f"{kind}-{number}.npy", array, allow_pickle=False)
        request.write_text(json.dumps({"quantize": quantize, "inputs": len(samples)}))
        _run([*command, str(request)], timeout, folder / "error.json")
        answer = json.loads((folder / "answer.json").read_text())
        return Conversion(
            content=(folder / "model.tflite").read_bytes(),
            inputs=tuple(answer["inputs"]),
            outputs=tuple(answer["outputs"]),
            folded=tuple(answer["folded"]),
            bridge_difference=answer["bridge_difference"],
        )


def _run(command: Sequence[str], timeout: float, error_file: Path) -> None:
    try:
        finished = subprocess.run(
            command, env=_environment(os.environ), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError(
            f"The conversion did not end within {timeout:g} s and was stopped. Allow more time or take a smaller model."
        ) from error
    if finished.returncode == 0:
        return
    if error_file.exists():
        raise ExportError(json.loads(error_file.read_text())["message"])
    how = f"exit status {finished.returncode}"
    if finished.returncode < 0:
        how = f"signal {_signal_name(-finished.returncode)}"
    reason = _last_line(finished.stderr.decode(errors="replace"))
    raise ExportError(f"The converter stopped with {how}{': ' + reason if reason else ''}. The model was not exported.")


def _environment(base: Mapping[str, str]) -> dict[str, str]:
    """The parent's environment with what the child needs; TF-MOT's switch to Keras 2 must not reach it."""
    return {key: value for key, value in base.items() if key != "TF_USE_LEGACY_KERAS"} | _ENVIRONMENT


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _last_line(text: str) -> str:
    """The last line that says something: an exception's own line where there is one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_NOISE) and not line.startswith("File ")]
    errors = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))]
    return (errors or lines or [""])[-1][:300].rstrip(".")
