"""Pictures to test with, and a cache that is each test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's cache out of the tests, and the tests out of it."""
    folder = tmp_path / "kzoo-cache"
    monkeypatch.setenv("KZOO_CACHE", str(folder))
    return folder


def _picture(height: int = 24, width: int = 24, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """A smooth picture without symmetry."""
    coarse = np.random.RandomState(seed).randint(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """Make a picture: `picture(height, width, seed, mode)`."""
    return _picture


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make class folders: `make_folder({"cat": 20, "dog": 20}, under="train")`."""

    def make(counts: dict[str, int], under: str = "", suffix: str = ".png", root: Path | None = None, side: int = 16):
        root = root or tmp_path / "pictures"
        for label, (name, count) in enumerate(counts.items()):
            folder = root / under / name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                seed = hash((label, number, len(under))) % 2**31
                _picture(side, side, seed).save(folder / f"{number:03d}{suffix}")
        return root

    return make
