"""Downloads that are not whole yet."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from zoo_core import partial as partial_module
from zoo_core.partial import Partial, Partials, State

TEN = State(url="https://models.example/net.bin", validator='"1"', total=20, done=((0, 10),))


@pytest.fixture
def partials(tmp_path: Path) -> Partials:
    return Partials(tmp_path / "partial")


def write(partial: Partial, content: bytes = b"0123456789", state: State = TEN) -> None:
    partial.content.write_bytes(content)
    partial.save(state)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "partial").iterdir())


def left_by_a_dead_process(tmp_path: Path, name: str = "abc.1", content: bytes = b"0123456789", state: State = TEN) -> Path:
    folder = tmp_path / "partial" / name
    folder.mkdir(parents=True)
    write(Partial(folder), content, state)
    return folder


def test_what_came_waits_under_its_digest_for_whoever_comes_next(partials: Partials, tmp_path: Path) -> None:
    with partials.claim("abc", is_alone=True) as partial:
        assert partial.state() == State()
        write(partial)
    assert names(tmp_path) == ["abc"]
    assert partials.size("abc") == 10
    with partials.claim("abc", is_alone=True) as partial:
        assert partial.folder.name != "abc"
        assert (partial.state(), partial.content.read_bytes()) == (TEN, b"0123456789")


def test_nothing_stays_of_what_brought_nothing_or_was_discarded(partials: Partials, tmp_path: Path) -> None:
    with partials.claim("abc", is_alone=True):
        pass
    with partials.claim("abc", is_alone=True) as partial:
        write(partial)
        partial.discard()
    assert names(tmp_path) == []


def test_it_stays_when_the_download_fails(partials: Partials, tmp_path: Path) -> None:
    def interrupted() -> None:
        with partials.claim("abc", is_alone=True) as partial:
            write(partial)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == ["abc"]


def test_of_many_who_want_one_a_single_one_gets_it(partials: Partials) -> None:
    with partials.claim("abc", is_alone=True) as partial:
        write(partial)
    barrier, found = threading.Barrier(8), list[int]()

    def run() -> None:
        barrier.wait()
        with partials.claim("abc", is_alone=False) as mine:
            found.append(mine.state().count)
            barrier.wait()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0] * 7 + [10]


def test_what_a_killed_process_left_is_copied_and_never_written_to(partials: Partials, tmp_path: Path) -> None:
    folder = left_by_a_dead_process(tmp_path)
    with (folder / "content").open("r+b") as still_open:
        with partials.claim("abc", is_alone=True) as partial:
            assert (partial.state(), partial.content.read_bytes()) == (TEN, b"0123456789")
            # Where locks do nothing it may not be dead at all.
            still_open.write(b"xxxxxxxxxx")
            still_open.flush()
            assert partial.content.read_bytes() == b"0123456789"
        assert names(tmp_path) == ["abc"]


def test_of_several_the_largest_is_taken_and_the_others_deleted(partials: Partials, tmp_path: Path) -> None:
    left_by_a_dead_process(tmp_path, "abc.1", b"01", State(done=((0, 2),)))
    left_by_a_dead_process(tmp_path, "abc.2", b"01234\0\0\0\0\0abcdef", State(done=((0, 5), (10, 16))))
    left_by_a_dead_process(tmp_path, "abd.3")
    with partials.claim("abc", is_alone=True) as partial:
        assert partial.state().done == ((0, 5), (10, 16))
        assert partial.content.read_bytes() == b"01234\0\0\0\0\0abcdef"
    assert names(tmp_path) == ["abc", "abd.3"]


def test_without_a_lock_only_what_was_not_touched_for_long_is_taken(partials: Partials, tmp_path: Path) -> None:
    folder = left_by_a_dead_process(tmp_path)
    with partials.claim("abc", is_alone=False) as partial:
        assert partial.state() == State()
    assert names(tmp_path) == ["abc.1"]
    for path in (folder / "content", folder):
        os.utime(path, (1e9, 1e9))
    # What is as old as this is not looked for at all.
    long_ago = partial_module.FORGOTTEN_S
    partial_module.FORGOTTEN_S = float("inf")
    try:
        with partials.claim("abc", is_alone=False) as partial:
            assert partial.state() == TEN
    finally:
        partial_module.FORGOTTEN_S = long_ago


def test_what_nobody_came_back_for_is_deleted(partials: Partials, tmp_path: Path) -> None:
    folder = left_by_a_dead_process(tmp_path, "old")
    for path in (folder / "content", folder):
        os.utime(path, (1e9, 1e9))
    with partials.claim("abc", is_alone=True):
        pass
    assert names(tmp_path) == []


def test_a_process_whose_folder_was_taken_away_does_not_fail(partials: Partials) -> None:
    with partials.claim("abc", is_alone=True) as partial:
        write(partial)
        other = Partials(partial.folder.parent)
        with other.claim("abc", is_alone=True) as taken:
            assert taken.state() == TEN
        partial.save(TEN)
        assert partial.state() == State()


@pytest.mark.parametrize(
    "state", ['{"done": [[0, 11]]}', '{"done": [[-1, 5]]}', '{"done": [[4, 2]]}', '{"done": [[0, 5], [3, 7]]}', "[]", "", "{"]
)
def test_a_note_that_cannot_be_right_says_nothing(partials: Partials, state: str) -> None:
    with partials.claim("abc", is_alone=True) as partial:
        write(partial)
        (partial.folder / "state.json").write_text(state)
        assert partial.state() == State()
