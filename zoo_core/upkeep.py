"""What is in a cache, what of it may go, and what of it is damaged.

An artifact's folder may go unless a running process uses it; a content, when no folder has it any more. Nothing here asks the
network, and nothing that is removed is lost: it is fetched again when it is wanted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from zoo_core.atomic import PARTIAL, make_read_only, remove, unique_name
from zoo_core.cache import DOCUMENTS
from zoo_core.contents import FOLDER as UNPACKED
from zoo_core.contents import named_digests
from zoo_core.errors import AmbiguousModelError, CacheError, CriteriaError, ModelNotFoundError, RepositoryError
from zoo_core.folders import ARTIFACTS, OWNERS, Owner, owner_path
from zoo_core.index.damaged import DamagedIndexError, OutdatedIndexError
from zoo_core.index.shelf import FOLDER as INDEX
from zoo_core.index.shelf import SUFFIX
from zoo_core.lease import Leases
from zoo_core.partial import FOLDER as DOWNLOADS
from zoo_core.partial import Partial
from zoo_core.reference import parse
from zoo_core.store import BLOBS, Store, digest_file
from zoo_core.version import parse_range
from zoo_core.wording import listing, printable, shown_url

#: Seconds for which a content without a folder, or what is not whole yet, is taken for one that is just being brought.
GRACE_S = 3600.0
#: Levels below `ARTIFACTS` at which an artifact's folder lies: group, artifact, version, name.
_DEPTH = 4


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact in the cache.

    Attributes:
        path: Its folder.
        owner: Whose it is.
        size: Bytes of its files; contents that several artifacts share count in each.
        last_use: Seconds since 1970.
        is_in_use: A running process uses it.
    """

    path: Path
    owner: Owner
    size: int
    last_use: float
    is_in_use: bool

    @property
    def reference(self) -> str:
        """The text that names it on the command line."""
        owner = self.owner
        return f"{owner.group_id}/{owner.artifact_id}" + (f"@{owner.version}" if owner.version else "")

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        owner = self.owner
        return {
            "reference": self.reference,
            "mrl": owner.mrl,
            "group_id": owner.group_id,
            "artifact_id": owner.artifact_id,
            "version": owner.version,
            "name": owner.name,
            "repository": owner.repository,
            "path": str(self.path),
            "files": len(owner.files),
            "size": self.size,
            "last_use": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.last_use)),
            "age_s": max(0, round(time.time() - self.last_use)),
            "in_use": self.is_in_use,
        }


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a download that is not whole.

    Attributes:
        path: Its folder.
        size: Bytes that have come.
        total: Bytes of the whole; None: unknown.
        last_byte: When the last of them came, in seconds since 1970.
        url: Where they came from; "" where nothing says.
    """

    path: Path
    size: int
    total: int | None = None
    last_byte: float
    url: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "path": str(self.path),
            "url": shown_url(self.url),
            "size": self.size,
            "total": self.total,
            "last_byte": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.last_byte)),
            "age_s": max(0, round(time.time() - self.last_byte)),
        }


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, and what could not be.

    Attributes:
        artifacts: Whose folders are gone.
        in_use: Those that would have gone, and that running processes use.
        catalogue: Bytes of what was known of repositories, among those that were freed.
        freed: Bytes.
    """

    artifacts: tuple[Kept, ...] = ()
    in_use: tuple[Kept, ...] = ()
    catalogue: int = 0
    freed: int = 0


class _Learned(msgspec.Struct, frozen=True):
    """What is known of one repository, or one document of it.

    Attributes:
        paths: The files; the first one is what is known, the others are notes of it.
        last_use: When it was made, confirmed or used, in seconds since 1970; at most an hour too early.
    """

    paths: tuple[Path, ...]
    last_use: float


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a file of the cache.

    Attributes:
        path: The file.
        what: What is wrong, and what comes of it.
        expected: The digest that it should have, as ``sha256:<hex>``; "" where it should not be there.
        found: The digest that it has; "" where it is not there.
    """

    path: Path
    what: str
    expected: str = ""
    found: str = ""

    def to_dict(self) -> dict[str, str]:
        """What ``--json`` prints."""
        return {"path": str(self.path), "what": self.what, "expected": self.expected, "found": self.found}


class Upkeep:
    """Looks after one cache.

    Args:
        home: Its folder.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self._store = Store(home)
        self._leases = Leases(home)

    # What is there.

    def artifacts(self) -> list[Kept]:
        """The artifacts that are in the cache, the one that was used last first."""
        in_use = self._leases.in_use()
        found = [kept for path in self._artifact_folders() if (kept := self._kept(path, in_use)) is not None]
        return sorted(found, key=lambda kept: (-kept.last_use, kept.reference))

    def unfinished(self) -> list[Unfinished]:
        """The downloads that are not whole, the one that got a byte last first."""
        found = [item for folder in _level(self.home / DOWNLOADS, 1) if (item := _unfinished(folder)) is not None]
        return sorted(found, key=lambda item: (-item.last_byte, item.path))

    def size(self) -> int:
        """Bytes on the disk; a file with several names counts once."""
        seen: set[tuple[int, int]] = set()
        total = 0
        for path in _files(self.home):
            with contextlib.suppress(OSError):
                status = path.stat(follow_symlinks=False)
                # A file system without inode numbers gives 0 for each.
                if status.st_ino == 0 or (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    total += status.st_size
        return total

    def catalogue_size(self) -> int:
        """Bytes of what is known of repositories."""
        return sum(_size(path) for item in self._learned() for path in item.paths)

    def named(self, model: str) -> list[Kept]:
        """The artifacts that a MODEL names: all versions of one model where it gives none.

        Raises:
            CriteriaError: It is an address or malformed.
            ModelNotFoundError: None is in the cache.
            AmbiguousModelError: Different models are meant.
        """
        kept = self.artifacts()
        asked = parse(model, lambda group: any(item.owner.group_id == group for item in kept))
        if asked.repository is not None:
            raise CriteriaError(f"{printable(model)} is the address of a repository; name a model: [group/]artifact[@version]")
        found = [item for item in kept if _is_meant(item.owner, asked.fields)]
        models = {f"{item.owner.group_id}/{item.owner.artifact_id}" for item in found}
        if not found:
            here = listing((printable(item.reference) for item in kept), near_to=model)
            raise ModelNotFoundError(f"{printable(model)} is not in the cache {self.home}. In it: {here or 'nothing'}")
        if len(models) > 1:
            names = sorted(map(printable, models))
            raise AmbiguousModelError(f"{printable(model)} means several models: {', '.join(names)}; name one of them", names)
        return found

    # What may go.

    def remove(self, artifacts: Iterable[Kept]) -> Removed:
        """Remove artifacts, and the contents that no other one has.

        Raises:
            CacheError: The cache cannot be written.
        """
        with self._store.writing():
            return self._removed(list(artifacts), lambda _: True)

    def prune(self, *, older_than_s: float | None = None, max_size: int | None = None) -> Removed:
        """Remove what was not used for long, then the least recently used until the rest is small enough.

        What never became whole, contents without a folder and notes of what is gone are removed in any case. What is known of
        a repository goes by the same age, and by size after all artifacts: where there is no network, nothing brings it back.

        Args:
            older_than_s: Seconds since an artifact was last used, or what is known of a repository used or confirmed.
            max_size: Bytes that may remain.

        Raises:
            CacheError: The cache cannot be written.
        """
        with self._store.writing():
            now = time.time()
            kept = self.artifacts()
            old = [item for item in kept if older_than_s is not None and now - item.last_use > older_than_s]
            broken = self._forget_downloads()
            done = self._removed(old, lambda _: True)
            unasked = [item for item in self._learned() if older_than_s is not None and now - item.last_use > older_than_s]
            unlearned = self._unlearn(unasked, lambda _: True)
            done = msgspec.structs.replace(done, freed=done.freed + broken + unlearned, catalogue=unlearned)
            if max_size is None:
                return done
            size = self.size()
            rest = [item for item in reversed(kept) if item not in old]
            more = self._removed(rest, lambda freed: size - freed > max_size)
            left = self.size()
            unlearned = self._unlearn(self._learned(), lambda freed: left - freed > max_size)
            return Removed(
                artifacts=(*done.artifacts, *more.artifacts),
                in_use=(*done.in_use, *more.in_use),
                catalogue=done.catalogue + unlearned,
                freed=done.freed + more.freed + unlearned,
            )

    def _removed(self, artifacts: list[Kept], goes_on: Callable[[int], bool]) -> Removed:
        """Remove artifacts in their order as long as it is wanted, by the bytes that were freed so far."""
        self._leases.forget_the_dead()
        uses = Counter(digest for owner in self._owners() for digest in set(owner.files.values()))
        freed = self._sweep(uses)
        gone, in_use = [], []
        for kept in artifacts:
            if not goes_on(freed):
                break
            taken = self._take(kept)
            if taken is None:
                in_use.append(kept)
                continue
            gone.append(kept)
            uses.subtract(set(kept.owner.files.values()))
            freed += taken + sum(self._release(digest, uses) for digest in set(kept.owner.files.values()))
        self._forget_archives()
        return Removed(artifacts=tuple(gone), in_use=tuple(in_use), freed=freed)

    def _take(self, kept: Kept) -> int | None:
        """Remove one artifact's folder, which is there for others as a whole or not at all; None where somebody uses it.

        Returns:
            Bytes that were freed: those of copies, where there are no hard links.
        """
        doomed = kept.path.with_name(unique_name())
        with self._leases.taking() as is_free:
            if not is_free or kept.owner.folder in self._leases.in_use():
                return None
            try:
                kept.path.rename(doomed)
            except FileNotFoundError:
                return 0
            except PermissionError:
                # Windows: a file in it is open.
                return None
            # Where locks do nothing, somebody may have come just now.
            if kept.owner.folder in self._leases.in_use() and not kept.path.exists():
                doomed.rename(kept.path)
                return None
            remove(owner_path(self.home, kept.owner.folder))
        freed = _delete(doomed)
        for folder in list(kept.path.parents)[: _DEPTH - 1]:
            # Only if it is empty.
            with contextlib.suppress(OSError):
                folder.rmdir()
        return freed

    def _release(self, digest: str, uses: Counter[str]) -> int:
        """Remove a content that no folder has any more; gives the bytes that were freed."""
        blob = self._store.blob(digest)
        with contextlib.suppress(FileNotFoundError):
            status = blob.stat()
            if uses[digest] <= 0 and status.st_nlink == 1:
                self._store.forget(blob)
                remove(blob)
                return status.st_size
            # Windows deletes a name, here its folder's, only once its file is writable, under all its names.
            make_read_only(blob)
        return 0

    def _sweep(self, uses: Counter[str]) -> int:
        """Remove what nobody can want any more: contents without a folder, and what never became whole; but nothing young."""
        freed = 0
        for blob in self._blobs():
            if uses[blob.name] <= 0 and _age_s(blob) > GRACE_S:
                freed += self._release(blob.name, uses)
        for path in self._partial():
            if min((_age_s(file) for file in [path, *_files(path)]), default=0.0) > GRACE_S:
                freed += _delete(path)
        for path in _files(self.home / OWNERS):
            owner = _decoded(path)
            if _age_s(path) > GRACE_S and (owner is None or not (self.home / owner.folder).is_dir()):
                remove(path)
        return freed

    def _forget_downloads(self) -> int:
        """Remove what came of downloads that broke off, and that nobody continued; gives the bytes that were freed."""
        freed = 0
        for folder in _level(self.home / DOWNLOADS, 1):
            if min((_age_s(path) for path in [folder, *_files(folder)]), default=0.0) > GRACE_S:
                # Whoever comes to continue it finds all of it or nothing.
                doomed = folder.with_name(unique_name())
                with contextlib.suppress(FileNotFoundError):
                    folder.rename(doomed)
                    freed += _delete(doomed)
        return freed

    def _unlearn(self, learned: Iterable[_Learned], goes_on: Callable[[int], bool]) -> int:
        """Remove what is known of repositories, as long as it is wanted; whoever has a file open reads on in it.

        Returns:
            Bytes that were freed.
        """
        freed = 0
        for item in learned:
            if not goes_on(freed):
                break
            for path in item.paths:
                size = _size(path)
                # Windows: somebody has it open, and its notes stay with it.
                try:
                    remove(path)
                except PermissionError:
                    break
                freed += size
        return freed

    def _forget_archives(self) -> None:
        """Remove the notes of archives whose contents are gone."""
        for note in _files(self.home / UNPACKED):
            if not all(self._store.blob(digest).is_file() for digest in named_digests(note)):
                remove(note)

    # What is damaged.

    def verify(self) -> Iterator[Fault]:
        """Hash everything, and tell what is not what it should be.

        What is known of a damaged file is forgotten, so that it is fetched again when it is next used.
        """
        for blob in self._blobs():
            yield from self._verify_file(blob, blob.name)
        for path in self._artifact_folders():
            owner = self._owner(path)
            if owner is not None:
                yield from self._verify_folder(path, owner)
            elif path.is_dir():
                yield Fault(path=path, what="nothing is known of this folder; remove it")
        for path in sorted((self.home / INDEX).glob(f"*{SUFFIX}")):
            yield from _verify_index(path)
        for path in sorted(path for path in _level(self.home / DOCUMENTS, 1) if not _is_partial(path)):
            yield from _verify_document(path)

    def _verify_folder(self, folder: Path, owner: Owner) -> Iterator[Fault]:
        for name, digest in owner.files.items():
            path = folder / name
            if path.is_file():
                # Its content was looked at under its other name.
                if not _is_same_file(path, self._store.blob(digest)):
                    yield from self._verify_file(path, digest)
            elif folder.is_dir():
                yield Fault(path=path, what="is missing; it is put back when it is next used", expected=f"sha256:{digest}")
        for path in _files(folder):
            if path.relative_to(folder).as_posix() not in owner.files:
                yield Fault(path=path, what="does not belong to this folder; remove it")

    def _verify_file(self, path: Path, digest: str) -> Iterator[Fault]:
        try:
            found = digest_file(path).sha256
        except RepositoryError as error:
            # Somebody who makes room may have removed it.
            if path.exists():
                yield Fault(path=path, what=str(error), expected=f"sha256:{digest}")
            return
        if found != digest:
            self._distrust(path)
            yield Fault(
                path=path,
                what="is damaged; it is fetched again when it is next used",
                expected=f"sha256:{digest}",
                found=f"sha256:{found}",
            )

    def _distrust(self, path: Path) -> None:
        with contextlib.suppress(CacheError, OSError):
            self._store.forget(path)
            for note in _files(self.home / UNPACKED):
                if path.name in named_digests(note):
                    remove(note)

    # The parts of a cache.

    def _artifact_folders(self) -> list[Path]:
        return sorted(path for path in _level(self.home / ARTIFACTS, _DEPTH) if not _is_partial(path) and path.is_dir())

    def _blobs(self) -> list[Path]:
        return sorted(path for path in _level(self.home / BLOBS / "sha256", 2) if path.is_file())

    def _partial(self) -> list[Path]:
        """What is not whole, wherever it is put: beside what it will be."""
        paths = (path for depth in range(1, _DEPTH + 2) for path in _level(self.home, depth))
        return sorted(path for path in paths if _is_partial(path))

    def _learned(self) -> list[_Learned]:
        """What is known of repositories, what was used longest ago first."""
        here = {path for path in _level(self.home / INDEX, 1) if not _is_partial(path)}
        # What is known comes first, so that no note goes without it.
        names = {path.stem for path in here}
        groups = [
            sorted((path for path in here if path.stem == name), key=lambda path: path.suffix != SUFFIX) for name in names
        ]
        groups += [[path] for path in _level(self.home / DOCUMENTS, 1) if not _is_partial(path)]
        found = [_Learned(tuple(paths), max(_modified(path) for path in paths)) for paths in groups]
        return sorted(found, key=lambda item: (item.last_use, item.paths))

    def _owners(self) -> Iterator[Owner]:
        for path in self._artifact_folders():
            owner = self._owner(path)
            if owner is not None:
                yield owner

    def _owner(self, path: Path) -> Owner | None:
        folder = path.relative_to(self.home).as_posix()
        owner = _decoded(owner_path(self.home, folder))
        return owner if owner is not None and owner.folder == folder else None

    def _kept(self, path: Path, in_use: frozenset[str]) -> Kept | None:
        folder = path.relative_to(self.home).as_posix()
        group, artifact, version = path.relative_to(self.home / ARTIFACTS).parts[:-1]
        unknown = Owner(folder=folder, mrl="", group_id=group, artifact_id=artifact, version=version)
        try:
            size = sum(file.stat().st_size for file in _files(path))
            stamp = owner_path(self.home, folder)
            last_use = (stamp if stamp.exists() else path).stat().st_mtime
        except FileNotFoundError:
            # Somebody removes it.
            return None
        return Kept(path=path, owner=self._owner(path) or unknown, size=size, last_use=last_use, is_in_use=folder in in_use)


def _verify_index(path: Path) -> Iterator[Fault]:
    """Look at a file of the catalogue; one that is damaged is removed, since nothing tells whoever reads it."""
    from zoo_core.index.database import Database

    try:
        database = Database.open(path)
        faults = database.check()
        database.close()
    except OutdatedIndexError:
        return
    except DamagedIndexError as error:
        faults = [str(error)]
    if faults and path.exists():
        with contextlib.suppress(OSError):
            remove(path)
        yield Fault(
            path=path, what=f"was damaged ({printable(faults[0])}) and is removed; it is made anew when it is next used"
        )


def _verify_document(path: Path) -> Iterator[Fault]:
    """Look at a document that was kept; of what is in it nobody promised a digest."""
    try:
        is_document = isinstance(msgspec.json.decode(path.read_bytes()), dict)
    except OSError:
        return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_document = False
    if not is_document:
        with contextlib.suppress(OSError):
            remove(path)
        yield Fault(path=path, what="was no document and is removed; it is read anew when it is next used")


def _unfinished(folder: Path) -> Unfinished | None:
    """What lies in the folder of a download; None where nothing does any more."""
    partial = Partial(folder)
    state = partial.state()
    try:
        status = partial.content.stat()
    except OSError:
        return None
    # A process that was killed may not have noted its last bytes.
    return Unfinished(
        path=folder, size=state.count or status.st_size, total=state.total, last_byte=status.st_mtime, url=state.url
    )


def _is_meant(owner: Owner, fields: Mapping[str, Any]) -> bool:
    """Whether an artifact is one that was asked for; what a cache does not know of it, such as properties, asks nothing."""
    version = fields.get("version")
    names = {"group_id": owner.group_id, "artifact_id": owner.artifact_id, "artifact_name": owner.name}
    is_same = all(fields[key] == value for key, value in names.items() if key in fields)
    return is_same and (version is None or owner.version in parse_range(version))


def _decoded(path: Path) -> Owner | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Owner)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _level(folder: Path, depth: int) -> list[Path]:
    """What lies so many levels below a folder; others may be deleting there, which `Path.glob` does not take well."""
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    return entries if depth == 1 else [path for entry in entries for path in _level(entry, depth - 1)]


def _files(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def _is_partial(path: Path) -> bool:
    return path.name.startswith(PARTIAL)


def _is_same_file(path: Path, blob: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), blob.stat())
    except OSError:
        return False


def _age_s(path: Path) -> float:
    """Seconds since a file came or got its name; none where it is gone."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return 0.0
    return time.time() - max(status.st_mtime, status.st_ctime)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        # Somebody removed it just now.
        return time.time()


def _delete(path: Path) -> int:
    """Delete a file, or a folder with all that is in it; gives the bytes that were freed, those of other names' files not."""
    freed = 0
    for file in _files(path) if path.is_dir() else [path]:
        with contextlib.suppress(FileNotFoundError):
            status = file.stat(follow_symlinks=False)
            remove(file)
            freed += status.st_size if status.st_nlink == 1 else 0
    if path.is_dir():
        shutil.rmtree(path)
    return freed
