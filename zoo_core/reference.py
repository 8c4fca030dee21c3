"""MODEL, the text by which a user names a model: what it asks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from zoo_core import application as applications
from zoo_core.address import expanded
from zoo_core.artifact import MRL
from zoo_core.errors import CriteriaError

SCHEME = "zoo://"
_SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".params", ".json", ".zip", ".tar", ".tar.gz", ".tgz")
_PATH_START = re.compile(r"\.{1,2}[/\\]|/|~|[A-Za-z]:[/\\]|\.{1,2}$")


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What a MODEL asks for: fields of `Criteria`, perhaps in a repository that is asked alone.

    Attributes:
        fields: Keywords of `Criteria`.
        repository: The URL of the only repository to ask, or None.
    """

    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    repository: str | None = None


def as_path(text: str) -> Path | None:
    """The file that a MODEL on the command line names; None where it names none.

    >>> as_path("resnet"), as_path("./resnet") == Path("resnet"), as_path("https://example.com/a.zip")
    (None, True, None)
    """
    if "://" in text:
        return None
    if _PATH_START.match(text) or text.lower().endswith(_SUFFIXES):
        return expanded(text)
    return None


def parse(text: str, has_group: Callable[[str], bool]) -> Reference:
    """Read a MODEL that names no file.

    Args:
        text: ``[group/]artifact[@VERSION]``, an MRL, ``zoo://group/artifact/version/name?layers=50``, or the URL
            of a repository or of one file.
        has_group: Whether any repository has a group id; what stands before the first slash is a group only then.

    Raises:
        CriteriaError: The text is empty, or a ``zoo://`` address is malformed.
    """
    if text.startswith(SCHEME):
        return Reference(fields=_address(text))
    if "://" in text:
        return Reference(repository=text)
    name, _, version = text.partition("@")
    if not name:
        raise CriteriaError(f"{text!r} names no model; expected [group/]artifact[@version]")
    fields: dict[str, Any] = {"version": version} if version else {}
    group, slash, artifact = name.partition("/")
    if slash and artifact and has_group(group):
        return Reference(fields={"group_id": group, "artifact_id": artifact, **fields})
    mrl = MRL.parse(name)
    if mrl is not None:
        return Reference(fields={**_mrl_fields(mrl), **fields})
    return Reference(fields={"artifact_id": name, **fields})


def _mrl_fields(mrl: MRL) -> dict[str, Any]:
    fields = {"type": mrl.type, "group_id": mrl.group_id, "artifact_id": mrl.artifact_id}
    known = applications.canonical(mrl.application)
    # One group may have one id in two applications; a document's own may be unknown to us, and then it asks nothing.
    return {**fields, "application": known} if known else fields


def _address(text: str) -> dict[str, Any]:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise CriteriaError(f"{text!r} is no address of a model: {error}") from error
    segments = [unquote(segment) for segment in [parts.netloc, *parts.path.split("/")[1:]]]
    if len(segments) > 4:
        raise CriteriaError(f"{text!r} has more than four segments; a slash inside an id is written %2F")
    names = ("group_id", "artifact_id", "version", "artifact_name")
    fields: dict[str, Any] = {name: segment for name, segment in zip(names, segments, strict=False) if segment}
    if parts.query:
        fields["filters"] = dict(parse_qsl(parts.query, keep_blank_values=True))
    return fields
