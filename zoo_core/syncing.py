"""From a lock to the cache: exactly the bytes that it pins, as many of them as can be had."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from warnings import warn

import msgspec

from zoo_core.artifact import ArtifactFile
from zoo_core.cache import Cache
from zoo_core.downloads import Progress
from zoo_core.entry_points import normalised
from zoo_core.errors import IntegrityError, OfflineError, PackageNotInstalledError, RepositoryError, ZooError, ZooWarning
from zoo_core.lockfile import Lock, Pin
from zoo_core.locking import installed_version
from zoo_core.record import ModelRecord
from zoo_core.repository.base import Repository
from zoo_core.repository.locked import SuppliedRepository
from zoo_core.repository.package import SCHEME, package_folder
from zoo_core.requirements import distribution_of, install_line, missing_requirements
from zoo_core.wording import listing, printable

Explain = Callable[[IntegrityError, ModelRecord], ZooError]
Report = Callable[[], Progress | None]


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What is on this machine of a lock.

    Attributes:
        models: The references of its models, all of whose files are here.
        others: The packages that are installed in another version than was locked, as requirements.
    """

    path: Path
    models: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def install_line(self) -> str:
        """The command that brings the locked versions; "" where they are here."""
        return install_line(self.others) if self.others else ""

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {"path": str(self.path), "models": list(self.models), "others": list(self.others), "install": self.install_line}


@dataclass
class _Outcome:
    """What happened so far."""

    here: list[Pin] = field(default_factory=list)
    waiting: list[Pin] = field(default_factory=list)
    errors: list[ZooError] = field(default_factory=list)


def sync(
    lock: Lock, repository_of: Callable[[ModelRecord], Repository], cache: Cache, explain: Explain, report: Report
) -> Synced:
    """Bring the files of all models of a lock into the cache; what fails keeps nothing else from coming.

    Resources of installed packages are verified where they lie. Nothing is installed.

    Args:
        explain: Says what wrong bytes mean here.
        report: Gives what to call while the files of a model come.

    Raises:
        IntegrityError, RepositoryError, OfflineError, CacheError: Some files cannot be had; the others are here.
        PackageNotInstalledError: All that can be fetched is here, and packages are missing; ends in the ``pip install`` line.
    """
    outcome = _Outcome()
    for pin in lock.pins:
        try:
            _bring(pin, repository_of(pin.record), cache, outcome, report)
        except IntegrityError as error:
            outcome.errors.append(explain(error, pin.record))
        except ZooError as error:
            outcome.errors.append(error)
    missing, others = packages_of_pins(lock.pins)
    if outcome.waiting and not missing:
        # The lock does not say which distribution brings the package.
        outcome.errors.append(_absent(outcome.waiting[0]))
    if outcome.errors:
        _fail(lock, outcome, missing)
    if missing:
        raise PackageNotInstalledError(
            f"{printable(str(lock.path))}: the files of {len(outcome.here)} of {len(lock.pins)} models are here, and packages "
            f"that they need are missing: {install_line(missing)}",
            missing,
        )
    return Synced(path=lock.path, models=tuple(pin.record.reference for pin in outcome.here), others=others)


def _bring(pin: Pin, repository: Repository, cache: Cache, outcome: _Outcome, report: Report) -> None:
    record = pin.record
    if isinstance(repository, SuppliedRepository):
        _take(record, repository, cache, report)
    waiting = [file for file in record.files if waits_for_package(file) and not cache.has(_only(record, [file]), repository)]
    if waiting:
        # One that cannot be had ends the downloads of the others.
        others = [file for file in record.files if file not in waiting]
        cache.transferred(record, repository, others, progress=report())
    try:
        cache.files(record, repository, progress=report())
        outcome.here.append(pin)
    except RepositoryError:
        if not waiting:
            raise
        outcome.waiting.append(pin)


def _take(record: ModelRecord, repository: SuppliedRepository, cache: Cache, report: Report) -> None:
    """Bring what suppliers have of an artifact, each in its own way; what none gives is told when it is looked for.

    Raises:
        CacheError: As for `Cache.files`.
        IntegrityError, RepositoryError: A supplier has a file, and none gives it.
    """
    errors: dict[str, ZooError] = {}
    # One file that cannot be had ends the downloads of the others, so that these are asked for again, each by itself.
    for is_alone in (False, True):
        for supplier in repository.suppliers:
            absent = [file for file in record.files if not cache.has(_only(record, [file]), repository)]
            there = [found for file in absent if (found := supplier.file_of(file)) is not None]
            for files in [[file] for file in there] if is_alone else [there] if there else []:
                try:
                    cache.transferred(record, supplier, files, progress=report())
                except (IntegrityError, RepositoryError) as error:
                    errors |= {file.key: error for file in files}
                    if supplier.is_gone(error):
                        break
        if not is_alone and len(record.files) == 1:
            break
    for file in record.files:
        if file.key in errors and not cache.has(_only(record, [file]), repository):
            raise errors[file.key]


def _absent(pin: Pin) -> PackageNotInstalledError:
    names = listing(urlsplit(file.url).netloc.partition(".")[0] for file in pin.record.files if waits_for_package(file))
    return PackageNotInstalledError(
        f"files of {printable(pin.record.reference)} lie in a package that is not installed: {names}"
    )


def _only(record: ModelRecord, files: Iterable[ArtifactFile]) -> ModelRecord:
    return msgspec.structs.replace(record, artifact=msgspec.structs.replace(record.artifact, files=tuple(files)))


def waits_for_package(file: ArtifactFile) -> bool:
    """Whether a file lies in a package that is not installed."""
    parts = urlsplit(file.url)
    if parts.scheme != SCHEME:
        return False
    try:
        package_folder(parts.netloc)
    except RepositoryError:
        return True
    return False


def packages_of_pins(pins: Iterable[Pin]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is missing of the packages that a lock names, and what is installed in another version, as requirements."""
    missing: set[str] = set()
    others: set[str] = set()
    for pin in pins:
        required = {normalised(distribution_of(text)): text for text in missing_requirements(pin.artifact.requires)}
        for name, version in pin.packages.items():
            here = installed_version(name)
            exact = f"{name}=={version}" if version else required.get(normalised(name), name)
            if here is None or normalised(name) in required:
                missing.add(exact)
            elif version is not None and here != version:
                others.add(exact)
        named = {normalised(name) for name in pin.packages}
        missing.update(text for name, text in required.items() if name not in named)
    return tuple(sorted(missing)), tuple(sorted(others))


def _fail(lock: Lock, outcome: _Outcome, missing: tuple[str, ...]) -> None:
    first, *more = outcome.errors
    for error in more:
        warn(str(error), ZooWarning, stacklevel=4)
    if missing:
        warn(f"packages are missing too: {install_line(missing)}", ZooWarning, stacklevel=4)
    if isinstance(first, OfflineError):
        done = {*outcome.here, *outcome.waiting}
        absent = listing(pin.record.reference for pin in lock.pins if pin not in done)
        raise OfflineError(
            f"{printable(str(lock.path))} is not complete on this machine, and offline mode forbids the network: {absent}. "
            f"With a network: zoo sync --lock {printable(shlex.quote(str(lock.path)))}",
            first.url,
        ) from first
    raise first
