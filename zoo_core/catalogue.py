"""What the repositories hold: every artifact as a record, in the order of the repositories."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import cached_property

import msgspec

from zoo_core.cache import Cache
from zoo_core.entry_points import guarded, normalised
from zoo_core.errors import CacheError, MetadataError, PluginError, ZooError
from zoo_core.metadata import Metadata
from zoo_core.places import Place
from zoo_core.record import ModelRecord, Source
from zoo_core.repository.base import Repository
from zoo_core.requirements import engine_package, missing_requirements


@dataclasses.dataclass
class Catalogue:
    """What a list of repositories holds; read once, when first asked.

    Attributes:
        places: In their order.
        engines: The engines that are installed, to tell what a record misses.
    """

    places: Sequence[Place]
    cache: Cache
    engines: Sequence[str] = ()
    _repositories: dict[Source, Repository] = dataclasses.field(default_factory=dict)
    _missing: dict[tuple[str, ...], tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @cached_property
    def _read(self) -> tuple[list[ModelRecord], list[str], list[ZooError]]:
        records: list[ModelRecord] = []
        messages: list[str] = []
        unread: list[ZooError] = []
        malformed: list[ZooError] = []
        for place in self.places:
            try:
                # Documents may come from a plugin's own Repository, which may raise anything.
                with guarded(f"{_described(place.source)} raised", ZooError):
                    repository = place.open()
                    self._repositories.setdefault(_key(place.source), repository)
                    records += self._records(place.source, repository)
                    problems = [str(problem) for problem in repository.problems]
                messages += problems
                malformed += map(MetadataError, problems)
            except ZooError as error:
                messages.append(f"{_described(place.source)} could not be read: {error}")
                unread.append(error)
        # Whoever names the repositories to ask wants to know that none of them answers; nothing else is hidden by it.
        if unread and len(unread) == len(self.places) and all(place.source.is_named for place in self.places):
            raise unread[0]
        return records, messages, [*unread, *malformed]

    @property
    def records(self) -> list[ModelRecord]:
        """Every artifact, in the order of the repositories and of their documents."""
        return self._read[0]

    @property
    def messages(self) -> list[str]:
        """What could not be read, and why."""
        return self._read[1]

    @property
    def errors(self) -> list[ZooError]:
        """What kept repositories or documents from being read."""
        return self._read[2]

    def has_group(self, group_id: str) -> bool:
        """Whether any repository has a group id."""
        return any(group_id in (record.group_id, record.metadata.group_id) for record in self.records)

    def repository_of(self, record: ModelRecord) -> Repository | None:
        """The repository that a record comes from; None where it is not among these."""
        _ = self._read
        exact = self._repositories.get(_key(record.source))
        if exact is not None:
            return exact
        # The call that found the record may have named the same place in another way.
        same = (found for source, found in self._repositories.items() if _carrier(source) == _carrier(record.source))
        return next(same, None)

    def completed(self, record: ModelRecord) -> ModelRecord:
        """A record with what this machine says of it: whether its files are here, and which packages are missing."""
        return msgspec.structs.replace(record, cached=self._is_cached(record), missing=self._missing_of(record))

    def _is_cached(self, record: ModelRecord) -> bool:
        try:
            with guarded(f"{_described(record.source)} raised", CacheError):
                return self.cache.has(record, self.repository_of(record))
        except PluginError as error:
            # Said once, not once for each of its artifacts and each question.
            if str(error) not in self.messages:
                self.messages.append(str(error))
            return False

    def _records(self, source: Source, repository: Repository) -> Iterator[ModelRecord]:
        for metadata in repository.documents():
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


def _described(source: Source) -> str:
    # A plugin may give its repository any name.
    name, carrier = source.name, source.distribution
    return f"repository {name} of {carrier}" if carrier and normalised(carrier) != normalised(name) else f"repository {name}"


def _key(source: Source) -> Source:
    """What tells repositories apart; an address alone does not, since a Repository object says its own."""
    return msgspec.structs.replace(source, is_named=False)


def _carrier(source: Source) -> tuple[str, str]:
    return source.repository, normalised(source.distribution)
