"""`python -m kzoo`."""

from __future__ import annotations

from kzoo.cli import main

main()
