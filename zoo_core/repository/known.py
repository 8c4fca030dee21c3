"""The listing of a repository as it was last seen on this machine, and when it is asked for again."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from warnings import warn

import msgspec

from zoo_core.errors import MetadataError, OfflineError, RepositoryError, ZooWarning
from zoo_core.metadata import Metadata
from zoo_core.wording import bytes_text, shown_url

if TYPE_CHECKING:
    from zoo_core.repository.http import KnownIndex

#: A listing and what names this state of it; given that of the known one, whoever asks may find that it is still that.
Asked = Callable[[tuple[bytes, str] | None], tuple[bytes, str]]
#: Bytes of a document that is read by itself.
MAX_DOCUMENT = 16 << 20


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One document of a listing.

    Attributes:
        path: Where it lies below the repository's root.
        metadata: The document.
        url: Its address; "": the root's and the path.
        problem: Why there is none.
    """

    path: str
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    url: str = ""
    problem: str = ""


class _Listing(msgspec.Struct, frozen=True):
    indexVersion: int  # noqa: N815 - the format's own spelling
    documents: tuple[Entry, ...]


class Listed:
    """What a repository lists, asked for when what is known of it is too old; see `known_or_asked`.

    Args:
        url: The repository, for messages.
        known: Keeps the listing between processes; None: it is asked for each time.
        max_age_s: Seconds for which a known listing is used without asking.
    """

    def __init__(self, url: str, known: KnownIndex | None, max_age_s: float) -> None:
        self._url, self._known, self._max_age_s = url, known, max_age_s

    def content(self, ask: Asked) -> bytes:
        """The listing, in the form of an ``index.json``.

        Raises:
            RepositoryError, MetadataError: It cannot be had, and none is known.
        """
        last = self._known.read() if self._known is not None else None
        if last is not None and last[2] < self._max_age_s:
            return last[0]
        try:
            content, tag = ask(last[:2] if last is not None else None)
            decoded(content, self._url)
        except (RepositoryError, MetadataError) as error:
            if last is None:
                raise
            if not isinstance(error, OfflineError):
                warn(f"{error}; using the index of {last[2] / 3600:.1f} hours ago", ZooWarning, stacklevel=2)
            return last[0]
        if self._known is not None:
            self._known.write(content, tag)
        return content


def documents_of(content: bytes, url: str, root: str, problems: list[str]) -> Iterator[Metadata]:
    """The documents of a listing; one that cannot be read leaves a message among the problems.

    Args:
        url: The listing, for messages.
        root: What the addresses of the documents begin with, a slash at its end.

    Raises:
        MetadataError: It is no listing.
    """
    for entry in decoded(content, url):
        if entry.problem:
            problems.append(entry.problem)
            continue
        try:
            yield Metadata.from_json(bytes(entry.metadata), entry.url or root + quote(entry.path), path=entry.path)
        except MetadataError as error:
            problems.append(shown_url(str(error)))


def decoded(content: bytes, url: str) -> tuple[Entry, ...]:
    """The entries of a listing.

    Raises:
        MetadataError: It is none, or one of another version.
    """
    try:
        listing: Any = msgspec.json.decode(content, type=_Listing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MetadataError(f"{shown_url(url)}: no index: {error}", url=url, field="$") from error
    if listing.indexVersion != 1:
        raise MetadataError(
            f"{shown_url(url)}: $.indexVersion: expected 1, found {listing.indexVersion}", url=url, field="$.indexVersion"
        )
    return listing.documents  # type: ignore[no-any-return]  # msgspec's decode is typed Any for a tuple of Raw


def entry_of(path: str, content: bytes, url: str = "") -> Entry:
    """A document as it was read: what is no JSON, or too large, would spoil the listing."""
    shown = shown_url(url or path)
    if len(content) > MAX_DOCUMENT:
        return Entry(path=path, problem=f"{shown}: a document of more than {bytes_text(MAX_DOCUMENT)}")
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Entry(path=path, problem=f"{shown}: $: no JSON: {error}")
    return Entry(path=path, metadata=msgspec.Raw(content), url=url)


def unpacked(content: bytes, url: str, limit: int) -> bytes:
    """What a gzip file holds.

    Raises:
        RepositoryError: It is damaged, or holds more than the limit in bytes.
    """
    machine = zlib.decompressobj(31)
    try:
        plain = machine.decompress(content, limit)
    except zlib.error as error:
        raise RepositoryError(f"{shown_url(url)} is damaged: {error}", url) from error
    # A few bytes can become very many.
    if machine.unconsumed_tail or not machine.eof:
        what = "is cut off" if not machine.unconsumed_tail else f"holds more than {bytes_text(limit)}"
        raise RepositoryError(f"{shown_url(url)} {what}", url)
    return plain


def encoded(entries: list[Entry]) -> bytes:
    """A listing of entries.

    >>> encoded([Entry(path="model/a/metadata.json", problem="it is empty")])
    b'{"indexVersion":1,"documents":[{"path":"model/a/metadata.json","problem":"it is empty"}]}'
    """
    return msgspec.json.encode(_Listing(1, tuple(entries)))
