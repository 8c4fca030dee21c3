"""Mean average precision of a detector at an intersection over union of 0.5.

Source: Everingham et al., "The PASCAL Visual Object Classes Challenge 2010 Development Kit", section 3.4: the area under the
curve of precision over recall, made monotone from the right, with all of its points. Boxes are of continuous coordinates here,
and not of whole pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]
#: What a detector found or a picture holds: (class, box), and for what was found its probability.
Truth = Sequence[tuple[int, Box]]


def mean_average_precision(found: Sequence[Sequence[Any]], truths: Sequence[Truth], classes: int, iou: float = 0.5) -> float:
    """The mean of the classes' average precisions, 0 to 1.

    Args:
        found: For each picture its objects, with ``index``, ``probability`` and ``box`` as `zoo_core.DetectedObject` has them.
        truths: For each picture what it holds.
        classes: How many classes there are; each has an object somewhere.
        iou: From where on a box counts as found.
    """
    return float(np.mean([average_precision(found, truths, index, iou) for index in range(classes)]))


def average_precision(found: Sequence[Sequence[Any]], truths: Sequence[Truth], index: int, iou: float) -> float:
    """The average precision of one class."""
    held = [[box for label, box in truth if label == index] for truth in truths]
    guesses = [
        (item.probability, number, item.box) for number, items in enumerate(found) for item in items if item.index == index
    ]
    hits: list[bool] = []
    taken: set[tuple[int, int]] = set()
    for _, number, box in sorted(guesses, key=lambda guess: -guess[0]):
        overlaps = [overlap(box, other) for other in held[number]]
        best = int(np.argmax(overlaps)) if overlaps else 0
        # A second box on one object is a false one.
        hits.append(bool(overlaps) and overlaps[best] >= iou and (number, best) not in taken)
        if hits[-1]:
            taken.add((number, best))
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    monotone = np.maximum.accumulate(precision[::-1])[::-1]
    return float(monotone[np.asarray(hits, dtype=bool)].sum() / sum(map(len, held)))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / ((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - common)
