"""Pictures of printed text, as text detectors and readers take them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Images = npt.NDArray[np.float32]

_WORDS = [
    "raspberry",
    "pi",
    "energy",
    "meter",
    "pressure",
    "valve",
    "serial",
    "number",
    "4711",
    "open",
    "closed",
    "warning",
    "hot",
    "surface",
    "do",
    "not",
    "touch",
    "batch",
    "EXP",
    "2031-08",
    "net",
    "weight",
    "250",
    "g",
    "lot",
    "A7",
    "room",
    "12B",
    "exit",
    "invoice",
    "total",
    "93.40",
    "temperature",
    "humidity",
    "gate",
    "platform",
]
_HALF = 127.5


def draw_line(*, width: int, height: int, seed: int, text: str = "", upside_down: bool = False) -> Images:
    """One line of text of shape (1, 3, height, width), from -1 to 1; as many words as fit where no text is given."""
    random = np.random.default_rng(seed)
    ink, paper = _colours(random)
    image = Image.new("RGB", (width, height), paper)
    draw, size = ImageDraw.Draw(image), int(height * 0.6)
    text = text or _choose_words(draw, random, size=size, width=width - 8)
    draw.text((4, height // 8), text, fill=ink, font=ImageFont.load_default(size))
    return _to_tensor(image.rotate(180) if upside_down else image, random)


def draw_page(*, width: int, height: int, seed: int) -> Images:
    """Several lines of text of different sizes, of shape (1, 3, height, width), from -1 to 1."""
    random = np.random.default_rng(seed)
    ink, paper = _colours(random)
    image = Image.new("RGB", (width, height), paper)
    draw, top = ImageDraw.Draw(image), 8
    while top < height - 20:
        size = int(random.integers(14, 30))
        left = int(random.integers(4, width // 4))
        text = _choose_words(draw, random, size=size, width=width - left)
        draw.text((left, top), text, fill=ink, font=ImageFont.load_default(size))
        top += int(size * 1.8)
    return _to_tensor(image, random)


def _choose_words(draw: ImageDraw.ImageDraw, random: np.random.Generator, *, size: int, width: int) -> str:
    font, text = ImageFont.load_default(size), ""
    while draw.textlength(longer := f"{text} {random.choice(_WORDS)}".strip(), font) < width:
        text = longer
    return text


def _colours(random: np.random.Generator) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    dark, light = random.integers(0, 90, 3).tolist(), random.integers(170, 256, 3).tolist()
    first, second = (light, dark) if random.random() < 0.25 else (dark, light)
    return (first[0], first[1], first[2]), (second[0], second[1], second[2])


def _to_tensor(image: Image.Image, random: np.random.Generator) -> Images:
    pixels = np.asarray(image, np.float32) + random.normal(0, 6, (image.height, image.width, 3))
    values = np.clip(pixels, 0, 255) / _HALF - 1
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)
