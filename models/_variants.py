"""One builder a family, one public function a variant.

A builder takes the variant's plan first and then what every factory takes. `variant` makes the public function: the
plan is bound, the name is the default name, and the docstring says what the family's builder says.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import keras

Plan = TypeVar("Plan")
Arguments = ParamSpec("Arguments")

_SHARED = {
    "image arguments": """
include_top: end with pooling and the classifier.
weights: None for fresh weights, or the path of a `.weights.h5` file.
input_shape: `(height, width, channels)`; height and width may be None.
pooling: only with `include_top=False`: None gives the last feature map `(batch, height, width, channels)`, `"avg"`
    or `"max"` one vector `(batch, channels)`.
classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
classifier_activation: `"softmax"` for probabilities, None for logits.
name: the model's name.
dropout: share of the classifier's inputs dropped in training. Used with `include_top` only.
activation: a Keras activation by name.
pixel_scaling: what becomes of the pixels 0-255 first: `"unit"` p / 255, which an int8 input absorbs exactly. For
    weights from elsewhere: `"signed"` p / 127.5 - 1, `"imagenet"` (p / 255 - mean) / deviation of ImageNet's channels,
    `"caffe"` p - mean.
""",
    "sparse argument": """
sparse_inference: build the shape that XNNPACK's sparse kernels and TF-MOT's `PruneForLatencyOnXNNPack` ask for: a
    stem of stride 2 on 3 channels that pads both sides alike, and average pooling to a 1x1 map
    (https://arxiv.org/abs/1911.09723). Parameters stay the same. Needs images of more than 64 pixels a side.
""",
    "padding argument": """
padding: of strided convolutions: `"symmetric"` pads both sides alike, as PyTorch does, `"same"` an even input on the
    far side only, as TensorFlow does; for weights from elsewhere. `sparse_inference` needs the first. Default: as the
    network is described above.
""",
    "sequence arguments": """
include_top: classify.
weights: None for fresh weights, or the path of a `.weights.h5` file.
input_shape: `(steps, features)`.
pooling: only with `include_top=False`: None gives every step's features, `"avg"` or `"max"` that over the steps.
classes: how many the classifier tells apart. Used with `include_top` only, like the next argument.
classifier_activation: `"softmax"` for probabilities, None for logits.
name: the model's name.
dropout: share of units dropped in training.
""",
}


def variant(
    build: Callable[Concatenate[Plan, Arguments], keras.Model],
    plan: Plan,
    name: str,
    summary: str,
    **defaults: Any,
) -> Callable[Arguments, keras.Model]:
    """Make the public function of one variant.

    Args:
        build: the family's builder. Its docstring is the variant's below `summary`; a line `{image arguments}`,
            `{sequence arguments}`, `{sparse argument}` or `{padding argument}` in it stands for the documentation of
            arguments that all such models have.
        plan: what tells this variant from the others, the builder's first argument.
        name: the function's name, and the default of the argument `name`.
        summary: the docstring's first line.
        **defaults: of the builder's other arguments, where the variant's differ.

    Returns:
        A function of the builder's other arguments.
    """
    plan_parameter, *others = inspect.signature(build, eval_str=True).parameters.values()
    changed = {"name": name, **defaults}
    signature = inspect.Signature(
        [each.replace(default=changed.get(each.name, each.default)) for each in others],
        return_annotation=keras.Model,
    )

    bound: Callable[..., keras.Model] = functools.partial(build, plan)

    def factory(*args: Arguments.args, **kwargs: Arguments.kwargs) -> keras.Model:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        return bound(**call.arguments)

    factory.__name__ = factory.__qualname__ = name
    factory.__module__ = build.__module__
    factory.__doc__ = f"{summary}\n\n{_documentation(build)}"
    factory.__signature__ = signature  # type: ignore[attr-defined]
    # They name the plan's type, which a variant does not take.
    factory.__annotations__ = {key: value for key, value in build.__annotations__.items() if key != plan_parameter.name}
    return factory


def _documentation(build: Callable[..., Any]) -> str:
    """Give a builder's docstring with the shared arguments written out."""
    lines = []
    for line in inspect.cleandoc(build.__doc__ or "").splitlines():
        shared = _SHARED.get(line.strip().strip("{}"))
        indent = line[: len(line) - len(line.lstrip())]
        lines += [line] if shared is None else [f"{indent}{each}" for each in shared.strip().splitlines()]
    return "\n".join(lines)
