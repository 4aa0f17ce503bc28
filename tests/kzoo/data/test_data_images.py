"""Decoding: every format and mode, orientation, transparency, depth, fit, damage."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kzoo.data import InputSpec, read_input
from kzoo.data.images import UnreadableImageError, decode_image, fit_pixels, inspect_image
from kzoo.errors import DataError

FORMATS = ["JPEG", "PNG", "BMP", "WEBP"]


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def spec(height: int, width: int, channels: int = 3, fit: str = "crop") -> InputSpec:
    return InputSpec(kind="image", shape=(height, width, channels), fit=fit)


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.RandomState(1).randint(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_keeps_the_picture(picture, format, channels):
    original = picture(20, 30)
    pixels = decode_image(encode(original, format), spec(20, 30, channels))
    expected = np.asarray(original.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])).reshape(20, 30, channels)
    difference = np.abs(pixels.astype(int) - expected)
    assert pixels.dtype == np.uint8
    assert difference.mean() < (8 if format in ("JPEG", "WEBP") else 1e-9)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "YCbCr"])
def test_every_mode_decodes_to_every_number_of_channels(picture, mode):
    grey = picture(mode="L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    else:
        image = (grey if mode in "1LA" else picture()).convert(mode)
    content = encode(image, "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    reference = np.asarray(image.convert("L") if mode != "I;16" else grey, int)
    for channels in (1, 3, 4):
        pixels = decode_image(content, spec(24, 24, channels))
        luminance = pixels[..., : min(channels, 3)].mean(-1) if mode in ("1", "L", "LA", "I;16") else None
        if luminance is not None:
            assert np.abs(luminance - reference).max() <= 1
    assert inspect_image(content).grey == (mode in ("1", "L", "LA", "I;16"))


def test_sixteen_bit_grey_uses_its_whole_range():
    values = np.array([[0, 257, 128 * 257], [65535, 65535 // 2, 300]], np.uint16)
    pixels = decode_image(encode(Image.fromarray(values)), spec(2, 3, 1))
    np.testing.assert_array_equal(pixels[..., 0], [[0, 1, 128], [255, 127, 1]])


def test_grey_palette_is_grey_and_coloured_palette_is_not(picture):
    grey = picture(mode="L").convert("P")
    grey.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    assert inspect_image(encode(grey)).grey
    assert not inspect_image(encode(picture().quantize(16))).grey


def test_transparency_lies_over_white_and_survives_in_four_channels():
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    image.putpixel((0, 0), (200, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    for content in (encode(image), encode(image, "WEBP", lossless=True, exact=True)):
        colour = decode_image(content, spec(4, 4, 3))
        assert colour[0, 0].tolist() == [200, 0, 0]
        assert colour[3, 3].tolist() == [255, 255, 255]
        assert abs(int(colour[0, 1, 0]) - 127) <= 1
        assert decode_image(content, spec(4, 4, 1))[3, 3, 0] == 255
        assert decode_image(content, spec(4, 4, 4))[0, :3, 3].tolist() == [255, 128, 0]


def test_transparent_palette_and_transparent_colour_lie_over_white():
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((0, 0), 1)
    pixels = decode_image(encode(palette, transparency=0), spec(4, 4))
    assert pixels[0, 0].tolist() == [200, 100, 50]
    assert pixels[1, 1].tolist() == [255, 255, 255]
    plain = Image.new("RGB", (4, 4), (1, 2, 3))
    assert decode_image(encode(plain, transparency=(1, 2, 3)), spec(4, 4)).min() == 255
    grey = Image.new("L", (4, 4), 7)
    assert decode_image(encode(grey, transparency=7), spec(4, 4, 1)).min() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_camera_orientation_is_applied(picture, format, orientation):
    upright = picture(16, 32)
    turned = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.rotate(180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encode(turned, format, exif=exif, quality=95)
    facts = inspect_image(content)
    assert (facts.height, facts.width) == (16, 32)
    difference = np.abs(decode_image(content, spec(16, 32)).astype(int) - np.asarray(upright))
    assert difference.mean() < 8  # the other orientations differ by some 60


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_cost_the_picture(picture):
    content = encode(picture(), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff" + b"\xff" * 40)
    assert decode_image(content, spec(24, 24)).shape == (24, 24, 3)


def test_crop_takes_the_middle_pad_keeps_all_stretch_fills():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    content = encode(Image.fromarray(wide))
    crop = decode_image(content, spec(20, 20, fit="crop"))
    assert (crop == (0, 255, 0)).all()
    pad = decode_image(content, spec(30, 30, fit="pad"))
    assert pad[:10].max() == 0 and pad[20:].max() == 0
    assert pad[15, 2].tolist() == [255, 0, 0] and pad[15, 27].tolist() == [0, 0, 255]
    stretch = decode_image(content, spec(30, 30, fit="stretch"))
    assert stretch[:, 2].tolist() == [[255, 0, 0]] * 30 and stretch[:, 27].tolist() == [[0, 0, 255]] * 30


@pytest.mark.parametrize("shape", [(3, 200), (200, 3), (2, 2), (7, 5), (31, 64)])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_odd_shapes_fit(shape, fit):
    content = encode(Image.fromarray(noise(*shape, 3)))
    for size in ((32, 32), (5, 40), (1, 1)):
        assert decode_image(content, spec(*size, fit=fit)).shape == (*size, 3)


def test_shrinking_averages_instead_of_picking():
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    pixels = decode_image(encode(Image.fromarray(board)), spec(8, 8, 1))
    assert np.abs(pixels.astype(int) - 127).max() <= 2


def test_large_jpeg_decoded_at_a_fraction_equals_the_full_way(picture):
    original = picture(800, 1200)
    pixels = decode_image(encode(original, "JPEG", quality=95), spec(64, 96))
    exact = np.asarray(original.resize((96, 64), Image.Resampling.BICUBIC), int)
    assert np.abs(pixels - exact).mean() < 1.5


@pytest.mark.parametrize(("stored", "wanted"), [(1, 1), (1, 3), (3, 1), (3, 3), (4, 3), (4, 4), (1, 4)])
def test_arrays_and_files_are_brought_to_size_alike(stored, wanted):
    pixels = noise(17, 23, stored)
    image = Image.fromarray(pixels[..., 0] if stored == 1 else pixels)
    np.testing.assert_array_equal(
        fit_pixels(pixels, spec(16, 16, wanted)), decode_image(encode(image), spec(16, 16, wanted))
    )


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_found_by_the_inspection_and_by_decoding(format, share):
    whole = encode(Image.fromarray(noise(64, 64, 3)), format)
    inspect_image(whole)
    part = whole[: int(len(whole) * share)]
    with pytest.raises(UnreadableImageError):
        inspect_image(part)
    with pytest.raises(UnreadableImageError):
        decode_image(part, spec(64, 64))


def test_progressive_jpeg_truncated_is_found():
    whole = encode(Image.fromarray(noise(64, 64, 3)), "JPEG", progressive=True)
    with pytest.raises(UnreadableImageError):
        inspect_image(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not an image at all", "not an image"),
        (b"\xff\xd8\xff\xe0", "."),
        (encode(Image.new("RGB", (1, 1))), "1x1"),
        (encode(Image.new("RGB", (1, 9))), "1x9"),
        (encode(Image.new("RGB", (9, 9)), "GIF"), "not an image"),
    ],
)
def test_unreadable_content_has_a_reason(content, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        inspect_image(content)
    with pytest.raises(UnreadableImageError, match=reason):
        decode_image(content, spec(8, 8))


def test_random_damage_never_escapes_as_another_error(picture):
    random = np.random.RandomState(0)
    for format in FORMATS:
        whole = np.frombuffer(encode(picture(32, 32), format), np.uint8)
        for _ in range(60):
            damaged = whole.copy()
            damaged[random.randint(0, len(whole), 8)] = random.randint(0, 256, 8)
            for read in (inspect_image, lambda content: decode_image(content, spec(8, 8))):
                try:
                    read(damaged.tobytes())
                except UnreadableImageError as error:
                    assert str(error)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_an_error_of_its_file(tmp_path, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(encode(Image.new("L", (200, 200))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"bomb\.png.*decompression bomb"):
        read_input(tmp_path / "bomb.png", spec(8, 8))


def test_read_input_reads_what_a_model_takes(tmp_path, picture):
    picture(40, 40).save(tmp_path / "a.jpg")
    assert read_input(tmp_path / "a.jpg", spec(16, 16, 1)).shape == (16, 16, 1)
    np.save(tmp_path / "grey.npy", np.full((9, 9), 77, np.int64))
    assert read_input(tmp_path / "grey.npy", spec(4, 4, 3)).tolist() == [[[77] * 3] * 4] * 4
    sequence = InputSpec(kind="sequence", shape=(3, 2))
    np.save(tmp_path / "s.npy", np.arange(6).reshape(3, 2))
    values = read_input(str(tmp_path / "s.npy"), sequence)
    assert values.dtype == np.float32 and values.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_read_input_says_what_is_wrong(tmp_path, picture):
    image, sequence = spec(8, 8), InputSpec(kind="sequence", shape=(3, 2))
    picture().save(tmp_path / "a.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "unit.npy", np.random.rand(8, 8, 3))
    np.save(tmp_path / "nan.npy", np.full((3, 2), np.nan))
    np.save(tmp_path / "long.npy", np.zeros((4, 2)))
    np.savez(tmp_path / "several.npz", x=np.zeros((3, 2)))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    for file, wanted, message in [
        ("none.png", image, "does not exist"),
        (".", image, "is a folder"),
        ("empty.jpg", image, r"empty\.jpg, an empty file"),
        ("torn.npy", image, "damaged or holds"),
        ("objects.npy", image, "damaged or holds"),
        ("unit.npy", image, "Multiply by 255"),
        ("nan.npy", sequence, "finite"),
        ("long.npy", sequence, r"\(3, 2\).*\(4, 2\)"),
        ("several.npy", sequence, "archive of several"),
        ("a.png", sequence, "the model takes sequences"),
    ]:
        with pytest.raises(DataError, match=message) as caught:
            read_input(tmp_path / file, wanted)
        assert "\n" not in str(caught.value)


def test_spec_travels_as_json_and_refuses_what_is_no_input():
    original = spec(8, 6, 1, "pad")
    assert InputSpec(**json.loads(json.dumps(dataclasses.asdict(original)))) == original
    for bad in ({"shape": (8, 8)}, {"shape": (8, 8, 2)}, {"shape": (0, 8, 3)}, {"shape": (8, 8, 3), "fit": "tile"}):
        with pytest.raises(ValueError):
            InputSpec(kind="image", **bad)
    with pytest.raises(ValueError, match=r"\(steps, features\)"):
        InputSpec(kind="sequence", shape=(8, 8, 1))


def test_path_types(tmp_path: Path, picture):
    picture().save(tmp_path / "ä ö.webp")
    assert read_input(tmp_path / "ä ö.webp", spec(8, 8)).shape == (8, 8, 3)
