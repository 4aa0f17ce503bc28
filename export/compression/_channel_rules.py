"""What each kind of layer does with the channels it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kzoo.export.graph import IDENTITY_AT_INFERENCE, GraphLayer

from ._rebuild import Shape
from ._ties import Channels, Ties

_POINTWISE_NAMES = """
    celu elu exponential gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear log_sigmoid mish
    relu relu6 selu sigmoid silu soft_shrink softplus softsign sparse_plus squareplus swish tanh tanh_shrink
"""
# Activations of which each looks at one number only.
_POINTWISE = frozenset(_POINTWISE_NAMES.split())
_RANKS = ("1D", "2D", "3D")
_ELEMENTWISE = frozenset({"Activation", "ELU", "LeakyReLU", "ReLU", "Rescaling"}) | IDENTITY_AT_INFERENCE
_SPATIAL = frozenset(
    kind + rank for kind in ("AveragePooling", "Cropping", "MaxPooling", "UpSampling", "ZeroPadding") for rank in _RANKS
)
_GLOBAL = frozenset(f"Global{kind}Pooling{rank}" for kind in ("Average", "Max") for rank in _RANKS)
_TRANSPOSED = frozenset(f"Conv{rank}Transpose" for rank in _RANKS)
_CONVOLUTIONS = frozenset(f"Conv{rank}" for rank in _RANKS) | _TRANSPOSED
_SEPARABLE = frozenset({"SeparableConv1D", "SeparableConv2D"})
_WITH_FILTERS = _CONVOLUTIONS | _SEPARABLE | {"Dense"}
_DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})
_RECURRENT = frozenset({"ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "SimpleRNN"})


@dataclass(frozen=True, eq=False, slots=True)
class Cut:
    """The channels along one axis of a layer's weight: what goes when they go."""

    weight: int
    axis: int
    ids: np.ndarray


@dataclass(eq=False, slots=True)
class LayerChannels:
    """What of a layer depends on channels.

    Attributes:
        cuts: Its weights' axes.
        made: The channels that it makes, one a filter or unit.
        scaled: The channels that a batch normalisation scales by its gamma.
        reshaped: The channels along the last axis of a Reshape's target.
    """

    cuts: list[Cut] = field(default_factory=list)
    made: np.ndarray | None = None
    scaled: np.ndarray | None = None
    reshaped: np.ndarray | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """A layer that reads channels (None: not known) of a tensor of a shape and gives one of another."""

    layer: GraphLayer
    entry: LayerChannels
    ties: Ties
    read: Channels | None
    shape: Shape
    output: Shape

    @property
    def axis(self) -> int:
        """Where the layer expects channels."""
        return 1 if self.layer.config.get("data_format") == "channels_first" else len(self.shape) - 1

    def give_up(self) -> None:
        """Keep the channels that are read as they are."""
        self.ties.fix(self.read)


Rule = Callable[[Reading], Channels | None]


def rule_of(layer: GraphLayer) -> Rule | None:
    """What is known of a layer of one input; None for a kind of layer that no rule covers."""
    return next((rule for kinds, rule in _RULES if layer.kind in kinds), None)


def makes_channels(layer: GraphLayer) -> bool:
    """Whether the layer has filters or units that a rule knows."""
    return layer.kind in _WITH_FILTERS


def _is_pointwise(layer: GraphLayer) -> bool:
    activation = layer.config.get("activation") or "linear"
    return isinstance(activation, str) and activation in _POINTWISE


def _unchanged(at: Reading) -> Channels | None:
    constants = [at.layer.config.get(name) for name in ("scale", "offset")]
    if not _is_pointwise(at.layer) or any(np.ndim(each) for each in constants if each is not None):
        at.give_up()
        return None
    return at.read


def _along_places(at: Reading) -> Channels | None:
    if at.read is None or at.read.axis != at.axis:
        at.give_up()
        return None
    return at.read


def _over_all_places(at: Reading) -> Channels | None:
    found = _along_places(at)
    return found if found is None or at.layer.config["keepdims"] else Channels(1, found.ids)


def _repeated(at: Reading) -> Channels | None:
    return at.read and Channels(2, at.read.ids)


def _permuted(at: Reading) -> Channels | None:
    return at.read and Channels(list(at.layer.config["dims"]).index(at.read.axis) + 1, at.read.ids)


def _reshaped(at: Reading) -> Channels | None:
    """Channels stay known where every row along the new last axis holds the same of them."""
    if at.read is None:
        return None
    sizes = [size for size in at.shape[1:] if size is not None]
    rows = None
    if len(sizes) == len(at.shape) - 1 and at.output[-1] and at.axis == len(at.shape) - 1:
        aligned = at.read.ids.reshape([-1 if axis == at.read.axis else 1 for axis in range(1, len(at.shape))])
        rows = np.broadcast_to(aligned, sizes).reshape(-1, at.output[-1])
    if rows is None or np.any(rows != rows[0]):
        at.give_up()
        return None
    if at.layer.kind == "Reshape":
        at.entry.reshaped = rows[0]
    return Channels(len(at.output) - 1, rows[0])


def _normalised(at: Reading) -> Channels | None:
    if at.read is None or at.layer.config["axis"] % len(at.shape) != at.read.axis:
        at.give_up()
        return None
    at.entry.cuts = [Cut(weight, 0, at.read.ids) for weight in range(len(at.layer.weights))]
    at.entry.scaled = at.read.ids if at.layer.config["scale"] else None
    return at.read


def _sloped(at: Reading) -> Channels | None:
    if at.read is not None and at.layer.weights[0].shape[at.read.axis - 1] > 1:
        at.entry.cuts = [Cut(0, at.read.axis - 1, at.read.ids)]
    return at.read


def _depthwise(at: Reading) -> Channels | None:
    found = _along_places(at)
    if found is None or not _is_pointwise(at.layer):
        at.give_up()
        return None
    kernel, *bias = at.layer.weights  # (*window, channels, multiplier)
    multiplied = np.repeat(found.ids, kernel.shape[-1])
    at.entry.cuts = [Cut(0, kernel.ndim - 2, found.ids), *(Cut(1, 0, multiplied) for _ in bias)]
    return Channels(found.axis, multiplied)


def _filters(at: Reading) -> Channels | None:
    """Dense layers and convolutions: they read the channels of their input and make their own."""
    layer = at.layer
    if layer.config.get("groups", 1) > 1:
        at.give_up()
        return None
    axis = at.axis
    turned = layer.kind in _TRANSPOSED  # (*window, filters, channels), the others (*window, channels, filters)
    last = 1 if layer.kind in _SEPARABLE else 0
    kernels = layer.weights[: last + 1]
    if at.read is not None and at.read.axis == axis:
        for number, kernel in enumerate(kernels):
            copies = kernel.shape[-1 if turned else -2] // at.read.ids.size
            at.entry.cuts.append(Cut(number, kernel.ndim - (1 if turned else 2), np.repeat(at.read.ids, copies)))
    else:
        at.give_up()
    if not _is_pointwise(layer):
        return None
    made = at.ties.new(kernels[last].shape[-2 if turned else -1])
    at.entry.made = made
    at.entry.cuts.append(Cut(last, kernels[last].ndim - (2 if turned else 1), made))
    at.entry.cuts += [Cut(last + 1, 0, made) for _ in layer.weights[last + 1 :]]
    return Channels(axis, made)


def _steps(at: Reading) -> Channels | None:
    """Recurrent layers read channels; their own units stay as they are."""
    layer, directions = at.layer, 1
    recurrent, config = layer.kind, layer.config
    if layer.kind == "Bidirectional":
        directions, recurrent, config = 2, config["layer"]["class_name"], config["layer"]["config"]
    last = len(at.shape) - 1
    if (
        at.read is None
        or at.read.axis != last
        or recurrent not in _RECURRENT
        or config.get("data_format") == "channels_first"
    ):
        at.give_up()
        return None
    firsts = range(0, len(layer.weights), len(layer.weights) // directions)
    at.entry.cuts = [Cut(first, layer.weights[first].ndim - 2, at.read.ids) for first in firsts]
    return None


_RULES: tuple[tuple[frozenset[str], Rule], ...] = (
    (_ELEMENTWISE, _unchanged),
    (_SPATIAL, _along_places),
    (_GLOBAL, _over_all_places),
    (frozenset({"RepeatVector"}), _repeated),
    (frozenset({"Permute"}), _permuted),
    (frozenset({"Flatten", "Reshape"}), _reshaped),
    (frozenset({"BatchNormalization"}), _normalised),
    (frozenset({"PReLU"}), _sloped),
    (_DEPTHWISE, _depthwise),
    (_WITH_FILTERS, _filters),
    (_RECURRENT | {"Bidirectional"}, _steps),
)
