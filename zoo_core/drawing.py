"""A picture with what a model found in it: boxes around objects, or bars for classes.

Pillow is imported when something is drawn, so that the core can be installed without it.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import InputError
from zoo_core.output import Classifications, DetectedObjects
from zoo_core.vision import open_picture, require_vision

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

#: A smaller picture is enlarged by a whole factor until its longer side has so many pixels, or a label would not fit on it.
READABLE = 480
#: A colour for each class, in turn; each can be read against white and carries white text (a contrast of 4.5 or more).
COLOURS = ("#c8401c", "#1f6fb2", "#2f7d4f", "#7a4bb0", "#8a6100", "#b0276f", "#0f7480", "#5b6570")
PAPER, INK, TRACK = "#ffffff", "#1d2733", "#e3e8ee"


def drawn(x: Any, found: Any, *, top: int = 5) -> Image:
    """A picture with what was found in it.

    Args:
        x: Whatever `zoo_core.vision.open_picture` takes; it is not changed.
        found: `DetectedObjects`, which become boxes on the picture, or `Classifications`, which become bars below it.
        top: How many classes.

    Raises:
        InputError: ``x`` is no picture, or ``found`` is neither.
    """
    if not isinstance(found, DetectedObjects | Classifications):
        raise InputError(f"boxes and bars can be drawn of what a translator found, not of {type(found).__name__}")
    picture = open_picture(x, "RGB")
    factor = max(-(-READABLE // max(picture.size)), 1)
    # Always another picture, since one that is given is its owner's.
    enlarged = picture.resize((picture.width * factor, picture.height * factor))
    return _boxed(enlarged, found, factor) if isinstance(found, DetectedObjects) else _barred(enlarged, found.top(top))


def check_target(path: Path) -> None:
    """Refuse a file that no picture can be written to, before a model runs for it.

    Raises:
        InputError: Its folder is missing, or its suffix is that of no format that Pillow writes.
        PackageNotInstalledError: Pillow is missing.
    """
    require_vision()
    from PIL import Image

    if not path.absolute().parent.is_dir():
        raise InputError(f"{path.absolute().parent}: there is no such folder")
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise InputError(f"{path}: no picture is written under such a name; end it in .png or .jpg")


def _boxed(picture: Image, found: DetectedObjects, factor: int) -> Image:
    from PIL import ImageDraw

    draw, line = ImageDraw.Draw(picture), max(min(picture.size) // 160, 2)
    font = _font(picture)
    # The most probable last, so that no other covers it; and labels after all boxes, so that they can be read.
    for item in reversed(found):
        draw.rectangle([side * factor for side in item.box], outline=_colour(item.index), width=line)
    for item in reversed(found):
        text = f"{item.name} {item.probability:.2f}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        wide, high = right - left + 4 * line, bottom - top + 4 * line
        x, y = item.box[0] * factor, item.box[1] * factor
        # Above the box where there is room, and never beyond the picture's edges.
        x, y = min(x, max(picture.width - wide, 0)), y - high if y >= high else y
        draw.rectangle((x, y, x + wide, y + high), fill=_colour(item.index))
        draw.text((x + 2 * line - left, y + 2 * line - top), text, PAPER, font)
    return picture


def _barred(picture: Image, found: Classifications) -> Image:
    from PIL import Image, ImageDraw

    font = _font(picture)
    left, top, right, bottom = ImageDraw.Draw(picture).textbbox((0, 0), "100.0%", font=font)
    number, high = round(right - left), round(bottom - top)
    row, margin = high * 4, high
    sheet = Image.new("RGB", (picture.width, picture.height + row * len(found) + margin), PAPER)
    sheet.paste(picture)
    draw, wide = ImageDraw.Draw(sheet), picture.width - 3 * margin - number
    for place, item in enumerate(found):
        y = picture.height + margin + place * row
        draw.text((margin, y - top), item.name, INK, font)
        y += high * 2
        draw.rectangle((margin, y, margin + wide, y + high), TRACK)
        share = item.probability if isfinite(item.probability) else 0.0
        draw.rectangle((margin, y, margin + min(max(share, 0.0), 1.0) * wide, y + high), COLOURS[1])
        draw.text((picture.width - margin - number - left, y - top), f"{item.probability:.1%}", INK, font)
    return sheet


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _font(picture: Image) -> FreeTypeFont | ImageFont:
    """The font that comes with Pillow, in a size that goes with a picture."""
    from PIL import ImageFont

    return ImageFont.load_default(max(min(picture.size) // 28, 14))
