"""What the benches keep: trainings that others measure again, and rows of tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import kzoo
from bench import compression, machine, parents
from bench.machine import RESULTS
from kzoo.run import MODEL, Run

NAMES = ["bilstm.fsdd", "ds_cnn.fsdd", "lstm.fsdd", "mobilenet_v2.cifar10", "resnet8.cifar10"]


@pytest.fixture
def run(trained_run: Run, tmp_path: Path) -> Path:
    """A run on a folder of images."""
    copy = tmp_path / "run"
    shutil.copytree(trained_run.path, copy)
    recipe = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(recipe.replace("source: digits", f"source: {tmp_path / 'here' / 'photos'}"))
    return copy


def test_a_kept_training_comes_back_with_the_data_of_its_new_place(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "KEPT", tmp_path / "kept")
    parents.keep_parent("a.photos", run, tmp_path / "here" / "photos")
    kept = [file for file in (tmp_path / "kept" / "a.photos").iterdir() if file.name != MODEL]
    assert kept and not [file for file in kept if str(tmp_path) in file.read_text()]
    again, elsewhere = tmp_path / "again", tmp_path / "elsewhere" / "photos"
    assert parents.restore_parent("a.photos", again, elsewhere)
    assert Run(again).recipe.data.source == str(elsewhere)
    assert (Run(again).info, Run(again).metrics, Run(again).history()) == (
        Run(run).info,
        Run(run).metrics,
        Run(run).history(),
    )
    assert parents.name_weights(again) == parents.name_weights(run)


def test_what_is_kept_stays_and_what_is_unfinished_or_large_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "KEPT", tmp_path / "kept")
    data = tmp_path / "here" / "photos"
    assert not parents.restore_parent("a.photos", tmp_path / "again", data)
    Run(run).update(status="interrupted")
    parents.keep_parent("a.photos", run, data)
    assert not parents.KEPT.exists()
    Run(run).update(status="done")
    parents.keep_parent("a.photos", run, data)
    kept = parents.name_weights(parents.KEPT / "a.photos")
    (run / MODEL).write_bytes(b"another")
    parents.keep_parent("a.photos", run, data)
    assert parents.name_weights(parents.KEPT / "a.photos") == kept
    (run / MODEL).write_bytes(bytes(3_500_001))
    parents.keep_parent("b.photos", run, data)
    assert not (parents.KEPT / "b.photos").exists()


def test_these_trainings_are_kept() -> None:
    assert sorted(folder.name for folder in parents.KEPT.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_kept_training_is_that_of_the_table_and_any_app_can_load_it(name: str) -> None:
    kept = Run(parents.KEPT / name)
    rows = json.loads((RESULTS / "accuracy.json").read_text())["rows"]
    assert [row["test"] for row in rows if row["model"] == name] == [round(kept.metrics.accuracy, 4)]
    assert kept.recipe.data.source == f"KZOO_DATA/{name.partition('.')[2]}"
    model = kzoo.load(kept.path)
    assert model.count_params() == kept.info.parameters
    assert model(np.zeros((1, *kept.info.input.shape))).shape == (1, len(kept.info.classes))


def test_rows_of_an_earlier_parent_stay_until_all_are_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(model: str, parent: str, version: str) -> dict[str, str]:
        return {"model": model, "parent": parent, "version": version}

    other = row("ds_cnn.fsdd", "c", "dense")
    old = [row("resnet8.cifar10", "a", version) for version in ("dense", "int8", "qat")]
    new = [row("resnet8.cifar10", "b", version) for version in ("dense", "int8", "qat")]
    kept = [other, *old]
    monkeypatch.setattr(machine, "earlier_rows", lambda name: kept)
    kept = compression.with_earlier_parents(new[:2])
    assert kept == [*old, *new[:2], other]
    kept = compression.with_earlier_parents([new[0], new[2]])
    assert kept == [*new, other]
