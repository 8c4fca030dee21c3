"""The zip files in which torch keeps programs: their entries as views of the file, and files of our own written alike.

Tensors are stored and not compressed, so that they can be mapped. What we write is the same for the same
entries: no time, no random id, so that a program keeps its digest.

Source of the format: PKWARE's APPNOTE.TXT, sections 4.3.7 (local file header) and 4.4.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from zoo_core import ParameterError

#: What zipfile raises on damaged files besides its own error.
DAMAGED = (NotImplementedError, ValueError, OSError, OverflowError, EOFError, struct.error)
#: It ends in the lengths of the name and of the extra fields.
LOCAL_HEADER = struct.Struct("<4s22xHH")
LOCAL_MAGIC = b"PK\x03\x04"
#: More is no directory; enough for 200 000 entries.
MAX_READ = 16 * 2**20
#: torch aligns the entries so, and refuses none that are not; a mapped weight wants it.
ALIGNMENT = 64
#: TorchScript's code of one file is text of some kilobytes.
MAX_INFLATED = 16 * 2**20
#: The extra field in which torch pads: an id that is free, then the size.
PADDING = struct.Struct("<HH")
PADDING_ID = int.from_bytes(b"FB", "little")
ENCRYPTED = 0x1


def entries(content: memoryview, *, inflated: bool = False) -> dict[str, memoryview]:
    """The entries of a zip file by their names below its one folder, which torch names as it likes.

    Args:
        content: The file.
        inflated: Read compressed entries too, as TorchScript's code is; others are views of the file.

    Raises:
        ParameterError: It is no zip file, or one that no torch writes: two entries of one name, two folders.
    """
    with _damage_is_refused(), zipfile.ZipFile(_Window(content)) as archive:
        infos = archive.infolist()
        _check_names([info.filename for info in infos])
        return {
            info.filename.partition("/")[2]: (
                _inflated(archive, info) if inflated and info.compress_type != zipfile.ZIP_STORED else _span(content, info)
            )
            for info in infos
        }


def names(content: memoryview) -> list[str]:
    """The names of a zip file's entries, as `entries` has them.

    Raises:
        ParameterError: It is no zip file, or one that no torch writes.
    """
    with _damage_is_refused(), zipfile.ZipFile(_Window(content)) as archive:
        found = archive.namelist()
    _check_names(found)
    return [name.partition("/")[2] for name in found]


def without(content: memoryview, unneeded: Container[str], stream: BinaryIO) -> None:
    """Write a zip file whose directory lacks some entries, by their names as `entries` has them; what lies in them stays.

    Nothing is compared with its checksum here, so that this costs as little as writing the file does.

    Raises:
        ParameterError: It is no whole zip file.
    """
    with _damage_is_refused():
        with zipfile.ZipFile(_Window(content)) as archive:
            kept = [info for info in archive.infolist() if info.filename.partition("/")[2] not in unneeded]
            start = archive.start_dir
        stream.write(content[:start])
        # It begins where the stream stands; closed, it writes the directory of what it believes to hold.
        with zipfile.ZipFile(stream, "w") as archive:
            archive.filelist = kept


@contextmanager
def _damage_is_refused() -> Iterator[None]:
    try:
        yield
    except (*DAMAGED, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ParameterError(f"the program is no whole zip file: {error}") from error


def _check_names(names: Sequence[str]) -> None:
    if len({name.partition("/")[0] for name in names}) != 1:
        raise ParameterError("the program is a zip file without the one folder that torch writes")
    if len(set(names)) != len(names):
        raise ParameterError("two entries of the program's zip file have one name, and readers differ in which they take")


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> memoryview:
    if info.file_size > MAX_INFLATED:
        raise ParameterError(
            f"entry {info.filename!r} of the program inflates to {info.file_size} bytes; {MAX_INFLATED} are allowed"
        )
    with archive.open(info) as stream:
        return memoryview(stream.read(MAX_INFLATED))


def written(content: Mapping[str, bytes | memoryview]) -> bytes:
    """A zip file that torch reads, with its entries in one folder, in the given order."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, value in content.items():
            info = zipfile.ZipInfo(f"program/{name}")
            info.extra = _padding(stream.tell() + LOCAL_HEADER.size + len(info.filename))
            archive.writestr(info, value)
    return stream.getvalue()


def _padding(start: int) -> bytes:
    """An extra field behind which the entry's content is aligned."""
    size = -(start + PADDING.size) % ALIGNMENT
    return PADDING.pack(PADDING_ID, size) + bytes(size)


def _span(content: memoryview, info: zipfile.ZipInfo) -> memoryview:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & ENCRYPTED or info.compress_size != info.file_size:
        raise ParameterError(
            f"entry {info.filename!r} of the program is compressed or encrypted; torch stores entries as they are"
        )
    head = bytes(content[info.header_offset : info.header_offset + LOCAL_HEADER.size])
    if len(head) < LOCAL_HEADER.size or not head.startswith(LOCAL_MAGIC):
        raise ParameterError(f"entry {info.filename!r} of the program does not lie where the directory says")
    _, name, extra = LOCAL_HEADER.unpack(head)
    start = info.header_offset + LOCAL_HEADER.size + name + extra
    if start + info.file_size > len(content):
        raise ParameterError(f"entry {info.filename!r} of the program goes beyond the end")
    return content[start : start + info.file_size]


class _Window(io.RawIOBase):
    """Mapped bytes as the file that `zipfile` wants, without a copy and with a bound on what it takes at once."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def seekable(self) -> bool:
        return True

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
        if end - self._at > MAX_READ:
            raise OSError(f"more than {MAX_READ} bytes")
        content = bytes(self._data[self._at : end])
        self._at += len(content)
        return content
