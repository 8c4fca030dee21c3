"""A folder, and the resources of an installed package, which are a folder too."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from zoo_core.artifact import ArtifactFile
from zoo_core.config import is_offline
from zoo_core.errors import MetadataError, RepositoryError
from zoo_core.metadata import DOCUMENT_NAME, MAX_DOCUMENT, TYPES, Metadata
from zoo_core.repository.base import Entry, Repository
from zoo_core.repository.package import SCHEME, package_folder, resource_path
from zoo_core.transfer import WEB_SCHEMES, Transfer
from zoo_core.wording import shown_url


class FolderRepository(Repository):
    """A folder that holds ``model/<application>/<group id, dots as slashes>/<artifact id>/metadata.json``.

    Args:
        root: The folder.
        url: What names it; None: the folder's own address.
        transfer: Fetches the files that its documents name on the web; None: one that heeds ``ZOO_OFFLINE``.
    """

    def __init__(self, root: Path, *, url: str | None = None, transfer: Transfer | None = None) -> None:
        # Addresses of files are resolved against it, and a `..` in it would not survive that.
        self.root = root.resolve()
        self.url = url or self.root.as_uri()
        self._transfer = transfer if transfer is not None else Transfer(is_offline=is_offline)
        self._problems: tuple[str, ...] = ()

    @classmethod
    def of_package(cls, name: str, *, transfer: Transfer | None = None) -> FolderRepository:
        """The resources of an installed package, by its dotted import name.

        Raises:
            RepositoryError: The package is not installed, or lies in no folder.
        """
        return cls(package_folder(name), url=f"{SCHEME}://{name}", transfer=transfer)

    @property
    def problems(self) -> tuple[str, ...]:
        """The documents that could not be read, a message each."""
        return self._problems

    def documents(self) -> Iterator[Metadata]:
        """All documents below the folder, in the order of their paths; a malformed one is put into `problems`."""
        problems = []
        for path in self.document_paths():
            try:
                yield self._document(path.relative_to(self.root).as_posix(), _content(path))
            except (MetadataError, RepositoryError) as error:
                problems.append(str(error))
        self._problems = tuple(problems)

    def entries(self) -> Iterator[Entry]:
        """All documents below the folder, in the order of their paths, with their sizes and times; none is read."""
        for path in self.document_paths():
            try:
                status = path.stat()
            except OSError:
                # Reading it says what is wrong.
                stamp = b""
            else:
                stamp = f"{status.st_size} {status.st_mtime_ns}".encode()
            yield Entry(path.relative_to(self.root).as_posix(), stamp, functools.partial(_content, path))

    def decoded(self, path: str, content: bytes) -> Metadata:
        """A document of the folder."""
        return self._document(path, content)

    def _document(self, path: str, content: bytes) -> Metadata:
        return Metadata.from_json(content, (self.root / path).as_uri(), path=path)

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """A file of the folder, of an installed package or of the web, from an offset on.

        A catalogue may come in a package while its weights are on a host: what opens a file is the scheme of its address.
        """
        if urlsplit(file.url).scheme in WEB_SCHEMES:
            return self._transfer.stream(file.url, offset)
        path = self.local_path(file)
        if path is None:
            raise RepositoryError(f"{shown_url(file.url)} does not lie in {self.url}", file.url)
        return stream_at(path, file.url, offset)

    def transfer_for(self, file: ArtifactFile) -> Transfer:
        """What fetches its files from the web."""
        return self._transfer

    def fingerprint(self) -> str:
        """A digest over the paths, sizes and times of the documents."""
        digest = hashlib.sha256()
        for path in self.document_paths():
            digest.update(f"{path}\0".encode(errors="surrogateescape"))
            # One that cannot be looked at is a problem of its own.
            with suppress(OSError):
                status = path.stat()
                digest.update(f"{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def local_path(self, file: ArtifactFile) -> Path | None:
        """The path of a file in the folder or in an installed package; None for one on the network.

        Raises:
            RepositoryError: The path leaves the repository, or the package is not installed.
        """
        scheme = urlsplit(file.url).scheme
        if scheme == SCHEME:
            return resource_path(file.url)
        if scheme != "file":
            return None
        path = Path(os.path.normpath(url_path(file.url)))
        if "\0" in str(path) or not path.is_relative_to(self.root):
            raise RepositoryError(f"{file.uri!r} leads out of the repository {self.url}", file.url)
        return path

    def without_documents(self) -> str:
        """The message that the folder holds no document."""
        return f"{self.root} holds no model/<application>/<group id>/<artifact id>/metadata.json"

    def document_paths(self) -> list[Path]:
        """The paths of all documents, sorted.

        Raises:
            RepositoryError: There is no such folder.
        """
        if not self.root.is_dir():
            raise RepositoryError(f"repository {self.url}: there is no folder {self.root}", self.url)
        return sorted(
            Path(folder, DOCUMENT_NAME)
            for kind in TYPES
            for folder, _, files in os.walk(self.root / kind)
            if DOCUMENT_NAME in files
        )


def _content(path: Path) -> bytes:
    """A document as it is written; one that is too large is refused by what decodes it, and not read as a whole before."""
    try:
        # A pipe would be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            raise RepositoryError(f"{path}: it is no file", str(path))
        with path.open("rb") as stream:
            return stream.read(MAX_DOCUMENT + 1)
    except OSError as error:
        raise RepositoryError(f"{path}: {error.strerror or error}", str(path)) from error


def stream_at(path: Path, url: str, offset: int) -> BinaryIO:
    """A file of this machine, from an offset on.

    Raises:
        RepositoryError: It cannot be read.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise RepositoryError(f"{path}: {error.strerror or error}", url) from error
    stream.seek(offset)
    return stream


def url_path(url: str) -> Path:
    """The path of a ``file://`` address."""
    path = unquote(urlsplit(url).path)
    # file:///C:/folder names C:/folder, without the slash that a path elsewhere begins with.
    return Path(path.lstrip("/") if os.name == "nt" else path)
