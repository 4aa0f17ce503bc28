"""KerasHub's backbones: functional models of classes of their own, some with layers of their own.

KerasHub is no dependency of kzoo: `pip install keras-hub` to run this (0.32.0 was the last it was run with).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kzoo.export import export_model

keras_hub = pytest.importorskip("keras_hub", reason="KerasHub, whose models are exported here, is not installed")


def vgg() -> keras.Model:
    return keras_hub.models.VGGBackbone(
        stackwise_num_repeats=[1, 1], stackwise_num_filters=[8, 16], image_shape=(32, 32, 3)
    )


def densenet() -> keras.Model:
    return keras_hub.models.DenseNetBackbone(stackwise_num_repeats=[2, 2], image_shape=(32, 32, 3))


def resnet() -> keras.Model:
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(32, 32, 3),
    )


def bert() -> keras.Model:
    """Three inputs of token ids, fixed to eight tokens by wrapping the backbone, and a head."""
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=50, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, max_sequence_length=8
    )
    names = ("token_ids", "segment_ids", "padding_mask")
    inputs = {name: keras.Input((8,), dtype="int32", name=name) for name in names}
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(backbone(inputs)["pooled_output"]))


def feed(model: keras.Model) -> Any:
    rng = np.random.default_rng(0)
    arrays = {}
    for tensor in model.inputs:
        shape = (20, *tensor.shape[1:])
        if tensor.dtype == "int32":
            arrays[tensor.name] = rng.integers(0, 50 if tensor.name == "token_ids" else 2, shape, np.int32)
        else:
            arrays[tensor.name] = rng.uniform(0, 255, shape).astype(np.float32)
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


@pytest.mark.parametrize("build", [vgg, densenet, resnet, bert], ids=lambda build: build.__name__)
def test_a_backbone_answers_alike(build: Any, target: Path) -> None:
    keras.utils.set_random_seed(0)
    model = build()
    samples = feed(model)
    result = export_model(model, target, verification=(samples, None))
    answers = np.abs(model.predict(samples, verbose=0)).max()
    assert result.parity.max_difference < 1e-5 * answers
    integers = export_model(
        model, target, quantize="int8", calibration=samples, verification=(samples, None), max_drop=1, overwrite=True
    )
    assert integers.parity.cosine > 0.99
    assert {tensor.dtype for tensor in integers.outputs} == {"int8"}
