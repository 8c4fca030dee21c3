"""What of a document a question can ask for, as numbers: both sides of the index agree here.

A term stands for one answer to one field. Where a document has all terms of a question it may answer it; whether it does is
told by `zoo_core.selection` alone, which also looks at what has no terms here: versions, packages, plugins.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence

from zoo_core import application as applications
from zoo_core.artifact import Artifact
from zoo_core.criteria import Criteria
from zoo_core.free_text import searchable
from zoo_core.metadata import Metadata

#: Letters that are looked for together. Source: SQLite's manual, "The Trigram Tokenizer".
GRAM = 3
#: What SQLite's text cannot hold, or ends at.
_UNSEARCHABLE = re.compile("[\0\ud800-\udfff]")
#: Trigrams of a question at most; those of a longer word are taken from all over it.
_MOST_GRAMS = 48


@functools.lru_cache(1 << 15)
def term(kind: str, field: str, value: str) -> int:
    """A number for one answer; two may share one, which makes a candidate too many and no answer too few."""
    text = f"{kind}\0{field}\0{value}"
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=6).digest())


def terms_of(metadata: Metadata) -> set[int]:
    """The terms of a document: what any of its artifacts has."""
    return {term(metadata.mrl.type, field, value) for field, value in _pairs(metadata)}


def _pairs(metadata: Metadata) -> Iterator[tuple[str, str]]:
    mrl = metadata.mrl
    if not metadata.artifacts:
        return
    yield from (("artifact_id", mrl.artifact_id), ("artifact_id", metadata.artifact_id))
    yield from (("group_id", mrl.group_id), ("group_id", metadata.group_id))
    yield from (("folder", mrl.group_id), ("folder", f"{mrl.group_id}\0{mrl.artifact_id}"))
    if metadata.group_id != mrl.group_id:
        yield from (("document", metadata.group_id), ("document", f"{metadata.group_id}\0{mrl.artifact_id}"))
    for application in (mrl.application, metadata.application or None):
        yield from (("application", path) for path in _at_and_above(application))
    for artifact in metadata.artifacts:
        yield from _artifact_pairs(artifact, mrl.application)


def _artifact_pairs(artifact: Artifact, application: str) -> Iterator[tuple[str, str]]:
    yield "artifact_name", artifact.name
    for side, name in enumerate(("input_type", "output_type")):
        yield name, applications.type_of(artifact.arguments, application, side).lower()
    for key, value in artifact.properties.items():
        yield f"filters.{key}", value
    for engine in artifact.engines or ("",):
        yield "engine", engine.lower()


def _at_and_above(application: str | None) -> Iterator[str]:
    """The applications that a question may ask for to find this one."""
    if application is None:
        yield applications.UNDEFINED
        return
    parts = (applications.canonical(application) or application).split("/")
    yield from ("/".join(parts[:length]) for length in range(1, len(parts) + 1))


def asked(criteria: Criteria) -> list[tuple[int, ...]]:
    """What a question asks of a document, in the order in which `zoo_core.selection` looks at it.

    Returns:
        Groups of terms; of each group a document must have one.
    """
    given = {
        "artifact_id": criteria.artifact_id,
        "group_id": criteria.group_id,
        "application": criteria.application,
        "artifact_name": criteria.artifact_name,
        "input_type": criteria.input_type and criteria.input_type.lower(),
        "output_type": criteria.output_type and criteria.output_type.lower(),
        **{f"filters.{key}": value for key, value in criteria.filters.items()},
    }
    fields: list[tuple[int, ...]] = [
        (term(criteria.type, field, value),) for field, value in given.items() if value is not None
    ]
    if criteria.engine is not None:
        # An artifact that names no engine may run in any.
        fields.append((term(criteria.type, "engine", criteria.engine.lower()), term(criteria.type, "engine", "")))
    return fields


def text_of(metadata: Metadata) -> str:
    """All that words are looked for in, of all artifacts of a document."""
    return _UNSEARCHABLE.sub(" ", searchable(metadata, metadata.artifacts))


def ids_of(metadata: Metadata) -> str:
    """What a misspelt id may have meant."""
    return _UNSEARCHABLE.sub(" ", " ".join(dict.fromkeys((metadata.mrl.artifact_id, metadata.artifact_id))).lower())


def grams(words: Iterable[str]) -> list[str]:
    """The trigrams that a text with these words has; none for a word that is too short."""
    found = dict.fromkeys(
        piece[start : start + GRAM]
        for word in words
        for piece in _UNSEARCHABLE.split(word)
        for start in range(len(piece) - GRAM + 1)
    )
    step = max(1, -(-len(found) // _MOST_GRAMS))
    return list(found)[::step]


def all_of(words: Sequence[str]) -> str:
    """What asks FTS5 for texts that have all these trigrams; each is quoted, since it comes from a user."""
    return " AND ".join('"' + word.replace('"', '""') + '"' for word in words)


def near_ids(asked_id: str) -> list[str]:
    """Questions for ids that may be meant by a misspelt one, the more certain first.

    An id with one mistake in it has all trigrams that do not touch the mistake; one with more of them may have a half.
    """
    text = asked_id.lower()[:64]
    without = [grams([text[:at], text[at + 2 :]]) for at in range(len(text))]
    halves = [grams([text[: len(text) // 2 + 1]]), grams([text[len(text) // 2 - 1 :]])]
    questions = (" OR ".join(f"({all_of(part)})" for part in parts if part) for parts in (without, halves))
    return [question for question in questions if question]
