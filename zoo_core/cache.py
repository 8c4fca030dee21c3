"""Artifacts to verified local files.

    blobs/, checked/, locks/      see `zoo_core.store`
    artifacts/                    see `zoo_core.folders`
    partial/                      see `zoo_core.downloads`
    digests/<key>                 the sha256 that a weak digest turned out to be
    index/<key>                   the last index of each remote repository

Everything that is downloaded passes through here, and is verified before it gets its final name.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from warnings import warn

from zoo_core.artifact import CODE_KEY, ArtifactFile
from zoo_core.downloads import Downloads, Progress, Traffic, key
from zoo_core.errors import CacheError, IntegrityError, OfflineError, RepositoryError, ZooWarning
from zoo_core.folders import Folders
from zoo_core.metadata import archive_kind
from zoo_core.record import ModelRecord
from zoo_core.repository.base import Repository
from zoo_core.stopping import at_once
from zoo_core.store import Digests, Store, digest_file, key_of
from zoo_core.wording import printable, shown_url

#: Seconds without a byte after which another process's download is not waited for any more.
_SILENT_S = 150.0


class Cache:
    """The folder that keeps what was downloaded.

    Args:
        home: The folder; made at the first write.
        max_file_size: The most bytes that are downloaded of a file; None: several times what its document declares.
    """

    def __init__(self, home: Path, *, max_file_size: int | None = None) -> None:
        self.home = home
        self._store = Store(home)
        self._folders = Folders(self._store)
        self._downloads = Downloads(self._store, max_file_size)

    def files(
        self, record: ModelRecord, repository: Repository, *, progress: Progress | None = None, keep: bool = False
    ) -> dict[str, Path]:
        """The files of an artifact by their keys, verified; what is not on this machine is downloaded.

        A file that is local already is read where it lies; the others lie in the artifact's folder, under their own names.

        Args:
            keep: Copy also what could be read in place, so that all files lie in the folder.

        Raises:
            IntegrityError: The bytes are not those promised; nothing remains of them.
            RepositoryError: They cannot be had.
            CacheError: The cache cannot be written, or has no space for them.
        """
        for file in record.files:
            check_supported(record, file)
        with _ending(progress):
            here = {file.key: self._here(record, file, repository, keep=keep) for file in record.files}
            absent = [file for file in record.files if here[file.key] is None]
            found = {key: path for key, path in here.items() if path is not None}
            found |= self._downloaded(record, absent, repository, progress)
        blobs = self._blobs_among(record, found)
        folder = self._folders.assemble(record, blobs) if blobs else None
        return {file.key: folder / file.name if folder and file.name in blobs else found[file.key] for file in record.files}

    def folder(self, record: ModelRecord, repository: Repository, *, progress: Progress | None = None) -> Path:
        """One folder with all files of an artifact under their own names.

        Raises:
            IntegrityError, RepositoryError, CacheError: As for `files`.
        """
        files = self.files(record, repository, progress=progress, keep=True)
        return next(iter(files.values())).parent if files else self._folders.assemble(record, {})

    def local(self, record: ModelRecord, repository: Repository | None) -> dict[str, Path]:
        """The files of an artifact that are on this machine, by key; nothing is read."""
        found = {file.key: self._found(file, repository) for file in record.files}
        known = {key: path for key, path in found.items() if path is not None}
        blobs = self._blobs_among(record, known)
        folder = self._folders.path(record, blobs)
        named = {file.key: folder / file.name for file in record.files if file.name in blobs}
        return {key: named[key] if key in named and named[key].is_file() else path for key, path in known.items()}

    def has(self, record: ModelRecord, repository: Repository | None) -> bool:
        """Whether all files of an artifact are on this machine; nothing is read."""
        return all(self._found(file, repository) is not None for file in record.files)

    def known_index(self, url: str) -> StoredIndex:
        """The last index that was seen of a repository."""
        return StoredIndex(self._store, self.home / "index" / key_of(url))

    def _here(self, record: ModelRecord, file: ArtifactFile, repository: Repository, *, keep: bool) -> Path | None:
        """A file where it lies, or its blob; None where it is not on this machine."""
        local = repository.local_path(file)
        # A catalogue may name mirrors for files that were not copied with it.
        if local is not None and (local.is_file() or not file.mirrors):
            return self._kept(file, local, record) if keep else self._in_place(file, local, record)[0]
        return self._sound_blob(file)

    def _downloaded(
        self, record: ModelRecord, files: Sequence[ArtifactFile], repository: Repository, progress: Progress | None
    ) -> dict[str, Path]:
        """The blobs of files that are not on this machine yet, several of which come at once."""
        if not files:
            return {}
        self._downloads.check(files)
        transfer = repository.transfer_for(files[0])
        # Nobody promises that what a plugin opens can be read in several threads.
        traffic = Traffic(progress, transfer.connections if transfer else 1, len(files))
        tasks = [functools.partial(self._brought, record, file, repository, traffic) for file in files]
        return dict(zip([file.key for file in files], at_once(tasks, traffic.stop, traffic.at_once), strict=True))

    def _brought(self, record: ModelRecord, file: ArtifactFile, repository: Repository, traffic: Traffic) -> Path:
        """A file's blob: another process's that came meanwhile, or one that is downloaded now."""
        began = time.monotonic()

        def is_worth() -> bool:
            traffic.stop.check()
            return time.monotonic() - began < _SILENT_S or self._downloads.is_alive(file, _SILENT_S)

        with self._store.lock(key(file), is_worth=is_worth) as is_held:
            return self._sound_blob(file) or self._download(record, file, repository, traffic, is_alone=is_held)

    def _blobs_among(self, record: ModelRecord, found: Mapping[str, Path]) -> dict[str, Path]:
        """Of the files that were found, the blobs by the names that the document gives them."""
        return {file.name: found[file.key] for file in record.files if file.key in found and self._store.holds(found[file.key])}

    def _found(self, file: ArtifactFile, repository: Repository | None) -> Path | None:
        try:
            local = repository.local_path(file) if repository else None
        except RepositoryError:
            return None
        if local is not None and (local.is_file() or not file.mirrors):
            return local if local.is_file() else None
        sha256 = file.sha256 or self._first_seen(file)
        blob = self._store.blob(sha256) if sha256 else None
        return blob if blob is not None and blob.is_file() else None

    def _sound_blob(self, file: ArtifactFile) -> Path | None:
        sha256 = file.sha256 or self._first_seen(file)
        return self._store.sound_blob(sha256) if sha256 else None

    def _first_seen(self, file: ArtifactFile) -> str | None:
        """The full digest that a weak one turned out to be at an earlier download."""
        try:
            return self._digest_note(file).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None

    def _digest_note(self, file: ArtifactFile) -> Path:
        weak = (
            f"sha1:{file.sha1}" if file.sha1 else f"prefix:{file.sha256_prefix}:{file.url}" if file.sha256_prefix else file.url
        )
        return self.home / "digests" / key_of(weak)

    def _download(
        self, record: ModelRecord, file: ArtifactFile, repository: Repository, traffic: Traffic, *, is_alone: bool
    ) -> Path:
        def verify(found: Digests, url: str) -> None:
            self._check(file, found, url, record)

        try:
            blob, found = self._downloads.bring(file, repository, verify, traffic, is_alone=is_alone)
        except OfflineError as error:
            raise OfflineError(
                f"{error}. {printable(file.key)} of {printable(record.reference)} was looked for in {self.home}; "
                f"with a network, it is fetched by: zoo download {printable(record.reference)}",
                error.url,
            ) from error
        if not file.sha256:
            self._store.write(self._digest_note(file), found.sha256.encode())
        return blob

    def _check(self, file: ArtifactFile, found: Digests, where: str, record: ModelRecord) -> None:
        """Compare what was found with the strongest digest that the document gives."""
        first_seen = self._first_seen(file)
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
            warn(f"{shown_url(file.url)} was not verified; to pin it, add #sha256={found.sha256}", ZooWarning, stacklevel=2)
            return
        if expected != actual:
            raise IntegrityError(
                f"wrong digest for {printable(file.key)} of {printable(record.reference)}: expected {expected}, got {actual}, "
                f"from {shown_url(where)}. Nothing was kept; the file was changed or damaged",
                expected=expected,
                found=actual,
                url=where,
            )

    def _in_place(self, file: ArtifactFile, path: Path, record: ModelRecord) -> tuple[Path, str]:
        """A file that is already local, read where it lies once its digest was checked, and its sha256."""
        known = self._store.known(path)
        if known is not None and _agrees(file, known):
            return path, known.sha256
        found = digest_file(path)
        self._check(file, found, str(path), record)
        self._store.remember(path, found)
        return path, found.sha256

    def _kept(self, file: ArtifactFile, path: Path, record: ModelRecord) -> Path:
        """A blob with the content of a file that is already local."""
        for _ in range(2):
            _, sha256 = self._in_place(file, path, record)
            blob = self._store.copied(path, sha256)
            if blob is not None:
                return blob
            # A file that was changed with its size and time kept shows it only now, and what is known of it is wrong.
            self._store.forget(path)
        raise IntegrityError(f"{path} changed while it was copied", expected=sha256, url=str(path))


@contextlib.contextmanager
def _ending(progress: Progress | None) -> Iterator[None]:
    """Close what shows the progress, however the block ends: a bar that stays hides the cursor."""
    try:
        yield
    finally:
        close = getattr(progress, "close", None)
        if callable(close):
            close()


class StoredIndex:
    """An index with its ETag, in one file; its age is the file's."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store, self._path = store, path

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
            self._store.write(self._path, etag.replace("\n", "").encode("latin-1", "replace") + b"\n" + content)


def check_supported(record: ModelRecord, file: ArtifactFile) -> None:
    """Refuse what cannot be fetched yet, before anything is downloaded.

    Raises:
        RepositoryError: The file is an archive.
        IntegrityError: It has no digest, or is code and has only a weak one.
    """
    if not (file.sha256 or file.sha1 or file.sha256_prefix or record.source.allow_unverified):
        raise IntegrityError(
            f"{shown_url(file.url)} has no digest in {shown_url(record.metadata.url)}, so it cannot be verified; "
            "its publisher adds one by `zoo index`",
            url=file.url,
        )
    if archive_kind(file.uri) is not None:
        raise RepositoryError(
            f"{printable(record.reference)}: file {printable(file.key)} is an archive ({shown_url(file.uri)}), "
            "and archives are not unpacked yet",
            file.url,
        )
    if file.key == CODE_KEY and not file.sha256:
        raise IntegrityError(f"{printable(record.reference)}: code needs a full sha256 in its document", url=file.url)


def _agrees(file: ArtifactFile, known: Digests) -> bool:
    """Whether a digest that was found earlier is the one a document promises."""
    if file.sha256:
        return known.sha256 == file.sha256
    if file.sha1:
        return known.sha1 == file.sha1
    return bool(file.sha256_prefix) and known.sha256.startswith(file.sha256_prefix or "-")
