"""Attention on images: the same weights in an independent implementation give the same outputs.

The forward passes of timm's vision transformer and MobileViT, written out with NumPy and jax.lax.
"""

from __future__ import annotations

import keras
import numpy as np

from kzoo.models import mobilevit_xxs, vit_tiny

from .golden import Array, Torch, assert_alike, jax, pixels, scatter


def shift_weights(model: keras.Model) -> None:
    """Move every weight off the zeros and ones it may start as."""
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        weight.assign(weight.numpy() + rng.normal(0, 0.05, weight.shape))


def layer_norm(model: keras.Model, name: str, x: Array, epsilon: float) -> Array:
    gamma, beta = model.get_layer(name).get_weights()
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * gamma + beta


def attend(model: keras.Model, name: str, x: Array) -> Array:
    """Multi-head self-attention of `(batch, steps, units)`, head by head."""
    *projections, kernel_out, bias_out = model.get_layer(name).get_weights()
    answer = bias_out
    for head in range(kernel_out.shape[0]):
        query, key, value = (x @ projections[2 * each][:, head] + projections[2 * each + 1][head] for each in range(3))
        scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1]))
        answer = answer + scores / scores.sum(-1, keepdims=True) @ value @ kernel_out[head]
    return answer


def encode(model: keras.Model, name: str, x: Array, activation: object, epsilon: float) -> Array:
    x = x + attend(model, f"{name}_attention", layer_norm(model, f"{name}_attention_norm", x, epsilon))
    (widen, bias_widen), (narrow, bias_narrow) = (
        model.get_layer(f"{name}_mlp_{part}").get_weights() for part in ("widen", "narrow")
    )
    y = layer_norm(model, f"{name}_mlp_norm", x, epsilon)
    return x + np.asarray(activation(y @ widen + bias_widen)) @ narrow + bias_narrow


def gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)


def test_vit_computes_what_timms_does() -> None:
    size, patch, units = (35, 50), 16, 192
    model = vit_tiny(input_shape=(*size, 3), patch_size=patch, classes=10, classifier_activation=None)
    images = pixels(2, *size, 3)
    shift_weights(model)

    # timm convolves, puts a class token before the patches and adds positions to both.
    kernel, table = model.get_layer("projection_and_position").get_weights()
    rng = np.random.default_rng(3)
    bias, class_token = rng.normal(size=units), rng.normal(size=units)
    positions = table - np.concatenate([class_token[None], np.broadcast_to(bias, (len(table) - 1, units))])
    # Two patches by three, from rows 1-32 and columns 1-48.
    x = jax.lax.conv_general_dilated(
        images[:, 1:33, 1:49] / 255,
        kernel.reshape(patch, patch, 3, units),
        (patch, patch),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )
    x = np.asarray(x).reshape(2, 6, units) + bias
    x = np.concatenate([np.broadcast_to(class_token, (2, 1, units)), x], axis=1) + positions
    for block in range(1, 13):
        x = encode(model, f"block{block}", x, gelu, epsilon=1e-6)
    x = layer_norm(model, "final_norm", x, epsilon=1e-6)
    kernel, bias = model.get_layer("predictions").get_weights()
    assert_alike(model.predict_on_batch(images), x[:, 0] @ kernel + bias)


def resize(x: Array, height: int, width: int) -> Array:
    return np.asarray(jax.image.resize(x, (len(x), height, width, x.shape[-1]), "bilinear", antialias=False))


def torch_mobilevit(model: keras.Model, images: Array) -> Array:
    torch = Torch(model, jax.nn.silu)

    def block(x: Array, name: str, strides: int = 1) -> Array:
        y = torch.activation(torch.conv_bn(x, f"{name}_expand"))
        y = torch.activation(torch.conv_bn(y, f"{name}_depthwise", strides))
        return torch.conv_bn(y, f"{name}_project")

    def transformer(x: Array, name: str, depth: int) -> Array:
        y = torch.conv(torch.activation(torch.conv_bn(x, f"{name}_local")), f"{name}_widen")
        (height, width), units = x.shape[1:3], y.shape[-1]
        rows, columns = (height + 1) // 2, (width + 1) // 2
        y = resize(y, 2 * rows, 2 * columns)
        y = y.reshape(2, rows, 2, columns, 2, units).transpose(0, 2, 4, 1, 3, 5).reshape(8, rows * columns, units)
        for number in range(1, depth + 1):
            y = encode(model, f"{name}_block{number}", y, jax.nn.silu, epsilon=1e-5)
        y = layer_norm(model, f"{name}_norm", y, epsilon=1e-5)
        y = y.reshape(2, 2, 2, rows, columns, units).transpose(0, 3, 1, 4, 2, 5)
        y = resize(y.reshape(2, 2 * rows, 2 * columns, units), height, width)
        y = torch.activation(torch.conv_bn(y, f"{name}_narrow"))
        return torch.activation(torch.conv_bn(np.concatenate([x, y], axis=-1), f"{name}_fuse"))

    x = torch.activation(torch.conv_bn(images / 255, "stem", 2))
    x = x + block(x, "stage1_block1")
    x = block(x, "stage2_block1", 2)
    x = x + block(x, "stage2_block2")
    x = x + block(x, "stage2_block3")
    for stage, depth in ((3, 2), (4, 4), (5, 3)):
        x = transformer(block(x, f"stage{stage}_block1", 2), f"stage{stage}_vit", depth)
    return torch.classify(torch.activation(torch.conv_bn(x, "last")))


def test_mobilevit_computes_what_timms_does() -> None:
    size = (70, 100)  # 9 by 13, 5 by 7 and 3 by 4 pixels before the transformers
    model = mobilevit_xxs(input_shape=(*size, 3), classes=10, classifier_activation=None)
    images = pixels(2, *size, 3)
    shift_weights(model)
    scatter(model, images)
    assert_alike(model.predict_on_batch(images), torch_mobilevit(model, images))
