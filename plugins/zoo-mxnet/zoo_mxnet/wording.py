"""Names of foreign files in messages."""

from __future__ import annotations

from collections.abc import Iterable

#: How many names an error lists.
SHOWN = 8


def listed(names: Iterable[str]) -> str:
    """Some names, and how many more there are."""
    texts = [printable(name) for name in names]
    return ", ".join(texts[:SHOWN]) + (f", and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")


def printable(text: str) -> str:
    """Without what could move a terminal's cursor or forge a line."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
