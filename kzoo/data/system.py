"""What the machine offers: a place for files that can be made again, memory, processors."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Where neither Linux' files nor POSIX' sysconf say how much memory there is.
_ASSUMED_MEMORY = 4 * 2**30
# Samples are kept where they take no more than a quarter of the memory that is free.
_SHARE_FOR_SAMPLES = 4


def cache_path(*parts: str) -> Path:
    """Give a path in the user's cache: under `$KZOO_CACHE`, else `~/.cache/kzoo`. It need not exist."""
    chosen = os.environ.get("KZOO_CACHE")
    base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kzoo"
    return base.joinpath(*parts)


def available_memory() -> int:
    """Say how many bytes this process can still take without swapping: the machine's share or the container's."""
    return min(_machine_memory(), _container_memory())


def fits_memory(size: int) -> bool:
    """Say whether samples of `size` bytes may be kept: they take at most a quarter of what is free."""
    return size * _SHARE_FOR_SAMPLES <= available_memory()


def processors() -> int:
    """Count the processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_pool() -> ThreadPoolExecutor:
    """Give the threads that decode images; Pillow releases the interpreter lock while it does."""
    return _pool_of_process(os.getpid())


def spans(count: int) -> list[range]:
    """Cut `count` places into spans for the threads, four for each so that none waits long for another."""
    length = max(1, -(-count // (4 * processors())))
    return [range(start, min(start + length, count)) for start in range(0, count, length)]


@functools.lru_cache(maxsize=1)
def _pool_of_process(_process: int) -> ThreadPoolExecutor:
    # By process, since the threads of a pool do not survive a fork.
    return ThreadPoolExecutor(max_workers=min(16, processors()), thread_name_prefix="kzoo-decode")


def _machine_memory() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return _ASSUMED_MEMORY
    except OSError:
        pass  # not Linux
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _ASSUMED_MEMORY


def _container_memory(group: Path = Path("/sys/fs/cgroup")) -> int:
    """Give what the control group still grants; file pages that the kernel can drop count as free."""
    unlimited = 2**63
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return unlimited
        used = int((group / "memory.current").read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(statistics.get("inactive_file", 0)))
    except (OSError, ValueError):
        return unlimited
