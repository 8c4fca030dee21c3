"""What translators give back: classes with probabilities, objects with boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload


@dataclass(frozen=True)
class Classification:
    """One class and its probability, 0 to 1."""

    index: int
    name: str
    probability: float


class Classifications(Sequence[Classification]):
    """Classes, best first.

    >>> found = Classifications([Classification(0, "cat", 0.25), Classification(1, "dog", 0.75)])
    >>> found[0].name, found.top(1).to_dict()
    ('dog', {'classes': [{'index': 1, 'name': 'dog', 'probability': 0.75}]})
    """

    def __init__(self, items: Iterable[Classification]) -> None:
        self._items = sorted(items, key=lambda item: (-item.probability, item.index))

    @overload
    def __getitem__(self, index: int) -> Classification: ...
    @overload
    def __getitem__(self, index: slice) -> Classifications: ...
    def __getitem__(self, index: int | slice) -> Classification | Classifications:
        return Classifications(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, Classifications) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._items))

    def __repr__(self) -> str:
        shown = ", ".join(f"{item.name} {item.probability:.3f}" for item in self._items[:5])
        return f"Classifications({shown}{', ...' if len(self) > 5 else ''})"

    def top(self, count: int) -> Classifications:
        """The ``count`` best classes."""
        return self[: max(count, 0)]

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"classes": [{"index": c.index, "name": c.name, "probability": c.probability} for c in self._items]}


@dataclass(frozen=True)
class DetectedObject:
    """One object.

    Attributes:
        box: (x0, y0, x1, y1) in pixels of the picture that was given.
    """

    index: int
    name: str
    probability: float
    box: tuple[float, float, float, float]


class DetectedObjects(Sequence[DetectedObject]):
    """Objects, most probable first."""

    def __init__(self, items: Iterable[DetectedObject]) -> None:
        self._items = sorted(items, key=lambda item: -item.probability)

    @overload
    def __getitem__(self, index: int) -> DetectedObject: ...
    @overload
    def __getitem__(self, index: slice) -> DetectedObjects: ...
    def __getitem__(self, index: int | slice) -> DetectedObject | DetectedObjects:
        return DetectedObjects(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return self._items == other._items if isinstance(other, DetectedObjects) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._items))

    def __repr__(self) -> str:
        return f"DetectedObjects({', '.join(f'{item.name} {item.probability:.3f}' for item in self._items[:5])})"

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "objects": [
                {"index": o.index, "name": o.name, "probability": o.probability, "box": list(o.box)} for o in self._items
            ]
        }
