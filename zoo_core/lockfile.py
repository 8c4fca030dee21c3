"""zoo.lock: the questions that were asked, and the one artifact that answers each, with the sha256 of all its files.

Source of the format: ``docs/reference/lock-file.md``. A lock may come with a cloned project, so it is read as what a stranger
wrote: everything in it is checked, and nothing in it is a word about trust.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from zoo_core.address import said_of_all, secret_in
from zoo_core.artifact import MRL, Artifact, ArtifactFile
from zoo_core.atomic import atomic_file
from zoo_core.criteria import FIELDS, Criteria
from zoo_core.errors import CriteriaError, MetadataError
from zoo_core.frozen import FrozenDict
from zoo_core.metadata import MAX_FILES, UNRESOLVED, Metadata
from zoo_core.record import ModelRecord, Source
from zoo_core.wording import bytes_text, printable, shown_url

LOCK_NAME = "zoo.lock"
LOCK_VERSION = 1
#: Bytes of a lock that are read; a model with a thousand names of classes has some 30 kB.
MAX_BYTES = 32 << 20
MAX_MODELS = 2_000
#: Addresses of one file, and questions of one model.
MAX_ADDRESSES, MAX_QUESTIONS = 100, 100
#: Characters of an address, and of a name of a distribution with its version.
_MAX_ADDRESS, _MAX_PACKAGE = 4_096, 200
#: What addresses may begin with; a repository of another kind may have its own scheme beside these.
_WEB = ("http", "https")
_SCHEMES = (*_WEB, "file", "package")
_USER = re.compile(r"^[^/?#\s]*@")
_PACKAGE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*", re.ASCII)

Shape = TypeVar("Shape")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, and of whom.

    Attributes:
        repositories: The addresses of the repositories that were asked alone; empty: those that are installed or configured.
    """

    criteria: Criteria
    repositories: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What a lock holds of it: the fields that say something."""
        default = Criteria()
        fields = {name: getattr(self.criteria, name) for name in FIELDS}
        asked = {name: value for name, value in fields.items() if value != getattr(default, name)}
        if "filters" in asked:
            asked["filters"] = dict(sorted(asked["filters"].items()))
        return asked | ({"repositories": list(self.repositories)} if self.repositories else {})


class Pin(msgspec.Struct, frozen=True, kw_only=True):
    """One artifact with all that is needed to fetch exactly it.

    Attributes:
        metadata: Its document, which holds this artifact only; addresses are absolute and each file has a sha256.
        repository: The address of the repository that it was found in. It names, and never grants trust.
        distribution: The installed distribution that carried the repository, or "".
        packages: The distributions that a load needs -> the version that was installed, or None where none was.
    """

    metadata: Metadata
    repository: str
    distribution: str = ""
    packages: FrozenDict[str | None] = msgspec.field(default_factory=FrozenDict)

    @property
    def artifact(self) -> Artifact:
        """The one that it holds."""
        return self.metadata.artifacts[0]

    @property
    def source(self) -> Source:
        """Where it says that it is from: ad hoc, whatever that is, and nobody else's claim to its group counts."""
        name = self.distribution or self.repository
        said = said_of_all(self.repository)
        return Source(repository=self.repository, name=name, is_named=True, is_claimed=True, arguments=said)

    @property
    def record(self) -> ModelRecord:
        """The artifact as a search in the lock finds it."""
        return ModelRecord(metadata=self.metadata, artifact=self.artifact, source=self.source)

    def to_dict(self) -> dict[str, Any]:
        """What a lock holds of it."""
        return {
            "mrl": str(self.metadata.mrl),
            "repository": {"url": self.repository, "distribution": self.distribution},
            "packages": dict(sorted(self.packages.items())),
            "metadata": document(self.metadata),
        }

    def as_read(self, path: Path) -> Pin:
        """The same, as a lock file gives it back.

        Raises:
            MetadataError: A repository gave what no lock can hold, such as an address that leads nowhere by itself.
        """
        return parse_lock(Lock(path=path, entries=((Question(criteria=Criteria()), self),)).to_json(), path).pins[0]


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """Questions with their answers, in the order in which they were asked."""

    path: Path
    entries: tuple[tuple[Question, Pin], ...] = ()

    @property
    def pins(self) -> tuple[Pin, ...]:
        """The answers, each once."""
        return tuple(dict.fromkeys(pin for _, pin in self.entries))

    def to_json(self) -> bytes:
        """The content of its file: equal locks have equal bytes."""
        questions: dict[Pin, list[Question]] = {}
        for question, pin in self.entries:
            questions.setdefault(pin, []).append(question)
        models = [{"asked": [item.to_dict() for item in asked], **pin.to_dict()} for pin, asked in questions.items()]
        # Only ASCII: a terminal that shows the file obeys nothing in it.
        return (json.dumps({"lockVersion": LOCK_VERSION, "models": models}, indent=2) + "\n").encode("ascii")

    def write(self) -> bool:
        """Write the file, whole or not at all; one that says the same stays untouched, which gives False.

        Raises:
            OSError: It cannot be written.
        """
        content = self.to_json()
        if self.path.is_file() and self.path.read_bytes() == content:
            return False
        with atomic_file(self.path) as stream:
            stream.write(content)
        return True


def document(metadata: Metadata) -> dict[str, Any]:
    """A document in the format in which it is published, ``docs/reference/metadata.md``."""
    described = {"name": metadata.name, "description": metadata.description, "website": metadata.website}
    return {
        "metadataVersion": "0.2",
        "resourceType": metadata.mrl.type,
        "application": metadata.application,
        "groupId": metadata.group_id,
        "artifactId": metadata.artifact_id,
        **{name: value for name, value in described.items() if value},
        "licenses": {item.id: {"name": item.name, "url": item.url} for item in metadata.licenses},
        "artifacts": [_artifact(artifact) for artifact in metadata.artifacts],
    }


def _artifact(artifact: Artifact) -> dict[str, Any]:
    content = {
        "version": artifact.version,
        "name": artifact.name,
        "properties": dict(sorted(artifact.properties.items())),
        "arguments": dict(sorted(artifact.arguments.items())),
        "options": dict(sorted(artifact.options.items())),
        "engines": list(artifact.engines),
        "requires": list(artifact.requires),
    }
    # The order of files is their publisher's, and stays.
    return {key: value for key, value in content.items() if value} | {"files": {f.key: _file(f) for f in artifact.files}}


def _file(file: ArtifactFile) -> dict[str, Any]:
    digests = {"sha256": file.sha256, "sha1Hash": file.sha1, "sha256Prefix": file.sha256_prefix if not file.sha256 else None}
    return {
        "uri": file.uri,
        **({"mirrors": list(file.mirrors)} if file.mirrors else {}),
        "name": file.name,
        "type": file.type,
        **({} if file.size is None else {"size": file.size}),
        **{name: value for name, value in digests.items() if value},
    }


class _CountedArtifact(msgspec.Struct):
    files: dict[str, msgspec.Raw] | None = None


class _Counted(msgspec.Struct):
    artifacts: list[_CountedArtifact] | None = None


class _RepositoryItem(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    distribution: str = ""


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    asked: list[dict[str, Any]]
    mrl: str
    repository: _RepositoryItem
    metadata: msgspec.Raw
    packages: dict[str, str | None] = {}


class _Head(msgspec.Struct):
    lockVersion: Any = None  # noqa: N815 - the format's own spelling


class _File(msgspec.Struct, forbid_unknown_fields=True):
    lockVersion: int  # noqa: N815
    models: list[_Item]


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        CriteriaError: There is no such file.
        MetadataError: It does not follow the format; the message has the file, the field and what was expected.
    """
    return parse_lock(_content(path), path)


def parse_lock(content: bytes, path: Path) -> Lock:
    """What the content of a lock file says.

    Raises:
        MetadataError: As for `read_lock`.
    """
    head = _decoded(content, _Head, path)
    if head.lockVersion != LOCK_VERSION or isinstance(head.lockVersion, bool):
        raise _malformed(
            path,
            "$.lockVersion",
            f"expected {LOCK_VERSION}, found {head.lockVersion!r}; a later version of zoo-core may read it",
        )
    models = _decoded(content, _File, path).models
    if len(models) > MAX_MODELS:
        raise _malformed(path, "$.models", f"expected at most {MAX_MODELS} models, found {len(models)}")
    entries: list[tuple[Question, Pin]] = []
    for number, item in enumerate(models):
        field = f"$.models[{number}]"
        pin = _pin(item, path, field)
        _check_count(item.asked, MAX_QUESTIONS, "questions", path, f"{field}.asked")
        entries += [(_question(asked, path, f"{field}.asked[{n}]"), pin) for n, asked in enumerate(item.asked)]
    return Lock(path=path, entries=tuple(entries))


def _content(path: Path) -> bytes:
    # A pipe would be waited for, and a device never ends.
    if not path.is_file():
        raise CriteriaError(f"lock file {printable(str(path))} does not exist; `zoo lock MODEL -o {LOCK_NAME}` writes one")
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise CriteriaError(f"lock file {printable(str(path))}: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise _malformed(path, "$", f"expected at most {bytes_text(MAX_BYTES)}")
    return content


def _pin(item: _Item, path: Path, field: str) -> Pin:
    mrl = MRL.parse(item.mrl) if len(item.mrl) <= _MAX_ADDRESS else None
    if mrl is None or str(mrl) != item.mrl or not _is_place(mrl):
        raise _malformed(
            path, f"{field}.mrl", f"expected model/<application>/<group id>/<artifact id>, found {item.mrl[:200]!r}"
        )
    url, distribution = item.repository.url, item.repository.distribution
    _check_address(url, path, f"{field}.repository.url")
    if distribution and not _is_package(distribution):
        raise _malformed(
            path, f"{field}.repository.distribution", f"expected a distribution's name, found {distribution[:200]!r}"
        )
    metadata = _metadata(item.metadata, mrl, path, f"{field}.metadata")
    schemes = {*_SCHEMES, urlsplit(url).scheme}
    for file in metadata.artifacts[0].files:
        _check_file(file, schemes, path, f"{field}.metadata.artifacts[0].files.{file.key}")
    packages = FrozenDict(_packages(item.packages, path, f"{field}.packages"))
    pin = Pin(metadata=metadata, repository=url, distribution=distribution, packages=packages)
    try:
        hash(pin)
    except RecursionError as error:
        raise _malformed(
            path, f"{field}.metadata", "more objects or arrays lie inside one another than can be compared"
        ) from error
    return pin


def _metadata(content: msgspec.Raw, mrl: MRL, path: Path, field: str) -> Metadata:
    # Before it is read: what is compared with one another must not be many.
    counted = _decoded(content, _Counted, path, field).artifacts or []
    if len(counted) != 1:
        raise _malformed(path, f"{field}.artifacts", f"expected one artifact, found {len(counted)}")
    _check_count(counted[0].files or {}, MAX_FILES, "files", path, f"{field}.artifacts[0].files")
    try:
        read = Metadata.from_json(bytes(content), f"{UNRESOLVED}/{LOCK_NAME}", path=document_path(mrl))
    except MetadataError as error:
        what = str(error).partition(f"{error.field}: ")[2] if error.field else str(error)
        raise _malformed(path, field + error.field.removeprefix("$"), what) from error
    return msgspec.structs.replace(read, mrl=mrl, url=path.absolute().as_uri())


def _is_place(mrl: MRL) -> bool:
    """Whether ids lead to a folder below the root of a repository, as those of every document do."""
    parts = document_path(mrl).split("/")
    return all(part.isprintable() and part not in ("", ".", "..") and "\\" not in part for part in parts)


def document_path(mrl: MRL) -> str:
    """Where a document lies below the root of its repository."""
    folders = [mrl.type, mrl.application, mrl.group_id.replace(".", "/"), mrl.artifact_id]
    return "/".join([*(folder for folder in folders if folder), "metadata.json"])


def _check_file(file: ArtifactFile, schemes: Collection[str], path: Path, field: str) -> None:
    if file.sha256 is None:
        raise _malformed(path, f"{field}.sha256", "expected 64 hexadecimal digits, found nothing")
    _check_address(file.url, path, f"{field}.uri", schemes)
    _check_count(file.mirrors, MAX_ADDRESSES, "addresses", path, f"{field}.mirrors")
    for mirror in file.mirrors:
        _check_address(mirror, path, f"{field}.mirrors", schemes)


def _check_address(url: str, path: Path, field: str, schemes: Collection[str] | None = None) -> None:
    """An address that says where it leads by itself; whether it may be read is decided where it is opened.

    Args:
        schemes: What it may begin with; None: anything.
    """
    try:
        parts = urlsplit(url)
        # What goes before an @ is a container or a revision in addresses of some other kinds.
        user = parts.password or (parts.username if parts.scheme in _WEB else None)
        # A port that is none shows only when it is asked for, and that of another kind may be anything.
        has_host = bool(parts.hostname) and (parts.scheme not in _WEB or parts.port != 0)
        scheme = parts.scheme
    except ValueError:
        scheme, has_host, user = "", False, None
    # What opens it takes ` FILE://` for `file://`, and a single letter for the drive of a Windows path.
    is_plain = len(scheme) > 1 and url.startswith(f"{scheme}://")
    is_known = is_plain and (schemes is None or scheme in schemes)
    # Another machine's files, as Windows names them, are none of this one.
    is_there = user is None and url.isprintable() and (not has_host if scheme == "file" else has_host or scheme not in _WEB)
    if not is_known or not is_there or len(url) > _MAX_ADDRESS:
        raise _malformed(path, field, f"expected an absolute address, found {shown_url(url[:200])!r}")


def _packages(packages: Mapping[str, str | None], path: Path, field: str) -> dict[str, str | None]:
    """What ends up in a command that users paste into a shell."""
    for name, version in packages.items():
        if not _is_package(name) or (version is not None and (len(version) > _MAX_PACKAGE or not _VERSION.fullmatch(version))):
            raise _malformed(
                path,
                field,
                f"expected the names of distributions with their versions, found {name[:200]!r}: {str(version)[:200]!r}",
            )
    return dict(packages)


def _is_package(name: str) -> bool:
    return len(name) <= _MAX_PACKAGE and _PACKAGE.fullmatch(name) is not None


def _question(asked: Mapping[str, Any], path: Path, field: str) -> Question:
    fields = {name: value for name, value in asked.items() if name != "repositories"}
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise _malformed(path, field, f"{unknown[0][:200]!r} is no criterion")
    repositories = asked.get("repositories", [])
    if not isinstance(repositories, list) or not all(isinstance(url, str) for url in repositories):
        raise _malformed(path, f"{field}.repositories", "expected a list of addresses")
    _check_count(repositories, MAX_ADDRESSES, "repositories", path, f"{field}.repositories")
    for url in repositories:
        _check_address(url, path, f"{field}.repositories")
    try:
        return Question(criteria=Criteria(**fields), repositories=tuple(repositories))
    except CriteriaError as error:
        raise _malformed(path, field, str(error)) from error


def _check_count(items: Collection[object], most: int, what: str, path: Path, field: str) -> None:
    if len(items) > most:
        raise _malformed(path, field, f"expected at most {most} {what}, found {len(items)}")


def _decoded(content: bytes | msgspec.Raw, shape: type[Shape], path: Path, field: str = "$") -> Shape:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise _malformed(path, field + where.rstrip("`"), what) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(path, field, f"no JSON: {error}") from error


def _malformed(path: Path, field: str, what: str) -> MetadataError:
    return MetadataError(f"{printable(f'{path}: {field}: {what}')}", url=str(path), field=field)


def scheme_of(url: str) -> str:
    """What an address begins with, in lower case, as what opens it reads that; "" where it is none."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def public_address(url: str) -> str:
    """An address as a lock names it: without a user and a password, since a lock is given to others.

    >>> public_address("HTTPS://anna:secret@models.example.com/zoo/")
    'https://models.example.com/zoo/'
    >>> public_address("az://container@account/zoo")
    'az://container@account/zoo'
    """
    scheme, (_, mark, rest) = scheme_of(url), url.partition("://")
    if not scheme or not mark:
        return url
    return f"{scheme}://{re.sub(_USER, '', rest) if scheme in _WEB else rest}"


def refuse_secret(url: str) -> None:
    """Refuse an address that a lock would give to others with a secret in it.

    Raises:
        CriteriaError: There is one in its query.
    """
    name = secret_in(url)
    if name is not None:
        raise CriteriaError(
            f"{shown_url(url)}: `{printable(name)}` is a secret or a signature, and a lock is given to others. Name the "
            "address without it; a token goes into token_env of its [[repository]] in your zoo.toml, or into netrc"
        )


def pinned_files(files: Iterable[ArtifactFile], sha256: Mapping[str, str]) -> tuple[ArtifactFile, ...]:
    """Files with their digests, those of ``sha256`` by key among them, and with absolute addresses only."""
    return tuple(
        msgspec.structs.replace(
            file,
            uri=public_address(file.url),
            url=public_address(file.url),
            mirrors=tuple(map(public_address, file.mirrors)),
            sha256=file.sha256 or sha256.get(file.key),
            sha256_prefix=None,
        )
        for file in files
    )
