"""Recipes: packaged ones are valid, overrides apply, mistakes are named."""

from __future__ import annotations

import pytest

from kzoo.errors import RecipeError
from kzoo.recipes import dump_recipe, find_recipe, list_recipes, load_recipe, parse_setting


@pytest.mark.parametrize("name", list_recipes())
def test_packaged_recipes_fit_the_schema_and_survive_being_written(name, tmp_path):
    recipe = load_recipe(name, model="cnn")
    file = tmp_path / "recipe.yaml"
    file.write_text(dump_recipe(recipe))
    assert load_recipe(file) == recipe


@pytest.mark.parametrize(
    ("model", "task", "data", "expected"),
    [
        ("resnet18", "image", "digits", "resnet18.digits"),
        ("cnn", "image", "digits", "image.digits"),
        ("resnet18", "image", "photos", "image"),
        ("lstm", "sequence", "digits", "sequence"),
        ("lstm", "sequence", "words", "sound"),
        ("ds_cnn", "sequence", "words", "ds_cnn.sound"),
        ("ds_cnn", "sequence", "digits", "sequence"),
        ("squeezenet", "image", "digits", "squeezenet.digits"),
        ("squeezenet", "image", "photos", "squeezenet.image"),
        ("vit_tiny", "image", "digits", "vit_tiny.digits"),
    ],
)
def test_the_closest_recipe_is_found(model, task, data, expected):
    assert find_recipe(model, task, data, medium="sound" if data == "words" else "") == expected


def test_overrides_reach_any_depth():
    recipe = load_recipe("image", model="cnn", overrides={"augmentation.randaugment.operations": 3, "epochs": 7})
    assert recipe.augmentation.randaugment.operations == 3
    assert recipe.epochs == 7


def test_another_optimizer_starts_from_its_own_defaults():
    recipe = load_recipe("resnet18.digits", model="resnet18", overrides={"optimizer.name": "adam"})
    assert recipe.optimizer.learning_rate == 1e-3
    assert recipe.optimizer.ema is None
    kept = load_recipe("resnet18.digits", model="resnet18", overrides={"optimizer.name": "sgd"})
    assert kept.optimizer.nesterov


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimzer.name": "adam"}, "unknown key 'optimzer'. Did you mean optimizer?"),
        ({"augmentation.rotatoin": 5}, "unknown key 'augmentation.rotatoin'. Did you mean rotation?"),
        ({"optimizer.nestrov": True}, "unknown key 'optimizer.nestrov'. Did you mean nesterov?"),
        ({"schedule.name": "cosin"}, "unknown schedule.name 'cosin'. Did you mean cosine"),
        ({"schedule.name": "step", "schedule.peak": 0.1}, "unknown key 'schedule.peak'"),
        ({"epochs": 0}, "epochs: input should be greater than or equal to 1, received 0"),
        ({"data.fractions": [0.5, 0.5, 0.5]}, "fractions must sum to 1"),
        ({"schedule.warmup_epochs": 20}, "warmup_epochs must be less than epochs"),
        ({"optimizer.clipnorm": 1, "optimizer.clipvalue": 1}, "choose one kind of gradient clipping"),
        ({"optimizer.learning_rate": float("nan")}, "finite number"),
        ({"precision": "float16"}, "precision"),
    ],
)
def test_mistakes_are_named_in_one_line(overrides, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe("resnet18.digits", model="resnet18", overrides=overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1, 2", "Expected YAML"), ("- a", "Expected a YAML mapping"), ("epochs: 3", "missing key 'model'")],
)
def test_a_file_that_is_no_recipe(tmp_path, content, message):
    file = tmp_path / "recipe.yaml"
    file.write_text(content)
    with pytest.raises(RecipeError, match=message):
        load_recipe(file)


def test_yaml_cannot_run_code(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("model: !!python/object/apply:os.system ['touch " + str(tmp_path / "ran") + "']")
    with pytest.raises(RecipeError):
        load_recipe(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("epochs=3", ("epochs", 3)),
        ("optimizer.learning_rate=1e-3", ("optimizer.learning_rate", 0.001)),
        ("augmentation.flip=null", ("augmentation.flip", None)),
        ("input.size=[32, 48]", ("input.size", [32, 48])),
        ("data.source=a=b", ("data.source", "a=b")),
    ],
)
def test_settings_are_read_as_yaml(setting, expected):
    assert parse_setting(setting) == expected


def test_a_setting_without_a_value_is_an_error():
    with pytest.raises(RecipeError, match="--set KEY=VALUE"):
        parse_setting("epochs")
