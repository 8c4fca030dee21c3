"""The files of one model, in a folder or in an archive; they are read one by one and nothing is unpacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from zoo_core.errors import InputError, ParameterError
from zoo_core.parameters.archive import MAGIC as ZIP_MAGIC
from zoo_core.parameters.archive import MAX_INFLATION, Archive, Window
from zoo_core.parameters.formats import format_of
from zoo_core.parameters.source import Source, open_source

_GZIP_MAGIC = b"\x1f\x8b"
#: Where a tar file says what it is: POSIX.1-1988, "ustar", at byte 257 of its first header.
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
#: Members of one tar file; a model has a handful.
_MAX_MEMBERS = 10_000
#: What a small tar file may grow to, in bytes.
_FREE_INFLATION = 1 << 28
_CHUNK = 1 << 20


class Bundle(ABC):
    """Files by their names.

    Attributes:
        name: What messages call it.
        folder: Where its files lie; None where they have no paths.
        names: Of its files, those in folders inside left out.
    """

    name: str
    folder: Path | None = None
    names: tuple[str, ...] = ()

    @abstractmethod
    def open(self, name: str) -> Source:
        """The content of a file.

        Raises:
            ParameterError: It cannot be read.
        """

    def path(self, name: str) -> Path | None:
        """Where a file lies; None where it has no path."""
        return self.folder / name if self.folder is not None else None


class Folder(Bundle):
    """The files of a folder.

    Raises:
        InputError: It cannot be listed.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = str(folder), folder
        try:
            self.names = tuple(sorted(path.name for path in folder.iterdir() if path.is_file()))
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror or error}") from error

    def open(self, name: str) -> Source:
        """The file, mapped."""
        return open_source(self.folder / name)  # type: ignore[operator]  # it has one


class _Packed(Bundle):
    """The members of an archive, whose paths never become paths of this machine.

    Where all lie in one folder of the archive, as they do when a folder was packed, that folder is left out of their names.
    """

    def __init__(self, name: str, members: Iterable[str]) -> None:
        self.name = name
        paths = [member.removeprefix("./") for member in members if not member.endswith("/")]
        tops = {path.partition("/")[0] if "/" in path else None for path in paths}
        top = f"{next(iter(tops))}/" if len(tops) == 1 and None not in tops else ""
        self._members: Mapping[str, str] = {
            path.removeprefix(top): member
            for path, member in zip(paths, (m for m in members if not m.endswith("/")), strict=True)
            if "/" not in path.removeprefix(top)
        }
        self.names = tuple(sorted(self._members))


class Zip(_Packed):
    """The entries of a zip file."""

    def __init__(self, source: Source) -> None:
        self._archive = Archive(source)
        super().__init__(source.name, list(self._archive.entries))

    def open(self, name: str) -> Source:
        """The entry: mapped where it is stored as it is, else inflated."""
        return self._archive.extracted(self._members[name])


class Tar(_Packed):
    """The members of a tar file, which may be compressed with gzip; all that are files are read at once.

    Raises:
        ParameterError: It is damaged, or grows beyond all measure.
    """

    def __init__(self, source: Source) -> None:
        self._contents = _tar_members(source)
        super().__init__(source.name, list(self._contents))

    def open(self, name: str) -> Source:
        """The member."""
        return Source(f"{self.name}: {name}", memoryview(self._contents[self._members[name]]))


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
        with tarfile.open(fileobj=Window(source.data), mode="r|*") as archive:
            for number, member in enumerate(archive):
                if number >= _MAX_MEMBERS or member.size > bound:
                    raise source.malformed(f"more than {_MAX_MEMBERS} members or {bound} bytes are in it")
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None:
                    continue
                content = bytearray()
                while chunk := stream.read(_CHUNK):
                    content += chunk
                bound -= len(content)
                contents[member.name] = content
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        if isinstance(error, ParameterError):
            raise
        raise source.malformed(f"the archive cannot be read: {error}") from error
    return contents
