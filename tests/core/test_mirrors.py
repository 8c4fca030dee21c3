"""Other addresses of the same bytes."""

from __future__ import annotations

import pytest

from zoo_core.errors import CriteriaError
from zoo_core.mirrors import Mirror, mirrored, parse_mirrors

OF = "https://models.example/"


@pytest.mark.parametrize(
    ("of", "mirror", "url", "found"),
    [
        (OF, "https://near.example/", f"{OF}a/net.bin", "https://near.example/a/net.bin"),
        (OF, "https://near.example", f"{OF}a/net.bin", "https://near.example/a/net.bin"),
        ("https://models.example", "https://near.example/m/", f"{OF}a", "https://near.example/m/a"),
        (f"{OF}a/net.bin", "https://near.example/n.bin", f"{OF}a/net.bin", "https://near.example/n.bin"),
        (OF, "file:///mnt/models", f"{OF}a/net.bin", "file:///mnt/models/a/net.bin"),
        (f"{OF}a", "https://near.example", f"{OF}a?b=c", "https://near.example?b=c"),
        (f"{OF}a", "https://near.example", f"{OF}ab", None),
        ("https://models.example", "https://near.example", "https://models.example.org/a", None),
        (OF, "https://near.example", "http://models.example/a", None),
    ],
)
def test_the_beginning_of_an_address_is_replaced(of: str, mirror: str, url: str, found: str | None) -> None:
    assert mirrored(url, [Mirror(of=of, urls=(mirror,))], is_pinned=True) == [*([found] if found else []), url]


def test_mirrors_are_asked_in_their_order_and_the_address_last() -> None:
    mirrors = [Mirror(of=OF, urls=("https://a.example", "https://b.example")), Mirror(of=f"{OF}x", urls=("https://c.example",))]
    expected = ["https://a.example/x/y", "https://b.example/x/y", "https://c.example/y", f"{OF}x/y"]
    assert mirrored(f"{OF}x/y", mirrors, is_pinned=True) == expected


def test_a_mirror_that_a_cloned_project_names_serves_only_what_a_digest_tells_right_from_wrong() -> None:
    mirrors = [Mirror(of=OF, urls=("https://evil.example",), is_trusted=False), Mirror(of=OF, urls=("https://own.example",))]
    assert mirrored(f"{OF}a", mirrors, is_pinned=False) == ["https://own.example/a", f"{OF}a"]
    assert mirrored(f"{OF}a", mirrors, is_pinned=True)[0] == "https://evil.example/a"


def test_the_environment_names_several() -> None:
    text = f" {OF}=https://near.example/?a=b\n{OF}=file:///mnt/m https://other.example/=http://127.0.0.1:80/ "
    assert [(mirror.of, mirror.urls) for mirror in parse_mirrors(text)] == [
        (OF, ("https://near.example/?a=b",)),
        (OF, ("file:///mnt/m",)),
        ("https://other.example/", ("http://127.0.0.1:80/",)),
    ]
    assert parse_mirrors("  ") == ()


@pytest.mark.parametrize(
    "text", ["https://near.example/", "near", "models.example=https://near.example", f"{OF}=ftp://near.example"]
)
def test_what_is_no_mirror_is_an_error_that_shows_it(text: str) -> None:
    with pytest.raises(CriteriaError, match=r"ZOO_MIRROR: .*expected"):
        parse_mirrors(text)
