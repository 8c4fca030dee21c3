"""FrozenDict: a mapping that cannot change."""

from __future__ import annotations

import pickle

import pytest

from zoo_core.frozen import FrozenDict


def test_it_is_a_copy_that_later_changes_do_not_reach() -> None:
    original = {"layers": "50"}
    frozen = FrozenDict(original)
    original["layers"] = "18"
    assert dict(frozen) == {"layers": "50"}


def test_it_cannot_be_changed() -> None:
    frozen = FrozenDict({"layers": "50"})
    with pytest.raises(TypeError):
        frozen["layers"] = "18"  # type: ignore[index]
    with pytest.raises(TypeError):
        del frozen["layers"]  # type: ignore[attr-defined]
    assert not hasattr(frozen, "update")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": [1, {"b": [2]}]}, {"a": [1, {"b": [2]}]}),
        ({}, {}),
    ],
    ids=["order apart", "nested", "empty"],
)
def test_equal_items_make_it_equal_and_hash_equal(first: dict[str, object], second: dict[str, object]) -> None:
    assert FrozenDict(first) == FrozenDict(second) == second
    assert hash(FrozenDict(first)) == hash(FrozenDict(second))


def test_other_items_make_it_another() -> None:
    assert FrozenDict({"a": 1}) != FrozenDict({"a": 2})
    assert FrozenDict({"a": 1}) != {"a": 1, "b": 2}


def test_it_keeps_the_order_in_which_items_came() -> None:
    assert list(FrozenDict({"b": 1, "a": 2})) == ["b", "a"]


def test_it_pickles_and_prints_as_a_dict() -> None:
    frozen = FrozenDict({"a": [1]})
    assert pickle.loads(pickle.dumps(frozen)) == frozen
    assert repr(frozen) == "{'a': [1]}"


def test_nothing_given_is_an_empty_one() -> None:
    assert (len(FrozenDict()), dict(FrozenDict(None))) == (0, {})
