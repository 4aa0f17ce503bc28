"""The child process that fetches one of keras.datasets: `python _keras_download.py NAME FOLDER`.

It alone imports Keras and its backend. It leaves `x_train.npy`, `y_train.npy`, `x_test.npy` and `y_test.npy` in the
folder; when it fails, the last line of its standard error says why.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Without these a network that drops every packet takes minutes: each of a host's addresses is tried in turn.
CONNECT_SECONDS = 15.0
SILENCE_SECONDS = 20.0


def _fail(reason: str) -> None:
    sys.stderr.write(f"\n{' '.join(reason.split())}\n")
    sys.stderr.flush()
    os._exit(1)


def _within(seconds: float, connect: Callable[..., Any]) -> Callable[..., Any]:
    def limited(*arguments: Any, **keywords: Any) -> Any:
        timer = threading.Timer(seconds, _fail, (f"no connection to {arguments[0][0]} within {seconds:.0f} s",))
        timer.daemon = True
        timer.start()
        try:
            return connect(*arguments, **keywords)
        finally:
            timer.cancel()

    return limited


def main(name: str, folder: str) -> None:
    """Fetch a dataset and store its four arrays."""
    socket.setdefaulttimeout(SILENCE_SECONDS)
    socket.create_connection = _within(CONNECT_SECONDS, socket.create_connection)
    import keras
    import numpy as np

    train, test = getattr(keras.datasets, name).load_data()
    for split, (x, y) in {"train": train, "test": test}.items():
        np.save(Path(folder) / f"x_{split}.npy", x, allow_pickle=False)
        np.save(Path(folder) / f"y_{split}.npy", y, allow_pickle=False)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # whatever it is, the parent turns it into one line
        _fail(str(error) or type(error).__name__)
