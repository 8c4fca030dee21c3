"""The order of versions and the ranges that choose among them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_core.errors import CriteriaError
from zoo_core.version import is_prerelease, parse_range, version_key

#: From the lowest to the highest.
ORDER: list[str | None] = [
    None, "-1.x", "0.x", "1.0.Final", "1.Final", "1.x", "1.x.0", "Final", "Final.1", "latest", "x",
    "0.9", "1.0.dev1", "1.0a1", "1.0b2", "1.0rc1", "1.0-SNAPSHOT", "1.0", "1.0.post1", "1.0.1", "1.2", "1.9", "1.10", "2.0a1",
    "2", "10", "1!0.5",
]  # fmt: skip

VERSIONS = st.one_of(
    st.none(),
    st.sampled_from([text for text in ORDER if text]),
    st.text("0123456789.-+!abrcdevpostSNAPHOT _", max_size=12),
    st.lists(st.sampled_from(["0", "1", "10", "-1", "+2", "99999999999", "a", "B", ""]), max_size=7).map(".".join),
    st.text(max_size=6),
).flatmap(lambda text: st.sampled_from([text, f"{text}-SNAPSHOT"]) if text else st.just(text))


def test_the_table_is_in_order() -> None:
    """PEP 440 above all others; among the others numbers by value, below any text, then fewer parts below more."""
    assert sorted(ORDER[1::2] + ORDER[::2], key=version_key) == ORDER


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        (None, "0"),
        (None, "latest"),
        ("latest", "0.0.1"),
        ("1.0.Final", "0.1"),
        ("1.0Final", "1.0a1"),
        ("2.x", "10.x"),
        ("-1.x", "0.x"),
        ("1.x", "a.x"),
        ("B.x", "a.x"),
        ("x", "x.0"),
        ("x.1.2.3.4.5", "x.1.2.3.4.6"),
        ("x.2147483647", "x.2147483648"),
        ("x.2147483647", "x.1000000000000"),
        ("1.0-SNAPSHOT", "1.0"),
        ("1.0rc1", "1.0-SNAPSHOT"),
        ("0.9", "1.0-SNAPSHOT"),
        ("x-SNAPSHOT", "x"),
    ],
)
def test_one_version_is_below_another(lower: str | None, higher: str) -> None:
    assert version_key(lower) < version_key(higher)


@pytest.mark.parametrize(("lower", "higher"), list(itertools.pairwise(ORDER)), ids=str)
def test_each_version_of_the_table_is_below_the_next(lower: str | None, higher: str) -> None:
    assert version_key(lower) < version_key(higher)


@pytest.mark.parametrize(
    ("first", "second"),
    [("1.0", "1.0.0"), ("1.0-alpha", "1.0a0"), ("v1.0", "1.0"), ("", None), ("01.x", "1.x"), ("+1.x", "1.x")],
)
def test_two_writings_are_one_version(first: str, second: str | None) -> None:
    assert version_key(first) == version_key(second)


@given(st.lists(VERSIONS, max_size=8))
def test_any_versions_can_be_sorted_and_the_result_does_not_depend_on_where_they_stood(versions: list[str | None]) -> None:
    keys = [version_key(version) for version in versions]
    assert sorted(keys) == sorted(keys[1::2] + keys[::2]) == sorted(keys[3:] + keys[:3])


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(first: str | None, second: str | None, third: str | None) -> None:
    a, b, c = (version_key(version) for version in (first, second, third))
    assert [a < b, a == b, a > b].count(True) == 1
    if a <= b <= c:
        assert a <= c
    if a == b:
        assert (a < c, hash(a)) == (b < c, hash(b))


@given(VERSIONS)
def test_a_release_is_above_its_snapshot(version: str | None) -> None:
    if version and not version.endswith("-SNAPSHOT"):
        assert version_key(f"{version}-SNAPSHOT") < version_key(version)


@pytest.mark.parametrize("text", ["1.0a1", "1.0b2", "1.0rc1", "1.0.dev3", "1.0-SNAPSHOT", "latest-SNAPSHOT", "1.0-alpha"])
def test_pre_releases_development_releases_and_snapshots_are_told(text: str) -> None:
    assert is_prerelease(text) is True


@pytest.mark.parametrize("text", [None, "", "1.0", "1.0.post1", "latest", "1.0+cpu"])
def test_others_are_no_pre_releases(text: str | None) -> None:
    assert is_prerelease(text) is False


# ranges --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("range", "inside", "outside"),
    [
        ("1.0", ["1.0", "1.0.0", "v1"], ["1.0.1", "1.0-SNAPSHOT", "1.0a1", None]),
        ("latest", ["latest"], ["Latest", "1.0", None]),
        ("1.0-SNAPSHOT", ["1.0-SNAPSHOT"], ["1.0", None]),
        (">=1,<2", ["1.0", "1.9", None], ["0.9", "2.0", "latest", "1.0a1", "1.0-SNAPSHOT"]),
        ("==1.*", ["1.0", "1.7"], ["2.0"]),
        ("==1.0", ["1.0.0"], ["1.0.1", "1.0-SNAPSHOT"]),
        ("~=1.4", ["1.4", "1.9"], ["2.0", "1.3"]),
        ("!=1.0", ["1.1"], ["1.0"]),
        (">=1.0a1", ["1.0a1", "1.0"], ["0.9"]),
        ("[1.0,2.0]", ["1.0", "1.5", "2.0", None], ["0.9", "2.0.1"]),
        ("[1.0,2.0)", ["1.0", "1.9", "2.0a1"], ["2.0", "1.0-SNAPSHOT"]),
        ("(1.0,2.0]", ["1.0.1", "2.0"], ["1.0", "1.0.0"]),
        ("(1.0,2.0)", ["1.5"], ["1.0", "2.0"]),
        ("[1.0,)", ["1.0", "99"], ["0.9", "latest"]),
        ("(,1.5]", ["0.1", "1.5", "latest"], ["1.6"]),
        ("(,)", ["0.1", "99", "latest", None], []),
        ("[1.0]", ["1.0", "1.0.0"], ["1.0.1"]),
        ("[1.0,2.0),[3.0,4.0]", ["1.0", "3.0", "4.0"], ["2.0", "2.5", "4.1"]),
        ("[1.0,2.0),[2.0,3.0)", ["1.9", "2.0"], ["3.0"]),
        (" [1.0 , 2.0) , (3.0,) ", ["1.0", "3.1"], ["2.5", "3.0"]),
    ],
)  # fmt: skip
def test_a_range_holds_what_lies_inside_and_nothing_else(
    range: str, inside: Sequence[str | None], outside: Sequence[str | None]
) -> None:
    """An absent version lies inside every range, and is never exactly one."""
    parsed = parse_range(range)
    assert [version for version in inside if version not in parsed] == []
    assert [version for version in outside if version in parsed] == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither a version nor a range"),
        ("  ", "neither a version nor a range"),
        ("1.0,2.0", "neither a version nor a range"),
        ("1.0 2.0", "neither a version nor a range"),
        ("1.0]", "neither a version nor a range"),
        ("[1.0,2.0", "not closed"),
        ("(", "not closed"),
        ("[1.0,2.0)x", "text follows"),
        ("[1.0,2.0)[3.0,4.0]", "text follows"),
        ("[1.0,2.0),", "not closed, or text follows"),
        ("(1.0)", r"a single version stands in square brackets: \[1.0\]"),
        ("[1.0)", "a single version stands in square brackets"),
        ("[]", "a single version stands in square brackets"),
        ("[1.0,1.0.0]", "the lower bound is not below the upper one"),
        ("[2.0,1.0]", "the lower bound is not below the upper one"),
        ("[1,2,3]", "an interval has two bounds"),
        ("[1.0,3.0],[2.0,4.0]", "the ranges overlap or do not rise"),
        ("[3.0,4.0],[1.0,2.0]", "the ranges overlap or do not rise"),
        ("[1.0,),[2.0,3.0]", "the ranges overlap or do not rise"),
        ("[1.0,2.0],[2.0,3.0]", "the ranges overlap"),
        (">=1.0 <2", "is not a PEP 440 specifier such as '>=1.0,<2'"),
        (">=", "is not a PEP 440 specifier"),
        ("~=1", "is not a PEP 440 specifier"),
    ],
)
def test_what_is_no_range_is_an_error_that_shows_the_text_and_the_fault(text: str, why: str) -> None:
    with pytest.raises(CriteriaError, match=why) as caught:
        parse_range(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("range", "expected"),
    [
        ("1.0", False),
        ("1.0a1", True),
        ("1.0-SNAPSHOT", True),
        (">=1.0,<2", False),
        (">=1.0rc1", True),
        ("==1.*", False),
        ("[1.0,2.0)", False),
        ("[1.0a1,2.0)", True),
        ("[1.0,2.0-SNAPSHOT]", True),
        ("(,)", False),
    ],
)
def test_a_range_that_names_a_pre_release_asks_for_pre_releases(range: str, expected: bool) -> None:
    assert parse_range(range).names_prerelease is expected
