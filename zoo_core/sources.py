"""Places that have the bytes of a file, from any byte on."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Protocol

from zoo_core.errors import RepositoryError
from zoo_core.stopping import Stop
from zoo_core.transfer import Connections, Retry, Transfer

#: Bytes that are read at once.
CHUNK = 1 << 18
#: Bytes that are asked for at once where each part of a file is a request of its own.
PART = 8 << 20


class Incoming(Protocol):
    """A body; see `zoo_core.transfer.Body`."""

    @property
    def start(self) -> int:
        """The byte of the file that comes first."""

    @property
    def total(self) -> int | None:
        """The size of the whole file."""

    @property
    def validator(self) -> str:
        """What names this content."""

    @property
    def has_ranges(self) -> bool:
        """Whether parts can be asked for."""

    @property
    def encoding(self) -> str:
        """What was done to the bytes."""

    def read(self, count: int = ...) -> bytes:
        """The next bytes."""

    def close(self) -> None:
        """Hang up."""

    def abort(self) -> None:
        """End a `read` that another thread waits in."""


class Source(Protocol):
    """A place that has the bytes of a file."""

    @property
    def url(self) -> str:
        """What names it in messages."""

    @property
    def is_web(self) -> bool:
        """Whether a body without a size may have broken off unnoticed."""

    @property
    def retry(self) -> Retry:
        """When a body that broke is continued."""

    def body(self, start: int = ..., end: int | None = ..., validator: str = ..., *, patient: bool = ...) -> Incoming:
        """The bytes from ``start`` on, or all of them."""

    def close(self) -> None:
        """Hang up."""


class Parts(Protocol):
    """A file of which any part can be asked for by itself, in several threads: an object of a store."""

    @property
    def url(self) -> str:
        """What names it in messages."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def tag(self) -> str:
        """What names this content."""

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to before ``end``.

        Raises:
            RepositoryError: They cannot be had.
        """


class WebSource(Connections):
    """An http(s) address."""

    is_web = True

    def __init__(self, transfer: Transfer, url: str, stop: Stop, retry: Retry) -> None:
        super().__init__(transfer, url, retry=retry, pause=stop.pause)
        self.retry = retry


class StreamSource:
    """Something that opens a file at any byte: a repository of a plugin, a file on this machine."""

    is_web = False
    #: Whatever it is, it knows itself whether to try again.
    retry = Retry(retries=0)

    def __init__(self, url: str, opened: Callable[[int], BinaryIO]) -> None:
        self.url, self._opened = url, opened

    def body(self, start: int = 0, end: int | None = None, validator: str = "", *, patient: bool = True) -> StreamBody:
        """The bytes from ``start`` on; all of them where it cannot begin there."""
        try:
            return StreamBody(self._opened(start), start)
        except RepositoryError:
            if not start:
                raise
        return StreamBody(self._opened(0), 0)

    def close(self) -> None:
        """Nothing is kept open."""


class StreamBody:
    """What such a source gives; nobody knows how much it is."""

    total, validator, has_ranges, encoding = None, "", False, ""

    def __init__(self, stream: BinaryIO, start: int) -> None:
        self._stream, self.start = stream, start

    def read(self, count: int = CHUNK) -> bytes:
        """The next bytes."""
        return self._stream.read(count)

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def abort(self) -> None:
        """A stream that blocks cannot be ended from here; it is left after the bytes that it waits for."""


class PartsSource:
    """A file that is read part by part; whatever reads it tries again by itself."""

    is_web = True
    retry = Retry(retries=0)

    def __init__(self, url: str, parts: Callable[[], Parts]) -> None:
        self.url, self._asked = url, parts

    def body(self, start: int = 0, end: int | None = None, validator: str = "", *, patient: bool = True) -> PartsBody:
        """The bytes from ``start`` on; all of them where the content is another one than the validator names."""
        parts = self._asked()
        if start > parts.size or (validator and validator != parts.tag):
            return PartsBody(parts, 0, parts.size)
        return PartsBody(parts, start, parts.size if end is None else min(end, parts.size))

    def close(self) -> None:
        """Nothing is kept open."""


class PartsBody:
    """What such a source gives."""

    has_ranges, encoding = True, ""

    def __init__(self, parts: Parts, start: int, end: int) -> None:
        self.start, self.total, self.validator = start, parts.size, parts.tag
        self._parts, self._position, self._end = parts, start, end
        self._ahead = memoryview(b"")
        self._is_ended = False

    def read(self, count: int = CHUNK) -> bytes:
        """The next bytes."""
        if not self._ahead and not self._is_ended:
            data = self._parts.read(self._position, min(self._position + PART, self._end))
            self._ahead, self._position = memoryview(data), self._position + len(data)
        chunk, self._ahead = bytes(self._ahead[:count]), self._ahead[count:]
        return chunk

    def close(self) -> None:
        """Forget what was read ahead."""
        self._ahead = memoryview(b"")

    def abort(self) -> None:
        """Begin no further part; the one that is being asked for is waited for."""
        self._is_ended = True
