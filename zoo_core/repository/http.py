"""An HTTP(S) tree, listed by one request for its index."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import IO
from urllib.parse import quote, urljoin, urlsplit

from zoo_core.address import FILE_SUFFIXES
from zoo_core.errors import MetadataError, RepositoryError
from zoo_core.metadata import MAX_DOCUMENT, Metadata
from zoo_core.repository.base import Listing
from zoo_core.repository.listed import ListedRepository, fetched, index_listing, parts_of, put, spool
from zoo_core.repository.local import url_path
from zoo_core.transfer import CHUNK, Body, Transfer
from zoo_core.wording import listing, shown_url

INDEX_NAME = "index.json"
#: What an index may be called, in the order in which they are asked for where it is not known.
INDEX_NAMES = (INDEX_NAME, f"{INDEX_NAME}.gz")


class HttpRepository(ListedRepository):
    """A tree of documents and files under an http(s) address.

    Args:
        url: The root.
        max_index_size: Bytes that its index may have.
    """

    def __init__(self, url: str, *, transfer: Transfer, max_index_size: int | None = None) -> None:
        super().__init__(url, transfer=transfer, max_index_size=max_index_size)
        self._root = url if url.endswith("/") else f"{url}/"

    def fingerprint(self) -> str:
        """What its server says of the index, or else a digest of it."""
        with self.listing() or Listing() as listing:
            return listing.state.get("etag") or listing.state.get("last_modified") or listing.state.get("sha256", "")

    def listing(self, known: Mapping[str, str] | None = None) -> Listing | None:
        """The index, by one request, which the server answers in a few bytes where nothing has changed.

        Without one, what can be read else: see `zoo_core.repository.djl`.
        """
        try:
            return self._listed(known)
        except RepositoryError as error:
            # What serves a store without showing what it has answers 403.
            if error.status not in (403, 404):
                raise
            missing = error
        # Most repositories have an index, and no search needs this then.
        from zoo_core.repository.djl import listing_of

        try:
            return listing_of(self._root, self._transfer, known or {})
        except RepositoryError as error:
            if error.status != 404:
                raise
        if missing.status == 403:
            raise missing
        raise _no_repository(self.url, missing) from missing

    def document(self, metadata: Metadata) -> bytes:
        """The document at its address."""
        return fetched(self._transfer, metadata.url, MAX_DOCUMENT)

    def decoded(self, path: str, content: bytes) -> Metadata:
        """A document of the index, with the address that it has in the repository."""
        # Alone in the address of a model's own folder, where it lies is told by that.
        place = path if "/" in path else None
        return Metadata.from_json(content, urljoin(self._root, quote(path)), path=place)

    def _listed(self, known: Mapping[str, str] | None) -> Listing | None:
        known = known or {}
        names = sorted(INDEX_NAMES, key=lambda name: name != known.get("name"))
        for name in names[:-1]:
            try:
                return self._named(name, known)
            except RepositoryError as error:
                if error.status != 404:
                    raise
                missing = error
        try:
            return self._named(names[-1], known)
        except RepositoryError as error:
            # What is said is said of the first name, which everyone knows.
            raise (missing if error.status == 404 else error) from error

    def _named(self, name: str, known: Mapping[str, str]) -> Listing | None:
        address = urljoin(self._root, name)
        # An index says what every digest is, so only mirrors that the user's own configuration names give one.
        *mirrors, _ = self._transfer.addresses(address, is_pinned=False)
        for mirror in mirrors:
            # What a mirror fails to give, the repository itself may.
            with suppress(RepositoryError, MetadataError):
                return self._taken(mirror, name, known)
        return self._taken(address, name, known)

    def _taken(self, address: str, name: str, known: Mapping[str, str]) -> Listing | None:
        """The index at an address; None where it is the known one."""
        # A tag is its server's own: another one may give the same to something else. An address may hold a password.
        place = hashlib.sha256(address.encode()).hexdigest()
        asked = known if known.get("address") == place else {}
        with ExitStack() as stack:
            file = spool(stack)
            found = self._fetched(address, asked, file)
            if found is None:
                return None
            state = {"name": name, "address": place, **found}
            return index_listing(file, address, state, stack.pop_all(), max_size=self._max_index_size)

    def _fetched(self, address: str, known: Mapping[str, str], spool: IO[bytes]) -> dict[str, str] | None:
        """Put an index into a file; None where it has not changed."""
        if urlsplit(address).scheme == "file":
            with _reading(address), url_path(address).open("rb") as stream:
                said, sha256 = {}, self._kept(iter(lambda: stream.read(CHUNK), b""), spool, address)
        else:
            headers = {"Accept-Encoding": "gzip"}
            headers |= {"If-None-Match": known["etag"]} if known.get("etag") else {}
            headers |= {"If-Modified-Since": known["last_modified"]} if known.get("last_modified") else {}
            with self._transfer.open(address, headers) as response:
                if response.status_code == 304:
                    return None
                body = Body(response, address, 0, None, self._transfer)
                sha256 = self._kept(parts_of(body, address), spool, address)
                said = {"etag": response.headers.get("ETag", ""), "last_modified": response.headers.get("Last-Modified", "")}
        # What was sent without need is not taken in anew.
        return None if known.get("sha256") == sha256 else {**said, "sha256": sha256}

    def _kept(self, parts: Iterable[bytes], spool: IO[bytes], address: str) -> str:
        """Write what comes, but not more than an index may have; gives its digest."""
        digest = hashlib.sha256()

        def hashed() -> Iterator[bytes]:
            for part in parts:
                digest.update(part)
                yield part

        put(hashed(), spool, address, self._max_index_size)
        return digest.hexdigest()


def _no_repository(url: str, missing: RepositoryError) -> RepositoryError:
    is_like_file = "." in urlsplit(url).path.rpartition("/")[2]
    hint = f". The address of one file ends in {listing(FILE_SUFFIXES, limit=len(FILE_SUFFIXES))}" if is_like_file else ""
    return RepositoryError(
        f"{missing}: {shown_url(url)} is no repository, or its owner has not run `zoo index` on it{hint}", url, 404
    )


@contextmanager
def _reading(address: str) -> Iterator[None]:
    try:
        yield
    except RepositoryError:
        raise
    except (OSError, ValueError) as error:
        raise RepositoryError(f"{shown_url(address)}: {getattr(error, 'strerror', None) or error}", address) from error
