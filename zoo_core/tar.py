"""The members of a tar file, read once from its beginning to its end, in memory that no header decides.

`tarfile` of Python reads whatever size a header claims for a long name or for extended attributes into memory at once, calls
itself for each header of a header, and keeps all members; so this reader is our own, and much smaller.

Source of the format: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; the manual of GNU tar, "Basic Tar
Format", for long names and base-256 numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

import msgspec

BLOCK = 512
CHUNK = 1 << 20
#: Bytes of one extended header: attributes of a file system may be some 100 kB, a name is at most a few kB.
MAX_EXTENDED = 1 << 20
#: Extended headers before one member; writers make two at most.
MAX_EXTENDED_IN_A_ROW = 16
#: What no size of a file system reaches, so that sums stay small numbers.
MAX_SIZE = 1 << 60

FILE, FOLDER, LINK = "file", "folder", "hard link"
_KINDS = {
    b"0": FILE, b"\0": FILE, b"7": FILE, b"5": FOLDER, b"1": LINK,
    b"2": "symbolic link", b"3": "device", b"4": "device", b"6": "named pipe", b"S": "sparse file",
}  # fmt: skip
_PAX, _GLOBAL_PAX, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_POSIX_MAGIC = b"ustar\0"
#: What we heed of extended headers; a global one may set none of them.
_HEEDED = ("path", "linkpath", "size")
_OCTAL = re.compile(rb"[ \0]*([0-7]*)[ \0]*")


class TarError(Exception):
    """The bytes are no tar file, or one that cannot be read safely; the message is a fact about them."""


class Readable(Protocol):
    """What gives bytes, in any pieces."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a tar file says of a member.

    Attributes:
        name: Bytes that are no UTF-8 are lone surrogates in it.
        kind: ``file``, ``folder``, ``hard link``, or what else it is, for a message.
        size: Bytes of content; 0 where it is no file.
        link: The name of the member that a hard link means.
    """

    name: str
    kind: str
    size: int
    link: str = ""


class TarReader:
    """The members of a tar stream, one after the other.

    Args:
        stream: The bytes, not compressed.

    Raises:
        TarError: While members or contents are read.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._left = self._padding = 0

    def __iter__(self) -> Iterator[Head]:
        """The members; what was not read of a content is stepped over."""
        is_first = True
        while (head := self._next(is_first=is_first)) is not None:
            is_first = False
            yield head
            for _ in self.content():
                pass

    def content(self) -> Iterator[bytes]:
        """The content of the member that was given last, in pieces of at most `CHUNK` bytes."""
        while self._left:
            yield self._some(min(self._left, CHUNK))
        self._exactly(self._padding)
        self._padding = 0

    def _next(self, *, is_first: bool) -> Head | None:
        extended: dict[str, bytes] = {}
        for _ in range(MAX_EXTENDED_IN_A_ROW):
            block = self._block(is_first=is_first)
            if block is None:
                if extended:
                    raise TarError("it ends behind an extended header")
                return None
            is_first = False
            kind, size = block[156:157], _number(block[124:136])
            if kind in (_PAX, _GLOBAL_PAX, _LONG_NAME, _LONG_LINK):
                self._extend(extended, kind, size)
            else:
                return self._head(block, kind, size, extended)
        raise TarError(f"more than {MAX_EXTENDED_IN_A_ROW} extended headers stand before one member")

    def _block(self, *, is_first: bool) -> bytes | None:
        """The next header; None at the end, which is a block of zeros, or where nothing follows."""
        block = self._up_to(BLOCK)
        if is_first and len(block) < BLOCK:
            raise TarError("it is no tar file")
        if not block or not any(block):
            return None
        if len(block) < BLOCK:
            raise TarError("it ends within a header")
        if not _is_checksum_right(block):
            raise TarError("it is no tar file" if is_first else "a header has a wrong checksum")
        return block

    def _extend(self, extended: dict[str, bytes], kind: bytes, size: int) -> None:
        if size > MAX_EXTENDED:
            raise TarError(f"an extended header has {size} bytes, and {MAX_EXTENDED} are allowed")
        content = self._exactly(size)
        self._exactly(-size % BLOCK)
        if kind in (_LONG_NAME, _LONG_LINK):
            extended["path" if kind == _LONG_NAME else "linkpath"] = content.partition(b"\0")[0]
            return
        records = _records(content)
        sparse = next((key for key in records if key.startswith("GNU.sparse.")), None)
        heeded = {key: records[key] for key in _HEEDED if key in records}
        if sparse is not None or (kind == _GLOBAL_PAX and heeded):
            raise TarError(f"an extended header sets {sparse or next(iter(heeded))} in a way that no archive of models needs")
        extended.update(heeded)

    def _head(self, block: bytes, kind: bytes, size: int, extended: dict[str, bytes]) -> Head:
        name = extended.get("path", _name(block))
        if "size" in extended:
            size = _decimal(extended["size"])
        described = _KINDS.get(kind, f"member of kind {kind!r}")
        # Before there was a kind for folders, a slash at the end told them.
        if described == FILE and name.endswith(b"/"):
            described = FOLDER
        if described != FILE and size:
            raise TarError(f"'{_text(name)}' is a {described} and has a content, and readers differ in what follows")
        self._left, self._padding = size, -size % BLOCK
        link = extended.get("linkpath", block[157:257].partition(b"\0")[0])
        return Head(name=_text(name), kind=described, size=size, link=_text(link))

    def _some(self, size: int) -> bytes:
        content = self._stream.read(size)
        if not content:
            raise TarError("it ends within a member")
        self._left -= len(content)
        return content

    def _exactly(self, size: int) -> bytes:
        content = self._up_to(size)
        if len(content) < size:
            raise TarError("it ends within a member")
        return content

    def _up_to(self, size: int) -> bytes:
        pieces, left = [], size
        while left and (piece := self._stream.read(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)


def _is_checksum_right(block: bytes) -> bool:
    """Whether a header's bytes add up; historic writers added them as signed numbers."""
    match = _OCTAL.fullmatch(block[148:156])
    if match is None or not match[1]:
        return False
    plain = block[:148] + b" " * 8 + block[156:]
    total = sum(plain)
    return int(match[1], 8) in (total, total - 256 * sum(byte > 127 for byte in plain))


def _number(field: bytes) -> int:
    """A size: octal digits, or a number in base 256 where they are too few."""
    if field[0] in (0x80, 0xFF):
        number = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    else:
        match = _OCTAL.fullmatch(field)
        number = int(match[1] or b"0", 8) if match is not None else -1
    return _checked(number)


def _decimal(text: bytes) -> int:
    return _checked(int(text) if re.fullmatch(rb"[0-9]{1,20}", text) else -1)


def _checked(number: int) -> int:
    if not 0 <= number < MAX_SIZE:
        raise TarError("a header has a size that is no size")
    return number


def _name(block: bytes) -> bytes:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == _POSIX_MAGIC else b""
    return prefix + b"/" + name if prefix else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _records(content: bytes) -> dict[str, bytes]:
    r"""The records of a pax header: ``<length> <key>=<value>\n``, the length that of the whole record."""
    records: dict[str, bytes] = {}
    at = 0
    while at < len(content) and content[at]:
        space = content.find(b" ", at, at + 10)
        digits = content[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not equals or not key or end > len(content) or content[end - 1 : end] != b"\n":
            raise TarError("an extended header is malformed")
        records[key.decode("utf-8", "replace")] = value
        at = end
    return records
