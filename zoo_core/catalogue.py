"""What the repositories hold: every artifact as a record, in the order of the repositories."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from zoo_core.cache import Cache
from zoo_core.config import Config, ConfiguredRepository
from zoo_core.entry_points import REPOSITORIES, EntryPoint, InstalledEntryPoints, guarded, normalised
from zoo_core.errors import CacheError, MetadataError, PluginError, RepositoryError, ZooError
from zoo_core.metadata import Metadata
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

    def named(self) -> Place:
        """The same one, named by the call itself."""
        return msgspec.structs.replace(self, source=msgspec.structs.replace(self.source, is_named=True))


def opener(cache: Cache, transfer: Transfer, max_age_s: float) -> Opener:
    """What makes a repository of an address: a folder, ``file://``, ``package://`` or ``http(s)://``."""

    def open_address(url: str) -> Repository:
        try:
            return open_kind(url)
        # An address may have half a bracket, and a path may go round in circles.
        except (ValueError, OSError, RuntimeError) as error:
            raise RepositoryError(f"{printable(url)} cannot be opened: {error}", url) from error

    def open_kind(url: str) -> Repository:
        scheme = urlsplit(url).scheme
        if scheme in ("http", "https"):
            return HttpRepository(url, transfer=transfer, known=cache.known_index(url), max_age_s=max_age_s)
        if scheme == "package":
            return FolderRepository.of_package(url.removeprefix("package://").rstrip("/"), transfer=transfer)
        if scheme == "file":
            return FolderRepository(url_path(url), transfer=transfer)
        # A single letter is the drive of a Windows path.
        if len(scheme) > 1 and "://" in url:
            raise RepositoryError(
                f"{printable(url)}: there is no repository kind {scheme!r}; there is: file, http, https, package", url
            )
        return FolderRepository(Path(url).expanduser(), transfer=transfer)

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
        RepositoryError: There is neither such a name nor such a folder, or the name means several.
    """
    places: list[Place] = []
    for name in names:
        same = _meant(name, known) if isinstance(name, str) else []
        places += [place.named() for place in same]
        if not same:
            _check_exists(name, known)
            places.append(_given(name, opened, is_named=True))
    return places


#: What a name may be, the more certain first: whoever installs a package chooses the name of its entry point freely, and
#: takes no address, no name of the user's own configuration and no other distribution's name with it.
_MEANINGS: tuple[Callable[[Source, str], bool], ...] = (
    lambda source, name: name == source.repository,
    lambda source, name: name == source.name and source.is_configured and not source.distribution,
    lambda source, name: bool(source.distribution) and normalised(name) == normalised(source.distribution),
    lambda source, name: name == source.name,
)


def _meant(name: str, known: Sequence[Place]) -> list[Place]:
    for is_meant in _MEANINGS:
        places = [place for place in known if is_meant(place.source, name)]
        # One distribution may register several; they are its own, and its name means all of them.
        if len({normalised(place.source.distribution) for place in places}) > 1:
            several = listing(place.source.distribution or printable(place.source.repository) for place in places)
            raise RepositoryError(f"repository {printable(name)!r} means several: choose one of {several}", name)
        if places:
            return places
    return []


def _check_exists(name: str | Path | Repository, known: Sequence[Place]) -> None:
    if isinstance(name, Repository) or "://" in str(name) or _expanded(name).is_dir():
        return
    names = sorted({name for place in known for name in (place.source.name, place.source.distribution) if name})
    raise RepositoryError(
        f"repository {printable(str(name))!r}: there is no such folder and no repository of that name"
        f"{did_you_mean(str(name), names)}. "
        f"Repositories: {listing(names) or 'none'}",
        str(name),
    )


def _given(item: str | Path | Repository, opened: Opener, *, is_named: bool) -> Place:
    if isinstance(item, Repository):
        # One that another zoo opened is no more trusted here than there.
        source = item._opened_as or Source(repository=item.url, name=item.url, is_configured=not is_named)
        return Place(msgspec.structs.replace(source, is_named=is_named), lambda: item)
    source = Source(repository=_address(item), name=str(item), is_named=is_named, is_configured=not is_named)
    return _addressed(source, opened)


def _expanded(path: str | Path) -> Path:
    # Unlike Path.expanduser it leaves the home of an unknown user as it stands, and there is no such folder.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _address(item: str | Path) -> str:
    return str(item) if "://" in str(item) else _expanded(item).absolute().as_uri()


def _addressed(source: Source, opened: Opener) -> Place:
    return Place(source, lambda: _as_opened(opened(source.repository), source))


def _as_opened(repository: Repository, source: Source) -> Repository:
    # A plugin's own Repository may be a frozen dataclass.
    object.__setattr__(repository, "_opened_as", source)
    return repository


def _configured(item: ConfiguredRepository, opened: Opener) -> Place:
    source = Source(
        repository=_address(item.url),
        name=item.name or item.url,
        groups=item.groups,
        is_configured=item.is_trusted,
        allow_unverified=item.allow_unverified,
    )
    return _addressed(source, opened)


def _of_entry(entry: EntryPoint, opened: Opener) -> list[Place]:
    # A folder of documents: nothing of it is imported, whatever core its package was made for.
    if ":" not in entry.value:
        return [_addressed(_source_of(entry, f"package://{entry.value}"), opened)]
    try:
        given = repositories_of(entry)
        with guarded(f"{entry.described}: what it gives cannot be used:"):
            return [_carried(_given(item, opened, is_named=False), entry) for item in given]
    except PluginError as error:
        return [Place(_source_of(entry, f"{entry.distribution}:{entry.value}"), _raiser(error))]


def repositories_of(entry: EntryPoint) -> list[str | Path | Repository]:
    """What the function of an entry point gives.

    Raises:
        PluginError: It cannot be imported, raises, or gives something else.
    """
    function = entry.load()
    with guarded(f"{entry.described} raised"):
        found = function()
        given = list(found)
    # A text is a list of letters too, and none of them is a repository.
    wrong = [found] if isinstance(found, str) else [item for item in given if not isinstance(item, str | Path | Repository)]
    if wrong:
        raise PluginError(
            f"{entry.described} must give a list of URLs, folders or Repository objects; it gave a {type(wrong[0]).__name__}"
        )
    return given


def _source_of(entry: EntryPoint, url: str) -> Source:
    return Source(repository=url, name=entry.name, distribution=entry.distribution, is_configured=True)


def _carried(place: Place, entry: EntryPoint) -> Place:
    source = _source_of(entry, place.source.repository)
    return Place(source, lambda: _as_opened(place.open(), source))


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
