"""What translators give back."""

from __future__ import annotations

import pytest

from zoo_core import Classification, Classifications, DetectedObject, DetectedObjects

CAT, DOG, EEL = Classification(0, "cat", 0.25), Classification(1, "dog", 0.5), Classification(2, "eel", 0.25)


def test_classes_are_sorted_best_first_and_by_index_where_equally_probable() -> None:
    assert list(Classifications([EEL, CAT, DOG])) == [DOG, CAT, EEL]


@pytest.mark.parametrize(("count", "expected"), [(2, [DOG, CAT]), (9, [DOG, CAT, EEL]), (0, []), (-1, [])])
def test_top_gives_the_best_and_no_more_than_there_are(count: int, expected: list[Classification]) -> None:
    top = Classifications([CAT, DOG, EEL]).top(count)
    assert isinstance(top, Classifications)
    assert list(top) == expected


def test_it_is_a_sequence() -> None:
    found = Classifications([CAT, DOG, EEL])
    assert (found[0], found[-1], len(found), DOG in found) == (DOG, EEL, 3, True)
    assert list(found[1:]) == [CAT, EEL]


def test_classes_in_json_have_index_name_and_probability() -> None:
    assert Classifications([CAT, DOG]).to_dict() == {
        "classes": [{"index": 1, "name": "dog", "probability": 0.5}, {"index": 0, "name": "cat", "probability": 0.25}]
    }


def test_printing_shows_the_best_five() -> None:
    assert repr(Classifications([CAT, DOG])) == "Classifications(dog 0.500, cat 0.250)"
    many = Classifications(Classification(index, f"c{index}", 0.1) for index in range(6))
    assert repr(many) == "Classifications(c0 0.100, c1 0.100, c2 0.100, c3 0.100, c4 0.100, ...)"


def test_objects_are_sorted_most_probable_first_and_keep_their_boxes() -> None:
    small = DetectedObject(3, "cat", 0.2, (0.0, 0.0, 1.0, 1.0))
    large = DetectedObject(1, "dog", 0.9, (5.0, 6.0, 70.0, 80.5))
    found = DetectedObjects([small, large])
    assert (list(found), list(found[1:]), len(found)) == ([large, small], [small], 2)
    assert found[:1].to_dict() == {"objects": [{"index": 1, "name": "dog", "probability": 0.9, "box": [5.0, 6.0, 70.0, 80.5]}]}
    assert repr(found) == "DetectedObjects(dog 0.900, cat 0.200)"
