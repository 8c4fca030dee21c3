"""The digest of a file that is still being written, taken of what lies on the disk, behind the last byte that came."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from zoo_core.store import Digests

#: Bytes that are read at once; with fewer behind, the thread sleeps.
_STEP = 1 << 20


class Follower:
    """Hashes a file from its beginning, in a thread of its own where there is enough to do.

    Args:
        path: The file; it exists.
        wants_sha1: Whether the sha1 is asked for too.
    """

    def __init__(self, path: Path, *, wants_sha1: bool) -> None:
        self._path = path
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(usedforsecurity=False) if wants_sha1 else None
        self._reached = self._hashed = 0
        self._is_urgent = self._is_closed = False
        self._fault: BaseException | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def reach(self, position: int) -> None:
        """All bytes before a position are there."""
        if position - self._reached < _STEP:
            return
        with self._changed:
            self._reached = position
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="zoo-digest", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def digests(self, total: int) -> Digests:
        """What was found of the first ``total`` bytes, which are all there.

        Raises:
            OSError: The file cannot be read.
        """
        with self._changed:
            self._reached, self._is_urgent = total, True
            self._changed.notify_all()
            while self._thread is not None and self._fault is None and self._hashed < total:
                self._changed.wait()
            self._is_urgent = False
            if self._fault is not None:
                raise self._fault
        self._hash(total)
        return Digests(self._sha256.hexdigest(), self._sha1.hexdigest() if self._sha1 else "")

    def close(self) -> None:
        """End the thread; the file may be deleted then."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        try:
            while (end := self._next()) is not None:
                self._hash(end)
                with self._changed:
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - it is raised again by whoever waits for the digest
            with self._changed:
                self._fault = error
                self._changed.notify_all()

    def _next(self) -> int | None:
        """How far to go now; None: no further, ever."""
        with self._changed:
            while not self._is_closed and self._reached - self._hashed < (1 if self._is_urgent else _STEP):
                self._changed.wait()
            return None if self._is_closed else self._reached

    def _hash(self, end: int) -> None:
        if self._hashed >= end:
            return
        buffer = memoryview(bytearray(min(_STEP, end - self._hashed)))
        with self._path.open("rb", buffering=0) as stream:
            stream.seek(self._hashed)
            while self._hashed < end and not self._is_closed:
                count = stream.readinto(buffer[: min(_STEP, end - self._hashed)])
                if not count:
                    raise OSError(f"{self._path} was cut while it was written")
                self._sha256.update(buffer[:count])
                if self._sha1:
                    self._sha1.update(buffer[:count])
                self._hashed += count
