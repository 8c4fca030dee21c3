"""The files of an artifact on their way to the store: where each is looked for, how large it may be, several at once.

partial/                      see `zoo_core.partial`
"""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import msgspec

from zoo_core.artifact import ArtifactFile
from zoo_core.errors import CacheError, IntegrityError, RepositoryError
from zoo_core.fetch import fetch
from zoo_core.partial import FOLDER, Partial, Partials
from zoo_core.reception import How, Wanted
from zoo_core.repository.base import Repository
from zoo_core.repository.local import url_path
from zoo_core.sources import PartsSource, Source, StreamSource, WebSource
from zoo_core.stopping import Stop
from zoo_core.store import Digests, Store, key_of
from zoo_core.transfer import WEB_SCHEMES, Retry, Transfer
from zoo_core.wording import bytes_text, printable, shown_url

#: A body may be this much larger than its document says, since published sizes are sometimes wrong.
SIZE_TOLERANCE = 4
_SLACK = 1 << 20
#: Bytes that are read of a file whose document declares no size; more than any model has, and less than a disk.
MAX_UNDECLARED = 100 << 30
#: Files of one artifact that come at the same time.
AT_ONCE = 4

#: Called with (done bytes, total bytes, name); if it has a ``close``, that is called when the downloads end or fail.
Progress = Callable[[int, int | None, str], object]
Verify = Callable[[Digests, str], object]


class Traffic:
    """What the downloads of one call share.

    Args:
        progress: Called for one file at a time, whichever thread brings it.
        connections: How many there may be in all.
        files: How many files there are.
    """

    def __init__(self, progress: Progress | None, connections: int, files: int) -> None:
        self.stop = Stop()
        self.at_once = max(1, min(AT_ONCE, connections, files))
        self._helpers = threading.Semaphore(max(0, connections - self.at_once))
        self._progress, self._telling = progress, threading.Lock()

    def how(self, name: str) -> How:
        """How one file is fetched."""

        def report(done: int, total: int | None) -> None:
            if self._progress is not None:
                with self._telling:
                    self._progress(done, total, name)

        return How(report=report, stop=self.stop, helpers=self._helpers)


class Downloads:
    """Brings files into a store.

    Args:
        store: Where they get their final names.
        max_file_size: The most bytes that a file may have; None: several times what its document declares.
    """

    def __init__(self, store: Store, max_file_size: int | None = None) -> None:
        self._store, self._max = store, max_file_size
        self._partials = Partials(store.home / FOLDER)

    def check(self, files: Sequence[ArtifactFile]) -> None:
        """Refuse files that are too large for the configuration or for the disk, before anything of them comes.

        Raises:
            IntegrityError: One is larger than ``max_file_size``.
            CacheError: There is no space for them.
        """
        for file in files:
            if self._max is not None and (file.size or 0) > self._max:
                raise IntegrityError(
                    f"{shown_url(file.url)}: {bytes_text(file.size or 0)} were declared, and max_file_size in zoo.toml allows "
                    f"{bytes_text(self._max)}",
                    url=file.url,
                )
        # What is here of them already lies on that disk.
        self._check_space(sum(max(0, (file.size or 0) - self._partials.size(key(file))) for file in files))

    def is_alive(self, file: ArtifactFile, seconds: float) -> bool:
        """Whether any process has got bytes of a file in the last so many seconds."""
        return self._partials.is_alive(key(file), seconds)

    def bring(
        self, file: ArtifactFile, repository: Repository, verify: Verify, traffic: Traffic, *, is_alone: bool
    ) -> tuple[Path, Digests]:
        """A file's blob, and what its digests are.

        Args:
            verify: Refuses wrong digests by raising an `IntegrityError`.
            is_alone: Whether a lock says that no other process downloads it.

        Raises:
            IntegrityError, RepositoryError, OfflineError, Stopped: As for `zoo_core.fetch.fetch`.
            CacheError: The cache cannot be written, or is too small.
        """
        bound = self._bound(file)
        wanted = Wanted(
            name=file.name or file.key,
            size=file.size,
            bound=bound,
            is_limited=bound == self._max,
            admit=self._check_space,
            verify=verify,
            is_pinned=bool(file.sha256 or file.sha1 or file.sha256_prefix),
            wants_sha1=bool(file.sha1 and not file.sha256),
        )
        how = traffic.how(file.name)
        # The second name is one that nobody else takes, however little the locks do here.
        for name, alone in ((key(file), is_alone), (f"own-{os.urandom(16).hex()}", False)):
            with self._store.writing(), self._partials.claim(name, is_alone=alone) as partial:
                try:
                    found = fetch(sources_of(file, repository, how.stop), partial, wanted, how)
                    blob = self._store.adopt(partial.content, found)
                except OSError:
                    if _was_taken(partial):
                        continue
                    # A disk that is full stays full of what is left on it.
                    partial.discard()
                    raise
            if is_alone:
                self._partials.discard(key(file))
            return blob, found
        raise RepositoryError(f"{shown_url(file.url)}: others take away what comes of it", file.url)

    def _bound(self, file: ArtifactFile) -> int:
        bound = MAX_UNDECLARED if file.size is None else file.size * SIZE_TOLERANCE + _SLACK
        return bound if self._max is None else min(bound, self._max)

    def _check_space(self, size: int) -> None:
        free = _free(self._store.home)
        if free is not None and size > free:
            raise CacheError(
                f"the cache folder {self._store.home} is too small: {bytes_text(size)} are to come, and {bytes_text(free)} "
                "are free. Make room there, or set ZOO_HOME to another folder"
            )


def key(file: ArtifactFile) -> str:
    """The name of a file's partial download: the digest that decides, or its address."""
    if file.sha256:
        return file.sha256
    return f"sha1-{file.sha1}" if file.sha1 else f"url-{key_of(f'{file.sha256_prefix} {file.url}')}"


def sources_of(file: ArtifactFile, repository: Repository, stop: Stop) -> list[Source]:
    """Where a file is looked for, in order: each of its addresses behind the mirrors of that address."""
    transfer = repository.transfer_for(file)
    if transfer is None:
        return [StreamSource(file.url, lambda offset: repository.open(file, offset))]
    found: dict[str, Callable[[Retry], Source]] = {}
    for url in (file.url, *file.mirrors):
        *mirrors, own = transfer.addresses(url, is_pinned=file.has_full_digest)
        for mirror in mirrors:
            found.setdefault(mirror, _web(transfer, mirror, stop) if _is_web(mirror) else _disk(mirror))
        found.setdefault(own, _web(transfer, own, stop) if _is_web(own) else _listed(repository, file, own))
    # Where there is another address, one that fails is not waited for.
    brief = msgspec.structs.replace(transfer.retry, retries=min(1, transfer.retry.retries))
    last = len(found) - 1
    return [made(transfer.retry if number == last else brief) for number, made in enumerate(found.values())]


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme in WEB_SCHEMES


def _web(transfer: Transfer, url: str, stop: Stop) -> Callable[[Retry], Source]:
    return lambda retry: WebSource(transfer, url, stop, retry)


def _listed(repository: Repository, file: ArtifactFile, url: str) -> Callable[[Retry], Source]:
    """What the repository itself has at an address, which says whether it may be read."""
    there = msgspec.structs.replace(file, url=url)
    if not repository.has_parts:
        return lambda _: StreamSource(url, lambda offset: repository.open(there, offset))
    return lambda _: PartsSource(url, functools.partial(repository.parts_of, there))


def _disk(url: str) -> Callable[[Retry], Source]:
    """A file below a folder that the configuration names."""

    def opened(offset: int) -> BinaryIO:
        try:
            stream = url_path(url).open("rb")
        except (OSError, ValueError) as error:
            raise RepositoryError(f"{printable(url)}: {getattr(error, 'strerror', None) or error}", url) from error
        stream.seek(offset)
        return stream

    return lambda _: StreamSource(url, opened)


def _was_taken(partial: Partial) -> bool:
    """Whether another process took the folder away, as it would that of one that is dead."""
    return not partial.folder.is_dir()


def _free(folder: Path) -> int | None:
    """Bytes that can be written to the disk of a folder; None where nobody can tell."""
    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
