"""Gzip as files of weights need it."""

from __future__ import annotations

import itertools
import zlib

# A window of 32 KB with gzip's header, whose time is 0: the same bytes give the same file.
_GZIP = 16 + zlib.MAX_WBITS
# How long a block may be that shares its code: 8 is gzip's, and shorter blocks follow kernels that differ.
_MEMORY = (6, 7, 8, 9)
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY)


def pack_gzip(content: bytes) -> bytes:
    """Compress with each of zlib's strategies and block lengths and give the shortest, which any gunzip unpacks.

    The default looks for repeated strings. Among the weights of a pruned kernel those are short runs of zeros, which
    cost more as references to earlier ones than as a bit each: without references such a file gets shorter.

    Args:
        content: what to compress.

    Returns:
        A gzip file of one member (RFC 1952), no longer than that of `gzip -9`.
    """
    return min((_packed(content, *each) for each in itertools.product(_MEMORY, _STRATEGIES)), key=len)


def _packed(content: bytes, memory: int, strategy: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, _GZIP, memory, strategy)
    return compressor.compress(content) + compressor.flush()
