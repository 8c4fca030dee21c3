"""Archives to files inside one folder, and nowhere else.

An archive was verified before it comes here, which says who made it and not what is in it. What is refused, and why, is in
``docs/explanation/security.md``.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from zoo_core.errors import CacheError, IntegrityError, UnsafeArchiveError
from zoo_core.members import Tree
from zoo_core.tar import FILE, FOLDER, LINK, Readable, TarError, TarReader
from zoo_core.wording import bytes_text, printable

if TYPE_CHECKING:
    import gzip
    import zipfile

CHUNK = 1 << 20
#: How an archive becomes files: those with many become a folder, the others one file.
FOLDERS = ("zip", "tgz", "tar")
FILES = ("gzip", "entry")

#: What an archive may grow to where the user sets no bound: so many times its own size, or the free allowance. Weights
#: compress to no less than half, and tables of text to a twentieth.
MAX_INFLATION = 100
FREE_INFLATION = 256 << 20
MAX_MEMBERS = 200_000
#: Files that are flushed one by one; for more, all that was written on the machine is.
_MANY = 200
#: Bytes of a zip file's directory for each member that is allowed: a name, times, and owners.
_DIRECTORY_ENTRY = 512
#: Bytes of a tar file's headers for each member: its own, one for a long name and one for attributes.
_TAR_HEADERS = 2048

_ENTRY_MAGIC = b"PK\x01\x02"
_LOCAL_HEADER_SIZE = 30
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UTF8 = 0x800
_GZIP_MAGIC = b"\x1f\x8b"
#: Methods of compression that need no more memory than their reader decides.
_STORED, _DEFLATED = 0, 8


class MalformedError(TarError):
    """The bytes are not what the end of the address says; the message is a fact about them."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one archive may become.

    Attributes:
        max_size: Bytes of all its files; None: `MAX_INFLATION` times its own size, and `FREE_INFLATION` at least.
        max_members: Its files and folders.
    """

    max_size: int | None = None
    max_members: int = MAX_MEMBERS

    def bytes_of(self, archive_size: int) -> int:
        """Bytes that an archive of a size may become."""
        return max(MAX_INFLATION * archive_size, FREE_INFLATION) if self.max_size is None else self.max_size


class UnpackedFile(msgspec.Struct, frozen=True):
    """A file that came out of an archive.

    Attributes:
        path: Inside the folder, with ``/`` between its parts.
        sha256: Of its content.
        size: In bytes.
    """

    path: str
    sha256: str
    size: int


class Unpacked(msgspec.Struct, frozen=True):
    """What came out of an archive.

    Attributes:
        files: In the archive's order.
        folders: Those that have no file in them.
    """

    files: tuple[UnpackedFile, ...]
    folders: tuple[str, ...] = ()


def unpack(archive: Path, how: str, folder: Path, *, what: str, limits: Limits | None = None) -> Unpacked:
    """Unpack an archive into an empty folder; on an error what lies there is to be thrown away.

    Args:
        archive: The file.
        how: ``zip``, ``tgz`` or ``tar``: all its members; ``gzip``, or ``entry`` for the first of a zip file: one file, of
            the name `CONTENT`.
        folder: Is there, and nothing else writes to it.
        what: What messages call the archive.
        limits: What it may become.

    Raises:
        UnsafeArchiveError: A member would lie outside the folder, is no file or folder, is another's double, or is encrypted or
            compressed in an unusual way; or there is more than the limits allow.
        IntegrityError: The archive is damaged.
        CacheError: The disk has no room for it.
    """
    writer = _Writer(folder, what, limits or Limits(), archive.stat().st_size)
    unpackers: dict[str, Callable[[BinaryIO, _Writer], None]] = {
        "zip": _unpack_zip, "entry": _unpack_entry, "tar": _unpack_tar, "tgz": _unpack_tgz, "gzip": _unpack_gzip,
    }  # fmt: skip
    with archive.open("rb") as stream, _explained(what):
        unpackers[how](stream, writer)
    return writer.flushed()


#: The name of the one file that comes out of what is no folder.
CONTENT = "content"


class _Writer:
    """Files inside one folder, counted, bounded and hashed as they are written."""

    def __init__(self, folder: Path, what: str, limits: Limits, archive_size: int) -> None:
        self.tree = Tree(what)
        self.limits = limits
        self._folder, self._what, self._archive_size = folder, what, archive_size
        self.allowed = self._left = limits.bytes_of(archive_size)
        self._count = 0
        self._files: dict[str, UnpackedFile] = {}
        self._folders: set[str] = set()

    def folder(self, name: str) -> None:
        """Make a folder."""
        self._count_one(name)
        path = self.tree.folder(name)
        if path:
            self._folders.add(path)
            self._folder.joinpath(path).mkdir(parents=True, exist_ok=True)

    def file(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file: never executable, never its archive's owner's, as the umask has it."""
        self._count_one(name)
        path = self.tree.file(name)
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with target.open("xb") as stream:
            for piece in pieces:
                size += len(piece)
                self._take(len(piece), name)
                digest.update(piece)
                stream.write(piece)
        self._files[path] = UnpackedFile(path, digest.hexdigest(), size)

    def copy(self, name: str, of: str) -> None:
        """Write a file that is a hard link to an earlier one in the archive: a copy, as nothing here is linked."""
        known = self.tree.known_file(of)
        if known is None:
            raise self.tree.unsafe(name, f"is a hard link to '{printable(of[:200])}', which is no earlier file of the archive")
        with self._folder.joinpath(known).open("rb") as stream:
            self.file(name, _pieces(stream))

    def expect(self, size: int, count: int) -> None:
        """Refuse what the archive itself declares, before any of it is written."""
        if count > self.limits.max_members:
            raise self.too_many()
        if size > self._left:
            raise self.too_large(f"its directory declares {bytes_text(size)}")
        free = shutil.disk_usage(self._folder).free
        if size > free:
            raise CacheError(
                f"{self._what} needs {bytes_text(size)}, and the disk of {self._folder} has {bytes_text(free)} left. "
                "Free some by `zoo cache prune`, or set ZOO_HOME to a folder on another disk"
            )

    def flushed(self) -> Unpacked:
        """What was written, and will still be there after the power failed."""
        if len(self._files) > _MANY and hasattr(os, "sync"):
            # One by one they would take milliseconds each.
            os.sync()
        else:
            for path in self._files:
                _flush(self._folder / path)
        parents = {path.rpartition("/")[0] for path in (*self._files, *self._folders)}
        return Unpacked(tuple(self._files.values()), tuple(sorted(self._folders - parents)))

    def _count_one(self, name: str) -> None:
        self._count += 1
        if self._count > self.limits.max_members:
            raise self.too_many(name)

    def _take(self, size: int, name: str) -> None:
        self._left -= size
        if self._left < 0:
            raise self.too_large(f"'{printable(name[:200])}' goes beyond that", name)

    def too_many(self, name: str = "") -> UnsafeArchiveError:
        """The error for more members than are allowed."""
        return UnsafeArchiveError(
            f"{self._what}: more than {self.limits.max_members} files and folders are in it. Nothing was kept. "
            "If you trust it, set max_members in your zoo.toml",
            member=name,
        )

    def too_large(self, fact: str, name: str = "") -> UnsafeArchiveError:
        """The error for more bytes than are allowed."""
        known, remedy = (
            f"it has {bytes_text(self._archive_size)}, so",
            "If you trust it, set max_unpacked_size in your zoo.toml",
        )
        if self.limits.max_size is not None:
            known, remedy = "as max_unpacked_size in your zoo.toml says,", "It is a number of bytes"
        return UnsafeArchiveError(
            f"{self._what}: {known} {bytes_text(self.allowed)} may come out of it, and {fact}. Nothing was kept. {remedy}",
            member=name,
        )


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what readers raise on damaged bytes into our error; an OSError with a number is the disk's."""
    # They take longer to import than most searches.
    import gzip
    import zipfile
    import zlib

    damaged = (zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, ValueError, OverflowError, struct.error, TarError)
    try:
        yield
    # RuntimeError: an encrypted entry, a method that is not implemented.
    except (*damaged, RuntimeError) as error:
        raise IntegrityError(
            f"{what}: the archive cannot be read: {printable(str(error)) or type(error).__name__}. Nothing was kept. "
            "Its publisher has to pack it anew"
        ) from error


# tar -----------------------------------------------------------------------------------------------------------------


def _unpack_tar(stream: Readable, writer: _Writer) -> None:
    reader = TarReader(stream)
    for head in reader:
        if head.kind == FOLDER:
            writer.folder(head.name)
        elif head.kind == FILE:
            writer.file(head.name, reader.content())
        elif head.kind == LINK:
            writer.copy(head.name, head.link)
        else:
            raise writer.tree.unsafe(head.name, f"is a {head.kind}; only files and folders are unpacked")


def _unpack_tgz(stream: BinaryIO, writer: _Writer) -> None:
    # Headers inflate as well, and no member counts them.
    with _inflating(stream) as inflating:
        bounded = _Bounded(inflating, writer)
        _unpack_tar(bounded, writer)
        # Its sum stands at its end, behind what fills up the tar file.
        while bounded.read(CHUNK):
            pass


class _Bounded:
    """A stream that ends in an error where it gives more than an archive may become, with room for its headers."""

    def __init__(self, stream: Readable, writer: _Writer) -> None:
        self._stream, self._writer = stream, writer
        self._left = writer.allowed + writer.limits.max_members * _TAR_HEADERS + CHUNK

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        content = self._stream.read(min(size, CHUNK))
        self._left -= len(content)
        if self._left < 0:
            raise self._writer.too_large("it inflates to more, most of it no file's")
        return content


# gzip ----------------------------------------------------------------------------------------------------------------


def _unpack_gzip(stream: BinaryIO, writer: _Writer) -> None:
    with _inflating(stream) as inflating:
        writer.file(CONTENT, _pieces(inflating))


def _inflating(stream: BinaryIO) -> gzip.GzipFile:
    # An empty file is one of no members to gzip.
    if stream.read(len(_GZIP_MAGIC)) != _GZIP_MAGIC:
        raise MalformedError("it is no gzip file, as its name says")
    import gzip

    stream.seek(0)
    return gzip.GzipFile(fileobj=stream)


# zip -----------------------------------------------------------------------------------------------------------------


def _unpack_zip(stream: BinaryIO, writer: _Writer) -> None:
    with _Guarded(stream, writer).entries() as archive:
        infos = archive.infolist()
        _check_distinct_bytes(infos, writer)
        writer.expect(sum(info.file_size for info in infos), len(infos))
        for info in infos:
            name = _name(info)
            _check_entry(info, name, writer.tree)
            if name.endswith("/"):
                writer.folder(name)
            else:
                with archive.open(info) as content:
                    writer.file(name, _pieces(content))


def _unpack_entry(stream: BinaryIO, writer: _Writer) -> None:
    """The first file of a zip file, as one that is read from its beginning to its end has it."""
    with _Guarded(stream, writer).entries() as archive:
        infos = [info for info in archive.infolist() if not _name(info).endswith("/")]
        if not infos:
            raise MalformedError("no file is in it")
        first = min(infos, key=lambda info: info.header_offset)
        _check_entry(first, _name(first), writer.tree)
        writer.expect(first.file_size, 1)
        with archive.open(first) as content:
            writer.file(CONTENT, _pieces(content))


def _name(info: zipfile.ZipInfo) -> str:
    """The name as it stands there: `filename` ends at a NUL, and on Windows it has other slashes.

    Where nothing says that it is UTF-8 it is taken for that if it can be, as Java and most writers do, else for the code page
    of MS-DOS, as the format says.
    """
    name = info.orig_filename
    if info.flag_bits & _UTF8 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        return name


def _check_entry(info: zipfile.ZipInfo, name: str, tree: Tree) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise tree.unsafe(name, "is encrypted, and there is no password")
    # LZMA and Zstandard let a file decide how much memory its reader needs.
    if info.compress_type not in (_STORED, _DEFLATED):
        raise tree.unsafe(name, f"is compressed by method {info.compress_type}; only stored and deflated entries are unpacked")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise tree.unsafe(name, f"is a {_KINDS.get(kind, 'special file')}; only files and folders are unpacked")
    is_folder = name.endswith("/")
    if (kind == stat.S_IFDIR) > is_folder or (kind == stat.S_IFREG and is_folder) or (is_folder and info.file_size):
        raise tree.unsafe(name, "is a folder by one of its fields and a file by another")


_KINDS = {
    stat.S_IFLNK: "symbolic link", stat.S_IFCHR: "device", stat.S_IFBLK: "device", stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
}  # fmt: skip


def _check_distinct_bytes(infos: Iterable[zipfile.ZipInfo], writer: _Writer) -> None:
    """Refuse entries that share their compressed bytes, by which a small file becomes a large one (Fifield, WOOT 2019)."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < 0:
            raise MalformedError("its directory says that an entry lies before its beginning")
        if info.header_offset < end:
            raise writer.tree.unsafe(_name(info), "has its bytes in common with another member")
        end = info.header_offset + _LOCAL_HEADER_SIZE + info.compress_size


class _Guarded(io.RawIOBase):
    """A file for `zipfile`, which reads the whole directory at once and makes an object of each entry in it."""

    def __init__(self, stream: BinaryIO, writer: _Writer) -> None:
        super().__init__()
        self._stream, self._writer = stream, writer
        self._size = stream.seek(0, io.SEEK_END)
        self._bound: int | None = max(writer.limits.max_members * _DIRECTORY_ENTRY, CHUNK)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position; a damaged directory may say one before the beginning."""
        if whence == io.SEEK_SET and offset < 0:
            raise ValueError(f"its directory points to {offset}")
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._stream.tell()

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        if self._bound is None:
            return self._stream.read(size)
        # As much memory is taken as is asked for, whatever is there.
        left = max(self._size - self._stream.tell(), 0)
        size = min(size, left) if size >= 0 else left
        if size > self._bound:
            raise self._writer.too_many()
        content = self._stream.read(size)
        # Each entry of the directory begins so.
        if content.count(_ENTRY_MAGIC) > self._writer.limits.max_members:
            raise self._writer.too_many()
        return content

    def entries(self) -> zipfile.ZipFile:
        """The directory, which alone is bounded: what follows is read in pieces."""
        import zipfile

        archive = zipfile.ZipFile(self)
        self._bound = None
        return archive


def _flush(path: Path) -> None:
    # Windows flushes only what is open for writing.
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def _pieces(stream: Readable) -> Iterator[bytes]:
    while piece := stream.read(CHUNK):
        yield piece
