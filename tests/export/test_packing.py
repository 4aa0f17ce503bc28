"""Gzip as files of weights need it."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from kzoo.export import pack_gzip


def kernels(sparsity: float) -> bytes:
    weights = np.random.default_rng(0).normal(0, 30, 80_000)
    weights[np.abs(weights) < np.quantile(np.abs(weights), sparsity)] = 0
    return weights.clip(-127, 127).astype("int8").tobytes()


CONTENTS = [b"", b"kzoo" * 1000, kernels(0.0), kernels(0.5), kernels(0.0)[:9000] + kernels(0.9)[:9000]]


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_what_is_packed_unpacks_and_is_no_longer_than_with_gzip(content: bytes) -> None:
    packed = pack_gzip(content)
    assert gzip.decompress(packed) == content
    assert len(packed) <= len(gzip.compress(content, compresslevel=9))
    assert pack_gzip(content) == packed


def test_zeros_cost_little_more_than_their_entropy() -> None:
    content = kernels(0.5)
    share = np.unique(np.frombuffer(content, "int8"), return_counts=True)[1] / len(content)
    entropy = -(share * np.log2(share)).sum() * len(content) / 8
    assert len(pack_gzip(content)) < 1.02 * entropy
    assert len(gzip.compress(content, compresslevel=9)) > 1.1 * entropy
