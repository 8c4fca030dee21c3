"""The translator ``object_detection``: a picture to arrays, a detector's scores and offsets to objects with boxes.

NumPy and Pillow are imported when a picture is translated, so that the core can be installed without them.

Source: Liu et al., "SSD: Single Shot MultiBox Detector" (2015), https://arxiv.org/abs/1512.02325, section 2.2 and 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo_core.errors import InputError
from zoo_core.output import DetectedObject, DetectedObjects
from zoo_core.translator import Translator, TranslatorContext
from zoo_core.vision import channels_of, check_channels, check_size, class_names, open_picture, softmax

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]
    Floats = npt.NDArray[np.float64]

#: The attachment that says how large the user's picture is: (width, height) in pixels.
PICTURE_SIZE = "picture_size"
#: An object is at most e to this power times as large as its anchor; beyond, a float would overflow.
_LARGEST = 16.0


@dataclass(frozen=True, kw_only=True)
class ObjectDetection(Translator):
    """Turns a picture into ``float32[3, height, width]`` and the outputs of a multi-box detector into `DetectedObjects`.

    A picture is whatever `zoo_core.vision.open_picture` takes. It is stretched to width x height, scaled to 0..``maximum``,
    then ``(x - mean) / std``.

    The detector gives for each of its anchors the class scores ``[anchors, classes + 1]``, background first, the offsets
    ``[anchors, 4]`` and the anchor itself ``[anchors, 4]``, as corners (x0, y0, x1, y1) in fractions of the picture. Boxes are
    decoded from the offsets and clipped to the picture; then, class by class, a box is suppressed by a more probable one that
    it overlaps. The boxes that remain are in pixels of the picture that was given.

    Attributes:
        width: Pixels of the array.
        height: Pixels of the array.
        interpolation: How pixels are resampled.
        maximum: The value of a white pixel before ``mean`` and ``std``.
        mean: For each channel; one value is for all.
        std: For each channel; one value is for all.
        apply_softmax: The block gives logits.
        variances: By which the offsets of centre x, centre y, width and height are multiplied.
        threshold: Only objects that are more probable than this.
        iou_threshold: A box is suppressed whose intersection over union with a more probable box of its class is above this.
        candidates: How many boxes of a class, the most probable, are compared with one another.
        limit: At most so many objects.
        classes: Names by index, without the background; else they are read from the artifact's file ``classes`` or ``synset``.
    """

    extra_arguments: ClassVar[tuple[str, ...]] = ("application", "normalize")

    width: int = 300
    height: int = 300
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    maximum: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    apply_softmax: bool = True
    variances: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    threshold: float = 0.5
    iou_threshold: float = 0.45
    candidates: int = 400
    limit: int = 200
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_size(self.width, self.height)
        check_channels(self.mean, self.std, 3)
        for name in ("threshold", "iou_threshold"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be 0 to 1, not {getattr(self, name)}")
        for name in ("candidates", "limit"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not all(variance > 0.0 for variance in self.variances):
            raise ValueError(f"variances must be above 0, not {self.variances}")

    def with_files(self, files: Mapping[str, Path]) -> ObjectDetection:
        """This translator with the class names of the artifact's file taken in."""
        return self if self.classes else replace(self, classes=class_names(files))

    def process_input(self, context: TranslatorContext, x: Any) -> tuple[Array, ...]:
        """The picture as ``float32[3, height, width]``.

        Raises:
            InputError: It is no picture.
        """
        picture = open_picture(x, "RGB")
        from PIL.Image import Resampling

        context.attachments[PICTURE_SIZE] = picture.size
        size = (self.width, self.height)
        resized = picture if picture.size == size else picture.resize(size, Resampling[self.interpolation.upper()])
        return (channels_of(resized, self.maximum, self.mean, self.std),)

    def process_output(self, context: TranslatorContext, arrays: tuple[Array, ...]) -> DetectedObjects:
        """The objects of one picture, most probable first; their boxes are in pixels of the picture that was given.

        Raises:
            InputError: The arrays are not those of a multi-box detector, or the classes have other names than there are.
        """
        scores, offsets, anchors = _checked(arrays)
        classes = scores.shape[1] - 1
        if self.classes and len(self.classes) != classes:
            raise InputError(f"the model gives {classes} classes beside the background, and {len(self.classes)} have names")
        probabilities = softmax(scores) if self.apply_softmax else scores
        boxes = decoded(offsets, anchors, self.variances).clip(0.0, 1.0)
        found = sorted(self._found(probabilities, boxes), key=lambda item: -item.probability)[: self.limit]
        width, height = context.attachments.get(PICTURE_SIZE, (self.width, self.height))
        return DetectedObjects(replace(item, box=_in_pixels(item.box, width, height)) for item in found)

    def _found(self, probabilities: Floats, boxes: Floats) -> Iterator[DetectedObject]:
        """The objects of every class, with boxes in fractions of the picture."""
        has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        for index, of_class in enumerate(probabilities.T[1:]):
            (likely,) = ((of_class > self.threshold) & has_area).nonzero()
            # Stable: of equally probable boxes the first anchor's wins.
            best = likely[(-of_class[likely]).argsort(kind="stable")][: self.candidates]
            for anchor in best[unsuppressed(boxes[best], self.iou_threshold)]:
                x0, y0, x1, y1 = boxes[anchor].tolist()
                name = self.classes[index] if self.classes else str(index)
                yield DetectedObject(index, name, float(of_class[anchor]), (x0, y0, x1, y1))


def decoded(offsets: Floats, anchors: Floats, variances: Sequence[float]) -> Floats:
    """The boxes that a detector means: each anchor, moved by its offsets in units of the anchor's size, then resized.

    Args:
        offsets: ``[anchors, 4]``: of centre x, centre y, log width and log height, each divided by its variance.
        anchors: ``[anchors, 4]``: corners (x0, y0, x1, y1), in any unit.
        variances: The four numbers that the offsets were divided by in training.

    Returns:
        ``[anchors, 4]``: corners, in the unit of the anchors.
    """
    import numpy as np

    moves = offsets * np.asarray(variances)
    sizes = anchors[:, 2:] - anchors[:, :2]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2 + moves[:, :2] * sizes
    halves = sizes * np.exp(moves[:, 2:].clip(max=_LARGEST)) / 2
    return np.concatenate((centres - halves, centres + halves), axis=1)


def unsuppressed(boxes: Floats, iou_threshold: float) -> list[int]:
    """Which of some boxes remain after greedy non-maximum suppression.

    A box is suppressed where its intersection over union with one that remains is **above** the threshold, as in MXNet's
    ``box_nms``; a box that just reaches it remains.

    Args:
        boxes: ``[boxes, 4]``: corners with an area, most probable first.
        iou_threshold: 0 to 1.

    Returns:
        Their places, most probable first.
    """
    import numpy as np

    kept, left = [], np.arange(len(boxes))
    while left.size:
        kept.append(int(left[0]))
        left = left[1:]
        left = left[intersection_over_union(boxes[kept[-1]], boxes[left]) <= iou_threshold]
    return kept


def intersection_over_union(box: Floats, others: Floats) -> Floats:
    """How far a box overlaps others, 0 to 1.

    Args:
        box: ``[4]``: corners.
        others: ``[boxes, 4]``: corners.
    """
    import numpy as np

    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides.clip(min=0.0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    shared: Floats = common / ((box[2:] - box[:2]).prod() + areas - common)
    return shared


def _checked(arrays: Sequence[Array]) -> tuple[Floats, Floats, Floats]:
    """The three outputs as numbers to compute with.

    Raises:
        InputError: They are not those of a multi-box detector.
    """
    import numpy as np

    shapes = [array.shape for array in arrays]
    is_detector = (
        len(shapes) == 3
        and all(len(shape) == 2 for shape in shapes)
        and shapes[0][1] >= 2
        and shapes[1] == shapes[2] == (shapes[0][0], 4)
    )
    if not is_detector:
        raise InputError(
            "expected class scores [anchors, classes + 1], offsets [anchors, 4] and anchors [anchors, 4] of each picture, "
            f"and the model gives {', '.join(str(list(shape)) for shape in shapes)}"
        )
    scores, offsets, anchors = (np.asarray(array, dtype=np.float64) for array in arrays)
    return scores, offsets, anchors


def _in_pixels(box: tuple[float, float, float, float], width: int, height: int) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return x0 * width, y0 * height, x1 * width, y1 * height
