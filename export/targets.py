"""Where a `.tflite` file may be meant to run, and which operators are taken there.

`operators.csv` has one line an operator. `since` lists the oldest TensorFlow Lite runtime for its versions 1, 2, 3, …,
`-` where a version never was released. The other columns are a target's: the highest version it takes, `*` for any, and
the types it takes it for, none for any; `@29` is the lowest Android API level. An empty cell: not taken there.

Of 313 files (one operator each, CNNs, LSTMs, GRUs, attention; float32, float16, dynamic, int8, int16) its word on
LiteRT 2.3.0, tflite-runtime 2.14.0 and tflite-micro 0.dev20261023182759 was what those did in 923 of 939 cases. Of the
16 others 12 are int16 files that it lets pass and a runtime refuses, 3 an untrained MobileNetV2 whose logits are all
but 0, at which tflite-micro gives up, and one a dynamic LSTM that tflite-micro opens all the same.

What the table does not say it leaves to the target: most limits on options (strides, axes, activations) are not in it.
Where sources disagree the stricter one is in it.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass

from kzoo.errors import UsageError, nearest

#: Operators whose values are not the first input: a condition, an axis or a shape comes before.
_DATA_INPUT = {"EMBEDDING_LOOKUP": 1, "FILL": 1, "SELECT": 1, "SELECT_V2": 1, "SPLIT": 1, "TRANSPOSE_CONV": 2}
_PLAIN_CUSTOM = frozenset({"TFLite_Detection_PostProcess", "Mfcc", "AudioSpectrogram", "NumericVerify"})


@dataclass(frozen=True, slots=True)
class Target:
    """A runtime, or a delegate that hands what it does not take back to the runtime.

    Attributes:
        name: as the command line calls it.
        release: what the table was taken from.
        sources: where its facts come from.
        is_delegate: whether what it does not take runs on the CPU instead.
        most_dimensions: of a tensor, None without a known limit.
        every_tensor: whether its types hold for all tensors that are computed, not only for the operator's values.
        custom: custom operators it has.
    """

    name: str
    release: str
    sources: tuple[str, ...]
    is_delegate: bool = False
    most_dimensions: int | None = None
    every_tensor: bool = False
    custom: frozenset[str] = frozenset()


_LITERT = "https://github.com/google-ai-edge/LiteRT/blob"
_TENSORFLOW = "https://github.com/tensorflow/tensorflow/blob"
_MICRO = "https://github.com/tensorflow/tflite-micro/blob/main"

#: The oldest runtime of each version: the table of the converter itself.
SINCE_SOURCE = f"{_LITERT}/05215c291e48a7c2fe164566cedd678b80e9eb8c/tflite/tools/versioning/runtime_version.cc"

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target(
            "litert",
            # Found by offering each version of each operator to the installed package.
            "ai-edge-litert 2.3.0",
            (f"{_LITERT}/main/tflite/core/kernels/register.cc", "https://pypi.org/project/ai-edge-litert/2.3.0/"),
            custom=_PLAIN_CUSTOM,
        ),
        Target(
            "tflite-runtime",
            # Found in the same way.
            "tflite-runtime 2.14.0",
            (
                f"{_TENSORFLOW}/v2.14.0/tensorflow/lite/core/kernels/register.cc",
                "https://pypi.org/project/tflite-runtime/2.14.0/",
            ),
            custom=_PLAIN_CUSTOM,
        ),
        Target(
            "tflm",
            # Types found by running one operator at a time; versions are not looked at there.
            "tflite-micro 0.dev20261023182759",
            (
                f"{_MICRO}/tensorflow/lite/micro/micro_mutable_op_resolver.h",
                f"{_MICRO}/python/tflite_micro/python_ops_resolver.cc",
                "https://pypi.org/project/tflite-micro/0.dev20261023182759/",
            ),
            custom=frozenset({"TFLite_Detection_PostProcess", "CIRCULAR_BUFFER", "ethos-u"}),
        ),
        Target(
            "nnapi",
            # The delegate's own checks, for Android 11 (API 30), the highest level that they know. Deprecated since
            # Android 15: https://developer.android.com/ndk/guides/neuralnetworks/migration-guide
            "the NNAPI delegate of TensorFlow 2.x, Android API 30",
            (f"{_TENSORFLOW}/master/tensorflow/lite/delegates/nnapi/nnapi_delegate.cc",),
            is_delegate=True,
            most_dimensions=4,
        ),
        Target(
            "gpu",
            # The delegate's parsers (versions, types, dimensions) and its checks of options; 8-bit operators allowed,
            # which is its default.
            "the GPU delegate of LiteRT",
            (
                f"{_LITERT}/34ec5badbbbfd4d2147d1362f299f58843f84dfc/tflite/delegates/gpu/common/model_builder.cc",
                f"{_LITERT}/007226f498a6fa5204b1127a59d647857a09ceaf/tflite/tools/versioning/gpu_compatibility.cc",
            ),
            is_delegate=True,
            most_dimensions=4,
            every_tensor=True,
        ),
    )
}

#: Not a target but what every LiteRT runs by itself. Found by looking which operators it takes over (x86-64).
XNNPACK = Target(
    "xnnpack",
    "the XNNPACK delegate of ai-edge-litert 2.3.0",
    (f"{_LITERT}/3a653aa83cbb60902ff8a547bd619c83bf90d678/tflite/delegates/xnnpack/README.md",),
    is_delegate=True,
)


@dataclass(frozen=True, slots=True)
class Support:
    """How far a target takes an operator: highest version (None: any), types (empty: any), lowest Android API level."""

    version: int | None
    types: frozenset[str]
    api: int | None


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in TARGETS:
        raise UsageError(f"Expected a target. Received: {name!r}. {nearest(name, TARGETS)}")
    return TARGETS[name]


def support(target: Target, operator: str) -> Support | None:
    """How far a target takes a builtin operator, None where not at all."""
    return _table()[1][target.name].get(operator)


def runtime_since(operator: str, version: int) -> str | None:
    """The oldest TensorFlow Lite runtime with a version of an operator, None where none is known."""
    versions = _table()[0].get(operator, ())
    found = versions[version - 1] if 0 < version <= len(versions) else "-"
    return None if found == "-" else found


def data_input(operator: str) -> int:
    """Which input of an operator holds the values it computes with."""
    return _DATA_INPUT.get(operator, 0)


@functools.cache
def _table() -> tuple[dict[str, tuple[str, ...]], dict[str, dict[str, Support]]]:
    text = (importlib.resources.files(__package__) / "operators.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    since = {row["operator"]: tuple(row["since"].split()) for row in rows}
    names = (*TARGETS, XNNPACK.name)
    return since, {name: {row["operator"]: _support(row[name]) for row in rows if row[name]} for name in names}


def _support(cell: str) -> Support:
    limit, *types = cell.split()
    version, _, api = limit.partition("@")
    return Support(None if version == "*" else int(version), frozenset(types), int(api) if api else None)
