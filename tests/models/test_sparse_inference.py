"""`sparse_inference`: the same network in a shape that TF-MOT prunes for XNNPACK's sparse kernels."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from kzoo.models import create_model

from .golden import assert_alike, pixels, scatter

CASES: list[tuple[str, dict[str, Any]]] = [
    ("mobilenet_v1", {"alpha": 0.25}),
    ("mobilenet_v1_025_96", {}),
    ("mobilenet_v2", {"alpha": 0.35}),
    ("mobilenet_v3_small", {"minimalistic": True}),
    ("efficientnet_lite0", {}),
]

# In a process of its own, which TF-MOT changes.
ASK_TFMOT = """
import json, sys
from kzoo.export.bridge import build_bridge
from kzoo.export.graph import read_graph
from kzoo.models import create_model
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_policy
policy, answers = pruning_policy.PruneForLatencyOnXNNPack(), []
for name, arguments in json.loads(sys.argv[1]):
    model = create_model(name, input_shape=(96, 96, 3), classes=3, **arguments)
    try:
        policy.ensure_model_supports_pruning(build_bridge(read_graph(model)))
        answers.append("accepted")
    except ValueError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


@pytest.mark.parametrize(("name", "arguments"), [*CASES, ("mobilenet_v3_small", {})])
def test_the_same_weights_give_the_same_outputs(name: str, arguments: dict[str, Any]) -> None:
    # At 97 pixels every strided layer meets an odd size, which is padded alike however it is written.
    shape = (97, 97, 3)
    ends = {"input_shape": shape, "classes": 3, "classifier_activation": None}
    plain, sparse = (create_model(name, sparse_inference=each, **ends, **arguments) for each in (False, True))
    images = pixels(2, *shape)
    scatter(plain, images)
    assert sparse.count_params() == plain.count_params()
    sparse.set_weights(plain.get_weights())
    assert_alike(sparse.predict_on_batch(images), plain.predict_on_batch(images))
    stem = sparse.get_layer("stem_conv")
    assert stem.strides == (2, 2) and stem.padding == "valid"
    assert sparse.get_layer("stem_pad").padding == ((1, 1), (1, 1))
    assert sparse.get_layer("avg_pool").keepdims and not plain.get_layer("avg_pool").keepdims


def test_without_the_classifier_the_features_are_the_same() -> None:
    arguments = {"input_shape": (70, 70, 3), "include_top": False, "pooling": "avg", "alpha": 0.35}
    plain, sparse = (create_model("mobilenet_v2", sparse_inference=each, **arguments) for each in (False, True))
    sparse.set_weights(plain.get_weights())
    images = pixels(2, 70, 70, 3)
    np.testing.assert_allclose(sparse.predict_on_batch(images), plain.predict_on_batch(images), atol=1e-6)


def test_tfmot_prunes_these_models_for_latency() -> None:
    sparse = [(name, {**arguments, "sparse_inference": True}) for name, arguments in CASES]
    refused = [("mobilenet_v1_025_96", {}), ("mobilenet_v3_small", {"sparse_inference": True})]
    command = [sys.executable, "-c", ASK_TFMOT, json.dumps([*sparse, *refused])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *accepted, without, swish = json.loads(done.stdout.splitlines()[-1])
    assert accepted == ["accepted"] * len(sparse)
    # Keras's padding, and MobileNetV3's hard-swish.
    assert "`padding == 1`" in without and "Activation" in swish
