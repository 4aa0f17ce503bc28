"""README agrees with the code: the catalogue's table, the commands and the files it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from kzoo.cli import cli
from kzoo.models import CATALOG

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_table_of_models_is_the_catalogue():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\d,]+) \| ([\d,.]+) M \| ([\d×]+) \|$", README, re.MULTILINE)
    expected = [
        (
            record.name,
            record.task,
            f"{record.trainable_parameters:,}",
            f"{record.macs / 1e6:,.1f}",
            "×".join(map(str, record.input_shape)),
        )
        for record in CATALOG.values()
    ]
    assert rows == expected


def commands():
    lines = re.findall(r"^\$ (?:KERAS_BACKEND=jax )?(kzoo .*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(lines) > 8
    return sorted(set(lines))


@pytest.mark.parametrize("line", commands())
def test_every_command_shown_exists_with_its_options(line):
    words = shlex.split(line)[1:]
    command = cli
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert command is not cli
    known = {option for parameter in command.params for option in parameter.opts}
    used = {word for word in words if word.startswith("--")}
    assert used <= known


def test_every_file_that_is_linked_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_make_target_shown_exists():
    makefile = (ROOT / "Makefile").read_text()
    shown = set(re.findall(r"(?:`|^\$ )make ([a-z]+)", README, re.MULTILINE))
    assert {"quickstart", "test"} <= shown
    for target in shown:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
