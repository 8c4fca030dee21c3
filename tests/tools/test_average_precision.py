"""Average precision, by hand."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.scripts import script
from zoo_core import DetectedObject

pytest.importorskip("numpy", reason="needs NumPy")

HERE, THERE = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 30.0, 30.0)


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return script("average_precision")


def guess(probability: float, box: tuple[float, float, float, float], index: int = 0) -> DetectedObject:
    return DetectedObject(index, str(index), probability, box)


def test_all_found_and_nothing_else_is_one(measure: ModuleType) -> None:
    found = [[guess(0.9, HERE), guess(0.8, THERE)], [guess(0.3, HERE)]]
    assert measure.average_precision(found, [[(0, HERE), (0, THERE)], [(0, HERE)]], 0, 0.5) == 1.0


def test_nothing_found_is_zero(measure: ModuleType) -> None:
    assert measure.average_precision([[]], [[(0, HERE)]], 0, 0.5) == 0.0


def test_it_is_the_area_under_the_monotone_curve(measure: ModuleType) -> None:
    """Right, wrong, right, right of four: precision 1, 1/2, 2/3, 3/4, made monotone 1, 3/4, 3/4, 3/4."""
    found = [[guess(0.9, HERE)], [guess(0.8, THERE)], [guess(0.7, HERE)], [guess(0.6, HERE)], []]
    truths = [[(0, HERE)], [], [(0, HERE)], [(0, HERE)], [(0, HERE)]]
    assert measure.average_precision(found, truths, 0, 0.5) == pytest.approx((1 + 0.75 + 0.75) / 4)


def test_an_object_that_is_found_twice_is_found_once_and_wrong_once(measure: ModuleType) -> None:
    found = [[guess(0.9, HERE), guess(0.8, HERE), guess(0.7, THERE)]]
    assert measure.average_precision(found, [[(0, HERE), (0, THERE)]], 0, 0.5) == pytest.approx((1 + 2 / 3) / 2)


def test_a_box_must_overlap_by_a_half(measure: ModuleType) -> None:
    assert measure.overlap(HERE, (0, 0, 10, 5)) == 0.5
    assert measure.average_precision([[guess(0.9, (0, 0, 10, 5))]], [[(0, HERE)]], 0, 0.5) == 1.0
    assert measure.average_precision([[guess(0.9, (0, 0, 10, 4.9))]], [[(0, HERE)]], 0, 0.5) == 0.0


def test_a_box_of_another_picture_or_class_finds_nothing(measure: ModuleType) -> None:
    assert measure.average_precision([[], [guess(0.9, HERE)]], [[(0, HERE)], []], 0, 0.5) == 0.0
    assert measure.average_precision([[guess(0.9, HERE, index=1)]], [[(0, HERE)]], 0, 0.5) == 0.0


def test_the_mean_is_over_classes(measure: ModuleType) -> None:
    found = [[guess(0.9, HERE), guess(0.8, HERE, index=1)]]
    assert measure.mean_average_precision(found, [[(0, HERE), (1, THERE)]], 2) == 0.5
