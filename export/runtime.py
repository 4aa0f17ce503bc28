"""Run a `.tflite` file as an app would, without TensorFlow and without Keras."""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import importlib
import importlib.util
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.errors import ExportError, UsageError, nearest

from .tflite_file import TensorInfo, TFLiteFile, read_tflite

#: name -> (module of the interpreter, how to get it)
RUNTIMES: Mapping[str, tuple[str, str]] = {
    "litert": ("ai_edge_litert.interpreter", "pip install ai-edge-litert"),
    "tflite-runtime": (
        "tflite_runtime.interpreter",
        'pip install tflite-runtime==2.14.0 "numpy<2", in an environment of its own with Python 3.11 or older',
    ),
}

#: The value of `runtime` that takes the first of them that is installed.
AUTO = "auto"

#: One array of samples for a model of one input; otherwise one a input, in order or by name.
Inputs = np.ndarray | tuple[np.ndarray, ...] | Mapping[str, np.ndarray]

_stderr_lock = threading.Lock()


class LiteModel:
    """A `.tflite` file, ready to answer.

    Takes inputs in the units that the Keras model takes (pixels 0-255, say), quantises them by the file's own
    parameters, runs them one by one, forgets the state of recurrent layers in between, and gives float32 outputs.

    Args:
        path: the file.
        runtime: `"litert"` (the package ai-edge-litert), `"tflite-runtime"`, or `"auto"`, the first of them that is
            installed. The attribute of that name says which it is.
        threads: threads of the interpreter.
        keep_tensors: keep what every operator gives, for `trace`; slower, without XNNPACK.

    Raises:
        ExportError: the file is missing, damaged or not a `.tflite`; the runtime is not installed or cannot run it.
        UsageError: an unknown runtime.

    Example:
        >>> model = LiteModel("digits.tflite")
        >>> model.predict(images).argmax(axis=-1)
    """

    def __init__(
        self, path: str | os.PathLike[str], *, runtime: str = AUTO, threads: int = 1, keep_tensors: bool = False
    ) -> None:
        self.path = Path(path)
        self.runtime = chosen_runtime(runtime)
        self.threads = threads
        self.file: TFLiteFile = read_tflite(self.path)
        load_runtime(self.runtime)
        if self.file.custom_operators:
            raise ExportError(
                f"Expected builtin operators only. Received: {', '.join(self.file.custom_operators)} in {self.path}, "
                "which the plain runtime does not have."
            )
        try:
            self._interpreter = open_interpreter(
                self.runtime, threads=threads, keep_tensors=keep_tensors, model_path=str(self.path)
            )
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"{self.runtime} cannot run {self.path}: {_first_line(error)}") from error
        self._inputs, self._outputs = self._bind()

    def _bind(self) -> tuple[dict[str, int], dict[str, int]]:
        """Tensor indices by signature name: after conversion the plain order is alphabetical."""
        if self.file.signature is not None:
            return self.file.signature.inputs, self.file.signature.outputs
        named = {index: self.file.tensors[index].name for index in (*self.file.inputs, *self.file.outputs)}
        return (
            {named[index]: index for index in self.file.inputs},
            {named[index]: index for index in self.file.outputs},
        )

    @property
    def inputs(self) -> dict[str, TensorInfo]:
        """Every input by its signature name."""
        return {name: self.file.tensors[index] for name, index in self._inputs.items()}

    @property
    def outputs(self) -> dict[str, TensorInfo]:
        """Every output by its signature name."""
        return {name: self.file.tensors[index] for name, index in self._outputs.items()}

    @property
    def output_indices(self) -> dict[str, int]:
        """The tensor of every output, by its signature name."""
        return dict(self._outputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the first input without the batch axis."""
        return self._first_input.shape[1:]

    @property
    def input_dtype(self) -> str:
        """Type of the first input as the file stores it, such as `"int8"`."""
        return self._first_input.dtype

    @property
    def input_quantization(self) -> tuple[float, int] | None:
        """`(scale, zero_point)` of the first input, None where not quantised: value = scale x (q - zero_point)."""
        return _quantization(self._first_input)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the first output without the batch axis."""
        return self._first_output.shape[1:]

    @property
    def output_dtype(self) -> str:
        """Type of the first output as the file stores it."""
        return self._first_output.dtype

    @property
    def output_quantization(self) -> tuple[float, int] | None:
        """`(scale, zero_point)` of the first output, None where it is not quantised."""
        return _quantization(self._first_output)

    @property
    def _first_input(self) -> TensorInfo:
        return next(iter(self.inputs.values()))

    @property
    def _first_output(self) -> TensorInfo:
        return next(iter(self.outputs.values()))

    @property
    def operators(self) -> tuple[tuple[str, int], ...]:
        """`(name, count)` of the file's operators."""
        return self.file.operator_counts

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.file.size

    @functools.cached_property
    def sha256(self) -> str:
        """Checksum of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @functools.cached_property
    def gzip_size(self) -> int:
        """Bytes of the file after gzip, about what a download or an app bundle costs."""
        return len(gzip.compress(self.path.read_bytes(), compresslevel=9))

    def predict(self, batch: Inputs) -> np.ndarray:
        """Answer every sample with the first output.

        Args:
            batch: `(samples, *input_shape)` in the model's own units; a tuple or a mapping by name where the model has
                several inputs.

        Returns:
            float32 `(samples, *output_shape)`.

        Raises:
            ExportError: shapes that are not the file's.
        """
        return next(iter(self.predict_outputs(batch).values()))

    def predict_outputs(self, batch: Inputs) -> dict[str, np.ndarray]:
        """The same for every output, by its signature name."""
        arrays = self._by_name(batch)
        samples = len(next(iter(arrays.values())))
        answers = {name: np.empty((samples, *info.shape[1:]), np.float32) for name, info in self.outputs.items()}
        for sample in self._run_each(arrays):
            for name, index in self._outputs.items():
                answers[name][sample] = self._values(index)[0]
        return answers

    def trace(self, batch: Inputs) -> Iterator[dict[int, np.ndarray]]:
        """What every operator gives, sample by sample, as float32 by tensor index. Needs `keep_tensors`."""
        written = dict.fromkeys(index for operator in self.file.operators for index in operator.outputs if index >= 0)
        for _ in self._run_each(self._by_name(batch)):
            yield {index: self._values(index) for index in written}

    def _run_each(self, arrays: Mapping[str, np.ndarray]) -> Iterator[int]:
        """Run the samples one by one; gives each one's number when its answers are there."""
        levels = {name: self._quantized(name, array) for name, array in arrays.items()}
        for sample in range(len(next(iter(levels.values())))):
            self._feed({name: array[sample : sample + 1] for name, array in levels.items()})
            self.invoke()
            yield sample

    def _values(self, index: int) -> np.ndarray:
        return _dequantized(self._interpreter.get_tensor(index), self.file.tensors[index])

    def feed_random(self, seed: int = 0) -> None:
        """Fill the inputs with noise over the range of their types: for timing, where the values do not matter."""
        rng = np.random.default_rng(seed)
        self._feed({name: noise(info, rng) for name, info in self.inputs.items()})

    def invoke(self) -> None:
        """Run once on what was fed last, from a fresh state."""
        if self.file.stateful:
            self._interpreter.reset_all_variables()
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"{self.runtime} cannot run {self.path}: {_first_line(error)}") from error

    def _feed(self, feed: Mapping[str, np.ndarray]) -> None:
        for name, value in feed.items():
            try:
                self._interpreter.set_tensor(self._inputs[name], value)
            except ValueError as error:  # of a damaged file that takes its input for a constant, say
                raise ExportError(f"{self.runtime} cannot run {self.path}: {_first_line(error)}") from error

    def _by_name(self, batch: Inputs) -> dict[str, np.ndarray]:
        names = list(self._inputs)
        if isinstance(batch, Mapping):
            arrays = dict(batch)
        elif len(names) == 1:
            arrays = {names[0]: batch[0] if isinstance(batch, tuple) else batch}
        else:
            raise ExportError(f"{self.path} has several inputs. Pass a mapping of {', '.join(names)} to arrays.")
        if set(arrays) != set(names):
            raise ExportError(f"Expected the inputs {', '.join(names)}. Received: {', '.join(map(str, arrays))}.")
        for name, info in self.inputs.items():
            arrays[name] = np.asarray(arrays[name])
            if arrays[name].shape[1:] != info.shape[1:]:
                expected = ", ".join(map(str, ("samples", *info.shape[1:])))
                raise ExportError(
                    f"Expected samples of shape ({expected}) for {self.path}. Received: shape={arrays[name].shape}."
                )
        if len({len(array) for array in arrays.values()}) != 1:
            raise ExportError("Expected as many samples for every input.")
        return arrays

    def _quantized(self, name: str, array: np.ndarray) -> np.ndarray:
        info = self.inputs[name]
        dtype = np.dtype(info.dtype)
        if info.scale is None or info.zero_point is None or info.is_float:
            return array.astype(dtype)
        limits = np.iinfo(dtype)
        levels = np.round(array.astype(np.float32) / np.float32(info.scale)) + info.zero_point
        return np.asarray(np.clip(levels, limits.min, limits.max), dtype)


def installed_runtime() -> str | None:
    """The first of `RUNTIMES` that is installed here, None where none is."""
    for name, (module, _) in RUNTIMES.items():
        # The package alone is looked for: importing its interpreter takes a while.
        if importlib.util.find_spec(module.split(".")[0]) is not None:
            return name
    return None


def chosen_runtime(runtime: str) -> str:
    """The runtime itself, or for `"auto"` the one that is installed.

    Raises:
        ExportError: none is.
    """
    chosen = installed_runtime() if runtime == AUTO else runtime
    if chosen is None:
        ways = "; or ".join(installation for _, installation in RUNTIMES.values())
        raise ExportError(f"Expected a runtime for .tflite files. Received: none is installed. Install one: {ways}.")
    return chosen


def load_runtime(runtime: str) -> Any:
    """The interpreter class of a runtime, imported."""
    if runtime not in RUNTIMES:
        raise UsageError(f"Unknown runtime {runtime!r}. {nearest(runtime, (*RUNTIMES, AUTO))}")
    module, installation = RUNTIMES[runtime]
    try:
        return importlib.import_module(module).Interpreter
    except ImportError as error:
        raise ExportError(f"The runtime {runtime} is not installed. Install it: {installation}.") from error


def noise(info: TensorInfo, rng: np.random.Generator) -> np.ndarray:
    """Values over the range of a tensor's type, `(*shape)`."""
    if info.is_float:
        return rng.random(info.shape, dtype=np.float32)
    # Integers that are not quantised are indices into a table: zero always exists.
    span = np.iinfo(info.dtype) if info.scale else None
    low, high = (span.min, span.max + 1) if span else (0, 1)
    return rng.integers(low, high, info.shape, dtype=info.dtype)


def open_interpreter(runtime: str, *, threads: int = 1, keep_tensors: bool = False, **options: Any) -> Any:
    """A runtime's interpreter with its memory laid out and its greeting swallowed.

    Args:
        runtime: a name of `RUNTIMES`.
        threads: threads of the interpreter.
        keep_tensors: keep what every operator gives until the next run.
        options: more of the interpreter's class, such as `model_path` or `model_content`.

    Raises:
        RuntimeError: the runtime cannot run the model.
        ValueError: likewise, or not a model.
    """
    interpreter_class = load_runtime(runtime)
    if keep_tensors:
        # A delegate takes over whole parts of the graph, and what lies between its operators is never there.
        resolvers = importlib.import_module(interpreter_class.__module__).OpResolverType
        options["experimental_op_resolver_type"] = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options["experimental_preserve_all_tensors"] = True
    with _quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the memory that keeping takes
        interpreter = interpreter_class(num_threads=threads, **options)
        interpreter.allocate_tensors()
    return interpreter


def _quantization(info: TensorInfo) -> tuple[float, int] | None:
    if info.scale is None or info.zero_point is None:
        return None
    return info.scale, info.zero_point


def _dequantized(values: np.ndarray, info: TensorInfo) -> np.ndarray:
    if info.scale is None or info.zero_point is None or info.is_float:
        return values.astype(np.float32)
    return (values.astype(np.float32) - np.float32(info.zero_point)) * np.float32(info.scale)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hide what the C++ side writes while a file is opened ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.").

    The runtime has no switch for it in Python. Its errors come back as exceptions, so nothing is lost.
    """
    with _stderr_lock, contextlib.ExitStack() as stack:
        try:
            saved = os.dup(2)
        except OSError:  # a process without a standard error stream has nothing to hide
            yield
            return
        stack.callback(os.close, saved)
        stack.callback(os.dup2, saved, 2)
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
