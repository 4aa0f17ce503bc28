"""The child process: its crashes are errors here, and TensorFlow stays out of here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest

from kzoo.errors import ExportError
from kzoo.export.precision import Precision
from kzoo.export.process import Converter, convert_in_child

SAMPLES = [np.ones((2, 4), np.float32)]


@pytest.fixture
def model() -> keras.Model:
    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(2, name="y")])


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of its own, so that what is left behind is seen."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "signal SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"signal SIGKILL \(out of memory, most likely\)"),
        (
            "import sys; sys.stderr.write('I0000 noise\\nloc: no room\\nWARNING: noise\\n'); sys.exit(3)",
            "3: loc: no room",
        ),
        ("raise ValueError('of this shape')", "exit status 1: ValueError: of this shape"),
        ("import sys; sys.exit(1)", "exit status 1. The model"),
    ],
)
def test_a_crash_is_one_clear_line(model: keras.Model, temporary: Path, code: str, message: str) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        convert_in_child(model, precision=Precision(), samples=SAMPLES, converter=Converter(python(code)))
    assert "\n" not in str(caught.value)
    assert not list(temporary.iterdir())


def test_a_child_that_hangs_is_stopped(model: keras.Model, temporary: Path) -> None:
    code = "import os, pathlib, sys, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"
    code = code.replace("'pid'", repr(str(temporary.parent / "pid")))
    with pytest.raises(ExportError, match="did not end within 3 s"):
        convert_in_child(model, precision=Precision(), samples=SAMPLES, converter=Converter(python(code)), timeout=3)
    assert not list(temporary.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(int((temporary.parent / "pid").read_text()), 0)


def test_a_child_that_takes_too_much_memory_is_stopped(model: keras.Model, temporary: Path) -> None:
    code = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).with_name("stage").write_text("converting the model")
held = bytearray(400_000_000)
held[::4096] = b"x" * len(held[::4096])
time.sleep(600)
"""
    with pytest.raises(ExportError, match=r"took 0\.\d GB of memory while converting the model, .* 0\.2 GB") as caught:
        convert_in_child(
            model,
            precision=Precision(),
            samples=SAMPLES,
            converter=Converter(python(code)),
            memory_limit=200_000_000,
            timeout=60,
        )
    assert "\n" not in str(caught.value)
    assert not list(temporary.iterdir())
    convert_in_child(model, precision=Precision(), samples=SAMPLES)


def test_a_child_that_was_started_ahead_and_is_not_needed_leaves_nothing(temporary: Path) -> None:
    with pytest.raises(ZeroDivisionError), Converter() as converter:
        assert converter.folder.parent == temporary
        1 / 0  # noqa: B018 - a failure before there is anything to convert
    assert not list(temporary.iterdir())


def test_memory_is_watched_while_something_else_is_done(model: keras.Model) -> None:
    code = "held = bytearray(400_000_000); held[::4096] = b'x' * len(held[::4096]); import time; time.sleep(600)"
    converter = Converter(python(code))
    ended: list[int] = []

    def meanwhile() -> None:
        ended.append(converter.process.wait(60))

    with pytest.raises(ExportError, match=r"took 0\.\d GB of memory"):
        convert_in_child(
            model,
            precision=Precision(),
            samples=SAMPLES,
            converter=converter,
            memory_limit=200_000_000,
            meanwhile=meanwhile,
        )
    assert ended == [-signal.SIGKILL]


def test_a_crash_says_what_was_being_done(model: keras.Model) -> None:
    """A real segmentation fault."""
    code = """
import ctypes, pathlib, sys
pathlib.Path(sys.argv[1]).with_name("stage").write_text("running the converted file")
ctypes.string_at(0)
"""
    with pytest.raises(ExportError, match="stopped with signal SIGSEGV while running the converted file"):
        convert_in_child(model, precision=Precision(), samples=SAMPLES, converter=Converter(python(code)))


def test_the_next_conversion_works_and_nothing_here_changes(model: keras.Model, temporary: Path) -> None:
    with pytest.raises(ExportError):
        convert_in_child(
            model, precision=Precision(), samples=SAMPLES, converter=Converter(python("import os; os.abort()"))
        )
    environment = dict(os.environ)
    conversion = convert_in_child(model, precision=Precision(), samples=SAMPLES)
    assert conversion.content[4:8] == b"TFL3"
    assert (conversion.inputs, conversion.outputs) == (("x",), ("y",))
    assert dict(os.environ) == environment
    assert not list(temporary.iterdir())


def test_an_error_of_the_child_arrives_in_its_own_words(temporary: Path) -> None:
    inputs = keras.Input((3, 8, 8))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, data_format="channels_first", name="conv")(inputs))
    with pytest.raises(ExportError, match=r"^Layer 'conv' \(Conv2D\) cannot be converted: .*channels_last"):
        convert_in_child(model, precision=Precision(), samples=[np.ones((1, 3, 8, 8), np.float32)])


def test_an_operator_that_devices_lack_is_named_with_its_layer() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.ops.erfinv(keras.layers.Dense(3, "tanh")(inputs)))
    with pytest.raises(ExportError, match=r"does not have: tf\.Erfinv \(from layer erfinv") as caught:
        convert_in_child(model, precision=Precision(), samples=SAMPLES)
    assert "\n" not in str(caught.value)


PARENT = """
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
sys.modules["tensorflow"] = None  # an import of it fails from here on
sys.modules["tf_keras"] = None
import numpy as np
import keras
from kzoo.export import LiteModel, export_model

inputs = {"b": keras.Input((3,), name="b"), "a": keras.Input((2,), name="in")}
x = keras.layers.Concatenate()([inputs["b"], inputs["a"]])
first = keras.layers.Dense(3, activation="softmax", name="zeta")(x)
second = keras.layers.Dense(1, activation="sigmoid", name="alpha")(x)
model = keras.Model(inputs, [first, second])
rng = np.random.default_rng(0)
data = (rng.normal(size=(40, 2)).astype("float32"), rng.normal(size=(40, 3)).astype("float32"))
for quantize in ("fp32", "int8"):
    result = export_model(
        model, f"{sys.argv[1]}/{quantize}.tflite", quantize=quantize, calibration=data, verification=(data, None),
        max_drop=0.1,
    )
    assert [tensor.name for tensor in result.inputs] == ["in_", "b"], result.inputs
    assert [tensor.name for tensor in result.outputs] == ["zeta", "alpha"], result.outputs
    assert [tensor.shape for tensor in result.outputs] == [(1, 3), (1, 1)], result.outputs
    limit = 1e-5 if quantize == "fp32" else 0.05
    assert result.parity.max_difference < limit, result.parity
"""


def test_a_jax_parent_with_several_inputs_and_outputs_never_needs_tensorflow(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARENT, str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert finished.stdout == ""
