"""MODEL, the text by which a user names a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo_core.errors import CriteriaError
from zoo_core.reference import as_path, parse

GROUPS = {"zoo.pytorch", "com.example"}


def fields(text: str) -> dict[str, Any]:
    return parse(text, GROUPS.__contains__).fields


@pytest.mark.parametrize(
    "text",
    [
        "./net", "../net", "/srv/net", "~/net", "~", ".", "..", ".\\net", "C:\\net", "d:/net",
        "net.safetensors", "net.pt", "net.pth", "net.pt2", "net.params", "net-symbol.json", "net.zip", "net.tar.gz", "net.tgz",
        "folder/NET.PTH", "com.example/net.zip",
    ],
)  # fmt: skip
def test_text_that_looks_like_a_path_is_a_path_and_nothing_else(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert as_path(text) == Path(text.replace("~", "/home/me"))


@pytest.mark.parametrize(
    "text",
    [
        "net", "com.example/net", "com.example/net@1.0", "net.onnx", "...net", ".hidden", "c:net", "",
        "https://models.example/net.zip", "zoo://com.example/net.pt", "file:///srv/net.safetensors",
    ],
)  # fmt: skip
def test_other_text_never_looks_at_the_working_directory(text: str) -> None:
    if text and "/" not in text:
        Path(text).write_bytes(b"a file of that name")
    assert as_path(text) is None


def test_an_unknown_user_is_no_error() -> None:
    assert as_path("~nobody-of-that-name/net") == Path("~nobody-of-that-name/net")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("net", {"artifact_id": "net"}),
        ("net@1.0", {"artifact_id": "net", "version": "1.0"}),
        ("net@>=1,<2", {"artifact_id": "net", "version": ">=1,<2"}),
        ("net@[1.0,2.0)", {"artifact_id": "net", "version": "[1.0,2.0)"}),
        ("net@", {"artifact_id": "net"}),
        ("com.example/net", {"group_id": "com.example", "artifact_id": "net"}),
        ("com.example/net@1.0", {"group_id": "com.example", "artifact_id": "net", "version": "1.0"}),
        ("com.example/a/b", {"group_id": "com.example", "artifact_id": "a/b"}),
        ("unknown/net", {"artifact_id": "unknown/net"}),
        ("unknown/net@1.0", {"artifact_id": "unknown/net", "version": "1.0"}),
        ("com.example/", {"artifact_id": "com.example/"}),
        ("/net", {"artifact_id": "/net"}),
    ],
)
def test_what_stands_before_the_first_slash_is_a_group_if_any_repository_has_it(text: str, expected: dict[str, str]) -> None:
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model/cv/com.example/net", {"type": "model", "application": "cv", "group_id": "com.example", "artifact_id": "net"}),
        ("model/com.example/a%2Fb", {"type": "model", "group_id": "com.example", "artifact_id": "a/b"}),
        (
            "dataset/nlp/org.example/haiku",
            {"type": "dataset", "application": "nlp", "group_id": "org.example", "artifact_id": "haiku"},
        ),
        ("model/cv/image-dreams/g/net", {"type": "model", "group_id": "g", "artifact_id": "net"}),
        (
            "model/cv/image-generation/g/net",
            {"type": "model", "group_id": "g", "artifact_id": "net", "application": "cv/image_generation"},
        ),
        ("model/cv/g/net@2.0", {"type": "model", "application": "cv", "group_id": "g", "artifact_id": "net", "version": "2.0"}),
    ],
)
def test_an_mrl_is_a_model_too(text: str, expected: dict[str, str]) -> None:
    """An application that nobody knows is part of the location and not of the question."""
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("zoo://com.example/net", {"group_id": "com.example", "artifact_id": "net"}),
        ("zoo://com.example/net/1.0", {"group_id": "com.example", "artifact_id": "net", "version": "1.0"}),
        (
            "zoo://com.example/net/1.0/small",
            {"group_id": "com.example", "artifact_id": "net", "version": "1.0", "artifact_name": "small"},
        ),
        ("zoo:///net", {"artifact_id": "net"}),
        ("zoo://com.example//1.0/", {"group_id": "com.example", "version": "1.0"}),
        ("zoo:////1.0", {"version": "1.0"}),
        ("zoo://com.example/a%2Fb", {"group_id": "com.example", "artifact_id": "a/b"}),
        ("zoo://Com.Example/Net", {"group_id": "Com.Example", "artifact_id": "Net"}),
        ("zoo:///net/%3E%3D1%2C%3C2", {"artifact_id": "net", "version": ">=1,<2"}),
        (
            "zoo:///net?layers=50&dataset=imagenet%201k&note=",
            {"artifact_id": "net", "filters": {"layers": "50", "dataset": "imagenet 1k", "note": ""}},
        ),
        ("zoo://", {}),
    ],
)
def test_a_zoo_address_has_four_segments_and_an_empty_one_is_any(text: str, expected: dict[str, Any]) -> None:
    assert fields(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zoo://a/b/c/d/e", "more than four segments; a slash inside an id is written %2F"),
        ("zoo://a/b/c/d/", "more than four segments"),
        ("zoo://[a/b", "'zoo://.a/b'"),
        ("", "'' names no model"),
        ("@1.0", r"'@1.0' names no model; expected \[group/\]artifact\[@version\]"),
    ],
)
def test_text_that_names_nothing_is_an_error(text: str, message: str) -> None:
    with pytest.raises(CriteriaError, match=message):
        fields(text)


@pytest.mark.parametrize("text", ["https://models.example/zoo", "file:///srv/zoo", "package://acme.models", "s3://bucket/zoo"])
def test_an_address_is_a_repository_that_is_asked_alone(text: str) -> None:
    found = parse(text, GROUPS.__contains__)
    assert (found.repository, found.fields) == (text, {})


def test_nobody_is_asked_for_groups_where_there_is_no_slash() -> None:
    def no_group(group: str) -> bool:
        raise AssertionError(group)

    assert parse("net@1.0", no_group).fields == {"artifact_id": "net", "version": "1.0"}
