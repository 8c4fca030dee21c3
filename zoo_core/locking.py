"""From questions to a lock: each is answered once, and the answer is pinned by the digest of all its bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import importlib_metadata
import msgspec

from zoo_core.artifact import ArtifactFile
from zoo_core.cache import Cache, check_supported
from zoo_core.description import describe
from zoo_core.downloads import Progress
from zoo_core.entry_points import InstalledEntryPoints
from zoo_core.errors import RepositoryError
from zoo_core.frozen import FrozenDict
from zoo_core.how import How
from zoo_core.locked import lock_line
from zoo_core.lockfile import Lock, Pin, Question, pinned_files, public_address, refuse_secret, scheme_of
from zoo_core.record import ModelRecord, Source
from zoo_core.repository.base import Repository
from zoo_core.repository.locked import PLAIN
from zoo_core.repository.package import SCHEME, package_folder
from zoo_core.requirements import distribution_of, engine_package, missing_requirements
from zoo_core.selection import Surroundings, select, usable_engines, wanted_engines
from zoo_core.store import digest_file
from zoo_core.wording import printable, shown_url


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happened to the answer of one question.

    Attributes:
        pin: The artifact that answers it now.
        before: The one that did; None where the question is new.
        learned: The keys of files that were fetched to learn their sha256.
    """

    pin: Pin
    before: Pin | None = None
    learned: tuple[str, ...] = ()

    @property
    def change(self) -> str:
        """``added``, ``kept`` or ``changed``."""
        return "added" if self.before is None else "kept" if self.before == self.pin else "changed"

    def __str__(self) -> str:
        """A line for people, such as ``com.example/net 1.0 -> 2.0``."""
        record = self.pin.record
        if self.before is None or self.before == self.pin:
            return f"{record.reference} {self.change}"
        old = self.before.record
        if old.mrl != record.mrl:
            return f"{old.reference} -> {record.reference}"
        name = f"{record.group_id}/{record.artifact_id}"
        if old.version != record.version:
            return f"{name} {old.version or '(no version)'} -> {record.version or '(no version)'}"
        return f"{record.reference} has other files or another document than before"

    def to_dict(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        record = self.pin.record
        return {
            "model": record.reference,
            "mrl": str(record.mrl),
            "name": record.name,
            "version": record.version,
            "change": self.change,
            "before": None if self.before is None else self.before.record.version,
            "learned": list(self.learned),
        }


@dataclass(frozen=True, kw_only=True)
class LockReport:
    """A lock that was made, with what is new in it.

    Attributes:
        lock: As it lies on the disk.
        is_changed: Whether the file was written.
    """

    lock: Lock
    changes: tuple[Change, ...]
    is_changed: bool


Answer = Callable[[Question], tuple[Pin, tuple[str, ...]]]


def renewed(lock: Lock, questions: Sequence[Question], answer: Answer, *, upgrade: bool) -> tuple[Lock, tuple[Change, ...]]:
    """A lock that answers further questions too.

    A question that the lock has, or that one of its pins answers, keeps that pin; ``upgrade`` asks anew. Without questions all
    that the lock has are looked at: those whose pin does not answer them any more, as somebody edited them, are asked anew.

    Args:
        answer: Resolves one question, and tells the keys of the files that it had to fetch for it.
    """
    asked = list(questions)
    if upgrade and asked:
        asked = [old for question in asked for old in _known_as(question, lock) or [question]]
    entries = dict(lock.entries)
    changes = []
    for question in dict.fromkeys(asked or entries):
        before = entries.get(question)
        kept = before if before is not None and _answers(before, question) else _pin_for(question, lock)
        pin, learned = (kept, ()) if kept is not None and not upgrade else answer(question)
        entries[question] = pin
        # A new question that an old pin answers changes nothing of it.
        changes.append(Change(pin=pin, before=before or (kept if pin == kept else None), learned=learned))
    return msgspec.structs.replace(lock, entries=tuple(entries.items())), tuple(changes)


def _known_as(question: Question, lock: Lock) -> list[Question]:
    """The questions of a lock that are meant by one: itself, else those whose pins answer it."""
    if any(question == own for own, _ in lock.entries):
        return [question]
    meant = _accepted(question, lock.pins)
    return [own for own, pin in lock.entries if pin in meant]


def _pin_for(question: Question, lock: Lock) -> Pin | None:
    """The pin that answers a new question; None where none does, or several models do."""
    meant = _accepted(question, lock.pins)
    return meant[0] if len({pin.metadata.mrl for pin in meant}) == 1 else None


def _answers(pin: Pin, question: Question) -> bool:
    return bool(_accepted(question, [pin]))


def _accepted(question: Question, pins: Sequence[Pin]) -> list[Pin]:
    asked = set(question.repositories)
    possible = {(pin.metadata, pin.source): pin for pin in pins if not asked or pin.repository in asked}
    accepted = select(question.criteria, [pin.record for pin in possible.values()], Surroundings(), with_reasons=False).accepted
    return [possible[record.metadata, record.source] for record in accepted]


def refuse_folders(question: Question, own: Iterable[Source], path: Path) -> None:
    """Refuse to ask for a lock what its user did not name: a stranger's lock reaches no folder of this machine.

    Args:
        own: The repositories that are installed and configured here.

    Raises:
        RepositoryError: The question is to be asked of another folder.
    """
    known = {public_address(source.repository) for source in own if source.is_configured}
    for url in question.repositories:
        if scheme_of(url) == "file" and public_address(url) not in known:
            raise RepositoryError(
                f"{printable(str(path))} asks the folder {shown_url(url)}, which your own configuration does not name; to "
                f"ask it: {lock_line(question.criteria, path)} --upgrade --repository {shown_url(url)}",
                url,
            )


def pin_of(
    record: ModelRecord, repository: Repository, cache: Cache, packages: FrozenDict[str | None], progress: Progress | None
) -> tuple[Pin, tuple[str, ...]]:
    """An artifact with all that is needed to fetch exactly it, and the keys of files that were fetched to learn their sha256.

    Raises:
        CriteriaError: The repository's address has a secret.
        IntegrityError, RepositoryError, CacheError: As for `Cache.files`.
    """
    refuse_secret(record.source.repository)
    for file in record.files:
        check_supported(record, file)
        _check_addressed(file, record, repository)
    weak = [file for file in record.files if file.sha256 is None]
    found = cache.transferred(record, repository, weak, progress=progress) if weak else {}
    files = pinned_files(
        (msgspec.structs.replace(file, url=_lasting(file.url, record)) for file in record.files),
        {key: digest_file(path).sha256 for key, path in found.items()},
    )
    artifact = msgspec.structs.replace(record.artifact, files=files)
    pin = Pin(
        metadata=msgspec.structs.replace(record.metadata, artifacts=(artifact,)),
        repository=public_address(record.source.repository),
        distribution=record.source.distribution,
        packages=packages,
    )
    return pin, tuple(file.key for file in weak if repository.local_path(file) is None)


def _check_addressed(file: ArtifactFile, record: ModelRecord, repository: Repository) -> None:
    """Refuse a file that only the code of a plugin reaches, where no address says so: with a lock it could not be had.

    Raises:
        RepositoryError: It is one.
    """
    kind = scheme_of(record.source.repository)
    is_own = kind in PLAIN and repository.transfer_for(file) is None and repository.local_path(file) is None
    is_elsewhere = kind not in ("file", SCHEME) and scheme_of(file.url) == "file"
    if is_own or is_elsewhere:
        raise RepositoryError(
            f"{printable(record.reference)} cannot be locked: only the code of a plugin opens {shown_url(file.url)} of the "
            f"repository {shown_url(record.source.repository)}, and these addresses do not say so. Both with a scheme of "
            "the plugin's own, such as demo://, would",
            file.url,
        )


def _lasting(url: str, record: ModelRecord) -> str:
    """An address that means the same on another machine: a resource of a package by the package's name."""
    carrier = record.source.repository
    if not carrier.startswith(f"{SCHEME}://"):
        return url
    root = package_folder(carrier.removeprefix(f"{SCHEME}://").rstrip("/")).resolve().as_uri()
    return f"{carrier.rstrip('/')}{url.removeprefix(root)}" if url.startswith(f"{root}/") else url


def packages_of(
    record: ModelRecord,
    repository: Repository,
    installed: InstalledEntryPoints,
    *,
    engine: str | None,
    engines: Sequence[str],
    order: Sequence[str],
) -> FrozenDict[str | None]:
    """The distributions that a load of an artifact needs, with the versions that are installed; nothing is imported to tell.

    They are those of the engine, of the factory and the translator, of the catalogue, and what the document requires. What only
    a parameter file says counts where that lies on this machine anyway: equal questions give equal locks, whatever is cached.
    """
    chosen = next(iter([*usable_engines(record, engine, engines, order), *wanted_engines(record, engine)]), None)
    local = {file.key: path for file in record.files if (path := repository.local_path(file)) is not None and path.is_file()}
    runs = describe(record, local, chosen, installed, How()).runs
    named = [run["distribution"] for run in runs if run["distribution"]]
    provider = installed.provider(chosen) if chosen else None
    plugin = [provider.distribution if provider is not None else engine_package(chosen)] if chosen else []
    carrier = [record.source.distribution] if record.source.distribution else []
    return FrozenDict({name: installed_version(name) for name in [*plugin, *named, *carrier, *_required(record.requires)]})


def _required(requires: Iterable[str]) -> list[str]:
    """The distributions of requirements, without those whose marker says that they are not for this machine."""
    missing = missing_requirements(requires)
    return [name for text in requires if installed_version(name := distribution_of(text)) or text in missing]


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution; None where it is not installed."""
    try:
        return str(importlib_metadata.version(distribution))
    except (importlib_metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        return None
