"""The address of a repository taken apart: where it is, what its query says of its models, the digest at its end.

Source: DJL's ``RepositoryFactory``, which takes the address of an archive for a repository of one model, and reads
``artifact_id`` and ``model_name`` in its query.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import msgspec

from zoo_core import application as applications
from zoo_core.errors import CriteriaError
from zoo_core.frozen import FrozenDict
from zoo_core.registered import snake_case
from zoo_core.wording import listing, printable, shown_url

#: Endings of addresses that name one file: an archive, or a file that holds parameters or a program.
ARCHIVE_SUFFIXES = (".zip", ".mar", ".tar", ".tar.gz", ".tar.z", ".tgz")
PARAMETER_SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".params", "-symbol.json")
FILE_SUFFIXES = (*ARCHIVE_SUFFIXES, *PARAMETER_SUFFIXES, *(f"{suffix}.gz" for suffix in PARAMETER_SUFFIXES))

#: Schemes of addresses that are taken apart here; any other scheme's are its own.
SCHEMES = ("http", "https", "file")
_DIGEST = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
#: What a query may name: a server's own parameters are often spelled otherwise.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
#: Names of parameters that hold a secret, which is the server's too.
_SECRET = re.compile(r"(?:.*_)?(?:auth|credentials?|(?:api)?key|pass(?:word)?|secret|token)")
#: Parameters by which a server knows a query that it signed, all of it: AWS, Google, CloudFront and AWS before, Azure.
_SIGNATURES = frozenset({"x-amz-signature", "x-goog-signature", "signature", "sig"})
#: What decides which code runs, in the spelling of Python; an address is copied from anywhere.
_DECIDING = frozenset(
    {
        "block", "block_factory", "code", "engine", "engines", "factory", "requires", "translator", "translator_factory",
        "trust", "trust_code", "trust_program", "trust_programs", "allow_unverified",
    }
)  # fmt: skip
#: What the query says of the model itself, as DJL reads it.
_IDS = ("application", "artifact_id", "model_name")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a repository is, and what its address says beside that.

    Attributes:
        url: What is asked for: of one file with its query, which may be the server's; of a tree without.
        is_file: It ends as files do that a model can be loaded from.
        sha256: The digest at its end, lower-case hex; None where there is none.
        said: What the query says of all its models, as text.
    """

    url: str
    is_file: bool = False
    sha256: str | None = None
    said: FrozenDict[str] = msgspec.field(default_factory=FrozenDict)

    @property
    def arguments(self) -> FrozenDict[Any]:
        """What the query says, for factories and translators."""
        return FrozenDict({name: value_of(text) for name, text in self.said.items() if name not in _IDS})

    @property
    def properties(self) -> dict[str, str]:
        """What the query says, for filters."""
        return {name: text for name, text in self.said.items() if name not in _IDS}

    @property
    def identity(self) -> list[tuple[str, str]]:
        """What in the query tells one file from another: all but secrets, and nothing of a query that a server signed.

        A signature and its date change from day to day; such servers tell files apart by their paths.
        """
        pairs = parse_qsl(urlsplit(self.url).query, keep_blank_values=True)
        return [] if _is_signed(pairs) else sorted(pair for pair in pairs if not _SECRET.fullmatch(snake_case(pair[0])))

    @property
    def file_name(self) -> str:
        """The last part of the path, as it is spelled."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def expanded(path: str | Path) -> Path:
    """A path whose ``~`` stands for a home; unlike `Path.expanduser` it leaves that of an unknown user as it stands."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - said above


def address_of(item: str | Path) -> str:
    """The address of what a user names as a repository: one as it stands, that of a folder or a file by its path."""
    return str(item) if "://" in str(item) else expanded(item).absolute().as_uri()


def parse_address(text: str) -> Address:
    """Take the address of a repository apart.

    Raises:
        CriteriaError: The query names what no address may decide, or what stands at its end is no digest of a file.
        ValueError: It is no address.
    """
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        return Address(url=text)
    is_file = parts.path.lower().endswith(FILE_SUFFIXES)
    said = _said(parts.query, text)
    if not is_file and len(parse_qsl(parts.query, keep_blank_values=True)) != len(said):
        raise CriteriaError(
            f"{shown_url(text)}: the query of a repository says name=value for all its models, and this one belongs to a "
            "server; a token goes into token_env of its [[repository]] in your zoo.toml, or into netrc"
        )
    # A folder of this machine answers no query.
    query = parts.query if is_file and parts.scheme != "file" else ""
    return Address(
        url=urlunsplit((parts.scheme, parts.netloc, parts.path, query, "")),
        is_file=is_file,
        sha256=_digest(parts.fragment, text, is_file=is_file),
        said=said,
    )


def said_of_all(text: str) -> FrozenDict[Any]:
    """The arguments that an address gives to all its models; none where it cannot be read, which opening it tells."""
    try:
        return parse_address(text).arguments
    except ValueError:
        return FrozenDict()


def secret_in(text: str) -> str | None:
    """The name of a parameter in an address that holds a secret or a signature; None where there is none.

    >>> secret_in("https://models.example/net.pt?version=1&access-token=abc")
    'access-token'
    """
    try:
        pairs = parse_qsl(urlsplit(text).query)
    except ValueError:
        return None
    names = (name for name, _ in pairs)
    return next((name for name in names if name.lower() in _SIGNATURES or _is_secret(name.replace("-", "_"))), None)


def _is_secret(name: str) -> bool:
    return _SECRET.fullmatch(snake_case(name)) is not None


def value_of(text: str) -> Any:
    """What a text stands for among arguments: JSON where it is some, such as ``[128, 64]``, else the text itself.

    >>> value_of("50"), value_of("true"), value_of("imagenet")
    (50, True, 'imagenet')
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _said(query: str, text: str) -> FrozenDict[str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    if _is_signed(pairs):
        return FrozenDict()
    said: dict[str, str] = {}
    for name, value in pairs:
        if snake_case(name) in _DECIDING:
            raise CriteriaError(
                f"{shown_url(text)}: `{printable(name)}` cannot be said by an address; it counts only in the call itself, "
                "such as --engine, --factory, --translator, --trust-programs"
            )
        if name in said:
            raise CriteriaError(f"{shown_url(text)}: {printable(name)} stands twice in the query")
        if _NAME.fullmatch(name) and not _is_secret(name):
            said[name] = value
    try:
        # What tells repositories apart is hashed, and lists in lists are by calls in calls.
        hash(FrozenDict({name: value_of(value) for name, value in said.items()}))
    except RecursionError:
        raise CriteriaError(f"{shown_url(text)[:200]}...: a value in the query is nested too deeply") from None
    return FrozenDict(said)


def _is_signed(pairs: Iterable[tuple[str, str]]) -> bool:
    return any(name.lower() in _SIGNATURES for name, _ in pairs)


def _digest(fragment: str, text: str, *, is_file: bool) -> str | None:
    if not fragment:
        return None
    name, _, value = fragment.partition("=")
    if name != "sha256" or not is_file:
        raise CriteriaError(
            f"{shown_url(text)}: only the address of one file has something behind its #: sha256=<64 hexadecimal digits>. "
            f"Files end in {listing(FILE_SUFFIXES, limit=12)}"
        )
    if not _DIGEST.fullmatch(value):
        raise CriteriaError(
            f"{shown_url(text)}: a sha256 has 64 hexadecimal digits, and {printable(value[:80])!r} ({len(value)}) is none"
        )
    return value.lower()


def described(address: Address) -> Mapping[str, str]:
    """What the address of one file says of its model: ``artifact_id``, ``model_name``, ``application``.

    >>> dict(described(parse_address("https://models.example/tiny%20net.tar.gz?artifact_id=tiny")))
    {'artifact_id': 'tiny', 'model_name': 'tiny', 'application': ''}
    """
    artifact_id = address.said.get("artifact_id") or _stem(address.file_name)
    application = address.said.get("application", "")
    return {
        "artifact_id": artifact_id,
        "model_name": address.said.get("model_name") or artifact_id,
        "application": applications.canonical(application) or application,
    }


def _stem(name: str) -> str:
    """A file's name without its suffix, the longest that it has."""
    suffixes = sorted((suffix for suffix in FILE_SUFFIXES if name.lower().endswith(suffix)), key=len)
    return name[: -len(suffixes[-1])] if suffixes else name
