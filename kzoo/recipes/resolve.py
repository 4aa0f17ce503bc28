"""Find a recipe by its name, put the user's overrides over it, and check the result against the schema."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from kzoo.errors import RecipeError, nearest

from .schema import Recipe

_TYPES = ("int", "float", "str", "bool")


def list_recipes() -> list[str]:
    """Names of the packaged recipes: `TASK`, a medium (`sound`), `TASK.DATASET`, or a model on one of these."""
    entries = resources.files("kzoo.recipes").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def find_recipe(model: str, task: str, data: str, medium: str = "") -> str:
    """Name the packaged recipe that fits best: the model's own before those for all, the dataset's before the medium's.

    Args:
        model: Name in the catalogue, as `"resnet18"`.
        task: As the catalogue has it, `"image"` for one.
        data: Name of a dataset or a path, which no packaged recipe knows.
        medium: What its files are, as `kzoo.data.guess_medium` says.
    """
    known = set(list_recipes())
    if task == "reconstruction":
        # What is good for telling sounds apart changes them, and none of that is to be given back.
        medium = ""
    names = (f"{model}.{data}", f"{model}.{medium or task}", f"{task}.{data}", medium, task)
    return next(name for name in names if name in known)


def load_recipe(source: str | Path, *, model: str | None = None, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe and check it.

    Args:
        source: Name of a packaged recipe, or a path to a YAML file.
        model: Name of the architecture; takes the place of the recipe's own.
        overrides: Values by dotted key, as `{"optimizer.learning_rate": 0.1}`. A new `optimizer.name` or
            `schedule.name` starts that section afresh, since the options of one kind mean nothing to another.

    Raises:
        RecipeError: The file is missing, is not YAML, or does not fit the schema.
    """
    content = _read(source)
    if model is not None:
        content["model"] = {**_section(content, "model"), "name": model}
    chosen = dict(overrides or {})
    for section in ("optimizer", "schedule"):
        name = chosen.get(f"{section}.name")
        if name is not None and name != _section(content, section).get("name"):
            content[section] = {}
    for key, value in chosen.items():
        _set(content, key, value)
    return _validate(content, str(source))


def parse_setting(setting: str) -> tuple[str, Any]:
    """Split `"optimizer.learning_rate=0.1"` into its dotted key and its value, read as YAML.

    Raises:
        RecipeError: There is no `=`, or the value is not YAML.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"Expected --set KEY=VALUE, received {setting!r}. Example: --set optimizer.learning_rate=0.1")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"Expected a YAML value for {key}, received {text!r}.") from error
    if isinstance(value, str):
        # YAML 1.1 reads 1e-3 as a string; users mean the number.
        try:
            value = float(value)
        except ValueError:
            return key.strip(), value
    return key.strip(), value


def dump_recipe(recipe: Recipe) -> str:
    """Write a resolved recipe as YAML, every value spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _read(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if isinstance(source, str) and source in list_recipes():
        text = resources.files("kzoo.recipes").joinpath(f"{source}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise RecipeError(f"Expected a YAML recipe, received {path}, which is not UTF-8 text.") from error
    else:
        raise RecipeError(
            f"Expected a recipe, received {str(source)!r}, which is neither a file nor packaged. "
            + nearest(str(source), list_recipes())
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"Expected YAML in {source}, received text that is not: {_yaml_problem(error)}.") from error
    if content is None:
        raise RecipeError(f"Expected a YAML recipe, received {source}, which is empty. Give it a key, as epochs: 20.")
    if not isinstance(content, dict):
        raise RecipeError(f"Expected a YAML mapping in {source}, received {type(content).__name__}.")
    return content


def _yaml_problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}, {error.problem}"


def _section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    return dict(section) if isinstance(section, Mapping) else {}


def _set(content: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        if not isinstance(content.get(parent), dict):
            content[parent] = {}
        content = content[parent]
    content[last] = value


def _validate(content: Mapping[str, Any], source: str) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"Recipe {source}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """Turn pydantic's first complaint into one line: the key, what was expected, what was received."""
    first = error.errors(include_url=False)[0]
    # The tag of a union ("sgd") stands in the location but not in the file.
    keys = [str(part) for part in first["loc"]]
    section = _schema_of(keys[:-1])
    tagged = [key for index, key in enumerate(keys) if not (index == 1 and keys[0] in ("optimizer", "schedule"))]
    if first["type"] == "extra_forbidden":
        return f"unknown key {'.'.join(tagged)!r}. {nearest(keys[-1], section)}"
    # So does the type that a value of several types was last held against ("int").
    dotted = ".".join(key for key in tagged if key not in _TYPES and "[" not in key)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_invalid":
        known = first["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"unknown {dotted}.name {first['ctx']['tag']!r}. {nearest(first['ctx']['tag'], known)}"
    if first["type"] == "union_tag_not_found":
        return f"missing key '{dotted}.name'."
    if first["type"] == "missing":
        return f"missing key {dotted!r}."
    if first["type"].startswith("value_error"):
        return f"{message}."
    if first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        example = f"{dotted}.{next(iter(_schema_of(keys)))}" if dotted in Recipe.model_fields else f"{dotted}.KEY"
        return f"{dotted}: expected keys below it, as {example}=…, received {first['input']!r}."
    return f"{dotted}: {message[0].lower()}{message[1:]}, received {first['input']!r}."


def _schema_of(keys: list[str]) -> list[str]:
    """Names of the keys that the schema has below `keys`."""
    schema: type[BaseModel] = Recipe
    for key in keys:
        candidates = _models_in(schema.model_fields[key].annotation) if key in schema.model_fields else []
        if len(candidates) > 1:
            # A union: the next part of the location is its tag.
            tag = keys[keys.index(key) + 1] if keys.index(key) + 1 < len(keys) else ""
            candidates = [c for c in candidates if tag in typing.get_args(c.model_fields["name"].annotation)]
        if candidates:
            schema = candidates[0]
    return list(schema.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [model for part in typing.get_args(annotation) for model in _models_in(part)]
    return []
