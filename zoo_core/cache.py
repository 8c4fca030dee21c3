"""Artifacts to verified local files.

    blobs/, checked/, locks/      see `zoo_core.store`
    artifacts/, folders/          see `zoo_core.folders`
    leases/                       see `zoo_core.lease`
    unpacked/                     see `zoo_core.contents`
    partial/                      see `zoo_core.downloads`
    digests/<key>                 the sha256 that a weak digest turned out to be
    index/                        see `zoo_core.index.shelf`
    documents/<key>               whole documents of models of which a repository's listing has only the names; by its time
                                  when one was read last, within an hour

Everything that is downloaded passes through here, and is verified before it gets its final name.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from urllib.parse import urlsplit
from warnings import warn

import msgspec

from zoo_core.address import FILE_SUFFIXES
from zoo_core.artifact import CODE_KEY, ArtifactFile
from zoo_core.atomic import note_use, remove
from zoo_core.contents import Contents, sound_contents, unpack_into, unpacked_contents
from zoo_core.downloads import Downloads, Progress, Traffic, key
from zoo_core.errors import (
    CacheError,
    IntegrityError,
    MetadataError,
    OfflineError,
    RepositoryError,
    UnsafeArchiveError,
    ZooWarning,
)
from zoo_core.folders import Folders, Layout
from zoo_core.metadata import Metadata
from zoo_core.parts import Part, joined, unpacked_as, unpacked_part
from zoo_core.record import ModelRecord
from zoo_core.repository.base import Repository
from zoo_core.stopping import at_once
from zoo_core.store import Digests, Store, VanishedError, digest_file, key_of
from zoo_core.unpack import FOLDERS, Limits
from zoo_core.wording import printable, shown_url

DOCUMENTS = "documents"
#: What the system says where another process made or deleted a folder between two steps.
_OVERTAKEN = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY)
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: What allows files without a digest.
ALLOWING = "`allow_unverified = true` in the [[repository]] of your zoo.toml"
#: How often an artifact's folder is made where others delete what it is made of.
_ATTEMPTS = 5
#: Seconds without a byte after which another process's download is not waited for any more.
_SILENT_S = 150.0


class Cache:
    """The folder that keeps what was downloaded.

    Args:
        home: The folder; made at the first write.
        layers: Caches below it, which are read and never written; the first that has a content gives it.
        limits: What one archive may become.
        max_file_size: The most bytes that are downloaded of a file; None: several times what its document declares.
    """

    def __init__(
        self, home: Path, *, layers: Sequence[Path] = (), limits: Limits | None = None, max_file_size: int | None = None
    ) -> None:
        self.home = home
        self._store = Store(home)
        self._folders = Folders(self._store)
        self._layers = tuple(Store(layer, is_read_only=True) for layer in layers)
        self._limits = limits or Limits()
        self._downloads = Downloads(self._store, max_file_size)

    def files(
        self, record: ModelRecord, repository: Repository, *, progress: Progress | None = None, keep: bool = False
    ) -> dict[str, Path]:
        """The files of an artifact by their keys, verified; what is not on this machine is downloaded, archives are unpacked.

        A file that is local already is read where it lies; the others lie in the artifact's folder, under their own names. An
        archive that becomes a folder is that folder here: the artifact's own where it has no name.

        Args:
            keep: Copy also what could be read in place, so that all files lie in the folder.

        Raises:
            IntegrityError: The bytes are not those promised, or an archive is damaged; nothing remains of them.
            UnsafeArchiveError: An archive would write outside the folder, or more than it may; nothing remains of it.
            RepositoryError: They cannot be had.
            CacheError: The cache cannot be written, or has no space for them.
        """
        for file in record.files:
            check_supported(record, file)
        with _ending(progress):
            return self._placed(record, repository, progress, keep=keep)[1]

    def folder(self, record: ModelRecord, repository: Repository, *, progress: Progress | None = None) -> Path:
        """One folder with all files of an artifact under their own names.

        Raises:
            IntegrityError, UnsafeArchiveError, RepositoryError, CacheError: As for `files`.
        """
        for file in record.files:
            check_supported(record, file)
        with _ending(progress):
            folder = self._placed(record, repository, progress, keep=True)[0]
        return folder or self._folders.assemble(record, Layout({}))

    def transferred(
        self,
        record: ModelRecord,
        repository: Repository,
        files: Sequence[ArtifactFile],
        *,
        progress: Progress | None = None,
    ) -> dict[str, Path]:
        """Some files of an artifact by their keys as they were transferred, verified: archives stay what they are.

        Raises:
            IntegrityError, RepositoryError, CacheError: As for `files`.
        """
        plain = tuple(msgspec.structs.replace(file, uri="", name=file.name or file.key, type="file") for file in files)
        bare = msgspec.structs.replace(record, artifact=msgspec.structs.replace(record.artifact, files=plain))
        with _ending(progress):
            parts = self._parts(bare, repository, progress, keep=False)
        return {file.key: parts[file.key].place or parts[file.key].layout.blobs[file.name] for file in plain}

    def local(self, record: ModelRecord, repository: Repository | None) -> dict[str, Path]:
        """The files of an artifact that are on this machine, by key; nothing is read."""
        parts = {file.key: part for file in record.files if (part := self._known(file, repository)) is not None}
        layout = joined(record, parts.values())
        places = [Folders(store).path(record, layout) for store in self._stores]
        folder = next((place for place in places if place.is_dir()), None)
        found = {file.key: parts[file.key].path(file, folder) for file in record.files if file.key in parts}
        return {key: path for key, path in found.items() if path is not None}

    def has(self, record: ModelRecord, repository: Repository | None) -> bool:
        """Whether all files of an artifact are on this machine; nothing is read."""
        return all(self._known(file, repository) is not None for file in record.files)

    def document(self, metadata: Metadata, here: Set[str] | None = None) -> bytes | None:
        """The whole document of a model that was only listed; None where it has not been read here.

        Args:
            here: What `documents_here` gave; None: it is looked for.
        """
        if here is not None and _document_key(metadata) not in here:
            return None
        for store in self._stores:
            path = self._document_path(store, metadata)
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                if store is self._store:
                    note_use(path)
                return content
        return None

    def keep_document(self, metadata: Metadata, content: bytes) -> None:
        """Keep such a document; a cache that cannot be written only means reading it again."""
        with contextlib.suppress(CacheError):
            self._store.write(self._document_path(self._store, metadata), content)

    def documents_here(self) -> frozenset[str]:
        """The keys of all such documents, so that many models are looked for at once."""
        names: set[str] = set()
        for store in self._stores:
            with contextlib.suppress(OSError):
                names.update(os.listdir(store.home / DOCUMENTS))  # noqa: PTH208 - names, of which there may be many
        return frozenset(names)

    def discard_document(self, metadata: Metadata) -> None:
        """Delete such a document, which is damaged; that of a layer stays."""
        with contextlib.suppress(OSError):
            remove(self._document_path(self._store, metadata))

    def _document_path(self, store: Store, metadata: Metadata) -> Path:
        return store.home / DOCUMENTS / _document_key(metadata)

    @property
    def layers(self) -> tuple[Path, ...]:
        """The caches below this one."""
        return tuple(layer.home for layer in self._layers)

    @property
    def _stores(self) -> tuple[Store, ...]:
        return (self._store, *self._layers)

    # From an artifact's files to its folder.

    def _placed(
        self, record: ModelRecord, repository: Repository, progress: Progress | None, *, keep: bool
    ) -> tuple[Path | None, dict[str, Path]]:
        """The folder of an artifact, if it needs one, and where its files are."""
        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(VanishedError):
                return self._placed_once(record, repository, progress, keep=keep)
        return self._placed_once(record, repository, progress, keep=keep)

    def _placed_once(
        self, record: ModelRecord, repository: Repository, progress: Progress | None, *, keep: bool
    ) -> tuple[Path | None, dict[str, Path]]:
        parts = self._parts(record, repository, progress, keep=keep)
        layout = joined(record, parts.values())
        folder = self._assembled(record, layout) if any(part.place is None for part in parts.values()) else None
        placed = {file.key: parts[file.key].path(file, folder) for file in record.files}
        return folder, {key: path for key, path in placed.items() if path is not None}

    def _parts(self, record: ModelRecord, repository: Repository, progress: Progress | None, *, keep: bool) -> dict[str, Part]:
        """What the files of an artifact became, verified and unpacked, by their keys."""
        here = {file.key: self._here(record, file, repository, keep=keep) for file in record.files}
        absent = [file for file in record.files if here[file.key] is None]
        found = {key: part for key, part in here.items() if part is not None}
        self._download_all(record, absent, repository, progress)
        # Unpacked here, when no thread is left that could be ended in the middle of it.
        return found | {file.key: self._arrived(record, file, repository) for file in absent}

    def _arrived(self, record: ModelRecord, file: ArtifactFile, repository: Repository) -> Part:
        """What a file became that was just downloaded, here or by another process."""
        part = self._here(record, file, repository, keep=False)
        if part is None:
            raise VanishedError(f"{shown_url(file.url)} came into the cache {self.home}, and somebody deleted it at once")
        return part

    def _assembled(self, record: ModelRecord, layout: Layout) -> Path:
        """The folder of an artifact: that of a layer, if one has it whole, else ours."""
        for layer in self._layers:
            if all(layer.holds(blob) for blob in layout.blobs.values()):
                folder = Folders(layer).sound(record, layout)
                if folder is not None:
                    return folder
        own = Layout({name: self._own(blob) for name, blob in layout.blobs.items()}, layout.folders)
        with _needing(own.blobs.values()):
            return self._folders.assemble(record, own)

    def _own(self, blob: Path) -> Path:
        """A content in the store that is ours; what lies in a layer is copied, since a link would be a change there."""
        if self._store.holds(blob):
            return blob
        own = self._store.copied(blob, blob.name)
        if own is None:
            raise IntegrityError(f"{blob} is damaged", expected=blob.name, url=str(blob))
        return own

    def _here(self, record: ModelRecord, file: ArtifactFile, repository: Repository, *, keep: bool) -> Part | None:
        """What a file became that is on this machine, unpacked if it is an archive; None where it must be fetched."""
        local, how = _local(file, repository), unpacked_as(file)
        if how is not None:
            contents = self._sound_contents(file, how, local)
            if contents is not None:
                return unpacked_part(file, how, contents)
            archive = local or self._sound_blob(file)
            return self._unpacked(record, file, how, archive, local) if archive is not None else None
        if local is not None:
            path = self._kept(file, local, record) if keep else self._in_place(file, local, record)[0]
            return Part(layout=Layout({file.name: path})) if keep else Part(place=path)
        blob = self._sound_blob(file)
        return Part(layout=Layout({file.name: blob})) if blob is not None else None

    def _unpacked(self, record: ModelRecord, file: ArtifactFile, how: str, archive: Path, local: Path | None) -> Part:
        """What an archive became: a content of the store, which is not needed any more then, or a file of the user's."""
        with self._store.lock(f"unpack {file.sha256 or file.url}"):
            contents = self._sound_contents(file, how, local)
            if contents is None:
                sha256 = archive.name if local is None else self._hashed_anew(record, file, local)
                what = f"{printable(file.key)} of {printable(record.reference)} ({shown_url(file.url)})"
                try:
                    with _needing([archive]):
                        contents = unpack_into(self._store, archive, sha256, how, what=what, limits=self._limits)
                except (UnsafeArchiveError, IntegrityError):
                    # It would be refused the next time too.
                    self._store.discard(archive)
                    raise
            if local is None:
                self._store.discard(archive)
        return unpacked_part(file, how, contents)

    def _hashed_anew(self, record: ModelRecord, file: ArtifactFile, local: Path) -> str:
        """The digest of a local file, whatever is known of it: it may have changed with its size and time kept."""
        digests = digest_file(local)
        self._check(file, digests, str(local), record)
        self._store.remember(local, digests)
        return digests.sha256

    def _sound_contents(self, file: ArtifactFile, how: str, local: Path | None) -> Contents | None:
        sha256 = self._digest_of(file, local)
        found = (sound_contents(store, sha256, how) for store in self._stores) if sha256 else ()
        return next((contents for contents in found if contents is not None), None)

    def _digest_of(self, file: ArtifactFile, local: Path | None) -> str | None:
        """The full digest of a file, as far as it is known."""
        if local is None:
            return file.sha256 or self._first_seen(file)
        known = self._store.known(local)
        return known.sha256 if known is not None and _agrees(file, known) else None

    def _known(self, file: ArtifactFile, repository: Repository | None) -> Part | None:
        """What a file of an artifact is known to have become; nothing is hashed."""
        try:
            local = _local(file, repository) if repository else None
        except RepositoryError:
            return None
        how, sha256 = unpacked_as(file), self._digest_of(file, local)
        if how is not None and sha256:
            found = (unpacked_contents(store, sha256, how) for store in self._stores)
            contents = next((contents for contents in found if contents is not None), None)
            if contents is not None:
                return unpacked_part(file, how, contents)
        if local is not None:
            return Part(place=local) if local.is_file() else None
        blobs = [store.blob(sha256) for store in self._stores] if sha256 else []
        blob = next((blob for blob in blobs if blob.is_file()), None)
        # An archive that was downloaded, and whose unpacking was interrupted, needs no network either.
        return None if blob is None else Part(layout=Layout({file.name: blob})) if how is None else Part(place=blob)

    # From an address to a verified content.

    def _download_all(
        self, record: ModelRecord, files: Sequence[ArtifactFile], repository: Repository, progress: Progress | None
    ) -> None:
        """Bring files that are not on this machine yet into the store, several at once."""
        if not files:
            return
        self._downloads.check(files)
        transfer = repository.transfer_for(files[0])
        # Nobody promises that what a plugin opens can be read in several threads.
        traffic = Traffic(progress, transfer.connections if transfer else 1, len(files))
        tasks = [functools.partial(self._bring, record, file, repository, traffic) for file in files]
        at_once(tasks, traffic.stop, traffic.at_once)

    def _bring(self, record: ModelRecord, file: ArtifactFile, repository: Repository, traffic: Traffic) -> None:
        """Download a file, unless another process brought it meanwhile, and perhaps unpacked it."""
        began, how = time.monotonic(), unpacked_as(file)

        def is_worth() -> bool:
            traffic.stop.check()
            return time.monotonic() - began < _SILENT_S or self._downloads.is_alive(file, _SILENT_S)

        with self._store.lock(key(file), is_worth=is_worth) as is_held:
            is_unpacked = how is not None and self._sound_contents(file, how, None) is not None
            if not is_unpacked and self._sound_blob(file) is None:
                self._download(record, file, repository, traffic, is_alone=is_held)

    def _sound_blob(self, file: ArtifactFile) -> Path | None:
        sha256 = file.sha256 or self._first_seen(file)
        if not sha256:
            return None
        return self._store.sound_blob(sha256) or next(
            filter(None, (self._layered(layer, sha256) for layer in self._layers)), None
        )

    def _layered(self, layer: Store, sha256: str) -> Path | None:
        """A content of a layer, if it is there and sound; what a layer does not say of its files is found and noted here."""
        blob = layer.blob(sha256)
        known = layer.known(blob)
        is_sound = known.sha256 == sha256 if known is not None else self._store.is_sound(blob, sha256)
        return blob if is_sound else None

    def _first_seen(self, file: ArtifactFile) -> str | None:
        """The full digest that a weak one turned out to be at an earlier download."""
        for store in self._stores:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found = (store.home / "digests" / _weak_key(file)).read_text("ascii").strip()
                # Whoever shares the cache can write notes, and paths come of them.
                if _SHA256.fullmatch(found) and found.startswith(file.sha256_prefix or ""):
                    return found
        return None

    def _digest_note(self, file: ArtifactFile) -> Path:
        return self.home / "digests" / _weak_key(file)

    def _download(
        self, record: ModelRecord, file: ArtifactFile, repository: Repository, traffic: Traffic, *, is_alone: bool
    ) -> None:
        def verify(found: Digests, url: str) -> None:
            self._check(file, found, url, record)

        try:
            _, found = self._downloads.bring(file, repository, verify, traffic, is_alone=is_alone)
        except OfflineError as error:
            raise OfflineError(
                f"{error}. {printable(file.key)} of {printable(record.reference)} was looked for in "
                f"{' and '.join(str(store.home) for store in self._stores)}; with a network, it is fetched by: "
                f"{fetching_command(record)}",
                error.url,
            ) from error
        if not file.sha256:
            self._store.write(self._digest_note(file), found.sha256.encode())

    def _check(self, file: ArtifactFile, found: Digests, where: str, record: ModelRecord) -> None:
        """Compare what was found with the strongest digest that the document gives."""
        first_seen = self._first_seen(file)
        if file.sha256:
            expected, actual = f"sha256:{file.sha256}", f"sha256:{found.sha256}"
        elif file.sha1 and (file.sha1 != found.sha1 or not first_seen):
            expected, actual = f"sha1:{file.sha1}", f"sha1:{found.sha1}"
        elif first_seen:
            # A prefix fits many contents, and two can be made that have one sha1; the one that came first is meant.
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
def _needing(contents: Iterable[Path]) -> Iterator[None]:
    """Tell a cache that cannot be written from one that somebody else deletes from."""
    try:
        yield
    except CacheError as error:
        # Where locks do nothing, folders too are made and deleted by others at the same moment.
        is_gone = isinstance(error.__cause__, OSError) and error.__cause__.errno in _OVERTAKEN
        if not is_gone and all(path.is_file() for path in contents):
            raise
        raise VanishedError(str(error)) from error


@contextlib.contextmanager
def _ending(progress: Progress | None) -> Iterator[None]:
    """Close what shows the progress, however the block ends: a bar that stays hides the cursor."""
    try:
        yield
    finally:
        close = getattr(progress, "close", None)
        if callable(close):
            close()


def fetching_command(record: ModelRecord) -> str:
    """The command that downloads an artifact, to be pasted into a shell."""
    source, words = record.source, [record.reference]
    if source.is_named:
        # Who named its repository has to name it there too; the address of one file is a MODEL by itself.
        is_model = len(record.files) == 1 and _is_whole(record, record.files[0])
        words = [shown_url(source.repository)] if is_model else [*words, "--repository", shown_url(source.name)]
    return printable(shlex.join(["zoo", "download", *words]))


def unsupported(record: ModelRecord) -> IntegrityError | MetadataError | None:
    """Why a load of an artifact would be refused before anything is downloaded; None where it would not."""
    try:
        for file in record.files:
            check_supported(record, file)
    except (IntegrityError, MetadataError) as error:
        return error
    return None


def check_supported(record: ModelRecord, file: ArtifactFile) -> None:
    """Refuse what cannot be had, before anything is downloaded.

    Raises:
        MetadataError: It is to become a folder, and its address is that of no archive.
        IntegrityError: It has no digest, or is code and has only a weak one, or comes in an archive.
    """
    if not is_verifiable(record, file):
        raise IntegrityError(f"{_without_digest(record, file)}, so it cannot be verified{_remedy(record, file)}", url=file.url)
    if file.type == "dir" and unpacked_as(file) not in FOLDERS:
        raise MetadataError(
            f"{shown_url(record.metadata.url)}: file {printable(file.key)} of {printable(record.reference)} is to become a "
            f"folder, and {shown_url(file.uri)} is none of .zip, .mar, .tar, .tar.gz, .tgz, .tar.z",
            url=record.metadata.url,
        )
    if file.key == CODE_KEY and (not file.sha256 or unpacked_as(file) is not None):
        raise IntegrityError(
            f"{printable(record.reference)}: code needs a full sha256 in its document, of the file itself and of no archive",
            url=file.url,
        )


def is_verifiable(record: ModelRecord, file: ArtifactFile) -> bool:
    """Whether a digest is promised, or none is needed."""
    return bool(file.sha256 or file.sha1 or file.sha256_prefix or _may_be_unverified(record, file))


def _may_be_unverified(record: ModelRecord, file: ArtifactFile) -> bool:
    """Whether the user's own configuration allows it, or this very call names the file's own address."""
    return record.source.allow_unverified or (record.source.is_named and _is_whole(record, file))


def _is_whole(record: ModelRecord, file: ArtifactFile) -> bool:
    """Whether a file is all that its repository is: then its digest stands at the end of the repository's address."""
    address = record.source.repository.partition("#")[0]
    return file.url == (address.partition("?")[0] if address.startswith("file:") else address)


def _without_digest(record: ModelRecord, file: ArtifactFile) -> str:
    if _is_whole(record, file):
        return f"{shown_url(file.url)} has no digest at its end"
    return f"{shown_url(file.url)} has no digest in {shown_url(record.metadata.url)}"


def _remedy(record: ModelRecord, file: ArtifactFile) -> str:
    if _is_whole(record, file):
        return f": add #sha256=<hex> to it, or set {ALLOWING}"
    is_address = urlsplit(file.url).path.lower().endswith(FILE_SUFFIXES)
    itself = f", or name {shown_url(file.url)} itself" if is_address and len(record.files) == 1 else ""
    return f"; its publisher adds one by `zoo index`. To take it all the same, set {ALLOWING}{itself}"


def _local(file: ArtifactFile, repository: Repository) -> Path | None:
    """Where a file is read that is not downloaded, though it may be missing there."""
    local = repository.local_path(file)
    # A catalogue may name mirrors for files that were not copied with it.
    return local if local is None or local.is_file() or not file.mirrors else None


def _document_key(metadata: Metadata) -> str:
    return key_of(f"{metadata.listed_as} {metadata.url}")


def _weak_key(file: ArtifactFile) -> str:
    weak = f"sha1:{file.sha1}" if file.sha1 else f"prefix:{file.sha256_prefix}:{file.url}" if file.sha256_prefix else file.url
    return key_of(weak)


def _agrees(file: ArtifactFile, known: Digests) -> bool:
    """Whether a digest that was found earlier is the one a document promises."""
    if file.sha256:
        return known.sha256 == file.sha256
    if file.sha1:
        return known.sha1 == file.sha1
    # Where nothing is promised, what was seen once and told of is all that there is to go by.
    return known.sha256.startswith(file.sha256_prefix or "")
