"""Pictures to detect objects in: coloured shapes drawn on crops of real photographs, and where each shape is.

The photographs are files of scikit-image and scikit-learn; nothing is downloaded. Those to train on and those to measure on are
different ones. Seeded: the same packages give the same pictures, since the generator is NumPy's frozen one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("circle", "square", "triangle", "star")
#: package -> folder of its photographs
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
TRAINING = (
    "skimage/astronaut.png", "skimage/brick.png", "skimage/chelsea.png", "skimage/coffee.png", "skimage/gravel.png",
    "sklearn/flower.jpg",
)  # fmt: skip
HELD_OUT = ("skimage/grass.png", "skimage/motorcycle_left.png", "skimage/rocket.jpg", "sklearn/china.jpg")

#: Sides of a picture in pixels (the last one is never reached), and of a shape in shares of the picture's shorter side.
PICTURE_SIDES, SHAPE_SIDES = (128, 201), (0.22, 0.5)
MOST_SHAPES = 4
#: Boxes may overlap so far (intersection over union).
OVERLAP = 0.25
#: How far a colour must be from what is below it, in RGB.
CONTRAST = 90.0
#: A star's inner radius as a share of its outer one.
STAR = 0.45
#: Shapes are drawn so many times larger and then reduced, which smooths their edges.
FINER = 4

Box = tuple[float, float, float, float]
Random = np.random.RandomState


@dataclass(frozen=True)
class Drawing:
    """A picture and what is on it.

    Attributes:
        picture: RGB.
        labels: For each shape, its place in `NAMES`.
        boxes: For each shape, the corners (x0, y0, x1, y1) that it just fits in, in pixels.
    """

    picture: Image.Image
    labels: tuple[int, ...]
    boxes: tuple[Box, ...]


def drawings(count: int, seed: int, photographs: Sequence[str]) -> Iterator[Drawing]:
    """Seeded pictures, one at a time."""
    random = np.random.RandomState(seed)
    opened = [photograph(name) for name in photographs]
    for _ in range(count):
        yield _drawing(_crop(opened[random.randint(len(opened))], random), random)


def photograph(name: str) -> Image.Image:
    """A photograph of an installed package, such as ``skimage/coffee.png``.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    package, _, file = name.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name}: pip install scikit-image scikit-learn")
    with Image.open(Path(spec.origin).parent / FOLDERS[package] / file) as picture:
        return picture.convert("RGB")


def _crop(whole: Image.Image, random: Random) -> Image.Image:
    """A part of a photograph, of a random size and scale."""
    width, height = (int(side) for side in random.randint(*PICTURE_SIDES, size=2))
    scale = random.uniform(0.8, min(whole.width / width, whole.height / height))
    wide, high = int(width * scale), int(height * scale)
    left, top = random.randint(whole.width - wide + 1), random.randint(whole.height - high + 1)
    return whole.resize((width, height), Image.Resampling.BILINEAR, (left, top, left + wide, top + high))


def _drawing(picture: Image.Image, random: Random) -> Drawing:
    """A picture with shapes drawn on it; a later one may cover a part of an earlier one."""
    labels: list[int] = []
    boxes: list[Box] = []
    for _ in range(random.randint(1, MOST_SHAPES + 1)):
        label = random.randint(len(NAMES))
        corners = _outline(label, random.uniform(0, 2 * math.pi)) * random.uniform(*SHAPE_SIDES) * min(picture.size) / 2
        low, high = corners.min(0), corners.max(0)
        offset = random.uniform(0, 1, 2) * (np.array(picture.size) - (high - low)) - low
        x0, y0, x1, y1 = (float(side) for side in (*(low + offset), *(high + offset)))
        if all(_overlap((x0, y0, x1, y1), other) <= OVERLAP for other in boxes):
            _paste(picture, corners + offset, (x0, y0, x1, y1), random)
            labels.append(label)
            boxes.append((x0, y0, x1, y1))
    return Drawing(picture, tuple(labels), tuple(boxes))


def _outline(label: int, angle: float) -> np.ndarray:
    """The corners of a shape that reaches 1 from its centre; a circle has many."""
    corners, radii = {
        "circle": (64, (1.0,)),
        "square": (4, (1.0,)),
        "triangle": (3, (1.0,)),
        "star": (10, (1.0, STAR)),
    }[NAMES[label]]
    angles = angle + np.arange(corners) * 2 * math.pi / corners
    reach = np.resize(radii, corners)
    return np.stack((np.cos(angles) * reach, np.sin(angles) * reach), 1)


def _paste(picture: Image.Image, corners: np.ndarray, box: Box, random: Random) -> None:
    left, top = (math.floor(side) for side in box[:2])
    right, bottom = (math.ceil(side) for side in box[2:])
    size = (right - left, bottom - top)
    mask = Image.new("L", (size[0] * FINER, size[1] * FINER))
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in ((corners - (left, top)) * FINER).tolist()], fill=255)
    below = np.asarray(picture.crop((left, top, right, bottom)), dtype=np.float64).mean((0, 1))
    colour = random.randint(0, 256, 3)
    while np.linalg.norm(colour - below) < CONTRAST:
        colour = random.randint(0, 256, 3)
    fill = Image.new("RGB", size, tuple(int(value) for value in colour))
    picture.paste(fill, (left, top), mask.resize(size, Image.Resampling.BOX))


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - common)
