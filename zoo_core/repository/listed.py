"""What repositories elsewhere have in common: a listing, whose documents are read when they are wanted."""

from __future__ import annotations

import copy
import functools
import hashlib
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, BinaryIO, Self, cast

from zoo_core.errors import MetadataError, RepositoryError
from zoo_core.metadata import Metadata
from zoo_core.repository.base import Entry, Listing, Repository
from zoo_core.repository.stream import MAX_INDEX, IndexEntry, index_entries, too_large
from zoo_core.transfer import CHUNK, Body, Transfer
from zoo_core.wording import bytes_text, printable, shown_url

if TYPE_CHECKING:
    import requests

    from zoo_core.artifact import ArtifactFile

#: Documents that are asked for together.
AT_ONCE = 64
#: Bytes of an index that are kept in memory; a longer one is put on the disk.
_IN_MEMORY = 8 << 20


class ListedRepository(Repository):
    """A repository whose documents are those of its `listing`, with files that a transfer fetches.

    Args:
        url: What names it.
        transfer: Fetches files; says whether the network is forbidden.
        max_index_size: Bytes that its index may have; None: `MAX_INDEX`.
    """

    is_remote = True

    def __init__(self, url: str, *, transfer: Transfer, max_index_size: int | None = None) -> None:
        self.url = url
        self._transfer, self._max_index_size = transfer, max_index_size or MAX_INDEX
        self._problems: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """The documents that could not be read, a message each."""
        return self._problems

    def documents(self) -> Iterator[Metadata]:
        """All documents that are listed; one that cannot be read is put into `problems`."""
        problems: list[str] = []
        for entry in self.entries():
            try:
                yield self.decoded(entry.path, entry.read())
            except (MetadataError, RepositoryError) as error:
                problems.append(shown_url(str(error)))
        self._problems = tuple(problems)

    def entries(self) -> Iterator[Entry]:
        """All documents that are listed; those that do not stand in the listing itself are not read yet."""
        with self.listing() or Listing() as listing:
            yield from listing.entries

    def hurried(self) -> Self:
        """The same one, with another transfer."""
        other = copy.copy(self)
        other._transfer = self._transfer.hurried()
        return other

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """The body of a file's address, from an offset on."""
        return self._transfer.stream(file.url, offset)

    def transfer_for(self, file: ArtifactFile) -> Transfer:
        """What fetches its files from the web."""
        return self._transfer


def spool(held: ExitStack) -> IO[bytes]:
    """A file for an index, on the disk where it is long, until the stack is closed."""
    return cast("IO[bytes]", held.enter_context(SpooledTemporaryFile(_IN_MEMORY)))


def put(parts: Iterable[bytes], spool: IO[bytes], url: str, max_size: int) -> None:
    """Write what comes of an index into its file.

    Raises:
        RepositoryError: It is more than an index may have, or cannot be written.
    """
    size = 0
    for part in parts:
        size += len(part)
        if size > max_size:
            raise too_large(url, max_size)
        with _keeping(url):
            spool.write(part)


def parts_of(body: Body, url: str) -> Iterator[bytes]:
    """What a server sends, in pieces; what it compressed on the way is compressed still.

    Raises:
        RepositoryError: It compressed it in another way than gzip.
    """
    if body.encoding not in ("", "gzip", "x-gzip"):
        raise RepositoryError(
            f"{shown_url(url)}: the server sent {printable(body.encoding)} where gzip or plain bytes were asked for", url
        )
    return iter(body.read, b"")


def plain(parts: Iterable[bytes], url: str) -> Iterator[bytes]:
    """What the pieces of a gzip file hold, in pieces.

    Raises:
        RepositoryError: It is damaged.
    """
    machine = zlib.decompressobj(31)
    for part in parts:
        while part and not machine.eof:
            try:
                piece = machine.decompress(part, CHUNK)
            except zlib.error as error:
                raise RepositoryError(f"{shown_url(url)} is damaged: {error}", url) from error
            # A few bytes can become very many.
            part = machine.unconsumed_tail
            yield piece
    if not machine.eof:
        raise RepositoryError(f"{shown_url(url)} is cut off", url)


@contextmanager
def _keeping(url: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RepositoryError(
            f"{shown_url(url)}: the index cannot be kept in the folder for temporary files: {error.strerror or error}", url
        ) from error


def index_listing(
    spool: IO[bytes],
    url: str,
    state: Mapping[str, str],
    held: ExitStack,
    *,
    max_size: int,
    made: Callable[[bytes], bytes] = bytes,
) -> Listing:
    """The listing that an index in a file gives.

    Args:
        url: The index, for messages.
        held: Closed when all has been given, and with the listing.
        max_size: Bytes that the index may have, unpacked.
        made: What is kept of each document's content.

    Raises:
        MetadataError, RepositoryError: It is no index.
    """
    try:
        # What is no index must not come in place of a known one: it is read twice.
        for entry in _entries(spool, url, max_size):
            del entry
    except BaseException:
        held.close()
        raise

    def given() -> Generator[Entry]:
        with held:
            for entry in _entries(spool, url, max_size):
                content = made(bytes(entry.metadata))
                yield Entry(entry.path, hashlib.sha256(content).digest(), functools.partial(bytes, content))

    return Listing(given(), state, held.close)


def _entries(spool: IO[bytes], url: str, max_size: int) -> Iterator[IndexEntry]:
    spool.seek(0)
    return index_entries(spool, url, max_size=max_size)


def fetched(transfer: Transfer, url: str, limit: int) -> bytes:
    """The content at an address on the web.

    Raises:
        RepositoryError: It cannot be had, or has more bytes than the limit.
    """
    with transfer.open(url) as response:
        return _content(transfer, url, limit, response)


def fetched_if_changed(transfer: Transfer, url: str, limit: int, etag: str) -> tuple[bytes | None, str]:
    """The content at an address, unless it is still that of an ETag, and its own ETag.

    Args:
        etag: "" where none is known.

    Raises:
        RepositoryError: As for `fetched`.
    """
    with transfer.open(url, {"If-None-Match": etag} if etag else {}) as response:
        if response.status_code == 304:
            return None, etag
        return _content(transfer, url, limit, response), response.headers.get("ETag", "")


def _content(transfer: Transfer, url: str, limit: int, response: requests.Response) -> bytes:
    body = Body(response, url, 0, None, transfer)
    parts = parts_of(body, url)
    return joined(plain(parts, url) if body.encoding else parts, url, limit)


def joined(parts: Iterable[bytes], url: str, limit: int) -> bytes:
    """All that comes in pieces.

    Raises:
        RepositoryError: It is more than the limit.
    """
    content = bytearray()
    for part in parts:
        content += part
        if len(content) > limit:
            raise RepositoryError(f"{shown_url(url)}: more than {bytes_text(limit)} came", url)
    return bytes(content)


class ReadAhead:
    """Documents that are read one after the other, which are asked for together; those that nobody wants are not.

    Args:
        paths: All of them, in their order.
        fetched: Gives the contents of some, or why one cannot be had.
    """

    def __init__(self, paths: Sequence[str], fetched: Callable[[Sequence[str]], Sequence[bytes | RepositoryError]]) -> None:
        self._paths, self._fetched = paths, fetched
        self._here: dict[int, bytes | RepositoryError] = {}
        self._next, self._count = -1, 1

    def read(self, number: int) -> bytes:
        """The content of one.

        Raises:
            RepositoryError: It cannot be had.
        """
        if number not in self._here:
            # Whoever skips some, since they are known, may skip the next ones too.
            self._count = min(2 * self._count, AT_ONCE) if number == self._next else 1
            numbers = range(number, min(number + self._count, len(self._paths)))
            self._here = dict(zip(numbers, self._fetched([self._paths[item] for item in numbers]), strict=True))
            self._next = numbers.stop
        found = self._here.pop(number)
        if isinstance(found, RepositoryError):
            raise found
        return found
