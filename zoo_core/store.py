"""Contents by their digest, and what is known of files that were read once.

    blobs/sha256/ab/<digest>      contents, once each, read-only
    checked/<key>                 size, time and digest of files that were hashed
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from zoo_core.atomic import atomic_file, make_read_only, remove, replace, unique_name
from zoo_core.errors import CacheError, RepositoryError, ZooError

if TYPE_CHECKING:
    from filelock import BaseFileLock

CHUNK = 1 << 20
BLOBS = "blobs"
#: Seconds of waiting for a lock after which is asked whether to go on.
_TURN_S = 1.0


class VanishedError(CacheError):
    """A content was deleted that was here a moment ago, by somebody who makes room or had unpacked it."""


class Digests(msgspec.Struct, frozen=True):
    """What was found of a file's bytes; `sha1` is "" where nobody asked for it."""

    sha256: str
    sha1: str = ""


class Store:
    """The folder below which contents and notes lie.

    Args:
        home: The folder; made at the first write.
        is_read_only: It is another's, and nothing is ever noted there.
    """

    def __init__(self, home: Path, *, is_read_only: bool = False) -> None:
        self.home = home
        self._is_read_only = is_read_only
        self._blobs = home / BLOBS

    def blob(self, sha256: str) -> Path:
        """Where a content lies, if it is here."""
        return self._blobs / "sha256" / sha256[:2] / sha256

    def holds(self, path: Path) -> bool:
        """Whether a path is that of a blob, not of a file that is another's."""
        return path.is_relative_to(self._blobs)

    def sound_blob(self, sha256: str) -> Path | None:
        """A content, if it is here and what it was when it arrived."""
        blob = self.blob(sha256)
        return blob if self.is_sound(blob, sha256) else None

    def is_sound(self, path: Path, sha256: str) -> bool:
        """Whether a file has a content: told by its size and time, and in full only where these changed."""
        known = self.known(path)
        if known is not None:
            return known.sha256 == sha256
        if not path.is_file():
            return False
        try:
            found = digest_file(path)
        except RepositoryError:
            # Somebody who makes room deleted it just now.
            if not path.exists():
                return False
            raise
        if found.sha256 == sha256:
            self.remember(path, found)
        return found.sha256 == sha256

    def known(self, path: Path) -> Digests | None:
        """What was found of a file that has not changed since; None where it has, or was never read."""
        try:
            stamp = _stamp(path)
        except OSError:
            return None
        note = _read_json(self._note(path))
        sha256, sha1 = note.get("sha256"), note.get("sha1")
        is_same = {name: note.get(name) for name in stamp} == stamp and isinstance(sha256, str) and isinstance(sha1, str)
        return Digests(str(sha256), str(sha1)) if is_same else None

    def remember(self, path: Path, found: Digests) -> None:
        """Note what was found of a file."""
        if self._is_read_only:
            return
        # A cache that cannot be written makes this slower, not wrong: the file is hashed again next time.
        with contextlib.suppress(CacheError):
            note = {**_stamp(path), "sha256": found.sha256, "sha1": found.sha1}
            self.write(self._note(path), json.dumps(note).encode())

    def forget(self, path: Path) -> None:
        """Drop what is known of a file, which is not true any more or not there."""
        with self.writing():
            remove(self._note(path))

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """A path for a content that is on its way; what is left there when the block ends is deleted.

        Raises:
            CacheError: The cache cannot be written.
        """
        with self.writing():
            self._blobs.mkdir(parents=True, exist_ok=True)
            partial = self._blobs / unique_name()
            try:
                yield partial
            finally:
                remove(partial)

    @contextlib.contextmanager
    def incoming_folder(self) -> Iterator[Path]:
        """An empty folder for contents that are on their way; what is left there when the block ends is deleted.

        Raises:
            CacheError: The cache cannot be written.
        """
        with self.writing():
            partial = self._blobs / unique_name()
            partial.mkdir(parents=True)
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def adopt(self, partial: Path, found: Digests, *, is_noted: bool = True) -> Path:
        """Give a content that is whole and verified its final name; one that is there already and sound stays.

        Args:
            is_noted: Note that it was; the files of an archive have a note in common.
        """
        blob = self.blob(found.sha256)
        blob.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Unlike a rename, a link replaces nothing: folders of artifacts are linked to the blob that was first.
            os.link(partial, blob)
        except OSError:
            if not self.is_sound(blob, found.sha256):
                replace(partial, blob)
        # Before the file is read-only, under whichever name: Windows would not delete it then.
        remove(partial)
        # Somebody who unpacked it may have deleted it already.
        with contextlib.suppress(FileNotFoundError):
            make_read_only(blob)
            if is_noted:
                self.remember(blob, found)
        return blob

    def discard(self, blob: Path) -> None:
        """Delete a content that is not needed any more, unless it is another store's or has another name, in a folder."""
        with contextlib.suppress(OSError):
            if self.holds(blob) and blob.stat().st_nlink == 1:
                remove(blob)
                remove(self._note(blob))

    def copied(self, path: Path, sha256: str) -> Path | None:
        """A blob with the content of a file that is another's; None where the file does not have that content.

        It is hashed once more on the way, as it may change meanwhile.

        Raises:
            RepositoryError: The file cannot be read.
        """
        blob = self.sound_blob(sha256)
        if blob is not None:
            return blob
        digest = hashlib.sha256()
        with _opened(path) as source, self.incoming() as partial:
            with partial.open("xb") as target:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
                target.flush()
                os.fsync(target.fileno())
            return self.adopt(partial, Digests(sha256)) if digest.hexdigest() == sha256 else None

    def write(self, path: Path, content: bytes) -> None:
        """Write a small file so that it appears whole or not at all.

        Raises:
            CacheError: The cache cannot be written.
        """
        with self.writing(), atomic_file(path) as stream:
            stream.write(content)

    @contextlib.contextmanager
    def lock(self, name: str, *, is_worth: Callable[[], bool] = lambda: True) -> Iterator[bool]:
        """Let other processes that want the same file wait for it, where locks work; nothing depends on it.

        Args:
            is_worth: Asked now and then whether to go on waiting; may raise.

        Yields:
            Whether it is held.
        """
        from filelock import FileLock

        lock = FileLock(self.home / "locks" / key_of(name))
        is_held = False
        # Works without.
        with contextlib.suppress(OSError, NotImplementedError):
            (self.home / "locks").mkdir(parents=True, exist_ok=True)
            is_held = _acquired(lock, is_worth)
        try:
            yield is_held
        finally:
            if is_held:
                lock.release()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the file system refuses into an error with a remedy.

        Raises:
            CacheError: The cache cannot be written.
        """
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

    def _note(self, path: Path) -> Path:
        # A cache that is moved, or seen under another path by another machine, keeps what it knows of its own files.
        inside = path.relative_to(self.home).as_posix() if path.is_relative_to(self.home) else str(path)
        return self.home / "checked" / key_of(inside)


def _acquired(lock: BaseFileLock, is_worth: Callable[[], bool]) -> bool:
    from filelock import Timeout

    while True:
        began = time.monotonic()
        try:
            lock.acquire(timeout=_TURN_S)
            return True
        except Timeout:
            # One that refuses at once is no lock to wait for.
            if time.monotonic() - began < _TURN_S / 2 or not is_worth():
                return False


def digest_file(path: Path) -> Digests:
    """The digests of a file.

    Raises:
        RepositoryError: It cannot be read.
    """
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    with _opened(path) as stream:
        while chunk := stream.read(CHUNK):
            sha256.update(chunk)
            sha1.update(chunk)
    return Digests(sha256.hexdigest(), sha1.hexdigest())


def key_of(text: str) -> str:
    """Any text as the name of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise RepositoryError(f"{path}: {error.strerror or error}", str(path)) from error


def _stamp(path: Path) -> dict[str, int]:
    """What changes when a file's content does, and costs nothing to ask."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
