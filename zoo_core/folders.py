"""One folder for each artifact, with its files under their own names.

    artifacts/<group>/<artifact>/<version>/<name>-<content>/   plain files: hard links to the blobs, or copies
    folders/<key>                                              whose folder it is, and the digests of its files

A folder appears with all its files, and stays as it is until it is deleted as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import msgspec

from zoo_core.atomic import atomic_file, make_read_only, remove, replace, unique_name
from zoo_core.errors import CacheError
from zoo_core.lease import Leases
from zoo_core.record import ModelRecord
from zoo_core.store import CHUNK, Store, key_of
from zoo_core.wording import shown_url

#: Names that Windows keeps for devices, with any suffix.
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d) *(\.|$)", re.IGNORECASE)
ARTIFACTS = "artifacts"
OWNERS = "folders"


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose an artifact's folder is; its file's time is that of the last use.

    Attributes:
        folder: Below the cache, with ``/`` between its parts.
        mrl: As text.
        repository: The URL, without what is secret in it.
        files: Path inside the folder -> sha256.
    """

    folder: str
    mrl: str
    group_id: str
    artifact_id: str
    version: str | None = None
    name: str = ""
    repository: str = ""
    files: dict[str, str] = msgspec.field(default_factory=dict)


class Layout(msgspec.Struct, frozen=True):
    """What lies in an artifact's folder.

    Attributes:
        blobs: Path inside the folder, with ``/`` between its parts -> the blob.
        folders: Folders inside that have no file in them.
    """

    blobs: Mapping[str, Path]
    folders: tuple[str, ...] = ()


class Folders:
    """The folders of the artifacts whose files are in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._leases = Leases(store.home)

    def path(self, record: ModelRecord, layout: Layout) -> Path:
        """Where the folder of an artifact is.

        Ids are what anybody claims, so the content is in the name: other content never gets the same folder.
        """
        names = [(name, blob.name) for name, blob in layout.blobs.items()]
        content = key_of(json.dumps(sorted([*names, *((f"{folder}/", "") for folder in layout.folders)])))
        last = f"{_component(record.name or record.artifact_id)}-{content[:32]}"
        ids = (record.group_id, record.artifact_id, record.version or "unversioned")
        return self._store.home.joinpath(ARTIFACTS, *(_component(part) for part in ids), last)

    def sound(self, record: ModelRecord, layout: Layout) -> Path | None:
        """The folder of an artifact if it has all its files; nothing is written."""
        target = self.path(record, layout)
        return target if target.is_dir() and not self._lacking(target, layout) else None

    def assemble(self, record: ModelRecord, layout: Layout) -> Path:
        """The folder of an artifact with all its files; this process uses it until it ends.

        Others may be reading a folder that has its final name, so what it lacks is put into it.

        Raises:
            CacheError: The cache cannot be written, or a blob was deleted meanwhile.
        """
        target = self.path(record, layout)
        name = target.relative_to(self._store.home).as_posix()
        with self._leases.holding(name):
            lacking = self._lacking(target, layout)
            if lacking or not target.is_dir() or not self._is_stamped(name):
                with self._store.writing():
                    self._store.write(self._owner_path(name), msgspec.json.encode(_owner(record, name, layout)))
                    self._complete(target, layout, lacking)
        return target

    def _complete(self, target: Path, layout: Layout, lacking: Mapping[str, Path]) -> None:
        if not target.is_dir():
            self._build(target, layout)
            lacking = self._lacking(target, layout)
        for name, blob in lacking.items():
            _put(blob, target, name)
        for folder in layout.folders:
            (target / folder).mkdir(parents=True, exist_ok=True)

    def _is_stamped(self, name: str) -> bool:
        """Note the use of a folder; False where nothing is known of it yet."""
        path = self._owner_path(name)
        with contextlib.suppress(OSError):
            os.utime(path)
        return path.is_file() or not os.access(self._store.home, os.W_OK)

    def _owner_path(self, name: str) -> Path:
        return owner_path(self._store.home, name)

    def _lacking(self, target: Path, layout: Layout) -> dict[str, Path]:
        """The files that a folder has not, or that are not what their blobs are."""
        return {name: blob for name, blob in layout.blobs.items() if not self._is_same(target / name, blob)}

    def _is_same(self, path: Path, blob: Path) -> bool:
        try:
            if os.path.samestat(path.stat(), blob.stat()):
                return True
        except OSError:
            return False
        return self._store.is_sound(path, blob.name)

    def _build(self, target: Path, layout: Layout) -> None:
        """Make a folder, which appears with all its files."""
        target.parent.mkdir(parents=True, exist_ok=True)
        building = target.parent / unique_name()
        building.mkdir()
        try:
            for folder in sorted({*layout.folders, *(name.rpartition("/")[0] for name in layout.blobs)}):
                (building / folder).mkdir(parents=True, exist_ok=True)
            for name, blob in layout.blobs.items():
                link_or_copy(blob, building / name)
            _rename_folder(building, target)
        finally:
            if building.is_dir():
                _discard(building, layout.blobs)


def owner_path(home: Path, folder: str) -> Path:
    """Where it is noted whose a folder is."""
    return home / OWNERS / key_of(folder)


def _owner(record: ModelRecord, folder: str, layout: Layout) -> Owner:
    return Owner(
        folder=folder,
        mrl=str(record.mrl),
        group_id=record.group_id,
        artifact_id=record.artifact_id,
        version=record.version,
        name=record.name,
        repository=shown_url(record.repository),
        files={name: blob.name for name, blob in layout.blobs.items()},
    )


def copy_folder(source: Path, target: Path) -> Path:
    """Copy an artifact's files into a folder where they may be edited; each appears whole.

    Raises:
        CacheError: The folder cannot be written.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.rglob("*")):
            copied = target / path.relative_to(source)
            if path.is_dir():
                copied.mkdir(parents=True, exist_ok=True)
                continue
            with path.open("rb") as stream, atomic_file(copied) as copy:
                shutil.copyfileobj(stream, copy, CHUNK)
    except OSError as error:
        raise CacheError(f"{target} cannot be written: {error.strerror or error}") from error
    return target.absolute()


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system knows no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        make_read_only(target)


def _rename_folder(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        # Another process was first; what its folder lacks, if anything, is seen afterwards.
        if not target.is_dir():
            raise


def _put(blob: Path, folder: Path, name: str) -> None:
    """Put a file into a folder that others may be reading."""
    path, partial = folder / name, folder.with_name(unique_name())
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        link_or_copy(blob, partial)
        replace(partial, path)
    finally:
        # A rename of one link over another of the same file does nothing and leaves both.
        _discard_link(partial, blob)


def _discard(building: Path, blobs: Mapping[str, Path]) -> None:
    for name, blob in blobs.items():
        _discard_link(building / name, blob)
    shutil.rmtree(building)


def _discard_link(path: Path, blob: Path) -> None:
    if path.exists():
        remove(path)
        # Windows deletes a name only once its file is writable, under all its names.
        with contextlib.suppress(FileNotFoundError):
            make_read_only(blob)


def _component(text: str) -> str:
    """Foreign text as one path component, the same on every system and never `..`, hidden or a device."""
    quoted = quote(text, safe=" +@=,()")
    if quoted.startswith("."):
        quoted = quoted.replace(".", "%2E")
    # Windows drops what ends in these, and two ids would share a folder.
    if quoted.endswith((".", " ")):
        quoted = f"{quoted[:-1]}%{ord(quoted[-1]):02X}"
    if _DEVICES.match(quoted):
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    return quoted if len(quoted) <= 100 else f"{quoted[:80]}-{key_of(text)[:12]}"
