"""The artifacts of a lock file: what it says of them is all there is, and bytes come only with the digest that it pins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import msgspec

from zoo_core.artifact import MRL, ArtifactFile
from zoo_core.entry_points import guarded
from zoo_core.errors import RepositoryError, ZooError
from zoo_core.lockfile import Lock
from zoo_core.metadata import Metadata
from zoo_core.record import Source
from zoo_core.repository.base import Repository
from zoo_core.repository.local import url_path
from zoo_core.repository.package import SCHEME, resource_path
from zoo_core.sources import Parts
from zoo_core.store import key_of
from zoo_core.transfer import WEB_SCHEMES, Transfer
from zoo_core.wording import listing, printable, shown_url

#: The kinds of repository that ask for their files as everybody does.
PLAIN = (*WEB_SCHEMES, SCHEME, "file")


class LockedRepository(Repository):
    """The locked artifacts of one repository, which itself is not asked.

    Args:
        lock: Its pins of this source are listed.
        source: The repository, as the lock names it.
        transfer: Fetches what lies on the web.
        folders: The folders that may be read on this machine: those that its user named. A lock names none.
        itself: Opens the repository itself, for addresses of its own kind.
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
        itself: Callable[[], Repository],
    ) -> None:
        self.url = source.repository
        self._opened_as = source
        self._lock, self._transfer, self._folders, self._open_itself = lock, transfer, folders, itself

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
        itself = self._other_kind
        return self._transfer if itself is None else itself.transfer_for(file)

    @property
    def has_parts(self) -> bool:  # type: ignore[override]  # what it is shows when the repository itself is opened
        """Whether the repository itself gives parts of its files."""
        itself = self._other_kind
        return itself is not None and itself.has_parts

    def parts_of(self, file: ArtifactFile) -> Parts:
        """What reads any part of a file of the repository itself."""
        return self._itself.parts_of(file)

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """A file from its address, which is not on the web."""
        scheme = urlsplit(file.url).scheme
        if scheme in WEB_SCHEMES:
            # What a plugin brings may reach the web in a way of its own.
            itself = self._other_kind
            return self._transfer.stream(file.url, offset) if itself is None else itself.open(file, offset)
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
        return self._itself.open(file, offset)

    @cached_property
    def _itself(self) -> Repository:
        return self._open_itself()

    @property
    def _other_kind(self) -> Repository | None:
        """The repository itself, where it has another way to its files; None where that is not installed."""
        if urlsplit(self.url).scheme in PLAIN:
            return None
        try:
            return self._itself
        except ZooError:
            # An address may need none of it.
            return None

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


class Supplier(Repository):
    """A repository whose files are copied, as it may be gone tomorrow, and fetched as it fetches them.

    Args:
        url: What names it in messages.
        opened: Opens it, once it is asked.
    """

    def __init__(self, url: str, opened: Callable[[], Repository]) -> None:
        self.url, self._opened = url, opened

    @cached_property
    def _repository(self) -> Repository:
        return self._opened()

    @property
    def has_parts(self) -> bool:  # type: ignore[override]  # it is opened to tell
        """Whether it gives parts of its files."""
        return self._repository.has_parts

    def is_gone(self, error: ZooError) -> bool:
        """Whether an error says that a server does not answer, so that its other files need not be asked for."""
        return self._repository.is_remote and isinstance(error, RepositoryError) and error.status is None

    @cached_property
    def _known(self) -> tuple[dict[str, ArtifactFile], ZooError | None]:
        """Its files by their digests, and what kept it from being read whole."""
        known: dict[str, ArtifactFile] = {}
        try:
            with guarded(f"repository {shown_url(self.url)} raised", ZooError):
                for metadata in self._repository.documents():
                    for artifact in metadata.artifacts:
                        known |= {file.sha256: file for file in artifact.files if file.sha256 and file.sha256 not in known}
        except ZooError as error:
            return known, error
        return known, None

    @property
    def error(self) -> ZooError | None:
        """What kept it from being read whole; None where nothing did."""
        return self._known[1]

    def file_of(self, wanted: ArtifactFile) -> ArtifactFile | None:
        """A file with the addresses that it has here; None where this repository has no such bytes."""
        own = self._known[0].get(wanted.sha256 or "")
        return None if own is None else msgspec.structs.replace(wanted, uri=own.uri, url=own.url, mirrors=own.mirrors)

    def documents(self) -> Iterable[Metadata]:
        """Those of the repository."""
        return self._repository.documents()

    def fingerprint(self) -> str:
        """That of the repository."""
        return self._repository.fingerprint()

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """One of its files."""
        return self._repository.open(file, offset)

    def transfer_for(self, file: ArtifactFile) -> Transfer | None:
        """What fetches it."""
        return self._repository.transfer_for(file)

    def parts_of(self, file: ArtifactFile) -> Parts:
        """What reads any part of it."""
        return self._repository.parts_of(file)


class SuppliedRepository(Repository):
    """The same artifacts, whose bytes come from other repositories, by their digests.

    Args:
        suppliers: Are asked in their order, and then nobody else.
    """

    def __init__(self, locked: Repository, suppliers: Sequence[Supplier]) -> None:
        self.url = locked.url
        self._opened_as = locked._opened_as
        self._locked, self.suppliers = locked, suppliers

    def documents(self) -> Iterable[Metadata]:
        """Those of the lock."""
        return self._locked.documents()

    def fingerprint(self) -> str:
        """That of the lock."""
        return self._locked.fingerprint()

    def local_path(self, file: ArtifactFile) -> Path | None:
        """What is read where it lies."""
        return self._locked.local_path(file)

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        """A file of the first supplier that opens it."""
        errors: list[ZooError] = []
        for supplier in self.suppliers:
            found = supplier.file_of(file)
            if found is None:
                errors += [supplier.error] if supplier.error is not None else []
                continue
            try:
                return supplier.open(found, offset)
            except RepositoryError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        asked = listing(shown_url(supplier.url) for supplier in self.suppliers)
        raise RepositoryError(f"{asked}: there is no file with sha256:{file.sha256} ({shown_url(file.url)})", file.url)
