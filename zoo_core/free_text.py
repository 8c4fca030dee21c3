"""Words that a user looks for: where they may occur, and which of two records is the better hit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from zoo_core.artifact import Artifact
from zoo_core.metadata import Metadata
from zoo_core.record import ModelRecord

_NO_LETTER = re.compile(r"[\W_]+")


def words_of(text: str | None) -> list[str]:
    """What a text asks for; case does not count.

    >>> words_of("ResNet  imagenet")
    ['resnet', 'imagenet']
    """
    return (text or "").lower().split()


def searchable(metadata: Metadata, artifacts: Iterable[Artifact]) -> str:
    """All text of some artifacts of a document that words are looked for in, in lower case."""
    mrl = metadata.mrl
    parts = [mrl.group_id, mrl.artifact_id, metadata.name, metadata.description, mrl.application]
    for artifact in artifacts:
        parts += [artifact.name, *(f"{key}={value}" for key, value in artifact.properties.items())]
    # Versions have most of it in common.
    return " ".join(dict.fromkeys(parts)).lower()


def has_all(record: ModelRecord, words: Sequence[str]) -> bool:
    """Whether every word occurs in a record, inside a longer word too."""
    text = searchable(record.metadata, [record.artifact])
    return all(word in text for word in words)


def distance(record: ModelRecord, words: Sequence[str]) -> int:
    """How far a record that has all words is from what was meant; 0 where each is the artifact id.

    It looks at nothing but the record, so that hits of several repositories can be put in one order.
    """
    names = [text.lower() for text in (record.artifact_id, record.name, record.metadata.name)]
    begun = [part for text in (*names, record.group_id.lower()) for part in _NO_LETTER.split(text)]
    properties = " ".join(f"{key}={value}" for key, value in record.properties.items()).lower()
    return sum(_distance(word, names, begun, properties) for word in words)


def _distance(word: str, names: Sequence[str], begun: Sequence[str], properties: str) -> int:
    if word == names[0]:
        return 0
    if word in names:
        return 1
    if any(text.startswith(word) for text in (*names, *begun)):
        return 2
    if any(word in text for text in names):
        return 3
    return 4 if word in properties else 5
