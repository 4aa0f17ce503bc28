"""What phone toolkits read in a file: written here, read by other hands, and read back whoever wrote it."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import pytest
from flatbuffers import number_types
from flatbuffers.table import Table

from kzoo.errors import ExportError
from kzoo.export import (
    AssociatedFile,
    LiteModel,
    ModelMetadata,
    TensorMetadata,
    add_metadata,
    classifier_metadata,
    read_metadata,
    read_packed_files,
    read_tflite,
)
from kzoo.export.flatbuffer_edit import metadata_entries, with_metadata_entry
from kzoo.export.metadata_reader import archive_start

if TYPE_CHECKING:
    from .conftest import Digits, Exports

CLASSES = ["Käse", "猫", "a dog, say", "  spaced ", "{}", "0", "1", "2", "3", "ναι"]


@pytest.fixture
def described(exports: Exports) -> bytes:
    """The float CNN with the metadata of a classifier of ten oddly named classes."""
    path = exports.cnn_fp32.path
    facts = classifier_metadata(
        read_tflite(path), name="Ziffern", description="Zehn Ziffern.", version="1.2", classes=CLASSES, author="me"
    )
    return add_metadata(path.read_bytes(), facts)


class Reader:
    """A table of the metadata through the flatbuffers package: fields by their numbers in metadata_schema.fbs."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @classmethod
    def root(cls, blob: bytes) -> Reader:
        return cls(Table(bytearray(blob), flatbuffers.encode.Get(number_types.UOffsetTFlags.packer_type, blob, 0)))

    def place(self, number: int) -> int:
        return self.table.Offset(4 + 2 * number)

    def text(self, number: int) -> str:
        return self.table.String(self.table.Pos + self.place(number)).decode()

    def child(self, number: int) -> Reader:
        return Reader(Table(self.table.Bytes, self.table.Indirect(self.table.Pos + self.place(number))))

    def children(self, number: int) -> list[Reader]:
        start, count = self.table.Vector(self.place(number)), self.table.VectorLen(self.place(number))
        return [Reader(Table(self.table.Bytes, self.table.Indirect(start + 4 * index))) for index in range(count)]

    def floats(self, number: int) -> list[float]:
        return self.table.GetVectorAsNumpy(number_types.Float32Flags, self.place(number)).tolist()

    def byte(self, number: int) -> int:
        return self.table.Get(number_types.Uint8Flags, self.table.Pos + self.place(number))


def test_another_reader_finds_what_was_written(described: bytes) -> None:
    blob = metadata_entries(described)["TFLITE_METADATA"]
    assert flatbuffers.util.BufferHasIdentifier(blob, 0, b"M001")
    model = Reader.root(blob)
    assert [model.text(number) for number in (0, 1, 2, 4, 7)] == ["Ziffern", "Zehn Ziffern.", "1.2", "me", "1.0.0"]
    (graph,) = model.children(3)
    (image,), (answer,) = graph.children(2), graph.children(3)
    content = image.child(3)
    assert (image.text(0), content.byte(0), content.child(1).byte(0)) == ("image", 2, 2)  # ImageProperties, GRAYSCALE
    (unit,) = image.children(4)
    assert unit.byte(0) == 1  # NormalizationOptions
    assert (unit.child(1).floats(0), unit.child(1).floats(1)) == ([0], [1])
    assert (image.child(5).floats(1), image.child(5).floats(0)) == ([0], [255])
    assert (answer.text(0), answer.child(3).byte(0)) == ("probabilities", 1)  # FeatureProperties
    (labels,) = answer.children(6)
    assert (labels.text(0), labels.byte(2)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
    with zipfile.ZipFile(io.BytesIO(described)) as archive:
        assert archive.read("labels.txt").decode().split("\n") == [*CLASSES, ""]
        assert [entry.compress_type for entry in archive.infolist()] == [zipfile.ZIP_STORED]


def test_what_was_written_is_read_back(described: bytes, exports: Exports, tmp_path) -> None:
    facts = read_metadata(described)
    assert facts.labels == tuple(CLASSES)
    assert (facts.name, facts.description, facts.version, facts.author, facts.license) == (
        "Ziffern", "Zehn Ziffern.", "1.2", "me", "",
    )  # fmt: skip
    assert facts.inputs[0].color_space == "grayscale"
    assert facts.outputs[0].files == (AssociatedFile("labels.txt", "Names of the classes, one a line.", "axis labels"),)
    assert add_metadata(exports.cnn_fp32.path.read_bytes(), facts) == described
    path = tmp_path / "described.tflite"
    path.write_bytes(described)
    assert read_metadata(path) == facts
    assert list(read_packed_files(path)) == ["labels.txt"]


@pytest.mark.parametrize("name", ["cnn_fp32", "cnn_int8", "lstm_fp32", "lstm_int8"])
def test_a_file_answers_as_before(exports: Exports, digits: Digits, name: str, tmp_path) -> None:
    result = exports.each()[name]
    kind = "image" if name.startswith("cnn") else "sequence"
    facts = classifier_metadata(read_tflite(result.path), name=name, classes=CLASSES, kind=kind)
    path = tmp_path / "described.tflite"
    path.write_bytes(add_metadata(result.path.read_bytes(), facts))
    assert read_metadata(path) == facts
    test = digits.test[:40] if kind == "image" else digits.test[:40, ..., 0]
    np.testing.assert_array_equal(LiteModel(path).predict(test), LiteModel(result.path).predict(test))


def test_sequences_have_no_pixels(exports: Exports) -> None:
    (rows,) = classifier_metadata(read_tflite(exports.lstm_int8.path), name="x", kind="sequence").inputs
    assert (rows.content, rows.color_space, rows.mean, rows.minimum) == ("feature", None, (), ())


def test_other_normalisations(exports: Exports) -> None:
    facts = classifier_metadata(read_tflite(exports.cnn_fp32.path), name="x", mean=127.5, std=127.5)
    assert (facts.inputs[0].mean, facts.inputs[0].minimum, facts.inputs[0].maximum) == ((127.5,), (-1,), (1,))
    assert read_metadata(add_metadata(exports.cnn_fp32.path.read_bytes(), facts)) == facts


def test_metadata_again_take_the_place_of_the_old(described: bytes) -> None:
    facts = dataclasses.replace(read_metadata(described), labels=tuple("abcdefghij"), version="2")
    again = add_metadata(described, facts, {"kzoo.json": b"{}"})
    assert read_metadata(again) == facts
    assert read_packed_files(again) == {"kzoo.json": b"{}", "labels.txt": b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n"}
    bare = dataclasses.replace(facts, labels=None, outputs=(TensorMetadata("probabilities"),))
    assert read_packed_files(add_metadata(again, bare)) == {}


def test_a_file_without_metadata(exports: Exports) -> None:
    assert read_metadata(exports.cnn_fp32.path) is None
    assert read_packed_files(exports.cnn_fp32.path) == {}


@pytest.mark.parametrize("name", ["two\nlines", "two\rlines", "line\n", "", "para\u2029graph"])
def test_class_names_that_are_not_one_line_are_refused(exports: Exports, name: str) -> None:
    file = read_tflite(exports.cnn_fp32.path)
    facts = classifier_metadata(file, name="x", classes=[*CLASSES[:9], name])
    with pytest.raises(ExportError, match="class names of one line") as caught:
        add_metadata(exports.cnn_fp32.path.read_bytes(), facts)
    assert "\n" not in str(caught.value)


def test_metadata_that_do_not_fit_are_refused(exports: Exports) -> None:
    file, content = read_tflite(exports.cnn_fp32.path), exports.cnn_fp32.path.read_bytes()
    with pytest.raises(ExportError, match=r"Expected 10 classes.*Received: 3"):
        classifier_metadata(file, name="x", classes=["a", "b", "c"])
    facts = classifier_metadata(file, name="x")
    with pytest.raises(ExportError, match=r"1 inputs and 1 outputs\. Received: 0 and 1"):
        add_metadata(content, dataclasses.replace(facts, inputs=()))
    with pytest.raises(ExportError, match="an output with a file of axis labels"):
        add_metadata(content, dataclasses.replace(facts, labels=("a",)))
    for wrong, words in (
        ({"mean": (0.0, 0.0), "std": (1.0,)}, "as many means as standard deviations"),
        ({"mean": (0.0,), "std": (0.0,)}, "none of which is 0"),
        ({"content": "smell"}, "one of feature, image, .* Received: 'smell'"),
    ):
        tensor = dataclasses.replace(facts.inputs[0], **wrong)
        with pytest.raises(ExportError, match=words):
            add_metadata(content, dataclasses.replace(facts, inputs=(tensor,)))


# ---------------------------------------------------------------------------------------------------------------------
# What other tools write, and what is left of a damaged file


def foreign() -> bytes:
    """Metadata as no kzoo writes them: audio, three channels' mean, labels of another name, a table left empty."""
    builder = flatbuffers.Builder(0)

    def table(**fields: Any) -> int:
        builder.StartObject(10)
        for number, (slot, value) in ((int(name[1:]), field) for name, field in fields.items()):
            getattr(builder, slot)(number, value, 0)
        return builder.EndObject()

    def vector(offsets: list[int], size: int = 4) -> int:
        builder.StartVector(size, len(offsets), size)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    ref, byte = "PrependUOffsetTRelativeSlot", "PrependUint8Slot"
    three = builder.CreateNumpyVector(np.array([1, 2, 3], np.float32))
    options = table(_0=(ref, three), _1=(ref, three))
    unknown = table()
    units = vector([table(_0=(byte, 6), _1=(ref, unknown)), table(_0=(byte, 1), _1=(ref, options))])
    audio = table(_0=(byte, 4), _1=(ref, table()))
    name = builder.CreateString("voice")
    first = table(_0=(ref, name), _3=(ref, audio), _4=(ref, units))
    file = table(_0=(ref, builder.CreateString("words.csv")), _2=(byte, 3))
    later = table(_0=(byte, 77), _1=(ref, table()))
    second = table(_3=(ref, later), _6=(ref, vector([file])))
    graph = table(_2=(ref, vector([first])), _3=(ref, vector([second])))
    graphs = vector([graph, table()])
    builder.Finish(table(_3=(ref, graphs)), b"M001")
    return bytes(builder.Output())


def test_metadata_of_other_tools(exports: Exports) -> None:
    content = with_metadata_entry(exports.cnn_fp32.path.read_bytes(), "TFLITE_METADATA", foreign())
    archive = io.BytesIO(content)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("words.csv", "yes\r\nno\r\n")
    assert read_metadata(archive.getvalue()) == ModelMetadata(
        inputs=(TensorMetadata("voice", content="audio", mean=(1, 2, 3), std=(1, 2, 3)),),
        outputs=(TensorMetadata(files=(AssociatedFile("words.csv", kind="value labels"),)),),
        labels=("yes", "no"),
    )
    with pytest.raises(ExportError, match=r"words.csv is not packed"):
        read_metadata(content)


def test_damaged_metadata_are_one_line(exports: Exports, described: bytes) -> None:
    """Cuts and flipped bytes in the metadata and in the archive: they are read or refused, and nothing else happens."""
    blob = metadata_entries(described)["TFLITE_METADATA"]
    bare = exports.cnn_fp32.path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [with_metadata_entry(bare, "TFLITE_METADATA", blob[:end]) for end in range(0, len(blob) - 16, 5)]
    refused = sum(_refused(content) for content in damaged)
    assert refused == len(damaged)
    for _ in range(400):
        flipped = bytearray(blob)
        for position in rng.integers(0, len(blob), 3):
            flipped[position] = rng.integers(256)
        refused += _refused(with_metadata_entry(bare, "TFLITE_METADATA", bytes(flipped)))
    archive = archive_start(described)
    assert described[archive:].startswith(b"PK")
    assert all(_refused(described[:end]) for end in range(archive, len(described)))
    for _ in range(400):
        flipped = bytearray(described)
        for position in rng.integers(archive, len(described), 2):
            flipped[position] = rng.integers(256)
        refused += _refused(bytes(flipped))
    assert refused > len(damaged)


def _refused(content: bytes) -> bool:
    try:
        read_metadata(content)
    except ExportError as error:
        assert "\n" not in str(error)
        return True
    return False


def test_an_archive_that_unfolds_to_too_much_is_refused(described: bytes) -> None:
    archive = io.BytesIO(described)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bomb", bytes(65 << 20))
    with pytest.raises(ExportError, match="at most 64 MiB"):
        read_packed_files(archive.getvalue())


def test_packed_files_in_an_unusual_compression_are_refused(described: bytes) -> None:
    archive = io.BytesIO(described)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_LZMA) as packed:
        packed.writestr("more.txt", b"a" * 100)
    with pytest.raises(ExportError, match="compressed in an unusual way"):
        read_packed_files(archive.getvalue())


def test_an_entry_unfolds_to_no_more_than_it_claims(described: bytes) -> None:
    archive = io.BytesIO(described)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bomb", bytes(65 << 20))
    content = archive.getvalue()
    size = (65 << 20).to_bytes(4, "little")
    assert content.count(size) == 2
    with pytest.raises(ExportError, match="damaged archive"):
        read_packed_files(content.replace(size, (1000).to_bytes(4, "little")))
