"""Models of mixed precision as float32 models."""

from __future__ import annotations

from typing import Any

import keras


def as_float32(model: keras.Model) -> keras.Model:
    """The model with every layer in float32: mixed precision is for training, the converter cannot take it."""
    config = model.get_config()
    wanted = _with_float32(config)
    if wanted == config:
        return model
    converted = type(model).from_config(wanted)
    converted.set_weights(model.get_weights())
    return converted


def _with_float32(config: Any) -> Any:
    reduced = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64")
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and config["config"].get("name") in reduced:
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {
            key: "float32" if key == "dtype" and value in reduced else _with_float32(value)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_with_float32(item) for item in config)
    return config
