"""What is built, and whether it works where it is installed: sdist, wheel, a full environment, that of a device."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image
from sklearn.datasets import load_digits

import kzoo

ROOT = Path(__file__).parent.parent
ROOMS = {"kzoo": "kzoo", "models": "kzoo/models", "export": "kzoo/export"}

# The fixtures are made anew in every process of a parallel run: alike, the tests stay together in one.
pytestmark = pytest.mark.slow(30)


@dataclass(frozen=True)
class Built:
    """The tree that was built, file by file, and what came of it."""

    tree: Path
    files: tuple[str, ...]
    sdist: Path
    wheel: Path

    def packaged(self) -> set[str]:
        """Names that the tree's packages have in a wheel."""
        rooms = (name.split("/", 1) for name in self.files if name.split("/", 1)[0] in ROOMS)
        return {f"{ROOMS[room]}/{rest}" for room, rest in rooms}


@dataclass(frozen=True)
class Environment:
    """A virtual environment of its own, used as its user would: by processes, from a folder apart."""

    path: Path
    cwd: Path

    @property
    def site(self) -> Path:
        return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(self.path)}))

    def call(self, program: str, *arguments: object, status: int = 0) -> str:
        """What a program wrote: to standard output, or where it must fail to standard error."""
        return call(self.path / "bin" / program, *arguments, cwd=self.cwd, status=status)

    def install(self, wheel: Path) -> None:
        python = self.path / "bin" / "python"
        pip = ("-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python)
        call(sys.executable, *pip, "install", "--no-deps", "--no-index", wheel, cwd=self.cwd)


def call(*command: object, cwd: Path, status: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    arguments = list(map(str, command))
    finished = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == status, finished.stdout + finished.stderr
    return finished.stderr if status else finished.stdout


def build(tree: Path, *options: str, out: Path) -> None:
    call(sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", out, tree, cwd=out.parent)


def new_environment(path: Path) -> Environment:
    venv.EnvBuilder(symlinks=True).create(path / "venv")
    (path / "elsewhere").mkdir()
    return Environment(path / "venv", path / "elsewhere")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built from a copy without what git ignores, so that nothing is written here and no old build gets in."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    files = tuple(name for name in names if (ROOT / name).is_file())
    folder = tmp_path_factory.mktemp("built")
    for name in files:
        target = folder / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    # Without options the wheel is built from the sdist.
    build(folder / "tree", out=folder / "dist")
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return Built(folder / "tree", files, sdist, wheel)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in an environment that finds its dependencies here. kzoo as it is edited is not among them."""
    environment = new_environment(tmp_path_factory.mktemp("installed"))
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # Of a folder that is named so, its own .pth files are not read.
    (environment.site / "dependencies.pth").write_text("".join(f"{path}\n" for path in here))
    environment.install(built.wheel)
    return environment


@pytest.fixture(scope="module")
def run(installed: Environment) -> Path:
    return installed.cwd / installed.call("kzoo", "train", "cnn", "--epochs", 1).splitlines()[-1]


@pytest.fixture(scope="module")
def tflite(installed: Environment, run: Path) -> Path:
    """A file whose model is hardly trained: what it loses is not at stake."""
    return Path(installed.call("kzoo", "export", run, "--quantize", "int8", "--max-drop", 100).splitlines()[-1])


@pytest.fixture(scope="module")
def device(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, what requirements-edge.txt names, what that requires, and nothing else."""
    environment = new_environment(tmp_path_factory.mktemp("device"))
    for distribution in required_by((ROOT / "requirements-edge.txt").read_text()):
        files = distribution.files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            link = environment.site / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))))
    environment.install(built.wheel)
    return environment


def required_by(requirements: str) -> list[metadata.Distribution]:
    """Installed distributions that satisfy the lines of a requirements file, and theirs in turn."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [line for line in requirements.splitlines() if line and not line.startswith("#")]
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[requirement.name] = metadata.distribution(requirement.name)
        waiting += found[requirement.name].requires or []
    return list(found.values())


def contents(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


def test_the_wheel_holds_every_file_of_the_three_rooms_and_nothing_else(built: Built) -> None:
    names = set(contents(built.wheel))
    info = f"kzoo-{kzoo.__version__}.dist-info"
    assert {name for name in names if not name.startswith(f"{info}/")} == built.packaged()
    assert {"kzoo/py.typed", "kzoo/models/catalog.py", "kzoo/export/bridge.py"} <= names
    assert {"kzoo/recipes/image.yaml", "kzoo/evaluation/report.html.j2", f"{info}/licenses/LICENSE"} <= names
    with zipfile.ZipFile(built.wheel) as archive:
        assert "kzoo = kzoo.cli:main" in archive.read(f"{info}/entry_points.txt").decode()


def test_the_sdist_is_the_whole_source_without_the_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {member.name.split("/", 1)[1] for member in archive if member.isfile()}
    assert {name for name in built.files if name.split("/")[0] in ROOMS} <= names
    also = {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "setup.cfg", "requirements-edge.txt"}
    assert also <= names
    assert not {name for name in names if name.startswith(("tests/", "bench/"))}


def test_tree_and_sdist_build_the_same_wheel(built: Built, tmp_path: Path) -> None:
    build(built.tree, "--wheel", out=tmp_path / "dist")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert contents(wheel) == contents(built.wheel)


def test_the_installed_wheel_trains(installed: Environment, run: Path) -> None:
    where = installed.call("python", "-c", "import kzoo, kzoo.models; print(kzoo.__file__, kzoo.models.__file__)")
    assert all(Path(file).is_relative_to(installed.site) for file in where.split())
    assert installed.call("kzoo", "--version").split()[-1] == kzoo.__version__
    trained = kzoo.Run(run)
    assert trained.info.status == "done"
    assert len(trained.history()) == 1
    # Ten classes; one epoch is enough to know that something was learnt.
    assert trained.metrics.accuracy > 0.3


def test_the_trained_model_loads_where_kzoo_is_not(run: Path) -> None:
    script = (
        "import sys; sys.modules['kzoo'] = None; import keras, numpy; "
        f"model = keras.saving.load_model({str(run / 'model.keras')!r}); "
        "print(model.predict(numpy.zeros((1, *model.input_shape[1:])), verbose=0).sum())"
    )
    assert float(call(sys.executable, "-I", "-c", script, cwd=run).splitlines()[-1]) == pytest.approx(1, abs=1e-5)


def test_a_device_needs_requirements_edge_only(device: Environment, tflite: Path) -> None:
    wanting = ["pydantic", "yaml", "sklearn", "keras", "tensorflow", "matplotlib", "jinja2"]
    probe = f"from importlib.util import find_spec; print([n for n in {wanting} if find_spec(n)])"
    assert device.call("python", "-c", probe).strip() == "[]"

    digit = load_digits().images[0] / 16 * 255
    image = device.cwd / "digit.png"
    Image.fromarray(digit.round().astype(np.uint8)).save(image)
    (answer,) = json.loads(device.call("kzoo", "predict", tflite, image, "--json"))
    (expected,) = kzoo.predict(tflite, [image])
    assert answer["classes"] == list(expected.classes)
    assert answer["probabilities"] == pytest.approx(expected.probabilities)

    (figures,) = json.loads(device.call("kzoo", "benchmark", tflite, "--runs", 10, "--json"))
    assert figures["runs"] == 10
    assert figures["size"] == tflite.stat().st_size
    assert re.search(r"\d ms", device.call("kzoo", "benchmark", tflite, "--runs", 10))
    found = json.loads(device.call("kzoo", "check", tflite, "--target", "tflm", "--json"))
    assert (found["ok"], found["trial"]["problem"], found["xnnpack"]["partitions"]) == (True, None, 1)
    assert "resnet18" in device.call("kzoo", "list")
    assert "is not installed" in device.call("kzoo", "evaluate", tflite, status=1)
