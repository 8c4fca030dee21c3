"""Good archives, as the writers of the world make them, become the files that are in them."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import archives as make
from zoo_core.errors import CacheError, UnsafeArchiveError
from zoo_core.store import digest_file
from zoo_core.unpack import CONTENT, Limits, Unpacked, unpack

MEMBERS = {"net.params": bytes(range(256)) * 20, "synset.txt": b"cat\ndog\n", "deep/er/config.json": b"{}", "empty": b""}


def unpacked(content: bytes, how: str, place: Path, **limits: int) -> tuple[Unpacked, Path]:
    archive, folder = place / "archive", place / "folder"
    archive.write_bytes(content)
    folder.mkdir()
    return unpack(archive, how, folder, what="it", limits=Limits(**limits)), folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made_by_zipfile(**keywords: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **keywords) as archive:  # type: ignore[arg-type]
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    return file.getvalue()


def written_as_a_stream() -> bytes:
    """Sizes stand behind the entries, since nobody can go back."""

    class Pipe(io.RawIOBase):
        written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object, /) -> int:
            self.written += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)
    return pipe.written


def forced_zip64() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in MEMBERS.items():
            with archive.open(name, "w", force_zip64=True) as stream:
                stream.write(content)
    return file.getvalue()


def with_comments() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = b"a comment"
        for name, content in MEMBERS.items():
            info = zipfile.ZipInfo(name)
            info.comment, info.extra = b"remark", b"\xfe\xca\2\0hi"
            archive.writestr(info, content)
    return file.getvalue()


def with_an_extended_header() -> bytes:
    head = make.extended(b"g", make.record("comment", "a commit")) + make.extended(
        b"x", make.record("SCHILY.xattr.user.mime", "x" * 70_000) + make.record("mtime", "1.5")
    )
    return head + make.tarred(MEMBERS)


def _in_pieces() -> bytes:
    plain = make.tarred(MEMBERS)
    return gzip.compress(plain[:700]) + gzip.compress(plain[700:])


GOOD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zip, stored": ("zip", lambda: made_by_zipfile(compression=zipfile.ZIP_STORED)),
    "zip, deflated": ("zip", lambda: made_by_zipfile(compression=zipfile.ZIP_DEFLATED)),
    "zip, best": ("zip", lambda: made_by_zipfile(compression=zipfile.ZIP_DEFLATED, compresslevel=9)),
    "zip, as a stream": ("zip", written_as_a_stream),
    "zip, with sizes of 64 bits": ("zip", forced_zip64),
    "zip, with comments and extra fields": ("zip", with_comments),
    "zip, behind a program that unpacks it": ("zip", lambda: b"#!/bin/sh\n" + b"exit\n" * 100 + make.zipped(MEMBERS)),
    "zip, with folders": ("zip", lambda: make.zipped({"deep/": b"", "deep/er/": b"", **MEMBERS}.items())),
    "tar, of 1988": ("tar", lambda: make.tarred(MEMBERS, format=tarfile.USTAR_FORMAT)),
    "tar, GNU's": ("tar", lambda: make.tarred(MEMBERS, format=tarfile.GNU_FORMAT)),
    "tar, of 2001": ("tar", lambda: make.tarred(MEMBERS, format=tarfile.PAX_FORMAT)),
    "tar, with a dot before each name": ("tar", lambda: make.tarred({f"./{name}": data for name, data in MEMBERS.items()})),
    "tar, with folders": ("tar", lambda: make.tarred(MEMBERS, more=[make.member("deep/", tarfile.DIRTYPE)])),
    "tar, without its end": ("tar", lambda: _contiguous()[: -len(make.END)]),
    "tar, filled up": ("tar", lambda: make.tarred(MEMBERS) + bytes(100_000)),
    "tar, with attributes": ("tar", with_an_extended_header),
    "tar, contiguous": ("tar", lambda: _contiguous()),
    "tgz": ("tgz", lambda: make.tarred(MEMBERS, mode="w:gz")),
    "tgz, in several members": ("tgz", _in_pieces),
    "tgz, followed by zeros": ("tgz", lambda: make.tarred(MEMBERS, mode="w:gz") + bytes(512)),
}  # fmt: skip


def _contiguous() -> bytes:
    pieces = [make.head(name, tarfile.CONTTYPE, len(content)) + make.padded(content) for name, content in MEMBERS.items()]
    return b"".join(pieces) + make.END


@pytest.mark.parametrize(("how", "content"), GOOD.values(), ids=GOOD)
def test_the_files_of_an_archive_lie_in_the_folder_with_their_digests(
    how: str, content: Callable[[], bytes], tmp_path: Path
) -> None:
    found, folder = unpacked(content(), how, tmp_path)
    assert files_in(folder) == MEMBERS
    assert {file.path: file.size for file in found.files} == {name: len(data) for name, data in MEMBERS.items()}
    assert all(digest_file(folder / file.path).sha256 == file.sha256 for file in found.files)


@pytest.mark.parametrize("tool", ["tar", "tgz", "zip"])
def test_what_the_tools_of_the_system_write_is_unpacked(tool: str, tmp_path: Path) -> None:
    program = "zip" if tool == "zip" else "tar"
    if shutil.which(program) is None:
        pytest.skip(f"there is no program {program}")
    packing = tmp_path / "packing"
    for name, content in {**MEMBERS, "n" * 90 + "/" + "m" * 150: b"long"}.items():
        (packing / name).parent.mkdir(parents=True, exist_ok=True)
        (packing / name).write_bytes(content)
    arguments = {"tar": ["-cf", "../made"], "tgz": ["-czf", "../made"], "zip": ["-qr", "../made.zip"]}[tool]
    subprocess.run([program, *arguments, "."], cwd=packing, check=True, timeout=60)
    made = tmp_path / ("made.zip" if tool == "zip" else "made")
    _, folder = unpacked(made.read_bytes(), tool, tmp_path)
    assert files_in(folder) == files_in(packing)


@pytest.mark.parametrize("how", ["zip", "tar"])
def test_folders_without_files_are_kept(how: str, tmp_path: Path) -> None:
    more = [make.member(name, tarfile.DIRTYPE) for name in ("assets", "deep", "deep/empty")]
    content = make.tarred(MEMBERS, more=more)
    if how == "zip":
        content = make.zipped([*MEMBERS.items(), ("assets/", b""), ("deep/", b""), ("deep/empty/", b"")])
    found, folder = unpacked(content, how, tmp_path)
    assert found.folders == ("assets", "deep/empty")
    assert (folder / "assets").is_dir()
    assert files_in(folder) == MEMBERS


@pytest.mark.parametrize("how", ["zip", "tar", "tgz"])
def test_an_archive_may_be_empty(how: str, tmp_path: Path) -> None:
    content = {"zip": make.zipped({}), "tar": make.END, "tgz": gzip.compress(make.END)}[how]
    assert unpacked(content, how, tmp_path)[0] == Unpacked((), ())


def test_a_hard_link_to_an_earlier_file_becomes_a_copy(tmp_path: Path) -> None:
    """As tar writes a folder of the cache in which two files have one content."""
    content = make.tarred(MEMBERS, more=[make.member("copy", tarfile.LNKTYPE, link="./deep/er/config.json")])
    found, folder = unpacked(content, "tar", tmp_path)
    assert files_in(folder) == {**MEMBERS, "copy": b"{}"}
    assert (folder / "copy").stat().st_nlink == 1
    assert [file.path for file in found.files][-1] == "copy"


LONG = ["p" * 90 + "/" + "n" * 100, "/".join(["d" * 50] * 5), "é" * 120, "a/" * 30 + "z", "n" * 101]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["GNU", "POSIX"])
def test_long_names_are_read_in_both_ways_of_writing_them(format: int, tmp_path: Path) -> None:
    _, folder = unpacked(make.tarred(dict.fromkeys(LONG, b"x"), format=format), "tar", tmp_path)
    assert sorted(files_in(folder)) == sorted(LONG)


def test_names_of_a_zip_file_are_utf_8_where_they_can_be_and_else_of_code_page_437(tmp_path: Path) -> None:
    """As Java reads them, and as the format says."""
    utf8 = make.renamed(make.zipped({"caf##.txt": b"1"}), b"caf##.txt", "café.txt".encode())
    dos = make.renamed(make.zipped({"caf#.txt": b"1"}), b"caf#.txt", "café.txt".encode("cp437"))
    for number, content in enumerate((utf8, dos, make.zipped({"café.txt": b"1"}))):
        (tmp_path / str(number)).mkdir()
        assert list(files_in(unpacked(content, "zip", tmp_path / str(number))[1])) == ["café.txt"]


def test_the_content_of_a_gzip_file_is_one_file(tmp_path: Path) -> None:
    found, folder = unpacked(gzip.compress(b"weights") + gzip.compress(b" and more"), "gzip", tmp_path)
    assert files_in(folder) == {CONTENT: b"weights and more"}
    assert [file.path for file in found.files] == [CONTENT]


def test_the_name_inside_a_gzip_file_counts_for_nothing(tmp_path: Path) -> None:
    file = io.BytesIO()
    with gzip.GzipFile("../../evil", "wb", fileobj=file) as stream:
        stream.write(b"weights")
    assert files_in(unpacked(file.getvalue(), "gzip", tmp_path)[1]) == {CONTENT: b"weights"}


def test_the_first_file_of_a_zip_file_is_the_one_that_lies_first(tmp_path: Path) -> None:
    """Its directory may have another order, and DJL reads from the beginning to the end; folders are no files."""
    content = make.zipped([("d/", b""), ("d/first", b"1"), ("../second", b"2")])
    directory = content.find(b"PK\1\2")
    entries = [b"PK\1\2" + part for part in content[directory : content.find(b"PK\5\6")].split(b"PK\1\2")[1:]]
    reordered = content[:directory] + b"".join(reversed(entries)) + content[content.find(b"PK\5\6") :]
    assert files_in(unpacked(reordered, "entry", tmp_path)[1]) == {CONTENT: b"1"}


def test_nothing_is_executable_or_has_its_archives_owner_or_rights(tmp_path: Path) -> None:
    item = make.member("run", size=0)
    item.mode, item.uid, item.gid, item.uname = 0o6777, 12345, 12345, "nobody"
    before = os.umask(0o027)
    try:
        _, folder = unpacked(make.tarred({}, more=[item, make.member("d/e", tarfile.DIRTYPE)]), "tar", tmp_path)
    finally:
        os.umask(before)
    status = (folder / "run").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o640, os.getuid())
    assert stat.S_IMODE((folder / "d").stat().st_mode) == 0o750


def test_what_is_large_is_allowed_where_the_archive_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_core.unpack.FREE_INFLATION", 1000)
    content = make.tarred({"table.csv": b"".join(b"%d,%d\n" % (row, row * row) for row in range(2000))}, mode="w:gz")
    with pytest.raises(UnsafeArchiveError):
        unpacked(make.squeezed(bytes(1_000_000)), "gzip", tmp_path)
    shutil.rmtree(tmp_path / "folder")
    assert len(unpacked(content, "tgz", tmp_path)[0].files) == 1


def test_a_bound_of_ones_own_replaces_the_one_by_the_archives_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_core.unpack.FREE_INFLATION", 1000)
    assert unpacked(make.squeezed(bytes(1_000_000)), "gzip", tmp_path, max_size=1_000_000)[0].files[0].size == 1_000_000


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 100))  # type: ignore[attr-defined]
    with pytest.raises(CacheError, match=r"it needs 5\.1 kB, and the disk of .* has 100 B left.*zoo cache prune"):
        unpacked(make.zipped(MEMBERS), "zip", tmp_path)
    assert files_in(tmp_path / "folder") == {}


def test_what_the_disk_refuses_is_the_disks_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        unpacked(make.zipped(MEMBERS), "zip", tmp_path)


def test_everything_is_flushed_one_by_one_or_at_once_where_it_is_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda _: done.append("one"))
    monkeypatch.setattr(os, "sync", lambda: done.append("all"))
    for number, count in enumerate((3, 300)):
        (tmp_path / str(number)).mkdir()
        unpacked(make.zipped({str(name): b"x" for name in range(count)}), "zip", tmp_path / str(number))
    assert done == ["one"] * 3 + ["all"]


@pytest.mark.skipif(sys.platform == "win32", reason="resource is POSIX's")
def test_memory_does_not_grow_with_what_is_inside(tmp_path: Path) -> None:
    import tracemalloc

    content = {"zip": make.zipped({"a": bytes(50 << 20)}), "tgz": make.squeezed(make.tarred({"a": bytes(50 << 20)}))}
    for how, packed in content.items():
        (tmp_path / how).mkdir()
        tracemalloc.start()
        unpacked(packed, how, tmp_path / how)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 << 20


# drawn ---------------------------------------------------------------------------------------------------------------

_NAME = st.text(st.characters(categories=["L", "N"], include_characters="-_ "), min_size=1, max_size=12).filter(
    lambda name: not name.endswith(" ") and name.lower() not in ("con", "prn", "aux", "nul")
)
_TREES = st.dictionaries(st.lists(_NAME, min_size=1, max_size=4).map("/".join), st.binary(max_size=1500), max_size=6)


@given(tree=_TREES, how=st.sampled_from(["zip", "ustar", "gnu", "pax"]))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_tarfile_and_zipfile_write_we_read(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes], how: str
) -> None:
    formats = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
    try:
        content = make.zipped(tree) if how == "zip" else make.tarred(tree, format=formats[how])
    except ValueError:
        # The oldest format has no room for long names.
        return
    try:
        _, folder = unpacked(content, "zip" if how == "zip" else "tar", tmp_path_factory.mktemp("drawn"))
    except UnsafeArchiveError as error:
        # Drawn names may be one another's.
        message = str(error)
    else:
        message = ""
        assert files_in(folder) == tree
    assert not message or any(reason in message for reason in ("is the same", "is a file", "a device"))
