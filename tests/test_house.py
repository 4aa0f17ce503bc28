"""The house as it was drawn: which room imports what, what is packaged, how large a file may grow."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import kzoo

ROOT = Path(__file__).parent.parent
ROOMS = ("kzoo", "models", "export")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
LONGEST = 400

# What a room, or a single file, may import beside the standard library and, relatively, its own modules.
ALLOWED = {
    "models": {"keras", "numpy", "kzoo.macs"},
    "export": {
        "keras",
        "tf_keras",
        "tensorflow",
        "tensorflow_model_optimization",
        "flatbuffers",
        "numpy",
        "pydantic",
        "jinja2",
        "kzoo.errors",
        "kzoo.files",
        "kzoo.lean_imports",
        "kzoo.macs",
        "kzoo.export",
    },
    "kzoo/errors.py": set(),
    "kzoo/files.py": set(),
    "kzoo/lean_imports.py": set(),
    "kzoo/macs.py": {"keras"},
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every import in a file, wherever it stands: how many dots it begins with, and the dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = f"{node.module}." if node.module else ""
            yield from ((node.level, f"{module}{alias.name}") for alias in node.names)


def outside(path: Path) -> set[str]:
    """Absolute imports of a file that are not of the standard library."""
    names = {name for dots, name in imports(path) if not dots}
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.parametrize("place", ALLOWED)
def test_a_room_imports_only_what_it_may(place: str) -> None:
    files = [path for path in SOURCES if f"{relative(path)}/".startswith(f"{place}/")]
    assert files
    allowed = tuple(f"{name}." for name in ALLOWED[place])
    wrong = {(relative(path), name) for path in files for name in outside(path) if not f"{name}.".startswith(allowed)}
    assert not wrong


def test_relative_imports_stay_in_their_folder() -> None:
    assert not [(relative(path), name) for path in SOURCES for dots, name in imports(path) if dots > 1]


def test_only_the_starter_imports_the_command_line() -> None:
    files = [path for path in SOURCES if not relative(path).startswith("kzoo/cli/")]
    users = {relative(path) for path in files if any(name.startswith("kzoo.cli") for name in outside(path))}
    assert users == {"kzoo/__main__.py"}


def test_every_package_that_is_imported_is_declared() -> None:
    # What is optional is imported where it is used.
    requirements = [*setup()["options"]["install_requires"].split(), *setup()["options.extras_require"]["jax"].split()]
    declared = {canonicalize_name(Requirement(requirement).name) for requirement in requirements}
    homes = metadata.packages_distributions()
    imported = {name.split(".")[0] for path in SOURCES for name in outside(path)} - {"kzoo"}
    assert not {name for name in imported if not declared & set(map(canonicalize_name, homes.get(name, [])))}


def test_only_the_command_line_prints() -> None:
    prints = [
        (relative(path), node.lineno)
        for path in SOURCES
        if not relative(path).startswith("kzoo/cli/")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not prints


def test_no_file_grows_too_long() -> None:
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_every_folder_of_code_is_packaged() -> None:
    options = setup()["options"]
    homes = dict(line.split(" = ") for line in options["package_dir"].strip().splitlines())
    # The longest name that fits says where a package lies.
    folders = set()
    for package in options["packages"].split():
        home = max((name for name in homes if f"{package}.".startswith(f"{name}.")), key=len)
        folders.add(homes[home] + package.removeprefix(home).replace(".", "/"))
    assert folders == {relative(path.parent) for path in SOURCES}
    assert all((ROOT / folder / "__init__.py").is_file() for folder in folders)


def test_the_version_is_said_alike() -> None:
    assert kzoo.__version__ == setup()["metadata"]["version"]
    assert f"\n## [{kzoo.__version__}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_importing_the_rooms_imports_nothing_heavy() -> None:
    script = (
        "import sys, kzoo, kzoo.models, kzoo.export, kzoo.data, kzoo.cli; "
        "heavy = {'keras', 'tensorflow', 'tf_keras', 'jax', 'matplotlib', 'sklearn', 'pydantic', 'yaml', 'rich'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
