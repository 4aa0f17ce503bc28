"""The web kit in a browser: headless Chromium, the packaged LiteRT.js, and the answers of the Python runtime.

`make web-tools` installs what it needs. Without it the tests are skipped; on a build server they fail.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from PIL import Image, ImageOps

import kzoo
from kzoo.data import InputSpec
from kzoo.data.images import fit_pixels
from kzoo.export import ExportResult, LiteModel, export_model
from kzoo.export.kits import write_kit

if TYPE_CHECKING:
    from .conftest import Digits, Exports

WEB = Path(__file__).parent.parent / "web"
MODULES = WEB / "node_modules"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Both run XNNPACK in float32; the largest difference measured was 1.2e-7.
SAME_PICTURE = 1e-5
# The kit resamples in doubles, Pillow in integers of 22 bits: one step of 255 in two pixels of a thousand. On these
# pictures nothing above 1.2e-7 was measured, but another picture may fall on such a step.
RESAMPLED = 0.01

pytestmark = pytest.mark.slow(40)
layers = keras.layers


def absent(what: str) -> None:
    """Skip, or fail on a build server, where everything must be there."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {what}: make web-tools")


@pytest.fixture(scope="module")
def browser() -> str:
    for name in (*filter(None, [os.environ.get("KZOO_BROWSER")]), *BROWSERS):
        path = shutil.which(name)
        if path:
            break
    else:
        absent("Chromium")
    if not shutil.which("node"):
        absent("node")
    if not (MODULES / "@litertjs" / "core").is_dir():
        absent("LiteRT.js in tests/web/node_modules")
    return str(path)


class _Files(http.server.SimpleHTTPRequestHandler):
    """The kit's folder, with LiteRT.js where `npm install` would put it."""

    def translate_path(self, path: str) -> str:
        if path.startswith("/node_modules/"):
            return str(WEB / path.lstrip("/"))
        return super().translate_path(path)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the browser's own errors are shown."""


@pytest.fixture
def ask(browser: str, tmp_path: Path) -> Callable[[ExportResult, list[Path]], list[dict[str, Any]]]:
    """Write the kit of a file, open its page, choose each input, and give what is shown."""

    def call(result: ExportResult, files: list[Path]) -> list[dict[str, Any]]:
        write_kit(result, "web", tmp_path / "kit")
        handler = functools.partial(_Files, directory=str(tmp_path / "kit"))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            request = {
                "url": f"http://127.0.0.1:{server.server_port}/",
                "browser": browser,
                "profile": str(tmp_path / "profile"),
                "files": list(map(str, files)),
                "screenshot": None,
            }
            command = ["node", str(WEB / "drive.mjs"), json.dumps(request)]
            finished = subprocess.run(command, capture_output=True, text=True, timeout=180)
            server.shutdown()
        assert finished.returncode == 0, finished.stderr
        seen: list[dict[str, Any]] = json.loads(finished.stdout)
        assert len(seen) == len(files)
        assert all(each["status"].startswith("Answered") for each in seen), seen
        return seen

    return call


def hold_against(seen: list[dict[str, Any]], result: ExportResult, files: list[Path], limit: float) -> None:
    """Every share shown is the Python runtime's, and the first label is its first."""
    for shown, expected in zip(seen, kzoo.predict(result.path, files, top=10), strict=True):
        shares = dict(zip(expected.classes, expected.probabilities, strict=True))
        assert len(shown["answers"]) == min(5, len(shares))
        for answer in shown["answers"]:
            assert answer["share"] == pytest.approx(shares[answer["label"]], abs=limit)
        assert shares[shown["answers"][0]["label"]] >= expected.probabilities[0] - limit


def saved(pixels: np.ndarray, path: Path, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_pictures_of_the_models_size_are_answered_as_in_python(
    exports: Exports, digits: Digits, ask: Callable[..., Any], tmp_path: Path
) -> None:
    files = [saved(digits.test[index, ..., 0], tmp_path / f"{index}.png") for index in range(12)]
    result = with_fit(exports.cnn_fp32, "crop", tmp_path)
    seen = ask(result, files)
    hold_against(seen, result, files, SAME_PICTURE)
    assert len({shown["answers"][0]["label"] for shown in seen}) > 3


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_larger_pictures_are_brought_to_size_as_in_python(
    exports: Exports, digits: Digits, ask: Callable[..., Any], tmp_path: Path, fit: str
) -> None:
    result = with_fit(exports.cnn_fp32, fit, tmp_path)
    rng = np.random.default_rng(0)
    files = []
    for index in range(4):
        digit = Image.fromarray(digits.test[index, ..., 0]).resize((61, 90), Image.Resampling.BICUBIC)
        noise = np.stack([np.asarray(digit), *rng.integers(0, 256, (2, 90, 61), np.uint8)], axis=-1)
        files.append(saved(np.asarray(digit), tmp_path / f"grey-{index}.png"))
        files.append(saved(noise, tmp_path / f"colour-{index}.png"))
        alpha = np.dstack([noise, rng.integers(0, 256, (90, 61), np.uint8)])
        files.append(saved(alpha, tmp_path / f"alpha-{index}.png"))
    # Nine high at half size is four and a half: to the even neighbour.
    files.append(saved(rng.integers(0, 256, (9, 16), np.uint8), tmp_path / "half.png"))
    hold_against(ask(result, files), result, files, RESAMPLED)


def test_a_jpeg_from_a_camera_on_its_side(
    exports: Exports, digits: Digits, ask: Callable[..., Any], tmp_path: Path
) -> None:
    """Held against Python's answer to all of its pixels: kzoo itself lets the decoder shrink a large JPEG first."""
    result, spec = with_fit(exports.cnn_fp32, "crop", tmp_path), InputSpec(kind="image", shape=(8, 8, 1))
    exif = Image.Exif()
    files, upright = [], []
    for index, orientation in enumerate((1, 6, 8)):
        exif[0x0112] = orientation
        large = Image.fromarray(digits.test[index, ..., 0]).resize((210, 170), Image.Resampling.BICUBIC)
        files.append(saved(np.asarray(large), tmp_path / f"{index}.jpg", exif=exif, quality=90))
        turned = np.asarray(ImageOps.exif_transpose(Image.open(files[-1])))
        upright.append(fit_pixels(turned[..., np.newaxis], spec))
    answers = LiteModel(result.path).predict(np.stack(upright))
    for shown, shares in zip(ask(result, files), answers, strict=True):
        first = shown["answers"][0]
        assert first["label"] == str(shares.argmax())
        assert first["share"] == pytest.approx(shares.max(), abs=RESAMPLED)


def with_fit(result: ExportResult, fit: str, folder: Path) -> ExportResult:
    """A copy of the file, as if it had been trained with another fit."""
    details = {"input": {"kind": "image", "shape": [8, 8, 1], "fit": fit}}
    path = folder / "fit.tflite"
    shutil.copy(result.path, path)
    copied = result.model_copy(update={"path": path, "details": details})
    path.with_name("fit.tflite.json").write_text(copied.model_dump_json())
    return copied


def exported(outputs: Any, inputs: Any, samples: np.ndarray, folder: Path, **facts: Any) -> ExportResult:
    path = folder / "small.tflite"
    return export_model(keras.Model(inputs, outputs), path, verification=(samples, None), max_drop=1.0, **facts)


def test_colours_logits_and_odd_names(ask: Callable[..., Any], tmp_path: Path) -> None:
    """Three channels, a model without a softmax at its end, and labels that are shown as text."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    image = keras.Input((6, 10, 3), name="image")
    logits = layers.Dense(3, name="logits")(layers.Flatten()(layers.Rescaling(1 / 64)(image)))
    names = ["<b>bold</b>", 'ü "q" \'\\', "</script>"]
    samples = rng.integers(0, 256, (30, 6, 10, 3)).astype(np.float32)
    details = {"input": {"kind": "image", "shape": [6, 10, 3], "fit": "crop"}}
    result = exported(logits, image, samples, tmp_path, classes=names, details=details)
    files = [saved(samples[index].astype(np.uint8), tmp_path / f"{index}.png") for index in range(4)]
    seen = ask(result, files)
    hold_against(seen, result, files, SAME_PICTURE)
    assert {answer["label"] for answer in seen[0]["answers"]} == set(names)
    assert sum(answer["share"] for answer in seen[0]["answers"]) == pytest.approx(1)


def test_sequences(ask: Callable[..., Any], tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    sequence = keras.Input((5, 4), name="sequence")
    probabilities = layers.Dense(3, activation="softmax", name="probabilities")(layers.Flatten()(sequence))
    samples = rng.normal(size=(30, 5, 4)).astype(np.float32)
    result = exported(probabilities, sequence, samples, tmp_path)
    arrays, texts = [], []
    for index in range(3):
        arrays.append(tmp_path / f"{index}.npy")
        texts.append(tmp_path / f"{index}.csv")
        np.save(arrays[-1], samples[index])
        np.savetxt(texts[-1], samples[index], delimiter=",", fmt="%.9g")
    hold_against(ask(result, texts), result, arrays, SAME_PICTURE)


def test_the_kit_pins_the_litert_js_that_is_tested(exports: Exports, tmp_path: Path) -> None:
    write_kit(exports.cnn_fp32, "web", tmp_path / "kit")
    ours = json.loads((tmp_path / "kit" / "package.json").read_text())["dependencies"]
    tested = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert ours == {name: tested[f"node_modules/{name}"]["version"] for name in ours}
    assert "@litertjs/core" in ours
