"""The tasks a model can serve: paths, aliases and what matches what."""

from __future__ import annotations

import pytest

from zoo_core import application as applications
from zoo_core.errors import CriteriaError

#: As the repository format lists them.
PATHS = [
    "cv", "cv/image_classification", "cv/zero_shot_image_classification", "cv/object_detection",
    "cv/zero_shot_object_detection", "cv/semantic_segmentation", "cv/instance_segmentation", "cv/mask_generation",
    "cv/pose_estimation", "cv/action_recognition", "cv/word_recognition", "cv/image_generation", "cv/image_enhancement",
    "nlp", "nlp/fill_mask", "nlp/question_answer", "nlp/text_classification", "nlp/sentiment_analysis",
    "nlp/token_classification", "nlp/zero_shot_classification", "nlp/word_embedding", "nlp/text_generation",
    "nlp/machine_translation", "nlp/multiple_choice", "nlp/text_embedding", "tabular", "tabular/linear_regression",
    "tabular/softmax_regression", "audio", "timeseries/forecasting", "undefined",
]  # fmt: skip
ALIASED = [path for path in PATHS if path.startswith(("cv/", "nlp/")) and path != "nlp/question_answer"]


def test_the_applications_are_those_of_the_format() -> None:
    assert sorted(applications.APPLICATIONS) == sorted(PATHS)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_stands_for_itself(path: str) -> None:
    assert applications.canonical(path) == path


@pytest.mark.parametrize("path", ALIASED)
def test_the_last_segment_of_a_cv_or_nlp_path_is_its_alias(path: str) -> None:
    assert applications.canonical(path.partition("/")[2]) == path


@pytest.mark.parametrize(
    ("alias", "path"),
    [("question_answering", "nlp/question_answer"), ("sentence_similarity", "nlp/text_embedding")],
)
def test_two_applications_have_an_alias_of_another_name(alias: str, path: str) -> None:
    assert applications.canonical(alias) == path


@pytest.mark.parametrize(
    "text", ["question_answer", "linear_regression", "forecasting", "CV", "Image_Classification", "cv/image generation", ""]
)
def test_anything_else_is_known_to_nobody(text: str) -> None:
    """Case matters, and only cv and nlp have aliases."""
    assert applications.canonical(text) is None


@pytest.mark.parametrize("text", ["cv/image-generation", "image-generation", "image_generation", "cv/image_generation"])
def test_a_hyphen_stands_for_an_underscore(text: str) -> None:
    """As in the spelling of DJL's own documents, which a search prints."""
    assert applications.parse(text) == "cv/image_generation"
    assert applications.matches("cv/image_generation", text)
    assert applications.matches(applications.parse(text), "cv/image-generation")


def test_an_unknown_application_is_an_error_with_the_near_names() -> None:
    with pytest.raises(CriteriaError, match=r"'cv/image_clasification'.*did you mean cv/image_classification"):
        applications.parse("cv/image_clasification")


def test_the_error_lists_all_applications_where_none_is_near() -> None:
    with pytest.raises(CriteriaError) as caught:
        applications.parse("?")
    assert "did you mean" not in str(caught.value)
    assert all(path in str(caught.value) for path in PATHS)


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        ("cv", "cv", True),
        ("cv", "cv/object_detection", True),
        ("cv", "object_detection", True),
        ("cv", "cv/image-generation", True),
        ("cv", "cvx/object_detection", False),
        ("cv/object_detection", "cv", False),
        ("cv/object_detection", "cv/zero_shot_object_detection", False),
        ("nlp", "cv", False),
        ("undefined", None, True),
        ("cv", None, False),
    ],
)
def test_an_application_matches_what_lies_at_or_below_it(asked: str, found: str | None, expected: bool) -> None:
    assert applications.matches(asked, found) is expected
