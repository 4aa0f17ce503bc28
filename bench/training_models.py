"""The bench's architectures as a user of Keras or PyTorch writes them, with the zoo's layer shapes."""

from __future__ import annotations

from typing import Any

NAMES = ("resnet8", "resnet18", "mobilenet_v2", "lstm")
CLASSES = 10
BATCH = 128
# What the zoo's factories take for the same shapes.
ZOO_ARGUMENTS: dict[str, dict[str, Any]] = {
    "mobilenet_v2": {"alpha": 0.5},
    "lstm": {"units": 128, "depth": 1},
}
_WIDTHS = {"resnet8": ((16, 1), (32, 1), (64, 1)), "resnet18": ((64, 2), (128, 2), (256, 2), (512, 2))}
# Expansion, channels at width 0.5, blocks, strides of the first on 32 x 32 pixels.
_INVERTED = (
    (1, 8, 1, 1),
    (6, 16, 2, 1),
    (6, 16, 3, 2),
    (6, 32, 4, 2),
    (6, 48, 3, 1),
    (6, 80, 3, 2),
    (6, 160, 1, 1),
)


def input_shape(name: str) -> tuple[int, ...]:
    """One sample: `(height, width, channels)`, or `(steps, features)`."""
    return (28, 28) if name == "lstm" else (32, 32, 3)


def keras_model(keras: Any, name: str) -> Any:
    """Build a model with Keras 3 or tf_keras, whichever module is given."""
    layers = keras.layers
    bias = name == "resnet8"

    def conv_bn(x: Any, filters: int, size: int, strides: int, activation: str | None) -> Any:
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=bias)(x)
        x = layers.BatchNormalization()(x)
        return layers.Activation(activation)(x) if activation else x

    def basic_block(x: Any, filters: int, strides: int) -> Any:
        shortcut = x
        if strides != 1 or x.shape[-1] != filters:
            shortcut = layers.Conv2D(filters, 1, strides, use_bias=bias)(x)
            shortcut = shortcut if bias else layers.BatchNormalization()(shortcut)
        x = conv_bn(conv_bn(x, filters, 3, strides, "relu"), filters, 3, 1, None)
        return layers.Activation("relu")(layers.Add()([x, shortcut]))

    def inverted(x: Any, expansion: int, filters: int, strides: int) -> Any:
        before = x
        if expansion != 1:
            x = conv_bn(x, expansion * x.shape[-1], 1, 1, "relu6")
        x = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x)
        x = layers.Activation("relu6")(layers.BatchNormalization()(x))
        x = conv_bn(x, filters, 1, 1, None)
        return layers.Add()([before, x]) if strides == 1 and before.shape[-1] == filters else x

    inputs = x = keras.Input(input_shape(name))
    if name == "lstm":
        x = layers.LSTM(128)(layers.Normalization()(x))
    else:
        x = layers.Rescaling(1 / 255)(x)
        x = conv_bn(x, 16 if name != "resnet18" else 64, 3, 1, "relu6" if name == "mobilenet_v2" else "relu")
        for number, (filters, blocks) in enumerate(_WIDTHS.get(name, ())):
            for block in range(blocks):
                x = basic_block(x, filters, 2 if number and not block else 1)
        if name == "mobilenet_v2":
            for expansion, filters, blocks, strides in _INVERTED:
                for block in range(blocks):
                    x = inverted(x, expansion, filters, strides if not block else 1)
            x = conv_bn(x, 1280, 1, 1, "relu6")
        x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", dtype="float32")(x))


def torch_model(torch: Any, name: str) -> Any:
    """Build a model with PyTorch; it takes `(batch, channels, height, width)`, or `(batch, steps, features)`."""
    nn = torch.nn
    bias = name == "resnet8"

    def conv_bn(fan_in: int, filters: int, size: int, strides: int, activation: Any, groups: int = 1) -> list[Any]:
        conv = nn.Conv2d(fan_in, filters, size, strides, size // 2, groups=groups, bias=bias)
        return [conv, nn.BatchNorm2d(filters), *([activation()] if activation else [])]

    class Residual(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, body: Any, shortcut: Any, last: Any) -> None:
            super().__init__()
            self.body, self.shortcut, self.last = body, shortcut, last

        def forward(self, x: Any) -> Any:
            return self.last(self.body(x) + self.shortcut(x))

    class LastStep(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(28, 128, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.lstm(x)[0][:, -1]

    if name == "lstm":
        return nn.Sequential(LastStep(), nn.Linear(128, CLASSES))
    width = 64 if name == "resnet18" else 16
    parts = conv_bn(3, width, 3, 1, nn.ReLU6 if name == "mobilenet_v2" else nn.ReLU)
    for number, (filters, blocks) in enumerate(_WIDTHS.get(name, ())):
        for block in range(blocks):
            strides = 2 if number and not block else 1
            shortcut = nn.Identity()
            if strides != 1 or width != filters:
                shortcut = nn.Conv2d(width, filters, 1, strides, bias=bias)
                shortcut = shortcut if bias else nn.Sequential(shortcut, nn.BatchNorm2d(filters))
            body = conv_bn(width, filters, 3, strides, nn.ReLU) + conv_bn(filters, filters, 3, 1, None)
            parts.append(Residual(nn.Sequential(*body), shortcut, nn.ReLU()))
            width = filters
    if name == "mobilenet_v2":
        for expansion, filters, blocks, first_strides in _INVERTED:
            for block in range(blocks):
                strides, hidden = (first_strides if not block else 1), width * expansion
                body = conv_bn(width, hidden, 1, 1, nn.ReLU6) if expansion != 1 else []
                body += conv_bn(hidden, hidden, 3, strides, nn.ReLU6, groups=hidden)
                body += conv_bn(hidden, filters, 1, 1, None)
                same = strides == 1 and width == filters
                parts += [Residual(nn.Sequential(*body), nn.Identity(), nn.Identity())] if same else body
                width = filters
        parts += conv_bn(width, 1280, 1, 1, nn.ReLU6)
        width = 1280
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))
