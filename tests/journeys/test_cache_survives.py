"""The cache of real processes: killed at any moment, on a full or read-only disk, shared by users, filled from a server."""

from __future__ import annotations

import gzip
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import archives as pack
from tests import repositories as make
from tests.faulty_server import faulty
from tests.memory import URL, file, model
from zoo_core.cache import Cache
from zoo_core.repository.http import HttpRepository
from zoo_core.transfer import Transfer
from zoo_core.upkeep import GRACE_S, Upkeep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.commands import Commands
    from tests.faulty_server import FaultySite
    from tests.web import Site

ROOT = Path(__file__).parents[2]
#: A run for a release sets 200.
KILLS = int(os.environ.get("ZOO_KILLS", "25"))
#: For which many processes go on.
SECONDS = 5.0

#: Bytes that do not shrink, so that they are some time on their way.
_CHANCE = random.Random(7)
TREE = {f"part{number}/weights.bin": _CHANCE.randbytes(20_000) for number in range(12)} | {"config.json": b"{}"}
# Without times, since each process makes them anew.
ZIP, TGZ = pack.zipped(TREE), gzip.compress(pack.tarred(TREE), mtime=0)
WEIGHTS = _CHANCE.randbytes(70_000)
GZ = gzip.compress(WEIGHTS, mtime=0)
LABELS = b"cat\n" * 1000
#: What lies in the folder of the largest artifact.
ALL = {**TREE, **{f"more/{name}": content for name, content in TREE.items()}, "net.params": WEIGHTS, "synset.bin": LABELS}


# killed at any moment ------------------------------------------------------------------------------------------------

#: Starts processes that download, unpack and publish over and over, or make room over and over; and says how they ended.
_NURSERY = """
import os, sys, time, traceback
from pathlib import Path
import filelock, gzip, requests, tarfile, zipfile
from tests.journeys.test_cache_survives import ALL, contents, far_away, wanted
from zoo_core import lease, reception
from zoo_core.cache import Cache
from zoo_core.upkeep import Upkeep
home, url = Path(sys.argv[1]), sys.argv[2]
reception._SAVE_S = 0.02
if sys.argv[3:] == ["without locks"]:
    import fcntl
    filelock.FileLock.acquire = filelock.FileLock.release = fcntl.flock = lambda *_, **__: None

def read():
    folder = Cache(home).folder(wanted(2, url), far_away(url))
    while True:
        assert contents(folder) == ALL
        assert Cache(home).folder(wanted(2, url), far_away(url)) == folder

def work(role):
    if role == "read":
        read()
    rounds = 0
    # What they fetch they leave to those who make room.
    lease._ProcessLease.add = lambda *_: None
    while True:
        if role == "make room":
            Upkeep(home).prune(max_size=0)
            time.sleep(0.1)
        else:
            Cache(home).folder(wanted(rounds % 3, url), far_away(url))
        rounds += 1

for line in sys.stdin:
    if line.rstrip().isdigit():
        print(os.waitstatus_to_exitcode(os.waitpid(int(line), 0)[1]), flush=True)
    elif pid := os.fork():
        print(pid, flush=True)
    else:
        try:
            work(line.rstrip())
        except BaseException:
            traceback.print_exc()
        os._exit(1)
"""


def wanted(version: int, url: str = URL) -> Any:
    zipped = file("model", ZIP, uri="net.zip", url=f"{url}net.zip", name="", type="dir")
    tarred = file("more", TGZ, uri="more.tgz", url=f"{url}more.tgz", name="more", type="dir")
    packed = file("parameters", GZ, uri="net.params.gz", url=f"{url}net.params.gz", name="net.params")
    plain = file("synset", LABELS, uri="synset.bin", url=f"{url}synset.bin")
    return model(*[(zipped, plain), (tarred, packed), (zipped, tarred, packed, plain)][version], version=str(version))


def far_away(url: str) -> HttpRepository:
    """The repository on the server."""
    return HttpRepository(url, transfer=Transfer())


class Nursery:
    """A process from which others are forked, so that one begins as soon as another is killed."""

    def __init__(self, home: Path, url: str, *how: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-c", _NURSERY, str(home), url, *how]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment, start_new_session=True
        )

    def begin(self, role: str) -> int:
        """Start a process; gives its number."""
        return self._answer(role)

    def kill(self, number: int) -> None:
        """Kill one as the system does that has no memory left; it must not have ended by itself."""
        os.kill(number, signal.SIGKILL)
        assert self._answer(number) == -signal.SIGKILL, self.end()

    def end(self) -> str:
        """What all of them had to say, none of which is left then."""
        os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.communicate(timeout=30)[1]

    def _answer(self, text: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline() or 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing there is killed as kill -9 does")
def test_processes_that_are_killed_at_any_moment_leave_no_wrong_file_and_nothing_that_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills are spread over downloads from a server, unpacking, publishing and making room; two processes run at any time."""
    chance, home = random.Random(2024), tmp_path / "home"
    found, before = Counter[str](), set[tuple[str, Path]]()
    with faulty() as site:
        serve(site)
        nursery = Nursery(home, site.url)
        for number in range(0, KILLS, 2):
            # On a slow line the kills come into downloads, on a fast one into what follows.
            site.rate = chance.choice([2e6, 5e7])
            together = [nursery.begin(role) for role in ("make room", "fetch")]
            for process in together if number % 4 else reversed(together):
                time.sleep(chance.uniform(0.0, 0.3))
                nursery.kill(process)
            now = set(unfinished(home))
            found.update(kind for kind, _ in now - before)
            before = now
            assert list(Upkeep(home).verify()) == [], f"after kill {number + 2}"
        assert nursery.end() == ""

        started = time.monotonic()
        folder = Cache(home).folder(wanted(2, site.url), far_away(site.url))
        assert time.monotonic() - started < 10
    print(f"{KILLS} kills; left by them: {dict(found)}")
    assert contents(folder) == ALL
    later = time.time() + 2 * GRACE_S
    monkeypatch.setattr(time, "time", lambda: later)
    Upkeep(home).prune()
    assert [path for path in home.rglob("*") if path.name.startswith(".partial-") or path.parent.name == "partial"] == []
    assert list(Upkeep(home).verify()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")
def test_where_locks_do_nothing_many_processes_write_make_room_and_read_and_nothing_is_ever_wrong(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with faulty() as site:
        serve(site)
        nursery = Nursery(home, site.url, "without locks")
        roles = ["read", "read", "fetch", "fetch", "fetch", "make room", "make room"]
        processes = [nursery.begin(role) for role in roles]
        time.sleep(SECONDS)
        for process in processes:
            nursery.kill(process)
        assert nursery.end() == ""
        assert list(Upkeep(home).verify()) == []
        assert contents(Cache(home).folder(wanted(2, site.url), far_away(site.url))) == ALL


def serve(site: FaultySite) -> None:
    site.contents = {"/net.zip": ZIP, "/more.tgz": TGZ, "/net.params.gz": GZ, "/synset.bin": LABELS}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unfinished(home: Path) -> Iterator[tuple[str, Path]]:
    """What the kills came into, by what lies there that is not whole."""
    kinds = {
        "a download": (home / "partial").glob("*.*"),
        "unpacking": (home / "blobs").glob(".partial-*"),
        "an artifact's folder": (home / "artifacts").rglob(".partial-*"),
        "a note": (path for name in ("checked", "unpacked", "folders") for path in (home / name).glob(".partial-*")),
    }
    yield from ((kind, path) for kind, paths in kinds.items() for path in paths)


# a full disk, and one that is read-only ------------------------------------------------------------------------------


def mounted(script: str, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code where a small disk of its own is mounted at a place, which nobody else sees."""
    unshare = shutil.which("unshare")
    if (
        unshare is None
        or subprocess.run([unshare, "-rm", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, check=False).returncode
    ):
        pytest.skip("a disk of its own needs unshare -rm, which is not permitted here")
    place.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "ZOO_HOME": str(place),
    }
    command = 'mount -t tmpfs -o size=600k,mode=777 small "$0" && exec "$@"'
    return subprocess.run(
        [unshare, "-rm", "sh", "-c", command, str(place), sys.executable, "-c", script, str(place), *arguments],
        capture_output=True, text=True, timeout=120, env=environment, check=False,
    )  # fmt: skip


_FULL = """
import os, sys
from pathlib import Path
from tests import archives, repositories
from tests.memory import Memory, file, model
from zoo_core.cache import Cache
from zoo_core.errors import CacheError
from zoo_core.upkeep import Upkeep
home = Path(sys.argv[1])
large = os.urandom(450_000)
good = Cache(home).folder(model(file("synset", b"cat")), Memory(synset=b"cat"))
for key, content, fields in (
    ("parameters", os.urandom(900_000), {}),
    ("model", archives.zipped({"a": bytes(2_000_000)}), {"uri": "net.zip", "name": "net", "type": "dir"}),
    ("model", archives.tarred({"a": large, "b": large}, mode="w:gz"), {"uri": "net.tgz", "name": "net", "type": "dir"}),
    ("model", archives.squeezed(bytes(2_000_000)), {"uri": "net.gz", "name": "net"}),
):
    try:
        Cache(home).files(model(file(key, content, **fields)), Memory(**{key: content}))
    except CacheError as error:
        print(error)
    else:
        print("no error")
    assert not [*home.rglob(".partial-*"), *(home / "partial").glob("*")], list(home.rglob("*"))
assert (good / "synset.bin").read_bytes() == b"cat"
assert list(Upkeep(home).verify()) == []
for path in list((home / "blobs").rglob("*")):
    assert not path.is_file() or path.read_bytes()
Cache(home).folder(model(file("synset", b"dog"), version="2"), Memory(synset=b"dog"))
print("room again")
"""


def test_on_a_full_disk_there_is_one_clear_error_and_nothing_is_left(tmp_path: Path) -> None:
    done = mounted(_FULL, tmp_path / "disk")
    assert done.returncode == 0, done.stderr
    *errors, last = done.stdout.splitlines()
    assert len(errors) == 4
    for error in errors[::2]:
        assert re.search(r"is too small: 90\d kB are to come", error), "what is known not to fit does not begin to come"
    for error in errors[1::2]:
        assert "the disk is full. Set ZOO_HOME to another folder" in error or "has " in error
    assert last == "room again"


_READ_ONLY = """
import os, subprocess, sys
from pathlib import Path
from tests import archives
from tests.memory import Memory, file, model
from zoo_core.cache import Cache
from zoo_core.cli.main import run
from zoo_core.errors import CacheError
home = Path(sys.argv[1])
content = archives.zipped({"a": b"1"})
wanted = model(file(), file("model", content, uri="net.zip", name="net", type="dir"))
remote = Memory(parameters=b"weights" * 100, model=content)
if not os.fork():
    # Whoever has a lease has a file open for writing, which keeps its disk from becoming read-only.
    Cache(home).folder(wanted, remote)
    os._exit(0)
os.wait()
(first,) = home.glob("artifacts/*/*/*/*")
subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
assert Cache(home).folder(wanted, Memory()) == first
assert Cache(home).files(wanted, Memory())["model"] == first / "net"
layered = Cache(home.with_name("upper"), layers=[home])
assert layered.folder(wanted, Memory()) == first
assert not layered.home.exists()
try:
    Cache(home).files(model(file("synset", b"cat")), Memory(synset=b"cat"))
except CacheError as error:
    print(error)
for line in ("ls", "verify", "dir", "prune --max-size 0", "rm net"):
    print(line.split()[0], run(["cache", *line.split()]), flush=True)
"""


def test_a_read_only_disk_is_read_and_what_would_write_is_one_clear_error(tmp_path: Path) -> None:
    done = mounted(_READ_ONLY, tmp_path / "disk")
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert (
        first
        == f"the cache folder {tmp_path / 'disk'} cannot be written: Read-only file system. Set ZOO_HOME to another folder"
    )
    assert [line for line in done.stdout.splitlines() if line.split()[0] in ("ls", "verify", "dir", "prune", "rm")] == [
        "ls 0", "verify 0", "dir 0", "prune 7", "rm 7",
    ]  # fmt: skip
    assert "Traceback" not in done.stderr


_UNUSABLE = """
import json, os, subprocess, sys
from pathlib import Path
from zoo_core.cli.main import run
home, url, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if how == "full":
    with open(home / "others", "wb", buffering=0) as stream:
        try:
            while stream.write(bytes(4096)):
                pass
        except OSError:
            pass
else:
    subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
verbs = "search", "explain net", "info net", "download net --no-progress", "cache ls", "cache verify"
for verb in verbs:
    print(verb.split()[0], run([*verb.split(), *([] if verb.startswith("cache") else ["--repository", url])]), flush=True)
"""


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_where_the_cache_cannot_be_written_models_are_found_and_a_download_is_one_clear_error(
    site: Site, tmp_path: Path, how: str
) -> None:
    """Nothing was ever written there, not even the index."""
    publish(site, make.artifact(files={"model": make.item("net.zip", ZIP)}), files={"net.zip": ZIP})
    done = mounted(_UNUSABLE, tmp_path / "disk", site.url, how)
    assert done.returncode == 0, done.stderr
    statuses = [
        line for line in done.stdout.splitlines() if line.split()[0] in ("search", "explain", "info", "download", "cache")
    ]
    assert statuses == ["search 0", "explain 0", "info 0", "download 7", "cache 0", "cache 0"]
    assert "com.example/net@1.0" in done.stdout
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert error.startswith(f"error: the cache folder {tmp_path / 'disk'} ")
    assert error.lower().endswith("set zoo_home to another folder")
    assert "Traceback" not in done.stderr


# shared by users -----------------------------------------------------------------------------------------------------

_AS_USER = """
import os, sys
from pathlib import Path
user, group = int(sys.argv[2]), int(sys.argv[3])
sys.path[:0] = sys.argv[4].split(os.pathsep)
from tests import archives
from tests.memory import LABELS, WEIGHTS, Memory, file, model
from zoo_core.cache import Cache
from zoo_core.upkeep import Upkeep
import encodings.cp437, filelock, gzip, tarfile, zipfile  # what the user cannot read later
os.setgroups([group])
os.setgid(group)
os.setuid(user)
os.umask(0o002)
content = archives.zipped({"deep/a": b"1", "b": b"2"})
wanted = model(file(), file("model", content, uri="net.zip", name="net", type="dir"))
remote = Memory(parameters=WEIGHTS, model=content) if sys.argv[5] == "first" else Memory()
folder = Cache(Path(sys.argv[1])).folder(wanted, remote)
if sys.argv[5] == "second":
    Cache(Path(sys.argv[1])).folder(model(file("synset", LABELS), version="2"), Memory(synset=LABELS))
    assert list(Upkeep(Path(sys.argv[1])).verify()) == []
if sys.argv[5] == "third":
    done = Upkeep(Path(sys.argv[1])).remove(Upkeep(Path(sys.argv[1])).named("net@2"))
    assert len(done.artifacts) == 1, done
print(folder)
"""


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can become two users")
def test_users_of_one_group_share_a_cache_whose_folder_says_so(tmp_path: Path) -> None:
    home, group = tmp_path / "shared", 54321
    home.mkdir()
    os.chown(home, 0, group)
    home.chmod(0o2775)
    for parent in [tmp_path, *tmp_path.parents]:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    paths = os.pathsep.join([str(ROOT), *sys.path])
    found = set()
    for user, turn in ((1001, "first"), (1002, "second"), (1003, "third"), (1001, "fourth")):
        command = [sys.executable, "-c", _AS_USER, str(home), str(user), str(group), paths, turn]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
    for path in home.rglob("*"):
        status = path.stat()
        assert status.st_gid == group, path
        if path.is_dir():
            assert stat.S_IMODE(status.st_mode) == 0o2775, path
        elif "blobs" in path.parts or "artifacts" in path.parts:
            assert stat.S_IMODE(status.st_mode) == 0o444, path
        else:
            assert stat.S_IMODE(status.st_mode) & 0o664 == 0o664, path


# archives from a server ----------------------------------------------------------------------------------------------


def publish(site: Site, *artifacts: dict[str, Any], files: dict[str, bytes], **fields: Any) -> None:
    """A repository on the server, as `zoo index` makes it."""
    import json

    content = make.document(*artifacts, **fields)
    location = make.location(content)
    index = {"indexVersion": 1, "documents": [{"path": f"{location}/metadata.json", "metadata": content}]}
    site.pages["/index.json"] = json.dumps(index).encode()
    for name, data in files.items():
        site.pages[f"/{location}/{name}"] = data


def test_an_artifact_with_archives_is_downloaded_once_listed_copied_and_removed(
    site: Site, commands: Commands, tmp_path: Path
) -> None:
    files = {
        "model": make.item("1.0/net.zip", sha1Hash=make.sha1(ZIP), size=str(len(ZIP)), name=""),
        "more": make.item("1.0/more.tar.gz", sha1Hash=make.sha1(TGZ).upper(), size=7),
        "parameters": make.item("1.0/net.params.gz", sha1Hash=make.sha1(GZ), size=len(GZ)),
    }
    publish(site, make.artifact(files=files), files={"1.0/net.zip": ZIP, "1.0/more.tar.gz": TGZ, "1.0/net.params.gz": GZ})
    first = commands.zoo("download", "net", "--repository", site.url)
    assert first.status == 0, first.err
    folder = Path(first.out.strip())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {**TREE, **{f"more/{name}": data for name, data in TREE.items()}, "net.params": WEIGHTS}

    asked = len(site.requests)
    copied = commands.zoo("download", "net", "--repository", site.url, "--to", tmp_path / "mine")
    assert (copied.status, len(site.requests)) == (0, asked)
    assert (tmp_path / "mine" / "more" / "config.json").read_bytes() == b"{}"
    assert commands.without_network().zoo("download", "net", "--repository", site.url).out == first.out

    listed = commands.zoo("cache", "ls", "--json").json
    assert [(item["reference"], item["files"], item["in_use"]) for item in listed["artifacts"]] == [
        ("com.example/net@1.0", 2 * len(TREE) + 1, False)
    ]
    assert commands.zoo("search", "net", "--repository", site.url, "--json").json["records"][0]["cached"] is True
    assert commands.zoo("cache", "verify").status == 0
    assert commands.zoo("cache", "rm", "com.example/net@1.0").status == 0
    assert [path for path in commands.kept() if not path.startswith("index")] == []
    assert commands.zoo("search", "net", "--repository", site.url, "--json").json["records"][0]["cached"] is False
    assert (tmp_path / "mine" / "more" / "config.json").read_bytes() == b"{}"


HOSTILE = {
    "leads out": (pack.zipped({"../../../../evil": b"evil"}), 5, "UnsafeArchiveError"),
    "links out": (pack.entry("evil", b"/etc/passwd", mode=0o120777), 5, "UnsafeArchiveError"),
    "is damaged": (ZIP[:200], 5, "IntegrityError"),
    "is too much": (pack.zipped({"zeros": bytes(300 << 20)}), 5, "UnsafeArchiveError"),
}


@pytest.mark.parametrize(("content", "status", "kind"), HOSTILE.values(), ids=HOSTILE)
def test_an_archive_that_must_not_be_unpacked_is_one_clear_line_and_leaves_nothing(
    site: Site, commands: Commands, content: bytes, status: int, kind: str
) -> None:
    publish(site, make.artifact(files={"model": make.item("net.zip", content)}), files={"net.zip": content})
    done = commands.zoo("download", "net", "--repository", site.url)
    assert (done.status, done.out, len(done.errors)) == (status, "", 1)
    assert done.errors[0].startswith(f"error: model of com.example/net@1.0 ({site.url}model/cv/")
    assert "Nothing was kept" in done.errors[0]
    as_json = commands.zoo("download", "net", "--repository", site.url, "--json")
    assert (as_json.json["error"]["type"], as_json.json["error"]["exit_code"]) == (kind, status)
    assert [path for path in commands.kept() if not path.startswith("index")] == []
    assert not list(commands.folder.rglob("evil"))


def test_the_users_limits_are_in_the_configuration_and_nowhere_else(site: Site, commands: Commands) -> None:
    content = pack.tarred({str(number): b"" for number in range(20)}, mode="w:gz", format=tarfile.GNU_FORMAT)
    publish(site, make.artifact(files={"model": make.item("net.tgz", content)}), files={"net.tgz": content})
    own = commands.folder / "zoo.toml"
    own.write_text("max_members = 19")
    done = commands.zoo("download", "net", "--repository", site.url, "--config", own)
    assert (done.status, "more than 19 files and folders are in it" in done.err) == (5, True)
    own.write_text("max_members = 20")
    assert commands.zoo("download", "net", "--repository", site.url, "--config", own).status == 0
    (commands.cwd / "zoo.toml").write_text("max_members = 10000")
    done = commands.zoo("cache", "ls")
    assert done.status == 0, "the working directory's file is nothing to `zoo cache`"
    assert commands.zoo("search").status == 2


def test_caches_below_are_read_where_the_configuration_names_them(site: Site, commands: Commands) -> None:
    publish(site, make.artifact(files={"model": make.item("net.zip", ZIP)}), files={"net.zip": ZIP})
    lower = commands.zoo("download", "net", "--repository", site.url)
    own = commands.folder / "zoo.toml"
    own.write_text(f'cache_layers = ["{commands.home}"]')
    upper = {"ZOO_HOME": str(commands.folder / "upper")}
    done = commands.without_network().zoo("download", "net", "--repository", site.url, "--config", own, **upper)
    assert (done.status, done.out) == (0, lower.out), done.err
    assert not (commands.folder / "upper").exists()
