"""Peak memory of one file in a fresh process: `python -m kzoo.export._memory FILE RUNTIME THREADS`. See `timing.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from .runtime import LiteModel, load_runtime

_STATUS = Path("/proc/self/status")
_RUNS = 3


def main(path: str, runtime: str, threads: int) -> None:
    """Write the growth in bytes to standard output, nothing where the system does not say."""
    load_runtime(runtime)
    if not _STATUS.exists():
        return
    before = _resident("VmRSS")
    # The peak so far is that of importing; 5 resets it (proc(5)). Where that is forbidden the growth counts from it.
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        before = _resident("VmHWM")
    model = LiteModel(path, runtime=runtime, threads=threads)
    model.feed_random()
    for _ in range(_RUNS):
        model.invoke()
    sys.stdout.write(f"{max(0, _resident('VmHWM') - before)}\n")


def _resident(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
