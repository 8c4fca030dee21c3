"""Where the files of the repositories lie: one in the cache for each address, put there whole; those of its layers are read.

index/<key>.sqlite      see `zoo_core.index.database`
index/<key>.confirmed   which file was found to be up to date, and by its time when
index/<key>.used        by its time when the file was used last, within an hour
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.__about__ import __version__
from zoo_core.atomic import atomic_path, note_use, remove
from zoo_core.errors import CacheError
from zoo_core.index.damaged import DamagedIndexError
from zoo_core.repository.base import Listing, Repository
from zoo_core.store import Store, key_of

if TYPE_CHECKING:
    from zoo_core.index.database import Database

FOLDER = "index"
SUFFIX = ".sqlite"
USED = ".used"


class Shelf:
    """The files of one cache and of the layers below it.

    Args:
        home: The cache; made at the first write.
        layers: Caches that are read and never written.
    """

    def __init__(self, home: Path, layers: Sequence[Path] = ()) -> None:
        self._store = Store(home)
        self._homes = (home, *layers)

    def has(self, url: str) -> bool:
        """Whether there is a file for an address; nothing is opened."""
        return any(path.is_file() for path in self._paths(url))

    def find(self, url: str) -> Known | None:
        """The newest file for an address that can be read; one of ours that cannot is removed."""
        found = [known for path in self._paths(url) if (known := self._opened(url, path)) is not None]
        return min(found, key=lambda known: known.age_s, default=None)

    def current(self, url: str | None, repository: Repository, known: Known | None) -> Known:
        """What a repository holds now: the known file, if the repository says that nothing has changed.

        Where the cache cannot be written, it is kept for as long as this process wants it.

        Args:
            url: None: it is this process's own in any case.

        Raises:
            RepositoryError, MetadataError, ...: What the repository raises.
            DamagedIndexError: There is no space for it anywhere.
        """
        from zoo_core.index.building import build

        listing = repository.listing(None if known is None else known.state)
        if listing is None and known is not None:
            # A folder is looked at each time.
            if repository.is_remote and url is not None:
                self._confirm(url, known)
            return Known(known.database, known.path, 0.0)
        if url is None or not self._is_writable():
            return Known(build(repository, listing or Listing()), None, 0.0)
        # A known file may turn out to be damaged when it is changed, and a disk to be full.
        with contextlib.suppress(DamagedIndexError):
            return self._taken(url, repository, listing or Listing(), known)
        if known is not None:
            with contextlib.suppress(DamagedIndexError):
                return self._taken(url, repository, repository.listing(None) or Listing(), None)
        return Known(build(repository, repository.listing(None) or Listing()), None, 0.0)

    def _taken(self, url: str, repository: Repository, listing: Listing, basis: Known | None) -> Known:
        """Make a file of a listing and open it; what did not change is taken from another one."""
        from zoo_core.index.building import write
        from zoo_core.index.database import Database

        path = self._path(self._homes[0], url)
        old = basis.path if basis is not None and basis.state is not None else None
        try:
            with atomic_path(path) as partial:
                if basis is not None and old is not None:
                    shutil.copyfile(old, partial)
                write(partial, repository, listing, basis.database.about if basis is not None and old is not None else None)
                # Another process may put its own there at the same moment. Windows renames no file that is open.
                written = Database.open(partial) if os.name != "nt" else None
            return Known(written or Database.open(path), path, 0.0)
        except OSError as error:
            raise DamagedIndexError(f"{path} cannot be written: {error.strerror or error}") from error

    def _confirm(self, url: str, known: Known) -> None:
        """Note that a file is up to date."""
        # A cache that cannot be written only means asking again.
        with contextlib.suppress(CacheError):
            self._store.write(self._note(url), known.database.about.uid.encode())

    def discard(self, url: str) -> None:
        """Remove our file for an address, which is damaged."""
        with contextlib.suppress(OSError):
            remove(self._path(self._homes[0], url))

    def _is_writable(self) -> bool:
        """Whether files can be made; the permissions do not tell, on a disk that is read-only or full."""
        from tempfile import TemporaryFile

        folder = self._homes[0] / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                return True
        except OSError:
            return False

    def _opened(self, url: str, path: Path) -> Known | None:
        from zoo_core.index.database import Database

        try:
            confirmed = path.stat().st_mtime
            database = Database.open(path)
        except FileNotFoundError:
            return None
        except (DamagedIndexError, OSError):
            if path == self._path(self._homes[0], url):
                self.discard(url)
            return None
        with contextlib.suppress(OSError):
            note = self._note(url)
            if note.read_text("utf-8", "replace") == database.about.uid:
                confirmed = max(confirmed, note.stat().st_mtime)
        if path == self._path(self._homes[0], url):
            note_use(path.with_suffix(USED))
        return Known(database, path, max(0.0, time.time() - confirmed))

    def _paths(self, url: str) -> list[Path]:
        return [self._path(home, url) for home in self._homes]

    def _path(self, home: Path, url: str) -> Path:
        return home / FOLDER / f"{key_of(url)}{SUFFIX}"

    def _note(self, url: str) -> Path:
        return self._path(self._homes[0], url).with_suffix(".confirmed")


class Known:
    """What is known of a repository.

    Attributes:
        database: Open.
        path: Where it lies; None where it is this process's own.
    """

    def __init__(self, database: Database, path: Path | None, age_s: float) -> None:
        self.database, self.path = database, path
        self._since = time.monotonic() - age_s

    @property
    def age_s(self) -> float:
        """Seconds since it was made, or found to be up to date."""
        return time.monotonic() - self._since

    @property
    def state(self) -> Mapping[str, str] | None:
        """What the repository is to be told; None where its documents must be read anew, by another version of Zoo."""
        about = self.database.about
        return about.state if about.made_by == __version__ else None
