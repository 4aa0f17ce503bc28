"""Run one file in a process of its own: `python -m kzoo.export._trial FILE RUNTIME`. See `trial.py`."""

from __future__ import annotations

import json
import sys

import numpy as np

from .runtime import load_runtime


def main(path: str, runtime: str) -> None:
    """Write the nodes as JSON once the tensors are allocated, and a second line once the file has run."""
    interpreter = load_runtime(runtime)(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    if hasattr(interpreter, "_get_ops_details"):
        nodes = [
            (node["op_name"], list(map(int, node["inputs"])), list(map(int, node["outputs"])))
            for node in interpreter._get_ops_details()
        ]
        sys.stdout.write(json.dumps(nodes) + "\n")
    else:
        sys.stdout.write("null\n")
    sys.stdout.flush()
    for details in interpreter.get_input_details():
        if np.dtype(details["dtype"]).kind in "biufc":
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    interpreter.invoke()
    sys.stdout.write('"ran"\n')


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except (ValueError, RuntimeError) as error:
        sys.stderr.write(f"\n{' '.join(str(error).split())}\n")
        sys.exit(1)
