"""A `.tflite` file with a small, complete program for the place where it shall run.

`write_kit` writes the folder. What a program says of its model (shapes, scales, labels, how a picture is brought to
size) comes from the file's own facts; the programs are the Jinja2 templates beside this file.
"""

from __future__ import annotations

from .write import PLATFORMS, Platform, check_free, write_kit

__all__ = ["PLATFORMS", "Platform", "check_free", "write_kit"]
