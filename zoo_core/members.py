"""Names of an archive's members as paths inside one folder, the same on every system.

An archive may be unpacked where case does not count, where two spellings of one letter are one name, or where some names are
devices. What would mean something else there is refused everywhere, so that a file unpacks for everyone or for nobody.
"""

from __future__ import annotations

import os
import re
import unicodedata

from zoo_core.errors import UnsafeArchiveError
from zoo_core.wording import printable

#: Bytes of one component: what ext4, APFS and NTFS take.
MAX_COMPONENT = 255
#: Bytes of a whole name, and folders inside one another; model archives have some 100 and 5.
MAX_NAME = 1024
MAX_DEPTH = 32

_DRIVE = re.compile(r"[A-Za-z]:")
#: Names that Windows keeps for devices, with any suffix; the digits of COM and LPT may be superscript.
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\.|:|$)", re.IGNORECASE)
#: What Windows allows in no name, a colon because it names a stream inside a file.
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')


class Tree:
    """The members of one archive, none of which may lead out, or stand where another one stands.

    Args:
        what: What messages call the archive.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {"": ""}

    def file(self, name: str) -> str:
        """A member that is a file, as a path with ``/`` between its parts.

        Raises:
            UnsafeArchiveError: The name leads out, is none on some system, or is another member's.
        """
        path = self._path(name)
        if not path:
            raise self.unsafe(name, "is a file and has the name of the folder itself")
        self._add_folder(name, path.rpartition("/")[0])
        key = folded(path)
        if key in self._folders:
            raise self.unsafe(name, f"is a file where '{printable(self._folders[key])}' is a folder")
        if key in self._files:
            raise self.unsafe(name, self._collision(path, self._files[key]))
        self._files[key] = path
        return path

    def folder(self, name: str) -> str:
        """A member that is a folder, as a path; it may be there already. "" is the folder that all lies in.

        Raises:
            UnsafeArchiveError: As for `file`.
        """
        path = self._path(name)
        self._add_folder(name, path)
        return path

    def known_file(self, name: str) -> str | None:
        """The path of an earlier member that is a file, by its name; None where there is none."""
        path = self._path(name)
        return path if self._files.get(folded(path)) == path else None

    def unsafe(self, name: str, fact: str, remedy: str = "Its publisher has to pack it anew") -> UnsafeArchiveError:
        """The error that names a member and what is wrong with it; names are foreign text."""
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        return UnsafeArchiveError(f"{self._what}: member '{printable(shown)}' {fact}. Nothing was kept. {remedy}", member=name)

    def _add_folder(self, name: str, path: str) -> None:
        # Most members lie where the one before them does.
        if self._folders.get(folded(path)) == path:
            return
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            part = "/".join(parts[:end])
            key = folded(part)
            if key in self._files:
                raise self.unsafe(name, f"needs a folder where '{printable(self._files[key])}' is a file")
            if self._folders.setdefault(key, part) != part:
                raise self.unsafe(name, self._collision(part, self._folders[key]))

    def _collision(self, path: str, other: str) -> str:
        if path == other:
            return "stands in it twice, and readers differ in which they take"
        # Two forms of one letter look alike, and are told apart by their codes.
        return f"is {path!a}, and {other!a} is the same where case, or the form of a letter, does not count"

    def _path(self, name: str) -> str:
        fact = _fault(name)
        if fact is not None:
            raise self.unsafe(name, fact)
        parts = [part for part in name.split("/") if part not in ("", ".")]
        fact = next((fact for part in parts if (fact := _component_fault(part)) is not None), None)
        if fact is None and len(parts) > MAX_DEPTH:
            fact = f"lies {len(parts)} folders deep, and {MAX_DEPTH} are allowed"
        if fact is not None:
            raise self.unsafe(name, fact)
        return "/".join(parts)


def folded(path: str) -> str:
    r"""What is equal for names that some file system takes for one: Unicode's canonical caseless matching (definition D145).

    Characters without a width are left out, since HFS+ ignores them.

    >>> folded("Straße") == folded("STRASSE"), folded("e\u0301") == folded("\u00c9")
    (True, True)
    """
    if path.isascii():
        return path.lower()
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
    return "".join(char for char in text if unicodedata.category(char) != "Cf")


def name_fault(name: str) -> str | None:
    """What is wrong with a name of one file, on any system; None where nothing is."""
    return _fault(name) or _component_fault(name)


def _fault(name: str) -> str | None:
    """What is wrong with a name as a whole; None where nothing is."""
    if not name:
        return "has an empty name"
    # Most names are plain, and an archive may have 100 000.
    categories = set() if name.isascii() and name.isprintable() else {unicodedata.category(char) for char in name}
    if "Cs" in categories:
        return "has a name that is no UTF-8"
    if categories & {"Cc", "Zl", "Zp"}:
        return "has control characters in its name"
    if "\\" in name:
        return "has a backslash in its name, which separates folders on Windows"
    if name.startswith("/"):
        return "has an absolute name"
    if _DRIVE.match(name):
        return "has a name that begins with a drive"
    if len(name.encode()) > MAX_NAME:
        return f"has a name of {len(name.encode())} bytes, and {MAX_NAME} are allowed"
    return None


def _component_fault(part: str) -> str | None:
    """What is wrong with one part of a name."""
    if part == "..":
        return "leads out of its folder"
    if _DEVICES.match(part):
        return "has the name of a device on Windows"
    if part.endswith((".", " ")):
        return "has a name that ends in a dot or a space, which Windows drops"
    if len(part.encode()) > MAX_COMPONENT:
        return f"has a name of {len(part.encode())} bytes between two slashes, and {MAX_COMPONENT} are allowed"
    if os.name == "nt" and _NOT_ON_WINDOWS.search(part):
        return "has characters in its name that Windows does not allow"
    return None
