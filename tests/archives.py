"""Archives made by hand, good ones and others."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping

Members = Mapping[str, bytes] | Iterable[tuple[str, bytes]]


def zipped(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file; the same name may stand in it twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in _pairs(members):
            archive.writestr(zipfile.ZipInfo(name), content, method, compresslevel=1)
    return file.getvalue()


def tarred(
    members: Members, *, mode: str = "w", format: int = tarfile.PAX_FORMAT, more: Iterable[tarfile.TarInfo] = ()
) -> bytes:
    """A tar file, with members that are no files behind the others; ``w:gz``, ``w:bz2`` and ``w:xz`` compress it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=format) as archive:  # type: ignore[call-overload]  # any mode
        for name, content in _pairs(members):
            archive.addfile(member(name, size=len(content)), io.BytesIO(content))
        for item in more:
            archive.addfile(item)
    return file.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    """The head of a member of a tar file."""
    item = tarfile.TarInfo(name)
    item.type, item.size, item.linkname = kind, size, link
    return item


def head(name: str, kind: bytes, size: int) -> bytes:
    """The 512 bytes that describe a member, whatever follows."""
    return member(name, kind, size=size).tobuf(tarfile.GNU_FORMAT)


def padded(content: bytes) -> bytes:
    """A content as it lies in a tar file."""
    return content + bytes(-len(content) % 512)


def extended(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    """An extended header: ``x`` or ``g`` with records, ``L`` or ``K`` with a name; it may claim another size."""
    return head("header", kind, len(content) if size is None else size) + padded(content)


def record(key: str, value: str) -> bytes:
    """A record of a pax header, with its own length in front."""
    text, length = f" {key}={value}\n".encode(), 0
    while length != len(text) + len(str(length)):
        length = len(text) + len(str(length))
    return str(length).encode() + text


#: The end of a tar file.
END = bytes(1024)


def entry(name: str, content: bytes = b"", *, mode: int = 0o100644, method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file with one entry of a mode, as Unix writes it."""
    file = io.BytesIO()
    info = zipfile.ZipInfo(name)
    info.external_attr, info.create_system = mode << 16, 3
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(info, content, method)
    return file.getvalue()


def renamed(archive: bytes, old: bytes, new: bytes) -> bytes:
    """A zip file in which a name is replaced by one of the same length, as no writer would."""
    assert len(old) == len(new)
    assert archive.count(old) >= 2
    return archive.replace(old, new)


def flagged(archive: bytes, at_local: int, at_central: int, value: bytes) -> bytes:
    """A zip file whose headers have other bytes at an offset: that of the first entry, and each of the directory."""
    changed = bytearray(archive)
    changed[at_local : at_local + len(value)] = value
    at = changed.find(b"PK\x01\x02")
    while at >= 0:
        changed[at + at_central : at + at_central + len(value)] = value
        at = changed.find(b"PK\x01\x02", at + 4)
    return bytes(changed)


def squeezed(content: bytes) -> bytes:
    """Compressed as gzip does, quickly."""
    return gzip.compress(content, compresslevel=1)


def _pairs(members: Members) -> Iterable[tuple[str, bytes]]:
    return members.items() if isinstance(members, Mapping) else members
