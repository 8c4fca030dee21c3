"""Files that appear under their final name whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_path(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """A temporary path in the same folder; what was written there replaces ``path`` when the block ends without an error."""
    handle, name = tempfile.mkstemp(prefix=".partial-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        # mkstemp makes files that only their owner may read; a shared folder is shared as the umask says.
        partial.chmod(mode & ~umask())
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


def umask() -> int:
    """The permissions that new files do not get."""
    # There is no way to read it without setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
