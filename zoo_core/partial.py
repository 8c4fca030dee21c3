"""Downloads that are not whole yet, kept so that whoever comes next continues them.

    partial/<key>/              bytes that nobody is writing any more
    partial/<key>.<random>/     those of one download, which alone writes them
        content                 the bytes, with holes where none have come
        state.json              which bytes they are, and of what

A download takes what nobody is writing by renaming its folder, which one of many can do. What a process left that was killed
may be written still, where locks do nothing: it is copied, so that no file ever has two writers. In the end the digest decides.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

FOLDER = "partial"
#: Seconds without a byte after which nobody can be writing any more: connections are given up far earlier.
ABANDONED_S = 3600.0
#: Seconds after which nobody will come to continue.
FORGOTTEN_S = 14 * 86_400.0
_CHUNK = 1 << 20
#: How often a folder is made where others take it away at once.
_ATTEMPTS = 20


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Which bytes are there.

    Attributes:
        url: Where they came from.
        validator: What named the content there; "" where nothing did.
        total: The size of the whole; None: unknown.
        done: The first byte and the one after the last of each stretch, in order.
    """

    url: str = ""
    validator: str = ""
    total: int | None = None
    done: tuple[tuple[int, int], ...] = ()

    @property
    def count(self) -> int:
        """Bytes that are there."""
        return sum(end - start for start, end in self.done)


class Partial:
    """The folder of one download.

    Args:
        folder: It exists, and nobody else writes in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = folder / "content"
        self._state = folder / "state.json"

    def state(self) -> State:
        """What was saved last, as far as the bytes are there; nothing where that cannot be told."""
        try:
            state = msgspec.json.decode(self._state.read_bytes(), type=State)
            size = self.content.stat().st_size
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return State()
        flat = [edge for stretch in state.done for edge in stretch]
        is_sound = flat == sorted(flat) and all(0 <= edge <= size for edge in flat)
        return state if is_sound else State()

    def save(self, state: State) -> None:
        """Note which bytes are there; whoever cannot read it begins anew, so it is not flushed."""
        written = self.folder / "state.new"
        # The folder of a process that was taken for dead is not there any more, and it still ends its work.
        with suppress(FileNotFoundError):
            written.write_bytes(msgspec.json.encode(state))
            written.replace(self._state)

    def clear(self) -> None:
        """Forget every byte."""
        self._state.unlink(missing_ok=True)
        with self.content.open("wb"):
            pass

    def discard(self) -> None:
        """Delete it all."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Partials:
    """All downloads that are not whole.

    Args:
        root: Their folder; made at the first one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def size(self, key: str) -> int:
        """Bytes of a download that need not come again."""
        return max((Partial(folder).state().count for folder in self._folders(key)), default=0)

    def is_alive(self, key: str, seconds: float) -> bool:
        """Whether any bytes of a download have come in the last so many seconds."""
        return any(_age(folder) < seconds for folder in self._folders(key))

    @contextmanager
    def claim(self, key: str, *, is_alone: bool) -> Iterator[Partial]:
        """A folder of one's own, with what is there already; what has come by the end stays for the next one.

        Args:
            key: What tells the content, a digest: the name of a folder.
            is_alone: Whether a lock says that no other process downloads this.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        mine = self._begun(key, is_alone=is_alone)
        try:
            yield mine
        finally:
            if not (mine.state().count and _renamed(mine.folder, self._root / key)):
                mine.discard()

    def discard(self, key: str) -> None:
        """Delete what is left of a download that is whole now."""
        for folder in self._folders(key):
            Partial(folder).discard()

    def _begun(self, key: str, *, is_alone: bool) -> Partial:
        """A folder of one's own, with what is there already."""
        for _ in range(_ATTEMPTS):
            mine = Partial(self._own(key))
            # Where locks do nothing, another one may take it for that of a process that is dead, as soon as it is made.
            with suppress(FileNotFoundError):
                if not _renamed(self._root / key, mine.folder):
                    mine.folder.mkdir()
                    mine.clear()
                    self._take_over(key, mine, is_alone=is_alone)
                return mine
        raise FileNotFoundError(errno.ENOENT, "others take away each folder that is made", str(self._root))

    def _take_over(self, key: str, mine: Partial, *, is_alone: bool) -> None:
        """Copy the largest one that a process left which was killed."""
        left = [folder for folder in self._folders(key) if folder != mine.folder and (is_alone or _age(folder) > ABANDONED_S)]
        for folder in sorted(left, key=lambda folder: Partial(folder).state().count, reverse=True):
            taken = Partial(self._own(key))
            if not _renamed(folder, taken.folder):
                continue
            if not mine.state().count:
                # Without the space for it, it is fetched again.
                with suppress(OSError):
                    _copy(taken, mine)
            taken.discard()

    def _own(self, key: str) -> Path:
        return self._root / f"{key}.{os.urandom(8).hex()}"

    def _folders(self, key: str) -> list[Path]:
        return [path for path in self._all() if path.name.partition(".")[0] == key]

    def _all(self) -> list[Path]:
        try:
            return list(self._root.iterdir())
        except OSError:
            return []

    def _sweep(self) -> None:
        for folder in self._all():
            if _age(folder) > FORGOTTEN_S:
                Partial(folder).discard()


def _copy(source: Partial, target: Partial) -> None:
    """Copy the bytes that are known to be there, and what is known of them."""
    state = source.state()
    with source.content.open("rb") as read, target.content.open("r+b") as write:
        for start, end in state.done:
            read.seek(start)
            write.seek(start)
            while start < end and (chunk := read.read(min(_CHUNK, end - start))):
                write.write(chunk)
                start += len(chunk)
    target.save(state)


def _renamed(source: Path, target: Path) -> bool:
    try:
        source.rename(target)
    except OSError:
        return False
    return True


def _age(folder: Path) -> float:
    """Seconds since the last byte."""
    times = []
    for path in (folder, folder / "content"):
        with suppress(OSError):
            times.append(path.stat().st_mtime)
    return time.time() - max(times) if times else 0.0
