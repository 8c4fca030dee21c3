"""Settings: zoo.toml and the environment, read when they are needed and never frozen at import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import platformdirs

from zoo_core.credentials import Credential
from zoo_core.errors import CacheError, CriteriaError
from zoo_core.mirrors import Mirror, checked_mirror, parse_mirrors
from zoo_core.wording import did_you_mean, listing

FILE_NAME = "zoo.toml"
DAY_S = 86_400.0
#: What a zoo.toml in the working directory may set: a cloned project must not decide what its user trusts, or how much.
_LOCAL = ("engines", "offline", "repository", "mirror")
_LOCAL_REPOSITORY = ("url", "name")

Shape = TypeVar("Shape")
Count = Annotated[int, msgspec.Meta(ge=1)]


class RepositorySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[repository]]``."""

    url: str
    name: str = ""
    groups: tuple[str, ...] = ()
    allow_unverified: bool = False
    username_env: str = ""
    token_env: str = ""


class _MirrorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    of: str
    urls: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    engines: tuple[str, ...] = ()
    offline: bool | None = None
    index_max_age: float | None = None
    cache_layers: tuple[str, ...] = ()
    trust_code: tuple[str, ...] = ()
    max_file_size: int | None = None
    max_unpacked_size: Count | None = None
    max_members: Count | None = None
    max_index_size: Count | None = None
    repository: tuple[RepositorySettings, ...] = ()
    mirror: tuple[_MirrorSettings, ...] = ()


class ConfiguredRepository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository that a file or the environment names.

    Attributes:
        is_trusted: The user's own configuration names it, not the working directory's.
        credential: The environment variables that hold what it asks for.
    """

    url: str
    name: str = ""
    groups: tuple[str, ...] = ()
    allow_unverified: bool = False
    is_trusted: bool = True
    credential: Credential | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings.

    Attributes:
        engines: The order in which engines are tried.
        offline: Whether the files forbid the network; the environment is asked at each use.
        index_max_age: Seconds after which a known index is asked again.
        trust_code: The carried code that the user trusts: ``sha256:<hex>``, a repository's address, ``dist:<distribution>``.
        cache_layers: Caches that are read below the user's own and never written.
        max_unpacked_size: Bytes that one archive may become; None: as its own size tells.
        max_members: Files and folders that one archive may become; None: a default.
        max_file_size: The most bytes that a file may have; None: several times what its document declares.
        max_index_size: Bytes that the index of a remote repository may have, compressed and unpacked; None: a default.
        mirrors: Those of the environment, then those of the files.
    """

    engines: tuple[str, ...] = ()
    offline: bool = False
    index_max_age: float = DAY_S
    trust_code: tuple[str, ...] = ()
    cache_layers: tuple[Path, ...] = ()
    max_unpacked_size: int | None = None
    max_members: int | None = None
    max_file_size: int | None = None
    max_index_size: int | None = None
    mirrors: tuple[Mirror, ...] = ()
    repositories: tuple[ConfiguredRepository, ...] = ()
    files: tuple[Path, ...] = ()


def load_config(path: str | os.PathLike[str] | bool | None = None) -> Config:
    """Read the settings.

    Args:
        path: A file; None: ``ZOO_CONFIG`` or the user's configuration folder, then ``./zoo.toml``; False: neither file nor
            environment.

    Raises:
        CriteriaError: A file that was named does not exist, is no TOML, or has a key that is unknown or not allowed there.
    """
    if path is False:
        return Config()
    config = Config()
    for file, is_trusted in _files(None if path is True else path):
        config = _merged(config, file, _read(file, is_trusted=is_trusted), is_trusted=is_trusted)
    urls = os.environ.get("ZOO_REPOSITORIES", "").split()
    added = tuple(ConfiguredRepository(url=url) for url in urls)
    mirrors = (*parse_mirrors(os.environ.get("ZOO_MIRROR", "")), *config.mirrors)
    return msgspec.structs.replace(config, repositories=(*config.repositories, *added), mirrors=mirrors)


def _files(path: str | os.PathLike[str] | None) -> list[tuple[Path, bool]]:
    named = path or os.environ.get("ZOO_CONFIG")
    if named:
        file = Path(named).expanduser()
        if not file.is_file():
            raise CriteriaError(f"configuration file {file} does not exist")
        return [(file.absolute(), True)]
    own = _own_file()
    local = Path.cwd() / FILE_NAME
    return [
        (file, is_trusted)
        for file, is_trusted in ((own, True), (local, False))
        if file.is_file() and (is_trusted or file != own)
    ]


def _own_file() -> Path:
    return Path(platformdirs.user_config_dir("zoo", appauthor=False)) / FILE_NAME


def _read(file: Path, *, is_trusted: bool) -> _File:
    # A search in installed packages, the common case, reads no such file.
    import tomllib

    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CriteriaError(f"{file}: {error}") from error
    if not is_trusted:
        _check_local(file, content)
    try:
        read = msgspec.convert(content, type=_File)
    except msgspec.ValidationError as error:
        raise CriteriaError(f"{file}: {error}{_near_key(content)}") from error
    return read


def _near_key(content: Mapping[str, Any]) -> str:
    """What to write instead of the first key that nobody knows, also inside ``[[repository]]`` and ``[[mirror]]``."""
    tables: list[tuple[Mapping[str, Any], type[msgspec.Struct]]] = [(content, _File)]
    for name, inner in (("repository", RepositorySettings), ("mirror", _MirrorSettings)):
        items = content.get(name)
        tables += [(item, inner) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    for table, shape in tables:
        known = shape.__struct_fields__
        for key in table:
            if key not in known:
                return did_you_mean(key, known) + f". Keys: {listing(known, limit=20)}"
    return ""


def _check_local(file: Path, content: Mapping[str, Any]) -> None:
    repositories = content.get("repository", [])
    inside = [key for item in repositories if isinstance(item, dict) for key in item] if isinstance(repositories, list) else []
    known, known_inside = _File.__struct_fields__, RepositorySettings.__struct_fields__
    for key in [
        *(key for key in content if key in known and key not in _LOCAL),
        *(key for key in inside if key in known_inside and key not in _LOCAL_REPOSITORY),
    ]:
        raise CriteriaError(
            f"{file}: `{key}` counts only in your own configuration: {_own_file()}, or a file named by --config or ZOO_CONFIG"
        )


def _merged(config: Config, file: Path, read: _File, *, is_trusted: bool) -> Config:
    repositories = tuple(
        ConfiguredRepository(
            url=_absolute(item.url, file.parent),
            name=item.name,
            groups=item.groups,
            allow_unverified=item.allow_unverified,
            is_trusted=is_trusted,
            credential=_credential(item, file),
        )
        for item in read.repository
    )
    mirrors = tuple(_mirror(item, file, is_trusted=is_trusted) for item in read.mirror)
    known = {repository.name for repository in config.repositories}
    for repository in repositories:
        if repository.name and repository.name in known:
            raise CriteriaError(
                f"{file}: a repository of the name {repository.name!r} is configured already; choose another name"
            )
        known.add(repository.name)
    # The network that the user forbade is not opened by the folder they work in.
    offline = config.offline if read.offline is None else read.offline or (config.offline and not is_trusted)
    return msgspec.structs.replace(
        config,
        engines=read.engines or config.engines,
        offline=offline,
        index_max_age=config.index_max_age if read.index_max_age is None else read.index_max_age,
        trust_code=(*config.trust_code, *read.trust_code),
        cache_layers=(*config.cache_layers, *(file.parent / Path(layer).expanduser() for layer in read.cache_layers)),
        max_unpacked_size=config.max_unpacked_size if read.max_unpacked_size is None else read.max_unpacked_size,
        max_members=config.max_members if read.max_members is None else read.max_members,
        max_file_size=config.max_file_size if read.max_file_size is None else read.max_file_size,
        max_index_size=config.max_index_size if read.max_index_size is None else read.max_index_size,
        mirrors=(*config.mirrors, *mirrors),
        repositories=(*config.repositories, *repositories),
        files=(*config.files, file),
    )


def _credential(item: RepositorySettings, file: Path) -> Credential | None:
    if item.username_env and not item.token_env:
        raise CriteriaError(f"{file}: repository {item.url}: `username_env` needs `token_env`, which names the password")
    return Credential(url=item.url, token_env=item.token_env, username_env=item.username_env) if item.token_env else None


def _mirror(item: _MirrorSettings, file: Path, *, is_trusted: bool) -> Mirror:
    urls = tuple(url if "://" in url else Path(_absolute(url, file.parent)).absolute().as_uri() for url in item.urls)
    return checked_mirror(Mirror(of=item.of, urls=urls, is_trusted=is_trusted), str(file))


def _absolute(url: str, folder: Path) -> str:
    return url if "://" in url else str(folder / Path(url).expanduser())


def named_lock(given: str | os.PathLike[str] | bool | None, config: str | os.PathLike[str] | bool | None) -> Path | None:
    """The lock file that a zoo is to heed: the one that is given, else ``ZOO_LOCK``; no other file is ever looked for.

    Args:
        given: A path; None: as the environment says; False: none.
        config: As for `load_config`; False leaves the environment aside.
    """
    named = os.environ.get("ZOO_LOCK", "") if given in (None, True) and config is not False else given
    return Path(named).expanduser().absolute() if named and not isinstance(named, bool) else None


def is_offline(config: Config | None = None, given: bool | None = None) -> bool:
    """Whether the network is forbidden: by the call, else by ``ZOO_OFFLINE``, else by the files; asked at each use."""
    if given is not None:
        return given
    text = os.environ.get("ZOO_OFFLINE", "").strip().lower()
    if text and text not in _TRUTH:
        raise CriteriaError(f"ZOO_OFFLINE={text!r}: expected one of {', '.join(_TRUTH)}")
    return _TRUTH[text] if text else config is not None and config.offline


_TRUTH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def home() -> Path:
    """The folder of the cache: ``ZOO_HOME``, else the user's cache folder.

    Raises:
        CacheError: There is no home folder to put it in.
    """
    named = os.environ.get("ZOO_HOME")
    if named:
        return Path(named).expanduser().absolute()
    try:
        return Path(platformdirs.user_cache_dir("zoo", appauthor=False))
    except (RuntimeError, KeyError) as error:
        raise CacheError("there is no home folder for the cache: set ZOO_HOME") from error
