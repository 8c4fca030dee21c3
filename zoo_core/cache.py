"""Artifacts to verified local files; the one module that writes and verifies them.

    blobs/sha256/ab/<digest>      contents, once each, read-only
    artifacts/<group>/<artifact>/<version>/<name>-<digest>/   plain files under their own names: hard links or copies
    digests/<key>                 the sha256 that a weak digest turned out to be
    checked/<key>                 size, time and digest of files that are read in place
    index/<key>                   the last index of each remote repository
    locks/<key>                   spare bandwidth, never correctness

Nothing appears under its final name before it is whole and verified.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from warnings import warn

import msgspec

from zoo_core.artifact import CODE_KEY, ArtifactFile
from zoo_core.atomic import atomic_file, unique_name
from zoo_core.errors import CacheError, IntegrityError, RepositoryError, ZooError, ZooWarning
from zoo_core.metadata import archive_kind
from zoo_core.record import ModelRecord
from zoo_core.repository.base import Repository
from zoo_core.wording import bytes_text, printable

CHUNK = 1 << 20
#: A body may be this much larger than its document says, since published sizes are sometimes wrong.
SIZE_TOLERANCE = 4
_SLACK = 1 << 20

Progress = Callable[[int, int | None, str], object]


class Digests(msgspec.Struct, frozen=True):
    """What was found of a file's bytes."""

    sha256: str
    sha1: str


class Cache:
    """The folder that keeps what was downloaded.

    Args:
        home: The folder; made at the first write.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def files(
        self, record: ModelRecord, repository: Repository, *, progress: Progress | None = None, keep: bool = False
    ) -> dict[str, Path]:
        """The files of an artifact by their keys, verified; what is not on this machine is downloaded.

        Args:
            keep: Copy also what could be read in place.

        Raises:
            IntegrityError: The bytes are not those promised; nothing remains of them.
            RepositoryError: They cannot be had.
            CacheError: The cache cannot be written.
        """
        for file in record.files:
            check_supported(record, file)
        return {file.key: self._file(record, file, repository, progress, keep=keep) for file in record.files}

    def folder(self, record: ModelRecord, repository: Repository, *, progress: Progress | None = None) -> Path:
        """One folder with all files of an artifact under their own names.

        Raises:
            IntegrityError, RepositoryError, CacheError: As for `files`.
        """
        blobs = self.files(record, repository, progress=progress, keep=True)
        return self.assemble(record, blobs)

    def assemble(self, record: ModelRecord, blobs: Mapping[str, Path]) -> Path:
        """Put the blobs of an artifact into its folder."""
        named = {file.name: blobs[file.key] for file in record.files}
        target = self._artifact_folder(record, named)
        if _is_complete(target, named):
            return target
        with self._writing():
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            building = target.parent / unique_name()
            building.mkdir()
            try:
                for name, blob in named.items():
                    link_or_copy(blob, building / name)
                _rename_folder(building, target)
            finally:
                shutil.rmtree(building, ignore_errors=True)
        return target

    def assembled(self, record: ModelRecord, files: Mapping[str, Path]) -> Path | None:
        """The folder of an artifact whose files were all downloaded; None where some are read in place."""
        blobs = self.home / "blobs"
        return self.assemble(record, files) if files and all(path.is_relative_to(blobs) for path in files.values()) else None

    def local(self, record: ModelRecord, repository: Repository | None) -> dict[str, Path]:
        """The files of an artifact that are on this machine, by key; nothing is read."""
        found = {file.key: self._found(file, repository) for file in record.files}
        return {key: path for key, path in found.items() if path is not None}

    def has(self, record: ModelRecord, repository: Repository | None) -> bool:
        """Whether all files of an artifact are on this machine; nothing is read."""
        return len(self.local(record, repository)) == len(record.files)

    def known_index(self, url: str) -> StoredIndex:
        """The last index that was seen of a repository."""
        return StoredIndex(self, self.home / "index" / _key(url))

    def write(self, path: Path, content: bytes) -> None:
        """Write a small file so that it appears whole or not at all.

        Raises:
            CacheError: The cache cannot be written.
        """
        with self._writing(), atomic_file(path) as stream:
            stream.write(content)

    def _file(
        self, record: ModelRecord, file: ArtifactFile, repository: Repository, progress: Progress | None, *, keep: bool
    ) -> Path:
        local = repository.local_path(file)
        if local is not None:
            return self._in_place(file, local, record, keep=keep)
        blob = self._sound_blob(file)
        if blob is not None:
            return blob
        with self._lock(file):
            return self._sound_blob(file) or self._download(record, file, repository, progress)

    def _found(self, file: ArtifactFile, repository: Repository | None) -> Path | None:
        try:
            local = repository.local_path(file) if repository else None
        except RepositoryError:
            return None
        if local is not None:
            return local if local.is_file() else None
        return self._blob_of(file)

    def _blob(self, sha256: str) -> Path:
        return self.home / "blobs" / "sha256" / sha256[:2] / sha256

    def _blob_of(self, file: ArtifactFile) -> Path | None:
        sha256 = file.sha256 or self._remembered(file)
        blob = self._blob(sha256) if sha256 else None
        return blob if blob is not None and blob.is_file() else None

    def _sound_blob(self, file: ArtifactFile) -> Path | None:
        """The blob of a file if it is what it was when it arrived: told by size and time, in full only where they changed."""
        blob = self._blob_of(file)
        if blob is None or self._known_digests(blob) is not None:
            return blob
        found = digest_file(blob)
        if found.sha256 != blob.name:
            return None
        self._remember(blob, found)
        return blob

    def _known_digests(self, path: Path) -> dict[str, object] | None:
        """What was found of a file that has not changed since; None where it has, or was never read."""
        try:
            stamp = _stamp(path)
        except OSError:
            return None
        known = _read_json(self.home / "checked" / _key(str(path)))
        return known if {name: known.get(name) for name in stamp} == stamp else None

    def _remember(self, path: Path, found: Digests) -> None:
        # A cache that cannot be written makes this slower, not wrong: the file is hashed again next time.
        with contextlib.suppress(CacheError):
            note = {**_stamp(path), "sha256": found.sha256, "sha1": found.sha1}
            self.write(self.home / "checked" / _key(str(path)), json.dumps(note).encode())

    def _remembered(self, file: ArtifactFile) -> str | None:
        """The full digest that a weak one turned out to be at an earlier download."""
        try:
            return self._digest_note(file).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None

    def _digest_note(self, file: ArtifactFile) -> Path:
        weak = (
            f"sha1:{file.sha1}" if file.sha1 else f"prefix:{file.sha256_prefix}:{file.url}" if file.sha256_prefix else file.url
        )
        return self.home / "digests" / _key(weak)

    def _download(self, record: ModelRecord, file: ArtifactFile, repository: Repository, progress: Progress | None) -> Path:
        with self._writing():
            folder = self.home / "blobs"
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / unique_name()
            try:
                with partial.open("xb") as stream:
                    found = self._receive(file, repository, stream, progress)
                self._check(file, found, file.url, record)
                return self._adopt(partial, file, found)
            finally:
                partial.unlink(missing_ok=True)

    def _receive(self, file: ArtifactFile, repository: Repository, stream: BinaryIO, progress: Progress | None) -> Digests:
        """Read a body into a file, hashed on the way, bounded by several times its declared size."""
        sha256, sha1, done = hashlib.sha256(), hashlib.sha1(usedforsecurity=False), 0
        bound = None if file.size is None else file.size * SIZE_TOLERANCE + _SLACK
        with repository.open(file) as body:
            while chunk := body.read(CHUNK):
                done += len(chunk)
                if bound is not None and done > bound:
                    raise IntegrityError(
                        f"{printable(file.url)}: more than {bytes_text(bound)} came, "
                        f"and {bytes_text(file.size or 0)} were declared",
                        url=file.url,
                    )
                stream.write(chunk)
                sha256.update(chunk)
                if file.sha1 and not file.sha256:
                    sha1.update(chunk)
                if progress:
                    progress(done, file.size, file.name)
        stream.flush()
        os.fsync(stream.fileno())
        return Digests(sha256.hexdigest(), sha1.hexdigest() if file.sha1 and not file.sha256 else "")

    def _adopt(self, partial: Path, file: ArtifactFile, found: Digests) -> Path:
        blob = self._blob(found.sha256)
        blob.parent.mkdir(parents=True, exist_ok=True)
        make_read_only(partial)
        partial.replace(blob)
        self._remember(blob, found)
        if not file.sha256:
            self.write(self._digest_note(file), found.sha256.encode())
        return blob

    def _check(self, file: ArtifactFile, found: Digests, where: str, record: ModelRecord) -> None:
        """Compare what was found with the strongest digest that the document gives."""
        first_seen = self._remembered(file)
        if file.sha256:
            expected, actual = f"sha256:{file.sha256}", f"sha256:{found.sha256}"
        elif file.sha1:
            expected, actual = f"sha1:{file.sha1}", f"sha1:{found.sha1}"
        elif first_seen:
            expected, actual = f"sha256:{first_seen}", f"sha256:{found.sha256}"
        elif file.sha256_prefix:
            expected = f"sha256:{file.sha256_prefix}"
            actual = f"sha256:{found.sha256}"[: len(expected)]
        else:
            # Refused before it came, unless the user's own configuration allows it.
            warn(f"{file.url} was not verified; to pin it, add #sha256={found.sha256}", ZooWarning, stacklevel=2)
            return
        if expected != actual:
            raise IntegrityError(
                f"wrong digest for {printable(file.key)} of {printable(record.reference)}: expected {expected}, got {actual}, "
                f"from {printable(where)}. Nothing was kept; the file was changed or damaged",
                expected=expected,
                found=actual,
                url=where,
            )

    def _in_place(self, file: ArtifactFile, path: Path, record: ModelRecord, *, keep: bool) -> Path:
        """A file that is already local, read where it lies once its digest was checked."""
        known = self._known_digests(path)
        if known is not None and _agrees(file, known):
            return self._kept(path, str(known["sha256"])) if keep else path
        found = digest_file(path)
        self._check(file, found, str(path), record)
        self._remember(path, found)
        return self._kept(path, found.sha256) if keep else path

    def _kept(self, path: Path, sha256: str) -> Path:
        """A copy of a file as a blob, hashed once more on the way: the file is another's and may change meanwhile."""
        blob = self._blob(sha256)
        if blob.is_file() and self._known_digests(blob) is not None:
            return blob
        digest = hashlib.sha256()
        with self._writing(), path.open("rb") as source, atomic_file(blob, mode=0o444) as target:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                target.write(chunk)
            if digest.hexdigest() != sha256:
                raise IntegrityError(
                    f"{path} changed while it was copied", expected=sha256, found=digest.hexdigest(), url=str(path)
                )
        self._remember(blob, Digests(sha256, ""))
        return blob

    def _artifact_folder(self, record: ModelRecord, named: Mapping[str, Path]) -> Path:
        content = _key(json.dumps(sorted((name, blob.name) for name, blob in named.items())))
        last = f"{_component(record.name or record.artifact_id)}-{content[:12]}"
        ids = (record.group_id, record.artifact_id, record.version or "unversioned")
        return self.home.joinpath("artifacts", *(_component(part) for part in ids), last)

    @contextlib.contextmanager
    def _lock(self, file: ArtifactFile) -> Iterator[None]:
        """Let other processes that want the same file wait for it, where locks work; nothing depends on it."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.home / "locks" / _key(file.sha256 or file.url), timeout=600)
        try:
            (self.home / "locks").mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError, Timeout):
            lock = None  # type: ignore[assignment]  # works without
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except ZooError:
            raise
        except OSError as error:
            full = "; the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            raise CacheError(
                f"the cache folder {self.home} cannot be written: {error.strerror or error}{full}. "
                "Set ZOO_HOME to another folder"
            ) from error


class StoredIndex:
    """An index with its ETag, in one file; its age is the file's."""

    def __init__(self, cache: Cache, path: Path) -> None:
        self._cache, self._path = cache, path

    def read(self) -> tuple[bytes, str, float] | None:
        """The content, the ETag and the age in seconds; None where none was seen."""
        try:
            etag, _, content = self._path.read_bytes().partition(b"\n")
            return content, etag.decode("latin-1"), max(0.0, time.time() - self._path.stat().st_mtime)
        except OSError:
            return None

    def write(self, content: bytes, etag: str) -> None:
        """Keep an index as seen now; a cache that cannot be written only means asking again."""
        with contextlib.suppress(CacheError):
            self._cache.write(self._path, etag.replace("\n", "").encode("latin-1", "replace") + b"\n" + content)


def copy_folder(source: Path, target: Path) -> Path:
    """Copy an artifact's files into a folder where they may be edited; each appears whole.

    Raises:
        CacheError: The folder cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir()):
            with path.open("rb") as stream, atomic_file(target / path.name) as copy:
                shutil.copyfileobj(stream, copy, CHUNK)
    except OSError as error:
        raise CacheError(f"{target} cannot be written: {error.strerror or error}") from error
    return target.absolute()


def digest_file(path: Path) -> Digests:
    """The digests of a file.

    Raises:
        RepositoryError: It cannot be read.
    """
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                sha256.update(chunk)
                sha1.update(chunk)
    except OSError as error:
        raise RepositoryError(f"{path}: {error.strerror or error}", str(path)) from error
    return Digests(sha256.hexdigest(), sha1.hexdigest())


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system knows no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        make_read_only(target)


def make_read_only(path: Path) -> None:
    """Take the permission to write from everyone who has it; what the umask left of the others stays."""
    path.chmod(path.stat().st_mode & ~0o222)


def check_supported(record: ModelRecord, file: ArtifactFile) -> None:
    """Refuse what cannot be fetched yet, before anything is downloaded.

    Raises:
        RepositoryError: The file is an archive.
        IntegrityError: It has no digest, or is code and has only a weak one.
    """
    if not (file.sha256 or file.sha1 or file.sha256_prefix or record.source.allow_unverified):
        raise IntegrityError(
            f"{printable(file.url)} has no digest in {printable(record.metadata.url)}, so it cannot be verified; "
            "its publisher adds one by `zoo index`",
            url=file.url,
        )
    if archive_kind(file.uri) is not None:
        raise RepositoryError(
            f"{printable(record.reference)}: file {printable(file.key)} is an archive ({printable(file.uri)}), "
            "and archives are not unpacked yet",
            file.url,
        )
    if file.key == CODE_KEY and not file.sha256:
        raise IntegrityError(f"{printable(record.reference)}: code needs a full sha256 in its document", url=file.url)


def _agrees(file: ArtifactFile, known: Mapping[str, object]) -> bool:
    """Whether a digest that was found earlier is the one a document promises."""
    sha256 = str(known.get("sha256", ""))
    if file.sha256:
        return sha256 == file.sha256
    if file.sha1:
        return known.get("sha1") == file.sha1
    return bool(file.sha256_prefix) and sha256.startswith(file.sha256_prefix or "-")


def _stamp(path: Path) -> dict[str, int]:
    """What changes when a file's content does, and costs nothing to ask."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_complete(folder: Path, named: Mapping[str, Path]) -> bool:
    """Whether a folder has every file, with the size of its blob."""
    try:
        return all((folder / name).stat().st_size == blob.stat().st_size for name, blob in named.items()) and folder.is_dir()
    except OSError:
        return False


def _read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _rename_folder(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        # Another process was first: its folder has the same content, since the content is in the name.
        if not target.is_dir():
            raise


def _component(text: str) -> str:
    """Foreign text as one path component, the same on every system and never `..` or hidden."""
    quoted = quote(text, safe=" +@=,()").replace(".", "%2E") if text.startswith(".") else quote(text, safe=" +@=,()")
    return quoted if len(quoted) <= 100 else f"{quoted[:80]}-{_key(text)[:12]}"


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
