"""The files of one model in a folder, a zip file or a tar file; what is hostile is in ``tests/attacks``."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests import archives
from tests import parameter_files as make
from zoo_core.bundle import Bundle, Folder, bundle_at, bundle_of
from zoo_core.errors import InputError, ParameterError
from zoo_core.parameters.source import open_source

FILES = {"net.safetensors": make.SAFETENSORS, "block_factory.py": b"x = 1\n"}
INSIDE = {f"net-1.0/{name}": content for name, content in FILES.items()}


def packed(content: bytes) -> Bundle:
    found = bundle_of(open_source(content))
    assert found is not None
    return found


ARCHIVES = {
    "zip": archives.zipped(FILES),
    "stored zip": archives.zipped(FILES, zipfile.ZIP_STORED),
    "zip of a folder": archives.zipped({"net-1.0/": b"", **INSIDE}),
    "tar": archives.tarred(FILES),
    "tar.gz": archives.tarred(FILES, mode="w:gz"),
    "tar of the working directory": archives.tarred({f"./{name}": content for name, content in FILES.items()}),
    "tar.gz of a folder": archives.tarred(INSIDE, mode="w:gz"),
}


@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES)
def test_the_files_of_an_archive_are_those_that_were_packed(content: bytes) -> None:
    found = packed(content)
    assert found.names == ("block_factory.py", "net.safetensors")
    assert {name: bytes(found.open(name).data) for name in found.names} == FILES


def test_a_folder_has_its_files_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    found = Folder(tmp_path)
    assert found.names == ("block_factory.py", "net.safetensors")
    assert bytes(found.open("net.safetensors").data) == make.SAFETENSORS
    assert found.folder == tmp_path


def test_the_members_of_an_archive_lie_in_no_folder() -> None:
    assert packed(ARCHIVES["zip"]).folder is None


@pytest.mark.parametrize("make_archive", [archives.zipped, archives.tarred], ids=["zip", "tar"])
def test_files_in_folders_inside_are_left_out(make_archive: object) -> None:
    content = make_archive({"a.safetensors": b"1", "deeper/b.safetensors": b"2"})  # type: ignore[operator]
    assert packed(content).names == ("a.safetensors",)


def test_one_folder_that_holds_everything_is_left_out_of_the_names_once() -> None:
    assert packed(archives.zipped({"a/b/c.safetensors": b"1"})).names == ()


@pytest.fixture(params=["folder", "zip", "tar.gz"])
def nested(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    """Files and folders, in each kind of bundle."""
    files = {"a": b"1", "b": b"2", "in/c": b"3", "in/deeper/d": b"4", "__MACOSX/a": b"5", ".git/x": b"6"}
    if request.param == "folder":
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
        return Folder(tmp_path)
    return packed(archives.zipped(files) if request.param == "zip" else archives.tarred(files, mode="w:gz"))


def test_folders_inside_are_bundles_too(nested: Bundle) -> None:
    assert (nested.names, nested.folders) == (("a", "b"), ("in",))
    inner = nested.inside("in")
    assert (inner.names, inner.folders, bytes(inner.open("c").data)) == (("c",), ("deeper",), b"3")
    assert bytes(inner.inside("deeper").open("d").data) == b"4"
    assert nested.names == ("a", "b")


def test_some_files_may_be_left_out(nested: Bundle) -> None:
    assert (nested.without({"a"}).names, nested.names) == (("b",), ("a", "b"))


def test_a_bundle_is_found_at_a_path(tmp_path: Path) -> None:
    for name, content in (("net.zip", ARCHIVES["zip"]), ("net.params", make.PARAMS)):
        (tmp_path / name).write_bytes(content)
    found = [bundle_at(tmp_path / name) for name in ("", "net.zip", "net.params")]
    assert [bundle.names if bundle else None for bundle in found] == [
        ("net.params", "net.zip"), ("block_factory.py", "net.safetensors"), None,
    ]  # fmt: skip


@pytest.mark.parametrize("content", [*make.GOOD.values(), b"", b"PK", b"hello", b"{}"])
def test_what_is_no_archive_or_a_parameter_file_itself_is_no_bundle(content: bytes) -> None:
    assert bundle_of(open_source(content)) is None


def test_a_stored_member_of_a_zip_file_is_mapped_and_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "net.zip"
    path.write_bytes(ARCHIVES["stored zip"])
    opened = open_source(path)
    found = bundle_of(opened)
    assert found is not None
    assert found.open("net.safetensors").data.obj is opened.data.obj


def test_messages_name_the_archive_and_the_member(tmp_path: Path) -> None:
    path = tmp_path / "net.zip"
    path.write_bytes(ARCHIVES["zip"])
    found = bundle_of(open_source(path))
    assert found is not None
    assert found.open("net.safetensors").name == f"{path}: net.safetensors"


@pytest.mark.parametrize("make_archive", [archives.zipped, archives.tarred], ids=["zip", "tar"])
def test_a_foreign_name_is_printable_in_messages(make_archive: object) -> None:
    found = packed(make_archive({"\x1b[2J.safetensors": b"1"}))  # type: ignore[operator]
    assert found.open(*found.names).name == "the given bytes: \\x1b[2J.safetensors"


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: No such file"):
        Folder(tmp_path / "nowhere")


def test_a_damaged_tar_file_is_an_error() -> None:
    with pytest.raises(ParameterError, match="the archive cannot be read"):
        bundle_of(open_source(ARCHIVES["tar.gz"][:-40]))
