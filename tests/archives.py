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


def squeezed(content: bytes) -> bytes:
    """Compressed as gzip does, quickly."""
    return gzip.compress(content, compresslevel=1)


def _pairs(members: Members) -> Iterable[tuple[str, bytes]]:
    return members.items() if isinstance(members, Mapping) else members
