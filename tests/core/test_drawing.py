"""Pictures with what a model found in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from zoo_core import Classification, Classifications, DetectedObject, DetectedObjects, InputError, PackageNotInstalledError
from zoo_core.drawing import COLOURS, check_target, drawn

np = pytest.importorskip("numpy", reason="needs NumPy")
ImageColor = pytest.importorskip("PIL.ImageColor", reason="needs Pillow")

GREY = np.full((480, 640, 3), 100, np.uint8)


def colour(index: int) -> tuple[int, ...]:
    found: tuple[int, ...] = ImageColor.getrgb(COLOURS[index])
    return found


def has(picture: Any, rgb: tuple[int, ...]) -> Any:
    """Where a picture has a colour, ``bool[height, width]``."""
    return (np.asarray(picture) == rgb).all(2)


def test_a_box_is_drawn_where_the_object_is_with_a_label_above() -> None:
    found = DetectedObjects([DetectedObject(1, "dog", 0.9, (100.0, 200.0, 300.0, 400.0))])

    picture = drawn(GREY, found)

    where = has(picture, colour(1))
    rows, columns = where.nonzero()
    assert picture.size == (640, 480)
    assert (columns.min(), columns.max(), rows.max()) == (100, 300, 400)
    assert 160 < rows.min() < 200  # the label
    assert not where[210:390, 110:290].any()
    assert has(picture, (255, 255, 255))[:200, :].any()  # its text
    assert (np.asarray(picture)[:, 310:] == 100).all()


def test_a_label_stays_on_the_picture() -> None:
    found = DetectedObjects([DetectedObject(0, "something with a long name", 0.9, (600.0, 2.0, 640.0, 300.0))])
    picture = drawn(GREY, found)
    rows, columns = has(picture, colour(0)).nonzero()
    assert rows.min() == 2
    assert columns.min() < 500


def test_classes_have_colours_of_their_own_that_repeat() -> None:
    boxes = [(20.0 + 100 * place, 300.0, 100.0 + 100 * place, 400.0) for place in range(3)]
    indices = (0, 2, len(COLOURS))
    items = [DetectedObject(index, "x", 0.9, box) for index, box in zip(indices, boxes, strict=True)]
    picture = np.asarray(drawn(GREY, DetectedObjects(items)))
    assert [tuple(picture[400, int(box[0]) + 5]) for box in boxes] == [colour(0), colour(2), colour(0)]


def test_a_small_picture_is_enlarged_with_its_boxes() -> None:
    found = DetectedObjects([DetectedObject(0, "cat", 0.9, (10.0, 50.0, 40.0, 90.0))])
    picture = drawn(GREY[:100, :100], found)
    assert picture.size == (500, 500)
    rows, columns = has(picture, colour(0)).nonzero()
    assert (columns.min(), rows.max()) == (50, 450)


def test_the_best_classes_are_bars_below_the_picture() -> None:
    found = Classifications([Classification(0, "cat", 0.75), Classification(1, "dog", 0.25), Classification(2, "pig", 0.0)])

    picture = drawn(GREY, found, top=2)

    assert (np.asarray(picture)[:480] == 100).all()
    lengths = has(picture, colour(1)).sum(1)
    whole = lengths + has(picture, ImageColor.getrgb("#e3e8ee")).sum(1)
    shares = {round(length / all_, 2) for length, all_ in zip(lengths, whole, strict=True) if all_}
    assert shares == {0.75, 0.25}


def test_the_given_picture_is_not_changed() -> None:
    from PIL import Image

    given = Image.fromarray(GREY)
    drawn(given, DetectedObjects([DetectedObject(0, "cat", 0.9, (10.0, 10.0, 60.0, 60.0))]))
    assert (np.asarray(given) == GREY).all()


def test_probabilities_that_are_no_numbers_have_no_bar() -> None:
    picture = drawn(GREY, Classifications([Classification(0, "cat", float("nan"))]))
    assert has(picture, colour(1)).sum(1).max() <= 1


@pytest.mark.parametrize("background", COLOURS)
def test_a_label_can_be_read_on_its_colour(background: str) -> None:
    """The contrast of white text, by WCAG 2.2's formula, is at least 4.5."""
    channels = [value / 255 for value in ImageColor.getrgb(background)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.5


def test_arrays_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="boxes and bars can be drawn of what a translator found, not of ndarray"):
        drawn(GREY, np.zeros(3))


def test_a_target_is_checked_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_target(tmp_path / "a.PNG")
    check_target(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.xyz: no picture is written under such a name; end it in \.png or \.jpg"):
        check_target(tmp_path / "a.xyz")
    with pytest.raises(InputError, match="there is no such folder"):
        check_target(tmp_path / "nowhere" / "a.png")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(PackageNotInstalledError, match=r'pip install "zoo-core\[vision\]"$'):
        check_target(tmp_path / "a.png")
