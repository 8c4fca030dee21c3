"""What Windows refuses and POSIX allows, so that it is seen here too."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest


def refuse_as_windows_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no read-only file be replaced or deleted, and nothing be flushed that is not open for writing."""
    fsync, replace, unlink = os.fsync, os.replace, os.unlink

    def strict_fsync(number: int) -> None:
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        fsync(number)

    def strict_replace(source: Any, target: Any, **keywords: Any) -> None:
        _check_writable(target)
        replace(source, target, **keywords)

    def strict_unlink(path: Any, **keywords: Any) -> None:
        _check_writable(path)
        unlink(path, **keywords)

    for name, strict in (("fsync", strict_fsync), ("replace", strict_replace), ("unlink", strict_unlink)):
        monkeypatch.setattr(os, name, strict)


def _check_writable(path: Any) -> None:
    if Path(path).exists() and not Path(path).stat().st_mode & stat.S_IWUSR:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
