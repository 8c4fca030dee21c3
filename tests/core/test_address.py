"""The address of a repository: what is a file, what its query says, and the digest at its end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_core.address import SCHEMES, described, parse_address, said_of_all
from zoo_core.errors import CriteriaError

DIGEST = "0123456789abcdef" * 4
HOST = "https://models.example"


@pytest.mark.parametrize(
    "name",
    [
        "net.zip", "net.mar", "net.tar", "net.tar.gz", "net.TGZ", "net.tar.z", "net.safetensors", "net.pt", "net.pth",
        "net.pt2", "net-0000.params", "net-symbol.json", "net.params.gz", "net.pt.gz",
    ],
)  # fmt: skip
def test_an_address_with_the_ending_of_a_file_is_one_file(name: str) -> None:
    assert parse_address(f"{HOST}/a/{name}").is_file
    assert parse_address(f"{HOST}/a/{name}?layers=50#sha256={DIGEST}").is_file
    assert not parse_address(f"{HOST}/a/{name}/").is_file


@pytest.mark.parametrize("url", [f"{HOST}/zoo", f"{HOST}/", HOST, f"{HOST}/net.onnx", f"{HOST}/index.json", f"{HOST}/x.gz"])
def test_any_other_is_a_tree(url: str) -> None:
    assert (parse_address(url).is_file, parse_address(url).url) == (False, url)


def test_the_query_of_a_file_still_reaches_the_server() -> None:
    found = parse_address(f"{HOST}/net.zip?layers=50&rev=a%20b#sha256={DIGEST.upper()}")
    assert (found.url, found.sha256) == (f"{HOST}/net.zip?layers=50&rev=a%20b", DIGEST)
    assert found.properties == {"layers": "50", "rev": "a b"}
    assert dict(found.arguments) == {"layers": 50, "rev": "a b"}


def test_the_query_of_a_tree_is_for_its_models_and_for_no_server() -> None:
    found = parse_address(f"{HOST}/zoo/?layers=50&hidden=[1,2]&flag=true")
    assert found.url == f"{HOST}/zoo/"
    assert dict(found.arguments) == {"layers": 50, "hidden": [1, 2], "flag": True}


def test_a_folder_of_this_machine_answers_no_query() -> None:
    assert parse_address("file:///srv/net.zip?layers=50").url == "file:///srv/net.zip"


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0a1b&layers=50",
        "X-Goog-Signature=0a1b&layers=50",
        "Expires=1&Signature=0a1b&Key-Pair-Id=K&layers=50",
        "sv=2022-11-02&sp=r&sig=0a1b&layers=50",
    ],
)
def test_a_query_that_a_server_signed_is_the_servers_alone(query: str) -> None:
    found = parse_address(f"{HOST}/net.zip?{query}")
    assert (found.url, dict(found.said)) == (f"{HOST}/net.zip?{query}", {})


def test_tokens_and_names_that_are_none_are_left_to_the_server() -> None:
    found = parse_address(f"{HOST}/net.zip?token=a&accessToken=b&api_key=c&response-content-type=d&layers=50&tokenizer=bpe")
    assert dict(found.said) == {"layers": "50", "tokenizer": "bpe"}


@pytest.mark.parametrize("query", ["token=a", "layers=50&token=a", "sig=0a1b&layers=50", "a-b=c"])
def test_what_is_a_servers_has_no_place_in_the_address_of_a_tree(query: str) -> None:
    with pytest.raises(CriteriaError, match=r"belongs to a server; a token goes into token_env") as caught:
        parse_address(f"{HOST}/zoo/?{query}")
    assert "0a1b" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "blockFactory", "block_factory", "BLOCK_FACTORY", "factory", "block", "translator", "translatorFactory", "engine",
        "Engine", "engines", "trust", "trustPrograms", "trust_programs", "trust_code", "code", "requires", "allow_unverified",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["zoo/", "net.zip"])
def test_no_address_decides_what_runs(name: str, place: str) -> None:
    with pytest.raises(CriteriaError, match=f"`{name}` cannot be said by an address"):
        parse_address(f"{HOST}/{place}?layers=50&{name}=x")


def test_what_an_address_may_not_say_is_not_said_where_nobody_opens_it() -> None:
    assert dict(said_of_all(f"{HOST}/zoo/?layers=50&engine=x")) == {}
    assert dict(said_of_all("http://[/zoo/?layers=50")) == {}
    assert dict(said_of_all(f"{HOST}/zoo/?layers=50")) == {"layers": 50}


def test_a_name_that_stands_twice_is_an_error() -> None:
    with pytest.raises(CriteriaError, match="layers stands twice"):
        parse_address(f"{HOST}/zoo/?layers=50&layers=18")


@pytest.mark.parametrize("depth", [700, 100_000])
def test_a_value_in_lists_in_lists_is_an_error_or_text(depth: int) -> None:
    try:
        found = parse_address(f"{HOST}/zoo/?x={'[' * depth}{']' * depth}")
    except CriteriaError as error:
        assert "nested too deeply" in str(error)  # noqa: PT017 - Python versions differ in how deep they read
    else:
        assert isinstance(found.arguments["x"], str)


@pytest.mark.parametrize(
    ("fragment", "reason"),
    [
        (f"sha256={DIGEST[:-1]}", r"a sha256 has 64 hexadecimal digits, and '.*' \(63\) is none"),
        (f"sha256={DIGEST}0", r"\(65\) is none"),
        (f"sha256={'g' * 64}", "64 hexadecimal digits"),
        ("sha256=", r"'' \(0\) is none"),
        (f"sha1={'0' * 40}", "sha256=<64 hexadecimal digits>"),
        ("model", "sha256=<64 hexadecimal digits>"),
    ],
)
def test_what_is_no_digest_at_the_end_is_an_error(fragment: str, reason: str) -> None:
    with pytest.raises(CriteriaError, match=reason):
        parse_address(f"{HOST}/net.zip#{fragment}")


def test_a_tree_has_no_digest() -> None:
    with pytest.raises(CriteriaError, match="only the address of one file has something behind its #"):
        parse_address(f"{HOST}/zoo/#sha256={DIGEST}")


@pytest.mark.parametrize("url", ["s3://bucket/zoo?x=1#y", "package://acme.models", "hf://owner/name@main"])
def test_addresses_of_other_schemes_are_their_own(url: str) -> None:
    assert parse_address(url).url == url


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("net.zip", ("net", "net", "")),
        ("net-1.0.tar.gz", ("net-1.0", "net-1.0", "")),
        ("tiny%20net.params.gz", ("tiny net", "tiny net", "")),
        ("net-symbol.json", ("net", "net", "")),
        ("net.zip?artifact_id=other", ("other", "other", "")),
        ("net.zip?model_name=small&application=image_classification", ("net", "small", "cv/image_classification")),
        ("net.zip?application=cv/unheard_of", ("net", "net", "cv/unheard_of")),
    ],
)
def test_what_the_address_of_a_file_says_of_its_model(address: str, expected: tuple[str, ...]) -> None:
    found = parse_address(f"{HOST}/{address}")
    assert tuple(described(found).values()) == expected
    assert dict(found.arguments) == {}


TEXTS = st.text(st.sampled_from("ab.?#&=%/:[]@\\ \x00é\u202e0sha256zip{}"), max_size=40)


@settings(max_examples=300, deadline=None)
@given(scheme=st.sampled_from((*SCHEMES, "s3", "")), rest=TEXTS)
def test_any_text_is_an_address_or_one_clear_error(scheme: str, rest: str) -> None:
    text = f"{scheme}://{rest}"
    try:
        found: Any = parse_address(text)
    except ValueError:
        return
    assert "#" not in found.url or scheme not in SCHEMES
    assert not found.is_file or found.file_name
