"""Which folders of a cache running processes use, so that nobody deletes them.

    leases/<name>     one file for each process: the folders that it uses, a line each; it holds a lock on it while it lives

The kernel frees the lock when the process ends, however it ends. Where locks do nothing, as on some network file systems, a
lease counts for a day. A process that was given a folder uses it until it ends: nobody can tell what it keeps open or will open
again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo_core.atomic import remove

fcntl: Any
try:
    import fcntl
except ImportError:
    # Windows, where a file that is open cannot be deleted, which tells the same.
    fcntl = None

FOLDER = "leases"
#: The file under whose lock a folder is taken away, or given to a process.
GUARD = "guard"
DAY_S = 86_400.0
#: Seconds that a process waits for one that deletes; it takes milliseconds a folder.
_PATIENCE_S = 10.0
_PAUSE_S = 0.005


class Leases:
    """The leases of one cache.

    Args:
        home: The cache.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    @contextlib.contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Use a folder from now on, and let nobody take it away while the block finds or makes it.

        A cache that cannot be written has no leases, and nobody deletes from it either.
        """
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
        with self._guarded(exclusively=False):
            with contextlib.suppress(OSError):
                _process_lease(self._folder).add(name)
            yield

    @contextlib.contextmanager
    def taking(self) -> Iterator[bool]:
        """Let nobody begin to use a folder while the block takes one away; False where somebody just does."""
        with self._guarded(exclusively=True) as is_free:
            yield is_free

    def in_use(self) -> frozenset[str]:
        """The folders that running processes use."""
        names: set[str] = set()
        for path in self._paths():
            with contextlib.suppress(OSError):
                names.update(path.read_text("utf-8").split("\n") if _is_alive(path) else ())
        return frozenset(names - {""})

    def forget_the_dead(self) -> None:
        """Delete the leases of processes that have ended."""
        with self.taking() as is_free:
            for path in self._paths() if is_free else ():
                with contextlib.suppress(OSError):
                    if not _is_alive(path):
                        remove(path)

    def _paths(self) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if path.name != GUARD]
        except OSError:
            return []

    @contextlib.contextmanager
    def _guarded(self, *, exclusively: bool) -> Iterator[bool]:
        """Hold the lock on all folders; True too where locks do nothing, since waiting would not help there."""
        if fcntl is None or not self._folder.is_dir():
            yield True
            return
        is_free = True
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                descriptor = os.open(self._folder / GUARD, os.O_RDWR | os.O_CREAT, 0o666)
                held.callback(os.close, descriptor)
                is_free = _lock_patiently(descriptor, fcntl.LOCK_EX if exclusively else fcntl.LOCK_SH)
            yield is_free


class _ProcessLease:
    """The lease of this process in one cache: one open file, whatever it uses."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}-{os.urandom(8).hex()}"
        # Appended to: a child made by forking writes to the same file, and keeps its lock when the parent ends.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        if fcntl is not None:
            with contextlib.suppress(OSError):
                # Whoever looks whether it is alive holds the lock for a moment.
                _lock_patiently(self._descriptor, fcntl.LOCK_EX)
        self._names: set[str] = set()

    @property
    def is_there(self) -> bool:
        """Whether nobody deleted it, with the whole cache perhaps."""
        return self._path.is_file()

    def add(self, name: str) -> None:
        """Use a folder until the process ends."""
        if name not in self._names:
            os.write(self._descriptor, f"{name}\n".encode())
            self._names.add(name)

    def withdraw(self) -> None:
        """Delete it, which nobody knows of yet."""
        os.close(self._descriptor)
        remove(self._path)


#: A lease is the process's, as its lock is, and outlives the caches and zoos that are made in it.
_leases: dict[Path, _ProcessLease] = {}


def _process_lease(folder: Path) -> _ProcessLease:
    # Without a lock of threads, which a child made by forking could find held by nobody.
    known = _leases.get(folder)
    if known is None:
        made = _ProcessLease(folder)
        known = _leases.setdefault(folder, made)
        if known is not made:
            made.withdraw()
    elif not known.is_there:
        # It stays open: another thread may be writing to it.
        known = _leases[folder] = _ProcessLease(folder)
    return known


def _is_alive(path: Path) -> bool:
    """Whether the process of a lease runs."""
    if fcntl is None:
        return not _is_deletable(path)
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return _is_young(path)
        return not _locks_work(path) and _is_young(path)


def _locks_work(path: Path) -> bool:
    """Whether a second lock on a file that this process has just locked is refused."""
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return isinstance(error, BlockingIOError)
    return False


def _is_deletable(path: Path) -> bool:
    """Delete a lease, which Windows refuses where its process has it open."""
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _is_young(path: Path) -> bool:
    return time.time() - path.stat().st_mtime < DAY_S


def _lock_patiently(descriptor: int, kind: int) -> bool:
    """Wait for a lock a while; False where somebody else holds it still."""
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(_PAUSE_S)
        else:
            return True
