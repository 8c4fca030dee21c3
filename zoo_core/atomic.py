"""Files that appear under their final name whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def unique_name() -> str:
    """A hidden name that no other process uses, for what is not whole yet."""
    return f".partial-{os.urandom(16).hex()}"


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
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        # Whoever wrote it may have put a file of its own in its place, as safetensors does.
        partial.chmod(granted if mode & 0o200 else granted & ~0o222)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A stream whose content appears at ``path`` when the block ends without an error; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, mode=mode) as partial, partial.open("wb") as stream:
        yield stream
        stream.flush()
