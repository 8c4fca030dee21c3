"""Files that appear under their final name whole, or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

#: Seconds for which a note of a use is fresh enough: most uses write nothing.
_FRESH_S = 3600.0
#: What the name of all that is not whole yet begins with.
PARTIAL = ".partial-"


def unique_name() -> str:
    """A hidden name that no other process uses, for what is not whole yet."""
    return f"{PARTIAL}{os.urandom(16).hex()}"


@contextmanager
def atomic_path(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """A temporary path in the same folder; what was written there replaces ``path`` when the block ends without an error.

    Args:
        mode: The permissions of the file, of which the umask takes its part, as for every new file.
    """
    partial = path.with_name(unique_name() + path.suffix)
    # Made by the kernel with the umask applied: tempfile's would be its owner's only, and a cache is shared.
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode | 0o200))
    granted = partial.stat().st_mode
    try:
        yield partial
        # Whoever wrote it may have put a file of its own in its place, as safetensors does.
        partial.chmod(granted)
        # Windows flushes only what is open for writing, so the file becomes read-only after that.
        with partial.open("r+b") as stream:
            os.fsync(stream.fileno())
        if not mode & 0o200:
            make_read_only(partial)
        replace(partial, path)
    finally:
        remove(partial)


@contextmanager
def atomic_file(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A stream whose content appears at ``path`` when the block ends without an error; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, mode=mode) as partial, partial.open("wb") as stream:
        yield stream
        stream.flush()


def note_use(path: Path) -> None:
    """Let the time of a file say that it, or what it stands for, is used; one that cannot be written stays as it is."""
    with suppress(OSError):
        if not path.exists() or time.time() - path.stat().st_mtime > _FRESH_S:
            path.touch()


def make_read_only(path: Path) -> None:
    """Take the permission to write from everyone who has it; what the umask left of the others stays."""
    mode = path.stat().st_mode
    # In a shared cache it may be another's, who alone can change it.
    if mode & 0o222:
        path.chmod(mode & ~0o222)


def replace(source: Path, target: Path) -> None:
    """Rename a file over another one, also where that is read-only, which Windows refuses."""
    try:
        source.replace(target)
    except PermissionError:
        if not target.is_file():
            raise
        mode = target.stat().st_mode
        target.chmod(mode | 0o200)
        try:
            source.replace(target)
        except OSError:
            target.chmod(mode)
            raise


def remove(path: Path) -> None:
    """Delete a file if it is there, also where it is read-only, which Windows refuses."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        path.chmod(path.stat().st_mode | 0o200)
        path.unlink()
