"""Criteria: what is wanted."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from zoo_core import Criteria, CriteriaError
from zoo_core.criteria import check_names

FULL = {
    "application": "cv/image_classification",
    "engine": "PyTorch",
    "group_id": "zoo.pytorch",
    "artifact_id": "resnet_v1",
    "version": ">=1,<2",
    "artifact_name": "resnet50",
    "filters": {"layers": "50"},
    "input_type": "image",
    "output_type": "Classifications",
    "type": "model",
}


def test_it_keeps_what_it_was_given() -> None:
    criteria = Criteria(**FULL)
    assert {name: getattr(criteria, name) for name in FULL} == FULL


def test_nothing_given_asks_for_any_model() -> None:
    criteria = Criteria()
    assert criteria.type == "model"
    assert all(getattr(criteria, name) is None for name in FULL if name not in ("filters", "type"))
    assert dict(criteria.filters) == {}


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Criteria().engine = "MXNet"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Criteria(filters={"layers": 50}).filters["layers"] = "18"  # type: ignore[index]


def test_a_mapping_that_is_changed_later_does_not_change_it() -> None:
    filters = {"layers": "50"}
    criteria = Criteria(filters=filters)
    filters["layers"] = "18"
    assert criteria.filters == {"layers": "50"}


def test_equal_questions_are_equal_and_hash_equal() -> None:
    first = Criteria(filters={"layers": 50, "dataset": "imagenet"}, application="image_classification")
    second = Criteria(filters={"dataset": "imagenet", "layers": "50"}, application="cv/image_classification")
    assert first == second
    assert {first: "found"}[second] == "found"
    assert first != Criteria(filters={"layers": 50})


def test_it_pickles() -> None:
    criteria = Criteria(**FULL)
    assert pickle.loads(pickle.dumps(criteria)) == criteria


@pytest.mark.parametrize(
    ("value", "text"),
    [(50, "50"), (True, "true"), (False, "false"), (0.5, "0.5"), (1.0, "1.0"), (-3, "-3"), ("0050", "0050"), ("", "")],
)
def test_a_filter_value_becomes_text(value: object, text: str) -> None:
    assert Criteria(filters={"layers": value}).filters == {"layers": text}


@pytest.mark.parametrize("value", [None, [50], {"a": 1}, b"50"], ids=repr)
def test_a_filter_value_that_is_no_plain_value_is_an_error(value: object) -> None:
    with pytest.raises(CriteriaError, match="filter 'layers': expected text, a number or a boolean"):
        Criteria(filters={"layers": value})


@pytest.mark.parametrize("filters", ["layers=50", [("layers", 50)], None], ids=repr)
def test_filters_that_are_no_mapping_are_an_error(filters: Any) -> None:
    with pytest.raises(CriteriaError, match="filters: expected a mapping of names to values"):
        Criteria(filters=filters)


def test_an_alias_becomes_the_path_of_its_application() -> None:
    assert Criteria(application="image_classification").application == "cv/image_classification"


def test_an_unknown_application_is_an_error_with_the_near_names() -> None:
    with pytest.raises(CriteriaError, match=r"'image_clasification'.*did you mean image_classification"):
        Criteria(application="image_clasification")


def test_a_malformed_version_is_an_error_at_once() -> None:
    with pytest.raises(CriteriaError, match=r"version '\[1.0,'"):
        Criteria(version="[1.0,")


def test_another_type_than_model_and_dataset_is_an_error() -> None:
    assert Criteria(type="dataset").type == "dataset"
    with pytest.raises(CriteriaError, match="type 'modle': expected model or dataset"):
        Criteria(type="modle")


@pytest.mark.parametrize("field", sorted(set(FULL) - {"filters"}))
def test_a_field_that_is_no_text_is_an_error_that_names_it(field: str) -> None:
    with pytest.raises(CriteriaError, match=f"^{field}: expected text, not 1.5"):
        Criteria(**{field: 1.5})  # type: ignore[arg-type]


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="artifact"):
        Criteria(artifact="resnet_v1")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Criteria("resnet_v1")  # type: ignore[misc]


def test_replacing_gives_new_criteria_and_leaves_the_old_ones() -> None:
    old = Criteria(engine="PyTorch", filters={"layers": 50})
    assert old.replace(engine="MXNet", filters={"layers": 18}) == Criteria(engine="MXNet", filters={"layers": 18})
    assert old == Criteria(engine="PyTorch", filters={"layers": 50})


def test_replacing_an_unknown_field_is_a_type_error_with_the_near_names() -> None:
    with pytest.raises(TypeError, match=r"unknown keyword 'grop_id'.*did you mean group_id"):
        Criteria().replace(grop_id="x")


def test_the_error_for_an_unknown_keyword_lists_all_fields_where_none_is_near() -> None:
    with pytest.raises(TypeError) as caught:
        check_names({"zzz": 1})
    assert all(name in str(caught.value) for name in FULL)


def test_printing_shows_what_was_asked_and_no_more() -> None:
    assert repr(Criteria()) == "Criteria()"
    assert repr(Criteria(engine="MXNet", filters={"layers": 50})) == "Criteria(engine='MXNet', filters={'layers': '50'})"
