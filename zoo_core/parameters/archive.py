"""The directory of a zip file whose entries lie in it as they are, so that they can be mapped.

Source of the format: PKWARE's APPNOTE.TXT, sections 4.3.7 (local file header) and 4.4.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from zoo_core.parameters.source import Source
from zoo_core.wording import printable

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Mapping

#: What a zip file begins with; the one that begins otherwise is no file of torch.
MAGIC = b"PK\x03\x04"

#: The largest directory that is read, in bytes: enough for 200 000 tensors.
MAX_DIRECTORY = 16 * 2**20

#: What zipfile raises on damaged files besides its own error.
DAMAGED = (NotImplementedError, ValueError, OSError, OverflowError, EOFError, struct.error)

#: It ends in the lengths of the name and of the extra fields.
LOCAL_HEADER = struct.Struct("<26xHH")

#: Values of parameters compress to no less than half; an entry that inflates to more than so many times its size is no file of
#: ours, unless it is as small as texts are.
MAX_INFLATION = 64
FREE_INFLATION = 16 * 2**20
#: What all entries of a small file together may inflate to, in bytes: their compressed bytes may be the same ones.
FREE_TOTAL = 1 << 28
CHUNK = 1 << 20

STORED, DEFLATED = 0, 8
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
        self._left = max(MAX_INFLATION * len(source.data), FREE_TOTAL)

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

    def extracted(self, name: str) -> Source:
        """An entry as a file of its own: where it is stored as it is, a part of the mapped file, else inflated.

        Raises:
            ParameterError: There is no such entry, it is encrypted or damaged, or it grows beyond all measure.
        """
        info, place = self.entries.get(name), f"{self._source.name}: {printable(name)}"
        if info is not None and info.compress_type == DEFLATED:
            return Source(place, memoryview(self._inflated(info)))
        start, size = self.span(name)
        return Source(place, self._source.data[start : start + size])

    def _inflated(self, info: zipfile.ZipInfo) -> bytearray:
        import zipfile
        import zlib

        # No entry has more bytes than the file, whatever the directory says.
        compressed = min(info.compress_size, len(self._source.data))
        bound = min(max(MAX_INFLATION * compressed, FREE_INFLATION), self._left)
        if info.file_size > bound:
            raise self._source.malformed(f"entry {info.filename!r} inflates to {info.file_size} bytes; {bound} are allowed")
        self._left -= info.file_size
        content = bytearray()
        try:
            # It stops at the size that the directory says.
            with zipfile.ZipFile(Window(self._source.data)) as archive, archive.open(info) as stream:
                while chunk := stream.read(CHUNK):
                    content += chunk
        except (*DAMAGED, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise self._source.malformed(f"entry {info.filename!r} cannot be read: {error}") from error
        return content

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
        with zipfile.ZipFile(Window(source.data)) as archive:
            return archive.infolist()
    except (*DAMAGED, zipfile.BadZipFile) as error:
        raise source.malformed(f"the zip file's directory cannot be read: {error}") from error


class Window(io.RawIOBase):
    """Mapped bytes as the file that `zipfile` and `tarfile` want, without a copy and with a bound on what it takes at once."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position, which may lie behind the end."""
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        if at < 0:
            raise OSError("a position before the beginning")
        self._at = at
        return at

    def tell(self) -> int:
        """The position."""
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; fewer at the end."""
        end = len(self._data) if size < 0 else min(self._at + size, len(self._data))
        if end - self._at > MAX_DIRECTORY:
            raise OSError(f"more than {MAX_DIRECTORY} bytes")
        content = bytes(self._data[self._at : end])
        self._at += len(content)
        return content
