"""Which artifacts answer a question, in order, and the reason why each other one was refused.

Pure functions: everything they look at is given. An artifact passes the stages one after the other and is refused by the
first that it does not pass; so the later the stage, the nearer the miss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any, Protocol

import msgspec

from zoo_core import application as applications
from zoo_core.artifact import MRL, PARAMETER_KEYS
from zoo_core.criteria import Criteria
from zoo_core.entry_points import normalised
from zoo_core.errors import AmbiguousModelError
from zoo_core.record import ModelRecord, Source
from zoo_core.requirements import engine_package, install_line
from zoo_core.version import is_prerelease, parse_range, version_key
from zoo_core.wording import did_you_mean, listing, near, printable

#: How many of the refused artifacts a text shows.
SHOWN = 8


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why one artifact was refused: the first thing that did not match.

    Attributes:
        field: What did not match: ``artifact_id``, ``version``, ``filters.layers``, ``engine``, ...
        asked: What was wanted of it.
        found: What the artifact has.
        hint: What there is instead, or what to do.
        rank: Orders refusals, the nearest miss first.
    """

    record: ModelRecord
    field: str
    asked: str
    found: str
    hint: str
    rank: tuple[float, ...] = (0.0,)

    def __str__(self) -> str:
        return printable(self.hint)


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a question, with every artifact that was looked at.

    Attributes:
        accepted: In order: repository, then version, then order in the document.
        refused: Nearest miss first.
        messages: What else bears on it: repositories that could not be read, plugins that are broken.
        unseen: How many more there are in large repositories, which are farther still and were not looked at.
    """

    accepted: list[ModelRecord]
    refused: list[Refusal]
    messages: list[str] = msgspec.field(default_factory=list)
    unseen: int = 0

    def __str__(self) -> str:
        lines = [f"{record.reference}  accepted" for record in self.accepted]
        return "\n".join([*lines, *self.reasons()]) or "no repository holds any model"

    def reasons(self, limit: int = SHOWN) -> list[str]:
        """The nearest misses and the messages, a line each."""
        nearest = self.nearest()
        lines = [f"{printable(refusal.record.reference)}  {refusal}" for refusal in nearest[:limit]]
        more = len(self.refused) - len(lines) + self.unseen
        return [*lines, *([f"... and {more} more"] if more else []), *self.messages]

    def nearest(self) -> list[Refusal]:
        """The refusals without those of quite other models, unless there is nothing else."""
        return [refusal for refusal in self.refused if not _is_other_model(refusal)] or self.refused


def _is_other_model(refusal: Refusal) -> bool:
    return refusal.field in ("artifact_id", "group_id") and not near(refusal.asked, [refusal.found])


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine has, as far as it bears on a choice.

    Attributes:
        engines: The engines that are installed, in the order to try them.
        broken_engines: Engine -> what is wrong with its plugin, for those that are installed and unusable.
        for_load: A missing engine or requirement refuses, and what is `unsupported`; otherwise what is missing is only noted
            in `ModelRecord.missing`.
        unsupported: The reason why the files of a record would not be taken, or None.
        veto: The reason why a plugin refuses a record, or None.
    """

    engines: tuple[str, ...] = ()
    broken_engines: Mapping[str, str] = msgspec.field(default_factory=dict)
    for_load: bool = False
    unsupported: Callable[[ModelRecord], str | None] = lambda _: None
    veto: Callable[[ModelRecord], str | None] = lambda _: None


class _Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is asked: what a record has of it, whether that will do, and what to say if not.

    Attributes:
        there: What all records that reached the stage have of it; given to `hint`.
    """

    field: str
    asked: str
    found: Callable[[ModelRecord], str]
    accepts: Callable[[ModelRecord], bool]
    hint: Callable[[ModelRecord, Any], str]
    there: Callable[[Sequence[ModelRecord]], Any] = lambda _: None


def select(
    criteria: Criteria,
    records: Sequence[ModelRecord],
    here: Surroundings,
    *,
    claims: Claims | None = None,
    with_reasons: bool = True,
) -> Explanation:
    """Sort records into those that answer the question and those that do not, with reasons.

    Args:
        records: In the order of the repositories, then of their documents.
        claims: Tells who owns a group, where the records are not all that there are; None: they are.
        with_reasons: False leaves out what was refused, which a search over many records does not show.
    """
    refused: list[Refusal] = []
    left = [record for record in records if record.mrl.type == criteria.type]
    owners = Owners(claims or RecordClaims(left), criteria.type)
    for number, stage in enumerate(_stages(criteria, owners, here)):
        passed: list[ModelRecord] = []
        failed: list[ModelRecord] = []
        for record in left:
            (passed if stage.accepts(record) else failed).append(record)
        if failed and with_reasons:
            # What there is instead is collected once for all that fail here.
            there = stage.there(left)
            refused += [_refusal(stage, number, record, there) for record in failed]
        left = passed
    accepted, duplicates = _without_duplicates(_in_order(left, criteria))
    refused += duplicates
    return Explanation(accepted=accepted, refused=sorted(refused, key=lambda refusal: refusal.rank))


def _refusal(stage: _Stage, number: int, record: ModelRecord, there: Any) -> Refusal:
    found = stage.found(record)
    likeness = SequenceMatcher(None, stage.asked.lower(), found.lower()).quick_ratio()
    return Refusal(
        record=record,
        field=stage.field,
        asked=stage.asked,
        found=found,
        hint=stage.hint(record, there),
        rank=(-number, -likeness),
    )


def _stages(criteria: Criteria, owners: Owners, here: Surroundings) -> list[_Stage]:
    stages = [
        _id_stage("artifact_id", criteria.artifact_id, lambda r: (r.artifact_id, r.metadata.artifact_id)),
        _id_stage("group_id", criteria.group_id, lambda r: (r.group_id, r.metadata.group_id)),
        _application_stage(criteria.application),
        _ownership_stage(owners),
        _id_stage("artifact_name", criteria.artifact_name, lambda r: (r.name,)),
        _type_stage("input_type", criteria.input_type, 0),
        _type_stage("output_type", criteria.output_type, 1),
        *(_filter_stage(key, value) for key, value in criteria.filters.items()),
        _version_stage(criteria.version),
        _engine_stage(criteria.engine),
        _reason_stage("files", here.unsupported) if here.for_load else None,
        _installed_stage(criteria.engine, here) if here.for_load else None,
        _requirements_stage() if here.for_load else None,
        _reason_stage("veto", here.veto),
    ]
    return [stage for stage in stages if stage is not None]


def _id_stage(name: str, asked: str | None, values: Callable[[ModelRecord], tuple[str, ...]]) -> _Stage | None:
    if asked is None:
        return None

    def hint(record: ModelRecord, _: None) -> str:
        own = values(record)[0] or "unnamed"
        return f"{name}={asked}: did you mean {own}?" if near(asked, [own]) else f"{name}={asked} (this is {own})"

    return _Stage(field=name, asked=asked, found=lambda r: values(r)[0], accepts=lambda r: asked in values(r), hint=hint)


def _application_stage(asked: str | None) -> _Stage | None:
    if asked is None:
        return None
    return _Stage(
        field="application",
        asked=asked,
        found=lambda r: r.application,
        accepts=lambda r: (
            applications.matches(asked, r.application) or applications.matches(asked, r.metadata.application or None)
        ),
        hint=lambda r, _: f"application={asked} (this is {r.application or 'undefined'})",
    )


def _type_stage(name: str, asked: str | None, side: int) -> _Stage | None:
    if asked is None:
        return None

    def found(record: ModelRecord) -> str:
        return applications.type_of(record.arguments, record.application, side)

    return _Stage(
        field=name,
        asked=asked,
        found=found,
        accepts=lambda r: found(r).lower() == asked.lower(),
        hint=lambda _, there: f"{name}={asked} (there is: {there or 'none'})",
        there=lambda reached: listing(found(record) for record in reached if found(record)),
    )


def _filter_stage(key: str, asked: str) -> _Stage:
    def there(reached: Sequence[ModelRecord]) -> tuple[set[str], str]:
        keys = {name for record in reached for name in record.properties}
        return keys, listing((record.properties[key] for record in reached if key in record.properties), near_to=asked)

    def hint(record: ModelRecord, there: tuple[set[str], str]) -> str:
        keys, values = there
        if key in record.properties:
            return f"{key}={asked} (there is: {values})"
        known = near(key, record.properties) or near(key, keys - {key})
        return f"filter key `{key}`: did you mean `{known[0]}`?" if known else _no_such_key(key, record)

    return _Stage(
        field=f"filters.{key}",
        asked=asked,
        # A record without the key is as far as the nearest of its keys is from the one asked for.
        found=lambda r: r.properties.get(key, ""),
        accepts=lambda r: r.properties.get(key) == asked,
        hint=hint,
        there=there,
    )


def _no_such_key(key: str, record: ModelRecord) -> str:
    return f"filter key `{key}` (it has: {listing(record.properties) or 'no properties'})"


def _version_stage(asked: str | None) -> _Stage | None:
    if asked is None:
        return None
    wanted = parse_range(asked)

    def there(reached: Sequence[ModelRecord]) -> dict[MRL, set[str]]:
        versions: dict[MRL, set[str]] = {}
        for record in reached:
            versions.setdefault(record.mrl, set()).update([record.version] if record.version else [])
        return versions

    def hint(record: ModelRecord, there: dict[MRL, set[str]]) -> str:
        versions = sorted(there[record.mrl], key=version_key)
        return f"version {asked} (there is: {', '.join(versions[-SHOWN:]) or 'none with a version'})"

    return _Stage(
        field="version",
        asked=asked,
        found=lambda r: r.version or "",
        accepts=lambda r: r.version in wanted,
        hint=hint,
        there=there,
    )


def _engine_stage(asked: str | None) -> _Stage | None:
    if asked is None:
        return None
    return _Stage(
        field="engine",
        asked=asked,
        found=lambda r: ", ".join(r.engines),
        # An artifact that names no engine may run in any: whoever asks for one chooses it.
        accepts=lambda r: not r.engines or asked.lower() in (engine.lower() for engine in r.engines),
        hint=lambda r, _: f"engine {asked} (runs in: {', '.join(r.engines)}){did_you_mean(asked, r.engines)}",
    )


def _installed_stage(asked: str | None, here: Surroundings) -> _Stage:
    def hint(record: ModelRecord, _: None) -> str:
        wanted = wanted_engines(record, asked)
        broken = [here.broken_engines[engine] for engine in wanted if engine in here.broken_engines]
        if broken:
            return "; ".join(broken)
        if not wanted:
            return "no engine is installed: pip install zoo-pytorch"
        likely = near(wanted[0], here.engines)
        if likely:
            return f"engine {wanted[0]} is not installed: did you mean {likely[0]}?"
        are = "is" if len(wanted) == 1 else "are"
        lines = " or ".join(install_line([engine_package(engine)]) for engine in wanted)
        return f"engine {' and '.join(wanted)} {are} not installed: {lines}"

    return _Stage(
        field="engine",
        asked=asked or "",
        found=lambda r: ", ".join(r.engines),
        # A document that names no engine leaves it to its parameter file.
        accepts=lambda r: bool(usable_engines(r, asked, here.engines) or (not wanted_engines(r, asked) and here.engines)),
        hint=hint,
    )


def _requirements_stage() -> _Stage:
    return _Stage(
        field="requires",
        asked="",
        found=lambda r: ", ".join(r.missing),
        accepts=lambda r: not r.missing,
        hint=lambda r, _: f"needs packages that are not installed: {install_line(r.missing)}",
    )


def _reason_stage(name: str, ask: Callable[[ModelRecord], str | None]) -> _Stage:
    """What somebody else refuses with a reason."""
    reasons: dict[int, str | None] = {}

    def reason(record: ModelRecord) -> str | None:
        # A plugin is asked once for each record.
        if id(record) not in reasons:
            reasons[id(record)] = ask(record)
        return reasons[id(record)]

    return _Stage(
        field=name,
        asked="",
        found=lambda r: reason(r) or "",
        accepts=lambda r: reason(r) is None,
        hint=lambda r, _: reason(r) or "",
    )


def _ownership_stage(owners: Owners) -> _Stage:
    return _Stage(
        field="repository",
        asked="",
        found=lambda r: r.source.name,
        accepts=lambda r: owners.stranger(r) is None,
        hint=lambda r, _: owners.reason(r),
    )


class Claims(Protocol):
    """Tells which repositories claim what, without a look at everything that they hold."""

    def sources(self, kind: str, group_id: str, artifact_id: str | None, *, by_folder: bool) -> Sequence[Source]:
        """The repositories that have an artifact of a type in a group, and of an id, in their order.

        Args:
            by_folder: By the ids that its folder says; False: by the group that its document says, or its folder.
        """


class RecordClaims:
    """What some records claim.

    Args:
        records: In the order of the repositories.
    """

    def __init__(self, records: Iterable[ModelRecord]) -> None:
        self._records = records

    def sources(self, kind: str, group_id: str, artifact_id: str | None, *, by_folder: bool) -> Sequence[Source]:
        """As `Claims.sources`."""
        claims = self._folders if by_folder else self._documents
        return list(claims.get((kind, group_id, artifact_id), ()))

    @cached_property
    def _folders(self) -> dict[tuple[str, str, str | None], dict[Source, None]]:
        return self._claims(lambda record: record.group_id)

    @cached_property
    def _documents(self) -> dict[tuple[str, str, str | None], dict[Source, None]]:
        return self._claims(lambda record: record.metadata.group_id)

    def _claims(self, group: Callable[[ModelRecord], str]) -> dict[tuple[str, str, str | None], dict[Source, None]]:
        claims: dict[tuple[str, str, str | None], dict[Source, None]] = {}
        for record in self._records:
            for artifact_id in (None, record.artifact_id):
                claims.setdefault((record.mrl.type, group(record), artifact_id), {})[record.source] = None
        return claims


class Owners:
    """Who owns which group id, so that no added repository can replace a model by a higher version number.

    The first repository that holds a group owns it; a grant in the user's own configuration comes before that. Among
    installed packages a group is owned per artifact id, and the distribution that is named as the group wins, then the name.

    Args:
        kind: The type of what is asked for: models and data sets are owned apart.
    """

    def __init__(self, claims: Claims, kind: str) -> None:
        self._claims, self._kind = claims, kind
        self._groups: dict[str, Source] = {}
        self._packages: dict[tuple[str, str], Source | None] = {}

    def stranger(self, record: ModelRecord) -> tuple[str, Source] | None:
        """A group id of a record that another repository owns, with the owner; None where it is the record's own.

        The group id inside its document counts too, since a record is found by it; and none counts where the call itself
        names the record's repository.
        """
        if record.source.is_named:
            return None
        for group_id in (record.group_id, record.metadata.group_id):
            owner = self._owner(group_id, record.artifact_id) or record.source
            if owner != record.source:
                return group_id, owner
        return None

    def reason(self, record: ModelRecord) -> str:
        """Why a record is not chosen."""
        group_id, owner = self.stranger(record) or (record.group_id, record.source)
        return f"group {group_id} belongs to {owner.name}; to choose this one: --repository {record.source.name}"

    def _owner(self, group_id: str, artifact_id: str) -> Source | None:
        if group_id not in self._groups:
            owner = self._owner_of_group(group_id)
            if owner is None:
                return None
            self._groups[group_id] = owner
        group, key = self._groups[group_id], (group_id, artifact_id)
        if not group.distribution or group.groups:
            return group
        if key not in self._packages:
            self._packages[key] = self._package(group_id, artifact_id)
        return self._packages[key] or group

    def _owner_of_group(self, group_id: str) -> Source | None:
        # What a folder says comes before what a document inside it says.
        claims = [
            source
            for by_folder in (True, False)
            for source in self._claims.sources(self._kind, group_id, None, by_folder=by_folder)
        ]
        granted = [source for source in claims if group_id in source.groups]
        return next(iter(granted or claims), None)

    def _package(self, group_id: str, artifact_id: str) -> Source | None:
        """The package that an artifact of a group belongs to."""
        for by_folder in (True, False):
            found = self._claims.sources(self._kind, group_id, artifact_id, by_folder=by_folder)
            carried = [source for source in found if source.distribution]
            if carried and by_folder:
                return min(carried, key=lambda source: _claim_of(source, group_id))
            if carried:
                return carried[0]
        return None


def _claim_of(source: Source, group_id: str) -> tuple[bool, str]:
    return (normalised(source.distribution) != normalised(group_id), normalised(source.distribution))


def _in_order(records: Iterable[ModelRecord], criteria: Criteria) -> list[ModelRecord]:
    """Repository, then version (the highest first), then order in the document; the records of one model stay together."""
    names_prerelease = criteria.version is not None and parse_range(criteria.version).names_prerelease
    by_place: dict[tuple[Source, Any], list[ModelRecord]] = {}
    for record in records:
        by_place.setdefault((record.source, record.mrl), []).append(record)
    ordered: list[ModelRecord] = []
    for group in by_place.values():
        group.sort(key=lambda r: version_key(r.version), reverse=True)
        if not names_prerelease:
            group.sort(key=lambda r: is_prerelease(r.version))
        ordered += group
    return ordered


def _without_duplicates(records: Iterable[ModelRecord]) -> tuple[list[ModelRecord], list[Refusal]]:
    """Records of different MRLs with one application, one artifact id, the same bytes and arguments are one model."""
    first: dict[tuple[object, ...], ModelRecord] = {}
    kept: list[ModelRecord] = []
    refused: list[Refusal] = []
    for record in records:
        original = first.setdefault(_identity(record), record)
        if original.mrl == record.mrl:
            kept.append(record)
            continue
        hint = f"the same model as {original.group_id}/{original.artifact_id}"
        refused.append(Refusal(record=record, field="same", asked="", found=record.group_id, hint=hint, rank=(-100.0,)))
    return kept, refused


def _identity(record: ModelRecord) -> tuple[object, ...]:
    """What makes records of two MRLs one model: the same bytes in every file, for the same factory and translator."""
    file = record.artifact.file(*PARAMETER_KEYS)
    if file is None or file.sha256 is None:
        return (record.mrl,)
    files = frozenset((item.key, item.sha256) for item in record.files)
    # Without the arguments a stranger could ship the same parameters under the same id with other names for the classes.
    return (record.mrl.type, record.application, record.artifact_id, files, record.arguments)


def choose(records: Sequence[ModelRecord]) -> ModelRecord:
    """The one to take of records that were accepted.

    Raises:
        AmbiguousModelError: They are different models; the message says which field would decide.
    """
    models: dict[object, ModelRecord] = {}
    for record in records:
        models.setdefault(record.mrl, record)
    if len(models) > 1:
        raise _ambiguous(list(models.values()))
    return records[0]


def _ambiguous(models: list[ModelRecord]) -> AmbiguousModelError:
    names = sorted({f"{record.group_id}/{record.artifact_id}" for record in models})
    fields = {
        "artifact_id": [record.artifact_id for record in models],
        "group_id": [record.group_id for record in models],
        "application": [record.application for record in models],
    }
    deciding = [name for name, values in fields.items() if len(set(values)) == len(models)]
    deciding = deciding or [name for name, values in fields.items() if len(set(values)) > 1]
    options = " or ".join(f"{name} ({_OPTIONS[name]})" for name in deciding)
    return AmbiguousModelError(
        f"{len(models)} different models match: {printable(listing(names))}. Say which one by {options}", names
    )


#: Field of `Criteria` -> the option of the command line.
_OPTIONS = {"artifact_id": "--artifact", "group_id": "--group", "application": "--application"}


def wanted_engines(record: ModelRecord, asked: str | None) -> tuple[str, ...]:
    """The engines that would do: the one asked for, else all that the artifact runs in."""
    if asked is None:
        return record.engines
    return tuple(engine for engine in record.engines if engine.lower() == asked.lower()) or (asked,)


def usable_engines(
    record: ModelRecord, asked: str | None, installed: Sequence[str], preferred: Sequence[str] = ()
) -> list[str]:
    """The engines to try for a record, in order: the user's preference, then the author's, among those installed.

    Args:
        preferred: The order of the user's configuration; engines it does not name come after it.
    """
    by_lower = {engine.lower(): engine for engine in installed}
    found = [by_lower[engine.lower()] for engine in wanted_engines(record, asked) if engine.lower() in by_lower]
    order = [engine.lower() for engine in preferred]
    return sorted(found, key=lambda engine: order.index(engine.lower()) if engine.lower() in order else len(order))
