"""ModelZoo: the repositories, engines, factories and plugins that are installed or configured, behind a few verbs."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Concatenate, ParamSpec, TypeVar
from warnings import warn

import msgspec

from zoo_core import reference
from zoo_core.block import BlockFactory, factory_class
from zoo_core.cache import Cache, unsupported
from zoo_core.catalogue import Catalogue
from zoo_core.config import Config, home, is_offline, load_config, named_lock
from zoo_core.credentials import Credentials
from zoo_core.criteria import Criteria, check_names
from zoo_core.downloads import Progress
from zoo_core.engine import Engine
from zoo_core.engines import Engines
from zoo_core.entry_points import InstalledEntryPoints
from zoo_core.errors import (
    AmbiguousModelError,
    CriteriaError,
    EngineNotInstalledError,
    IntegrityError,
    ModelNotFoundError,
    OfflineError,
    PluginError,
    RepositoryError,
    UntrustedCodeError,
    ZooWarning,
)
from zoo_core.folders import copy_folder
from zoo_core.free_text import distance, has_all, words_of
from zoo_core.offline import closed_network
from zoo_core.places import Opener, configured_places, given_places, installed_places, named_places, opener
from zoo_core.places import Place as Located
from zoo_core.plugin import Hooks, PluginRecord, plugin_records
from zoo_core.progress import reporter
from zoo_core.record import ModelRecord
from zoo_core.registered import build
from zoo_core.selection import Explanation, Surroundings, choose, select, usable_engines, wanted_engines
from zoo_core.transfer import Transfer
from zoo_core.unanswered import unanswered
from zoo_core.unpack import MAX_MEMBERS, Limits

if TYPE_CHECKING:
    from types import TracebackType

    import click

    from zoo_core.artifact import Artifact
    from zoo_core.description import ModelInfo
    from zoo_core.how import How
    from zoo_core.loader import ModelLoader
    from zoo_core.locked import Locked
    from zoo_core.locking import LockReport
    from zoo_core.material import Material
    from zoo_core.mirroring import Mirrored
    from zoo_core.model import Model
    from zoo_core.repository.base import Repository
    from zoo_core.syncing import Synced

What = Criteria | ModelRecord | str | None
Place = str | Path
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def _heeding_offline(
    verb: Callable[Concatenate[ModelZoo, Arguments], Answer],
) -> Callable[Concatenate[ModelZoo, Arguments], Answer]:
    """A verb that closes the network to plugins and libraries too, where it is forbidden when the verb is called."""

    @functools.wraps(verb)
    def run(zoo: ModelZoo, /, *arguments: Arguments.args, **keywords: Arguments.kwargs) -> Answer:
        with closed_network(zoo._is_offline()):
            return verb(zoo, *arguments, **keywords)

    return run


class _Question(msgspec.Struct, frozen=True):
    """A question with the repositories that are asked; a record is its own answer."""

    criteria: Criteria
    catalogue: Catalogue
    record: ModelRecord | None = None


class ModelZoo:
    """Everything that is installed or configured, or the explicit parts it is constructed with.

    Safe to use from several threads; a context manager.

    Args:
        repositories: URLs, folders or Repository objects, and then no others. None: those of installed packages, ``zoo.toml``
            and ``ZOO_REPOSITORIES``.
        cache: The cache folder; None: ``ZOO_HOME``, else the user's cache folder.
        engines: The order in which engines are tried; None: that of ``zoo.toml``.
        plugins: Objects with hooks, instead of the installed plugins.
        config: The path of a ``zoo.toml``; None: the user's own and ``./zoo.toml``; False: neither file nor environment.
        offline: Forbid the network; None: as ``ZOO_OFFLINE`` and ``zoo.toml`` say at each use.
        refresh: Ask remote repositories for their index now, however young the known one is.
        lock: The path of a lock file: then its artifacts are all there is, whatever the repositories hold meanwhile, and
            ``repositories`` say only whom to trust. None: ``ZOO_LOCK``, if it is set; False: none.

    Raises:
        CriteriaError: The configuration is malformed.
    """

    def __init__(
        self,
        repositories: Iterable[str | Path | Repository] | None = None,
        *,
        cache: str | os.PathLike[str] | None = None,
        engines: Sequence[str] | None = None,
        plugins: Iterable[object] | None = None,
        config: str | os.PathLike[str] | bool | None = None,
        offline: bool | None = None,
        refresh: bool = False,
        lock: str | os.PathLike[str] | bool | None = None,
    ) -> None:
        if isinstance(repositories, str | Path):
            raise TypeError("repositories: expected a list of URLs, folders or Repository objects, not one of them")
        self._given = None if repositories is None else list(repositories)
        self._config: Config = load_config(config)
        self._offline = offline
        self._refreshes = refresh
        self._max_age_s = 0.0 if refresh else self._config.index_max_age
        place = Path(cache).expanduser().absolute() if cache is not None else home()
        self._cache = Cache(
            place, layers=self._config.cache_layers, limits=_limits(self._config), max_file_size=self._config.max_file_size
        )
        self._order = tuple(engines) if engines is not None else self._config.engines
        self._plugins = None if plugins is None else list(plugins)
        self._lock_path = named_lock(lock, config)
        self._asked_at: dict[str, float] = {}
        self._last_named: tuple[list[Place], Catalogue] | None = None

    # What the zoo is made of, each part made when it is first needed.

    @cached_property
    def _installed(self) -> InstalledEntryPoints:
        return InstalledEntryPoints.scan()

    @cached_property
    def _engines(self) -> Engines:
        return Engines(self._installed, self._order)

    @cached_property
    def _hooks(self) -> Hooks:
        return Hooks(self._installed, self._plugins)

    @cached_property
    def _transfer(self) -> Transfer:
        credentials = [item.credential for item in self._config.repositories if item.credential is not None]
        return Transfer(
            is_offline=self._is_offline,
            authorise=self._authorised,
            credentials=Credentials(credentials),
            mirrors=self._config.mirrors,
        )

    @cached_property
    def _opened(self) -> Opener:
        return opener(self._transfer, max_index_size=self._config.max_index_size)

    @cached_property
    def _places(self) -> list[Located]:
        if self._given is not None:
            return given_places(self._given, self._opened, is_named=False)
        return [*installed_places(self._installed, self._opened), *configured_places(self._config, self._opened)]

    @cached_property
    def _locked(self) -> Locked | None:
        """What a lock file leaves of all that; None where none is named."""
        if self._lock_path is None:
            return None
        from zoo_core.locked import Locked
        from zoo_core.lockfile import read_lock

        return Locked(read_lock(self._lock_path), self._places, self._published, opened=self._opened, transfer=self._transfer)

    def _published(self, place: Located, record: ModelRecord) -> Iterator[Artifact]:
        """What a repository itself has of a record's model, whatever is locked; of a listing the whole document is read."""
        catalogue = self._catalogue_of([place])
        catalogue.revalidate()
        criteria = Criteria(group_id=record.group_id, artifact_id=record.artifact_id, type=record.mrl.type)
        for own in catalogue.candidates(criteria):
            if own.mrl == record.mrl:
                whole = catalogue.whole(catalogue.completed(own))
                yield from whole.metadata.artifacts if own.metadata.listed_as else [own.artifact]

    def _is_offline(self) -> bool:
        return is_offline(self._config, self._offline)

    @cached_property
    def _catalogue(self) -> Catalogue:
        return self._catalogue_of(self._places if self._locked is None else self._locked.places)

    def _catalogue_of(self, places: Sequence[Located]) -> Catalogue:
        return Catalogue(places, self._cache, self._engines.names, self._max_age_s, self._asked_at)

    def _authorised(self, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        answer: Mapping[str, str] | None = self._hooks.first("zoo_authorise_request", url=url, headers=headers)
        return answer if answer is not None else headers

    @property
    @_heeding_offline
    def repositories(self) -> list[Repository]:
        """The repositories that can be opened, in their order."""
        opened = []
        for place in self._catalogue.places:
            try:
                opened.append(place.open())
            except (RepositoryError, PluginError) as error:
                warn(f"repository {place.source.name} could not be opened: {error}", ZooWarning, stacklevel=2)
        return opened

    def refresh(self) -> None:
        """Forget what was read: packages, repositories and plugins are looked at again when they are next needed."""
        for name in ("_installed", "_engines", "_hooks", "_transfer", "_opened", "_places", "_locked", "_catalogue"):
            self.__dict__.pop(name, None)
        self._asked_at, self._last_named = {}, None

    def __enter__(self) -> ModelZoo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        return None

    # The verbs.

    @_heeding_offline
    def search(
        self, what: What = None, /, *, text: str | None = None, model_urls: Sequence[Place] = (), **fields: Any
    ) -> list[ModelRecord]:
        """The artifacts that match; nothing is downloaded and no engine is imported.

        Args:
            what: Criteria, a record, or a MODEL as on the command line; keywords replace its fields.
            text: Words that must occur in ids, names, descriptions or properties; the best hits come first then.
            model_urls: Ask only these repositories.
            **fields: Fields of `Criteria`.

        Raises:
            CriteriaError: The question is wrong.
        """
        words = words_of(text)
        found = self._explained(self._fresh(what, model_urls, fields), words=words, with_reasons=False).accepted
        # Among equally good ones the order stays.
        return sorted(found, key=lambda record: distance(record, words)) if words else found

    @_heeding_offline
    def explain(self, what: What = None, /, *, model_urls: Sequence[Place] = (), **fields: Any) -> Explanation:
        """Which artifacts a load could take, and why each other one is refused, nearest miss first.

        Args:
            what: As for `search`.
            model_urls: Ask only these repositories.
            **fields: Fields of `Criteria`.
        """
        question = self._fresh(what, model_urls, fields)
        explanation = self._explained(question, for_load=True)
        records = question.catalogue.all_completed([refusal.record for refusal in explanation.refused])
        refused = [
            msgspec.structs.replace(refusal, record=record)
            for refusal, record in zip(explanation.refused, records, strict=True)
        ]
        return msgspec.structs.replace(explanation, refused=refused)

    @_heeding_offline
    def info(
        self,
        what: What = None,
        /,
        *,
        model_path: str | os.PathLike[str] | bytes | BinaryIO | None = None,
        model_urls: Sequence[Place] = (),
        **fields: Any,
    ) -> ModelInfo:
        """What a model is, what a load of it costs, and what it would run; no engine is imported.

        Args:
            what: As for `search`.
            model_path: A parameter file or a program, a folder or an archive with one, its content, or a binary stream;
                instead of ``what``.
            model_urls: Ask only these repositories.
            **fields: Fields of `Criteria`.

        Raises:
            ModelNotFoundError: Nothing matches.
            AmbiguousModelError: Different models match.
            ParameterError: The file is malformed.
        """
        from zoo_core.description import describe, describe_file
        from zoo_core.how import How
        from zoo_core.material import engines_of_file, material_of_path

        how = How().trusting(self._config.trust_code)
        if model_path is not None:
            _check_one_file(what, model_urls, fields)
            material = material_of_path(_source(model_path), how)
            engine = self._likely_engine(engines_of_file(material, fields.get("engine"), self._engines, how))
            return describe_file(material, engine, self._installed, how)
        question = self._fresh(what, model_urls, fields)
        record = self._chosen(question)
        repository = self._repository(question, record)
        asked = question.criteria.engine
        local = self._cache.local(record, repository)
        record = self._locked.vouched(record, local) if self._locked is not None else record
        engine = next(iter(usable_engines(record, asked, self._engines.names, self._order)), None)

        def engine_of(material: Material) -> str | None:
            # As in a load: a document that names no engine leaves it to its parameter file.
            if wanted_engines(record, asked):
                return None
            return self._likely_engine(engines_of_file(material, asked, self._engines, how))

        found = describe(record, local, engine, self._installed, how, engine_of=engine_of)
        return dataclasses.replace(found, others=self._beside(record, question))

    def _beside(self, record: ModelRecord, question: _Question) -> tuple[str, ...]:
        """The names of the artifacts that answer too and have the same reference."""
        if question.record is not None:
            return ()
        accepted = self._explained(question, with_reasons=False).accepted
        same = [other for other in accepted if (other.mrl, other.version) == (record.mrl, record.version)]
        return tuple(other.name for other in same if other.position != record.position)

    @_heeding_offline
    def download(
        self,
        what: What = None,
        /,
        *,
        model_urls: Sequence[Place] = (),
        to: str | os.PathLike[str] | None = None,
        progress: Progress | bool | None = None,
        **fields: Any,
    ) -> Path:
        """One folder with all files of an artifact.

        Args:
            what: As for `search`.
            model_urls: Ask only these repositories.
            to: A folder for copies that may be edited; None: the folder in the cache, which must not be changed.
            progress: Called with (done bytes, total bytes, name); None: bars on a terminal, lines elsewhere; False: nothing.
            **fields: Fields of `Criteria`.

        Raises:
            ModelNotFoundError, AmbiguousModelError: As for `info`.
            IntegrityError: A file is not what its document promises.
            RepositoryError: A file cannot be had.
            CacheError: The cache, or ``to``, cannot be written.
        """
        question, record = self._wanted(what, model_urls, fields)
        with self._explaining(record):
            folder = self._cache.folder(record, self._repository(question, record), progress=reporter(progress))
        if to is not None:
            folder = copy_folder(folder, Path(to))
        self._hooks.observe("zoo_downloaded", record=record, path=folder)
        return folder

    @_heeding_offline
    def load_model(
        self,
        what: What = None,
        /,
        *,
        model_path: str | os.PathLike[str] | bytes | BinaryIO | None = None,
        model_urls: Sequence[Place] = (),
        **keywords: Any,
    ) -> Model:
        """Find, download, verify and load a model.

        Args:
            what: As for `search`.
            model_path: A parameter file or a program, a folder or an archive with one, its content, or a binary stream;
                instead of ``what``.
            model_urls: Ask only these repositories.
            **keywords: Fields of `Criteria`, and how to load: ``block`` (an existing block to fill), ``block_factory`` and
                ``translator`` (an object or a registered name), ``arguments``, ``options``, ``device`` (``cpu``, ``gpu``,
                ``gpu:1``), ``dtype`` (``float64``, ``float32``, ``float16``, ``bfloat16``), ``strict``, ``trust_programs``,
                ``trust_code``, ``progress``.

        Returns:
            A model whose block is in evaluation mode, with parameters mapped from the file where the engine allows it.

        Raises:
            ModelNotFoundError: Nothing matches; the message has the nearest misses with their reasons.
            AmbiguousModelError: Different models match.
            PackageNotInstalledError: An engine or another package is missing; the message ends in the ``pip install`` line.
            UntrustedCodeError: Loading would run a program or code that is not trusted.
            ParameterError: The parameters do not fit the block.
        """
        from zoo_core.how import How
        from zoo_core.material import material_of_path
        from zoo_core.resolution import implied_engine

        how = How(**{item.name: keywords.pop(item.name) for item in dataclasses.fields(How) if item.name in keywords})
        how = how.trusting(self._config.trust_code)
        is_open = keywords.get("engine") is None and not (isinstance(what, Criteria) and what.engine)
        implied = implied_engine(how, self._engines, self._installed) if is_open else None
        if implied is not None:
            keywords["engine"] = implied
        check_names(keywords, beside=(item.name for item in dataclasses.fields(How)))
        if model_path is None:
            return self._load_artifact(*self._wanted(what, model_urls, keywords, for_load=True), how)
        _check_one_file(what, model_urls, keywords)
        return self._load_material(material_of_path(_source(model_path), how), keywords.get("engine"), how)

    @_heeding_offline
    def lock(
        self,
        /,
        *models: What,
        path: str | os.PathLike[str] = "zoo.lock",
        upgrade: bool = False,
        model_urls: Sequence[Place] = (),
        progress: Progress | bool | None = None,
        **fields: Any,
    ) -> LockReport:
        """Resolve models and write a lock file: what was asked, and the artifact that answers, with the sha256 of its files.

        Nothing is downloaded, except files whose document gives no sha256. A lock that is there keeps its pins where they
        answer what is asked, and gets those of further models.

        Args:
            *models: As for `search`, each a question of its own; ``fields`` count for each. Without them and without
                ``fields``: the questions of the lock that is there.
            path: The lock file.
            upgrade: Resolve anew what is in the lock already.
            model_urls: Ask only these repositories.
            progress: As for `download`.
            **fields: Fields of `Criteria`.

        Returns:
            The ``lock``, whether it ``is_changed``, and ``changes`` with an entry for each question. An entry has the ``pin``
            that answers, with its ``record``, and the one ``before``; ``change`` is ``added``, ``kept`` or ``changed``, and
            ``learned`` has the keys of files that were fetched for their sha256.

        Raises:
            CriteriaError: The zoo itself has a lock, or there is nothing to lock.
            ModelNotFoundError, AmbiguousModelError: As for `info`; then nothing is written.
            MetadataError: The lock that is there is malformed.
        """
        from zoo_core.lockfile import Lock, Pin, Question, read_lock
        from zoo_core.locking import LockReport, packages_of, pin_of, refuse_folders, renewed
        from zoo_core.store import Store

        if self._lock_path is not None:
            raise CriteriaError(f"this zoo sees only what {self._lock_path} holds: lock with ModelZoo(lock=False)")
        place = Path(path).expanduser().absolute()
        asked = [self._asked(what, model_urls, fields) for what in models or ([None] if fields or model_urls else [])]
        if not asked and not place.exists():
            raise CriteriaError(f"name a model to lock: there is no {place} whose questions could be asked")
        given = {Question(criteria=item.criteria, repositories=self._named_in(item)): item for item in asked}

        def answer(question: Question) -> tuple[Pin, tuple[str, ...]]:
            if question not in given:
                refuse_folders(question, [item.source for item in self._places], place)
            found = given.get(question) or self._fresh(question.criteria, question.repositories, {})
            record = self._chosen(found)
            repository = self._repository(found, record)
            engine, engines = question.criteria.engine, self._engines.names
            packages = packages_of(record, repository, self._installed, engine=engine, engines=engines, order=self._order)
            pin, learned = pin_of(record, repository, self._cache, packages, reporter(progress))
            return pin.as_read(place), learned

        # Of two that add to one file at the same time, the later one begins with what the earlier one wrote.
        with Store(self._cache.home).lock(f"zoo lock {os.path.realpath(place)}"):
            lock = read_lock(place) if place.exists() else Lock(path=place)
            lock, changes = renewed(lock, list(given), answer, upgrade=upgrade)
            return LockReport(lock=lock, changes=changes, is_changed=lock.write())

    @_heeding_offline
    def sync(self, *, model_urls: Sequence[Place] = (), progress: Progress | bool | None = None) -> Synced:
        """Bring exactly the files of this zoo's lock onto this machine; what is here already asks nobody.

        Args:
            model_urls: Take the bytes from these repositories, by their sha256, and from nowhere else: a mirror, for example.
            progress: As for `download`.

        Returns:
            The ``path`` of the lock, the references of its ``models``, all of which are here, and in ``others`` the packages
            that are installed in another version than was locked; ``install_line`` is the command for these.

        Raises:
            CriteriaError: The zoo has no lock.
            IntegrityError, RepositoryError, CacheError: Some files cannot be had; all others are here.
            PackageNotInstalledError: All that can be fetched is here, and packages are missing; nothing is installed.
        """
        from zoo_core.repository.locked import SuppliedRepository, Supplier
        from zoo_core.syncing import sync

        locked = self._checked_lock()
        named = named_places(_as_list(model_urls), self._places, self._opened) if model_urls else []
        # Of all models together, so that each is read once.
        suppliers = [Supplier(place.source.repository, place.open) for place in named]

        def repository_of(record: ModelRecord) -> Repository:
            repository = self._repository(_Question(Criteria(), self._catalogue), record)
            return SuppliedRepository(repository, suppliers) if suppliers else repository

        return sync(locked.lock, repository_of, self._cache, locked.explained, lambda: reporter(progress))

    @_heeding_offline
    def mirror(self, folder: str | os.PathLike[str], *, progress: Progress | bool | None = None) -> Mirrored:
        """Write a repository that holds exactly what this zoo's lock holds, for machines without a network.

        Args:
            folder: A new folder, or an earlier mirror, which is brought up to date.
            progress: As for `download`.

        Returns:
            The ``path`` of the mirror, the references of its ``models``, and how many ``files`` of what ``size`` it has.

        Raises:
            CriteriaError: The zoo has no lock, or the folder is somebody else's.
            IntegrityError, RepositoryError, CacheError: A file cannot be had.
        """
        from zoo_core.mirroring import mirror

        locked, place = self._checked_lock(), Path(folder).expanduser().absolute()

        def repository_of(record: ModelRecord) -> Repository:
            return self._repository(_Question(Criteria(), self._catalogue), record)

        return mirror(
            locked.lock, place, repository_of, self._cache, self._installed, locked.explained, lambda: reporter(progress)
        )

    @_heeding_offline
    def plugins(self) -> list[PluginRecord]:
        """Every registered name with its state; each plugin is imported, guarded, to tell."""
        return plugin_records(self._installed, self._hooks)

    def block_factory(self, name: str, *, engine: str | None = None, **fields: Any) -> BlockFactory:
        """A factory by its registered name, with or without the engine's prefix.

        Raises:
            PluginError: Nobody registers the name.
            AmbiguousPluginError: Several distributions or several engines do.
            InputError: A field is unknown or has a wrong type.
        """
        with closed_network(self._is_offline()):
            return build(factory_class(name, self._installed, engine=engine), fields, what=f"factory {name!r}")

    @_heeding_offline
    def open_repository(self, url: Place) -> Repository:
        """A repository by its URL or folder.

        Raises:
            RepositoryError: There is none, or it has an unknown kind.
        """
        return named_places([url], (), self._opened)[0].open()

    @_heeding_offline
    def loaders(self, criteria: Criteria | None = None) -> list[ModelLoader]:
        """A loader for each model that matches."""
        from zoo_core.loader import ModelLoader

        mrls = dict.fromkeys(record.mrl for record in self.search(criteria))
        return [ModelLoader(mrl, self) for mrl in mrls]

    @_heeding_offline
    def loader(self, group_id: str, artifact_id: str) -> ModelLoader:
        """The loader of one model.

        Raises:
            ModelNotFoundError: There is no such model.
        """
        from zoo_core.loader import ModelLoader

        criteria = Criteria(group_id=group_id, artifact_id=artifact_id)
        return ModelLoader(self._chosen(_Question(criteria, self._catalogue)).mrl, self)

    @_heeding_offline
    def messages(self, model_urls: Sequence[Place] = ()) -> list[str]:
        """What could not be read, and why: repositories, documents, plugins with hooks."""
        # Of what a verb has just read of them, so that nobody is asked once more.
        last = self._last_named
        is_same = bool(model_urls) and last is not None and last[0] == _as_list(model_urls)
        catalogue = last[1] if last is not None and is_same else self._restricted(model_urls)
        return [*catalogue.messages, *self._hooks.errors.values()]

    @_heeding_offline
    def cli_commands(self) -> list[click.Command]:
        """The verbs that plugins add to the command ``zoo``."""
        return self._hooks.all("zoo_cli_commands")

    # From a question to an answer.

    def _question(self, what: What, catalogue: Catalogue, fields: Mapping[str, Any]) -> _Question:
        """What is asked, of what is known; nobody is asked whether that is up to date."""
        match what:
            case None:
                return _Question(Criteria(**fields), catalogue)
            case Criteria():
                return _Question(what.replace(**fields), catalogue)
            case ModelRecord():
                if set(fields) - {"engine"}:
                    raise CriteriaError("a record is one artifact already; only engine= can be given with it")
                criteria = Criteria(**fields, type=what.mrl.type)
                if self._locked is not None:
                    what = self._locked.counterpart(what)
                return _Question(criteria, self._with_repository(catalogue, what), what)
            case str():
                return self._named(what, catalogue, fields)
        raise TypeError(f"expected Criteria, a ModelRecord or text, not {type(what).__name__}")

    def _fresh(self, what: What, model_urls: Sequence[Place], fields: Mapping[str, Any]) -> _Question:
        """What is asked, of what is up to date."""
        check_names(fields)
        catalogue = self._restricted(model_urls)
        return self._renewed(self._question(what, catalogue, fields), what, catalogue, fields)

    def _renewed(self, question: _Question, what: What, catalogue: Catalogue, fields: Mapping[str, Any]) -> _Question:
        """The same question, once the repositories have been asked of which too old a state is known."""
        # A record is its own answer, whatever its repository holds now.
        is_asked = question.record is None and question.catalogue.revalidate()
        # Which part of a MODEL is a group id is told by the repositories.
        return self._question(what, catalogue, fields) if is_asked and question.catalogue is catalogue else question

    def _wanted(
        self, what: What, model_urls: Sequence[Place], fields: Mapping[str, Any], *, for_load: bool = False
    ) -> tuple[_Question, ModelRecord]:
        """The one artifact whose files are wanted.

        Where what is known names one whose files are all here, nobody is asked.

        Raises:
            ModelNotFoundError, AmbiguousModelError, EngineNotInstalledError, PackageNotInstalledError: See `load_model`.
        """
        check_names(fields)
        catalogue = self._restricted(model_urls)
        question = self._question(what, catalogue, fields)
        here = None if self._refreshes else self._here(question, for_load=for_load)
        if here is not None:
            return question, here
        question = self._renewed(question, what, catalogue, fields)
        return question, self._chosen(question, for_load=for_load)

    def _here(self, question: _Question, *, for_load: bool) -> ModelRecord | None:
        """The artifact that what is known answers with, if there is one and its files are on this machine."""
        if question.record is not None or not question.catalogue.is_stale:
            return None
        try:
            record = choose(self._explained(question, for_load=for_load, with_reasons=False).accepted)
        except (AmbiguousModelError, IndexError):
            return None
        return record if record.cached else None

    def _named(self, text: str, catalogue: Catalogue, fields: Mapping[str, Any]) -> _Question:
        if reference.as_path(text) is not None:
            raise CriteriaError(f"{text!r} is a path: give it as model_path={text!r}")
        found = reference.parse(text, catalogue.has_group)
        if found.repository is not None:
            catalogue = self._restricted([found.repository])
        return _Question(Criteria(**{**found.fields, **fields}), catalogue)

    def _restricted(self, model_urls: Sequence[Place]) -> Catalogue:
        urls = _as_list(model_urls)
        if not urls:
            return self._catalogue
        if self._locked is not None:
            places = self._locked.named(urls)
        else:
            places = named_places(urls, self._catalogue.places, self._opened)
        catalogue = self._catalogue_of(places)
        # One assignment, so that no other thread sees the half of it.
        self._last_named = urls, catalogue
        return catalogue

    def _with_repository(self, catalogue: Catalogue, record: ModelRecord) -> Catalogue:
        """A record may come from a repository that only the call which found it named."""
        if catalogue.repository_of(record) is not None:
            return catalogue
        return self._restricted([record.repository])

    def _explained(
        self, question: _Question, *, words: Sequence[str] = (), for_load: bool = False, with_reasons: bool = True
    ) -> Explanation:
        """What answers a question; with reasons, what comes nearest too.

        Args:
            words: In lower case; all of them must occur.
        """
        catalogue, criteria = question.catalogue, question.criteria
        incompatible = self._engines.incompatible() if for_load else {}
        here = Surroundings(
            engines=tuple(name for name in self._engines.names if name not in incompatible),
            broken_engines=incompatible,
            for_load=for_load,
            unsupported=_why_unsupported,
            veto=lambda record: self._hooks.first("zoo_veto_candidate", criteria=criteria, record=record),
        )
        if question.record is not None:
            explanation = select(criteria, [_alone(catalogue.completed(question.record))], here, with_reasons=with_reasons)
            messages = []
        else:
            records, unseen = catalogue.considered(criteria) if with_reasons else (catalogue.candidates(criteria, words), 0)
            records = [record for record in records if has_all(record, words)] if words else records
            explanation = select(criteria, records, here, claims=catalogue, with_reasons=with_reasons)
            explanation = msgspec.structs.replace(explanation, unseen=unseen)
            messages = catalogue.messages
        accepted = catalogue.all_completed(explanation.accepted)
        ordered = self._hooks.first("zoo_order_candidates", criteria=criteria, records=tuple(accepted))
        return msgspec.structs.replace(
            explanation,
            accepted=accepted if ordered is None else list(ordered),
            messages=[*messages, *self._hooks.errors.values()],
        )

    def _chosen(self, question: _Question, *, for_load: bool = False) -> ModelRecord:
        """The one artifact that answers.

        Raises:
            ModelNotFoundError, AmbiguousModelError, EngineNotInstalledError, PackageNotInstalledError: See `load_model`.
        """
        explanation = self._explained(question, for_load=for_load, with_reasons=False)
        if not explanation.accepted:
            explanation = self._explained(question, for_load=for_load)
        for message in explanation.messages if explanation.accepted else ():
            warn(message, ZooWarning, stacklevel=2)
        if explanation.accepted:
            chosen = choose(explanation.accepted) if question.record is None else question.record
            whole = question.catalogue.whole(chosen, is_chosen=question.record is None)
            # What is read now may say that it needs another engine, or is not what was asked for.
            return (
                chosen if whole is chosen else self._chosen(msgspec.structs.replace(question, record=whole), for_load=for_load)
            )
        if not explanation.refused and question.catalogue.errors:
            raise question.catalogue.errors[0]
        error = unanswered(question.criteria, explanation, question.catalogue.errors)
        if self._locked is not None and isinstance(error, ModelNotFoundError):
            raise self._locked.not_found(error, question.criteria)
        raise error

    def _repository(self, question: _Question, record: ModelRecord) -> Repository:
        found = question.catalogue.repository_of(record)
        if found is None:
            raise RepositoryError(f"repository {record.repository} of {record.reference} cannot be opened", record.repository)
        return found

    def _asked(self, what: What, model_urls: Sequence[Place], fields: Mapping[str, Any]) -> _Question:
        """A question that can be asked again later, of which a record is the ids, the version and the name."""
        if not isinstance(what, ModelRecord):
            return self._fresh(what, model_urls, fields)
        own: dict[str, Any] = {
            "group_id": what.group_id,
            "artifact_id": what.artifact_id,
            "version": what.version,
            "artifact_name": what.name,
        }
        criteria = Criteria(**{name: value for name, value in own.items() if value}, type=what.mrl.type)
        return self._fresh(criteria, model_urls or ([] if what.source.is_configured else [what.repository]), fields)

    def _named_in(self, question: _Question) -> tuple[str, ...]:
        """The addresses of the repositories that a question is asked of alone."""
        from zoo_core.lockfile import public_address, refuse_secret

        # Not whether it is the zoo's own catalogue, which another thread may have replaced meanwhile.
        named = [place.source.repository for place in question.catalogue.places if place.source.is_named]
        for url in named:
            refuse_secret(url)
        return tuple(dict.fromkeys(map(public_address, named)))

    def _checked_lock(self) -> Locked:
        if self._locked is None:
            raise CriteriaError("this zoo has no lock: name one with ModelZoo(lock='zoo.lock'), --lock or ZOO_LOCK")
        return self._locked

    @contextmanager
    def _explaining(self, record: ModelRecord) -> Iterator[None]:
        """Say of files that cannot be had what a lock has to do with it."""
        try:
            yield
        except (IntegrityError, OfflineError) as error:
            if self._locked is None:
                raise
            raise self._locked.explained(error, record) from error

    # From an answer to a model.

    def _load_artifact(self, question: _Question, record: ModelRecord, how: How) -> Model:
        repository = self._repository(question, record)
        if self._locked is None:
            return self._load_record(record, repository, question.criteria.engine, how)
        record = self._locked.vouched(record)
        try:
            return self._load_record(record, repository, question.criteria.engine, how)
        except UntrustedCodeError:
            # Only where it decides is a repository on the network asked whether it has what the lock says.
            with self._explaining(record):
                files = self._cache.files(record, repository, progress=reporter(how.progress))
            vouched = self._locked.vouched(record, files)
            if vouched == record:
                raise
            return self._load_record(vouched, repository, question.criteria.engine, how)

    def _load_record(self, record: ModelRecord, repository: Repository, asked: str | None, how: How) -> Model:
        from zoo_core.loader import refuse_named_program
        from zoo_core.material import material_of

        refuse_named_program(record, how)
        usable = usable_engines(record, asked, self._engines.names, self._order)
        engine = self._engine(usable) if usable else None
        with self._explaining(record):
            files = self._cache.files(record, repository, progress=reporter(how.progress))
        material = material_of(record, files, how)
        # A document that names no engine leaves it to its parameter file.
        return self._loaded(material, engine, how) if engine else self._load_material(material, asked, how)

    def _load_material(self, material: Material, asked: str | None, how: How) -> Model:
        from zoo_core.material import engines_of_file

        return self._loaded(material, self._engine(engines_of_file(material, asked, self._engines, how)), how)

    def _loaded(self, material: Material, engine: Engine, how: How) -> Model:
        from zoo_core.loader import load

        return load(material, engine, how, self._installed, self._hooks)

    def _likely_engine(self, names: Iterable[str]) -> str | None:
        """The first engine that is installed, else the first; nothing is imported to tell."""
        wanted = list(names)
        installed = {name.lower() for name in self._engines.names}
        return next((name for name in wanted if name.lower() in installed), next(iter(wanted), None))

    def _engine(self, names: Iterable[str]) -> Engine:
        """The first engine that can be imported; the others leave a warning.

        Raises:
            PluginError: None can.
        """
        unusable: list[PluginError] = []
        for name in names:
            try:
                engine = self._engines.get(name)
            except PluginError as error:
                unusable.append(error)
                continue
            for reason in unusable:
                if not isinstance(reason, EngineNotInstalledError):
                    warn(f"{reason}; using {engine.name}", ZooWarning, stacklevel=2)
            return engine
        raise unusable[0] if unusable else PluginError("no engine is installed: pip install zoo-pytorch")


def _as_list(model_urls: Sequence[Place]) -> list[Place]:
    return [model_urls] if isinstance(model_urls, str | Path) else list(model_urls)


def _limits(config: Config) -> Limits:
    return Limits(max_size=config.max_unpacked_size, max_members=config.max_members or MAX_MEMBERS)


def _check_one_file(what: What, model_urls: Sequence[Place], fields: Mapping[str, Any]) -> None:
    check_names(fields)
    if what is not None or model_urls or set(fields) - {"engine"}:
        raise CriteriaError("model_path= names one file; only engine= can be given with it")


def _source(model_path: str | os.PathLike[str] | bytes | BinaryIO) -> Path | bytes:
    if isinstance(model_path, bytes | bytearray | memoryview):
        return bytes(model_path)
    if isinstance(model_path, str | os.PathLike):
        return Path(model_path).expanduser()
    # Whoever opened a file as text has its characters and not its bytes.
    content: object = model_path.read() if hasattr(model_path, "read") else None
    if not isinstance(content, bytes):
        what = "a text stream" if isinstance(content, str) else f"a {type(model_path).__name__}"
        raise TypeError(f"model_path: expected a path, bytes or a stream opened in binary mode ('rb'), not {what}")
    return content


def _alone(record: ModelRecord) -> ModelRecord:
    """A record that a call names, so that no other repository's claim to its group counts."""
    return msgspec.structs.replace(record, source=msgspec.structs.replace(record.source, is_named=True))


def _why_unsupported(record: ModelRecord) -> str | None:
    error = unsupported(record)
    return str(error) if error is not None else None
