"""The files of one model, in a folder or in an archive; they are read one by one and nothing is unpacked."""

from __future__ import annotations

import copy
import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo_core.errors import InputError
from zoo_core.parameters.archive import MAGIC as ZIP_MAGIC
from zoo_core.parameters.archive import MAX_INFLATION, Window, ZipArchive
from zoo_core.parameters.formats import format_of
from zoo_core.parameters.source import Source, open_source
from zoo_core.wording import printable

_GZIP_MAGIC = b"\x1f\x8b"
#: Where a tar file says what it is: POSIX.1-1988, "ustar", at byte 257 of its first header.
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
#: Members of one tar file; a model has a handful.
_MAX_MEMBERS = 10_000
#: What a small tar file may grow to, in bytes.
_FREE_INFLATION = 1 << 28
_CHUNK = 1 << 20
#: How often the end of a tar file may be found.
_PATIENCE = 8


class Bundle(ABC):
    """Files by their names.

    Attributes:
        name: What messages call it.
        folder: Where its files lie; None where they have no paths.
        names: Of its files, those in folders inside left out.
        folders: The names of the folders inside, but for what systems put beside files.
    """

    name: str
    folder: Path | None = None
    names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @abstractmethod
    def inside(self, name: str) -> Bundle:
        """The files of a folder inside.

        Raises:
            InputError: It cannot be listed.
        """

    @abstractmethod
    def open(self, name: str) -> Source:
        """The content of a file.

        Raises:
            ParameterError: It cannot be read.
        """

    def without(self, names: Iterable[str]) -> Bundle:
        """The same without some files."""
        left_out, found = set(names), copy.copy(self)
        found.names = tuple(name for name in self.names if name not in left_out)
        return found


class Folder(Bundle):
    """The files of a folder.

    Raises:
        InputError: It cannot be listed.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = str(folder), folder
        try:
            paths = sorted(folder.iterdir())
            self.names = tuple(path.name for path in paths if path.is_file())
            self.folders = tuple(path.name for path in paths if path.is_dir() and _is_content(path.name))
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror or error}") from error

    def inside(self, name: str) -> Folder:
        """The files of a folder in it."""
        return Folder(self.folder / name)  # type: ignore[operator]  # it has one

    def open(self, name: str) -> Source:
        """The file, mapped."""
        return open_source(self.folder / name)  # type: ignore[operator]  # it has one


class _Packed(Bundle):
    """The members of an archive, whose paths never become paths of this machine.

    Where all lie in one folder of the archive, as they do when a folder was packed, that folder is left out of their names.

    Raises:
        ParameterError: Two members have one name.
    """

    def __init__(self, source: Source, members: Iterable[str]) -> None:
        self.name = source.name
        paths = {member: member.removeprefix("./") for member in members if not member.endswith("/")}
        paths = {member: path for member, path in paths.items() if _is_content(path.partition("/")[0]) or "/" not in path}
        if len(set(paths.values())) != len(paths):
            raise source.malformed("two members of the archive have one name, and readers differ in which they take")
        tops = {path.partition("/")[0] if "/" in path else None for path in paths.values()}
        top = f"{next(iter(tops))}/" if len(tops) == 1 and None not in tops else ""
        self._members: Mapping[str, str] = {path.removeprefix(top): member for member, path in paths.items()}
        self._list()

    def inside(self, name: str) -> Bundle:
        """The members in a folder of it."""
        found = copy.copy(self)
        found.name = f"{self.name}/{name}"
        prefix = f"{name}/"
        members = self._members.items()
        found._members = {path.removeprefix(prefix): member for path, member in members if path.startswith(prefix)}
        found._list()
        return found

    def _list(self) -> None:
        self.names = tuple(sorted(path for path in self._members if "/" not in path))
        self.folders = tuple(sorted({path.partition("/")[0] for path in self._members if "/" in path}))

    def _source(self, name: str, content: memoryview) -> Source:
        return Source(f"{self.name}: {printable(name)}", content)


class Zip(_Packed):
    """The entries of a zip file."""

    def __init__(self, source: Source) -> None:
        self._archive = ZipArchive(source.data, name=source.name)
        super().__init__(source, self._archive.names)

    def open(self, name: str) -> Source:
        """The entry: mapped where it is stored as it is, else inflated."""
        return self._source(name, self._archive.content(self._members[name]))


class Tar(_Packed):
    """The members of a tar file, which may be compressed with gzip; all that are files are read at once.

    Raises:
        ParameterError: It is damaged, or grows beyond all measure.
    """

    def __init__(self, source: Source) -> None:
        self._contents = _tar_members(source)
        super().__init__(source, self._contents)

    def open(self, name: str) -> Source:
        """The member."""
        return self._source(name, memoryview(self._contents[self._members[name]]))


def bundle_at(path: Path) -> Bundle | None:
    """What a folder or an archive holds; None where a file is none, as for `bundle_of`."""
    return Folder(path) if path.is_dir() else bundle_of(open_source(path))


def _is_content(folder: str) -> bool:
    """Whether a folder is its owner's, and not what macOS packs beside each file, or a tool keeps for itself."""
    return folder != "__MACOSX" and not folder.startswith(".")


def bundle_of(source: Source) -> Bundle | None:
    """What an archive holds; None where the bytes are no archive, or one that is a parameter file or a program itself."""
    head = bytes(source.data[: _TAR_MAGIC_AT + len(_TAR_MAGIC)])
    if head.startswith(ZIP_MAGIC):
        return Zip(source) if format_of(source) == "unknown" else None
    if head.startswith(_GZIP_MAGIC) or head.endswith(_TAR_MAGIC):
        return Tar(source)
    return None


def _tar_members(source: Source) -> dict[str, bytearray]:
    import tarfile
    import zlib

    bound = max(MAX_INFLATION * len(source.data), _FREE_INFLATION)
    contents: dict[str, bytearray] = {}
    try:
        # A stream is read once from its beginning to its end, so that nothing in it can make the reader go back and forth.
        with tarfile.open(fileobj=_plain(source, bound), mode="r|", bufsize=_CHUNK) as archive:
            for number, member in enumerate(archive):
                if number >= _MAX_MEMBERS or member.size > bound:
                    raise source.malformed(f"more than {_MAX_MEMBERS} members or {bound} bytes are in it")
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None:
                    continue
                if member.name in contents:
                    raise source.malformed("two members of the archive have one name, and readers differ in which they take")
                content = bytearray()
                while chunk := stream.read(_CHUNK):
                    content += chunk
                bound -= len(content)
                contents[member.name] = content
    # A header of a header of a header: each is a call of tarfile in the one before.
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, IndexError, RecursionError) as error:
        raise source.malformed(f"the archive cannot be read: {error}") from error
    return contents


def _plain(source: Source, bound: int) -> io.RawIOBase:
    """The bytes of a tar file, those of a compressed one inflated as they are read."""
    window = Window(source.data)
    if bytes(source.data[: len(_GZIP_MAGIC)]) != _GZIP_MAGIC:
        return _Bounded(window, len(source.data))
    import gzip

    return _Bounded(gzip.GzipFile(fileobj=window), bound)


class _Bounded(io.RawIOBase):
    """A stream that ends in an error where it gives too much, or is asked beyond its end again and again.

    The names of members have no bound of their own, and tarfile looks for the end of a member step by step, however far it is.
    """

    def __init__(self, stream: io.IOBase, bound: int) -> None:
        super().__init__()
        self._stream: Any = stream
        self._bound = self._left = bound + _CHUNK
        self._asked_at_end = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes.

        Raises:
            OSError: There are more than any model has, or none have been left for some time.
        """
        content: bytes = self._stream.read(min(size, _CHUNK) if size >= 0 else _CHUNK)
        self._left -= len(content)
        self._asked_at_end += not content
        if self._asked_at_end > _PATIENCE:
            raise OSError("it ends within a member")
        if self._left < 0:
            raise OSError(f"it inflates to more than {self._bound} bytes")
        return content
