"""Files appear whole, or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from zoo_core.atomic import atomic_file, atomic_path, unique_name


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
