"""One folder for each artifact, with its files under their own names.

    artifacts/<group>/<artifact>/<version>/<name>-<content>/   plain files: hard links to the blobs, or copies

A folder appears with all its files, and is never moved or deleted from then on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from zoo_core.atomic import atomic_file, make_read_only, remove, replace, unique_name
from zoo_core.errors import CacheError
from zoo_core.record import ModelRecord
from zoo_core.store import CHUNK, Store, key_of

#: Names that Windows keeps for devices, with any suffix.
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d) *(\.|$)", re.IGNORECASE)


class Folders:
    """The folders of the artifacts whose files are in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def path(self, record: ModelRecord, blobs: Mapping[str, Path]) -> Path:
        """Where the folder of an artifact is, by the blobs of its files by their names.

        Ids are what anybody claims, so the content is in the name: other content never gets the same folder.
        """
        content = key_of(json.dumps(sorted((name, blob.name) for name, blob in blobs.items())))
        last = f"{_component(record.name or record.artifact_id)}-{content[:32]}"
        ids = (record.group_id, record.artifact_id, record.version or "unversioned")
        return self._store.home.joinpath("artifacts", *(_component(part) for part in ids), last)

    def assemble(self, record: ModelRecord, blobs: Mapping[str, Path]) -> Path:
        """The folder of an artifact with all its files.

        Others may be reading a folder that has its final name, so what it lacks is put into it.

        Raises:
            CacheError: The cache cannot be written.
        """
        target = self.path(record, blobs)
        lacking = self._lacking(target, blobs)
        if not lacking and target.is_dir():
            return target
        with self._store.writing():
            if not target.is_dir():
                self._build(target, blobs)
                lacking = self._lacking(target, blobs)
            for name, blob in lacking.items():
                _put(blob, target / name)
        return target

    def _lacking(self, target: Path, blobs: Mapping[str, Path]) -> dict[str, Path]:
        """The files that a folder has not, or that are not what their blobs are."""
        return {name: blob for name, blob in blobs.items() if not self._is_same(target / name, blob)}

    def _is_same(self, path: Path, blob: Path) -> bool:
        try:
            if os.path.samestat(path.stat(), blob.stat()):
                return True
        except OSError:
            return False
        return self._store.is_sound(path, blob.name)

    def _build(self, target: Path, blobs: Mapping[str, Path]) -> None:
        """Make a folder, which appears with all its files."""
        target.parent.mkdir(parents=True, exist_ok=True)
        building = target.parent / unique_name()
        building.mkdir()
        try:
            for name, blob in blobs.items():
                link_or_copy(blob, building / name)
            _rename_folder(building, target)
        finally:
            if building.is_dir():
                _discard(building, blobs)


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


def _put(blob: Path, path: Path) -> None:
    """Put a file into a folder that others may be reading."""
    partial = path.parent.with_name(unique_name())
    try:
        link_or_copy(blob, partial)
        replace(partial, path)
    finally:
        # A rename of one link over another of the same file does nothing and leaves both.
        _discard_link(partial, blob)


def _discard(building: Path, blobs: Mapping[str, Path]) -> None:
    for name, blob in blobs.items():
        _discard_link(building / name, blob)
    building.rmdir()


def _discard_link(path: Path, blob: Path) -> None:
    if path.exists():
        remove(path)
        # Windows deletes a name only once its file is writable, under all its names.
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
