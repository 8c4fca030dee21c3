"""What archives became: their files as contents of the store, found again by the archive's digest.

    unpacked/<archive's sha256>.<how>     the paths, digests, sizes and times of its files

An archive is unpacked once, into a folder that nobody else sees; its files become blobs like any others, and the note that
names them is written last. The archive itself is not needed any more then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from zoo_core.errors import UnsafeArchiveError
from zoo_core.members import Tree
from zoo_core.store import Digests, Store, VanishedError
from zoo_core.unpack import CONTENT, FILES, FOLDERS, Limits, unpack

FOLDER = "unpacked"


class _NotedFile(msgspec.Struct, frozen=True):
    path: str
    sha256: str
    size: int
    mtime_ns: int


class _Note(msgspec.Struct, frozen=True):
    files: tuple[_NotedFile, ...]
    folders: tuple[str, ...] = ()


class Contents(msgspec.Struct, frozen=True):
    """The files of one archive.

    Attributes:
        blobs: Path inside the archive -> its content; the one file of what is no folder has the path `CONTENT`.
        folders: Folders that have no file in them.
    """

    blobs: Mapping[str, Path]
    folders: tuple[str, ...] = ()


def unpacked_contents(store: Store, sha256: str, how: str) -> Contents | None:
    """What an archive became, if all of it is here; nothing is hashed."""
    note = _read(store, sha256, how)
    if note is None:
        return None
    blobs = {file.path: store.blob(file.sha256) for file in note.files}
    return Contents(blobs, note.folders) if all(blob.is_file() for blob in blobs.values()) else None


def sound_contents(store: Store, sha256: str, how: str) -> Contents | None:
    """What an archive became, if all of it is here and what it was: told by sizes and times, hashed where these changed."""
    note = _read(store, sha256, how)
    if note is None or not all(_is_sound(store, file) for file in note.files):
        return None
    return Contents({file.path: store.blob(file.sha256) for file in note.files}, note.folders)


def unpack_into(store: Store, archive: Path, sha256: str, how: str, *, what: str, limits: Limits) -> Contents:
    """Unpack an archive that was verified; nothing of it is kept unless all of it can be.

    Args:
        archive: The file.
        sha256: Its digest.
        how: As for `unpack`.
        what: What messages call it.

    Raises:
        UnsafeArchiveError, IntegrityError: As for `unpack`.
        VanishedError: Somebody deletes what comes out of it.
        CacheError: The cache cannot be written.
    """
    with store.incoming_folder() as partial:
        found = unpack(archive, how, partial, what=what, limits=limits)
        blobs = {file.path: store.adopt(partial / file.path, Digests(file.sha256), is_noted=False) for file in found.files}
        files = tuple(_NotedFile(file.path, file.sha256, file.size, _time(blobs[file.path])) for file in found.files)
    store.write(note_path(store, sha256, how), msgspec.json.encode(_Note(files, found.folders)))
    return Contents(blobs, found.folders)


def _time(blob: Path) -> int:
    try:
        return blob.stat().st_mtime_ns
    except FileNotFoundError as error:
        # It was here already, as another artifact's, which somebody removed at this moment.
        raise VanishedError(f"{blob} was deleted while an archive was unpacked that has it too") from error


def note_path(store: Store, sha256: str, how: str) -> Path:
    """Where it is noted what an archive became."""
    return store.home / FOLDER / f"{sha256}.{how}"


def named_digests(note: Path) -> frozenset[str]:
    """The digests that a note names; none where it cannot be read."""
    found = _decoded(note)
    return frozenset(file.sha256 for file in found.files) if found is not None else frozenset()


def _is_sound(store: Store, file: _NotedFile) -> bool:
    blob = store.blob(file.sha256)
    try:
        status = blob.stat()
    except OSError:
        return False
    if (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns):
        return True
    return store.is_sound(blob, file.sha256)


def _read(store: Store, sha256: str, how: str) -> _Note | None:
    note = _decoded(note_path(store, sha256, how))
    return note if note is not None and _is_safe(note, how) else None


def _decoded(path: Path) -> _Note | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Note)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        # A damaged note only means unpacking anew.
        return None


def _is_safe(note: _Note, how: str) -> bool:
    """Whether a note names places inside one folder only: whoever shares the cache can write notes, and paths come of them."""
    if not all(re.fullmatch(r"[0-9a-f]{64}", file.sha256) for file in note.files):
        return False
    if how in FILES:
        return [file.path for file in note.files] == [CONTENT] and not note.folders
    tree = Tree("a note of the cache")
    try:
        same = [tree.file(file.path) == file.path for file in note.files]
        same += [tree.folder(folder) == folder for folder in note.folders]
    except UnsafeArchiveError:
        return False
    return how in FOLDERS and all(same)
