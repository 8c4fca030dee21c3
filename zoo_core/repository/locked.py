"""The artifacts of a lock file: what it says of them is all there is, and bytes come only with the digest that it pins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import msgspec

from zoo_core.artifact import MRL, ArtifactFile
from zoo_core.errors import RepositoryError, ZooError
from zoo_core.lockfile import Lock
from zoo_core.metadata import Metadata
from zoo_core.record import Source
from zoo_core.repository.base import Repository
from zoo_core.repository.local import url_path
from zoo_core.repository.package import SCHEME, resource_path
from zoo_core.store import key_of
from zoo_core.transfer import WEB_SCHEMES, Transfer
from zoo_core.wording import listing, printable, shown_url

#: The kinds of repository that ask for their files as everybody does.
_PLAIN = (*WEB_SCHEMES, SCHEME, "file")


class LockedRepository(Repository):
    """The locked artifacts of one repository, which itself is not asked.

    Args:
        lock: Its pins of this source are listed.
        source: The repository, as the lock names it.
        transfer: Fetches what lies on the web.
        folders: The folders that may be read on this machine: those that its user named. A lock names none.
        opened: Opens the repository itself, for addresses of its own kind.
    """

    # Of one repository every lock pins its own artifacts.
    _is_told_by_url = False

    def __init__(
        self,
        lock: Lock,
        source: Source,
        *,
        transfer: Transfer,
        folders: Callable[[], Iterable[Repository]],
        opened: Callable[[str], Repository],
    ) -> None:
        self.url = source.repository
        self._opened_as = source
        self._lock, self._transfer, self._folders, self._opened = lock, transfer, folders, opened

    def documents(self) -> Iterator[Metadata]:
        """A document for each model, with the artifacts that are locked of it."""
        found: dict[MRL, Metadata] = {}
        for pin in self._lock.pins:
            if pin.source == self._opened_as:
                first = found.setdefault(pin.metadata.mrl, pin.metadata)
                if pin.artifact not in first.artifacts:
                    joined = (*first.artifacts, pin.artifact)
                    found[first.mrl] = msgspec.structs.replace(first, artifacts=joined)
        yield from found.values()

    def fingerprint(self) -> str:
        """The digest of the lock."""
        return key_of(self._lock.to_json().decode() + self.url)

    def local_path(self, file: ArtifactFile) -> Path | None:
        """A resource of an installed package, or a file in a folder that the user named; None for all else."""
        return next((path for path in self._local_paths(file) if path.is_file()), None)

    def transfer_for(self, file: ArtifactFile) -> Transfer | None:
        """What fetches from the web; a repository of another kind may have a way of its own."""
        if urlsplit(self.url).scheme in _PLAIN:
            return self._transfer
        try:
            return self._opened(self.url).transfer_for(file)
        except ZooError:
            # What reads that kind is not installed, and the address may need none of it.
            return self._transfer

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """A file from its address, which is not on the web."""
        scheme = urlsplit(file.url).scheme
        if scheme in WEB_SCHEMES:
            return self._transfer.stream(file.url, offset)
        path = self.local_path(file)
        if path is not None:
            stream = path.open("rb")
            stream.seek(offset)
            return stream
        if scheme == SCHEME:
            # Says whether the package is missing or has no such file.
            raise RepositoryError(f"{resource_path(file.url)} is not there: the package was changed", file.url)
        if scheme == "file":
            raise RepositoryError(
                f"{shown_url(file.url)} lies in no folder that your own configuration or this call names, and the lock "
                f"{printable(str(self._lock.path))} alone reaches none: --repository FOLDER names one",
                file.url,
            )
        return self._opened(self.url).open(file, offset)

    def _local_paths(self, file: ArtifactFile) -> Iterator[Path]:
        scheme = urlsplit(file.url).scheme
        try:
            if scheme == SCHEME:
                yield resource_path(file.url)
        except RepositoryError:
            # Its content may be in the cache; where it is not, `open` says what is missing.
            return
        for folder in self._folders() if scheme == "file" else ():
            try:
                path = folder.local_path(file)
            except RepositoryError:
                continue
            # One that is a single file has that for every address.
            if path is not None and path == Path(os.path.normpath(url_path(file.url))):
                yield path


class SuppliedRepository(Repository):
    """The same artifacts, whose bytes come from other repositories, by their digests.

    Args:
        suppliers: Are asked in their order, and then nobody else.
    """

    def __init__(self, locked: Repository, suppliers: Iterable[Repository]) -> None:
        self.url = locked.url
        self._opened_as = locked._opened_as
        self._locked, self._suppliers = locked, tuple(suppliers)
        self._known: Mapping[str, tuple[Repository, ArtifactFile]] | None = None

    def documents(self) -> Iterable[Metadata]:
        """Those of the lock."""
        return self._locked.documents()

    def fingerprint(self) -> str:
        """That of the lock."""
        return self._locked.fingerprint()

    def local_path(self, file: ArtifactFile) -> Path | None:
        """What is read where it lies; what a supplier has is copied, as it may be gone tomorrow."""
        return self._locked.local_path(file)

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """A file of a supplier."""
        if self._known is None:
            self._known = self._digests()
        found = self._known.get(file.sha256 or "")
        if found is None:
            asked = listing(shown_url(repository.url) for repository in self._suppliers)
            raise RepositoryError(f"{asked}: there is no file with sha256:{file.sha256} ({shown_url(file.url)})", file.url)
        return found[0].open(found[1], offset)

    def _digests(self) -> dict[str, tuple[Repository, ArtifactFile]]:
        known: dict[str, tuple[Repository, ArtifactFile]] = {}
        for repository in self._suppliers:
            for metadata in repository.documents():
                for artifact in metadata.artifacts:
                    for file in artifact.files:
                        if file.sha256:
                            known.setdefault(file.sha256, (repository, file))
        return known
