"""The entries of a zip file, those that lie in it as they are as parts of the mapped file.

Source of the format: PKWARE's APPNOTE.TXT, sections 4.3.7 (local file header) and 4.4.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from zoo_core.parameters.source import Source

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Container, KeysView
    from typing import BinaryIO

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


class ZipArchive:
    """The entries of a zip file, as views of it; what is compressed is inflated within bounds.

    For readers of files that are zip files inside, as ``.pth``, ``.pt2`` and TorchScript are. Nothing is written to the disk.

    Args:
        content: The bytes of the file, mapped or in memory; they are not copied.
        name: What messages call it.

    Raises:
        ParameterError: The file is no whole zip file, or a name stands twice in it.

    >>> import io, zipfile
    >>> stream = io.BytesIO()
    >>> with zipfile.ZipFile(stream, "w") as file:
    ...     file.writestr("net/weights", b"1234")
    >>> archive = ZipArchive(memoryview(stream.getvalue()), name="net.zip")
    >>> list(archive.names), bytes(archive.stored("net/weights"))
    (['net/weights'], b'1234')
    """

    def __init__(self, content: memoryview, *, name: str) -> None:
        # It takes longer to import than a safetensors file takes to open.
        import zipfile

        self._source = Source(name, content)
        try:
            self._file = zipfile.ZipFile(Window(content))
        except (*DAMAGED, zipfile.BadZipFile) as error:
            raise self._source.malformed(f"is no whole zip file: {error}") from error
        infos = self._file.infolist()
        self._entries = {info.filename: info for info in infos}
        if len(self._entries) != len(infos):
            raise self._source.malformed("two entries of the zip file have one name, and readers differ in which they take")
        self._left = max(MAX_INFLATION * len(content), FREE_TOTAL)

    @property
    def names(self) -> KeysView[str]:
        """The entries' names, in the order of the directory."""
        return self._entries.keys()

    def span(self, name: str) -> tuple[int, int]:
        """Where an entry's bytes lie: offset and size.

        Raises:
            ParameterError: There is no such entry, or it is compressed, encrypted or beyond the end.
        """
        info = self._entries.get(name)
        if info is None:
            raise self._source.malformed(f"the zip file has no entry {name!r}")
        if info.compress_type != STORED or info.flag_bits & ENCRYPTED or info.compress_size != info.file_size:
            raise self._source.malformed(f"entry {name!r} is compressed or encrypted; torch stores entries as they are")
        start = self._begin(info)
        if start + info.file_size > len(self._source.data):
            raise self._source.malformed(f"entry {name!r} goes beyond the end of the file")
        return start, info.file_size

    def stored(self, name: str) -> memoryview:
        """An entry as it lies in the file, not copied.

        Raises:
            ParameterError: As for `span`.
        """
        start, size = self.span(name)
        return self._source.data[start : start + size]

    def content(self, name: str) -> memoryview:
        """An entry's bytes: where it is stored as it is, as it lies in the file, else inflated.

        Raises:
            ParameterError: There is no such entry, it is encrypted or damaged, or it grows beyond all measure.
        """
        info = self._entries.get(name)
        if info is not None and info.compress_type == DEFLATED:
            return memoryview(self._inflated(info))
        return self.stored(name)

    def write_without(self, unneeded: Container[str], stream: BinaryIO) -> None:
        """Write a zip file whose directory lacks some entries; what lies in them stays.

        Nothing is compared with its checksum, so that this costs as little as writing the file does.

        Args:
            unneeded: The names of the entries.
            stream: Empty, and open for writing.

        Raises:
            ParameterError: The directory says what none can say.
        """
        import zipfile

        stream.write(self._source.data[: self._file.start_dir])
        try:
            # It begins where the stream stands; closed, it writes the directory of what it believes to hold.
            with zipfile.ZipFile(stream, "w") as archive:
                archive.filelist = [info for name, info in self._entries.items() if name not in unneeded]
        except (ValueError, OverflowError, struct.error) as error:
            raise self._source.malformed(f"is no whole zip file: {error}") from error

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
            with self._file.open(info) as stream:
                while chunk := stream.read(CHUNK):
                    content += chunk
        except (*DAMAGED, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise self._source.malformed(f"entry {info.filename!r} cannot be read: {error}") from error
        return content

    def _begin(self, info: zipfile.ZipInfo) -> int:
        # The local header repeats the name and has other extra fields (torch aligns with them) than the directory.
        at, end = info.header_offset, info.header_offset + LOCAL_HEADER.size
        header = bytes(self._source.data[at:end]) if at >= 0 and end <= len(self._source.data) else b""
        if not header.startswith(MAGIC):
            raise self._source.malformed(f"entry {info.filename!r} does not lie where the directory says")
        name, extra = LOCAL_HEADER.unpack(header)
        return end + int(name) + int(extra)


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
