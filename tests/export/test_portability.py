"""Where files run: the tables against the runtimes that are here, odd files, and files that are damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from kzoo.errors import ExportError, UsageError
from kzoo.export import CheckReport, check, read_tflite
from kzoo.export._operators import BUILTIN_OPERATORS, TENSOR_TYPES
from kzoo.export.targets import TARGETS, XNNPACK, _table, runtime_since, support
from kzoo.export.trial import try_file

from .odd_files import MAKERS, write_all

if TYPE_CHECKING:
    from .conftest import Exports

# The files are made anew in every process of a parallel run: alike, the tests stay together in one.
pytestmark = pytest.mark.slow(20)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def report(odd: dict[str, Path]) -> Callable[[str], CheckReport]:
    made: dict[str, CheckReport] = {}

    def of(name: str) -> CheckReport:
        return made.setdefault(name, check(odd[name]))

    return of


def verdicts(report: CheckReport) -> dict[str, str]:
    return {name: verdict.runs for name, verdict in report.verdicts.items()}


# The tables


def test_the_table_names_operators_and_types_that_exist() -> None:
    since, columns = _table()
    assert set(columns) == {*TARGETS, XNNPACK.name}
    assert len(since) > 150
    assert set(since) <= set(BUILTIN_OPERATORS)
    for column in columns.values():
        assert {name for entry in column.values() for name in entry.types} <= set(TENSOR_TYPES)
    assert all(target.sources and target.release for target in TARGETS.values())


def test_a_target_takes_nothing_that_its_runtime_does_not_have() -> None:
    columns = _table()[1]
    for name in ("nnapi", "gpu", "xnnpack", "tflite-runtime"):
        assert set(columns[name]) <= set(columns["litert"])
    for operator, entry in columns["tflite-runtime"].items():
        assert entry.version <= columns["litert"][operator].version


def one_operator(code: int, version: int) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT()
    model.version = 3
    kind = schema.OperatorCodeT()
    kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, min(code, 127), version
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [], [], []
    model.operatorCodes, model.buffers, model.subgraphs = [kind], [schema.BufferT()], [graph]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_versions_are_those_of_the_installed_runtime() -> None:
    """LiteRT resolves the version that the table calls the highest, and not the next."""
    from ai_edge_litert.interpreter import Interpreter

    def takes(code: int, version: int) -> bool:
        try:
            Interpreter(model_content=one_operator(code, version))
        except (ValueError, RuntimeError):
            return False
        return True

    wrong = []
    for code, name in enumerate(BUILTIN_OPERATORS):
        if name in ("CUSTOM", "PLACEHOLDER_FOR_GREATER_OP_CODES"):
            continue
        entry = support(TARGETS["litert"], name)
        highest = entry.version if entry else 0
        if takes(code, highest + 1) or (highest and not takes(code, highest)):
            wrong.append(name)
    assert not wrong


def test_the_oldest_runtime_is_the_one_that_the_converter_states(exports: Exports, report: Callable) -> None:
    for result in exports.each().values():
        checked = check(result.path, trial=False)
        assert checked.min_runtime == checked.stated_min_runtime == result.min_runtime_version
    for name in ("dynamic_batch", "five_dimensions", "float_island", "per_channel_dense", "hybrid", "float16", "loop"):
        assert report(name).min_runtime == report(name).stated_min_runtime
    assert report("per_channel_dense").min_runtime == "2.17.0"
    assert runtime_since("BROADCAST_TO", 1) is None
    assert runtime_since("CONV_2D", 99) is None


def test_what_is_said_to_run_on_litert_runs(exports: Exports, odd: dict[str, Path]) -> None:
    """By the table alone, without a trial; and what is said not to run there does not."""
    for path in (*(result.path for result in exports.each().values()), *odd.values()):
        said = check(path, trial=False).verdicts["litert"].runs
        tried = try_file(read_tflite(path), "litert")
        assert (said == "runs") == (tried.problem is None), (path.name, tried.problem)


def test_xnnpack_takes_what_its_table_says(exports: Exports, odd: dict[str, Path]) -> None:
    """What the trial saw outside is outside by the table, up to borders that XNNPACK takes in one direction only."""
    for path in (exports.cnn_fp32.path, exports.cnn_int8.path, exports.lstm_int8.path, odd["five_dimensions"]):
        measured, expected = check(path).xnnpack, check(path, trial=False).xnnpack
        assert expected.partitions is None
        assert measured.outside == expected.outside, path.name


# What files are


def test_a_float_an_int8_and_a_recurrent_file(exports: Exports) -> None:
    cnn, quantized = check(exports.cnn_fp32.path), check(exports.cnn_int8.path)
    assert (cnn.arithmetic.kind, quantized.arithmetic.kind) == ("float32", "int8 throughout")
    for checked in (cnn, quantized):
        assert set(verdicts(checked).values()) == {"runs"}
        assert checked.findings == ()
        assert checked.xnnpack.partitions == 1
    assert cnn.xnnpack.outside == ()
    assert [place.operator for place in quantized.xnnpack.outside] == ["SOFTMAX"]
    assert quantized.verdicts["nnapi"].note == "Android API 30 or newer"
    lstm = check(exports.lstm_int8.path, target="gpu")
    assert lstm.stateful
    assert lstm.memory.variables > 0
    assert verdicts(lstm) == {
        "litert": "runs", "tflite-runtime": "runs", "tflm": "runs", "nnapi": "partly", "gpu": "partly"
    }  # fmt: skip
    assert not lstm.errors
    assert {finding.place.operator for finding in lstm.findings} == {"UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE"}
    assert all("runs on the CPU" in finding.advice for finding in lstm.findings)


def test_flex_and_custom_operators(report: Callable) -> None:
    for name, operator, words in (("flex", "FlexCholesky", "Flex delegate"), ("custom", "Digamma", "custom operator")):
        assert set(verdicts(report(name)).values()) == {"no"}
        (finding,) = report(name).findings
        assert finding.place.operator == operator
        assert words in finding.message
        assert "failed" not in str(finding)
        assert "operator 0" in str(finding)


def test_a_batch_that_is_left_open(report: Callable) -> None:
    found = report("dynamic_batch")
    assert found.open_inputs == ("x",)
    assert verdicts(found)["litert"] == "runs"
    assert verdicts(found)["gpu"] == "partly"
    assert ["left open" in str(each) or "at run time" in str(each) for each in found.findings] == [True, True]


def test_five_dimensions(odd: dict[str, Path], report: Callable) -> None:
    assert verdicts(report("five_dimensions")) == {
        "litert": "runs", "tflite-runtime": "runs", "tflm": "no", "nnapi": "no", "gpu": "no"
    }  # fmt: skip
    assert "CONV_3D" in str(check(odd["five_dimensions"], target="tflm").errors[0])


def test_a_float_island_is_named(report: Callable) -> None:
    found = report("float_island")
    assert found.arithmetic.kind == "int8 with 1 float operator"
    (island,) = found.arithmetic.float_islands
    assert (island.operator, island.index, island.tensor) == ("FLOOR", 2, "Floor")
    assert "operator 2 FLOOR (Floor) computes in floating point" in str(found.findings[0])


def test_weights_of_another_type_than_the_values(report: Callable) -> None:
    assert report("float16").arithmetic.kind == "float32 with float16 weights"
    assert report("hybrid").arithmetic.kind == "float32 with int8 weights"
    assert report("hybrid").arithmetic.float_islands == ()
    assert verdicts(report("hybrid"))["tflm"] == verdicts(report("float16"))["tflm"] == "no"
    assert verdicts(report("hybrid"))["litert"] == verdicts(report("float16"))["gpu"] == "runs"


def test_dense_weights_with_a_scale_for_every_channel(odd: dict[str, Path]) -> None:
    found = check(odd["per_channel_dense"], target="tflite-runtime")
    (tensor,) = (tensor for tensor in read_tflite(odd["per_channel_dense"]).tensors if tensor.channels)
    assert (tensor.channels, tensor.channel_axis, tensor.dtype) == (64, 0, "int8")
    assert verdicts(found)["litert"] == "runs"
    (line,) = map(str, found.errors)
    assert "is version 12, it takes up to 10" in line
    assert "one scale for all weights" in line


def test_a_loop_is_looked_into(odd: dict[str, Path], report: Callable) -> None:
    names = {use.name for use in report("loop").operators}
    assert {"WHILE", "LESS", "MUL", "ADD"} <= names
    assert [use.name for use in report("loop").operators if use.dtype == "float32"] == ["MUL", "ADD"]
    assert len(read_tflite(odd["loop"]).graphs) == 3


def test_an_old_runtime(odd: dict[str, Path]) -> None:
    assert check(odd["per_channel_dense"], min_runtime="2.17").errors == ()
    (line,) = map(str, check(odd["per_channel_dense"], min_runtime="2.16.9").errors)
    assert "version 12 needs TensorFlow Lite 2.17.0, newer than 2.16.9" in line
    with pytest.raises(UsageError, match=r"such as 2\.14\. Received: 'two'"):
        check(odd["loop"], min_runtime="two")
    with pytest.raises(UsageError, match="Did you mean tflm"):
        check(odd["loop"], target="tfml")


def test_the_report_is_plain_data(report: Callable) -> None:
    for maker in MAKERS:
        content = report(maker.__name__).as_dict()
        assert json.loads(json.dumps(content)) == json.loads(json.dumps(content, default=str))
        assert content["ok"] is True


# What files should not be


def test_no_cut_and_no_flipped_byte_ends_the_process(exports: Exports, odd: dict[str, Path], tmp_path: Path) -> None:
    """Every cut is refused in one line. Other bytes may make another file, but nothing unexpected comes of looking."""
    rng = np.random.default_rng(0)
    for path in (exports.cnn_int8.path, exports.lstm_fp32.path, odd["loop"], odd["dynamic_batch"]):
        content = path.read_bytes()
        target = tmp_path / "x.tflite"
        for end in np.linspace(0, len(content) - 1, 60).astype(int):
            target.write_bytes(content[:end])
            with pytest.raises(ExportError) as caught:
                check(target, trial=False)
            assert "\n" not in str(caught.value)
        for _ in range(150):
            flipped = bytearray(content)
            for position in rng.integers(8, len(content), 6):
                flipped[position] = rng.integers(256)
            target.write_bytes(flipped)
            try:
                check(target, trial=False).as_dict()
            except ExportError as error:
                assert "\n" not in str(error)


def test_a_runtime_that_crashes_is_a_finding(exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A custom operator that LiteRT has, with none of the options it reads: it reads them all the same."""
    from ai_edge_litert import schema_py_generated as schema

    content = bytearray(one_operator(BUILTIN_OPERATORS.index("RELU"), 1))
    model = schema.ModelT.InitFromPackedBuf(bytes(content), 0)
    kind = schema.OperatorCodeT()
    kind.builtinCode = kind.deprecatedBuiltinCode = BUILTIN_OPERATORS.index("CUSTOM")
    kind.customCode, kind.version = "Mfcc", 1
    tensors = []
    for name in "ab":
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer, tensor.name = [1, 4], 0, 0, name
        tensors.append(tensor)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph = model.subgraphs[0]
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, [operator], [0], [1]
    model.operatorCodes = [kind]
    import flatbuffers

    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "crash.tflite"
    path.write_bytes(bytes(builder.Output()))
    found = check(path, target="litert")
    (line,) = map(str, found.errors)
    assert "was tried here and failed: it ended the process with SIGSEGV" in line
    assert verdicts(found)["litert"] == "no"
    assert verdicts(check(path, trial=False))["litert"] == "runs"


def test_looking_needs_numpy_and_the_standard_library(exports: Exports) -> None:
    code = """
import sys
for name in ("tensorflow", "keras", "tf_keras", "pydantic", "flatbuffers", "ai_edge_litert", "tflite_runtime"):
    sys.modules[name] = None
import kzoo.export.portability as portability
found = portability.check(sys.argv[1], target="tflm", trial=False)
assert found.memory.size > 0 and not found.errors
"""
    command = [sys.executable, "-c", code, str(exports.cnn_int8.path)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
