"""Parameters drawn as the tree that their dotted names make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zoo_core.wording import bytes_text

Parameters = Mapping[str, Mapping[str, Any]]

#: How deep the tree is drawn, the deepest that is short enough.
_DEPTHS = (99, 4, 3, 2, 1)
#: A name may have millions of dots, and no network is so deep.
_MAX_DEPTH = 100


def drawn(parameters: Parameters, *, lines: int | None) -> list[str]:
    """A line each for a parameter, or for a part that is summed up where the tree would be too long.

    Args:
        parameters: Name -> ``dtype``, ``shape``, ``bytes``.
        lines: How many are enough; None draws all.
    """
    depths: Sequence[int] = _DEPTHS if lines is not None else _DEPTHS[:1]
    found: list[str] = []
    for depth in depths:
        found = list(_lines({tuple(name.split(".", _MAX_DEPTH)): item for name, item in parameters.items()}, depth, "  "))
        if lines is None or len(found) <= lines:
            return found
    return [*found[:lines], f"  ... and {len(found) - (lines or 0)} more"]


def _lines(parameters: Mapping[tuple[str, ...], Mapping[str, Any]], depth: int, indent: str) -> Iterator[str]:
    parts: dict[str, dict[tuple[str, ...], Mapping[str, Any]]] = {}
    for path, item in parameters.items():
        parts.setdefault(path[0], {})[path[1:]] = item
    for name, part in sorted(parts.items(), key=lambda item: _number(item[0])):
        if () in part:
            yield f"{indent}{name}  {_described(part.pop(()))}"
        if not part:
            continue
        name, part = _joined(name, part)
        size = bytes_text(sum(int(item["bytes"]) for item in part.values()))
        if len(part) == 1:
            ((path, item),) = part.items()
            yield f"{indent}{'.'.join((name, *path))}  {_described(item)}"
        elif depth <= 1:
            yield f"{indent}{name}  {len(part)} tensors, {size}"
        else:
            yield f"{indent}{name}  {size}"
            yield from _lines(part, depth - 1, f"{indent}  ")


def _number(name: str) -> int:
    """By what parts are ordered: 2 before 10; names stay in the order of the file."""
    return int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else -1


def _joined(name: str, part: dict[tuple[str, ...], Mapping[str, Any]]) -> tuple[str, dict[tuple[str, ...], Mapping[str, Any]]]:
    """A part with its only child in one line, as long as there is but one and that has children of its own."""
    while len({path[0] for path in part}) == 1 and all(len(path) > 1 for path in part):
        name = f"{name}.{next(iter(part))[0]}"
        part = {path[1:]: item for path, item in part.items()}
    return name, part


def _described(item: Mapping[str, Any]) -> str:
    return f"{item['dtype']}[{', '.join(map(str, item['shape']))}]"
