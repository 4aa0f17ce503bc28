"""Every model of the catalogue in every precision: the file is what its name says and answers like the Keras model.

A few cells stand in `make test`; `make test-matrix` runs them all. The models are trained on real digits, so that an
answer that changes is an answer that meant something.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import kzoo
from bench.small_runs import small_run
from kzoo.data import open_dataset
from kzoo.export import ExportResult, LiteModel, Quantization, read_tflite
from kzoo.models import CATALOG, list_models
from kzoo.run import Run
from kzoo.source import open_source

PRECISIONS: tuple[Quantization, ...] = get_args(Quantization)
WHOLE = os.environ.get("KZOO_MATRIX") == "whole"

#: What cannot be had, and how it is refused. A cell that begins to work fails its test: strike it out here then.
IMPOSSIBLE = {
    (name, "int16x8"): rf"int16x8 is not possible with LSTM layers \({found}\).*Choose int8, dynamic"
    for name, found in {
        "lstm": "lstm1, lstm2",
        "bilstm": "bilstm1, bilstm2",
        "lstm_attention": "lstm1, lstm2",
        "cnn_lstm": "lstm1",
        "adaptive_lstm": "lstm",
    }.items()
}

#: What computes in float all the same, by name: nothing. A cell that is not here must be integers throughout.
FLOAT_OPERATORS: dict[tuple[str, str], set[str]] = {}

#: Image models that XNNPACK puts in several parts, as they are in bench/results/conversions.md.
IN_SEVERAL_PARTS = {
    "fp32": {"inception_v3", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"},
    "int8": {
        *("lenet5", "inception_v3", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110"),
        *(*list_models("densenet*"), *list_models("mobilenet_v3*"), "vit_tiny", "mobilevit_xxs"),
    },
}

#: One cell of each kind of model for `make test`, in the precisions that most can go wrong in.
FAST = {("resnet8", "int8"), ("attention", "int16x8"), ("text_cnn", "int8"), *IMPOSSIBLE}


@dataclass(frozen=True)
class Promise:
    """What a precision promises.

    Types: of inputs and outputs, and of the weights, with the least share of the constants that are of that type; the
    rest are biases, and in "dynamic" all tensors that are small. Then how near the file stays to Keras on 269 digits:
    largest difference of a probability, share of equal answers, drop of accuracy.
    """

    ends: str
    weights: str
    share: float
    difference: float
    agreement: float
    drop: float


#: Limits of about twice what was measured at worst, see bench/results/export_matrix.md: training differs by machine.
PROMISES = {
    "fp32": Promise("float32", "float32", 0.99, difference=1e-5, agreement=1, drop=0),
    "fp16": Promise("float32", "float16", 0.99, difference=0.005, agreement=0.99, drop=0.01),
    "dynamic": Promise("float32", "int8", 0.6, difference=0.1, agreement=0.985, drop=0.015),
    "int8": Promise("int8", "int8", 0.9, difference=0.5, agreement=0.975, drop=0.02),
    "int16x8": Promise("int16", "int8", 0.9, difference=0.1, agreement=0.985, drop=0.015),
}


def cells(impossible: bool) -> list[object]:
    """The cells that can, or cannot, be had; cells of one model go to one worker, which trains it once."""
    left_out = pytest.mark.skipif(
        not WHOLE, reason="a cell of the matrix that make test leaves out: make test-matrix runs the whole of it"
    )
    return [
        pytest.param(
            name, quantize, marks=[pytest.mark.xdist_group(name), *([] if (name, quantize) in FAST else [left_out])]
        )
        for name, record in CATALOG.items()
        if record.classes  # the others answer nothing that a drop of accuracy could be told from
        for quantize in PRECISIONS
        if ((name, quantize) in IMPOSSIBLE) == impossible
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each model is trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    return lambda name: small_run(name, folder)


@pytest.mark.slow(40)
@pytest.mark.parametrize(("name", "quantize"), cells(impossible=False))
def test_a_cell(trained: Callable[[str], Run], tmp_path: Path, name: str, quantize: Quantization) -> None:
    run, promise = trained(name), PROMISES[quantize]
    assert run.metrics.accuracy > 0.9, "answers that mean nothing cannot be compared"
    result = kzoo.export_model(run, tmp_path / "m.tflite", quantize=quantize, max_drop=1)
    check_contents(result, promise, name)
    assert {each.name for each in result.float_operators} == FLOAT_OPERATORS.get((name, quantize), set())
    assert all(each.layer for each in result.float_operators)

    assert result.parity.samples == 269
    assert result.parity.max_difference <= promise.difference
    assert result.parity.agreement >= promise.agreement
    assert result.drop <= promise.drop
    if CATALOG[name].task == "image" and quantize in IN_SEVERAL_PARTS:
        assert (result.xnnpack_partitions == 1) != (name in IN_SEVERAL_PARTS[quantize])
    if quantize == "int8" and CATALOG[name].task == "image":
        check_pixels(result)
    check_order(run, LiteModel(result.path))


@pytest.mark.parametrize(("name", "quantize"), cells(impossible=True))
def test_what_is_impossible_is_refused(tmp_path: Path, name: str, quantize: Quantization) -> None:
    """Untrained: a refusal does not look at the weights."""
    shape = open_dataset("digits", kind=CATALOG[name].task).input.shape
    model = kzoo.create_model(name, input_shape=shape, classes=10)
    with pytest.raises(kzoo.ExportError, match=IMPOSSIBLE[name, quantize]):
        kzoo.export_model(model, tmp_path / "m.tflite", quantize=quantize, data="digits", max_drop=1)
    assert not list(tmp_path.iterdir())


def test_the_tables_speak_of_cells_that_exist() -> None:
    known = {(name, quantize) for name in CATALOG for quantize in PRECISIONS}
    assert {*IMPOSSIBLE, *FLOAT_OPERATORS, *FAST} <= known
    assert set(PROMISES) == set(PRECISIONS)


def check_contents(result: ExportResult, promise: Promise, name: str) -> None:
    """Builtin operators, and types as promised, those of the weights too; places in a vocabulary stay int32."""
    file = read_tflite(result.path)
    assert file.custom_operators == ()
    # Sizes are known and activations belong to the operator before.
    takes_text = CATALOG[name].task == "text"
    # A last step, a class token, halves of the channels.
    slices = CATALOG[name].task != "image" or name in ("vit_tiny", "shufflenet_v2")
    # The steps of a GRU, which has no operator of its own, are computed one by one, with biases for each, and packed.
    unrolled = name in ("gru", "bigru")
    needless = {"SHAPE", "RELU", "RELU6", *(() if unrolled else ("PACK",)), *(() if slices else ("STRIDED_SLICE",))}
    assert not {operator.name for operator in file.operators} & needless
    assert {tensor.dtype for tensor in result.inputs} == {"int32" if takes_text else promise.ends}
    assert {tensor.dtype for tensor in result.outputs} == {promise.ends}
    values = Counter()
    for tensor in file.tensors:
        values[tensor.dtype] += tensor.constant_size // np.dtype(tensor.dtype).itemsize
    share = 0.85 if unrolled and promise.ends.startswith("int") else promise.share
    assert values[promise.weights] >= share * values.total()


def check_pixels(result: ExportResult) -> None:
    """An app feeds its bytes as they are."""
    assert (result.inputs[0].scale, result.inputs[0].zero_point) == (1.0, -128)


def check_order(run: Run, lite: LiteModel) -> None:
    """No answer depends on what was asked before."""
    samples = open_source(run).dataset().test.load(np.arange(20))
    np.testing.assert_array_equal(lite.predict(samples), lite.predict(samples[::-1])[::-1])
