"""Where a training step's time goes, kzoo beside its fastest peers: `python -m bench.training_profile [MODEL…]`.

Each of kzoo, tf_keras and PyTorch trains in the precision and memory format in which `bench.training_step` found it
fastest, one after the other, in a process of its own, under its framework's profiler. The operators' times are added up
by kind. Two operators may run at once, so a step may take less than their sum. PyTorch is looked for as there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.machine import RESULTS, keep_results, with_earlier
from bench.training_models import NAMES
from bench.training_peer import FRAMEWORKS, Steps
from bench.training_step import Contender, contenders

STEPS = 20
PROFILED = ("kzoo", "tf_keras", "torch")
#: The first pattern that is found in an operator's type, TensorFlow's or PyTorch's, decides.
KINDS = {
    "convolutions, gradients": r"Conv\w*Backprop|convolution_backward",
    "convolutions": r"(?i)conv",
    "batch normalisation": r"(?i)batch_?norm",
    "recurrent kernel, gradients": r"LSTM\w*Grad|rnn_layer_backward",
    "recurrent kernel": r"LSTM|rnn_layer",
    "matrix products": r"(?i)matmul|einsum|::(add|b)?mm$",
    "copies, casts": r"(?i)cast|cop(y|ies)|transpose|concat|::cat|split|slice|pack|unbind|stack|fill|zero|reorder",
    "the rest: element by element, sums, optimiser": r"",
}


def fastest(model: str) -> list[Contender]:
    """The fastest contender of each framework, by the kept results of `bench.training_step`."""
    rows = json.loads((RESULTS / "training_step.json").read_text())["rows"]
    rates = {row["contender"]: row["samples/s"] for row in rows if row["model"] == model}
    return [
        max((each for each in contenders(model) if each.framework == framework), key=lambda each: rates[each.title])
        for framework in PROFILED
    ]


def by_kind(times: Mapping[str, float]) -> dict[str, float]:
    """Add times by operator up by kind."""
    sums: Counter[str] = Counter()
    for operator, time in times.items():
        sums[next(kind for kind, pattern in KINDS.items() if re.search(pattern, operator))] += time
    return dict(sums)


def tensorflow_times(steps: Steps) -> tuple[list[float], dict[str, float]]:
    """Seconds of each step, and milliseconds by operator type of all of them."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    times: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            seconds = steps(STEPS)
        (file,) = Path(folder).rglob("*.xplane.pb")
        (plane,) = (each for each in XSpace.FromString(file.read_bytes()).planes if each.name == "/host:CPU")
        for event in (event for line in plane.lines for event in line.events):
            operator = re.fullmatch(r"[^: ]+:(\w+)", plane.event_metadata[event.metadata_id].name)
            if operator and "Iterator" not in operator[1]:
                times[operator[1]] += event.duration_ps / 1e9
    return seconds, times


def torch_times(steps: Steps) -> tuple[list[float], dict[str, float]]:
    """The same for PyTorch."""
    import torch

    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        seconds = steps(STEPS)
    return seconds, {each.key: each.self_cpu_time_total / 1000 for each in profile.key_averages()}


def profile_one(framework: str, variant: str, model: str) -> dict[str, Any]:
    """Profile in this process: milliseconds of a step as it is, and of its kinds of operators."""
    _, steps = FRAMEWORKS[framework](variant, model)
    steps(3)
    plain = statistics.median(steps(STEPS))
    seconds, times = (torch_times if framework == "torch" else tensorflow_times)(steps)
    # One batch more than the differences between their ends.
    batches = len(seconds) if framework == "torch" else len(seconds) + 1
    return {"step": 1000 * plain, **{kind: time / batches for kind, time in by_kind(times).items()}}


def rows_of(model: str) -> list[dict[str, Any]]:
    """Rows of one model's table."""
    chosen = fastest(model)
    found: dict[str, dict[str, float]] = {}
    for each in chosen:
        command = [sys.executable, "-m", "bench.training_profile", "--one", each.framework, each.variant, model]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
        found[each.label] = json.loads(done.stdout.splitlines()[-1])
    variants = {each.label: each.variant.removeprefix("mixed_") for each in chosen}
    rows = [{"model": model, "ms of a step": "computed in", **variants}]
    for kind in ("step", *KINDS):
        if any(times.get(kind) for times in found.values()):
            cells = {label: round(times.get(kind, 0.0), 2) for label, times in found.items()}
            rows.append({"model": model, "ms of a step": kind, **cells})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Profile, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "models", nargs="*", default=NAMES, metavar="MODEL", help=f"{', '.join(NAMES)}; others' rows stay"
    )
    parser.add_argument("--one", nargs=3, metavar=("FRAMEWORK", "VARIANT", "MODEL"), help="in this process, as JSON")
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(profile_one(*chosen.one)))
        return
    rows = [row for model in chosen.models for row in rows_of(model)]
    whole = with_earlier("training_profile", rows, NAMES)
    print(keep_results("training_profile", "python -m bench.training_profile", whole))


if __name__ == "__main__":
    main()
