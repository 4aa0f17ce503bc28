"""What is left out of an import, and that nothing is left out afterwards."""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys

import pytest

from kzoo.lean_imports import hidden, lean_imports


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that can be imported, and was not yet."""
    (tmp_path / "seldom.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield "seldom"
    sys.modules.pop("seldom", None)


def test_a_hidden_package_is_missing_until_the_block_ends(package):
    with hidden({package}), pytest.raises(ModuleNotFoundError, match=package):
        importlib.import_module(package)
    assert importlib.import_module(package).__name__ == package


def test_what_is_imported_already_stays(package):
    importlib.import_module(package)
    with hidden({package}):
        importlib.import_module(package)


def test_garbage_is_collected_again_afterwards():
    with pytest.raises(ZeroDivisionError), lean_imports():
        assert not gc.isenabled()
        1 / 0  # noqa: B018 - an import that fails
    assert gc.isenabled()
    gc.unfreeze()


@pytest.mark.parametrize("said", ["environment", "file"])
def test_the_backend_itself_is_never_hidden(tmp_path, monkeypatch, said):
    monkeypatch.setattr("sys.modules", {name: each for name, each in sys.modules.items() if name != "jax"})
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "jax" if said == "file" else "tensorflow"}))
    monkeypatch.setenv("KERAS_BACKEND", "jax" if said == "environment" else "")
    with lean_imports():
        finder = sys.meta_path[0]
        assert finder.find_spec("jax") is None
        with pytest.raises(ModuleNotFoundError):
            finder.find_spec("sklearn")
    gc.unfreeze()


SCRIPT = """
import sys
from kzoo.cli.terminal import load_keras
load_keras()
left_out = {"sklearn", "matplotlib", "pandas"} - set(sys.modules)
import keras, sklearn.metrics, matplotlib.figure
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
print(sorted(left_out), model.count_params())
"""


@pytest.mark.slow(5)
def test_keras_works_without_what_it_only_tries():
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "['matplotlib', 'pandas', 'sklearn'] 3"
