"""Which bytes of a file are there, which are on their way, and which nobody has asked for yet; for several threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable

Stretch = tuple[int, int]


class Segment:
    """Bytes that one connection is fetching.

    Attributes:
        position: The next byte to come.
        end: The byte after the last one that it is to fetch; None: all that follow, as the size is not known.
    """

    def __init__(self, start: int, end: int | None) -> None:
        self.start, self.position, self.end = start, start, end

    @property
    def left(self) -> int | None:
        """Bytes that have not come; None: unknown."""
        return None if self.end is None else self.end - self.position


class Book:
    """The bytes of one file.

    Args:
        done: Those that are there already.
        total: The size of the file; None: unknown.
    """

    def __init__(self, done: Iterable[Stretch] = (), total: int | None = None) -> None:
        self.total = total
        self._done: list[Stretch] = merged(done)
        self._active: list[Segment] = []
        self._lock = threading.Lock()

    @property
    def done(self) -> list[Stretch]:
        """The stretches that are there, in order."""
        with self._lock:
            return self._there()

    @property
    def count(self) -> int:
        """Bytes that are there."""
        return sum(end - start for start, end in self.done)

    @property
    def prefix(self) -> int:
        """Bytes that are there without a gap, from the first one on."""
        done = self.done
        return done[0][1] if done and done[0][0] == 0 else 0

    @property
    def is_whole(self) -> bool:
        """Whether every byte is there."""
        return self.total is not None and self.prefix >= self.total

    @property
    def unasked(self) -> int:
        """Bytes that nobody is fetching; 0 where the size is not known."""
        with self._lock:
            return sum(end - start for start, end in self._gaps() if end is not None)

    def take(self, most: int | None = None) -> Segment | None:
        """The first bytes that nobody is fetching; None where there are none.

        Args:
            most: Take no more than these.
        """
        with self._lock:
            for start, end in self._gaps():
                segment = Segment(start, _cut(start, end, most))
                self._active.append(segment)
                return segment
            return None

    def extend(self, segment: Segment, most: int | None = None) -> bool:
        """Let a segment that has all its bytes go on, if nobody is fetching those that follow it."""
        with self._lock:
            for start, end in self._gaps():
                if start == segment.end:
                    segment.end = _cut(start, end, most)
                    return True
            return False

    def cut(self, segment: Segment, most: int) -> None:
        """Leave all but the next bytes of a segment to others."""
        with self._lock:
            segment.end = _cut(segment.position, segment.end, most)

    def put(self, segment: Segment) -> None:
        """A segment is fetched no more; what of it did not come can be taken by others."""
        with self._lock:
            self._active.remove(segment)
            self._done = merged([*self._done, (segment.start, segment.position)])

    def _there(self) -> list[Stretch]:
        return merged([*self._done, *((segment.start, segment.position) for segment in self._active)])

    def _gaps(self) -> list[tuple[int, int | None]]:
        if any(segment.end is None for segment in self._active):
            return []
        reserved = [(segment.start, segment.end) for segment in self._active if segment.end is not None]
        gaps: list[tuple[int, int | None]] = []
        position = 0
        for start, end in merged([*self._done, *reserved]):
            if start > position:
                gaps.append((position, start))
            position = end
        if self.total is None or position < self.total:
            gaps.append((position, self.total))
        return gaps


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Stretches in order, none empty and none touching the next.

    >>> merged([(5, 9), (0, 3), (3, 4), (7, 7)])
    [(0, 4), (5, 9)]
    """
    result: list[Stretch] = []
    for start, end in sorted(stretch for stretch in stretches if stretch[0] < stretch[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def _cut(start: int, end: int | None, most: int | None) -> int | None:
    if most is None:
        return end
    return start + most if end is None else min(end, start + most)
