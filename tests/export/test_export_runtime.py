"""Running and timing files: without TensorFlow, and with damaged files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from kzoo.errors import ExportError, UsageError
from kzoo.export import LiteModel, benchmark, benchmark_many, read_tflite
from kzoo.export._operators import BUILTIN_OPERATORS, TENSOR_TYPES

if TYPE_CHECKING:
    from .conftest import Digits, Exports


def test_tables_are_those_of_the_installed_runtime() -> None:
    from ai_edge_litert import schema_py_generated as schema

    for table, ours in ((schema.BuiltinOperator, BUILTIN_OPERATORS), (schema.TensorType, TENSOR_TYPES)):
        theirs = {code: name for name, code in vars(table).items() if isinstance(code, int)}
        assert {code: name.upper() for code, name in enumerate(ours)} == theirs


def test_reader_agrees_with_the_generated_schema(exports: Exports) -> None:
    from ai_edge_litert import schema_py_generated as schema

    for result in exports.each().values():
        model = schema.ModelT.InitFromPackedBuf(result.path.read_bytes(), 0)
        graph = model.subgraphs[0]
        ours = read_tflite(result.path)
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
        assert [operator.name for operator in ours.operators] == [
            BUILTIN_OPERATORS[codes[operator.opcodeIndex]] for operator in graph.operators
        ]
        assert [tensor.name for tensor in ours.tensors] == [tensor.name.decode() for tensor in graph.tensors]
        assert [tensor.shape for tensor in ours.tensors] == [
            () if tensor.shape is None else tuple(tensor.shape) for tensor in graph.tensors
        ]
        assert ours.inputs == tuple(graph.inputs) and ours.outputs == tuple(graph.outputs)


def test_facts_of_a_file(exports: Exports) -> None:
    lite = LiteModel(exports.cnn_int8.path)
    assert (lite.input_shape, lite.input_dtype, lite.input_quantization) == ((8, 8, 1), "int8", (1.0, -128))
    assert (lite.output_shape, lite.output_dtype, lite.output_quantization) == ((10,), "int8", (1 / 256, -128))
    assert lite.size == exports.cnn_int8.path.stat().st_size
    assert 0 < lite.gzip_size < lite.size
    assert dict(lite.operators)["CONV_2D"] == 2
    assert LiteModel(exports.cnn_fp32.path).input_quantization is None


def test_inputs_are_clipped_to_the_files_range(exports: Exports, digits: Digits) -> None:
    lite = LiteModel(exports.cnn_int8.path)
    image = digits.test[:1].astype(np.float32)
    beyond = np.where(image == 0, -50, np.where(image == 255, 400, image))
    np.testing.assert_array_equal(lite.predict(beyond), lite.predict(image))


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 3), (8, 8, 1)])
def test_other_shapes_are_refused(exports: Exports, shape: tuple[int, ...]) -> None:
    with pytest.raises(ExportError, match=r"samples of shape \(samples, 8, 8, 1\)"):
        LiteModel(exports.cnn_int8.path).predict(np.zeros(shape, np.float32))


def damaged(content: bytes, kind: str) -> bytes:
    half = len(content) // 2
    return {
        "empty": b"",
        "text": b"this is not a model, it only bears the name of one",
        "identifier only": b"\x1c\0\0\0TFL3",
        "a third": content[: len(content) // 3],
        "a half": content[:half],
        "a byte less": content[:-1],
        "zeros at the end": content[:half] + bytes(len(content) - half),
        "zeros in the middle": content[:200] + bytes(half) + content[200 + half :],
    }[kind]


@pytest.mark.parametrize("source", ["cnn_int8", "lstm_fp32"])
@pytest.mark.parametrize(
    "kind",
    ["empty", "text", "identifier only", "a third", "a half", "a byte less", "zeros at the end", "zeros in the middle"],
)
def test_a_damaged_file_is_refused_in_one_line(exports: Exports, target: Path, source: str, kind: str) -> None:
    target.write_bytes(damaged(exports.each()[source].path.read_bytes(), kind))
    with pytest.raises(ExportError) as caught:
        LiteModel(target)
    assert "\n" not in str(caught.value)
    assert "model.tflite" in str(caught.value)


def test_no_cut_and_no_flipped_byte_kills_the_process(exports: Exports, tmp_path: Path) -> None:
    """Every cut is refused; a file with other bytes in it may still run, but never ends the process."""
    content = exports.cnn_int8.path.read_bytes()
    rng = np.random.default_rng(0)
    for number, end in enumerate(np.linspace(0, len(content) - 1, 60).astype(int)):
        (tmp_path / f"cut-{number}.tflite").write_bytes(content[:end])
        flipped = bytearray(content)
        for position in rng.integers(8, len(content), 4):
            flipped[position] = rng.integers(256)
        (tmp_path / f"flipped-{number}.tflite").write_bytes(flipped)
    code = """
import pathlib, sys
import numpy as np
from kzoo.errors import KzooError
from kzoo.export import LiteModel
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        lite = LiteModel(path)
        lite.predict(np.zeros((1, *lite.input_shape), np.float32))
        assert not path.name.startswith("cut"), path
    except KzooError:
        pass
"""
    finished = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_missing_file_and_unknown_runtime(exports: Exports, target: Path) -> None:
    with pytest.raises(ExportError, match="which is not a file"):
        LiteModel(target)
    with pytest.raises(UsageError, match="Did you mean litert"):
        LiteModel(exports.cnn_int8.path, runtime="liter")


def test_missing_runtime_says_how_to_install_it(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", None)
    with pytest.raises(ExportError, match=r"tflite-runtime is not installed. Install it: pip install"):
        LiteModel(exports.cnn_int8.path, runtime="tflite-runtime")


def test_the_runtime_that_is_there_is_taken(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LiteModel(exports.cnn_int8.path).runtime == "litert"
    # Where only the second one is, and where none is.
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ai_edge_litert" else object())
    with pytest.raises(ExportError, match="The runtime tflite-runtime is not installed"):
        LiteModel(exports.cnn_int8.path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"none is installed. Install one: pip install ai-edge-litert; or pip inst"):
        LiteModel(exports.cnn_int8.path)


def test_running_and_timing_import_no_training_framework(exports: Exports) -> None:
    """Nor pydantic: a device has NumPy and a runtime. Nothing is written to the terminal."""
    code = """
import sys
for name in ("tensorflow", "keras", "tf_keras", "jax", "pydantic", "flatbuffers.builder"):
    sys.modules[name] = None
import numpy as np
from kzoo.export import LiteModel, benchmark
lite = LiteModel(sys.argv[1])
lite.predict(np.zeros((1, *lite.input_shape), np.uint8))
benchmark(sys.argv[1], runs=5)
"""
    finished = subprocess.run(
        [sys.executable, "-c", code, str(exports.cnn_int8.path)], capture_output=True, text=True, timeout=120
    )
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_importing_the_package_imports_next_to_nothing() -> None:
    code = """
import sys
import kzoo.export
heavy = {"tensorflow", "keras", "tf_keras", "jax", "numpy", "pydantic", "ai_edge_litert"} & set(sys.modules)
assert not heavy, heavy
assert set(kzoo.export.__all__) == set(dir(kzoo.export))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_benchmark_times_side_by_side(exports: Exports) -> None:
    results = benchmark_many([exports.cnn_int8.path, exports.lstm_fp32.path], runs=40)
    for result, exported in zip(results, (exports.cnn_int8, exports.lstm_fp32), strict=True):
        assert result.path == exported.path
        assert result.runs == 40
        assert 0 < result.p50_ms <= result.p90_ms
        assert (result.size, result.gzip_size) == (exported.size, exported.gzip_size)
        assert (result.runtime, result.threads) == ("litert", 1)
        if sys.platform == "linux":
            assert result.peak_memory > result.size


def test_slow_files_are_timed_less_often(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    from kzoo.export import timing

    monkeypatch.setattr(timing, "_SECONDS", 0.0)
    assert benchmark(exports.cnn_int8.path, runs=500).runs == timing._FEWEST_RUNS


def test_impossible_numbers_of_runs_are_refused(exports: Exports) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        benchmark(exports.cnn_int8.path, runs=0)
