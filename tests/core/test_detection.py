"""The translator object_detection: a picture to arrays, a detector's outputs to objects with boxes."""

from __future__ import annotations

import io
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo_core import DetectedObjects, InputError, PackageNotInstalledError, Translator, TranslatorContext
from zoo_core.detection import ObjectDetection, decoded, intersection_over_union, unsuppressed

NOBODY: Any = None
NO_OFFSETS = (0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def np() -> Any:
    pytest.importorskip("PIL")
    return pytest.importorskip("numpy")


def context(size: tuple[int, int] = (100, 100)) -> TranslatorContext:
    """What a translator sees after it took a picture of some size."""
    return TranslatorContext(model=NOBODY, attachments={"picture_size": size})


def detect(np: Any, rows: list[tuple[Any, Any]], size: tuple[int, int] = (100, 100), **fields: Any) -> DetectedObjects:
    """What is found where a detector gives probabilities and corners, in fractions of the picture, and no offsets."""
    translator = ObjectDetection(apply_softmax=False, **fields)
    scores, anchors = (np.array(column, dtype=np.float32) for column in zip(*rows, strict=True))
    return translator.process_output(context(size), (scores, np.zeros_like(anchors), anchors))


def seen(found: DetectedObjects) -> list[tuple[str, float, tuple[float, ...]]]:
    return [(item.name, round(item.probability, 3), tuple(round(side, 3) for side in item.box)) for item in found]


# from pixels to numbers ----------------------------------------------------------------------------------------------


def test_a_picture_is_stretched_to_the_size_and_its_own_size_is_kept(np: Any) -> None:
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, 2:] = 255
    translator, left = ObjectDetection(width=2, height=2, interpolation="nearest"), context((0, 0))

    (array,) = translator.process_input(left, pixels)

    assert (array.dtype, array.shape) == (np.float32, (3, 2, 2))
    assert array.tolist() == [[[0, 1], [0, 1]]] * 3
    assert left.attachments == {"picture_size": (4, 2)}


def test_mean_and_deviation_are_those_of_each_channel_after_scaling(np: Any) -> None:
    translator = ObjectDetection(width=1, height=1, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1))
    (array,) = translator.process_input(context(), np.array([[[255, 51, 0]]], np.uint8))
    np.testing.assert_allclose(array.reshape(-1), [1.0, -1.0, -3.0], rtol=1e-5)


def test_a_picture_is_turned_upright_before_its_size_is_taken(np: Any) -> None:
    from PIL import Image

    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # its top is at the right
    Image.fromarray(np.zeros((2, 6, 3), np.uint8)).save(stream, "JPEG", exif=exif)
    left = context()

    ObjectDetection(width=8, height=8).process_input(left, stream.getvalue())

    assert left.attachments == {"picture_size": (2, 6)}


@pytest.mark.parametrize("missing", ["numpy", "PIL"])
def test_without_numpy_or_pillow_the_error_ends_in_the_install_line(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing == "PIL":
        pytest.importorskip("numpy")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PackageNotInstalledError, match=r'pip install "zoo-core\[vision\]"$'):
        ObjectDetection().process_input(context(), b"x")


# from numbers to boxes -----------------------------------------------------------------------------------------------


def test_without_offsets_a_box_is_its_anchor(np: Any) -> None:
    anchors = np.array([[0.1, 0.2, 0.5, 0.9], [-0.1, 0.0, 0.3, 1.2]])
    np.testing.assert_allclose(decoded(np.zeros((2, 4)), anchors, (0.1, 0.1, 0.2, 0.2)), anchors, atol=1e-15)


def test_offsets_move_the_centre_by_parts_of_the_anchor_and_then_resize_it(np: Any) -> None:
    """Source: arXiv:1512.02325, equation 2, each offset divided by its variance."""
    anchor = np.array([[0.2, 0.4, 0.6, 0.6]])
    offsets = np.array([[5.0, -10.0, 5 * math.log(2), -5 * math.log(4)]])
    # The centre (0.4, 0.5) goes half a width to the right and one height up; the width doubles, the height is quartered.
    np.testing.assert_allclose(decoded(offsets, anchor, (0.1, 0.1, 0.2, 0.2)), [[0.2, 0.275, 1.0, 0.325]], atol=1e-12)


def test_the_variances_are_the_translators(np: Any) -> None:
    arrays = (
        np.array([[0.0, 1.0]], np.float32),
        np.array([[1.0, 0.0, 0.0, 0.0]], np.float32),
        np.array([[0.2, 0.2, 0.4, 0.4]], np.float32),
    )
    translator = ObjectDetection(apply_softmax=False, variances=(0.5, 0.5, 1.0, 1.0))
    (item,) = translator.process_output(context(), arrays)
    assert item.box == pytest.approx((30, 20, 50, 40), abs=1e-4)


def test_boxes_are_in_pixels_of_the_picture_that_was_given(np: Any) -> None:
    found = detect(np, [((0.1, 0.9), (0.25, 0.5, 0.5, 1.0))], size=(640, 480))
    assert seen(found) == [("0", 0.9, (160, 240, 320, 480))]


def test_boxes_end_where_the_picture_ends(np: Any) -> None:
    assert seen(detect(np, [((0.1, 0.9), (-0.2, 0.5, 0.3, 1.7))])) == [("0", 0.9, (0, 50, 30, 100))]


def test_a_box_outside_the_picture_is_no_object(np: Any) -> None:
    rows = [((0.1, 0.9), (1.0, 0.0, 1.5, 0.5)), ((0.2, 0.8), (0.5, 0.5, 0.5, 0.8)), ((0.3, 0.7), (0.1, 0.1, 0.2, 0.2))]
    assert seen(detect(np, rows)) == [("0", 0.7, (10, 10, 20, 20))]


def test_offsets_that_are_no_numbers_or_huge_find_nothing_that_is_no_box(np: Any) -> None:
    offsets = np.array([[np.nan] * 4, [0, 0, 1e30, 1e30], [0, 0, -1e30, 0]], np.float32)
    anchors = np.array([[0.2, 0.2, 0.4, 0.4]] * 3, np.float32)
    scores = np.array([[0.1, 0.9]] * 3, np.float32)
    found = ObjectDetection(apply_softmax=False).process_output(context(), (scores, offsets, anchors))
    assert seen(found) == [("0", 0.9, (0, 0, 100, 100))]


# which objects there are ---------------------------------------------------------------------------------------------


def test_logits_become_probabilities_over_all_classes_and_the_background(np: Any) -> None:
    scores = np.log(np.array([[0.2, 0.7, 0.1]])).astype(np.float32) + 3
    arrays = (scores, np.zeros((1, 4)), np.array([[0.0, 0.0, 1.0, 1.0]]))
    assert seen(ObjectDetection().process_output(context(), arrays)) == [("0", 0.7, (0, 0, 100, 100))]


def test_the_first_class_is_the_background_and_no_object(np: Any) -> None:
    rows = [((0.99, 0.01, 0.0), (0.0, 0.0, 0.5, 0.5)), ((0.2, 0.0, 0.8), (0.5, 0.5, 1.0, 1.0))]
    (item,) = detect(np, rows, classes=("cat", "dog"))
    assert (item.index, item.name) == (1, "dog")


def test_an_object_is_more_probable_than_the_threshold(np: Any) -> None:
    rows = [((0.5, 0.5), (0.0, 0.0, 0.2, 0.2)), ((0.25, 0.75), (0.5, 0.5, 0.7, 0.7))]
    assert [item.probability for item in detect(np, rows)] == [0.75]
    assert [item.probability for item in detect(np, rows, threshold=0.25)] == [0.75, 0.5]


def test_objects_come_most_probable_first_whatever_their_class(np: Any) -> None:
    rows = [
        ((0.0, 0.6, 0.0), (0.0, 0.0, 0.2, 0.2)),
        ((0.0, 0.0, 0.9), (0.3, 0.3, 0.5, 0.5)),
        ((0.0, 0.8, 0.0), (0.6, 0.6, 0.8, 0.8)),
    ]
    assert [(item.index, round(item.probability, 1)) for item in detect(np, rows)] == [(1, 0.9), (0, 0.8), (0, 0.6)]
    assert [round(item.probability, 1) for item in detect(np, rows, limit=2)] == [0.9, 0.8]


def test_a_box_is_suppressed_only_by_one_of_its_own_class(np: Any) -> None:
    corners = (0.1, 0.1, 0.5, 0.5)
    rows = [((0.0, 0.9, 0.0), corners), ((0.0, 0.8, 0.0), corners), ((0.0, 0.0, 0.7), corners)]
    assert [(item.index, round(item.probability, 1)) for item in detect(np, rows)] == [(0, 0.9), (1, 0.7)]


def test_of_equally_probable_boxes_the_first_remains(np: Any) -> None:
    rows = [((0.0, 0.9), (0.1, 0.1, 0.5, 0.5)), ((0.0, 0.9), (0.1, 0.1, 0.52, 0.5)), ((0.0, 0.9), (0.6, 0.6, 0.8, 0.8))]
    assert seen(detect(np, rows)) == [("0", 0.9, (10, 10, 50, 50)), ("0", 0.9, (60, 60, 80, 80))]


def test_only_the_most_probable_candidates_of_a_class_are_compared(np: Any) -> None:
    rows = [((0.0, 0.5 + place / 10), (0.2 * place, 0.0, 0.2 * place + 0.1, 0.1)) for place in range(5)]
    assert [round(item.probability, 1) for item in detect(np, rows, candidates=2, threshold=0.1)] == [0.9, 0.8]


def test_the_overlap_of_boxes_is_their_common_area_over_all_that_they_cover(np: Any) -> None:
    others = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 2], [5, 5, 6, 6], [0, 0, 1, 1]], float)
    assert intersection_over_union(others[0], others).tolist() == [1, 1 / 7, 0, 0, 0.25]


@pytest.mark.parametrize(("threshold", "kept"), [(0.24, [0]), (0.25, [0, 1]), (0.26, [0, 1])])
def test_a_box_that_just_reaches_the_overlap_remains(np: Any, threshold: float, kept: list[int]) -> None:
    assert unsuppressed(np.array([[0, 0, 2, 2], [0, 0, 1, 1]], float), threshold) == kept


def test_a_box_that_was_suppressed_suppresses_no_other(np: Any) -> None:
    # Each overlaps the next by a half, and no other.
    boxes = np.array([[0, 0, 4, 1], [1, 0, 5, 1], [3, 0, 7, 1]], float)
    assert unsuppressed(boxes, 0.3) == [0, 2]


def test_a_picture_without_objects_has_none(np: Any) -> None:
    assert list(detect(np, [((0.9, 0.1), (0.0, 0.0, 0.2, 0.2))])) == []


# names, fields, faults -----------------------------------------------------------------------------------------------


def test_names_are_read_from_the_artifacts_file_unless_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    files = {"classes": tmp_path / "classes.txt"}
    assert ObjectDetection().with_files(files).classes == ("cat", "dog")
    assert ObjectDetection(classes=("a",)).with_files(files).classes == ("a",)
    assert ObjectDetection().with_files({}).classes == ()


def test_it_is_equal_after_a_round_trip_through_json() -> None:
    translator = ObjectDetection(width=96, height=64, mean=(0.5,), classes=("circle", "star"), variances=(0.1, 0.1, 0.3, 0.3))
    assert Translator.from_json(translator.to_json()) == translator


def test_names_for_another_number_of_classes_are_refused(np: Any) -> None:
    with pytest.raises(InputError, match="gives 1 classes beside the background, and 2 have names"):
        detect(np, [((0.1, 0.9), (0.0, 0.0, 1.0, 1.0))], classes=("cat", "dog"))


@pytest.mark.parametrize(
    "shapes",
    [
        [(8, 3)],
        [(8, 3), (8, 4)],
        [(8, 3), (8, 4), (7, 4)],
        [(8, 1), (8, 4), (8, 4)],
        [(8, 3), (8, 5), (8, 5)],
        [(3,), (4,), (4,)],
    ],
    ids=str,
)
def test_outputs_of_another_network_are_refused(np: Any, shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match=r"expected class scores \[anchors, classes \+ 1\].* and the model gives \["):
        ObjectDetection().process_output(context(), tuple(np.zeros(shape, np.float32) for shape in shapes))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 0}, "width and height must be 1 to"),
        ({"mean": (1.0, 2.0)}, "mean has 2 values; expected one, or one for each of 3 channels"),
        ({"std": (0.0,)}, "std must not be 0"),
        ({"threshold": 1.5}, "threshold must be 0 to 1, not 1.5"),
        ({"iou_threshold": -0.1}, "iou_threshold must be 0 to 1, not -0.1"),
        ({"iou_threshold": math.nan}, "iou_threshold must be 0 to 1, not nan"),
        ({"limit": 0}, "limit must be at least 1, not 0"),
        ({"candidates": 0}, "candidates must be at least 1, not 0"),
        ({"variances": (0.1, 0.1, 0.2, 0.0)}, "variances must be above 0"),
    ],
)
def test_fields_that_make_no_sense_are_refused_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectDetection(**fields)
