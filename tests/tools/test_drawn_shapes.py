"""The pictures that the detector is trained and measured on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.installed import needs
from tests.scripts import script

np = pytest.importorskip("numpy", reason="needs NumPy")
pytest.importorskip("PIL", reason="needs Pillow")
pytestmark = needs("scikit-image", "scikit-learn")


@pytest.fixture(scope="module")
def shapes() -> Any:
    return script("drawn_shapes")


def test_the_pictures_to_measure_on_are_of_other_photographs(shapes: Any) -> None:
    assert not set(shapes.TRAINING) & set(shapes.HELD_OUT)


def test_a_seed_gives_the_same_pictures_again(shapes: Any) -> None:
    one, other = (list(shapes.drawings(6, 3, shapes.HELD_OUT)) for _ in range(2))
    assert [(drawing.labels, drawing.boxes) for drawing in one] == [(drawing.labels, drawing.boxes) for drawing in other]
    assert all(np.array_equal(first.picture, second.picture) for first, second in zip(one, other, strict=True))
    assert [drawing.boxes for drawing in shapes.drawings(6, 4, shapes.HELD_OUT)] != [drawing.boxes for drawing in one]


def test_a_box_is_what_its_shape_just_fits_in(shapes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "MOST_SHAPES", 1)
    monkeypatch.setattr(shapes, "_crop", lambda whole, random: shapes.Image.new("RGB", (150, 140), (128, 128, 128)))
    seen = set()
    for drawing in shapes.drawings(40, 1, shapes.HELD_OUT[:1]):
        (box,) = drawing.boxes
        rows, columns = (np.asarray(drawing.picture) != 128).any(2).nonzero()
        # A corner of a shape covers a pixel too little to be seen.
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == pytest.approx(box, abs=2.5)
        seen.add(drawing.labels[0])
    assert seen == {0, 1, 2, 3}


def test_shapes_lie_inside_the_picture_and_overlap_little(shapes: Any) -> None:
    overlap = script("average_precision").overlap
    for drawing in shapes.drawings(50, 2, shapes.HELD_OUT):
        assert 1 <= len(drawing.boxes) == len(drawing.labels) <= shapes.MOST_SHAPES
        for number, (x0, y0, x1, y1) in enumerate(drawing.boxes):
            assert 0 <= x0 < x1 <= drawing.picture.width + 1e-9
            assert 0 <= y0 < y1 <= drawing.picture.height + 1e-9
            assert all(overlap(drawing.boxes[number], other) <= shapes.OVERLAP for other in drawing.boxes[:number])
