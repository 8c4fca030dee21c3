"""The zip files in which torch keeps programs: entries by their names in its one folder, and files of our own written alike.

Tensors are stored and not compressed, so that they can be mapped. What we write is the same for the same
entries: no time, no random id, so that a program keeps its digest.

Source of the format: PKWARE's APPNOTE.TXT, section 4.3.7 (local file header).
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Container, Mapping
from typing import BinaryIO

from zoo_core import ParameterError, ZipArchive

#: An entry's content begins behind it, its name and its extra fields.
LOCAL_HEADER_SIZE = 30
#: torch aligns the entries so, and refuses none that are not; a mapped weight wants it.
ALIGNMENT = 64
#: The extra field in which torch pads: an id that is free, then the size.
PADDING = struct.Struct("<HH")
PADDING_ID = int.from_bytes(b"FB", "little")


class ProgramArchive:
    """The entries of a program by their names below its one folder, which torch names as it likes.

    Attributes:
        names: The names.

    Raises:
        ParameterError: It is no zip file, or one that no torch writes: two entries of one name, two folders.
    """

    def __init__(self, content: memoryview) -> None:
        self._archive = ZipArchive(content, name="the program")
        paths = {name: name.partition("/") for name in self._archive.names}
        if len({folder for folder, _, _ in paths.values()}) != 1:
            raise ParameterError("the program is a zip file without the one folder that torch writes")
        self._entries = {inside: name for name, (_, _, inside) in paths.items()}
        self.names = self._entries.keys()

    def stored(self) -> dict[str, memoryview]:
        """All entries as they lie in the file.

        Raises:
            ParameterError: One is compressed, encrypted, or not where the directory says.
        """
        return {inside: self._archive.stored(name) for inside, name in self._entries.items()}

    def contents(self) -> dict[str, memoryview]:
        """All entries; TorchScript's code is compressed.

        Raises:
            ParameterError: One is encrypted or damaged, or grows beyond all measure.
        """
        return {inside: self._archive.content(name) for inside, name in self._entries.items()}

    def write_without(self, unneeded: Container[str], stream: BinaryIO) -> None:
        """Write the file so that readers find all entries but some."""
        self._archive.write_without({name for inside, name in self._entries.items() if inside in unneeded}, stream)


def written(content: Mapping[str, bytes | memoryview]) -> bytes:
    """A zip file that torch reads, with its entries in one folder, in the given order."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, value in content.items():
            info = zipfile.ZipInfo(f"program/{name}")
            info.extra = _padding(stream.tell() + LOCAL_HEADER_SIZE + len(info.filename))
            archive.writestr(info, value)
    return stream.getvalue()


def _padding(start: int) -> bytes:
    """An extra field behind which the entry's content is aligned."""
    size = -(start + PADDING.size) % ALIGNMENT
    return PADDING.pack(PADDING_ID, size) + bytes(size)
