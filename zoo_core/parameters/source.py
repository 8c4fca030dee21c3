"""The bytes of one parameter file, mapped or in memory, and a cursor that never leaves them."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from zoo_core.errors import ParameterError
from zoo_core.wording import bytes_text, printable


@dataclass(frozen=True, eq=False)
class Source:
    """The whole content of one file.

    Attributes:
        name: What messages call it.
        data: Its bytes; writable, because MXNet dies at its first write to a read-only map. Nothing is written to the file.
    """

    name: str
    data: memoryview

    def malformed(self, fact: str) -> ParameterError:
        """The error that says what is wrong with this file; facts may hold foreign text."""
        return ParameterError(f"{self.name}: {printable(fact)}")


ParameterSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Source


def open_source(source: ParameterSource) -> Source:
    """Map a file copy-on-write, or take bytes and streams whole; what was opened already is given back.

    Raises:
        ParameterError: The file cannot be opened, or the stream gives no bytes.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return Source("the given bytes", memoryview(bytearray(source)))
    if isinstance(source, str | os.PathLike):
        return Source(printable(os.fspath(source)), _mapped(Path(source)))
    content = source.read()
    if not isinstance(content, bytes):
        raise ParameterError(f"the given stream gives {type(content).__name__}, no bytes: open it in binary mode")
    return Source(printable(str(getattr(source, "name", "the given stream"))), memoryview(bytearray(content)))


def _mapped(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            # An empty file cannot be mapped.
            return memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY) if size else b"")
    except (OSError, ValueError) as error:
        # ValueError: a NUL character in the path.
        reason = getattr(error, "strerror", None) or error
        raise ParameterError(f"{printable(str(path))} cannot be read: {reason}") from error


class Cursor:
    """A position in a source that moves forward and never past its end."""

    def __init__(self, source: Source, at: int = 0) -> None:
        self.source = source
        self.at = at

    def skip(self, size: int, what: str) -> int:
        """Step over bytes and return where they begin.

        Raises:
            ParameterError: The file ends before.
        """
        start, left = self.at, len(self.source.data) - self.at
        if size > left:
            raise self.source.malformed(f"ends within {what}: {bytes_text(size)} are promised, {bytes_text(left)} are left")
        self.at += size
        return start

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        """Read little-endian values, as `struct` writes their layout."""
        return struct.unpack_from(f"<{layout}", self.source.data, self.skip(struct.calcsize(f"<{layout}"), what))

    def integer(self, layout: str, what: str) -> int:
        """Read one little-endian integer."""
        value: int = self.unpack(layout, what)[0]
        return value

    def finish(self) -> None:
        """Demand that nothing follows.

        Raises:
            ParameterError: Bytes are left, so that some size before them is wrong.
        """
        left = len(self.source.data) - self.at
        if left:
            raise self.source.malformed(f"{bytes_text(left)} follow the last tensor and belong to none")
