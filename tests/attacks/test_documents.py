"""Hostile documents: each ends in one clear line that names file and field, or does no harm; nothing else is written to.

All of them are read by the command in one process, whose every write and connection is looked at, from a folder and from a
web server.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import repositories as make
from tests.commands import Commands
from tests.web import serving
from zoo_core.metadata import (
    MAX_ARTIFACTS,
    MAX_DEPTH,
    MAX_DOCUMENT,
    MAX_ENTRIES,
    MAX_FILES,
    MAX_ID,
    MAX_TEXT,
    MAX_URI,
    MAX_VERSION,
)

ARTIFACT = "$.artifacts[0]"
FILE = f"{ARTIFACT}.files.parameters"
ESCAPES = "\x1b]0;owned\x07\x9b31m\u202e\u2028"
GOOD = make.document(make.artifact())
PLACE = make.location(GOOD)
#: A digest that no file here has.
ABSENT = "0" * 64


@dataclass(frozen=True)
class Case:
    """A document, and what becomes of it.

    Attributes:
        content: Its bytes.
        field: Where the fault is said to be; None: it is taken.
        says: Words of the message; of what is printed where it is taken.
        status: That of `zoo download`; 0 where the file is had, 4 or 5 where it is asked for and not had.
        beside: Further files of the folder.
    """

    content: bytes
    field: str | None = None
    says: str = ""
    status: int = 5
    beside: dict[str, bytes] = dataclasses.field(default_factory=dict)


def changed(change: Callable[[dict[str, Any]], object], **beside: bytes) -> bytes:
    document = copy.deepcopy(GOOD)
    change(document)
    return json.dumps(document).encode()


def with_file(**fields: Any) -> bytes:
    return changed(lambda document: document["artifacts"][0]["files"]["parameters"].update(fields))


def with_files(files: dict[str, Any]) -> bytes:
    return changed(lambda document: document["artifacts"][0].update(files=files))


def with_artifact(**fields: Any) -> bytes:
    return changed(lambda document: document["artifacts"][0].update(fields))


def with_document(**fields: Any) -> bytes:
    return changed(lambda document: document.update(fields))


def raw(old: str, new: str) -> bytes:
    """The good document with a piece of its text replaced."""
    text = json.dumps(GOOD)
    assert old in text, old
    return text.replace(old, new, 1).encode()


def nested(depth: int, left: str = "[", right: str = "]") -> str:
    return left * depth + right * depth


def item(uri: str, **fields: Any) -> dict[str, Any]:
    return {"uri": uri, "sha256": make.sha256(make.WEIGHTS), **fields}


# what is refused -----------------------------------------------------------------------------------------------------

#: An address that no document may name, wherever it lies.
URIS = {
    "a file": ("file:///etc/passwd", "relative or http"),
    "a file on another host": ("file://evil.example/etc/passwd", "relative or http"),
    "a file in capitals": ("FILE:///etc/passwd", "relative or http"),
    "data": ("data:application/octet-stream;base64,AAAA", "relative or http"),
    "a script": ("javascript:alert(1)", "relative or http"),
    "a script with a tab": ("java\tscript:alert(1)", "control characters"),
    "a jar": ("jar:file:///tmp/a.jar!/x", "relative or http"),
    "ftp": ("ftp://evil.example/net.bin", "relative or http"),
    "gopher": ("gopher://evil.example:25/xHELO", "relative or http"),
    "ldap": ("ldap://evil.example/x", "relative or http"),
    "djl's own": ("djl://ai.djl.pytorch/resnet", "relative or http"),
    "a scheme of ours": ("zoo://com.example/net", "relative or http"),
    "ssh": ("git+ssh://git@evil.example/x", "user or password"),
    "a Windows drive": ("C:\\Windows\\win.ini", "relative or http"),
    "a Windows drive with slashes": ("c:/windows/win.ini", "relative or http"),
    "http without a host": ("http:///net.bin", "relative or http"),
    "https with a port alone": ("https://:443/net.bin", "relative or http"),
    "a port beyond all": ("http://evil.example:65536/net.bin", "expected an address"),
    "a negative port": ("http://evil.example:-1/net.bin", "expected an address"),
    "port zero": ("http://evil.example:0/net.bin", "relative or http"),
    "a port that is a word": ("http://evil.example:http/net.bin", "expected an address"),
    "a stream of a file": ("net.bin:hidden", "relative or http"),
    "half a bracket": ("http://[::1/net.bin", "expected an address"),
    "no address of version 6": ("http://[zz::1]/net.bin", "expected an address"),
    "a host of two kinds": ("http://evil\u2100.example/net.bin", "expected an address"),
    "a user": ("https://anna@evil.example/net.bin", "user or password"),
    "a user and a password": ("https://anna:secret@evil.example/net.bin", "user or password"),
    "a host that hides behind a user": ("https://models.example@evil.example/net.bin", "user or password"),
    "a NUL": ("net.bin\0.txt", "control characters"),
    "a line break": ("net\n.bin", "control characters"),
    "a request inside": ("http://evil.example/ HTTP/1.1\r\nX: y", "control characters"),
    "a command for a terminal": ("\x1b[2Jnet.bin", "control characters"),
    "delete": ("net\x7f.bin", "control characters"),
    "nothing": ("", "found nothing"),
    "more than any server takes": ("x/" * MAX_URI, f"at most {MAX_URI} characters"),
}
#: An address that ends in no name; with a name of its own it would only lead to bytes that are not those promised.
NAMELESS = {
    "the folder above": "..",
    "this folder": ".",
    "a folder": "files/",
    "percent-encoded parents": "%2e%2e/%2e%2e/%2e%2e",
    "parents in the last part": "..%2f..%2fevil",
    "parents with backslashes": "..%5c..%5cevil",
    "an encoded NUL": "net%00.bin",
    "an encoded escape": "%1b%5b2J",
    "a device": "aux",
    "another device": "com1.bin",
    "a dot at its end": "net.bin.",
    "a share": "\\\\server\\share\\net.bin",
}
NAMES = {
    "a path": "../../.bashrc",
    "an absolute path": "/etc/cron.d/evil",
    "a drive": "C:evil",
    "a backslash": "a\\b",
    "the folder above": "..",
    "this folder": ".",
    "nothing": "",
    "spaces": "   ",
    "a space at its end": "a ",
    "a device": "NUL",
    "a device with a suffix": "con.txt",
    "a device with a raised digit": "com\u00b9.bin",
    "the console": "conin$",
    "a NUL": "a\0b",
    "a line break": "a\nb",
    "a control character of eight bits": "a\x85b",
    "an end of a line": "a\u2028b",
    "too long": "x" * 201,
    "far too long": "x" * 300,
}
#: A value where another kind stands.
KINDS: dict[str, tuple[bytes, str, str]] = {
    "a document that is a list": (b"[]", "$", "object"),
    "a document that is null": (b"null", "$", "object"),
    "a document that is text": (b'"metadataVersion"', "$", "object"),
    "no version of the format": (changed(lambda d: d.pop("metadataVersion")), "$", "metadataVersion"),
    "no group": (changed(lambda d: d.pop("groupId")), "$.groupId", "found nothing"),
    "an empty group": (with_document(groupId=""), "$.groupId", "found nothing"),
    "no id": (with_document(artifactId=None), "$.artifactId", "found nothing"),
    "a group that is a list": (with_document(groupId=["com", "example"]), "$.groupId", "array"),
    "a name that is an object": (with_document(name={"en": "net"}), "$.name", "object"),
    "artifacts by number": (with_document(artifacts={"0": {}}), "$.artifacts", "array"),
    "an artifact that is a number": (with_document(artifacts=[1]), "$.artifacts[0]", "int"),
    "licences in a list": (with_document(licenses=["mit"]), "$.licenses", "object"),
    "files in a list": (with_artifact(files=[item("a.bin")]), f"{ARTIFACT}.files", "object"),
    "a file that is text": (with_files({"parameters": "net.bin"}), FILE, "str"),
    "a file without an address": (with_files({"parameters": {}}), FILE, "uri"),
    "an address that is a list": (with_file(uri=["a"]), f"{FILE}.uri", "array"),
    "mirrors that are text": (with_file(mirrors="http://a.example"), f"{FILE}.mirrors", "array"),
    "a type nobody knows": (with_file(type="symlink"), f"{FILE}.type", "dir or file"),
    "properties in a list": (with_artifact(properties=[1]), f"{ARTIFACT}.properties", "object"),
    "a property that is a list": (with_artifact(properties={"a": [1]}), f"{ARTIFACT}.properties.a", "text"),
    "a property that is an object": (with_artifact(properties={"a": {}}), f"{ARTIFACT}.properties.a", "text"),
    "arguments in a list": (with_artifact(arguments=[]), f"{ARTIFACT}.arguments", "object"),
    "engines that are text": (with_artifact(engines="PyTorch"), f"{ARTIFACT}.engines", "array"),
    "an engine that is a command": (with_artifact(engines=["$(touch evil)"]), f"{ARTIFACT}.engines", "engine"),
    "a requirement that is a command": (with_artifact(requires=["x; touch evil"]), f"{ARTIFACT}.requires", "requirement"),
    "a requirement that is an address": (
        with_artifact(requires=["x @ https://evil.example/x.whl"]), f"{ARTIFACT}.requires", "address",
    ),
    "an option of pip": (with_artifact(requires=["--index-url=https://evil.example"]), f"{ARTIFACT}.requires", "requirement"),
    "a true version": (with_artifact(version=True), f"{ARTIFACT}.version", "bool"),
}  # fmt: skip
SIZES = {
    "a negative size": -1,
    "a fraction of a byte": 1.5,
    "a size beyond numbers": 10**400,
    "a size in words": "many",
    "a size with a sign and spaces": "- 1",
    "a size of many digits": "9" * 10_000,
    "a size no disk has": 2**63,
    "a size that is true": True,
}
DIGESTS = {
    "half a digest": ("sha256", "0" * 32),
    "a digest and more": ("sha256", "0" * 65),
    "a digest of words": ("sha256", "z" * 64),
    "a digest with a path in it": ("sha256", "../" + "0" * 61),
    "a digest of a megabyte": ("sha256", "0" * 2**20),
    "a digest in other digits": ("sha256", "\u0660" * 64),
    "a digest with a line break": ("sha256", "0" * 63 + "\n"),
    "half a sha1": ("sha1Hash", "0" * 39),
    "a path for a sha1": ("sha1Hash", "/" * 40),
    "a prefix of seven": ("sha256Prefix", "0" * 7),
    "a prefix that is a path": ("sha256Prefix", "../../../x"),
}
COUNTS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "more bytes than a document has": (
        lambda: with_document(more=" " * MAX_DOCUMENT), "$", "expected at most 16.8 MB",
    ),
    "more artifacts": (
        lambda: with_document(artifacts=[{}] * (MAX_ARTIFACTS + 1)), "$.artifacts", f"at most {MAX_ARTIFACTS} entries",
    ),
    "more files": (
        lambda: with_files({str(n): {"uri": f"{n}"} for n in range(MAX_FILES + 1)}), f"{ARTIFACT}.files", "at most",
    ),
    "more mirrors": (
        lambda: with_file(mirrors=["http://a.example/b"] * (MAX_ENTRIES + 1)), f"{FILE}.mirrors", "at most",
    ),
    "more properties": (
        lambda: with_artifact(properties={str(n): "1" for n in range(MAX_ENTRIES + 1)}), f"{ARTIFACT}.properties", "at most",
    ),
    "more options": (
        lambda: with_artifact(options={str(n): "1" for n in range(MAX_ENTRIES + 1)}), f"{ARTIFACT}.options", "at most",
    ),
    "more engines": (lambda: with_artifact(engines=["A"] * (MAX_ENTRIES + 1)), f"{ARTIFACT}.engines", "at most"),
    "more requirements": (lambda: with_artifact(requires=["a"] * (MAX_ENTRIES + 1)), f"{ARTIFACT}.requires", "at most"),
    "more licences": (
        lambda: with_document(licenses={str(n): {} for n in range(MAX_ENTRIES + 1)}), "$.licenses", "at most",
    ),
    "a longer id": (lambda: with_document(artifactId="x" * (MAX_ID + 1)), "$.artifactId", f"at most {MAX_ID} characters"),
    "a longer group": (lambda: with_document(groupId="x" * (MAX_ID + 1)), "$.groupId", "at most"),
    "a longer application": (lambda: with_document(application="cv/" + "x" * MAX_ID), "$.application", "at most"),
    "a longer version": (
        lambda: with_artifact(version="9" * (MAX_VERSION + 1)), f"{ARTIFACT}.version", f"at most {MAX_VERSION} characters",
    ),
    "a longer name of an artifact": (lambda: with_artifact(name="x" * (MAX_ID + 1)), f"{ARTIFACT}.name", "at most"),
    "a longer key": (lambda: with_files({"k" * (MAX_ID + 1): item("a")}), f"{ARTIFACT}.files", "at most"),
    "a longer key of a property": (
        lambda: with_artifact(properties={"k" * (MAX_ID + 1): "1"}), f"{ARTIFACT}.properties", "at most",
    ),
    "a longer property": (
        lambda: with_artifact(properties={"a": "x" * (MAX_TEXT + 1)}), f"{ARTIFACT}.properties.a", "at most",
    ),
    "a longer description": (lambda: with_document(description="x" * (MAX_TEXT + 1)), "$.description", "at most"),
    "a longer address of a licence": (
        lambda: with_document(licenses={"a": {"url": "x" * (MAX_URI + 1)}}), "$.licenses.a.url", "at most",
    ),
}  # fmt: skip
OPENED = '{"a":'
DEPTHS = {
    "arguments one level too deep": (
        raw('"files":', f'"arguments": {{"a": {nested(MAX_DEPTH)}}}, "files":'), f"{ARTIFACT}.arguments", f"most {MAX_DEPTH} ",
    ),
    "arguments of objects": (
        raw('"files":', f'"arguments": {nested(600, OPENED, "}").replace(":}", ":1}")}, "files":'),
        f"{ARTIFACT}.arguments",
        "most",
    ),
    "arguments deeper than a stack": (
        raw('"files":', f'"arguments": {{"a": {nested(50_000)}}}, "files":'), "$", "inside one another",
    ),
    "properties deeper than a stack": (
        raw('"files":', f'"properties": {nested(50_000)}, "files":'), "$", "inside one another",
    ),
    "an unknown field deeper than a stack": (
        raw('"groupId":', f'"x": {nested(100_000)}, "groupId":'), "$", "inside one another",
    ),
}  # fmt: skip
TEXTS = {
    "no JSON": (b"metadataVersion: 0.2\n", "$", "no JSON"),
    "nothing": (b"", "$", "no JSON"),
    "an end that is missing": (json.dumps(GOOD).encode()[:-1], "$", "no JSON"),
    "something behind it": (json.dumps(GOOD).encode() + b"{}", "$", "no JSON"),
    "a mark of the order of bytes": (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), "$", "no JSON"),
    "sixteen bits a character": (json.dumps(GOOD).encode("utf-16"), "$", "no JSON"),
    "bytes that are no UTF-8": (json.dumps(GOOD).encode().replace(b"Net", b"N\xfft"), "$", "no JSON"),
    "half a surrogate pair": (raw('"Net"', r'"\ud800"'), "$", "no JSON"),
    "half a pair in a property": (raw('"files":', r'"properties": {"a": "\udfff"}, "files":'), "$", "no JSON"),
    "a pair in the wrong order": (raw('"Net"', r'"\udc00\ud800"'), "$", "no JSON"),
    "a bare control character": (json.dumps(GOOD).encode().replace(b"Net", b"N\nt"), "$", "no JSON"),
    "not a number": (raw('"1.0"', "NaN"), "$", "no JSON"),
    "infinity": (raw('"files":', '"arguments": {"a": Infinity}, "files":'), "$", "no JSON"),
    "a number beyond all": (raw('"files":', '"arguments": {"a": 1e999}, "files":'), f"{ARTIFACT}.arguments", "range"),
    "a comma too many": (raw('"1.0"', '"1.0",'), "$", "no JSON"),
    "a comment": (b"// mine\n" + json.dumps(GOOD).encode(), "$", "no JSON"),
    "a property twice": (raw('"files":', '"properties": {"a": 1, "a": 2}, "files":'), f"{ARTIFACT}.properties.a", "twice"),
    "an option twice": (raw('"files":', '"options": {"a": 1, "a": 2}, "files":'), f"{ARTIFACT}.options.a", "twice"),
}
TWICE = {
    "one name": ("net.bin", "net.bin"),
    "names that differ in case": ("Net.bin", "nET.bin"),
    "case beyond ASCII": ("\u00c9.bin", "\u00e9.bin"),
    "names that differ in form": ("\u00e9.bin", "e\u0301.bin"),
    "names that differ in what is not seen": ("net.bin", "ne\u200ct.bin"),
    "German": ("stra\u00dfe", "STRASSE"),
    "a Kelvin": ("\u212a.bin", "k.bin"),
}

REFUSED = {
    **{f"uri: {name}": Case(with_file(uri=uri), f"{FILE}.uri", says) for name, (uri, says) in URIS.items()},
    **{
        f"mirror: {name}": Case(with_file(mirrors=[URIS[name][0]]), f"{FILE}.mirrors", URIS[name][1])
        for name in ("a file", "data", "a Windows drive", "a user and a password", "a NUL", "a port beyond all")
    },
    **{f"uri: {name}": Case(with_file(uri=uri), f"{FILE}.name", "plain file name") for name, uri in NAMELESS.items()},
    **{f"name: {name}": Case(with_file(name=text), f"{FILE}.name", "expected") for name, text in NAMES.items()},
    **{f"kind: {name}": Case(*found) for name, found in KINDS.items()},
    **{f"size: {name}": Case(with_file(size=size), FILE, "") for name, size in SIZES.items()},
    **{
        f"digest: {name}": Case(with_file(**{key: text}), f"{FILE}.{key}", "hexadecimal")
        for name, (key, text) in DIGESTS.items()
    },
    **{f"count: {name}": Case(content(), where, says) for name, (content, where, says) in COUNTS.items()},
    **{f"depth: {name}": Case(*found) for name, found in DEPTHS.items()},
    **{f"text: {name}": Case(*found) for name, found in TEXTS.items()},
    **{
        f"twice: {name}": Case(
            with_files({"a": item("1", name=first), "b": item("2", name=second)}), f"{ARTIFACT}.files", "distinct names"
        )
        for name, (first, second) in TWICE.items()
    },
}

# what is hostile and does no harm ------------------------------------------------------------------------------------

HARMLESS = {
    # What is free text is shown with its commands escaped, and becomes one component of a path.
    "commands for a terminal in the name": Case(with_document(name=ESCAPES), status=0),
    "in the description": Case(with_document(description=ESCAPES), status=0),
    "in the version": Case(with_artifact(version=ESCAPES), status=0),
    "in the name of the artifact": Case(with_artifact(name=ESCAPES), status=0),
    "in a property": Case(with_artifact(properties={ESCAPES: ESCAPES}), status=0),
    "in a licence": Case(with_document(licenses={ESCAPES: {"name": ESCAPES, "url": "javascript:1"}}), status=0),
    "in an argument": Case(with_artifact(arguments={"a": ESCAPES}), status=0),
    "in the key of a file": Case(with_files({ESCAPES: item("net.params.bin")}), status=0),
    "a version that is a path": Case(with_artifact(version="../../../../evil"), status=0),
    "a version that is absolute": Case(with_artifact(version="/tmp/evil"), status=0),
    "a version that is a device": Case(with_artifact(version="CON"), status=0),
    "a name that is a path": Case(with_artifact(name="../../evil"), status=0),
    "a name with a NUL": Case(with_artifact(name="a\0b"), status=0),
    "a key that is a path": Case(with_files({"../../evil": item("net.params.bin")}), status=0),
    "a key of Python's": Case(with_files({"__class__": item("net.params.bin")}), status=0),
    "an application nobody knows": Case(with_document(application="../../x"), status=0),
    "ids that are other than the folder's": Case(with_document(groupId="../../etc", artifactId="net"), status=0),
    # The last of equal keys counts, for whoever reads it.
    "a digest twice": Case(raw('"sha256":', f'"sha256": "{ABSENT}", "sha256":'), status=0),
    "an address twice": Case(raw('"uri":', '"uri": "file:///etc/passwd", "uri":'), status=0),
    # A size decides nothing, and bounds what is read.
    "a size far too large": Case(with_file(size=10**8), status=0),
    "a size that is nothing": Case(with_file(size=0), status=0),
    # Addresses that exist nowhere, or not here: somebody is asked, by a plain request without anything of the user.
    "a host in letters that look like others": Case(with_file(uri="https://m\u043edels.example/net.bin"), status=4),
    "a host in Punycode": Case(with_file(uri="https://xn--mdels-jye.example/net.bin"), status=4),
    "a machine inside": Case(with_file(uri="http://169.254.169.254/latest/meta-data/token"), status=4),
    "this machine in one number": Case(with_file(uri="http://2130706433/net.bin"), status=4),
    "a host without a scheme": Case(with_file(uri="//evil.example/net.bin"), status=4),
    # A folder's document reaches nothing outside of it, whatever leads there.
    "parents": Case(with_file(uri="../" * 20 + "etc/hostname", name="a"), status=4),
    "encoded parents": Case(with_file(uri="%2e%2e/" * 20 + "etc/hostname", name="a"), status=4),
    "encoded slashes": Case(with_file(uri="..%2f" * 20 + "etc%2fhostname", name="a"), status=4),
    "an absolute path": Case(with_file(uri="/etc/hostname", name="a"), status=4),
    "a share": Case(with_file(uri="//server/share/net.bin", name="a"), status=4),
    "a package that is not here": Case(with_file(uri="package://absent_package/net.bin"), status=4),
    "a package's parent": Case(with_file(uri="package://zoo_core/../../../etc/hostname", name="a"), status=4),
    "a package's encoded parent": Case(with_file(uri="package://zoo_core/%2e%2e/%2e%2e/hostname", name="a"), status=4),
    "a package that is a path": Case(with_file(uri="package://..%2f..%2fetc/hostname", name="a"), status=4),
    # No digest, or none of these bytes.
    "no digest": Case(with_file(sha256=None), says="no digest", status=5),
    "another digest": Case(with_file(sha256=ABSENT), says="wrong digest", status=5),
    "another sha1": Case(with_file(sha256=None, sha1Hash="0" * 40), says="wrong digest", status=5),
    "code with a weak digest": Case(
        with_files({"code": {"uri": "net.params.bin", "sha256Prefix": make.sha256(make.WEIGHTS)[:8]}}),
        says="full sha256",
        status=5,
    ),
    "a folder of no archive": Case(with_file(type="dir", name="a"), says="to become a folder", status=5),
}

# what is good, and looks odd -----------------------------------------------------------------------------------------

BENIGN = {
    "the plain one": Case(json.dumps(GOOD).encode(), status=0),
    "with white space": Case(json.dumps(GOOD, indent="\t").encode() + b"\r\n  ", status=0),
    "every escape of JSON": Case(raw('"Net"', r'"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"'), status=0),
    "letters of all the world": Case(with_document(name="\u041c\u043e\u0434 \u6a21\u578b \u0646\u0645 \U0001f600"), status=0),
    "unknown fields": Case(with_document(lastUpdated="2020-01-01T00:00:00.000Z", x=[{"y": None}]), status=0),
    "null everywhere": Case(with_document(name=None, description=None, licenses=None, website=None), status=0),
    "a number for a version": Case(with_artifact(version=2), status=0),
    "no version": Case(with_artifact(version=None), status=0),
    "a snapshot": Case(with_artifact(version="1.0-SNAPSHOT", snapshot=True), status=0),
    "a version with a build": Case(with_artifact(version="1.0.0+cu118"), status=0),
    "the size in words": Case(with_file(size="38"), status=0),
    "a wrong size": Case(with_file(size=7), status=0),
    "a digest in capitals": Case(with_file(sha256=make.sha256(make.WEIGHTS).upper()), status=0),
    "sha1 alone": Case(with_file(sha256=None, sha1Hash=make.sha1(make.WEIGHTS)), status=0),
    "a prefix alone": Case(with_file(sha256=None, sha256Prefix=make.sha256(make.WEIGHTS)[:8]), status=0),
    "an address with a dot": Case(with_file(uri="./net.params.bin"), status=0),
    "an address with a detour": Case(with_file(uri="../net/net.params.bin"), status=0),
    "an address with escapes": Case(with_file(uri="net%2eparams.bin"), status=0),
    "an address with a question": Case(with_file(uri="net.params.bin?download=true"), status=0),
    "a file in a folder": Case(with_file(uri="1.0/net.bin"), status=0, beside={"1.0/net.bin": make.WEIGHTS}),
    "a name with a space and dots": Case(with_file(name="my net v1.0 (final).bin"), status=0),
    "a name of other letters": Case(with_file(name="\u6a21\u578b.bin"), status=0),
    "an empty artifact": Case(with_artifact(files={}), status=0),
    "a neighbour without files": Case(
        changed(lambda document: document["artifacts"].append({"version": "0.1"})), status=0
    ),
    "arguments as deep as they may be": Case(
        raw('"files":', f'"arguments": {{"a": {nested(MAX_DEPTH - 1)}}}, "files":'), status=0
    ),
    "an id with slashes and capitals": Case(with_document(artifactId="Owner/Net-v1.0"), status=0),
    "a thousand properties": Case(with_artifact(properties={f"p{n}": n for n in range(MAX_ENTRIES)}), status=0),
    "a text as long as it may be": Case(with_document(description="x" * MAX_TEXT), status=0),
    "a thousand classes": Case(with_artifact(arguments={"classes": [f"class {n}" for n in range(1000)]}), status=0),
}  # fmt: skip


# how it is tried -----------------------------------------------------------------------------------------------------

#: Runs verbs on repositories, and looks at every write, process and connection on the way.
_TRY = """
import contextlib, io, json, os, sys, time, traceback
from zoo_core.cli.main import run

jobs, allowed, log = json.loads(open(sys.argv[1]).read()), sys.argv[2], []
WRITES = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.utime"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def watch(event, arguments):
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"):
        log.append([event, str(arguments)])
    elif event in ("socket.connect", "socket.getaddrinfo") and "127.0.0.1" not in str(arguments):
        log.append([event, str(arguments[1:])])
        raise OSError("the test refuses the network")
    elif event == "open" and arguments[2] & WRITING or event in WRITES:
        for place in arguments[:2] if event in ("os.rename", "os.link") else arguments[:1]:
            if isinstance(place, (str, bytes)) and not os.path.abspath(os.fsdecode(place)).startswith(allowed):
                log.append([event, os.fsdecode(place)])

for warmed in (["search", "--json"], ["info", "net"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run(warmed)
sys.addaudithook(watch)
told = {}
for name, (home, verbs) in jobs.items():
    os.environ["ZOO_HOME"] = home
    told[name] = found = []
    for verb in verbs:
        log.clear()
        out, err, began = io.StringIO(), io.StringIO(), time.monotonic()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = run(verb)
        except BaseException:
            status = traceback.format_exc()
        seen = [place for place in log if place[1] != os.devnull]
        found.append([status, out.getvalue(), err.getvalue(), seen, time.monotonic() - began])
with open(sys.argv[3], "w") as stream:
    json.dump(told, stream)
"""


@dataclass(frozen=True)
class Told:
    """What a verb said."""

    status: int
    out: str
    err: str
    seen: list[Any]
    seconds: float


Found = dict[str, dict[str, Told]]
VERBS = ("search", "info", "download")


def tried(folder: Path, repositories: dict[str, str], **variables: str) -> Found:
    """What the verbs say of repositories, in one process which may write below its own folder only."""
    commands = Commands(folder)
    jobs = {}
    for number, (name, address) in enumerate(repositories.items()):
        home = folder / "home" / str(number)
        verbs = [["search"], ["info", "net"], ["download", "net", "--no-progress"]]
        jobs[name] = (str(home), [[*verb, "--repository", address] for verb in verbs])
    (folder / "jobs.json").write_text(json.dumps(jobs))
    outside = folder.parent / f"{folder.name}-outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    (folder / "temporary").mkdir()
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder / "temporary"), **variables}
    done = commands.run(_TRY, folder / "jobs.json", f"{folder}/", folder / "told.json", **variables)
    assert not any((folder / "temporary").iterdir())
    assert done.status == 0, done.err
    assert [path.read_text() for path in outside.iterdir()] == ["mine"]
    told = json.loads((folder / "told.json").read_text())
    return {name: dict(zip(VERBS, (Told(*verb) for verb in verbs), strict=True)) for name, verbs in told.items()}


ALL = {
    f"{kind}: {name}": case
    for kind, cases in (("refused", REFUSED), ("harmless", HARMLESS), ("benign", BENIGN))
    for name, case in cases.items()
}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """All documents, each in a folder of its own; there is no network."""
    folder = tmp_path_factory.mktemp("local")
    repositories = {}
    for number, (name, case) in enumerate(ALL.items()):
        place = folder / "repositories" / str(number) / PLACE
        place.mkdir(parents=True)
        (place / "metadata.json").write_bytes(case.content)
        for beside, content in {"net.params.bin": make.WEIGHTS, **case.beside}.items():
            (place / beside).parent.mkdir(parents=True, exist_ok=True)
            (place / beside).write_bytes(content)
        repositories[name] = str(folder / "repositories" / str(number))
    return tried(folder, repositories, ZOO_OFFLINE="1")


def is_object(content: bytes) -> bool:
    """Whether an index can hold it."""
    try:
        msgspec.json.decode(content)
    except (ValueError, RecursionError):
        return False
    return True


#: Those that need no other host, and whose bytes an index can hold.
REMOTE = {name: case for name, case in ALL.items() if is_object(case.content) and case.status != 4}


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """The same on a web server, in an index each."""
    folder = tmp_path_factory.mktemp("remote")
    with serving() as site:
        repositories = {}
        for number, (name, case) in enumerate(REMOTE.items()):
            index = b'{"indexVersion": 1, "documents": [{"path": "%s/metadata.json", "metadata": %s}]}'
            site.pages[f"/{number}/index.json"] = index % (PLACE.encode(), case.content)
            for beside, content in {"net.params.bin": make.WEIGHTS, **case.beside}.items():
                site.pages[f"/{number}/{PLACE}/{beside}"] = content
            site.pages[f"/{number}/{PLACE}/net.params.bin?download=true"] = make.WEIGHTS
            site.pages[f"/{number}/{PLACE}/net%2eparams.bin"] = make.WEIGHTS
            repositories[name] = f"{site.url}{number}/"
        yield tried(folder, repositories)


def assert_clear(told: dict[str, Told]) -> None:
    """Whatever is said is said in lines, to people, soon, and nothing else was done."""
    for verb, found in told.items():
        assert isinstance(found.status, int), found.status
        assert found.seen == [], (verb, found.seen)
        assert "Traceback" not in found.err
        lines = found.out + found.err
        assert not [char for char in lines if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
        assert sum(line.startswith("error:") for line in found.err.splitlines()) == (found.status != 0)
        assert max(map(len, found.err.splitlines()), default=0) < 5000
        assert found.seconds < 10


def assert_told(told: dict[str, Told], case: Case) -> None:
    assert_clear(told)
    download = told["download"]
    if case.field is None:
        assert told["search"].status == 0
        assert "net" in told["search"].out or "Net" in told["search"].out
        assert download.status == case.status, download.err
        assert case.says in download.err
        if case.status == 0:
            assert Path(download.out.rstrip("\n")).is_dir()
        return
    assert (told["search"].status, told["search"].out) == (0, "")
    for verb in (told["search"], download):
        assert "metadata.json" in verb.err or "index.json" in verb.err
        assert f" {case.field}" in verb.err
        assert case.says in verb.err
    assert (download.status, download.out) == (case.status, "")


def test_there_are_enough_of_them() -> None:
    assert len(REFUSED) + len(HARMLESS) >= 100
    assert len(BENIGN) >= 20


@pytest.mark.parametrize("name", [f"refused: {name}" for name in REFUSED])
def test_a_hostile_document_in_a_folder_is_one_clear_line_with_file_and_field(local: Found, name: str) -> None:
    assert_told(local[name], ALL[name])


@pytest.mark.parametrize("name", [f"harmless: {name}" for name in HARMLESS])
def test_one_that_is_taken_does_no_harm(local: Found, name: str) -> None:
    assert_told(local[name], ALL[name])


@pytest.mark.parametrize("name", [f"benign: {name}" for name in BENIGN])
def test_a_good_one_is_taken_however_odd_it_looks(local: Found, name: str) -> None:
    assert_told(local[name], ALL[name])


@pytest.mark.parametrize("name", REMOTE)
def test_it_is_the_same_from_a_server(remote: Found, name: str) -> None:
    assert_told(remote[name], ALL[name])


# what only a server's document must not name -------------------------------------------------------------------------

LOCAL_ONLY = {
    "a package": "package://zoo_core/py.typed",
    "a package in capitals": "PACKAGE://zoo_core/py.typed",
    "a package with a port": "package://zoo_core:80/py.typed",
}


# what an index may say -----------------------------------------------------------------------------------------------

ENTRY = {"path": f"{PLACE}/metadata.json", "metadata": GOOD}


def index(**fields: Any) -> bytes:
    return json.dumps({"indexVersion": 1, "documents": [ENTRY], **fields}).encode()


def path(text: str) -> bytes:
    return index(documents=[{**ENTRY, "path": text}])


INDEXES: dict[str, bytes] = {
    "no JSON": b"<html>Log in</html>",
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "no version": b'{"documents": []}',
    "no documents": b'{"indexVersion": 1}',
    "a later version": index(indexVersion=2),
    "documents that are an object": index(documents={}),
    "documents that are text": index(documents="x"),
    "an entry that is text": index(documents=["x"]),
    "an entry without a path": index(documents=[{"metadata": GOOD}]),
    "an entry without a document": index(documents=[{"path": ENTRY["path"]}]),
    "a path that is a number": index(documents=[{**ENTRY, "path": 7}]),
    "a document that is null": index(documents=[{**ENTRY, "metadata": None}]),
    "a document that is text": index(documents=[{**ENTRY, "metadata": "{}"}]),
    "a path that leads out": path("../../../etc/metadata.json"),
    "a path that leads out later": path("model/../../x/y/net/metadata.json"),
    "an absolute path": path("//evil.example/model/cv/com/example/net/metadata.json"),
    "a path with a backslash": path("model\\cv\\..\\..\\x/com/example/net/metadata.json"),
    "a path with a NUL": path("model/cv/com/exam\0ple/net/metadata.json"),
    "a path with a command": path("model/cv/\x1b[2J/example/net/metadata.json"),
    "a path that turns around": path("model/cv/\u202eelpmaxe/net/metadata.json"),
    "a path without end": path("model/" + "x/" * 5000 + "metadata.json"),
    "bytes that are no UTF-8": index().replace(b"com.example", b"com.ex\xffmple"),
    "half a surrogate pair": index().replace(b'"Net"', b'"\\ud800"'),
    "deeper than a stack": b'{"indexVersion": 1, "documents": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "something behind it": index() + b"{}",
    "an end that is missing": index()[:-1],
    **{
        f"a document that names {name}": index(
            documents=[{**ENTRY, "metadata": json.loads(with_file(uri=uri, name="a"))}]
        )
        for name, uri in LOCAL_ONLY.items()
    },
}  # fmt: skip
GOOD_INDEXES: dict[str, bytes] = {
    "unknown fields": index(generator="x", documents=[{**ENTRY, "more": [1]}]),
    "one document twice": index(documents=[ENTRY, ENTRY]),
    "a digest that is not heeded": index(documents=[{**ENTRY, "sha256": "x"}]),
    "a path that is another's": path("model/nlp/org/other/thing/metadata.json"),
}


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    with serving() as site:
        repositories = {}
        for number, (name, content) in enumerate({**INDEXES, **GOOD_INDEXES}.items()):
            site.pages[f"/{number}/index.json"] = content
            for place in (PLACE, "model/nlp/org/other/thing"):
                site.pages[f"/{number}/{place}/net.params.bin"] = make.WEIGHTS
            repositories[name] = f"{site.url}{number}/"
        yield tried(tmp_path_factory.mktemp("indexed"), repositories)


@pytest.mark.parametrize("name", INDEXES)
def test_a_hostile_index_is_one_clear_line(indexed: Found, name: str) -> None:
    told = indexed[name]
    assert_clear(told)
    assert (told["search"].out, told["download"].out) == ("", "")
    assert told["download"].status == 5, told["download"].err
    assert "index.json: " in told["download"].err or ": $" in told["download"].err


@pytest.mark.parametrize("name", GOOD_INDEXES)
def test_a_good_one_is_read(indexed: Found, name: str) -> None:
    told = indexed[name]
    assert_clear(told)
    assert told["search"].out.startswith(("com.example/net@1.0", "other/thing@1.0"))
