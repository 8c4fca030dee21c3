"""What the repositories hold: every artifact as a record, in the order of the repositories."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from zoo_core.cache import Cache
from zoo_core.config import Config, ConfiguredRepository
from zoo_core.entry_points import REPOSITORIES, EntryPoint, InstalledEntryPoints
from zoo_core.errors import MetadataError, RepositoryError, ZooError
from zoo_core.record import ModelRecord, Source
from zoo_core.repository.base import Repository
from zoo_core.repository.http import HttpRepository
from zoo_core.repository.local import FolderRepository, url_path
from zoo_core.requirements import engine_package, missing_requirements
from zoo_core.transfer import Transfer
from zoo_core.wording import did_you_mean, listing, printable

Opener = Callable[[str], Repository]


class Place(msgspec.Struct, frozen=True):
    """A repository in its order, or what kept it from being opened."""

    source: Source
    open: Callable[[], Repository]


def opener(cache: Cache, transfer: Transfer, max_age_s: float) -> Opener:
    """What makes a repository of an address: a folder, ``file://``, ``package://`` or ``http(s)://``."""

    def open_address(url: str) -> Repository:
        scheme = urlsplit(url).scheme
        if scheme in ("http", "https"):
            return HttpRepository(url, transfer=transfer, known=cache.known_index(url), max_age_s=max_age_s)
        if scheme == "package":
            return FolderRepository.of_package(url.removeprefix("package://").rstrip("/"))
        if scheme == "file":
            return FolderRepository(url_path(url))
        # A single letter is the drive of a Windows path.
        if len(scheme) > 1 and "://" in url:
            raise RepositoryError(
                f"{printable(url)}: there is no repository kind {scheme!r}; there is: file, http, https, package", url
            )
        return FolderRepository(Path(url).expanduser())

    return open_address


def installed_places(installed: InstalledEntryPoints, opened: Opener) -> list[Place]:
    """The repositories that installed packages register, by distribution."""
    return [place for entry in installed.group(REPOSITORIES) for place in _of_entry(entry, opened)]


def configured_places(config: Config, opened: Opener) -> list[Place]:
    """The repositories of ``zoo.toml`` and the environment, in their order."""
    return [_configured(item, opened) for item in config.repositories]


def given_places(given: Iterable[str | Path | Repository], opened: Opener, *, is_named: bool) -> list[Place]:
    """Repositories that a caller gives: named in one call, or the parts a zoo is made of."""
    return [_given(item, opened, is_named=is_named) for item in given]


def named_places(names: Iterable[str | Path | Repository], known: Sequence[Place], opened: Opener) -> list[Place]:
    """The repositories that a call names: an address, a folder, or the name of one that is installed or configured.

    Raises:
        RepositoryError: There is neither such a name nor such a folder.
    """
    places: list[Place] = []
    for name in names:
        same = [place for place in known if isinstance(name, str) and name in (place.source.name, place.source.repository)]
        places += [Place(msgspec.structs.replace(place.source, is_named=True), place.open) for place in same]
        if not same:
            _check_exists(name, known)
            places.append(_given(name, opened, is_named=True))
    return places


def _check_exists(name: str | Path | Repository, known: Sequence[Place]) -> None:
    if isinstance(name, Repository) or "://" in str(name) or Path(name).expanduser().is_dir():
        return
    names = sorted({place.source.name for place in known})
    raise RepositoryError(
        f"repository {printable(str(name))!r}: there is no such folder and no repository of that name"
        f"{did_you_mean(str(name), names)}. "
        f"Repositories: {listing(names) or 'none'}",
        str(name),
    )


def _given(item: str | Path | Repository, opened: Opener, *, is_named: bool) -> Place:
    if isinstance(item, Repository):
        source = Source(
            repository=item.url,
            name=item.distribution or item.url,
            distribution=item.distribution,
            is_named=is_named,
            is_configured=not is_named,
        )
        return Place(source, lambda: item)
    url = str(item) if "://" in str(item) else Path(item).expanduser().absolute().as_uri()
    return Place(Source(repository=url, name=str(item), is_named=is_named, is_configured=not is_named), lambda: opened(url))


def _configured(item: ConfiguredRepository, opened: Opener) -> Place:
    url = item.url if "://" in item.url else Path(item.url).expanduser().absolute().as_uri()
    source = Source(
        repository=url,
        name=item.name or item.url,
        groups=item.groups,
        is_configured=item.is_trusted,
        allow_unverified=item.allow_unverified,
    )
    return Place(source, lambda: opened(url))


def _of_entry(entry: EntryPoint, opened: Opener) -> Iterator[Place]:
    def source(url: str) -> Source:
        return Source(repository=url, name=entry.name, distribution=entry.distribution, is_configured=True)

    if ":" not in entry.value:
        # A folder of documents: nothing of it is imported, whatever core its package was made for.
        url = f"package://{entry.value}"
        yield Place(source(url), lambda: _carried(opened(url), entry))
        return
    try:
        found = list(entry.load()())
    # A plugin's function may raise anything, also SystemExit, and hurts nobody else.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        raised = error if isinstance(error, ZooError) else RepositoryError(f"{type(error).__name__}: {error}")
        yield Place(source(f"{entry.distribution}:{entry.value}"), _raiser(raised))
        return
    for item in found:
        place = _given(item, opened, is_named=False)
        yield Place(source(place.source.repository), partial(_opened_for, place, entry))


def _opened_for(place: Place, entry: EntryPoint) -> Repository:
    return _carried(place.open(), entry)


def _carried(repository: Repository, entry: EntryPoint) -> Repository:
    # So that it stays the package's own when it is given to another zoo: ModelZoo([url, *ModelZoo().repositories]).
    repository.distribution = entry.distribution
    return repository


def _raiser(error: ZooError) -> Callable[[], Repository]:
    def fail() -> Repository:
        raise error

    return fail


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
    _repositories: dict[str, Repository] = dataclasses.field(default_factory=dict)
    _missing: dict[tuple[str, ...], tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @cached_property
    def _read(self) -> tuple[list[ModelRecord], list[str], list[ZooError]]:
        records: list[ModelRecord] = []
        messages: list[str] = []
        unread: list[ZooError] = []
        malformed: list[ZooError] = []
        for place in self.places:
            try:
                repository = place.open()
                self._repositories[place.source.repository] = repository
                records += self._records(place.source, repository)
                messages += repository.problems
                malformed += map(MetadataError, repository.problems)
            except ZooError as error:
                messages.append(f"repository {place.source.name} could not be read: {error}")
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
        return self._repositories.get(record.repository)

    def completed(self, record: ModelRecord) -> ModelRecord:
        """A record with what this machine says of it: whether its files are here, and which packages are missing."""
        return msgspec.structs.replace(
            record, cached=self.cache.has(record, self.repository_of(record)), missing=self._missing_of(record)
        )

    def _records(self, source: Source, repository: Repository) -> Iterator[ModelRecord]:
        for metadata in repository.documents():
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
