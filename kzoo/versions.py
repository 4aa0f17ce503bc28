"""Which versions made a result."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = ("kzoo", "keras", "tensorflow", "tf-keras", "ai-edge-litert", "numpy", "jax")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that a figure depends on, without importing them."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
