"""Drawing an answer onto the image that was sent."""

from __future__ import annotations

import colorsys
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from drupelet_host.cli.tensors import is_detection, is_segmentation
from drupelet_host.errors import DataError
from drupelet_shared.contract.wire import JPEG_TYPE, PNG_TYPE
from drupelet_shared.inference import Encoded, InferenceReply
from drupelet_shared.inference.images import to_8_bits

# Neighbouring classes get hues far apart: the golden ratio's fraction of a turn.
_HUE_STEP = 0.618034
_MASK_OPACITY = 0.5
_SHORT_SIDE_FOR_ONE_PIXEL = 300
_TEXT_SIZE = 11


def annotate(body: Encoded, reply: InferenceReply, path: Path) -> None:
    """Write the image that was sent with its boxes, or with its class map laid over it.

    Args:
        body: The request, an image.
        reply: A detector's or a segmentation model's answer to it.
        path: Where the picture goes; the suffix says its format.

    Raises:
        DataError: The request is no image, the answer has no boxes or class map, or the file cannot be written.
    """
    if body.content_type not in {PNG_TYPE, JPEG_TYPE}:
        raise DataError("--annotate draws on an image: FILE is none; send a JPEG or PNG")
    with Image.open(io.BytesIO(body.payload)) as image:
        picture = to_8_bits(ImageOps.exif_transpose(image)).convert("RGB")
    if is_detection(reply):
        _draw_boxes(picture, reply)
    elif is_segmentation(reply):
        picture = _blend_classes(picture, reply)
    else:
        raise DataError(
            f"--annotate draws boxes or a class map: model {reply.model_name!r} answers with {', '.join(reply.outputs)}"
        )
    try:
        picture.save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error


def _draw_boxes(picture: Image.Image, reply: InferenceReply) -> None:
    draw = ImageDraw.Draw(picture)
    width = max(1, round(min(picture.size) / _SHORT_SIDE_FOR_ONE_PIXEL))
    font = ImageFont.load_default(_TEXT_SIZE * width)
    columns = (reply.outputs[name].tolist() for name in ("boxes", "labels", "scores", "indices"))
    # The best last, on top.
    for (left, top, right, bottom), label, score, index in reversed(list(zip(*columns, strict=True))):
        color = _color(index)
        # The sides of a box that reaches the edges are drawn on the last row and column.
        last_column, last_row = picture.width - 1, picture.height - 1
        corners = (min(left, last_column), min(top, last_row), min(right, last_column), min(bottom, last_row))
        draw.rectangle(corners, outline=color, width=width)
        text = f"{label} {score:.2f}"
        text_left, text_top, text_right, text_bottom = draw.textbbox((left, top), text, font=font, anchor="lb")
        if text_top < 0:
            text_left, text_top, text_right, text_bottom = draw.textbbox((left, top), text, font=font, anchor="lt")
        draw.rectangle((text_left, text_top, text_right, text_bottom), fill=color)
        draw.text((text_left, text_top), text, fill="black", font=font, anchor="lt")


def _blend_classes(picture: Image.Image, reply: InferenceReply) -> Image.Image:
    classes = reply.outputs["classes"]
    if classes.shape != picture.size[::-1]:
        raise DataError(f"the class map has shape {list(classes.shape)}: the image has {list(picture.size[::-1])}")
    palette = np.zeros((int(classes.max(initial=0)) + 1, 3), np.uint8)
    for index in np.unique(classes):
        palette[index] = _color(int(index))
    colors = Image.fromarray(palette[classes])
    return Image.blend(picture, colors, _MASK_OPACITY)


def _color(index: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index * _HUE_STEP % 1, 0.75, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
