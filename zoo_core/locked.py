"""What a zoo with a lock file sees: exactly the locked artifacts, with the trust that this machine has without the lock."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import msgspec

from zoo_core.address import address_of
from zoo_core.artifact import Artifact, ArtifactFile
from zoo_core.criteria import Criteria
from zoo_core.entry_points import normalised
from zoo_core.errors import IntegrityError, ModelNotFoundError, OfflineError, RepositoryError, ZooError
from zoo_core.lockfile import Lock, Pin, public_address, scheme_of
from zoo_core.places import Opener, Place
from zoo_core.record import ModelRecord, Source
from zoo_core.repository.base import Repository
from zoo_core.repository.locked import LockedRepository
from zoo_core.repository.package import SCHEME
from zoo_core.requirements import install_line
from zoo_core.store import digest_file
from zoo_core.transfer import Transfer
from zoo_core.wording import did_you_mean, listing, printable, shown_url


class Locked:
    """The places of a lock.

    Args:
        own: The repositories that are installed and configured here, which only say what they know of a locked artifact.
        published: Gives the artifacts that one of them has of a record's model, each with its files.
        opened: Opens a repository by its address.
    """

    def __init__(
        self,
        lock: Lock,
        own: Sequence[Place],
        published: Callable[[Place, ModelRecord], Iterable[Artifact]],
        *,
        opened: Opener,
        transfer: Transfer,
    ) -> None:
        self.lock = lock
        self._own, self._published, self._opened, self._transfer = own, published, opened, transfer

    @cached_property
    def places(self) -> list[Place]:
        """The locked artifacts, a place for each repository that the lock names, in its order."""
        return [self._place(source) for source in dict.fromkeys(pin.source for pin in self.lock.pins)]

    def named(self, names: Sequence[str | Path]) -> list[Place]:
        """The places of those repositories that a call names.

        Raises:
            RepositoryError: The lock has nothing of one of them.
        """
        known = [place.source for place in self.places]
        found: dict[Source, Place] = {}
        for name in names:
            meant = [source for source in known if _is_called(source, str(name), self._own)]
            if not meant:
                sources = sorted({source.name for source in known})
                raise RepositoryError(
                    f"{self._shown} locks nothing of the repository {shown_url(str(name))}{did_you_mean(str(name), sources)}. "
                    f"It has some of: {listing(map(shown_url, sources)) or 'none'}",
                    str(name),
                )
            found |= {source: self._place(source, is_named=True) for source in meant}
        return list(found.values())

    def counterpart(self, record: ModelRecord) -> ModelRecord:
        """The locked record that is the one given.

        Raises:
            ModelNotFoundError: It is not locked.
        """
        for pin in self.lock.pins:
            if pin.metadata.mrl == record.mrl and is_same(record.artifact, pin.artifact):
                return msgspec.structs.replace(record, source=pin.source, metadata=pin.metadata, artifact=pin.artifact)
        raise ModelNotFoundError(
            f"{printable(record.reference)} as it was found is not locked in {self._shown}; to lock it: "
            f"{lock_line(Criteria(group_id=record.group_id, artifact_id=record.artifact_id), self.lock.path)}"
        )

    def vouched(self, record: ModelRecord, files: Mapping[str, Path] | None = None) -> ModelRecord:
        """A locked record as one of the repository that the lock names, if that is known here and has it too.

        A lock could claim any file to be from a repository that the user trusts, so the repository itself is asked.

        Args:
            files: Its verified files by key; None: they are not here, and only what needs no network is asked.
        """
        for place in self._own if record.source.is_claimed else ():
            # One that cannot be asked vouches for nothing.
            with contextlib.suppress(ZooError):
                if self._is_from(record, place.source) and self._has(place, record, files):
                    return msgspec.structs.replace(record, source=place.named().source)
        return record

    def _folders(self) -> list[Repository]:
        """The folders that may be read in place: what the user's own configuration names, never what the lock does."""
        found = []
        for place in self._own:
            if place.source.is_configured and scheme_of(place.source.repository) == "file":
                with contextlib.suppress(ZooError):
                    found.append(place.open())
        return found

    def not_found(self, error: ModelNotFoundError, criteria: Criteria) -> ModelNotFoundError:
        """The error for a question that no locked artifact answers: where it was looked for, and how to lock one."""
        first, _, rest = str(error).partition("\n")
        if error.explanation is not None and not error.explanation.refused:
            first = f"no model matches {printable(repr(criteria).removeprefix('Criteria'))}: none is locked"
        first = f"{first} (in the lock {self._shown}; to lock another: {lock_line(criteria, self.lock.path)})"
        return ModelNotFoundError("\n".join(filter(None, [first, rest])), error.explanation)

    def explained(self, error: IntegrityError | OfflineError, record: ModelRecord) -> IntegrityError | OfflineError:
        """What it means here that a file cannot be had: it was not synced, or an installed package has other bytes."""
        if isinstance(error, OfflineError):
            return OfflineError(
                f"files of {printable(record.reference)} in the lock {self._shown} are not on this machine, and offline mode "
                f"forbids the network; with one: zoo sync --lock {printable(shlex.quote(str(self.lock.path)))}",
                error.url,
            )
        pin = next((pin for pin in self.lock.pins if pin.metadata.mrl == record.mrl and pin.artifact == record.artifact), None)
        if pin is None or not any(file.url.startswith(f"{SCHEME}://") for file in record.files):
            return error
        packages = [f"{name}=={version}" for name, version in pin.packages.items() if version]
        remedy = f"; it was locked with: {install_line(packages)}" if packages else ""
        return IntegrityError(
            f"{error}. {self._shown} pins the bytes of a package that is installed with others{remedy}. "
            f"To lock anew: zoo lock --upgrade {printable(record.reference)}",
            expected=error.expected,
            found=error.found,
            url=error.url,
        )

    @property
    def _shown(self) -> str:
        return printable(str(self.lock.path))

    def _place(self, source: Source, *, is_named: bool = False) -> Place:
        def folders() -> list[Repository]:
            named = [self._opened(source.repository)] if is_named and scheme_of(source.repository) == "file" else []
            return [*named, *self._folders()]

        def opened() -> Repository:
            return LockedRepository(
                self.lock, source, transfer=self._transfer, folders=folders, itself=lambda: self._itself(source)
            )

        return Place(source, opened)

    def _itself(self, source: Source) -> Repository:
        """A repository that the lock names: the one that this zoo has, as a plugin's own opens by no address; else by that."""
        carriers = self._carriers(pin for pin in self.lock.pins if pin.source == source)
        for place in self._own:
            if _has_address(place.source, source) and normalised(place.source.distribution) in carriers:
                with contextlib.suppress(ZooError):
                    return place.open()
        return self._opened(source.repository)

    def _has(self, place: Place, record: ModelRecord, files: Mapping[str, Path] | None) -> bool:
        """Whether a repository publishes what a locked record is."""
        if files is None and place.open().is_remote:
            return False
        return any(is_same(own, record.artifact, files) for own in self._published(place, record))

    def _is_from(self, record: ModelRecord, source: Source) -> bool:
        pins = (pin for pin in self.lock.pins if pin.source == record.source and pin.metadata.mrl == record.mrl)
        return _has_address(source, record.source) and normalised(source.distribution) in self._carriers(pins)

    @staticmethod
    def _carriers(pins: Iterable[Pin]) -> set[str]:
        return {normalised(pin.distribution) for pin in pins}


def _has_address(own: Source, locked: Source) -> bool:
    """Whether a repository has the address that a lock names, which has no user and password."""
    return public_address(own.repository).rstrip("/") == locked.repository.rstrip("/")


def _is_called(source: Source, name: str, own: Sequence[Place]) -> bool:
    """Whether a name or an address is that of a repository in a lock; a name of zoo.toml means its address."""
    aliases = {place.source.repository for place in own if name in (place.source.name, place.source.distribution)}
    meant = {public_address(url).rstrip("/") for url in (address_of(name), *aliases)}
    return source.repository.rstrip("/") in meant or name == source.name or normalised(source.name) == normalised(name)


def is_same(published: Artifact, locked: Artifact, files: Mapping[str, Path] | None = None) -> bool:
    """Whether a repository's artifact is a locked one: all that it says but addresses and sizes, and the same bytes.

    Args:
        files: Those of the locked artifact, by key, to be compared where the repository gives no sha256.
    """
    bare = [msgspec.structs.replace(artifact, files=()) for artifact in (published, locked)]
    if bare[0] != bare[1] or len(published.files) != len(locked.files):
        return False
    return all(
        own.key == pinned.key and own.name == pinned.name and own.type == pinned.type and _same_bytes(own, pinned, files or {})
        for own, pinned in zip(published.files, locked.files, strict=True)
    )


def _same_bytes(own: ArtifactFile, pinned: ArtifactFile, files: Mapping[str, Path]) -> bool:
    if own.sha256:
        return own.sha256 == pinned.sha256
    path = files.get(own.key)
    # The sha1 in a lock is the lock's word; that of the bytes is what counts. Of an archive they are not here any more.
    if not own.sha1 or path is None or not path.is_file():
        return False
    found = digest_file(path)
    return found.sha1 == own.sha1 and found.sha256 == pinned.sha256


def lock_line(criteria: Criteria, path: Path) -> str:
    """The command that locks what is asked.

    >>> lock_line(Criteria(artifact_id="net", version=">=1", filters={"layers": 50}), Path("zoo.lock"))
    "zoo lock 'net@>=1' --filter layers=50 -o zoo.lock"
    """
    words = ["zoo", "lock"]
    if criteria.artifact_id:
        version = f"@{criteria.version}" if criteria.version else ""
        words.append("/".join(filter(None, [criteria.group_id, criteria.artifact_id])) + version)
    else:
        words += ["--group", criteria.group_id] if criteria.group_id else []
        words += ["--version", criteria.version] if criteria.version else []
    words += ["--application", criteria.application] if criteria.application else []
    words += ["--engine", criteria.engine] if criteria.engine else []
    for name, value in sorted(criteria.filters.items()):
        words += ["--filter", f"{name}={value}"]
    return printable(" ".join(map(shlex.quote, [*words, "-o", str(path)])))
