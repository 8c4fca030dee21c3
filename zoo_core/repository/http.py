"""An HTTP(S) tree, listed by one request for its index.json."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urljoin, urlsplit
from warnings import warn

import msgspec

from zoo_core.address import FILE_SUFFIXES
from zoo_core.artifact import ArtifactFile
from zoo_core.errors import MetadataError, OfflineError, RepositoryError, ZooWarning
from zoo_core.metadata import Metadata
from zoo_core.repository.base import Repository
from zoo_core.repository.local import url_path
from zoo_core.transfer import Transfer, bounded_body
from zoo_core.wording import bytes_text, listing, shown_url

INDEX_NAME = "index.json"
#: Bytes of an index that are read; one of a million artifacts has some 400 MB.
MAX_INDEX = 512 << 20


class KnownIndex(Protocol):
    """The last index that was seen of a repository, kept on this machine."""

    def read(self) -> tuple[bytes, str, float] | None:
        """Its content, its ETag and its age in seconds; None where none was seen."""

    def write(self, content: bytes, etag: str) -> None:
        """Keep a new one, or the same one as seen now."""


class IndexEntry(msgspec.Struct, frozen=True):
    """One document in an index."""

    path: str
    metadata: msgspec.Raw
    sha256: str = ""


class Index(msgspec.Struct, frozen=True):
    """``index.json``: the documents of a whole repository in one file."""

    indexVersion: int  # noqa: N815 - the format's own spelling
    documents: tuple[IndexEntry, ...]


class HttpRepository(Repository):
    """A tree of documents and files under an http(s) address.

    Args:
        url: The root.
        known: Keeps the index between processes.
        max_age_s: Seconds for which a known index is used without asking.
    """

    is_remote = True

    def __init__(self, url: str, *, transfer: Transfer, known: KnownIndex, max_age_s: float) -> None:
        self.url = url
        self._root = url if url.endswith("/") else f"{url}/"
        self._transfer, self._known, self._max_age_s = transfer, known, max_age_s
        self._problems: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """The documents of the index that could not be read, a message each."""
        return self._problems

    def documents(self) -> Iterator[Metadata]:
        """All documents of the index; a malformed one is put into `problems`."""
        problems = []
        address = urljoin(self._root, INDEX_NAME)
        for entry in _decoded(self._index(), address).documents:
            try:
                yield Metadata.from_json(bytes(entry.metadata), urljoin(self._root, quote(entry.path)), path=entry.path)
            except MetadataError as error:
                problems.append(shown_url(str(error)))
        self._problems = tuple(problems)

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """The body of a file's address, from an offset on."""
        return self._transfer.stream(file.url, offset)

    def transfer_for(self, file: ArtifactFile) -> Transfer:
        """What fetches its files from the web."""
        return self._transfer

    def fingerprint(self) -> str:
        """The digest of the index."""
        return hashlib.sha256(self._index()).hexdigest()

    def _index(self) -> bytes:
        known = self._known.read()
        if known is not None and known[2] < self._max_age_s:
            return known[0]
        try:
            return self._revalidated(known)
        # What a captive portal answers is no index, and must not hide the known one either.
        except (RepositoryError, MetadataError) as error:
            if known is None:
                raise _without_index(self.url, error) from error
            if not isinstance(error, OfflineError):
                warn(f"{error}; using the index of {known[2] / 3600:.1f} hours ago", ZooWarning, stacklevel=2)
            return known[0]

    def _revalidated(self, known: tuple[bytes, str, float] | None) -> bytes:
        address = urljoin(self._root, INDEX_NAME)
        # An index says what every digest is, so only mirrors that the user's own configuration names give one.
        *mirrors, _ = self._transfer.addresses(address, is_pinned=False)
        for mirror in mirrors:
            # What a mirror fails to give, the repository itself may.
            with suppress(RepositoryError, MetadataError):
                return self._taken(mirror, known, is_first=mirror == mirrors[0])
        return self._taken(address, known, is_first=not mirrors)

    def _taken(self, address: str, known: tuple[bytes, str, float] | None, *, is_first: bool) -> bytes:
        """The index at an address, which is the known one from now on."""
        if urlsplit(address).scheme == "file":
            content, etag = _file_content(address), ""
        else:
            # A tag is its server's own: another one may give the same to something else.
            headers = {"If-None-Match": known[1]} if known and known[1] and is_first else {}
            with self._transfer.open(address, headers) as response:
                content = known[0] if known and response.status_code == 304 else bounded_body(response, address, MAX_INDEX)
                etag = response.headers.get("ETag", known[1] if known else "") if is_first else ""
        _decoded(content, address)
        self._known.write(content, etag)
        return content


def _file_content(address: str) -> bytes:
    try:
        with url_path(address).open("rb") as stream:
            content = stream.read(MAX_INDEX + 1)
    except (OSError, ValueError) as error:
        raise RepositoryError(f"{shown_url(address)}: {getattr(error, 'strerror', None) or error}", address) from error
    if len(content) > MAX_INDEX:
        raise RepositoryError(f"{shown_url(address)}: more than {bytes_text(MAX_INDEX)} are there", address)
    return content


def _without_index(url: str, error: RepositoryError | MetadataError) -> RepositoryError | MetadataError:
    if isinstance(error, RepositoryError) and error.status == 404:
        is_like_file = "." in urlsplit(url).path.rpartition("/")[2]
        hint = f". The address of one file ends in {listing(FILE_SUFFIXES, limit=len(FILE_SUFFIXES))}" if is_like_file else ""
        return RepositoryError(
            f"{error}: {shown_url(url)} is no repository, or its owner has not run `zoo index` on it{hint}", url, 404
        )
    return error


def _decoded(content: bytes, url: str) -> Index:
    try:
        index: Any = msgspec.json.decode(content, type=Index)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MetadataError(f"{shown_url(url)}: no index: {error}", url=url, field="$") from error
    if index.indexVersion != 1:
        raise MetadataError(
            f"{shown_url(url)}: $.indexVersion: expected 1, found {index.indexVersion}", url=url, field="$.indexVersion"
        )
    return index  # type: ignore[no-any-return]  # msgspec's decode is typed Any for a tuple of Raw
