"""What one repository holds, asked alike whether its documents are in memory or in a file."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from zoo_core.criteria import Criteria
from zoo_core.metadata import TYPES, Metadata
from zoo_core.record import ModelRecord, Source

if TYPE_CHECKING:
    from zoo_core.index.database import Database
    from zoo_core.repository.base import Repository

#: Documents of a file that are looked at for the reasons why nothing matches; where it has no more artifacts, all are.
NEARBY = 200

Records = Callable[[Metadata], Iterator[ModelRecord]]


class Holding(ABC):
    """What a repository holds."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def candidates(self, criteria: Criteria, words: Sequence[str] = ()) -> Iterable[ModelRecord]:
        """Every artifact that may answer, in the order of the repository, and perhaps others."""

    @abstractmethod
    def considered(self, criteria: Criteria) -> tuple[list[ModelRecord], int]:
        """The candidates, then those that come nearest, for the reasons why they are refused; and how many others there are."""

    @abstractmethod
    def has(self, kind: str, group_id: str, artifact_id: str | None = None, *, by_folder: bool) -> bool:
        """Whether it has an artifact of a type in a group, and of an id: by its folder, or by what its document says."""

    def has_group(self, group_id: str) -> bool:
        """Whether it has a group, told by a folder or by a document."""
        return any(self.has(kind, group_id, by_folder=by_folder) for kind in TYPES for by_folder in (True, False))


class InMemory(Holding):
    """All records of a repository that has few."""

    def __init__(self, source: Source, records: Sequence[ModelRecord]) -> None:
        super().__init__(source)
        self.records = records

    def candidates(self, criteria: Criteria, words: Sequence[str] = ()) -> Iterable[ModelRecord]:
        """All."""
        return self.records

    def considered(self, criteria: Criteria) -> tuple[list[ModelRecord], int]:
        """All."""
        return list(self.records), 0

    def has(self, kind: str, group_id: str, artifact_id: str | None = None, *, by_folder: bool) -> bool:
        """As `Holding.has`."""
        return (kind, group_id, artifact_id) in (self._folders if by_folder else self._documents)

    @cached_property
    def _folders(self) -> frozenset[tuple[str, str, str | None]]:
        return _with_groups((r.mrl.type, r.group_id, r.artifact_id) for r in self.records)

    @cached_property
    def _documents(self) -> frozenset[tuple[str, str, str | None]]:
        return _with_groups((r.mrl.type, r.metadata.group_id, r.artifact_id) for r in self.records)


class Indexed(Holding):
    """The documents of a repository that has many, or is far away, in a file."""

    def __init__(self, source: Source, database: Database, repository: Repository, records: Records) -> None:
        super().__init__(source)
        self._database, self._repository, self._records = database, repository, records

    def candidates(self, criteria: Criteria, words: Sequence[str] = ()) -> Iterable[ModelRecord]:
        """Those that have what the question asks for, as far as the file tells."""
        from zoo_core.index.terms import asked, grams

        return self._read(self._database.matching(criteria.type, asked(criteria), grams(words)))

    def considered(self, criteria: Criteria) -> tuple[list[ModelRecord], int]:
        """The candidates, and some of those that have most of what is asked for, in the order in which it is looked at."""
        from zoo_core.index.terms import asked

        total = self._database.about.artifacts.get(criteria.type, 0)
        if total <= NEARBY:
            return list(self._read(self._database.matching(criteria.type, ()))), 0
        groups = asked(criteria)
        candidates = self._database.matching(criteria.type, groups)
        counts = range(len(groups), 0, -1)
        questions = [functools.partial(self._database.some, criteria.type, groups[:count], NEARBY) for count in counts]
        near = next(filter(None, (ask() for ask in questions)), None) or self._near_ids(criteria) or self._some(criteria)
        records = list(self._read(list(dict.fromkeys([*candidates, *near]))))
        return records, total - len(records)

    def has(self, kind: str, group_id: str, artifact_id: str | None = None, *, by_folder: bool) -> bool:
        """As `Holding.has`."""
        from zoo_core.index.terms import term

        value = group_id if artifact_id is None else f"{group_id}\0{artifact_id}"
        fields = ("folder",) if by_folder else ("folder", "document")
        return self._database.has(tuple(term(kind, field, value) for field in fields))

    def _some(self, criteria: Criteria) -> list[int]:
        return self._database.some(criteria.type, (), NEARBY)

    def _near_ids(self, criteria: Criteria) -> list[int]:
        from zoo_core.index.terms import near_ids

        questions = near_ids(criteria.artifact_id) if criteria.artifact_id else []
        found = (self._database.near(criteria.type, question, NEARBY) for question in questions)
        return next((numbers for numbers in found if numbers), [])

    def _read(self, numbers: Sequence[int]) -> Iterator[ModelRecord]:
        for path, content in self._database.contents(numbers):
            yield from self._records(self._repository.decoded(path, content))


def _with_groups(ids: Iterable[tuple[str, str, str]]) -> frozenset[tuple[str, str, str | None]]:
    """Ids, and the groups they are in without an artifact's id."""
    return frozenset(
        pair for kind, group_id, artifact_id in ids for pair in ((kind, group_id, artifact_id), (kind, group_id, None))
    )
