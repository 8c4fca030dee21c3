"""The directory of a zip file whose entries lie in it as they are, so that they can be mapped.

Source of the format: PKWARE's APPNOTE.TXT, sections 4.3.7 (local file header) and 4.4.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Mapping

    from zoo_core.parameters.source import Source

#: What a zip file begins with; the one that begins otherwise is no file of torch.
MAGIC = b"PK\x03\x04"

#: The largest directory that is read, in bytes: enough for 200 000 tensors.
MAX_DIRECTORY = 16 * 2**20

#: It ends in the lengths of the name and of the extra fields.
LOCAL_HEADER = struct.Struct("<26xHH")

STORED = 0
ENCRYPTED = 0x1


class Archive:
    """The entries of a zip file.

    Args:
        source: The file.

    Attributes:
        entries: Name -> entry.

    Raises:
        ParameterError: The file is no zip file, or a name stands twice in it.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        infos = _directory(source)
        self.entries: Mapping[str, zipfile.ZipInfo] = {info.filename: info for info in infos}
        if len(self.entries) != len(infos):
            raise source.malformed("two entries of the zip file have one name, and readers differ in which they take")

    def span(self, name: str) -> tuple[int, int]:
        """Where an entry's bytes lie: offset and size.

        Raises:
            ParameterError: There is no such entry, or it is compressed, encrypted or beyond the end.
        """
        info = self.entries.get(name)
        if info is None:
            raise self._source.malformed(f"the zip file has no entry {name!r}")
        if info.compress_type != STORED or info.flag_bits & ENCRYPTED or info.compress_size != info.file_size:
            raise self._source.malformed(f"entry {name!r} is compressed or encrypted; torch.save stores entries as they are")
        start = self._content(info)
        if start + info.file_size > len(self._source.data):
            raise self._source.malformed(f"entry {name!r} goes beyond the end of the file")
        return start, info.file_size

    def read(self, name: str) -> bytes:
        """An entry's bytes, copied."""
        start, size = self.span(name)
        return bytes(self._source.data[start : start + size])

    def _content(self, info: zipfile.ZipInfo) -> int:
        # The local header repeats the name and has other extra fields (torch aligns with them) than the directory.
        at, end = info.header_offset, info.header_offset + LOCAL_HEADER.size
        header = bytes(self._source.data[at:end]) if at >= 0 and end <= len(self._source.data) else b""
        if not header.startswith(MAGIC):
            raise self._source.malformed(f"entry {info.filename!r} does not lie where the directory says")
        name, extra = LOCAL_HEADER.unpack(header)
        return end + int(name) + int(extra)


def _directory(source: Source) -> list[zipfile.ZipInfo]:
    # It takes longer to import than a safetensors file takes to open.
    import zipfile

    try:
        with zipfile.ZipFile(_Window(source.data)) as archive:
            return archive.infolist()
    # What zipfile raises on damaged files.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, OverflowError, EOFError, struct.error) as error:
        raise source.malformed(f"the zip file's directory cannot be read: {error}") from error


class _Window:
    """Mapped bytes as the file that `zipfile` wants, without a copy and with a bound on what it takes at once."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        if at < 0:
            raise OSError("a position before the beginning")
        self._at = at
        return at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        end = len(self._data) if size < 0 else min(self._at + size, len(self._data))
        if end - self._at > MAX_DIRECTORY:
            raise OSError(f"more than {MAX_DIRECTORY} bytes")
        content = bytes(self._data[self._at : end])
        self._at += len(content)
        return content
