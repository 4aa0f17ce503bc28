"""Image files to pixels, in one way for training, evaluation, prediction and calibration."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from kzoo.errors import DataError

from .medium import UnreadableFileError
from .spec import Fit, InputSpec

Pixels = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})

# What Pillow raises on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})
_RESAMPLING = Image.Resampling.BICUBIC


class UnreadableImageError(UnreadableFileError):
    """An image that cannot be decoded; the message is the reason alone."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a dataset needs to know of an image: its upright size in pixels, and whether it has no colour."""

    height: int
    width: int
    grey: bool


def inspect_image(content: bytes) -> ImageFacts:
    """Decode an image once, as cheaply as shows that it is whole.

    Raises:
        UnreadableImageError: For a damaged file, another format, or a side of one pixel.
    """
    with _opened(content) as image:
        width, height = _upright_size(image)
        grey = _is_grey(image)
        # Reads all of a JPEG's data but transforms an eighth of its size.
        image.draft("L", (1, 1))
        image.load()
    return ImageFacts(height, width, grey)


def decode_image(content: bytes, spec: InputSpec) -> Pixels:
    """Turn the content of a JPEG, PNG, BMP or WebP file into the pixels a model takes.

    The camera's orientation is applied, 16-bit grey is scaled to 8, transparency is laid over white (kept where the
    model takes 4 channels), and the size is brought to `spec.shape` as `spec.fit` says, with antialiased bicubic
    resampling. An image that has the size already keeps its pixels.

    Returns:
        `(height, width, channels)` uint8.

    Raises:
        UnreadableImageError: As `inspect_image`.
    """
    height, width, channels = spec.shape
    with _opened(content) as image:
        orientation = _orientation(image)
        sides = (height, width) if orientation in _ON_ITS_SIDE else (width, height)
        # A JPEG decodes at a half, a quarter or an eighth of its size for little; twice the size that is
        # wanted leaves the resampling enough to work with.
        image.draft(None, (2 * sides[0], 2 * sides[1]))
        image.load()
        picture: Image.Image = image
        if orientation in _UPRIGHT:
            picture = picture.transpose(_UPRIGHT[orientation])
        picture = _fitted(_in_channels(picture, channels), (width, height), spec.fit)
        return np.array(picture, np.uint8).reshape(spec.shape)


def read_image(path: Path, spec: InputSpec) -> Pixels:
    """Read an image file as `decode_image` does.

    Raises:
        DataError: A file that cannot be read, named.
    """
    try:
        return decode_image(path.read_bytes(), spec)
    except UnreadableImageError as error:
        raise DataError(f"Expected an image (JPEG, PNG, BMP or WebP). Received: {path}, {error}.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error


def fit_pixels(pixels: Pixels, spec: InputSpec) -> Pixels:
    """Bring pixels `(height, width, channels)` that are decoded already to a model's input, as for a file."""
    height, width, channels = spec.shape
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    picture = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
    picture = _fitted(_in_channels(picture, channels), (width, height), spec.fit)
    return np.array(picture, np.uint8).reshape(spec.shape)


@contextlib.contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    if not content:
        raise UnreadableImageError("an empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if min(image.size) < 2:
                raise UnreadableImageError(f"an image of {image.width}x{image.height} pixels")
            yield image
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not an image of these formats, or damaged at its beginning") from error
    except _DAMAGE as error:
        raise UnreadableImageError(" ".join(str(error).split()) or type(error).__name__) from error


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        return 1  # The picture is sound where only its notes are damaged.
    return value if isinstance(value, int) else 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) in _ON_ITS_SIDE else (width, height)


def _is_grey(image: Image.Image) -> bool:
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _in_channels(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey cuts everything above 255 off.
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if channels == 4:
        return image.convert("RGBA")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if channels == 1 else "RGB")


def _fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    if image.size == size:
        return image
    if fit == "stretch":
        return image.resize(size, _RESAMPLING)
    (width, height), (wanted_width, wanted_height) = image.size, size
    if fit == "crop":
        scale = min(width / wanted_width, height / wanted_height)
        left, top = (width - wanted_width * scale) / 2, (height - wanted_height * scale) / 2
        # Rounding must not push the box over the edge.
        box = (max(0.0, left), max(0.0, top), min(width, width - left), min(height, height - top))
        return image.resize(size, _RESAMPLING, box=box)
    scale = min(wanted_width / width, wanted_height / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new(image.mode, size)
    canvas.paste(image.resize(inner, _RESAMPLING), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas
