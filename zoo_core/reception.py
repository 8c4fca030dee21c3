"""The bytes of one file as they come from one place: continued, tried again, in several connections at once.

They are written into a partial download, and their digest is taken of what lies there. So it does not matter in how many
requests they came.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import msgspec

from zoo_core.errors import IntegrityError, RepositoryError
from zoo_core.follower import Follower
from zoo_core.partial import Partial, State
from zoo_core.sources import CHUNK, Incoming, Source
from zoo_core.stopping import Stop, Stopped
from zoo_core.store import Digests
from zoo_core.stretches import Book, Segment
from zoo_core.transfer import RangeError
from zoo_core.wording import bytes_text, shown_url

#: Bytes that are worth a request.
LEAST_PIECE = 4 << 20
#: Seconds for which one connection is watched, and for which it must have work left, before others help it.
PATIENCE_S, WORTH_S = 0.15, 1.0
#: Bytes after which a connection counts as one that works, however often it broke before.
HEADWAY = 1 << 20
_SAVE_S, _JOIN_S = 1.0, 2.0
RANGE_NOT_SATISFIABLE = 416


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A file, and what is known of it before it comes.

    Attributes:
        size: In bytes, as its document declares it: for progress, and to tell a body that broke off; None: unknown.
        bound: The most bytes that are read.
        is_limited: Whether that is the configuration's limit, and not one that the declared size gives.
        admit: Refuses a size by raising, before the first byte of it comes.
        verify: Refuses the digests of what came from an address by raising an `IntegrityError`.
        is_pinned: A digest decides, so that bytes of several requests, and from several addresses, can make up the file.
        wants_sha1: Whether the digest is a sha1.
    """

    name: str
    size: int | None
    bound: int
    is_limited: bool
    admit: Callable[[int], object]
    verify: Callable[[Digests, str], object]
    is_pinned: bool
    wants_sha1: bool = False


class How(msgspec.Struct, frozen=True, kw_only=True):
    """How files are fetched.

    Attributes:
        report: Called with the bytes that are there and those in all, of one thread for each file.
        stop: Ends it from another thread.
        helpers: Counts the connections that may still be opened beside the first one of each file.
    """

    report: Callable[[int, int | None], object] = lambda *_: None
    stop: Stop = msgspec.field(default_factory=Stop)
    helpers: threading.Semaphore = msgspec.field(default_factory=lambda: threading.Semaphore(0))


def too_large(wanted: Wanted, url: str, found: str) -> IntegrityError:
    """The error for more bytes than a file may have."""
    declared = "no size was declared" if wanted.size is None else f"{bytes_text(wanted.size)} were declared"
    limit = f"; max_file_size in zoo.toml allows {bytes_text(wanted.bound)}" if wanted.is_limited else ""
    return IntegrityError(f"{shown_url(url)}: {found}, and {declared}{limit}", url=url)


class _Broken(Exception):  # noqa: N818 - it never leaves this module
    """A body broke off; what has come stays."""

    def __init__(self, cause: RepositoryError | IntegrityError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Reception:
    """The bytes of one file as they come from one source.

    Args:
        is_plain: Take the whole file out of one body, and nothing else.

    Attributes:
        encoding: What the server says it has done to the bytes.
        is_assembled: Whether the bytes are those of more than one request.
    """

    def __init__(self, source: Source, partial: Partial, wanted: Wanted, how: How, *, is_plain: bool) -> None:
        self._source, self._partial, self._wanted, self._how = source, partial, wanted, how
        self._is_plain = is_plain
        self.encoding, self.is_assembled = "", False
        state = self._usable_state()
        self._book, self._validator = Book(state.done, state.total), state.validator
        self._follower = self._new_follower()
        self.is_assembled = bool(state.count)
        self._segment: Segment | None = None
        #: Whether the last body did not say how long the file is.
        self._is_open = False
        self._failures, self._best, self._bodies = 0, state.count, 0
        self._helpers: list[threading.Thread] = []
        self._may_help = not is_plain
        self._stop, self._news = Stop(), threading.Event()
        self._fault: OSError | None = None
        self._saved_at = 0.0

    def run(self) -> Digests:
        """Everything, verified and written to the disk.

        Raises:
            IntegrityError, RepositoryError, Stopped, OSError: As for `fetch`.
        """
        try:
            with self._how.stop.holding(self._stop):
                while True:
                    try:
                        self._receive_all()
                        return self._verified()
                    except _Broken as broken:
                        self._after_failure(broken.cause)
        finally:
            self._dismiss_helpers()
            self._follower.close()
            self._save()

    # What is there.

    def _usable_state(self) -> State:
        state = self._partial.state()
        is_same = state.url == self._source.url and self._source.is_web
        # Without a digest only the server itself can say that the rest belongs to what is here.
        if self._is_plain or not state.count or not (self._wanted.is_pinned or (is_same and state.validator)):
            self._partial.clear()
            return State()
        return state if is_same else msgspec.structs.replace(state, validator="")

    def _new_follower(self) -> Follower:
        return Follower(self._partial.content, wants_sha1=self._wanted.wants_sha1)

    def _begin_anew(self) -> None:
        """Forget every byte."""
        self._dismiss_helpers()
        self._may_help = False
        self._follower.close()
        self._partial.clear()
        self._book, self._validator, self._segment = Book(), "", None
        self._bodies, self.is_assembled = 0, False
        self._follower = self._new_follower()

    @property
    def _can_continue(self) -> bool:
        """Whether the next body may bring the bytes that this one did not."""
        return not self._is_plain and not self.encoding and (self._wanted.is_pinned or bool(self._validator))

    def _save(self) -> None:
        if self._can_continue:
            done = tuple(self._book.done)
            self._partial.save(State(url=self._source.url, validator=self._validator, total=self._book.total, done=done))
        self._saved_at = time.monotonic()

    # What comes.

    def _receive_all(self) -> None:
        """Take body after body until every byte is there."""
        while not self._book.is_whole:
            self._segment = self._book.take(self._piece if self._helpers else None)
            if self._segment is None:
                self._await_helpers()
                continue
            try:
                body = self._next_body(self._segment)
                with closing(body), self._how.stop.holding(body):
                    self._copy(body)
            finally:
                if self._segment is not None:
                    self._book.put(self._segment)

    def _next_body(self, segment: Segment) -> Incoming:
        """A body that begins with a segment; or one with the whole file, which is then what is received."""
        body = self._ask(segment)
        try:
            if not self._continues(body, segment):
                if body.start:
                    body.close()
                    body = self._whole()
                self._begin_anew()
                self._segment = self._book.take()
            if body.total is not None:
                self._admit(body.total)
        except BaseException:
            body.close()
            raise
        self._is_open = body.total is None
        self._bodies += 1
        self.is_assembled = self.is_assembled or self._bodies > 1
        self.encoding, self._validator = body.encoding, body.validator or self._validator
        if self._book.total is None and body.total is not None and self._segment is not None:
            self._book.total = self._segment.end = body.total
        return body

    def _ask(self, segment: Segment) -> Incoming:
        end = None if segment.end == self._book.total else segment.end
        try:
            return self._source.body(segment.start, end, self._validator)
        except RangeError:
            return self._whole()
        except RepositoryError as error:
            if error.status != RANGE_NOT_SATISFIABLE:
                raise
            return self._whole()

    def _whole(self) -> Incoming:
        """All of the file, from a server whose parts are no good."""
        body = self._source.body()
        if body.start:
            body.close()
            raise RepositoryError(f"{shown_url(self._source.url)}: all of it was asked for, and a part came", self._source.url)
        return body

    def _continues(self, body: Incoming, segment: Segment) -> bool:
        """Whether a body has the bytes of a segment, of the same content as those that are here."""
        is_other = bool(self._validator) and bool(body.validator) and body.validator != self._validator
        is_other_size = None not in (self._book.total, body.total) and body.total != self._book.total
        return body.start == segment.start and not (self._book.count and (is_other or is_other_size))

    def _admit(self, size: int) -> None:
        """Refuse a file that is larger than it may be, before its bytes come."""
        if size > self._wanted.bound:
            raise too_large(self._wanted, self._source.url, f"{bytes_text(size)} are offered")
        self._wanted.admit(size - self._book.count)

    def _copy(self, body: Incoming) -> None:
        """Write a body where its segment says; go on behind that where nobody else does."""
        segment = self._segment
        if segment is None:
            return
        last = segment.end
        base, first, began = self._book.count, segment.position, time.monotonic()
        with self._partial.content.open("r+b", buffering=0) as stream:
            stream.seek(segment.position)
            while chunk := self._read(body, segment.left):
                _write(stream, chunk)
                segment.position += len(chunk)
                if segment.position > self._wanted.bound:
                    raise too_large(self._wanted, self._source.url, f"more than {bytes_text(self._wanted.bound)} came")
                self._tell(self._book.count if self._helpers else base + segment.position - first)
                # Alone, the first bytes that are not there are those that come.
                self._follower.reach(self._book.prefix if self._helpers else segment.position)
                if segment.left == 0:
                    if segment.end == last or not self._book.extend(segment, self._piece if self._helpers else None):
                        return
                elif self._wants_help(body, segment, segment.position - first, time.monotonic() - began):
                    self._call_helpers(segment)
        if segment.end is not None:
            raise _Broken(
                self._error(f"the connection broke: {bytes_text(segment.position)} came of {bytes_text(segment.end)}")
            )
        if segment.end is None:
            self._book.total = segment.end = segment.position

    def _read(self, body: Incoming, left: int | None) -> bytes:
        if self._fault is not None:
            raise self._fault
        try:
            chunk = body.read(CHUNK if left is None else min(CHUNK, left))
        except RepositoryError as error:
            self._how.stop.check()
            raise _Broken(error) from error
        # A connection that was shut down from here looks like one that has come to its end.
        self._how.stop.check()
        return chunk

    def _tell(self, count: int) -> None:
        self._how.report(count, self._wanted.size if self._book.total is None else self._book.total)
        if time.monotonic() - self._saved_at > _SAVE_S:
            self._save()

    def _after_failure(self, cause: RepositoryError | IntegrityError) -> None:
        """Wait before the next try, or give up."""
        count = self._book.count
        if count >= self._best + HEADWAY:
            self._failures = 0
        self._best = max(self._best, count)
        self._failures += 1
        if self._failures > self._source.retry.retries:
            raise cause
        if not self._can_continue:
            self._begin_anew()
        self._how.stop.pause(self._source.retry.wait(self._failures))

    def _verified(self) -> Digests:
        """The digests of what is there, which was found right."""
        total = self._book.total or 0
        # It is written to the disk while the digest of its end is taken.
        flush(self._partial.content)
        found = self._follower.digests(total)
        try:
            self._wanted.verify(found, self._source.url)
        except IntegrityError as error:
            if not (self._source.is_web and self._is_open and total < (self._wanted.size or 0)):
                raise
            # Without a size from the server, a body that breaks off looks like one that has come to its end.
            self._book.total = None
            raise _Broken(error) from error
        return found

    # Further connections.

    @property
    def _piece(self) -> int:
        """What a connection takes next."""
        return _piece(self._book.unasked, len(self._helpers) + 1)

    def _wants_help(self, body: Incoming, segment: Segment, came: int, elapsed_s: float) -> bool:
        if not (self._may_help and body.has_ranges and segment.left and elapsed_s >= PATIENCE_S and self._can_continue):
            return False
        return not self._helpers and segment.left >= max(2 * LEAST_PIECE, came / elapsed_s * WORTH_S)

    def _call_helpers(self, segment: Segment) -> None:
        """Leave the most of a segment to connections that are opened now."""
        self._may_help = False
        left = segment.left or 0
        count = 0
        while count + 1 < left // LEAST_PIECE and self._how.helpers.acquire(blocking=False):
            count += 1
        if not count:
            return
        self._book.cut(segment, _piece(left, count + 1))
        self.is_assembled = True
        self._helpers = [threading.Thread(target=self._help, name="zoo-range", daemon=True) for _ in range(count)]
        for helper in self._helpers:
            helper.start()

    def _await_helpers(self) -> None:
        """Wait until one of them has news."""
        self._how.stop.check()
        if self._fault is not None:
            raise self._fault
        self._news.wait(0.1)
        self._news.clear()
        self._follower.reach(self._book.prefix)
        self._tell(self._book.count)

    def _dismiss_helpers(self) -> None:
        self._stop.abort()
        for helper in self._helpers:
            # One that waits for a connection ends later, without having written anything from now on.
            helper.join(_JOIN_S)
        self._helpers = []

    def _help(self) -> None:
        """What a helper does: segment after segment, until nothing is left or it fails too often."""
        failures = 0
        try:
            while failures <= self._source.retry.retries:
                segment = self._book.take(self._piece)
                if segment is None:
                    return
                try:
                    self._fill(segment)
                except RangeError:
                    return
                except RepositoryError:
                    failures = 1 if segment.position - segment.start >= HEADWAY else failures + 1
                finally:
                    # What did not come is taken by whoever is free first.
                    self._book.put(segment)
                    self._news.set()
                if segment.left:
                    self._stop.pause(self._source.retry.wait(failures))
        except Stopped:
            return
        except OSError as error:
            self._fault = error
        finally:
            self._how.helpers.release()
            self._news.set()

    def _fill(self, segment: Segment) -> None:
        """Write one segment.

        Raises:
            RangeError: The server does not give this part of this content.
            RepositoryError: The connection broke.
        """
        body = self._source.body(segment.start, segment.end, self._validator, patient=False)
        with closing(body), self._stop.holding(body), self._partial.content.open("r+b", buffering=0) as stream:
            if not self._continues(body, segment):
                raise RangeError(f"{shown_url(self._source.url)}: another content came than before", self._source.url)
            stream.seek(segment.position)
            while segment.left:
                chunk = body.read(min(CHUNK, segment.left))
                self._stop.check()
                if not chunk:
                    raise self._error(f"the connection broke at byte {segment.position}")
                _write(stream, chunk)
                segment.position += len(chunk)

    def _error(self, text: str) -> RepositoryError:
        return RepositoryError(f"{shown_url(self._source.url)}: {text}", self._source.url)


def _piece(left: int, connections: int) -> int:
    """What each of several connections takes of bytes: less and less, so that all end at the same time, in few requests."""
    return max(LEAST_PIECE, 4 * left // (5 * connections))


def flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    # Windows flushes only what is open for writing.
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def _write(stream: BinaryIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        # Without a buffer, less may be written than was given.
        view = view[stream.write(view) :]
