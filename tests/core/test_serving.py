"""``serving.properties``: the format of Java's properties, and what becomes of its keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_core.errors import MetadataError
from zoo_core.serving import MAX_SERVING, Serving, read_serving


def read(text: str | bytes) -> Serving:
    return read_serving(text if isinstance(text, bytes) else text.encode(), "the file")


def arguments(text: str | bytes) -> dict[str, Any]:
    return dict(read(text).arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("width=224", {"width": 224}),
        ("width:224", {"width": 224}),
        ("width 224", {"width": 224}),
        ("  width \t = \t 224", {"width": 224}),
        ("# width=1\n! width=2\n\n", {}),
        ("hidden=[128,\\\n   64]", {"hidden": [128, 64]}),
        ("name=a\\\n", {"name": "a"}),
        ("a\\=b=c", {"a=b": "c"}),
        ("name=a#b!c", {"name": "a#b!c"}),
        ("name=\\u00e9t\\u00e9", {"name": "été"}),
        ("name=\\ud83d\\ude00", {"name": "😀"}),
        ("name=\\ud83d", {"name": "?"}),
        ("name=a\\tb\\qc", {"name": "a\tbqc"}),
        ("width=1\r\nwidth=2\rheight=3", {"width": 2, "height": 3}),
        ("flag", {"flag": ""}),
        ("flag=true", {"flag": True}),
        ("=nothing", {}),
        ("", {}),
        ("name=été".encode(), {"name": "été"}),
        ("name=été".encode("latin-1"), {"name": "été"}),
        ("\ufeffwidth=224", {"width": 224}),
    ],
)
def test_it_is_read_as_java_reads_properties(text: str | bytes, expected: dict[str, Any]) -> None:
    """Source: the documentation of java.util.Properties.load."""
    assert arguments(text) == expected


def test_options_are_for_the_engine_and_the_rest_for_the_model() -> None:
    found = read("option.mapLocation=true\noption.modelName=net\nwidth=224\noptional=1\n")
    assert dict(found.options) == {"mapLocation": "true", "modelName": "net"}
    assert dict(found.arguments) == {"width": 224, "optional": 1}


def test_what_a_server_is_told_of_its_workers_is_for_no_model() -> None:
    assert arguments("minWorkers=1\nbatch_size=8\ngpu.maxWorkers=2\njob_queue_size=9\nload_on_devices=0;1\nwidth=2") == {
        "width": 2
    }


def test_names_have_the_spelling_of_documents() -> None:
    text = "engine=PyTorch\ntranslator=image_classification\napplication=question_answering"
    assert arguments(text) == {
        "engine": "PyTorch", "translatorFactory": "image_classification", "application": "nlp/question_answer",
    }  # fmt: skip
    assert arguments("translator=a\ntranslatorFactory=b")["translatorFactory"] == "b"
    assert arguments("engine=1.5\nblockFactory=7") == {"engine": "1.5", "blockFactory": "7"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a=" + b"x" * MAX_SERVING, "the file: expected at most 65.5 kB"),
        (b"a=\\u12", r"the file: Invalid \\u escape"),
    ],
)
def test_what_is_too_large_or_malformed_is_an_error(content: bytes, reason: str) -> None:
    with pytest.raises(MetadataError, match=reason):
        read(content)


def escaped(text: str) -> str:
    """As java.util.Properties.store writes it, everything but letters escaped."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=8), max_size=5))
def test_what_java_writes_comes_back(items: dict[str, str]) -> None:
    lines = "\n".join(f"option.{escaped(key)}={escaped(value)}" for key, value in items.items())
    assert dict(read(lines).options) == items


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(st.sampled_from("ab=: \\u0\n\r#![{\"'\t"), max_size=60).map(str.encode))
def test_any_bytes_are_properties_or_one_clear_error(content: bytes) -> None:
    try:
        found = read(content)
    except MetadataError:
        return
    for text in (*found.arguments, *found.options, *found.options.values()):
        text.encode()
