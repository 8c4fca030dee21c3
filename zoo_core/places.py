"""Where repositories are: what is installed, configured or named, in order, each opened when it is first asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from zoo_core.address import address_of, expanded, parse_address, said_of_all
from zoo_core.config import Config, ConfiguredRepository
from zoo_core.entry_points import REPOSITORIES, EntryPoint, InstalledEntryPoints, guarded, normalised
from zoo_core.errors import OfflineError, PluginError, RepositoryError, ZooError
from zoo_core.record import Source
from zoo_core.repository.base import Repository
from zoo_core.repository.kinds import HUB, KINDS, STORES
from zoo_core.repository.local import FolderRepository, url_path
from zoo_core.repository.single import SingleRepository
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


def opener(transfer: Transfer, *, max_index_size: int | None = None) -> Opener:
    """What makes a repository of an address: a folder, a file, or one of the `KINDS`."""

    def open_address(url: str) -> Repository:
        try:
            return open_kind(url)
        except ZooError:
            raise
        # An address may have half a bracket, and a path may go round in circles.
        except (ValueError, OSError, RuntimeError) as error:
            raise RepositoryError(f"{printable(url)} cannot be opened: {error}", url) from error

    def open_kind(url: str) -> Repository:
        scheme = urlsplit(url).scheme
        if scheme == "package":
            return FolderRepository.of_package(url.removeprefix("package://").rstrip("/"), transfer=transfer)
        if scheme == "file":
            return _opened_here(url, transfer)
        if scheme in KINDS:
            return _opened_away(url, scheme, transfer, max_index_size)
        # A single letter is the drive of a Windows path.
        if len(scheme) > 1 and "://" in url:
            raise RepositoryError(
                f"{printable(url)}: there is no repository kind {scheme!r}; there is: {listing(KINDS, limit=20)}", url
            )
        return _opened_here(Path(url).expanduser().absolute().as_uri(), transfer)

    return open_address


def _opened_here(url: str, transfer: Transfer) -> Repository:
    """A folder of this machine, or one file."""
    address = parse_address(url)
    path = url_path(address.url)
    is_file = path.is_file() or (address.is_file and not path.is_dir())
    return SingleRepository(address, transfer=transfer) if is_file else FolderRepository(path, transfer=transfer)


def _opened_away(url: str, scheme: str, transfer: Transfer, max_index_size: int | None) -> Repository:
    """A place on the network. What most searches do without is imported where it is asked for."""
    if scheme in STORES:
        from zoo_core.repository.store import StoreRepository

        return StoreRepository(url, transfer=transfer, max_index_size=max_index_size)
    if scheme == HUB:
        from zoo_core.repository.hub import HubRepository

        return HubRepository(url, transfer=transfer, max_index_size=max_index_size)
    from zoo_core.repository.http import HttpRepository

    address = parse_address(url)
    if address.is_file:
        return SingleRepository(address, transfer=transfer)
    return HttpRepository(address.url, transfer=transfer, max_index_size=max_index_size)


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
    if isinstance(name, Repository) or "://" in str(name) or expanded(name).exists():
        return
    names = sorted({name for place in known for name in (place.source.name, place.source.distribution) if name})
    raise RepositoryError(
        f"repository {printable(str(name))!r}: there is no such folder or file and no repository of that name"
        f"{did_you_mean(str(name), names)}. "
        f"Repositories: {listing(names) or 'none'}",
        str(name),
    )


def _given(item: str | Path | Repository, opened: Opener, *, is_named: bool) -> Place:
    if isinstance(item, Repository):
        # One that another zoo opened is no more trusted here than there.
        source = item._opened_as or Source(repository=item.url, name=item.url, is_configured=not is_named)
        return Place(msgspec.structs.replace(source, is_named=is_named), lambda: item)
    address = address_of(item)
    source = Source(
        repository=address,
        name=str(item),
        is_named=is_named,
        is_configured=not is_named,
        arguments=said_of_all(address),
    )
    return _addressed(source, opened)


def _addressed(source: Source, opened: Opener) -> Place:
    return Place(source, lambda: _as_opened(opened(source.repository), source))


def _as_opened(repository: Repository, source: Source) -> Repository:
    # A plugin's own Repository may be a frozen dataclass.
    object.__setattr__(repository, "_opened_as", source)
    return repository


def _configured(item: ConfiguredRepository, opened: Opener) -> Place:
    address = address_of(item.url)
    source = Source(
        repository=address,
        name=item.name or item.url,
        groups=item.groups,
        is_configured=item.is_trusted,
        allow_unverified=item.allow_unverified,
        arguments=said_of_all(address),
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
    except (PluginError, OfflineError) as error:
        return [Place(_source_of(entry, f"{entry.distribution}:{entry.value}"), _raiser(error))]


def repositories_of(entry: EntryPoint) -> list[str | Path | Repository]:
    """What the function of an entry point gives.

    Raises:
        PluginError: It cannot be imported, raises, or gives something else.
    """
    function = entry.load()
    with guarded(f"{entry.described} raised", OfflineError):
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
    source = msgspec.structs.replace(_source_of(entry, place.source.repository), arguments=place.source.arguments)
    return Place(source, lambda: _as_opened(place.open(), source))


def _raiser(error: ZooError) -> Callable[[], Repository]:
    def fail() -> Repository:
        raise error

    return fail
