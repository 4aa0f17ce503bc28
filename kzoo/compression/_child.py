"""The child process of compression: `python -m kzoo.compression._child REQUEST.json`. See `pipeline.py`."""

from __future__ import annotations

import atexit
import gc
import json
import sys
from pathlib import Path
from typing import Any

from kzoo.errors import KzooError

#: Answers to a request lie beside it.
ERROR, ANSWER, PROGRESS, RESULT = "error.json", "answer.json", "progress.jsonl", "result.keras"


class FileReporter:
    """Lines and passing statuses as JSON lines of a file, which the parent follows."""

    def __init__(self, file: Path, live: bool) -> None:
        self._stream = file.open("a", encoding="utf-8")
        self._live = live

    def line(self, text: str) -> None:
        """See `Reporter`."""
        self._say("line", text)

    def status(self, text: str) -> None:
        """See `Reporter`."""
        self._say("status", text)

    def wants_status(self) -> bool:
        """Whether anybody looks at passing statuses."""
        return self._live

    def _say(self, kind: str, text: str) -> None:
        self._stream.write(json.dumps([kind, text]) + "\n")
        self._stream.flush()


def answer(request: Path, run: str, model: str, epochs_before: int, live: bool, data: str | None) -> dict[str, Any]:
    """Do what a request asks.

    Args:
        request: The request file.
        run: The run directory that is being made; its recipe says what to do.
        model: A `.keras` file to begin with.
        epochs_before: Epochs that the run has trained already.
        live: Whether passing statuses are wanted.
        data: An `.npz` of `x` and `y` to train on; None: what the recipe names.
    """
    import dataclasses

    import numpy as np

    from kzoo.run import HISTORY, Run
    from kzoo.training.plan import Start, make_plan
    from kzoo.zoo import load_keras_file

    from .finetune import FineTuning
    from .stages import run_stages

    made = Run(run)
    info, recipe = made.info, made.recipe
    assert recipe.compression is not None
    start = Start(load_keras_file(model), info.arguments, info.input, info.classes)
    arrays = None
    if data is not None:
        with np.load(data, allow_pickle=False) as file:
            arrays = (file["x"], file["y"])
    plan = make_plan(recipe, arrays, start)
    reporter = FileReporter(request.parent / PROGRESS, live)
    stages = [name for name in recipe.compression.methods if name in ("prune", "cluster", "qat")]
    tuning = FineTuning(plan, made.path / HISTORY, reporter, first_epoch=epochs_before, stages=len(stages))
    outcome = run_stages(plan.model, recipe.compression, tuning, reporter)
    plan.model.save(request.parent / RESULT)
    return dataclasses.asdict(outcome)


def main(request: Path) -> int:
    """Answer a request; gives the exit status."""
    # Nothing comes of a parent that has gone.
    if not sys.stdin.readline():
        return 1
    try:
        content = answer(request, **json.loads(request.read_text()))
    except KzooError as error:
        (request.parent / ERROR).write_text(json.dumps({"message": str(error)}))
        return error.exit_status
    (request.parent / ANSWER).write_text(json.dumps(content))
    return 0


if __name__ == "__main__":
    # At its end Python would look through all of TensorFlow for garbage, for a second.
    atexit.register(gc.freeze)
    sys.exit(main(Path(sys.argv[1])))
