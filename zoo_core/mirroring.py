"""From a lock to a repository on disk that holds exactly the locked artifacts, for machines without a network.

model/.../metadata.json       the documents, whose addresses are relative
files/<sha256>/<name>         the files as they were transferred; what lies under a name never changes
index.json, index.json.gz     so that a web server can serve the folder as it is
zoo.lock                      the lock that was mirrored
zoo-mirror.json               what of all this is the mirror's own, and may be replaced by it
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import importlib_metadata
import msgspec

from zoo_core.artifact import MRL, Artifact, ArtifactFile
from zoo_core.atomic import atomic_file, remove
from zoo_core.cache import Cache
from zoo_core.entry_points import InstalledEntryPoints, normalised
from zoo_core.errors import CriteriaError, IntegrityError, MetadataError, PackageNotInstalledError, RepositoryError
from zoo_core.indexing import write_index
from zoo_core.locked import is_same
from zoo_core.lockfile import LOCK_NAME, Lock, Pin, document, document_path
from zoo_core.members import name_fault
from zoo_core.metadata import DOCUMENT_NAME, TYPES, UNSAFE_NAME, Metadata, archive_suffix
from zoo_core.record import ModelRecord
from zoo_core.repository.base import Repository
from zoo_core.repository.http import INDEX_NAME
from zoo_core.repository.package import SCHEME
from zoo_core.requirements import distribution_of, install_line
from zoo_core.store import CHUNK, digest_file
from zoo_core.syncing import Explain, Report, packages_of_pins, waits_for_package
from zoo_core.wording import listing, printable, shown_url

FILES = "files"
MANIFEST = "zoo-mirror.json"
_INDEXES = (INDEX_NAME, f"{INDEX_NAME}.gz")
#: Bytes of a manifest that are read.
_MAX_MANIFEST = 32 << 20


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """A mirror that was written.

    Attributes:
        path: Its folder.
        models: The references of its models.
        files: How many files it holds.
        size: Their bytes.
    """

    path: Path
    models: tuple[str, ...]
    files: int
    size: int

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"path": str(self.path), "models": list(self.models), "files": self.files, "size": self.size}


def mirror(
    lock: Lock,
    folder: Path,
    repository_of: Callable[[ModelRecord], Repository],
    cache: Cache,
    installed: InstalledEntryPoints,
    explain: Explain,
    report: Report,
) -> Mirrored:
    """Write the artifacts of a lock into a folder, or bring an earlier mirror there up to date.

    At every moment the folder is whole as a repository. Files of others in it stay as they are.

    Raises:
        CriteriaError: The folder holds documents of another repository, or a file of somebody else where one is to be written;
            or the lock has two of one version.
        IntegrityError, RepositoryError, OfflineError, CacheError: The files cannot be had.
        PackageNotInstalledError: They lie in a package that is not installed.
        MetadataError: An id cannot be a folder.
        OSError: The folder cannot be written.
    """
    if not lock.pins:
        raise CriteriaError(f"{printable(str(lock.path))} locks no model, so there is nothing to mirror")
    entries = _distinct(lock)
    content = lock.to_json()
    locked = {_place_of(file): file.sha256 or "" for pin, _ in entries for file in pin.record.files}
    target = _Target(folder)
    target.claim(
        {**locked, LOCK_NAME: hashlib.sha256(content).hexdigest()}, [document_path(pin.metadata.mrl) for pin, _ in entries]
    )
    carriers = _Carriers(installed)
    documents: dict[MRL, Metadata] = {}
    sizes: dict[str, int] = {}
    for pin, artifact in entries:
        record = pin.record
        try:
            found = cache.transferred(record, repository_of(record), record.files, progress=report())
        except IntegrityError as error:
            raise explain(error, record) from error
        except RepositoryError as error:
            missing, _ = packages_of_pins([pin])
            if missing and any(map(waits_for_package, record.files)):
                raise PackageNotInstalledError(f"{error}: {install_line(missing)}", missing) from error
            raise
        sizes |= {_place_of(file): target.copy(found[file.key], _place_of(file), file.sha256 or "") for file in record.files}
        relocated = msgspec.structs.replace(
            artifact,
            files=tuple(_relocated(file, sizes[_place_of(file)], record.mrl) for file in artifact.files),
            requires=carriers.others(artifact),
        )
        known = documents.setdefault(record.mrl, msgspec.structs.replace(pin.metadata, artifacts=()))
        documents[record.mrl] = msgspec.structs.replace(known, artifacts=(*known.artifacts, relocated))
    for place, text in _published(documents.values()).items():
        target.write(place, text)
    target.write(LOCK_NAME, content)
    target.finish()
    references = tuple(pin.record.reference for pin in lock.pins)
    return Mirrored(path=target.folder, models=references, files=len(sizes), size=sum(sizes.values()))


def _distinct(lock: Lock) -> list[tuple[Pin, Artifact]]:
    """What is mirrored, each version once, with what the address of its repository says of it, which a mirror has no more.

    Raises:
        CriteriaError: The lock has two of one version that differ, from two repositories.
    """
    found: dict[tuple[MRL, str | None, str], tuple[Pin, Artifact]] = {}
    for pin in lock.pins:
        artifact = msgspec.structs.replace(pin.artifact, arguments=pin.record.arguments)
        first, known = found.setdefault((pin.metadata.mrl, artifact.version, artifact.name), (pin, artifact))
        if not is_same(known, artifact):
            raise CriteriaError(
                f"{printable(str(lock.path))} has {printable(pin.record.reference)} twice, and not the same, from "
                f"{shown_url(first.repository)} and from {shown_url(pin.repository)}: one repository cannot hold both. "
                "Mirror each from a lock of its own"
            )
    return list(found.values())


class _Target:
    """The folder of a mirror: what it did not write is neither replaced nor deleted."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self._old = _own_paths(self.folder)
        self._new: set[str] = set()

    def claim(self, contents: Mapping[str, str], documents: Sequence[str]) -> None:
        """Note what is about to be written as the mirror's own, before any of it is there.

        Args:
            contents: Place -> sha256. A file of somebody else that is the same is used, and stays theirs.
            documents: The places of the documents.

        Raises:
            CriteriaError: Something of somebody else is in the way.
        """
        self._refuse_others()
        for place, sha256 in contents.items():
            path = self.folder / place
            if not path.parent.resolve().is_relative_to(self.folder):
                raise CriteriaError(f"{path} leads out of the mirror's folder")
            if place in self._old or not os.path.lexists(path):
                self._new.add(place)
            elif not (path.is_file() and digest_file(path).sha256 == sha256):
                raise CriteriaError(f"{path} is there and not the mirror's; choose another folder for the mirror")
        self._new |= {*documents, *_INDEXES}
        self._note(self._old | self._new)

    def copy(self, source: Path, place: str, sha256: str) -> int:
        """Bring a content to a place that is named by it, and give its size."""
        path = self.folder / place
        if not (path.is_file() and digest_file(path).sha256 == sha256):
            digest = hashlib.sha256()
            with source.open("rb") as stream, atomic_file(path) as copy:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
                if digest.hexdigest() != sha256:
                    raise IntegrityError(f"{source} changed while it was copied", expected=sha256, found=digest.hexdigest())
        return path.stat().st_size

    def write(self, place: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        path = self.folder / place
        if not (path.is_file() and path.read_bytes() == content):
            with atomic_file(path) as stream:
                stream.write(content)

    def finish(self) -> None:
        """Write the index of what is there now, and delete what of the mirror's own is there no longer."""
        gone = sorted(self._old - self._new)
        for place in gone:
            if place.endswith(f"/{DOCUMENT_NAME}"):
                self._delete(place)
        write_index(self.folder)
        # Whoever reads the old index still finds its files until now.
        for place in gone:
            self._delete(place)
        self._note(self._new)

    def _refuse_others(self) -> None:
        """Refuse a folder that is another repository: its documents would be taken for the lock's."""
        found = {
            Path(place, DOCUMENT_NAME).relative_to(self.folder).as_posix()
            for kind in TYPES
            for place, _, files in os.walk(self.folder / kind)
            if DOCUMENT_NAME in files
        }
        others = {*found, *(name for name in _INDEXES if (self.folder / name).exists())} - self._old
        if others:
            raise CriteriaError(
                f"{self.folder} is a repository of its own ({listing(others)}); choose another folder for the mirror"
            )

    def _note(self, places: Iterable[str]) -> None:
        with atomic_file(self.folder / MANIFEST) as stream:
            stream.write((json.dumps({"mirrorVersion": 1, "paths": sorted(places)}, indent=1) + "\n").encode())

    def _delete(self, place: str) -> None:
        path = self.folder / place
        if not path.is_file() or not path.parent.resolve().is_relative_to(self.folder):
            return
        remove(path)
        with contextlib.suppress(OSError):
            # Not those that hold something else.
            for parent in path.parents:
                parent.rmdir()


def _own_paths(folder: Path) -> set[str]:
    """What an earlier mirror wrote here, of which each is below the folder and of a kind that a mirror writes."""
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > _MAX_MANIFEST:
        return set()
    try:
        content = json.loads(path.read_bytes())
        paths = content["paths"] if content["mirrorVersion"] == 1 else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
    return {place for place in paths if isinstance(place, str) and _is_own(place)}


def _is_own(place: str) -> bool:
    first, *rest = place.split("/")
    if not all(map(_is_plain, (first, *rest))):
        return False
    if not rest:
        return first in (*_INDEXES, LOCK_NAME)
    return (first == FILES and len(rest) == 2) or (first in TYPES and rest[-1] == DOCUMENT_NAME)


def _place_of(file: ArtifactFile) -> str:
    """Where a file lies in a mirror; the end of its name says how it is unpacked, as that of its address did."""
    name = unquote(urlsplit(file.uri).path.rpartition("/")[2])
    return f"{FILES}/{file.sha256}/{name if _is_plain(name) else f'file{archive_suffix(file.uri)}'}"


def _is_plain(name: str) -> bool:
    """Whether a text is the name of a file on every system."""
    return name_fault(name) is None and not UNSAFE_NAME.search(name)


def _relocated(file: ArtifactFile, size: int, mrl: MRL) -> ArtifactFile:
    uri = "../" * document_path(mrl).count("/") + quote(_place_of(file))
    return msgspec.structs.replace(file, uri=uri, url=uri, mirrors=(), size=size)


def _published(documents: Iterable[Metadata]) -> dict[str, bytes]:
    """Place -> content of documents that are found where they lie.

    Raises:
        MetadataError: An id has what no folder can be named, or what means another id there.
    """
    contents: dict[str, bytes] = {}
    for metadata in documents:
        place = document_path(metadata.mrl)
        if place in contents or not all(map(_is_plain, place.split("/"))):
            raise _unpublishable(metadata)
        contents[place] = _document(metadata, place)
    return contents


def _document(metadata: Metadata, place: str) -> bytes:
    mrl = metadata.mrl
    own = msgspec.structs.replace(metadata, application=mrl.application, group_id=mrl.group_id, artifact_id=mrl.artifact_id)
    # What a document says of itself is kept where it does not hide the ids by which it is found.
    for candidate in (metadata, own):
        content = (json.dumps(document(candidate), indent=2) + "\n").encode("ascii")
        if Metadata.from_json(content, f"file:///{quote(place)}", path=place).mrl == mrl:
            return content
    raise _unpublishable(metadata)


def _unpublishable(metadata: Metadata) -> MetadataError:
    return MetadataError(
        f"{printable(str(metadata.mrl))} cannot be mirrored: its ids cannot be the names of its folders", metadata.url
    )


class _Carriers:
    """The distributions that only carry files, which a mirror has itself.

    Args:
        installed: One that registers names may bring the factory too, and stays required.
    """

    def __init__(self, installed: InstalledEntryPoints) -> None:
        self._active = {normalised(entry.distribution) for entry in installed.entries}

    @cached_property
    def _owners(self) -> Mapping[str, list[str]]:
        return importlib_metadata.packages_distributions()

    def others(self, artifact: Artifact) -> tuple[str, ...]:
        """What a load of an artifact requires that has its files already."""
        packages = {
            urlsplit(file.url).netloc.partition(".")[0] for file in artifact.files if file.url.startswith(f"{SCHEME}://")
        }
        if not packages or not artifact.requires:
            return artifact.requires
        carried = {normalised(name) for package in packages for name in self._owners.get(package, ())} - self._active
        return tuple(text for text in artifact.requires if normalised(distribution_of(text)) not in carried)
