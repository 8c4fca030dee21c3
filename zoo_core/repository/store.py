"""An object store that fsspec reaches: S3, Google Cloud Storage, Azure, and others of their kind."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import os
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any, BinaryIO, cast
from urllib.parse import quote, unquote, urlsplit

from zoo_core.artifact import ArtifactFile
from zoo_core.errors import OfflineError, PackageNotInstalledError, RepositoryError, ZooError
from zoo_core.metadata import DOCUMENT_NAME, MAX_DOCUMENT, TYPES, Metadata
from zoo_core.repository.base import Entry, Listing
from zoo_core.repository.http import INDEX_NAME, INDEX_NAMES
from zoo_core.repository.kinds import STORES
from zoo_core.repository.listed import ListedRepository, ReadAhead, index_listing, put, spool
from zoo_core.repository.stream import too_large
from zoo_core.requirements import install_line
from zoo_core.sources import PART, Parts
from zoo_core.transfer import WEB_SCHEMES, Transfer
from zoo_core.wording import shown_url

EXTRA = "zoo-core[fsspec]"
#: Lives in the process, so that nothing of it is known to the next one, and no network is needed.
_HERE = "memory"
#: Documents of a store without an index, which are read one by one.
MAX_DOCUMENTS = 100_000
#: What fsspec's file systems tell of an object's state, each in its own words.
_STATE = (
    "ETag",
    "etag",
    "md5Hash",
    "content_md5",
    "generation",
    "LastModified",
    "last_modified",
    "updated",
    "mtime",
    "created",
)
#: The variables whose content no message shows.
_SECRET_NAME = re.compile(r"secret|token|password|credential|connection_string|sas|account_key", re.IGNORECASE)
_LONGEST_REASON = 300


class StoreRepository(ListedRepository):
    """A tree of documents and files below a prefix of an object store.

    Who asks is told by the environment and by the provider's own configuration files, as for the provider's own programs; no
    address and no document names a credential.

    Args:
        url: The prefix, such as ``s3://bucket/zoo``; its characters stand as they are, not percent-encoded.
        transfer: Fetches the files that its documents name on the web, and says whether the network is forbidden.
        max_index_size: Bytes that its index may have.

    Raises:
        RepositoryError: The address is none of a store.
        PackageNotInstalledError: What reaches that store is not installed.
    """

    has_parts = True

    def __init__(self, url: str, *, transfer: Transfer, max_index_size: int | None = None) -> None:
        super().__init__(url, transfer=transfer, max_index_size=max_index_size)
        self._scheme, _, place = url.partition("://")
        place = place.rstrip("/")
        _check_address(url, self._scheme, place)
        _check_installed(url, self._scheme)
        self.is_remote = self._scheme != _HERE
        self._root = f"{self._scheme}://{quote(place, safe='/@:')}/"

    def decoded(self, path: str, content: bytes) -> Metadata:
        """A document of the store."""
        return Metadata.from_json(content, self._root + quote(path), path=path)

    def fingerprint(self) -> str:
        """What the store says of the state of its index, or of all its documents."""
        with self._asking(self.url) as store:
            return _state(self._found(store))

    def listing(self, known: Mapping[str, str] | None = None) -> Listing | None:
        """The index, or all documents; one request tells where an index has not changed."""
        with self._asking(self.url) as store:
            found = self._found(store)
            state = _state(found)
            if known is not None and known.get("state") == state:
                return None
            if _name(found[0]) in INDEX_NAMES:
                return self._index(found[0], state)
            return Listing(self._gathered(found), {"state": state})

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """A file of the store or of the web, from an offset on."""
        if urlsplit(file.url).scheme in WEB_SCHEMES:
            return super().open(file, offset)
        return cast("BinaryIO", io.BufferedReader(_Stream(self.parts_of(file), offset), PART))

    def parts_of(self, file: ArtifactFile) -> Parts:
        """What reads any part of a file of the store."""
        path = self._path_of(file)
        with self._asking(file.url) as store:
            return _Object(self, file.url, path, store.info(path))

    def read(self, url: str, path: str, start: int, end: int) -> bytes:
        """Bytes of an object.

        Raises:
            OfflineError, RepositoryError: They cannot be had.
        """
        with self._asking(url) as store:
            return bytes(store.cat_file(path, start=start, end=end))

    def _path_of(self, file: ArtifactFile) -> str:
        """Where the store has a file."""
        inside = unquote(file.url.removeprefix(self._root))
        # A store takes dots for a name as good as any, and what lies on a disk behind it may not.
        is_plain = not any(part in ("", ".", "..") for part in inside.split("/")) and "\0" not in inside
        if not file.url.startswith(self._root) or not is_plain:
            raise RepositoryError(f"{file.uri!r} leads out of the repository {shown_url(self.url)}", file.url)
        return f"{self._prefix}/{inside}"

    # What it lists.

    def _found(self, store: Any) -> list[Mapping[str, Any]]:
        """Its index; without one all documents, in the order of their paths."""
        there = {_name(item): item for item in store.ls(self._prefix, detail=True)}
        # The smaller one first.
        index = next((there[name] for name in reversed(INDEX_NAMES) if name in there), None)
        if index is not None:
            return [index]
        found: list[Mapping[str, Any]] = []
        for kind in TYPES:
            below = store.find(f"{self._prefix}/{kind}", detail=True).values() if kind in there else ()
            found += (item for item in below if _name(item) == DOCUMENT_NAME)
        if not found:
            raise RepositoryError(
                f"{shown_url(self.url)} is no repository: there is neither {INDEX_NAME} nor a {DOCUMENT_NAME} below "
                "model/ or dataset/. Its owner runs `zoo index` on the folder and uploads it whole",
                self.url,
            )
        if len(found) > MAX_DOCUMENTS:
            raise RepositoryError(
                f"{shown_url(self.url)}: {len(found)} documents and no {INDEX_NAME}: its owner runs `zoo index`", self.url
            )
        return sorted(found, key=lambda item: str(item["name"]))

    def _index(self, item: Mapping[str, Any], state: str) -> Listing:
        address = self._root + _name(item)
        index = _Object(self, address, str(item["name"]), item)
        if index.size > self._max_index_size:
            raise too_large(address, self._max_index_size)
        with ExitStack() as stack:
            file = spool(stack)
            parts = (index.read(start, min(start + PART, index.size)) for start in range(0, index.size, PART))
            put(parts, file, address, self._max_index_size)
            return index_listing(file, address, {"state": state}, stack.pop_all(), max_size=self._max_index_size)

    def _gathered(self, found: Sequence[Mapping[str, Any]]) -> Generator[Entry]:
        """The documents, which are read one by one, many at once."""
        ahead = ReadAhead([str(item["name"]) for item in found], self._contents)
        for number, item in enumerate(found):
            path = str(item["name"]).removeprefix(self._prefix).lstrip("/")
            yield Entry(path, _state([item]).encode(), functools.partial(ahead.read, number))

    def _contents(self, paths: Sequence[str]) -> list[bytes | RepositoryError]:
        with self._asking(self.url) as store:
            # One byte more than a document may have, whatever the listing said of the size.
            ends = [MAX_DOCUMENT + 1] * len(paths)
            contents = store.cat_ranges(list(paths), [0] * len(paths), ends, on_error="return")
        return [
            content if isinstance(content, bytes) else RepositoryError(f"{self._scheme}://{path}: {_reason(content)}")
            for path, content in zip(paths, contents, strict=True)
        ]

    # The store itself.

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """What fsspec makes of the address: a file system, and the prefix in it."""
        import fsspec.core

        # Of their own: a listing that fsspec remembers is of another time, and an instance that is shared of other settings.
        return cast(
            "tuple[Any, str]", fsspec.core.url_to_fs(self.url.rstrip("/"), use_listings_cache=False, skip_instance_cache=True)
        )

    @property
    def _prefix(self) -> str:
        return self._opened[1].rstrip("/")

    @contextmanager
    def _asking(self, url: str) -> Iterator[Any]:
        """The store while it is asked; whatever its library raises becomes an error of ours, in one line."""
        if self.is_remote and self._transfer.is_offline():
            raise OfflineError(f"offline: {shown_url(url)} is not on this machine and offline mode forbids the network", url)
        try:
            yield self._opened[0]
        except ZooError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RepositoryError(f"{shown_url(url)}: there is nothing: {_reason(error)}", url, 404) from error
        except PermissionError as error:
            raise RepositoryError(f"{shown_url(url)}: the store refuses it: {_reason(error)}", url, 403) from error
        # Each store has a library of its own, and each library errors of its own.
        except Exception as error:
            raise RepositoryError(f"{shown_url(url)}: {_reason(error)}{_hint(self._scheme, error)}", url) from error


class _Object:
    """One object of a store; see `Parts`."""

    def __init__(self, repository: StoreRepository, url: str, path: str, item: Mapping[str, Any]) -> None:
        if item.get("type") == "directory" or item.get("size") is None:
            raise RepositoryError(f"{shown_url(url)}: there is no such file", url, 404)
        self.url, self.size, self.tag = url, int(item["size"]), _state([item])
        self._repository, self._path = repository, path

    def read(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` to before ``end``."""
        return self._repository.read(self.url, self._path, start, end) if start < end else b""


class _Stream(io.RawIOBase):
    """An object as a stream."""

    def __init__(self, parts: Parts, offset: int) -> None:
        self._parts, self._position = parts, offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._parts.read(self._position, min(self._position + len(buffer), self._parts.size))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _check_address(url: str, scheme: str, place: str) -> None:
    bucket = place.partition("/")[0]
    if not bucket or "::" in url or "\0" in url or any(part in (".", "..", "") for part in place.split("/")):
        raise RepositoryError(f"{shown_url(url)}: expected {scheme}://bucket or {scheme}://bucket/prefix", url)
    # Azure's addresses name container@account; elsewhere it is a user's name, perhaps with a password.
    if "@" in bucket and (scheme not in ("az", "abfs") or ":" in bucket):
        raise RepositoryError(
            f"{shown_url(url)}: an address holds no credential; the environment and the provider's configuration files do", url
        )


def _check_installed(url: str, scheme: str) -> None:
    module, distribution = STORES[scheme]
    missing = [name for name, found in ((EXTRA, "fsspec"), (distribution, module)) if importlib.util.find_spec(found) is None]
    if scheme == _HERE:
        missing = missing[:1]
    if missing:
        what = "fsspec" if scheme == _HERE else f"fsspec and {distribution}"
        raise PackageNotInstalledError(f"{shown_url(url)} is read by {what}: {install_line(missing)}", missing)


def _name(item: Mapping[str, Any]) -> str:
    return str(item["name"]).rstrip("/").rpartition("/")[2]


def _state(items: Sequence[Mapping[str, Any]]) -> str:
    """What changes when the content of any object does, as far as the store tells."""
    digest = hashlib.sha256()
    for item in items:
        said = [f"{key}={item[key]}" for key in _STATE if item.get(key) is not None]
        digest.update("\0".join([str(item["name"]), str(item.get("size")), *said, "\n"]).encode(errors="surrogatepass"))
    return digest.hexdigest()


def _hint(scheme: str, error: BaseException) -> str:
    """How a public bucket is read, where a library knows nobody to ask as; the others try that by themselves."""
    is_unknown = scheme in ("s3", "s3a") and type(error).__name__ == "NoCredentialsError"
    return ". A public bucket is read without any by FSSPEC_S3_ANON=true" if is_unknown else ""


def _reason(error: BaseException) -> str:
    """What a library says of its failure, in one short line, without any secret that the environment holds."""
    text = " ".join((str(error) or type(error).__name__).split())
    for name, value in os.environ.items():
        if len(value) >= 8 and re.search(
            r"secret|token|password|credential|connection_string|sas|account_key", name, re.IGNORECASE
        ):
            text = text.replace(value, "***")
    text = shown_url(text)
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."
