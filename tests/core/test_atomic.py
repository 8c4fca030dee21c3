"""Files appear whole, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.windows import refuse_as_windows_does
from zoo_core.atomic import atomic_file, atomic_path, remove, replace, unique_name


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def usual_umask() -> object:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_the_content_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    with atomic_file(target) as stream:
        stream.write(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]


def test_the_folder_is_made(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a" / "b" / "note.txt") as stream:
        stream.write(b"x")
    assert (tmp_path / "a" / "b" / "note.txt").read_bytes() == b"x"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "note.txt"
    target.write_bytes(b"old")

    def write_half() -> None:
        with atomic_file(target) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_written_meanwhile_lies_in_the_same_folder_with_the_same_suffix(tmp_path: Path) -> None:
    """Only inside one file system is a rename atomic, and some engines look at the suffix."""
    with atomic_path(tmp_path / "model.safetensors") as partial:
        partial.write_bytes(b"tensors")
        assert (partial.parent, partial.suffix) == (tmp_path, ".safetensors")
    assert (tmp_path / "model.safetensors").read_bytes() == b"tensors"


def test_of_two_writers_the_one_that_ends_last_is_seen_whole(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    with atomic_file(target) as first:
        first.write(b"first")
        with atomic_file(target) as second:
            second.write(b"second, longer")
        assert target.read_bytes() == b"second, longer"
    assert target.read_bytes() == b"first"


@pytest.mark.parametrize(("mode", "expected"), [(0o666, 0o640), (0o444, 0o440)])
def test_permissions_follow_the_umask(tmp_path: Path, usual_umask: object, mode: int, expected: int) -> None:
    with atomic_file(tmp_path / "note.txt", mode=mode) as stream:
        stream.write(b"x")
    assert permissions(tmp_path / "note.txt") == expected


def test_the_umask_of_the_process_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to all threads: a file that another thread makes meanwhile would get wrong permissions."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail(f"umask({mask:o})"))
    with atomic_file(tmp_path / "note.txt") as stream:
        stream.write(b"x")
    assert (tmp_path / "note.txt").is_file()


def test_names_of_what_is_not_whole_yet_are_hidden_and_never_the_same() -> None:
    names = {unique_name() for _ in range(100)}
    assert len(names) == 100
    assert all(name.startswith(".partial-") for name in names)


# what Windows refuses ------------------------------------------------------------------------------------------------


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_as_windows_does(monkeypatch)


@pytest.mark.parametrize("mode", [0o666, 0o444])
@pytest.mark.usefixtures("windows")
def test_a_file_is_written_where_only_writers_can_flush(tmp_path: Path, mode: int) -> None:
    for content in (b"old", b"new"):
        with atomic_file(tmp_path / "note.txt", mode=mode) as stream:
            stream.write(content)
    assert (tmp_path / "note.txt").read_bytes() == b"new"
    assert bool(permissions(tmp_path / "note.txt") & stat.S_IWUSR) is (mode == 0o666)
    assert list(tmp_path.iterdir()) == [tmp_path / "note.txt"]


@pytest.mark.usefixtures("windows")
def test_what_a_writer_left_read_only_is_deleted_after_an_error(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_path(tmp_path / "note.txt") as partial:
            partial.chmod(0o444)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_nobody_may_replace_keeps_its_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "old").chmod(0o444)
    monkeypatch.setattr(os, "replace", refused)
    for target in ("old", "absent"):
        with pytest.raises(PermissionError):
            replace(tmp_path / "new", tmp_path / target)
    assert permissions(tmp_path / "old") == 0o444


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")
