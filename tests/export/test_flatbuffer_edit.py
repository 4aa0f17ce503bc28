"""Files that say something new of themselves: the weights lie where they lay, the answers are the same to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kzoo.errors import ExportError
from kzoo.export.flatbuffer_edit import constant_tensors, metadata_entries, with_metadata_entry, with_operators

if TYPE_CHECKING:
    from .conftest import Exports

BLOB = bytes(range(256)) * 3


def run(content: bytes, values: dict[int, np.ndarray] | None = None, output: int = 0) -> tuple[Any, Any]:
    """Give a fresh interpreter fixed noise, or values by tensor index, and take what it answers."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        noise = rng.integers(0, 100, detail["shape"]).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], noise if values is None else values[detail["index"]])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[output]["index"]), interpreter


def generated(content: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(content, 0)


def placed(content: bytes) -> list[tuple[int, bytes]]:
    """Of every filled buffer, its place within 16 bytes and its bytes, as the generated code finds them."""
    model = schema.Model.GetRootAsModel(content, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    return [
        (buffer._tab.Vector(buffer._tab.Offset(4)) % 16, buffer.DataAsNumpy().tobytes())
        for buffer in buffers
        if buffer.DataLength()
    ]


@pytest.mark.parametrize("name", ["cnn_fp32", "cnn_int8", "lstm_fp32", "lstm_int8"])
def test_a_metadata_entry_leaves_the_model_as_it_is(exports: Exports, name: str) -> None:
    old = exports.each()[name].path.read_bytes()
    new = with_metadata_entry(old, "NEW", BLOB)
    assert new.endswith(old)
    assert (len(new) - len(old)) % 16 == 0
    assert placed(new) == [*placed(old), (0, BLOB)]
    assert metadata_entries(new) == {**metadata_entries(old), "NEW": BLOB}
    before, after = generated(old), generated(new)
    assert [entry.name for entry in after.metadata] == [*(entry.name for entry in before.metadata), b"NEW"]
    assert after.version == before.version and after.description == before.description
    assert [entry.signatureKey for entry in after.signatureDefs] == [each.signatureKey for each in before.signatureDefs]
    np.testing.assert_array_equal(run(new)[0], run(old)[0])


def test_an_entry_takes_the_place_of_the_one_of_its_name(exports: Exports) -> None:
    old = exports.cnn_int8.path.read_bytes()
    new = with_metadata_entry(with_metadata_entry(old, "NEW", BLOB), "NEW", b"other")
    assert metadata_entries(new) == {**metadata_entries(old), "NEW": b"other"}
    assert [entry.name for entry in generated(new).metadata].count(b"NEW") == 1
    np.testing.assert_array_equal(run(new)[0], run(old)[0])


@pytest.mark.parametrize("name", ["cnn_fp32", "cnn_int8"])
def test_one_operator_alone_answers_as_within_the_file(exports: Exports, name: str) -> None:
    """Every operator, fed with what reaches it in the whole file, gives what the whole file goes on with."""
    content = exports.each()[name].path.read_bytes()
    keeping = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    keeping.allocate_tensors()
    (given,) = keeping.get_input_details()
    keeping.set_tensor(given["index"], np.random.default_rng(0).integers(0, 100, given["shape"]).astype(given["dtype"]))
    keeping.invoke()
    constants = constant_tensors(content)
    operators = generated(content).subgraphs[0].operators
    for position, operator in enumerate(operators):
        inputs = [int(index) for index in operator.inputs if index >= 0 and index not in constants]
        alone = with_operators(content, [position], inputs, operator.outputs)
        assert len(generated(alone).subgraphs[0].operators) == 1
        answer, _ = run(alone, {index: keeping.get_tensor(index) for index in inputs})
        expected = keeping.get_tensor(operator.outputs[0])
        if answer.dtype == np.float32:
            # With the delegate, which the interpreter that keeps everything does not use.
            np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4)
        else:
            assert np.abs(answer.astype(int) - expected).max() <= 1


def test_constants_are_what_the_file_holds(exports: Exports) -> None:
    content = exports.cnn_fp32.path.read_bytes()
    model = generated(content)
    expected = {
        index
        for index, tensor in enumerate(model.subgraphs[0].tensors)
        if model.buffers[tensor.buffer].data is not None
    }
    assert constant_tensors(content) == expected
    assert expected


@pytest.mark.parametrize(
    ("operators", "inputs", "outputs"), [([99], [0], [1]), ([-1], [0], [1]), ([0], [999], [1]), ([0], [0], [-1])]
)
def test_unknown_operators_and_tensors_are_refused(exports: Exports, operators, inputs, outputs) -> None:
    with pytest.raises(ExportError, match="which the file has"):
        with_operators(exports.cnn_fp32.path.read_bytes(), operators, inputs, outputs)


def test_weights_behind_the_flatbuffer_are_refused(exports: Exports) -> None:
    """As in files of 2 GiB and more: their places are counted from the beginning of the file, which would move."""
    model = generated(exports.cnn_int8.path.read_bytes())
    filled = next(buffer for buffer in model.buffers if buffer.data is not None)
    filled.data, filled.offset, filled.size = None, 4096, 16
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ExportError, match="weights inside the FlatBuffer"):
        with_metadata_entry(bytes(builder.Output()) + bytes(8192), "NEW", BLOB)


def test_damaged_files_are_refused_in_one_line(exports: Exports) -> None:
    content = exports.cnn_int8.path.read_bytes()
    rng = np.random.default_rng(0)
    for end in np.linspace(0, len(content) // 2, 40).astype(int):
        with pytest.raises(ExportError) as caught:
            with_metadata_entry(content[:end], "NEW", BLOB)
        assert "\n" not in str(caught.value)
    refused = 0
    for _ in range(300):
        flipped = bytearray(content)
        for position in rng.integers(0, len(content), 20):
            flipped[position] = rng.integers(256)
        try:
            with_metadata_entry(bytes(flipped), "NEW", BLOB)
        except ExportError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ExportError, match="something else"):
        metadata_entries(b"not a model at all")
