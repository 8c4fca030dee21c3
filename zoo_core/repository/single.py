"""One file or one archive as a repository of one model, known by its address alone; nothing is asked to list it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

from zoo_core.address import ARCHIVE_SUFFIXES, FILE_SUFFIXES, Address, described
from zoo_core.artifact import ArtifactFile
from zoo_core.errors import MetadataError, RepositoryError
from zoo_core.metadata import Metadata
from zoo_core.repository.base import Repository
from zoo_core.repository.local import stream_at, url_path
from zoo_core.transfer import Transfer
from zoo_core.wording import listing, printable, shown_url

#: Where its document would lie, if that were any of the places that say something.
_PATH = "address/metadata.json"


class SingleRepository(Repository):
    """The address of one file: an archive that becomes a folder, or a file that holds parameters or a program.

    Its document is made of the address: the artifact id is the file's name without its suffix, the version is absent, and the
    group id is the address's own, so that no two addresses claim one.

    Args:
        address: ``https://...`` or ``file://...``.
        transfer: Fetches it.
    """

    def __init__(self, address: Address, *, transfer: Transfer) -> None:
        self.url = address.url
        self._address, self._transfer = address, transfer
        self._path = url_path(address.url) if urlsplit(address.url).scheme == "file" else None

    def documents(self) -> Iterator[Metadata]:
        """The one document that the address stands for.

        Raises:
            RepositoryError: On this machine there is no such file, or its name does not tell what it is.
        """
        self._check()
        try:
            yield Metadata.from_json(json.dumps(self._document()).encode(), self.url, path=_PATH)
        except MetadataError as error:
            raise RepositoryError(
                f"{shown_url(self.url)} cannot stand for a model: {shown_url(str(error)).rpartition(': ')[2]}", self.url
            ) from error

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """The file, from an offset on."""
        if self._path is None:
            return self._transfer.stream(file.url, offset)
        return stream_at(self._path, self.url, offset)

    def transfer_for(self, file: ArtifactFile) -> Transfer:
        """What fetches it."""
        return self._transfer

    def local_path(self, file: ArtifactFile) -> Path | None:
        """Where it lies, if that is on this machine."""
        return self._path

    def fingerprint(self) -> str:
        """A digest of the address, of which alone the document is made."""
        return hashlib.sha256(json.dumps(self._document()).encode()).hexdigest()

    def _check(self) -> None:
        if self._path is not None and not self._path.is_file():
            raise RepositoryError(f"{printable(str(self._path))}: there is no such file", self.url)
        if not self._address.is_file:
            raise RepositoryError(
                f"{shown_url(self.url)} is no folder, and no file of a known kind: one that ends in "
                f"{listing(FILE_SUFFIXES, limit=len(FILE_SUFFIXES))}",
                self.url,
            )

    def _document(self) -> dict[str, Any]:
        said = described(self._address)
        parts = urlsplit(self.url)
        # A relative address: that of a file on this machine, or one with a password, is no document's to name.
        is_relative = self._path is not None or "@" in parts.netloc
        name = parts.path.rpartition("/")[2]
        uri = urlunsplit(("", "", f"./{name}", parts.query, "")) if is_relative else self.url
        item: dict[str, Any] = {"uri": uri, "sha256": self._address.sha256}
        if self._address.file_name.lower().endswith(ARCHIVE_SUFFIXES):
            item["name"] = ""
        if self._path is not None:
            item["size"] = self._path.stat().st_size
        return {
            "metadataVersion": "0.2",
            "application": said["application"],
            "groupId": f"file.{self._own_id()}",
            "artifactId": said["artifact_id"],
            "artifacts": [{"name": said["model_name"], "properties": self._address.properties, "files": {"model": item}}],
        }

    def _own_id(self) -> str:
        """What tells this address from others."""
        parts = urlsplit(self.url)
        place = [parts.scheme, parts.netloc.rpartition("@")[2].lower(), parts.path, self._address.identity]
        return hashlib.sha256(json.dumps(place).encode()).hexdigest()[:12]
