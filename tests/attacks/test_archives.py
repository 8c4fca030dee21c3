"""Hostile archives: each is refused with its name and what to do, soon, without the memory or the disk that it claims."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import archives as make
from tests.fuzzing import drawn
from zoo_core.errors import IntegrityError, UnsafeArchiveError, ZooError
from zoo_core.unpack import Limits, Unpacked, unpack

MIB = 2**20
WHAT = "model of com.example/net@1.0"


def unpacked(content: bytes, how: str, place: Path, **limits: int) -> Unpacked:
    """Unpack below a folder whose neighbours must stay as they are."""
    archive, folder = place / "archive", place / "inside" / "folder"
    archive.write_bytes(content)
    folder.mkdir(parents=True)
    return unpack(archive, how, folder, what=WHAT, limits=Limits(**limits))


def tree(place: Path) -> list[str]:
    """All that lies outside the folder."""
    paths = (path.relative_to(place).as_posix() for path in place.rglob("*"))
    return sorted(path for path in paths if not path.startswith("inside/folder/"))


def refused(
    content: bytes, how: str, place: Path, reason: str, kind: type[ZooError] = UnsafeArchiveError, **limits: int
) -> str:
    """It is refused, nothing lies anywhere else, and neither long nor much memory is needed."""
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(kind, match=reason) as caught:
            unpacked(content, how, place, **limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 20
    assert peak < 16 * MIB + 4 * len(content)
    assert tree(place) == ["archive", "inside", "inside/folder"]
    message = str(caught.value)
    assert message.startswith(f"{WHAT}: ")
    assert "Nothing was kept" in message
    assert is_harmless(message)
    return message


def is_harmless(text: str) -> bool:
    """A terminal takes nothing in it for a command, and shows it in one line."""
    return not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for char in text)


# names ---------------------------------------------------------------------------------------------------------------

NAMES = {
    "../evil": "leads out",
    "..": "leads out",
    "a/../../evil": "leads out",
    "a/../b": "leads out",
    "./../evil": "leads out",
    "a/..": "leads out",
    "/etc/passwd": "absolute",
    "//server/share": "absolute",
    "C:evil": "drive",
    "c:/windows/evil": "drive",
    "z:": "drive",
    "a\\b": "backslash",
    "..\\evil": "backslash",
    "\\\\server\\share": "backslash",
    "\\evil": "backslash",
    "a/b\\..\\c": "backslash",
    "line\nbreak": "control",
    "\x1b[2Jscreen": "control",
    "bell\x07": "control",
    "delete\x7f": "control",
    "next\x85line": "control",
    "para\u2029graph": "control",
    "con": "device",
    "CON": "device",
    "nul.txt": "device",
    "aux .b": "device",
    "dir/PRN": "device",
    "com1.bin": "device",
    "LPT9": "device",
    "com³": "device",
    "conin$": "device",
    "con/inside": "device",
    "nul:stream": "device",
    "dot.": "ends in a dot",
    "space ": "ends in a dot or a space",
    "a./b": "ends in a dot",
    "...": "ends in a dot",
    "x" * 256: "256 bytes between two slashes",
    "é" * 128: "256 bytes between two slashes",
    "/".join(["d" * 200] * 6): "bytes, and 1024 are allowed",
    "d/" * 33 + "f": "34 folders deep",
}
ROOTS = {"./": "name of the folder itself", ".": "name of the folder itself", "./.": "name of the folder itself"}


@pytest.mark.parametrize(("name", "reason"), NAMES.items(), ids=[ascii(name)[:30] for name in NAMES])
@pytest.mark.parametrize("how", ["zip", "tar", "tgz"])
def test_a_name_that_is_no_name_inside_the_folder_on_every_system_is_refused(
    how: str, name: str, reason: str, tmp_path: Path
) -> None:
    content = {
        "zip": lambda: make.zipped({"good": b"1", name: b"2"}),
        "tar": lambda: make.tarred({"good": b"1", name: b"2"}),
        "tgz": lambda: make.tarred({"good": b"1", name: b"2"}, mode="w:gz"),
    }[how]()
    if name.endswith("/") and how == "zip":
        reason = f"{reason}|by another"
    refused(content, how, tmp_path, reason)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a\\b", "con", "x" * 300], ids=ascii)
def test_a_folder_is_refused_for_its_name_as_a_file_is(name: str, tmp_path: Path) -> None:
    refused(make.tarred({}, more=[make.member(name, tarfile.DIRTYPE)]), "tar", tmp_path, "member")


@pytest.mark.parametrize("name", ROOTS)
def test_a_file_with_the_name_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    content = make.head(".", tarfile.REGTYPE, 1) + make.padded(b"1") + make.END
    refused(content, "tar", tmp_path, "name of the folder itself")


def test_a_name_without_characters_is_refused(tmp_path: Path) -> None:
    refused(make.head("", tarfile.REGTYPE, 0) + make.END, "tar", tmp_path, "empty name")


def test_a_name_that_hides_its_end_behind_a_nul_is_refused(tmp_path: Path) -> None:
    refused(make.renamed(make.zipped({"safe.Xevil": b"1"}), b"safe.X", b"safe.\0"), "zip", tmp_path, "control characters")


def test_a_nul_in_an_extended_header_is_refused(tmp_path: Path) -> None:
    content = make.extended(b"x", make.record("path", "a\0b")) + make.head("a", tarfile.REGTYPE, 0) + make.END
    refused(content, "tar", tmp_path, "control characters")


def test_a_name_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
            archive.addfile(make.member("caf\xe9"))
        refused(file.getvalue(), "tar", tmp_path, r"'caf\\udce9' has a name that is no UTF-8")


def test_a_long_name_is_cut_in_the_message(tmp_path: Path) -> None:
    assert len(refused(make.tarred({"y" * 60_000: b""}), "tar", tmp_path, "60000 bytes")) < 500


# names that are one another's ----------------------------------------------------------------------------------------

TWICE = {
    "the same": ("a", "a"),
    "the same, written differently": ("a", "./a"),
    "the same with more slashes": ("d/a", "d//a"),
    "case": ("Readme", "README"),
    "case of a folder": ("Data/a", "data/b"),
    "case beyond ASCII": ("É", "é"),
    "German": ("straße", "STRASSE"),
    "composed and decomposed": ("\u00e9", "e\u0301"),
    "a decomposed folder": ("\u00e9/a", "e\u0301/b"),
    "Hangul": ("\uac00", "\u1100\u1161"),
    "an angstrom": ("\u212b", "\u00c5"),
    "no width": ("git", "g\u200cit"),
    "a final sigma": ("\u03c2", "\u03c3"),
    "a Kelvin": ("\u212a", "k"),
    "a file, then a folder": ("a", "a/b"),
    "a folder, then a file": ("a/b", "a"),
    "a file, then a folder in other case": ("A", "a/b"),
}


@pytest.mark.parametrize("names", TWICE.values(), ids=TWICE)
@pytest.mark.parametrize("how", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused_where_any_system_takes_them_for_one(
    how: str, names: tuple[str, str], tmp_path: Path
) -> None:
    members = [(name, name.encode()) for name in names]
    content = make.zipped(members) if how == "zip" else make.tarred(members)
    message = refused(content, how, tmp_path, "twice|is the same|is a file")
    assert "member" in message


def test_an_empty_folder_and_a_file_of_one_name_are_refused(tmp_path: Path) -> None:
    refused(make.tarred({"a": b"1"}, more=[make.member("a", tarfile.DIRTYPE)]), "tar", tmp_path, "is a file")


# kinds ---------------------------------------------------------------------------------------------------------------

KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "device": tarfile.CHRTYPE,
    "device for blocks": tarfile.BLKTYPE,
    "named pipe": tarfile.FIFOTYPE,
    "sparse file": b"S",
    "continued": b"M",
    "old long name": b"N",
    "volume": b"V",
    "dumped": b"D",
    "what nobody knows": b"Z",
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_neither_file_nor_folder_in_a_tar_file_is_refused(kind: bytes, tmp_path: Path) -> None:
    more = [make.member("special", kind, link="/etc/passwd")]
    assert "'special'" in refused(make.tarred({"a": b"1"}, more=more), "tar", tmp_path, "only files and folders")


LINKS = {
    "out": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "a member that is not there": "nowhere",
    "a folder": "d",
    "another case": "A",
    "itself": "link",
    "one that comes later": "later",
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
def test_a_hard_link_to_what_is_no_earlier_file_is_refused(link: str, tmp_path: Path) -> None:
    content = (
        make.head("a", tarfile.REGTYPE, 1) + make.padded(b"1")
        + make.head("d", tarfile.DIRTYPE, 0)
        + make.member("link", tarfile.LNKTYPE, link=link).tobuf(tarfile.GNU_FORMAT)
        + make.head("later", tarfile.REGTYPE, 0) + make.END
    )  # fmt: skip
    refused(content, "tar", tmp_path, "no earlier file|leads out|absolute")


MODES = {"symbolic link": 0o120777, "device": 0o020666, "device of blocks": 0o060666, "pipe": 0o010644, "socket": 0o140755}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_what_is_neither_file_nor_folder_in_a_zip_file_is_refused(mode: int, tmp_path: Path) -> None:
    refused(make.entry("special", b"/etc/passwd", mode=mode), "zip", tmp_path, "'special' is a .*only files and folders")


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_nor_is_it_the_one_file_of_a_zip_file(mode: int, tmp_path: Path) -> None:
    refused(make.entry("special", b"/etc/passwd", mode=mode), "entry", tmp_path, "only files and folders")


@pytest.mark.parametrize(
    ("name", "mode", "content"),
    [("a", 0o040755, b""), ("a/", 0o100644, b""), ("a/", 0o040755, b"1"), ("a/", 0, b"1")],
    ids=["a folder without a slash", "a file with one", "a folder with a content", "a folder with a content and no mode"],
)
def test_an_entry_that_is_file_and_folder_is_refused(name: str, mode: int, content: bytes, tmp_path: Path) -> None:
    refused(make.entry(name, content, mode=mode), "zip", tmp_path, "folder by one of its fields and a file by another")


def test_a_folder_with_a_content_is_refused_since_readers_differ_in_what_follows(tmp_path: Path) -> None:
    content = make.head("d", tarfile.DIRTYPE, 512) + make.head("../evil", tarfile.REGTYPE, 0) + make.END
    refused(content, "tar", tmp_path, "readers differ", IntegrityError)


# encryption and compression ------------------------------------------------------------------------------------------

ENCRYPTED = {"by password": 0x1, "strongly": 0x41, "its directory": 0x2000}


@pytest.mark.parametrize("flag", ENCRYPTED.values(), ids=ENCRYPTED)
@pytest.mark.parametrize("how", ["zip", "entry"])
def test_an_encrypted_entry_is_refused(flag: int, how: str, tmp_path: Path) -> None:
    content = make.flagged(make.zipped({"secret": b"1"}), 6, 8, struct.pack("<H", flag))
    refused(content, how, tmp_path, "'secret' is encrypted")


METHODS = {
    "shrunk": 1, "imploded": 6, "deflate64": 9, "bzip2": 12, "lzma": 14, "zstd": 93, "xz": 95, "ppmd": 98, "aes": 99,
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_of_compression_whose_memory_the_file_decides_is_refused(method: int, tmp_path: Path) -> None:
    content = make.flagged(make.zipped({"a": b"1" * 100}), 8, 10, struct.pack("<H", method))
    refused(content, "zip", tmp_path, f"compressed by method {method}; only stored and deflated")


# damage --------------------------------------------------------------------------------------------------------------

ZIPPED = make.zipped({"a.txt": b"hello" * 100, "b/c.bin": bytes(range(256)) * 10})
TARRED = make.tarred({"a.txt": b"hello" * 100, "b/c.bin": bytes(range(256)) * 10})
DAMAGED: dict[str, tuple[str, bytes]] = {
    "an empty zip file": ("zip", b""),
    "an empty tar file": ("tar", b""),
    "an empty tgz file": ("tgz", b""),
    "an empty gzip file": ("gzip", b""),
    "text for a zip file": ("zip", b"not found\n" * 100),
    "text for a tar file": ("tar", b"not found\n" * 100),
    "text for a tgz file": ("tgz", b"not found\n" * 100),
    "text for a gzip file": ("gzip", b"not found\n"),
    "a plain tar file for a compressed one": ("tgz", TARRED),
    "a compressed tar file for a plain one": ("tar", make.squeezed(TARRED)),
    "a zip file for a tar file": ("tar", ZIPPED),
    "compress's own format": ("gzip", b"\x1f\x9d\x90" + b"a" * 100),
    "bzip2": ("tgz", b"BZh91AY&SY" + b"a" * 100),
    "a gzip file of a text for a tgz file": ("tgz", make.squeezed(b"hello" * 1000)),
    "a zip file without its end": ("zip", ZIPPED[:-10]),
    "a zip file without its beginning": ("zip", ZIPPED[40:]),
    "a zip file without its middle": ("zip", ZIPPED[:50] + ZIPPED[90:]),
    "a tar file that ends in a header": ("tar", TARRED[:1100] + b""),
    "a tar file that ends in a member": ("tar", TARRED[:700]),
    "a gzip file that ends early": ("gzip", make.squeezed(b"hello" * 1000)[:-12]),
    "a gzip file with a wrong sum": ("gzip", make.squeezed(b"hello")[:-8] + bytes(8)),
    "a gzip file with something behind it": ("gzip", make.squeezed(b"hello") + b"more"),
    "a gzip file of an unknown method": ("gzip", b"\x1f\x8b\x07" + make.squeezed(b"hello")[3:]),
    "a tgz file that ends early": ("tgz", make.squeezed(TARRED)[:-20]),
    "an entry whose bytes are others": ("zip", make.entry("a", b"hello").replace(b"hello", b"hollo")),
    "an entry that does not inflate": ("zip", ZIPPED[:45] + b"\xff" * 8 + ZIPPED[53:]),
    "an entry of another name in its own header": ("zip", ZIPPED.replace(b"a.txt", b"z.txt", 1)),
    "an entry beyond the end": ("zip", make.flagged(make.zipped({"a": b"1"}), 0, 42, struct.pack("<I", 10**6))),
    "an entry before the beginning": ("zip", b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 9999, 0, 0)),
    "one file of a zip file without files": ("entry", make.zipped({})),
    "one file of a zip file with a folder only": ("entry", make.entry("d/", mode=0o040755)),
    "a header with a wrong sum": ("tar", TARRED[:100] + b"X" + TARRED[101:]),
    "a header without a sum": ("tar", TARRED[:148] + bytes(8) + TARRED[156:]),
    "a later header with a wrong sum": ("tar", TARRED[:1024] + b"X" * 512 + TARRED[1536:]),
}


@pytest.mark.parametrize(("how", "content"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_is_an_integrity_error(how: str, content: bytes, tmp_path: Path) -> None:
    refused(content, how, tmp_path, "cannot be read", IntegrityError)


def sized(field: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar header with any bytes for its size."""
    header = bytearray(make.head("a", kind, 0))
    header[124:136] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


HEADERS: dict[str, bytes] = {
    "a negative size": sized(b"\xff" * 12),
    "a size of letters": sized(b"size of it\0\0"),
    "a size that no disk has": sized(b"\x80" + b"\xff" * 11),
    "a size in hexadecimal": sized(b"0000000000f\0"),
    "a size beyond the file": sized(b"77777777777\0"),
    "an extended header of 8 GB": sized(b"77777777777\0", b"x"),
    "a long name of 8 GB": sized(b"77777777777\0", b"L"),
    "a long link of 8 GB": sized(b"77777777777\0", b"K"),
    "a global header of 8 GB": sized(b"77777777777\0", b"g"),
    "a negative extended header": sized(b"\xff" * 12, b"x"),
    "records without lengths": make.extended(b"x", b"path=evil\n"),
    "a record that is too long": make.extended(b"x", b"99 path=evil\n"),
    "a record that is too short": make.extended(b"x", b"5 path=evil\n"),
    "a record of no length": make.extended(b"x", b"0 path=evil\n"),
    "a record of a long length": make.extended(b"x", b"9" * 30 + b" path=evil\n"),
    "a record without a key": make.extended(b"x", b"8 =evil\n"),
    "a size in a record that is no number": make.extended(b"x", make.record("size", "1e3")),
    "a negative size in a record": make.extended(b"x", make.record("size", "-512")),
    "a size in a record beyond all": make.extended(b"x", make.record("size", "9" * 20)),
    "a global name": make.extended(b"g", make.record("path", "evil")),
    "a global size": make.extended(b"g", make.record("size", "1")),
    "a sparse file in records": make.extended(b"x", make.record("GNU.sparse.major", "1")),
    "a sparse file of an older kind": make.extended(b"x", make.record("GNU.sparse.map", "0,1")),
    "headers of headers": make.extended(b"x", make.record("mtime", "1")) * 1000,
    "long names of long names": make.extended(b"L", b"a\0") * 1000,
    "a header that belongs to nothing": make.extended(b"x", make.record("path", "a")),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_tar_header_that_lies_is_refused(header: bytes, tmp_path: Path) -> None:
    content = header if header == HEADERS["a header that belongs to nothing"] else header + make.head("a", tarfile.REGTYPE, 0)
    refused(content + make.END, "tar", tmp_path, "cannot be read", IntegrityError)


# too much ------------------------------------------------------------------------------------------------------------


def test_more_members_than_allowed_are_refused_before_any_of_a_zip_file_is_written(tmp_path: Path) -> None:
    refused(make.zipped({str(number): b"" for number in range(11)}), "zip", tmp_path, "more than 10 files", max_members=10)
    assert list((tmp_path / "inside" / "folder").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE])
def test_more_members_than_allowed_are_refused_in_a_tar_file(kind: bytes, tmp_path: Path) -> None:
    more = [make.member(str(number), kind) for number in range(11)]
    refused(make.tarred({}, more=more), "tar", tmp_path, "set max_members in your zoo.toml", max_members=10)


def test_one_folder_many_times_counts_as_many(tmp_path: Path) -> None:
    more = [make.member("d", tarfile.DIRTYPE)] * 11
    refused(make.tarred({}, more=more), "tar", tmp_path, "more than 10", max_members=10)


@pytest.mark.parametrize("how", ["zip", "tar", "tgz", "gzip", "entry"])
def test_more_bytes_than_the_user_allows_are_refused(how: str, tmp_path: Path) -> None:
    members = {"a": b"1" * 600, "b": b"2" * 600}
    content = {
        "zip": make.zipped(members),
        "entry": make.zipped({"a": b"1" * 1200}),
        "tar": make.tarred(members),
        "tgz": make.squeezed(make.tarred(members)),
        "gzip": make.squeezed(b"1" * 1200),
    }[how]
    refused(content, how, tmp_path, "as max_unpacked_size in your zoo.toml says, 1000 B|1.0 kB", max_size=1000)


def test_hard_links_count_as_what_they_become(tmp_path: Path) -> None:
    more = [make.member(f"link{number}", tarfile.LNKTYPE, link="a") for number in range(100)]
    refused(make.tarred({"a": b"1" * 600}, more=more), "tar", tmp_path, "may come out of it", max_size=10_000)


def bomb(how: str, size: int) -> bytes:
    """A small archive of zeros."""
    if how in ("zip", "entry"):
        return make.zipped({"zeros": bytes(size)})
    if how == "gzip":
        return make.squeezed(bytes(size))
    return make.squeezed(make.head("zeros", tarfile.REGTYPE, size) + bytes(size) + make.END)


@pytest.mark.parametrize("how", ["zip", "entry", "gzip", "tgz"])
def test_a_bomb_is_refused_after_a_hundred_times_its_size(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_core.unpack.FREE_INFLATION", MIB)
    content = bomb(how, 20 * MIB)
    message = refused(content, how, tmp_path, "may come out of it")
    assert "If you trust it, set max_unpacked_size" in message
    written = sum(path.stat().st_size for path in (tmp_path / "inside").rglob("*") if path.is_file())
    assert written <= max(MIB, 100 * len(content)) + MIB


def test_many_small_bombs_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_core.unpack.FREE_INFLATION", MIB)
    refused(make.zipped({str(number): bytes(MIB) for number in range(20)}), "zip", tmp_path, "its directory declares 21.0 MB")


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """A small file becomes a large one by naming the same bytes many times, within any ratio of one entry."""
    plain = make.zipped({f"{number:03}": b"kernel" * 50 for number in range(100)})
    directory = plain.find(b"PK\1\2")
    shared = plain[:directory] + b"".join(
        part if number == 0 else b"PK\1\2" + part[4:42] + bytes(4) + part[46:]
        for number, part in enumerate(b"PK\1\2" + text for text in plain[directory:].split(b"PK\1\2")[1:])
    )
    refused(shared, "zip", tmp_path, "has its bytes in common with another member")


def test_a_size_that_a_directory_understates_bounds_what_is_read(tmp_path: Path) -> None:
    content = make.zipped({"a": bytes(MIB)})
    lying = make.flagged(content, 22, 24, struct.pack("<I", 100))
    refused(lying, "zip", tmp_path, "cannot be read: Bad CRC-32", IntegrityError)
    assert sum(path.stat().st_size for path in (tmp_path / "inside").rglob("*") if path.is_file()) <= 100


def test_a_directory_that_overstates_a_size_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    lying = make.flagged(make.zipped({"a": b"1"}), 22, 24, struct.pack("<I", 2**32 - 2))
    refused(lying, "zip", tmp_path, "its directory declares 4.3 GB")


def test_zeros_behind_the_end_of_a_tar_file_become_nothing(tmp_path: Path) -> None:
    content = make.squeezed(make.tarred({"a": b"1"}) + bytes(50 * MIB))
    assert [file.path for file in unpacked(content, "tgz", tmp_path, max_size=1000).files] == ["a"]


def test_but_they_are_not_read_without_end(tmp_path: Path) -> None:
    content = make.squeezed(make.tarred({"a": b"1"}) + bytes(50 * MIB))
    refused(content, "tgz", tmp_path, "it inflates to more, most of it no file's", max_size=1000, max_members=10)


# memory, in processes of their own ------------------------------------------------------------------------------------

_LIMITED = """
import resource, sys
from pathlib import Path
import zipfile, gzip, hashlib
from zoo_core.errors import ZooError
from zoo_core.unpack import unpack
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[4]), int(sys.argv[4])))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
try:
    unpack(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), what="it")
except ZooError as error:
    print(type(error).__name__, error)
"""


def directory_of(count: int) -> bytes:
    """The directory of a zip file with many entries of empty names that all are at the beginning."""
    one = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count % 65536, count % 65536, count * len(one), 0, 0)
    return one * count + end


def global_headers(size: int) -> bytes:
    records = b"".join(make.record(f"key{number}", "x" * 900) for number in range(1000))
    one = make.extended(b"g", records)
    return one * (size // len(one))


GREEDY: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a directory of millions of entries": ("zip", lambda: directory_of(2_000_000)),
    "a directory of many entries": ("zip", lambda: directory_of(400_000)),
    "a long name that inflates to 8 GB": ("tgz", lambda: make.squeezed(sized(b"77777777777\0", b"L") + bytes(400 * MIB))),
    "an extended header that inflates": ("tgz", lambda: make.squeezed(sized(b"00777777777\0", b"x") + bytes(200 * MIB))),
    "global headers without end": ("tgz", lambda: make.squeezed(global_headers(400 * MIB))),
    "a chain of headers": ("tgz", lambda: make.squeezed(make.extended(b"L", b"a\0") * 400_000)),
    "a member that inflates": ("tgz", lambda: bomb("tgz", 300 * MIB)),
    "an entry that inflates": ("zip", lambda: make.flagged(bomb("zip", 300 * MIB), 22, 24, struct.pack("<I", MIB))),
    "a gzip file of empty gzip files": ("gzip", lambda: make.squeezed(b"") * 100_000 + b"x"),
    "a header of gzip without end": ("gzip", lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (4 * MIB)),
    "a comment without end": ("zip", lambda: make.zipped({"a": b"1"}) + b"c" * (200 * MIB)),
}


@pytest.mark.parametrize(("how", "content"), GREEDY.values(), ids=GREEDY)
def test_no_file_decides_how_much_memory_is_used(how: str, content: Callable[[], bytes], tmp_path: Path) -> None:
    archive, folder = tmp_path / "archive", tmp_path / "folder"
    archive.write_bytes(content())
    folder.mkdir()
    arguments = [str(archive), how, str(folder), str(400 * MIB)]
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.startswith(("UnsafeArchiveError it:", "IntegrityError it:")), done.stderr[-2000:]


# drawn ---------------------------------------------------------------------------------------------------------------

_PARTS = st.one_of(
    st.sampled_from(
        ["..", ".", "", "a", "A", "con", "NUL.txt", "C:", "\\", "é", "e\u0301", "x" * 260, "a.", "b ", "\x1b", "\0"]
    ),
    st.text(max_size=8),
)


_NAMES = st.lists(st.lists(_PARTS, min_size=1, max_size=5).map("/".join), min_size=1, max_size=6)


@given(names=_NAMES, how=st.sampled_from(["zip", "tar"]))
@drawn(150)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_whatever_the_names_are_nothing_lies_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], how: str
) -> None:
    place = tmp_path_factory.mktemp("drawn")
    members, messages = [(name, b"x") for name in names], list[str]()
    try:
        content = make.zipped(members) if how == "zip" else make.tarred(members)
    except (UnicodeEncodeError, struct.error):
        # A name that no writer takes.
        return
    try:
        found = unpacked(content, how, place)
    except (UnsafeArchiveError, IntegrityError) as error:
        messages.append(str(error))
    else:
        inside = place / "inside" / "folder"
        written = {path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file()}
        assert {file.path for file in found.files} == written
        assert all((place / "inside/folder" / file.path).read_bytes() == b"x" for file in found.files)
        assert all(".." not in file.path.split("/") and "\\" not in file.path for file in found.files)
    assert all(map(is_harmless, messages))
    assert tree(place) == ["archive", "inside", "inside/folder"]


@given(data=st.data())
@drawn(300)
def test_whatever_bytes_change_it_is_unpacked_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    how, good = data.draw(
        st.sampled_from([("zip", ZIPPED), ("tar", TARRED), ("tgz", gzip.compress(TARRED)), ("entry", ZIPPED)])
    )
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.none(), st.integers(0, len(changed))))
    place = tmp_path_factory.mktemp("fuzzed")
    with contextlib.suppress(UnsafeArchiveError, IntegrityError):
        unpacked(bytes(changed[:cut]), how, place)
    assert tree(place) == ["archive", "inside", "inside/folder"]


def test_bytes_at_random_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    chance = random.Random(5)
    for number in range(60):
        how = ("zip", "tar", "tgz", "gzip", "entry")[number % 5]
        prefix = {"zip": b"PK\3\4", "entry": b"PK\3\4", "tgz": b"\x1f\x8b\x08", "gzip": b"\x1f\x8b\x08"}.get(how, b"")
        content = prefix + chance.randbytes(chance.randrange(5000))
        place = tmp_path_factory.mktemp("random")
        with pytest.raises(IntegrityError):
            unpacked(content, how, place)
