"""metadata.json to validated artifacts; an error has the path to the bad field.

Source: DJL's repository format with our keys, ``docs/reference/metadata.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

import msgspec

from zoo_core import application as applications
from zoo_core.artifact import MRL, Artifact, ArtifactFile, License
from zoo_core.errors import MetadataError
from zoo_core.frozen import FrozenDict
from zoo_core.members import folded, name_fault
from zoo_core.requirements import check_engine, check_requirement
from zoo_core.transfer import WEB_SCHEMES
from zoo_core.wording import bytes_text, printable, shown_url

DOCUMENT_NAME = "metadata.json"
#: How the own address of a document begins where whoever reads it looks at all addresses inside: one in a lock file.
UNRESOLVED = "zoo-lock://"
TYPES = ("model", "dataset")
# What a document may hold at most: many times what the largest of DJL's holds, and little enough for any machine.
#: Bytes of one document.
MAX_DOCUMENT = 16 << 20
#: Objects and arrays inside one another, in arguments.
MAX_DEPTH = 32
MAX_ARTIFACTS = 10_000
#: Files of one artifact.
MAX_FILES = 10_000
#: Mirrors of a file; engines, requirements, properties and options of an artifact; licences.
MAX_ENTRIES = 1_000
#: Characters of an id, a name or a key.
MAX_ID = 255
#: Characters of a version; numbers of thousands of digits cannot be compared.
MAX_VERSION = 128
#: Characters of an address; what servers take ends near 8000.
MAX_URI = 8_192
#: Characters of a description, a property or an option.
MAX_TEXT = 100_000
#: Characters of what a message shows of a value, and of where a document lies.
_SHOWN, _SHOWN_URL = 200, 1_000

#: Suffix of a URI -> what the bytes are; the longest suffix is looked for first.
_ARCHIVES = {
    ".tar.gz": "tgz", ".tar.z": "tgz", ".tgz": "tgz", ".tar": "tar", ".zip": "zip", ".mar": "zip", ".gz": "gzip", ".z": "gzip",
}  # fmt: skip
_ENGINE_SUFFIXES = {".pt": "PyTorch", ".pth": "PyTorch", ".pt2": "PyTorch", ".params": "MXNet", "-symbol.json": "MXNet"}
_ENGINE_GROUPS = {"pytorch": "PyTorch", "mxnet": "MXNet", "tensorflow": "TensorFlow", "onnxruntime": "OnnxRuntime"}

Text = str | int | float | None
Shape = TypeVar("Shape")
Items = TypeVar("Items", bound=Sized)


class _FileItem(msgspec.Struct):
    uri: Text
    name: Text = None
    type: Text = None
    size: Text = None
    sha1Hash: Text = None  # noqa: N815 - the format's own spelling
    sha256: Text = None
    sha256Prefix: Text = None  # noqa: N815
    mirrors: list[str] | None = None


class _ArtifactItem(msgspec.Struct):
    version: Text = None
    name: Text = None
    properties: msgspec.Raw = msgspec.Raw(b"null")
    arguments: dict[str, Any] | None = None
    options: msgspec.Raw = msgspec.Raw(b"null")
    engines: list[str] | None = None
    requires: list[str] | None = None
    files: dict[str, msgspec.Raw] | None = None


class _LicenseItem(msgspec.Struct):
    name: Text = None
    url: Text = None


class _Document(msgspec.Struct):
    metadataVersion: Text  # noqa: N815
    application: Text = None
    groupId: Text = None  # noqa: N815
    artifactId: Text = None  # noqa: N815
    name: Text = None
    description: Text = None
    website: Text = None
    listedAs: Text = None  # noqa: N815
    licenses: dict[str, _LicenseItem | None] | None = None
    artifacts: list[msgspec.Raw] | None = None


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The document at an MRL.

    Attributes:
        mrl: Where it was found: the folder decides.
        url: Its own address.
        application: As written inside; a label where it disagrees with the folder, as the next two are.
        group_id: As written inside.
        artifact_id: As written inside.
        listed_as: Where only a listing was read, which tells the ids and no files: what it calls the state of the document at
            `url`. "": all of it was read.
    """

    mrl: MRL
    url: str
    application: str = ""
    group_id: str
    artifact_id: str
    name: str = ""
    description: str = ""
    website: str = ""
    licenses: tuple[License, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    listed_as: str = ""

    @classmethod
    def from_json(cls, content: bytes, url: str, *, path: str | None = None) -> Metadata:
        """Read a document.

        Args:
            content: UTF-8 JSON, one object.
            url: Its address; relative addresses of files are resolved against it.
            path: Where it lies below its repository's root; None: what follows the last folder ``model`` or ``dataset`` in
                ``url``.

        Raises:
            MetadataError: It does not follow the format; the message has the file, the field and what was expected.
        """
        if len(content) > MAX_DOCUMENT:
            raise _malformed(url, "$", f"expected at most {bytes_text(MAX_DOCUMENT)}")
        document = _decoded(content, _Document, url, "$")
        application = _text(document.application, url, "$.application")
        group_id = _text(document.groupId, url, "$.groupId")
        artifact_id = _text(document.artifactId, url, "$.artifactId")
        if not artifact_id or not group_id:
            raise _malformed(url, "$.artifactId" if group_id else "$.groupId", "expected text, found nothing")
        place = _path_in(url) if path is None else _checked_place(path, url)
        mrl = _location(place, application, group_id, artifact_id)
        artifacts = tuple(
            _artifact(content, url, f"$.artifacts[{number}]", mrl.group_id)
            for number, content in enumerate(_counted(document.artifacts or (), MAX_ARTIFACTS, url, "$.artifacts"))
        )
        return cls(
            mrl=mrl,
            url=url,
            application=application,
            group_id=group_id,
            artifact_id=artifact_id,
            name=_text(document.name, url, "$.name", MAX_TEXT),
            description=_text(document.description, url, "$.description", MAX_TEXT),
            website=_text(document.website, url, "$.website", MAX_TEXT),
            licenses=tuple(_licenses(document.licenses or {}, url, "$.licenses")),
            artifacts=artifacts,
            listed_as=_text(document.listedAs, url, "$.listedAs"),
        )


def _licenses(items: Mapping[str, _LicenseItem | None], url: str, field: str) -> Iterator[License]:
    for key, item in _counted(items, MAX_ENTRIES, url, field).items():
        place = f"{field}.{_text(key, url, field)}"
        found = item or _LicenseItem()
        yield License(id=key, name=_text(found.name, url, f"{place}.name"), url=_text(found.url, url, f"{place}.url", MAX_URI))


def _artifact(content: msgspec.Raw, url: str, field: str, group_id: str) -> Artifact:
    item = _decoded(content, _ArtifactItem, url, field)
    items = _counted(item.files or {}, MAX_FILES, url, f"{field}.files")
    files = tuple(_file(key, raw, url, f"{field}.files.{_text(key, url, f'{field}.files')}") for key, raw in items.items())
    _check_distinct([file.name for file in files if file.name], url, f"{field}.files")
    arguments = item.arguments or {}
    _check_depth(arguments, url, f"{field}.arguments")
    return Artifact(
        version=_text(item.version, url, f"{field}.version", MAX_VERSION) or None,
        name=_text(item.name, url, f"{field}.name"),
        properties=FrozenDict(_text_mapping(item.properties, url, f"{field}.properties")),
        arguments=FrozenDict(arguments),
        options=FrozenDict(_text_mapping(item.options, url, f"{field}.options")),
        engines=_checked(item.engines or _engines(arguments, files, group_id), check_engine, url, f"{field}.engines"),
        requires=_checked(item.requires or (), check_requirement, url, f"{field}.requires"),
        files=files,
    )


def _file(key: str, content: msgspec.Raw, url: str, field: str) -> ArtifactFile:
    item = _decoded(content, _FileItem, url, field)
    uri = _text(item.uri, url, f"{field}.uri", MAX_URI)
    if not uri:
        raise _malformed(url, f"{field}.uri", "expected an address, found nothing")
    address = _resolved(uri, url, f"{field}.uri")
    default, archive = _stored_name(uri)
    name = default if item.name is None else _text(item.name, url, f"{field}.name")
    kind = _text(item.type, url, f"{field}.type") or ("dir" if archive in ("zip", "tgz", "tar") else "file")
    if kind not in ("dir", "file"):
        raise _malformed(url, f"{field}.type", f"expected dir or file, found {kind!r}")
    mirrors = _counted(item.mirrors or (), MAX_ENTRIES, url, f"{field}.mirrors")
    return ArtifactFile(
        key=key,
        name=_checked_name(name, kind, url, f"{field}.name"),
        uri=uri,
        url=address,
        size=_size(item.size, url, f"{field}.size"),
        sha256=_digest(item.sha256, 64, url, f"{field}.sha256"),
        sha1=_digest(item.sha1Hash, 40, url, f"{field}.sha1Hash"),
        sha256_prefix=_digest(item.sha256Prefix, None, url, f"{field}.sha256Prefix"),
        mirrors=tuple(
            _resolved(_text(mirror, url, f"{field}.mirrors", MAX_URI), url, f"{field}.mirrors") for mirror in mirrors
        ),
        type=kind,
    )


def _checked(texts: Sequence[str], check: Callable[[str], str], url: str, field: str) -> tuple[str, ...]:
    try:
        return tuple(check(_text(text, url, field)) for text in _counted(texts, MAX_ENTRIES, url, field))
    except ValueError as error:
        raise _malformed(url, field, str(error)) from error


def archive_kind(uri: str) -> str | None:
    """What the end of a URI says of its bytes: ``zip``, ``tgz``, ``tar``, ``gzip`` or nothing."""
    lower = urlsplit(uri).path.lower()
    return next((kind for suffix, kind in _ARCHIVES.items() if lower.endswith(suffix)), None)


def archive_suffix(uri: str) -> str:
    """The end of a URI that says what its bytes are, or "".

    >>> archive_suffix("https://models.example.com/net.tar.gz?version=1"), archive_suffix("net.bin")
    ('.tar.gz', '')
    """
    lower = urlsplit(uri).path.lower()
    return next((suffix for suffix in _ARCHIVES if lower.endswith(suffix)), "")


def _stored_name(uri: str) -> tuple[str, str | None]:
    """The name that a file without one gets, one suffix of an archive cut off, with the kind of archive."""
    base = unquote(urlsplit(uri).path.rpartition("/")[2])
    for suffix, kind in _ARCHIVES.items():
        if base.lower().endswith(suffix):
            return base[: -len(suffix)], kind
    return base, None


#: What some system does not allow in a file name, or takes for a folder or a device.
UNSAFE_NAME = re.compile(
    r"""[/\\:<>|?*"\x00-\x1f\x7f] | ^\s | [\s.]$ | ^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)""", re.VERBOSE | re.IGNORECASE
)


def _checked_name(name: str, kind: str, url: str, field: str) -> str:
    """A name becomes one path component in the cache, on every system."""
    if kind == "dir" and not name:
        return name
    if not name or len(name.encode(errors="surrogatepass")) > 200 or UNSAFE_NAME.search(name) or name_fault(name) is not None:
        raise _malformed(url, field, f"expected a plain file name, found {name!r}")
    return name


def _check_distinct(names: Sequence[str], url: str, field: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(folded(name), name)
        if first is not name:
            raise _malformed(url, field, f"expected distinct names, found {first!r} twice (case does not count)")


def _resolved(uri: str, url: str, field: str) -> str:
    """The absolute address of a file; a remote document reaches neither local files nor packages."""
    try:
        address = _joined(url, uri) if not uri.startswith("package://") else uri
        given, parts, base = urlsplit(uri), urlsplit(address), urlsplit(url).scheme
        # A port that is none shows only when it is asked for; `http:///x` would be relative to the document's own host.
        is_web = parts.scheme in WEB_SCHEMES and bool((given if given.scheme else parts).hostname) and parts.port != 0
    except ValueError as error:
        raise _malformed(url, field, f"expected an address, found {_shown(uri)}") from error
    # A terminal's commands, and line breaks that `urlsplit` leaves out: no address has them unencoded.
    if any(ord(char) < ord(" ") or char == "\x7f" for char in uri):
        raise _malformed(url, field, f"expected an address without control characters, found {_shown(uri)}")
    # It would be sent to a host of the document's choice, and shown with every address.
    if given.username is not None or given.password is not None:
        raise _malformed(url, field, f"expected an address without a user or password, found {shown_url(uri)[:_SHOWN]!r}")
    # Whoever reads it there looks at the others.
    if url.startswith(UNRESOLVED) and (is_web or given.scheme not in WEB_SCHEMES):
        return uri
    is_local = base in ("file", "")
    if (
        is_web
        or (is_local and parts.scheme == "package")
        or (base not in WEB_SCHEMES and parts.scheme == base and not given.scheme)
    ):
        return address
    raise _malformed(url, field, f"expected a relative or http(s) address, found {_shown(uri)}")


def _joined(url: str, uri: str) -> str:
    """An address as a document at another address means it; Python resolves in the schemes of the web and of files only."""
    scheme, separator, place = url.partition("://")
    if not separator or scheme in ("http", "https", "file") or urlsplit(uri).scheme:
        return urljoin(url, uri)
    return f"{scheme}://" + urljoin(f"http://{place}", uri).removeprefix("http://")


def _size(value: Text, url: str, field: str) -> int | None:
    if value is None:
        return None
    try:
        size = int(value) if not isinstance(value, float) else -1
    except ValueError:
        size = -1
    if not 0 <= size < 2**63:
        raise _malformed(url, field, f"expected a whole number of bytes, found {_shown(value)}")
    return size


def _digest(value: Text, length: int | None, url: str, field: str) -> str | None:
    text = ("" if value is None else str(value)).lower()
    if not text:
        return None
    if not re.fullmatch(r"[0-9a-f]{8,64}", text) or (length is not None and len(text) != length):
        raise _malformed(url, field, f"expected {length or '8 to 64'} hexadecimal digits, found {_shown(value)}")
    return text


def _engines(arguments: Mapping[str, Any], files: Sequence[ArtifactFile], group_id: str) -> tuple[str, ...]:
    """The engines of an artifact that names none: its argument, its factory's prefix, its kinds of files, its publisher."""
    named, factory = arguments.get("engine"), arguments.get("blockFactory")
    if isinstance(named, str):
        return (named,)
    prefix = factory.rpartition(":")[2].partition(".")[0] if isinstance(factory, str) else ""
    if prefix in _ENGINE_GROUPS:
        return (_ENGINE_GROUPS[prefix],)
    for file in files:
        for suffix, engine in _ENGINE_SUFFIXES.items():
            if file.name.lower().endswith(suffix):
                return (engine,)
    return tuple(engine for part, engine in _ENGINE_GROUPS.items() if part in group_id.lower().split("."))[:1]


def _location(path: str, application: str, group_id: str, artifact_id: str) -> MRL:
    """The MRL that a folder says; the ids inside only tell where the group ends and the artifact id begins."""
    kind, *folders = path.strip("/").split("/")[:-1] or [""]
    if kind not in TYPES or len(folders) < 2:
        return MRL(application=application, group_id=group_id, artifact_id=artifact_id)
    prefix = _application_folders(folders, application)
    rest = folders[len(prefix) :]
    group = group_id.split(".")
    if rest[: len(group)] == group and len(rest) > len(group):
        return MRL(type=kind, application="/".join(prefix), group_id=group_id, artifact_id="/".join(rest[len(group) :]))
    return MRL(type=kind, application="/".join(prefix), group_id=".".join(rest[:-1]) or rest[-1], artifact_id=rest[-1])


def _application_folders(folders: list[str], application: str) -> list[str]:
    written = application.split("/") if application else []
    known = applications.canonical(application)
    for candidate in (written, known.split("/") if known else []):
        if candidate and folders[: len(candidate)] == candidate and len(folders) > len(candidate) + 1:
            return candidate
    for length in (2, 1):
        if len(folders) > length + 1 and "/".join(folders[:length]) in applications.APPLICATIONS:
            # `cv/image-generation` lies below the known `cv` and is the path of no application.
            return folders[:2] if length == 1 and len(folders) > 3 and application.count("/") == 1 else folders[:length]
    return []


def _checked_place(path: str, url: str) -> str:
    """Where a document lies below its root, as an index or a disk says it: a path that leads out is no place."""
    parts = path.strip("/").split("/")
    is_odd = path.startswith("/") or any(part in ("", ".", "..") or "\\" in part for part in parts[:-1])
    # A disk may have names that are no text, and nothing can be asked of them.
    if is_odd or len(path) > MAX_URI or not path.isprintable():
        raise _malformed(url, "$", f"expected a path below the repository's root, found {_shown(path)}")
    return path


def _path_in(url: str) -> str:
    parts = unquote(urlsplit(url).path).split("/")
    for position in range(len(parts) - 1, -1, -1):
        if parts[position] in TYPES and len(parts) - position > 3:
            return "/".join(parts[position:])
    return ""


def _text_mapping(raw: msgspec.Raw, url: str, field: str) -> dict[str, str]:
    """Properties and options: values as their JSON text; a key twice or a list is the document's error."""
    try:
        pairs = _pairs_decoder.decode(bytes(raw).decode())
    except (ValueError, RecursionError) as error:
        # msgspec leaves what it does not decode unchecked, invalid UTF-8 among it.
        raise _malformed(url, field, f"no JSON: {error}") from error
    if pairs is None:
        return {}
    if not isinstance(pairs, _Pairs):
        raise _malformed(url, field, f"expected an object, found {type(pairs).__name__}")
    texts: dict[str, str] = {}
    for key, value in _counted(pairs.items, MAX_ENTRIES, url, field):
        place = f"{field}.{_text(key, url, field)}"
        if key in texts:
            raise _malformed(url, place, "expected the key once, found it twice")
        if value is None:
            continue
        if not isinstance(value, str | bool):
            raise _malformed(url, place, "expected text, a number or a boolean")
        texts[key] = _text(value if isinstance(value, str) else str(value).lower(), url, place, MAX_TEXT)
    return texts


class _Pairs:
    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items


_pairs_decoder = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=str, parse_float=str)


def _text(value: Text, url: str, field: str, limit: int = MAX_ID) -> str:
    """A text, a number as text, or "" where nothing is."""
    text = "" if value is None else str(value)
    if len(text) > limit:
        raise _malformed(url, field, f"expected at most {limit} characters, found {len(text)}")
    return text


def _counted(items: Items, limit: int, url: str, field: str) -> Items:
    if len(items) > limit:
        raise _malformed(url, field, f"expected at most {limit} entries, found {len(items)}")
    return items


def _check_depth(arguments: Mapping[str, Any], url: str, field: str) -> None:
    """Refuse what is so deep that functions which call themselves, here and in plugins, would not come back."""
    level: list[Any] = [arguments]
    for _ in range(MAX_DEPTH):
        level = [item for value in level for item in _inside(value) if isinstance(item, dict | list)]
        if not level:
            return
    raise _malformed(url, field, f"expected at most {MAX_DEPTH} objects or arrays inside one another")


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _shown(value: object) -> str:
    """A value as a message shows it, however long it is."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _decoded(content: bytes | msgspec.Raw, shape: type[Shape], url: str, field: str) -> Shape:
    try:
        return msgspec.json.decode(content, type=shape)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        raise _malformed(url, field + where.rstrip("`"), what) from error
    except RecursionError as error:
        raise _malformed(url, field, "more objects or arrays lie inside one another than can be read") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(url, field, f"no JSON: {error}") from error


def _malformed(url: str, field: str, what: str) -> MetadataError:
    shown = url if len(url) <= _SHOWN_URL else f"{url[:_SHOWN_URL]}..."
    return MetadataError(f"{printable(shown)}: {printable(field)}: {printable(what)}", url=url, field=field)
