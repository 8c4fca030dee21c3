"""What the repositories hold, and how fresh that is: questions go to what is known, and to the network only when told to."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence, Set
from contextlib import contextmanager, suppress
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

#: Seconds for which a repository that was asked is not asked by the same zoo again, whatever came of it.
_MOMENT_S = 60.0

Answer = TypeVar("Answer")


@dataclasses.dataclass
class _Seen:
    """What was found at a place.

    Attributes:
        number: Which of the places.
        holding: What it holds; what could be read of it, where there is an error.
        known: The file that its documents are in; None where they are in memory.
        key: What tells the file from those of other repositories; None where no other process may have it.
        asked: What tells the repository from others that are asked; "" where asking it takes no network.
        renewed: When its repository answered itself, so that what was kept earlier of single documents may be outdated; None
            where what is known was enough.
    """

    number: int
    place: Place
    holding: Holding
    problems: Sequence[str] = ()
    error: ZooError | None = None
    known: Known | None = None
    key: str | None = None
    asked: str = ""
    renewed: float | None = None


@dataclasses.dataclass
class Catalogue:
    """What a list of repositories holds; each is looked at once, when it is first asked.

    Of a repository that takes a network, what is known of it is asked, however old that is, until `revalidate` is called; the
    network is asked at once only where nothing is known. Whoever needs only what is known never waits for it.

    Attributes:
        places: In their order.
        engines: The engines that are installed, to tell what a record misses.
        max_age_s: Seconds for which what is known of a remote repository is not asked anew.
        asked: When repositories were asked, by what tells them apart, for all catalogues of one zoo.
    """

    places: Sequence[Place]
    cache: Cache
    engines: Sequence[str] = ()
    max_age_s: float = 0.0
    asked: MutableMapping[str, float] = dataclasses.field(default_factory=dict)
    _repositories: dict[int, Repository] = dataclasses.field(default_factory=dict)
    _missing: dict[tuple[str, ...], tuple[str, ...]] = dataclasses.field(default_factory=dict)
    _said: list[str] = dataclasses.field(default_factory=list)
    _kept: dict[str, Metadata] = dataclasses.field(default_factory=dict)
    _renewed: dict[str, float] = dataclasses.field(default_factory=dict)
    _lock: threading.RLock = dataclasses.field(default_factory=threading.RLock)
    _asking: threading.RLock = dataclasses.field(default_factory=threading.RLock)

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
        return bool(self._stale())

    def revalidate(self) -> bool:
        """Ask the repositories of which what is known is too old; what cannot be reached leaves a warning.

        Returns:
            Whether any was asked, by this thread or by one that it waited for.
        """
        if not self._stale():
            return False
        # Meanwhile others read what is known.
        with self._asking:
            for seen in self._stale():
                self._ask_again(seen)
        return True

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
        """The repository that a record comes from; None where it is not among these.

        No document is read, unless that is what tells several objects apart that say one address.
        """
        opened = {}
        for number in self._numbers_of(record):
            # Whoever asks for what it holds is told why.
            with suppress(ZooError):
                opened[number] = self._opened(number)
        return opened[self._holder(record, opened)] if opened else None

    def completed(self, record: ModelRecord) -> ModelRecord:
        """A record with what this machine says of it: whether its files are here, and which packages are missing."""
        return self.all_completed([record])[0]

    def all_completed(self, records: Sequence[ModelRecord]) -> list[ModelRecord]:
        """Several such records."""
        listed = sum(bool(record.metadata.listed_as) for record in records)
        # One look at a folder instead of as many attempts to open a file of it.
        here = self.cache.documents_here() if listed > 1 else None
        return [self._completed(record, here) for record in records]

    def whole(self, record: ModelRecord, *, is_chosen: bool = False) -> ModelRecord:
        """A record with its whole document, which is fetched where only a listing was read.

        Args:
            is_chosen: It was found now, so that a document which was kept before its repository was asked is read anew.

        Raises:
            RepositoryError: It cannot be had.
            MetadataError: It is malformed, or has no artifact.
        """
        if record.metadata.listed_as:
            return self._fetched(record, record.metadata, self._certain(record))
        listed = self._kept.get(record.metadata.url) if is_chosen else None
        if listed is None or not self._is_outdated(record, listed):
            return record
        self._renewed[listed.url] = time.monotonic()
        try:
            return self._fetched(record, listed, self._certain(record).hurried())
        except (RepositoryError, MetadataError) as error:
            if not isinstance(error, OfflineError):
                warn(f"{error}; using the document that was read earlier", ZooWarning, stacklevel=2)
            return record

    def _certain(self, record: ModelRecord) -> Repository:
        repository = self.repository_of(record)
        if repository is None:
            raise RepositoryError(f"repository {record.repository} of {record.reference} cannot be opened", record.repository)
        return repository

    def _fetched(self, record: ModelRecord, listed: Metadata, repository: Repository) -> ModelRecord:
        with guarded(f"{_described(record.source)} raised", ZooError):
            content = repository.document(listed)
        found = _with_document(record, content)
        self.cache.keep_document(listed, content)
        self._renewed[listed.url] = time.monotonic()
        return self.completed(found)

    def _completed(self, record: ModelRecord, here: Set[str] | None) -> ModelRecord:
        record = self._with_kept(record, here) if record.metadata.listed_as else record
        is_cached = not record.metadata.listed_as and self._is_cached(record)
        return msgspec.structs.replace(record, cached=is_cached, missing=self._missing_of(record))

    def _with_kept(self, record: ModelRecord, here: Set[str] | None) -> ModelRecord:
        """A record that was only listed with its document, if that was read earlier."""
        listed = record.metadata
        content = self.cache.document(listed, here)
        if content is None:
            return record
        try:
            found = _with_document(record, content)
        except MetadataError:
            # Damaged on the disk; it is read anew when it is wanted.
            self.cache.discard_document(listed)
            return record
        self._kept[listed.url] = listed
        return found

    def _is_outdated(self, record: ModelRecord, listed: Metadata) -> bool:
        """Whether its repository has answered since its document was read by this zoo."""
        with self._lock:
            seen = [self._looked_at[number] for number in self._numbers_of(record)]
        read = self._renewed.get(listed.url, float("-inf"))
        return any(item.renewed is not None and item.renewed > read for item in seen)

    def _numbers_of(self, record: ModelRecord) -> list[int]:
        """The places that a record may come from, the likelier first."""
        exact = [number for number, place in enumerate(self.places) if _key(place.source) == _key(record.source)]
        # The call that found the record may have named the same place in another way.
        same = [number for number, place in enumerate(self.places) if _carrier(place.source) == _carrier(record.source)]
        return list(dict.fromkeys([*exact, *same]))

    def _holder(self, record: ModelRecord, opened: Mapping[int, Repository]) -> int:
        """Which of some places a record comes from: Repository objects may say one address and hold different things."""
        first, *others = opened
        if not others or _is_own(opened[first]):
            return first
        holdings = {number: self._records_like(record, number) for number in opened}
        same = [number for number, found in holdings.items() if any(item.metadata == record.metadata for item in found)]
        # Its document may have been read anew since.
        like = [number for number, found in holdings.items() if any(item.mrl == record.mrl for item in found)]
        return next(iter([*same, *like, first]))

    def _records_like(self, record: ModelRecord, number: int) -> list[ModelRecord]:
        with self._lock:
            holding = self._looked_at[number].holding
        criteria = Criteria(type=record.mrl.type, group_id=record.group_id, artifact_id=record.artifact_id)
        with suppress(DamagedIndexError):
            return [item for item in holding.candidates(criteria) if item.artifact_id == record.artifact_id]
        return []

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
            seen = list(self._looked_at)
        unread = [item.error for item in seen if item.error is not None]
        # Whoever names the repositories to ask wants to know that none of them answers; nothing else is hidden by it.
        if unread and len(unread) == len(seen) and all(item.place.source.is_named for item in seen):
            raise unread[0]
        return seen

    @cached_property
    def _looked_at(self) -> list[_Seen]:
        return [self._look(number) for number in range(len(self.places))]

    def _each(self, ask: Callable[[Holding], Answer]) -> Iterator[Answer]:
        """Ask every repository."""
        for seen in self._all:
            holding = seen.holding
            try:
                yield ask(holding)
            except DamagedIndexError:
                self._make_anew(seen, holding)
                yield ask(seen.holding)

    def _stale(self) -> list[_Seen]:
        """What is too old, unless its repository was asked a moment ago, or could not be asked at all."""
        with self._lock:
            seen = list(self._looked_at)
        now = time.monotonic()
        return [
            item
            for item in seen
            if item.asked
            and (item.known is None or item.known.age_s >= self.max_age_s)
            and now - self.asked.get(item.asked, -_MOMENT_S) >= _MOMENT_S
        ]

    def _look(self, number: int, *, is_hurried: bool = False) -> _Seen:
        place, records = self.places[number], list[ModelRecord]()
        seen = _Seen(number, place, InMemory(place.source, records))
        with _failing(seen):
            repository = self._opened(number)
            seen.key = self._file_key(number, repository)
            seen.asked = (seen.key or f"{number} {place.source.repository}") if repository.is_remote else ""
            if repository.is_remote or (not _is_package(place.source) and seen.key and self._shelf.has(seen.key)):
                self._take_file(seen, repository.hurried() if is_hurried else repository)
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
        known = self._shelf.find(seen.key) if seen.key else None
        if known is None or not repository.is_remote:
            known = self._current(seen, repository, known)
        self._put(seen, repository, known)

    def _current(self, seen: _Seen, repository: Repository, known: Known | None) -> Known:
        try:
            found = self._shelf.current(seen.key, repository, known)
        finally:
            if seen.asked:
                self.asked[seen.asked] = time.monotonic()
        seen.renewed = time.monotonic()
        return found

    def _put(self, seen: _Seen, repository: Repository, known: Known) -> None:
        source = seen.place.source
        seen.known, seen.problems = known, known.database.about.problems
        seen.holding = Indexed(source, known.database, repository, lambda metadata: self._records(source, metadata))

    def _ask_again(self, seen: _Seen) -> None:
        known = seen.known
        if known is None:
            fresh = self._look(seen.number, is_hurried=True)
            with self._lock:
                self._looked_at[seen.number] = fresh
            return
        try:
            with guarded(f"{_described(seen.place.source)} raised", ZooError):
                repository = self._opened(seen.number)
                current = self._current(seen, repository.hurried(), known)
                with self._lock:
                    self._put(seen, repository, current)
        # What a captive portal answers is no index, and must not hide the known one either.
        except ZooError as error:
            if not isinstance(error, OfflineError):
                warn(f"{error}; using the index of {age_text(known.age_s)} ago", ZooWarning, stacklevel=2)

    def _make_anew(self, seen: _Seen, damaged: Holding) -> None:
        """Replace a file that turned out to be damaged while it was read, unless another thread has done so."""
        with self._lock, _failing(seen):
            if seen.holding is not damaged:
                return
            repository = self._opened(seen.number)
            seen.holding = InMemory(seen.place.source, ())
            if seen.key:
                self._shelf.discard(seen.key)
            self._put(seen, repository, self._current(seen, repository, None))

    def _opened(self, number: int) -> Repository:
        if number not in self._repositories:
            place = self.places[number]
            with guarded(f"{_described(place.source)} raised", ZooError):
                self._repositories.setdefault(number, place.open())
        return self._repositories[number]

    def _file_key(self, number: int, repository: Repository) -> str | None:
        """What tells the files of repositories apart: a plugin's own kind may say any address.

        Returns:
            None where nothing does: two locks pin different artifacts of one address, and two objects may say the same one.
        """
        source, kind = self.places[number].source, type(repository)
        if not repository._is_told_by_url or self._has_twin(number, repository):
            return None
        distribution = "" if _is_own(repository) else normalised(source.distribution)
        return f"{kind.__module__}\n{kind.__qualname__}\n{distribution}\n{repository.url}"

    def _has_twin(self, number: int, repository: Repository) -> bool:
        """Whether another object says the same address; what Zoo's own kinds hold is told by that."""
        if _is_own(repository):
            return False
        carrier = _carrier(self.places[number].source)
        numbers = (other for other, place in enumerate(self.places) if other != number and _carrier(place.source) == carrier)
        for other in numbers:
            with suppress(ZooError):
                if self._opened(other) is not repository:
                    return True
        return False

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


def _is_own(repository: Repository) -> bool:
    """Whether it is of one of Zoo's own kinds."""
    return type(repository).__module__.startswith("zoo_core.")
