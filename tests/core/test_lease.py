"""Who uses a folder of the cache: told by locks that end with their processes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zoo_core import lease as lease_module
from zoo_core.lease import Leases

fcntl = pytest.importorskip("fcntl", reason="leases on Windows are told by what can be deleted")

_HOLD = """
import sys, time
from pathlib import Path
from zoo_core.lease import Leases
with Leases(Path(sys.argv[1])).holding(sys.argv[2]):
    pass
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def another_process(home: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that was given a folder and lives on."""
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(home), name], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_process_uses_what_it_was_given_until_it_ends(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    assert leases.in_use() == frozenset()
    with another_process(tmp_path, "artifacts/a/b/c/d") as process:
        assert leases.in_use() == {"artifacts/a/b/c/d"}
        leases.forget_the_dead()
        assert leases.in_use() == {"artifacts/a/b/c/d"}
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert leases.in_use() == frozenset()
    leases.forget_the_dead()
    assert [path.name for path in (tmp_path / "leases").iterdir()] == ["guard"]


def test_one_process_has_one_lease_whatever_it_uses(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        with Leases(tmp_path).holding(name):
            pass
    (path,) = (path for path in (tmp_path / "leases").iterdir() if path.name != "guard")
    assert path.read_text() == "a\nb\n"
    assert Leases(tmp_path).in_use() == {"a", "b"}


def test_a_forked_child_keeps_what_its_parent_used(tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from zoo_core.lease import Leases
with Leases(Path(sys.argv[1])).holding("a"):
    pass
if os.fork():
    os._exit(0)
os.close(1)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], start_new_session=True)
    try:
        process.wait(30)
        assert Leases(tmp_path).in_use() == {"a"}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while Leases(tmp_path).in_use() and time.monotonic() < end:
        time.sleep(0.02)
    assert Leases(tmp_path).in_use() == frozenset()


def test_after_a_cache_was_deleted_as_a_whole_a_process_holds_a_new_lease(tmp_path: Path) -> None:
    import shutil

    home = tmp_path / "cache"
    with Leases(home).holding("a"):
        pass
    shutil.rmtree(home)
    with Leases(home).holding("b"):
        pass
    assert Leases(home).in_use() == {"b"}


def test_nobody_begins_to_use_a_folder_while_one_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "_PATIENCE_S", 0.05)
    with Leases(tmp_path).holding("a"), Leases(tmp_path).taking() as is_free:
        assert is_free is False
    with Leases(tmp_path).taking() as is_free:
        assert is_free is True
        with Leases(tmp_path).holding("b"):
            pass


def test_where_locks_do_nothing_a_lease_counts_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with another_process(tmp_path, "a") as process:
        process.kill()
        process.wait()
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert Leases(tmp_path).in_use() == {"a"}
    for path in (tmp_path / "leases").iterdir():
        os.utime(path, (1, 1))
    assert Leases(tmp_path).in_use() == frozenset()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_where_locks_are_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with Leases(tmp_path).holding("a"):
        pass
    assert Leases(tmp_path).in_use() == {"a"}
    with Leases(tmp_path).taking() as is_free:
        assert is_free is True


def test_a_cache_that_cannot_be_written_has_no_leases(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    with Leases(tmp_path / "blocked").holding("a"):
        pass
    assert Leases(tmp_path / "blocked").in_use() == frozenset()


def test_where_what_is_open_cannot_be_deleted_that_tells_who_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows; the lease of this process is open here, and deleting it is refused there."""
    monkeypatch.setattr(lease_module, "fcntl", None)
    home = tmp_path / "cache"
    with Leases(home).holding("a"):
        pass
    (home / "leases" / "1-dead").write_text("b\n")
    unlink = Path.unlink

    def refusing(self: Path, missing_ok: bool = False) -> None:
        if not self.name.endswith("dead"):
            raise PermissionError(errno.EACCES, "in use")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", refusing)
    assert Leases(home).in_use() == {"a"}
