"""How lists, near names and foreign text are worded."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_core import wording


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(wording) == doctest.TestResults(failed=0, attempted=7)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("layer", ["layers", "dataset"], ["layers"]),
        ("LAYERS", ["layers"], ["layers"]),
        ("resnet", ["resnet_v1", "resnet_v2", "resnet_v3", "resnet_v4"], ["resnet_v4", "resnet_v3", "resnet_v2"]),
        ("pytorch", ["PyTorch", "MXNet"], ["PyTorch"]),
        ("xyz", ["layers"], []),
        ("layers", [], []),
    ],
)
def test_near_names_are_found_whatever_their_case_and_at_most_three(name: str, known: list[str], expected: list[str]) -> None:
    assert wording.near(name, known) == expected


def test_near_names_become_a_clause_or_nothing() -> None:
    assert wording.did_you_mean("layer", ["layers"]) == " (did you mean layers?)"
    assert wording.did_you_mean("resnet", ["resnet_v1", "resnet_v2"]) == " (did you mean resnet_v2 or resnet_v1?)"
    assert wording.did_you_mean("xyz", ["layers"]) == ""


@pytest.mark.parametrize(
    ("items", "limit", "expected"),
    [
        ([101, 18, 34], 8, "18, 34, 101"),
        (["v10", "v9", "v1"], 8, "v1, v9, v10"),
        (["b", "a", "b"], 8, "a, b"),
        (range(10), 3, "0, 1, 2, and 7 more"),
        ([], 8, ""),
    ],
)
def test_a_listing_is_sorted_by_value_without_repetition_and_cut(items: list[object], limit: int, expected: str) -> None:
    assert wording.listing(items, limit=limit) == expected


def test_a_listing_begins_with_what_is_near_to_a_name() -> None:
    assert wording.listing(["dog", "cat", "tabby cat"], near_to="tabby", limit=2) == "tabby cat, cat, and 1 more"


@given(st.lists(st.text()))
def test_any_texts_can_be_sorted(texts: list[str]) -> None:
    found = sorted(set(texts), key=wording.natural)
    assert found == sorted(found[1::2] + found[::2], key=wording.natural)


def test_a_number_of_thousands_of_digits_can_be_sorted() -> None:
    assert sorted(["9" * 5000, "x"], key=wording.natural) == ["9" * 5000, "x"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 猫", "plain é 猫"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines", "two\\nlines"),
        ("bell\a", "bell\\x07"),
        ("right\u202eleft", "right\\u202eleft"),
        ("half \ud800", "half \\ud800"),
        ("private \ue000", "private \\ue000"),
    ],
)
def test_characters_that_could_deceive_a_terminal_are_escaped(text: str, expected: str) -> None:
    assert wording.printable(text) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1049, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (18_800_000, "18.8 MB"),
        (4_200_000_000, "4.2 GB"),
        (2_000_000_000_000_000, "2000.0 TB"),
    ],
)
def test_bytes_are_counted_in_powers_of_1000_with_three_digits(count: int, expected: str) -> None:
    assert wording.bytes_text(count) == expected
