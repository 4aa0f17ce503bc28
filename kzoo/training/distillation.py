"""Learning from teachers: the loss, and trained classifiers made ready to teach.

Hinton et al. 2015, arXiv 1503.02531; matching of features: Romero et al. 2014, arXiv 1412.6550.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from kzoo.errors import RunError
from kzoo.exits import LAST, exit_order
from kzoo.zoo import head_layers, load_keras_file

if TYPE_CHECKING:
    from kzoo.data import InputSpec
    from kzoo.run import RunInfo

# Far below any probability that a float32 softmax gives, far above where its logarithm ends.
_SMALLEST = 1e-30


def distillation_loss(
    labels: Any,
    student: Any,
    teachers: Any,
    *,
    temperature: float = 4.0,
    weight: float = 0.5,
    logits: bool = False,
    label_smoothing: float = 0.0,
) -> Any:
    """Weigh what the labels say of a student's answers against what the teachers say.

    (1 − weight) × cross-entropy to the labels + weight × temperature² × divergence (Kullback–Leibler) from the
    teachers' softened probabilities. Their gradient is that of the paper's cross-entropy to soft targets; the
    divergence is 0 where student and teachers agree. Probabilities are softened by taking their logarithms for logits,
    which they are up to a constant that a softmax does not see.

    Args:
        labels: `(batch, classes)`, one-hot or mixed.
        student: `(batch, classes)`, probabilities or logits.
        teachers: Probabilities of one teacher `(batch, classes)` or of several `(teachers, batch, classes)`, whose
            softened probabilities are averaged.
        temperature: What logits are divided by before the softmax of the teachers' part.
        weight: Share of the teachers' part, 0–1.
        logits: Whether the student answers with logits.
        label_smoothing: Share of the labels that is spread over all classes.

    Returns:
        The loss of each sample, `(batch,)`, float32.

    Example:
        >>> probabilities = [[0.75, 0.25]]
        >>> float(distillation_loss([[1.0, 0.0]], probabilities, probabilities, weight=1.0)[0])
        0.0
    """
    labels, student = ops.cast(labels, "float32"), ops.cast(student, "float32")
    scores = student if logits else _log(student)
    labels = labels * (1.0 - label_smoothing) + label_smoothing / labels.shape[-1]
    said = -ops.sum(labels * ops.log_softmax(scores, axis=-1), axis=-1)
    soft = ops.softmax(_log(ops.cast(teachers, "float32")) / temperature, axis=-1)
    if len(soft.shape) == 3:
        soft = ops.mean(soft, axis=0)
    soft = ops.stop_gradient(soft)
    taught = ops.sum(soft * (_log(soft) - ops.log_softmax(scores / temperature, axis=-1)), axis=-1)
    return (1.0 - weight) * said + weight * temperature**2 * taught


def feature_loss(student: Any, teacher: Any) -> Any:
    """Give the mean squared difference of two feature vectors of each sample, `(batch,)`, float32.

    Args:
        student: `(batch, …, units)`; axes between are averaged.
        teacher: `(batch, …, units)` of as many units.
    """
    student, teacher = (
        ops.mean(ops.cast(each, "float32"), axis=tuple(range(1, len(each.shape) - 1))) for each in (student, teacher)
    )
    return ops.mean(ops.square(student - ops.stop_gradient(teacher)), axis=-1)


def teacher_probabilities(teachers: Sequence[Any], inputs: Any) -> Any:
    """Ask teachers in inference mode.

    Args:
        teachers: What `load_teachers` gave.
        inputs: A batch, as the student gets it.

    Returns:
        `(teachers, batch, classes)`, float32, without gradients.
    """
    return ask_teachers(teachers, inputs)[0]


def ask_teachers(teachers: Sequence[Any], inputs: Any) -> tuple[Any, list[Any]]:
    """Ask teachers for the same, and for the feature vectors of those that `with_features` made."""
    taught = [keras.tree.flatten(teacher(inputs, training=False)) for teacher in teachers]
    probabilities = ops.stack([ops.cast(answer, "float32") for answer, *_ in taught])
    return ops.stop_gradient(probabilities), [vector for _, *vectors in taught for vector in vectors]


def load_teachers(names: Sequence[str], classes: Sequence[str], input_spec: InputSpec) -> tuple[keras.Model, ...]:
    """Load trained classifiers as teachers.

    Args:
        names: Run directories and `.keras` files.
        classes: The student's, in their order.
        input_spec: The student's.

    Returns:
        Models from `(batch, …)` to probabilities `(batch, classes)`, with nothing that trains. Of a network with early
        classifiers the last one teaches.

    Raises:
        RunError: A teacher is missing, is no classifier, or has other classes or another input.
    """
    return tuple(_load_teacher(name, tuple(classes), input_spec) for name in names)


def features_of(model: keras.Model) -> Any:
    """Give what a classifier's last layer with weights reads, a symbolic tensor `(batch, …, units)`."""
    return model.get_layer(LAST if len(model.outputs) > 1 else head_layers(model)[-1]).input


def with_features(teacher: keras.Model) -> keras.Model:
    """Give the same classifier with the vector before its last layer as a second output."""
    return keras.Model(teacher.inputs, [*teacher.outputs, features_of(teacher)])


def _load_teacher(name: str, classes: tuple[str, ...], spec: InputSpec) -> keras.Model:
    from kzoo.run import Run, is_run

    if is_run(name):
        run = Run(name)
        _check_run(name, run.info, classes, spec)
        model = run.model
    elif Path(name).suffix == ".keras":
        model = load_keras_file(name)
        if spec.text is not None or spec.sound is not None:
            raise RunError(
                f"Expected a teacher for {'texts' if spec.text else 'sounds'} to be a run, which has their front end, "
                f"received {name}. Give the run's directory."
            )
    else:
        raise RunError(
            f"Expected a teacher to be a run directory or a .keras file, received {name}, which is neither. "
            f"Check the path."
        )
    teacher = _as_classifier(name, model)
    if teacher.output_shape[-1] != len(classes):
        raise RunError(
            f"Expected a teacher of {len(classes)} classes, received {name} of {teacher.output_shape[-1]}. "
            f"Train the teacher on the same classes."
        )
    _check_shape(name, tuple(teacher.input_shape[1:]), spec)
    teacher.trainable = False
    return teacher


def _check_run(name: str, info: RunInfo, classes: tuple[str, ...], spec: InputSpec) -> None:
    if not info.classifies:
        raise RunError(f"Expected a classifier for a teacher, received {name}, a model for {info.task}. Name another.")
    if info.classes != classes:
        # Only some, of what may be thousands.
        theirs, ours = (", ".join(map(str, names[:5])) for names in (info.classes, classes))
        raise RunError(
            f"Expected a teacher of the student's {len(classes)} classes in their order ({ours}…), received {name} of "
            f"{len(info.classes)} ({theirs}…). Train the teacher on the same classes."
        )
    if info.input.kind != spec.kind:
        raise RunError(f"Expected a teacher for {spec.kind}s, received {name} for {info.input.kind}s. Name another.")
    _check_shape(name, info.input.shape, spec)
    if (info.input.sound, info.input.text) != (spec.sound, spec.text):
        section = "text" if spec.text else "sound"
        raise RunError(
            f"Expected a teacher with the student's front end, received {name} with another. "
            f"Leave the recipe's section {section} as the teacher has it."
        )


def _check_shape(name: str, shape: tuple[int | None, ...], spec: InputSpec) -> None:
    fits = len(shape) == len(spec.shape) and all(a in (None, b) for a, b in zip(shape, spec.shape, strict=True))
    if not fits:
        theirs = "×".join("any" if size is None else str(size) for size in shape)
        how = " Set input.size and input.channels as the teacher has them." if spec.kind == "image" else ""
        raise RunError(
            f"Expected a teacher with the student's input {'×'.join(map(str, spec.shape))}, received {name} with "
            f"{theirs}.{how or ' Train the teacher on the same data.'}"
        )


def _as_classifier(name: str, model: Any) -> keras.Model:
    """Give the model with one output, probabilities."""
    outputs = getattr(model, "outputs", None) or []
    order = exit_order(list(model.output_names)) if len(outputs) > 1 else None
    output = outputs[order[-1]] if order else outputs[0] if len(outputs) == 1 else None
    if output is None or len(model.inputs) != 1 or len(output.shape) != 2:
        raise RunError(
            f"Expected a classifier for a teacher, one input and one vector of probabilities or logits, received "
            f"{name}, which is none. Name another."
        )
    layer = output._keras_history.operation
    ending = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if isinstance(layer, keras.layers.Softmax) or ending == "softmax":
        return keras.Model(model.inputs, output)
    if ending != "linear":
        raise RunError(
            f"Expected a teacher that ends in a softmax or in logits, received {name}, which ends in {ending}. "
            f"Name another."
        )
    return keras.Model(model.inputs, keras.layers.Softmax(dtype="float32")(output))


def _log(probabilities: Any) -> Any:
    return ops.log(ops.maximum(probabilities, _SMALLEST))
