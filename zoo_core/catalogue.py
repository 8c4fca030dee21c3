"""What the repositories hold, and how fresh that is: questions go to what is known, and to the network only when told to."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import TypeVar
from warnings import warn

import msgspec

from zoo_core.cache import Cache
from zoo_core.criteria import Criteria
from zoo_core.entry_points import guarded, normalised
from zoo_core.errors import CacheError, MetadataError, OfflineError, PluginError, RepositoryError, ZooError, ZooWarning
from zoo_core.holdings import Holding, Indexed, InMemory
from zoo_core.index.damaged import DamagedIndexError
from zoo_core.index.shelf import Known, Shelf
from zoo_core.metadata import Metadata
from zoo_core.places import Place
from zoo_core.record import ModelRecord, Source
from zoo_core.repository.base import Repository
from zoo_core.repository.package import SCHEME
from zoo_core.requirements import engine_package, missing_requirements
from zoo_core.wording import age_text, shown_url

#: Documents up to which a repository on this machine is read at each start; of a larger one a file is kept.
FEW = 500

Answer = TypeVar("Answer")


@dataclasses.dataclass
class _Seen:
    """What was found at a place.

    Attributes:
        holding: What it holds; what could be read of it, where there is an error.
        known: The file that its documents are in; None where they are in memory.
        is_stale: Its repository is to be asked whether the file is up to date.
    """

    place: Place
    holding: Holding
    problems: Sequence[str] = ()
    error: ZooError | None = None
    known: Known | None = None
    is_stale: bool = False


@dataclasses.dataclass
class Catalogue:
    """What a list of repositories holds; each is looked at once, when it is first asked.

    Of a repository that takes a network, what is known of it is asked, however old that is, until `revalidate` is called; the
    network is asked at once only where nothing is known.

    Attributes:
        places: In their order.
        engines: The engines that are installed, to tell what a record misses.
        max_age_s: Seconds for which what is known of a remote repository is not asked anew.
    """

    places: Sequence[Place]
    cache: Cache
    engines: Sequence[str] = ()
    max_age_s: float = 0.0
    _repositories: dict[Source, Repository] = dataclasses.field(default_factory=dict)
    _missing: dict[tuple[str, ...], tuple[str, ...]] = dataclasses.field(default_factory=dict)
    _said: list[str] = dataclasses.field(default_factory=list)
    _lock: threading.RLock = dataclasses.field(default_factory=threading.RLock)

    # What it is asked.

    def candidates(self, criteria: Criteria, words: Sequence[str] = ()) -> list[ModelRecord]:
        """Every artifact that may answer, in the order of the repositories and of their documents, and perhaps others.

        Args:
            words: In lower case; the text of an artifact must have them all.
        """
        return [record for found in self._each(lambda held: list(held.candidates(criteria, words))) for record in found]

    def considered(self, criteria: Criteria) -> tuple[list[ModelRecord], int]:
        """The candidates, and what else there are reasons to give for: all that is in memory, and some of each file.

        Returns:
            Them, in the order of the repositories, and how many others there are.
        """
        found = list(self._each(lambda held: held.considered(criteria)))
        return [record for records, _ in found for record in records], sum(more for _, more in found)

    def sources(self, kind: str, group_id: str, artifact_id: str | None, *, by_folder: bool) -> list[Source]:
        """The repositories that claim a group, or an artifact of it; see `zoo_core.selection.Claims`."""
        found = self._each(lambda held: held.source if held.has(kind, group_id, artifact_id, by_folder=by_folder) else None)
        return [source for source in found if source is not None]

    def has_group(self, group_id: str) -> bool:
        """Whether any repository has a group id."""
        return any(self._each(lambda held: held.has_group(group_id)))

    @property
    def is_stale(self) -> bool:
        """Whether `revalidate` would ask anybody."""
        return any(seen.is_stale for seen in self._all)

    def revalidate(self) -> bool:
        """Ask the repositories of which what is known is too old; what cannot be reached leaves a warning.

        Returns:
            Whether any was asked.
        """
        with self._lock:
            stale = [seen for seen in self._all if seen.is_stale]
            for seen in stale:
                self._ask_again(seen)
        return bool(stale)

    @property
    def messages(self) -> list[str]:
        """What could not be read, and why."""
        texts = [text for seen in self._all for text in (*seen.problems, *_failure(seen))]
        return [*texts, *self._said]

    @property
    def errors(self) -> list[ZooError]:
        """What kept repositories or documents from being read."""
        unread = [seen.error for seen in self._all if seen.error is not None]
        return [*unread, *(MetadataError(text) for seen in self._all for text in seen.problems)]

    def repository_of(self, record: ModelRecord) -> Repository | None:
        """The repository that a record comes from; None where it is not among these. No document is read."""
        exact = [place for place in self.places if _key(place.source) == _key(record.source)]
        # The call that found the record may have named the same place in another way.
        same = [place for place in self.places if _carrier(place.source) == _carrier(record.source)]
        for place in (*exact, *same):
            try:
                return self._opened(place)
            except ZooError:
                # Whoever asks for what it holds is told why.
                continue
        return None

    def completed(self, record: ModelRecord) -> ModelRecord:
        """A record with what this machine says of it: whether its files are here, and which packages are missing."""
        content = self.cache.document(record.metadata) if record.metadata.listed_as else None
        record = record if content is None else _with_document(record, content)
        is_cached = not record.metadata.listed_as and self._is_cached(record)
        return msgspec.structs.replace(record, cached=is_cached, missing=self._missing_of(record))

    def whole(self, record: ModelRecord) -> ModelRecord:
        """A record with its whole document, which is fetched where only a listing was read.

        Raises:
            RepositoryError: It cannot be had.
            MetadataError: It is malformed, or has no artifact.
        """
        if not record.metadata.listed_as:
            return record
        repository = self.repository_of(record)
        if repository is None:
            raise RepositoryError(f"repository {record.repository} of {record.reference} cannot be opened", record.repository)
        with guarded(f"{_described(record.source)} raised", ZooError):
            content = repository.document(record.metadata)
        found = _with_document(record, content)
        self.cache.keep_document(record.metadata, content)
        return self.completed(found)

    def _is_cached(self, record: ModelRecord) -> bool:
        try:
            with guarded(f"{_described(record.source)} raised", CacheError):
                return self.cache.has(record, self.repository_of(record))
        except PluginError as error:
            # Said once, not once for each of its artifacts and each question.
            if str(error) not in self._said:
                self._said.append(str(error))
            return False

    # What is looked at, once.

    @cached_property
    def _shelf(self) -> Shelf:
        return Shelf(self.cache.home, self.cache.layers)

    @property
    def _all(self) -> list[_Seen]:
        with self._lock:
            seen = self._looked_at
        unread = [item.error for item in seen if item.error is not None]
        # Whoever names the repositories to ask wants to know that none of them answers; nothing else is hidden by it.
        if unread and len(unread) == len(seen) and all(item.place.source.is_named for item in seen):
            raise unread[0]
        return seen

    @cached_property
    def _looked_at(self) -> list[_Seen]:
        return [self._look(place) for place in self.places]

    def _each(self, ask: Callable[[Holding], Answer]) -> Iterator[Answer]:
        """Ask every repository."""
        for seen in self._all:
            try:
                yield ask(seen.holding)
            except DamagedIndexError:
                self._make_anew(seen)
                yield ask(seen.holding)

    def _look(self, place: Place) -> _Seen:
        records: list[ModelRecord] = []
        seen = _Seen(place, InMemory(place.source, records))
        with _failing(seen):
            repository = self._opened(place)
            if repository.is_remote or (not _is_package(place.source) and self._shelf.has(_file_key(place.source, repository))):
                self._take_file(seen, repository)
                return seen
            documents = iter(repository.documents())
            for metadata in islice(documents, FEW):
                records += self._records(place.source, metadata)
            if next(documents, None) is not None:
                self._take_file(seen, repository)
                return seen
            seen.problems = [str(problem) for problem in repository.problems]
        return seen

    def _take_file(self, seen: _Seen, repository: Repository) -> None:
        """Take what is in the file of a repository, which is made where there is none."""
        key = _file_key(seen.place.source, repository)
        known = self._shelf.find(key)
        if known is None or not repository.is_remote:
            known = self._shelf.current(key, repository, known)
            self._put(seen, repository, known)
            return
        self._put(seen, repository, known)
        seen.is_stale = known.age_s >= self.max_age_s

    def _put(self, seen: _Seen, repository: Repository, known: Known) -> None:
        source = seen.place.source
        seen.known, seen.problems = known, known.database.about.problems
        seen.holding = Indexed(source, known.database, repository, lambda metadata: self._records(source, metadata))

    def _ask_again(self, seen: _Seen) -> None:
        known, seen.is_stale = seen.known, False
        try:
            with guarded(f"{_described(seen.place.source)} raised", ZooError):
                repository = self._opened(seen.place)
                self._put(seen, repository, self._shelf.current(_file_key(seen.place.source, repository), repository, known))
        # What a captive portal answers is no index, and must not hide the known one either.
        except ZooError as error:
            if known is not None and not isinstance(error, OfflineError):
                warn(f"{error}; using the index of {age_text(known.age_s)} ago", ZooWarning, stacklevel=2)

    def _make_anew(self, seen: _Seen) -> None:
        """Replace a file that turned out to be damaged while it was read."""
        with self._lock, _failing(seen):
            repository = self._opened(seen.place)
            seen.holding = InMemory(seen.place.source, ())
            key = _file_key(seen.place.source, repository)
            self._shelf.discard(key)
            self._put(seen, repository, self._shelf.current(key, repository, None))

    def _opened(self, place: Place) -> Repository:
        key = _key(place.source)
        if key not in self._repositories:
            with guarded(f"{_described(place.source)} raised", ZooError):
                self._repositories.setdefault(key, place.open())
        return self._repositories[key]

    def _records(self, source: Source, metadata: Metadata) -> Iterator[ModelRecord]:
        if not isinstance(metadata, Metadata):
            raise PluginError(f"{_described(source)} must give Metadata; it gave a {type(metadata).__name__}")
        for position, artifact in enumerate(metadata.artifacts):
            record = ModelRecord(metadata=metadata, artifact=artifact, position=position, source=source)
            yield (
                msgspec.structs.replace(record, missing=self._missing_of(record))
                if artifact.requires or artifact.engines
                else record
            )

    def _missing_of(self, record: ModelRecord) -> tuple[str, ...]:
        key = (*record.engines, "", *record.requires)
        if key not in self._missing:
            installed = {engine.lower() for engine in self.engines}
            needs_engine = record.engines and not any(engine.lower() in installed for engine in record.engines)
            packages = (engine_package(record.engines[0]),) if needs_engine else ()
            self._missing[key] = tuple(sorted({*packages, *missing_requirements(record.requires)}))
        return self._missing[key]


def _with_document(record: ModelRecord, content: bytes) -> ModelRecord:
    metadata = Metadata.from_json(content, record.metadata.url)
    # One that says again that it is only listed would be asked for without end.
    metadata = msgspec.structs.replace(metadata, mrl=record.mrl, listed_as="")
    if not metadata.artifacts:
        raise MetadataError(f"{shown_url(metadata.url)}: $.artifacts: expected one, found none", metadata.url, "$.artifacts")
    asked = (record.version, record.name)
    position = next((number for number, item in enumerate(metadata.artifacts) if (item.version, item.name) == asked), 0)
    return msgspec.structs.replace(record, metadata=metadata, artifact=metadata.artifacts[position], position=position)


@contextmanager
def _failing(seen: _Seen) -> Iterator[None]:
    """Note what goes wrong; documents may come from a plugin's own Repository, which may raise anything."""
    try:
        with guarded(f"{_described(seen.place.source)} raised", ZooError):
            yield
    except ZooError as error:
        seen.error = error


def _failure(seen: _Seen) -> list[str]:
    return [f"{_described(seen.place.source)} could not be read: {seen.error}"] if seen.error is not None else []


def _described(source: Source) -> str:
    # A plugin may give its repository any name.
    name, carrier = source.name, source.distribution
    return f"repository {name} of {carrier}" if carrier and normalised(carrier) != normalised(name) else f"repository {name}"


def _key(source: Source) -> Source:
    """What tells repositories apart; an address alone does not, since a Repository object says its own."""
    return msgspec.structs.replace(source, is_named=False)


def _carrier(source: Source) -> tuple[str, str]:
    return source.repository, normalised(source.distribution)


def _is_package(source: Source) -> bool:
    """Whether it is the folder of an installed package, which is small, and which most questions are about."""
    return bool(source.distribution) and source.repository.startswith(f"{SCHEME}://")


def _file_key(source: Source, repository: Repository) -> str:
    """What tells the files of repositories apart: a plugin's own kind may say any address."""
    kind = type(repository)
    is_own = kind.__module__.startswith("zoo_core.")
    return "\n".join((kind.__module__, kind.__qualname__, "" if is_own else normalised(source.distribution), repository.url))
