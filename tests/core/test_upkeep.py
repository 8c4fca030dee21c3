"""What is in a cache, what of it may go, and what of it is damaged."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import archives as pack
from tests import repositories as make
from tests.memory import LABELS, WEIGHTS, Memory, file, model
from tests.windows import refuse_as_windows_does
from zoo_core import AmbiguousModelError, CacheError, CriteriaError, ModelNotFoundError, ModelRecord
from zoo_core import lease as lease_module
from zoo_core.cache import Cache
from zoo_core.upkeep import GRACE_S, Upkeep

TREE = {"net.params": WEIGHTS, "deep/config.json": b"{}"}
ZIP = pack.zipped(TREE)
OLD_S = 40 * 86_400


def archived(**fields: object) -> ModelRecord:
    return model(file("model", ZIP, uri="net.zip", name="net", type="dir"), **fields)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache whose artifacts no process uses: those of this one are forgotten, as if it had ended."""
    monkeypatch.setattr(lease_module._ProcessLease, "add", lambda *_: None)
    return Cache(tmp_path / "cache")


@pytest.fixture
def upkeep(cache: Cache) -> Upkeep:
    return Upkeep(cache.home)


def fill(cache: Cache) -> dict[str, Path]:
    """Three artifacts; the labels belong to two of them."""
    remote = Memory(parameters=WEIGHTS, synset=LABELS, model=ZIP)
    return {
        "first": cache.folder(model(file(), file("synset", LABELS), version="1.0", name="small"), remote),
        "second": cache.folder(model(file("synset", LABELS), version="2.0"), remote),
        "other": cache.folder(archived(artifact_id="other", group_id="org.example"), remote),
    }


def used(cache: Cache, folder: Path, ago_s: float) -> None:
    """An artifact was used some time ago, and no later."""
    (path,) = (path for path in (cache.home / "folders").iterdir() if folder.name in path.read_text())
    os.utime(path, (time.time() - ago_s, time.time() - ago_s))


def aged(folder: Path, monkeypatch: pytest.MonkeyPatch, by_s: float = 2 * GRACE_S) -> None:
    """Everything there came long ago; the time of a change of a file's names cannot be set, so the clock goes on."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + by_s)
    assert folder.exists()


def contents(cache: Cache) -> set[bytes]:
    return {path.read_bytes() for path in (cache.home / "blobs").rglob("*") if path.is_file()}


def blob_of(cache: Cache, content: bytes) -> Path:
    digest = make.sha256(content)
    return cache.home / "blobs" / "sha256" / digest[:2] / digest


# what is there -------------------------------------------------------------------------------------------------------


def test_an_empty_or_missing_cache_holds_nothing_and_is_not_made(upkeep: Upkeep) -> None:
    assert (upkeep.artifacts(), upkeep.size(), list(upkeep.verify())) == ([], 0, [])
    assert upkeep.prune(older_than_s=0, max_size=0).freed == 0
    assert not upkeep.home.exists()


def test_artifacts_are_listed_with_their_sizes_the_last_used_first(cache: Cache, upkeep: Upkeep) -> None:
    folders = fill(cache)
    for number, folder in enumerate(folders.values()):
        used(cache, folder, 100.0 * (number + 1))
    kept = upkeep.artifacts()
    assert [item.reference for item in kept] == ["com.example/net@1.0", "com.example/net@2.0", "org.example/other@1.0"]
    assert [item.size for item in kept] == [len(WEIGHTS) + len(LABELS), len(LABELS), len(WEIGHTS) + 2]
    assert [item.path for item in kept] == list(folders.values())
    assert (kept[0].owner.name, kept[0].owner.repository, kept[0].is_in_use) == ("small", "file:///here", False)
    described = kept[2].to_dict()
    assert (described["mrl"], described["files"], 299 < described["age_s"] < 400) == (
        "model/cv/image_classification/org.example/other", 2, True,
    )  # fmt: skip


def test_using_an_artifact_makes_it_young(cache: Cache, upkeep: Upkeep) -> None:
    folders = fill(cache)
    used(cache, folders["second"], OLD_S)
    assert upkeep.artifacts()[-1].path == folders["second"]
    cache.files(model(file("synset", LABELS), version="2.0"), Memory())
    assert time.time() - next(item.last_use for item in upkeep.artifacts() if item.path == folders["second"]) < 60


def test_the_size_counts_a_content_once(cache: Cache, upkeep: Upkeep) -> None:
    fill(cache)
    notes = sum(
        path.stat().st_size
        for path in cache.home.rglob("*")
        if path.is_file() and "sha256" not in path.parts and "artifacts" not in path.parts
    )
    assert upkeep.size() - notes == len(WEIGHTS) + len(LABELS) + 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("net", ["1.0", "2.0"]), ("com.example/net", ["1.0", "2.0"]), ("net@1.0", ["1.0"]), ("net@>=1.5", ["2.0"]),
        ("net@[1.0,2.0)", ["1.0"]), ("other", ["1.0"]), ("zoo://com.example/net/2.0", ["2.0"]), ("zoo:////1.0/small", ["1.0"]),
        ("model/cv/image_classification/com.example/net", ["1.0", "2.0"]),
    ],
)  # fmt: skip
def test_a_model_names_its_artifacts_as_on_every_command_line(
    cache: Cache, upkeep: Upkeep, text: str, found: list[str]
) -> None:
    fill(cache)
    assert sorted(item.owner.version or "" for item in upkeep.named(text)) == found


def test_a_model_that_is_not_there_or_means_several_is_an_error_that_names_those_there_are(
    cache: Cache, upkeep: Upkeep
) -> None:
    fill(cache)
    with pytest.raises(ModelNotFoundError, match=r"nett is not in the cache .*In it: .*com\.example/net@1\.0"):
        upkeep.named("nett")
    with pytest.raises(ModelNotFoundError):
        upkeep.named("net@3.0")
    cache.folder(model(file(), group_id="org.example"), Memory(parameters=WEIGHTS))
    with pytest.raises(AmbiguousModelError, match=r"com\.example/net, org\.example/net"):
        upkeep.named("net")
    with pytest.raises(CriteriaError, match="address of a repository"):
        upkeep.named("https://models.example/")


def test_a_folder_without_a_note_is_listed_by_its_path(cache: Cache, upkeep: Upkeep) -> None:
    folder = fill(cache)["other"]
    for path in (cache.home / "folders").iterdir():
        path.unlink()
    assert {item.reference for item in upkeep.artifacts()} == {
        "com.example/net@1.0",
        "com.example/net@2.0",
        "org.example/other@1.0",
    }
    assert upkeep.remove(upkeep.named("other")).freed == 0
    assert not folder.exists()


# what may go ---------------------------------------------------------------------------------------------------------


def test_an_artifact_is_removed_with_the_contents_that_no_other_has(cache: Cache, upkeep: Upkeep) -> None:
    folders = fill(cache)
    done = upkeep.remove(upkeep.named("net@1.0"))
    assert [item.path for item in done.artifacts] == [folders["first"]]
    assert done.freed == 0
    assert not folders["first"].exists()
    assert contents(cache) == {WEIGHTS, LABELS, b"{}"}
    done = upkeep.remove(upkeep.named("net"))
    assert (done.freed, contents(cache)) == (len(LABELS), {WEIGHTS, b"{}"})
    assert not folders["first"].parent.parent.exists()
    assert not (cache.home / "artifacts" / "com.example").exists()
    done = upkeep.remove(upkeep.named("other"))
    assert (done.freed, contents(cache)) == (len(WEIGHTS) + 2, set())
    assert upkeep.artifacts() == []
    assert list((cache.home / "unpacked").iterdir()) == list((cache.home / "folders").iterdir()) == []


def test_what_was_removed_is_fetched_again_when_it_is_wanted(cache: Cache, upkeep: Upkeep) -> None:
    fill(cache)
    upkeep.remove(upkeep.artifacts())
    remote = Memory(model=ZIP)
    assert cache.has(archived(), remote) is False
    assert (cache.files(archived(), remote)["model"] / "net.params").read_bytes() == WEIGHTS


def test_a_weak_digest_stays_pinned(cache: Cache, upkeep: Upkeep) -> None:
    """Making room must not be a way to get other bytes accepted."""
    wanted = model(file(content=None, sha256_prefix=make.sha256(WEIGHTS)[:8]))
    cache.files(wanted, Memory(parameters=WEIGHTS))
    upkeep.remove(upkeep.artifacts())
    assert len(list((cache.home / "digests").iterdir())) == 1


@pytest.mark.parametrize(
    ("days", "left"), [(50, ["first", "other", "second"]), (35, ["first", "second"]), (20, ["first"]), (0, [])]
)
def test_pruning_by_age_removes_what_was_not_used_for_so_long(cache: Cache, upkeep: Upkeep, days: int, left: list[str]) -> None:
    folders = fill(cache)
    for name, ago in (("first", 1), ("second", 30), ("other", 40)):
        used(cache, folders[name], ago * 86_400)
    upkeep.prune(older_than_s=days * 86_400)
    assert sorted(name for name, folder in folders.items() if folder.exists()) == left
    assert list(upkeep.verify()) == []


def test_pruning_by_size_removes_what_was_used_longest_ago(cache: Cache, upkeep: Upkeep) -> None:
    large = os.urandom(200_000)
    remote = Memory(parameters=large, synset=LABELS)
    old = cache.folder(model(file("parameters", large), version="1"), remote)
    new = cache.folder(model(file("synset", LABELS), version="2"), remote)
    used(cache, old, 100)
    assert upkeep.prune(max_size=300_000).artifacts == ()
    done = upkeep.prune(max_size=100_000)
    assert ([item.path for item in done.artifacts], done.freed, old.exists(), new.exists()) == ([old], 200_000, False, True)
    assert upkeep.size() < 100_000
    assert [item.path for item in upkeep.prune(max_size=0).artifacts] == [new]


def test_pruning_without_bounds_removes_only_what_nobody_can_want(
    cache: Cache, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = fill(cache)
    lost = blob_of(cache, b"lost")
    lost.parent.mkdir(parents=True, exist_ok=True)
    lost.write_bytes(b"lost")
    places = ["blobs", "index", "artifacts/com.example/net/1.0", "folders", "unpacked"]
    for place in places:
        (cache.home / place).mkdir(parents=True, exist_ok=True)
        (cache.home / place / ".partial-0").write_bytes(b"1234")
    (cache.home / "blobs/.partial-1/deep").mkdir(parents=True)
    (cache.home / "blobs/.partial-1/deep/file").write_bytes(b"12345")
    (cache.home / "folders/stale").write_bytes(b"{}")
    assert upkeep.prune().freed == 0, "it may just be on its way"
    aged(cache.home, monkeypatch)
    assert upkeep.prune().freed == 4 + 4 * len(places) + 5
    assert not list(cache.home.rglob(".partial-*"))
    assert not (cache.home / "folders/stale").exists()
    assert all(folder.exists() for folder in folders.values())
    assert list(upkeep.verify()) == []


def test_what_is_being_unpacked_is_left_alone_whatever_the_age_of_its_folder(
    cache: Cache, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache.home / "blobs/.partial-1"
    folder.mkdir(parents=True)
    (folder / "large").write_bytes(b"1")
    aged(cache.home, monkeypatch)
    os.utime(folder / "large", (time.time(), time.time()))
    assert upkeep.prune().freed == 0
    assert (folder / "large").exists()


def test_downloads_that_broke_off_go_when_nobody_continues_them(
    cache: Cache, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("0" * 64, f"{'1' * 64}.0123"):
        (cache.home / "partial" / name).mkdir(parents=True)
        (cache.home / "partial" / name / "content").write_bytes(b"12345")
    assert upkeep.prune().freed == 0, "somebody may come to continue them"
    aged(cache.home, monkeypatch)
    alive = cache.home / "partial" / f"{'2' * 64}.4567"
    alive.mkdir()
    (alive / "content").write_bytes(b"1")
    os.utime(alive / "content", (time.time(), time.time()))
    upkeep.remove([])
    assert len(list((cache.home / "partial").iterdir())) == 3, "what is removed by name says nothing of them"
    assert upkeep.prune().freed == 10
    assert list((cache.home / "partial").iterdir()) == [alive]


def test_where_there_are_no_hard_links_the_notes_tell_what_is_needed(
    cache: Cache, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "this file system knows no hard links")

    monkeypatch.setattr(os, "link", no_links)
    folders = fill(cache)
    aged(cache.home, monkeypatch)
    assert upkeep.prune().freed == 0
    assert contents(cache) == {WEIGHTS, LABELS, b"{}"}
    done = upkeep.remove(upkeep.named("other"))
    assert done.freed == len(WEIGHTS) + 2 + 2
    assert contents(cache) == {WEIGHTS, LABELS}
    assert (folders["first"] / "parameters.bin").read_bytes() == WEIGHTS


def test_it_works_where_read_only_files_cannot_be_deleted(
    cache: Cache, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_as_windows_does(monkeypatch)
    folders = fill(cache)
    upkeep.remove(upkeep.named("net@1.0"))
    assert not blob_of(cache, LABELS).stat().st_mode & 0o222
    upkeep.remove(upkeep.named("net"))
    upkeep.remove(upkeep.named("other"))
    assert not any(folder.exists() for folder in folders.values())
    assert contents(cache) == set()


def test_a_cache_that_cannot_be_written_is_an_error_with_the_remedy(
    cache: Cache, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cache)

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(CacheError, match=r"Read-only file system\. Set ZOO_HOME"):
        upkeep.remove(upkeep.artifacts())


# what is in use ------------------------------------------------------------------------------------------------------

_USE = """
import sys, time
from pathlib import Path
from tests.core.test_upkeep import ZIP, Memory, archived
from zoo_core.cache import Cache
found = Cache(Path(sys.argv[1])).files(archived(), Memory(model=ZIP))["model"]
print(found, flush=True)
time.sleep(60)
"""


@contextmanager
def using(home: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A process that has an artifact, and lives on."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", _USE, str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().rstrip("\n")), process
        finally:
            process.kill()


def test_what_a_running_process_uses_is_never_removed(tmp_path: Path) -> None:
    upkeep = Upkeep(tmp_path)
    with using(tmp_path) as (path, process):
        (item,) = upkeep.artifacts()
        assert item.is_in_use is True
        os.utime(next((tmp_path / "folders").iterdir()), (1, 1))
        for done in (upkeep.prune(older_than_s=0), upkeep.prune(max_size=0), upkeep.remove(upkeep.named("net"))):
            assert ([kept.path for kept in done.in_use], done.artifacts, done.freed) == ([item.path], (), 0)
        assert (path / "net.params").read_bytes() == WEIGHTS
        assert list(upkeep.verify()) == []
        process.kill()
        process.wait()
        assert [kept.path for kept in upkeep.prune(max_size=0).artifacts] == [item.path]
        assert not path.exists()


def test_a_process_that_comes_while_a_folder_is_taken_finds_it_or_makes_it_anew(tmp_path: Path) -> None:
    """Many loads beside many removals: none ever sees half a folder."""
    root = Path(__file__).parents[2]
    code = """
import sys, time
from pathlib import Path
from tests.core.test_upkeep import TREE, ZIP, Memory, archived
from zoo_core.cache import Cache
end = time.monotonic() + float(sys.argv[2])
rounds = 0
while time.monotonic() < end:
    found = Cache(Path(sys.argv[1])).files(archived(version=str(rounds % 7)), Memory(model=ZIP))["model"]
    assert {path.relative_to(found).as_posix(): path.read_bytes() for path in found.rglob("*") if path.is_file()} == TREE
    rounds += 1
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    upkeep, end = Upkeep(tmp_path), time.monotonic() + 6
    arguments = [sys.executable, "-c", code, str(tmp_path), "0.3"]
    removed, processes = 0, list[subprocess.Popen[str]]()
    while time.monotonic() < end:
        if sum(process.poll() is None for process in processes) < 2:
            processes.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment))
        removed += len(upkeep.prune(max_size=0).artifacts)
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors
    assert removed > 0
    assert list(upkeep.verify()) == []


# what is damaged -----------------------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    """Change a byte and nothing that is seen from outside."""
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"X" + path.read_bytes()[1:])
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_sound_cache_has_no_faults(cache: Cache, upkeep: Upkeep) -> None:
    fill(cache)
    assert list(upkeep.verify()) == []


def test_a_damaged_content_is_told_once_with_its_digests_and_fetched_again(cache: Cache, upkeep: Upkeep) -> None:
    folder = fill(cache)["first"]
    damage(folder / "parameters.bin")
    (fault,) = upkeep.verify()
    assert fault.path == blob_of(cache, WEIGHTS)
    assert fault.expected == f"sha256:{make.sha256(WEIGHTS)}"
    assert fault.found == f"sha256:{make.sha256(b'X' + WEIGHTS[1:])}"
    wanted, remote = model(file(), file("synset", LABELS), version="1.0", name="small"), Memory(parameters=WEIGHTS)
    assert cache.files(wanted, remote)["parameters"].read_bytes() == WEIGHTS
    assert remote.opened == ["parameters"]
    # The archive's folder is still linked to the damaged file, until it is used.
    assert [fault.path.name for fault in upkeep.verify()] == ["net.params"]
    cache.files(archived(artifact_id="other", group_id="org.example"), Memory(model=ZIP))
    assert list(upkeep.verify()) == []


def test_a_damaged_file_of_an_archive_is_unpacked_again(cache: Cache, upkeep: Upkeep) -> None:
    remote = Memory(model=ZIP)
    damage(cache.files(archived(), remote)["model"] / "deep" / "config.json")
    assert [fault.path for fault in upkeep.verify()] == [blob_of(cache, b"{}")]
    found = cache.files(archived(), remote)["model"]
    assert (found / "deep" / "config.json").read_bytes() == b"{}"
    assert remote.opened == ["model", "model"]
    assert list(upkeep.verify()) == []


def test_a_damaged_copy_is_told_where_it_lies_and_put_back(
    cache: Cache, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    folder = fill(cache)["first"]
    cache.files(model(file(), file("synset", LABELS), version="1.0", name="small"), Memory())
    damage(folder / "parameters.bin")
    assert [fault.path for fault in upkeep.verify()] == [folder / "parameters.bin"]
    cache.files(model(file(), file("synset", LABELS), version="1.0", name="small"), Memory())
    assert list(upkeep.verify()) == []


def test_what_is_missing_and_what_does_not_belong_is_told(cache: Cache, upkeep: Upkeep) -> None:
    folder = fill(cache)["other"]
    (folder / "net" / "net.params").unlink()
    (folder / "net" / "deep" / "more").write_bytes(b"?")
    (cache.home / "artifacts/x/y/z/unknown").mkdir(parents=True)
    told = {fault.path: fault.what for fault in upkeep.verify()}
    assert told == {
        folder / "net" / "net.params": "is missing; it is put back when it is next used",
        folder / "net" / "deep" / "more": "does not belong to this folder; remove it",
        cache.home / "artifacts/x/y/z/unknown": "nothing is known of this folder; remove it",
    }


def test_a_cache_that_cannot_be_written_is_verified_all_the_same(
    cache: Cache, upkeep: Upkeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(fill(cache)["first"] / "parameters.bin")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "unlink", refused)
    assert len(list(upkeep.verify())) == 1


def test_a_compressed_file_is_kept_once_and_verified(cache: Cache, upkeep: Upkeep) -> None:
    packed = gzip.compress(WEIGHTS)
    cache.folder(model(file("parameters", packed, uri="net.params.gz", name="net.params")), Memory(parameters=packed))
    assert (contents(cache), list(upkeep.verify())) == ({WEIGHTS}, [])
    shutil.rmtree(cache.home)


# what is known of repositories ---------------------------------------------------------------------------------------


def learn(cache: Cache, name: str, ago_s: float, size: int = 1000, **notes_s: float) -> Path:
    """What is known of a repository, made some time ago, with notes of other times."""
    folder = cache.home / "index"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.sqlite").write_bytes(bytes(size))
    for suffix, seconds in {"sqlite": ago_s, **notes_s}.items():
        path = folder / f"{name}.{suffix}"
        path.touch()
        os.utime(path, (time.time() - seconds, time.time() - seconds))
    return folder / f"{name}.sqlite"


def kept_document(cache: Cache, name: str, ago_s: float, content: bytes = b"{}") -> Path:
    path = cache.home / "documents" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - ago_s, time.time() - ago_s))
    return path


def test_by_age_goes_what_is_known_of_repositories_that_nobody_asks(cache: Cache, upkeep: Upkeep) -> None:
    gone = [learn(cache, "a", OLD_S, confirmed=OLD_S, used=OLD_S), learn(cache, "b", OLD_S), kept_document(cache, "c", OLD_S)]
    left = [
        learn(cache, "confirmed", OLD_S, confirmed=60.0, used=OLD_S),
        learn(cache, "used", OLD_S, confirmed=OLD_S, used=60.0),
        learn(cache, "new", 60.0),
        kept_document(cache, "read", 60.0),
    ]
    assert upkeep.catalogue_size() == 5000 + 4
    assert upkeep.prune().catalogue == 0
    done = upkeep.prune(older_than_s=30 * 86_400)
    assert (done.catalogue, done.freed) == (2002, 2002)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in left)
    assert {path.stem for path in (cache.home / "index").iterdir()} == {"confirmed", "used", "new"}


def test_by_size_it_goes_last_of_all_what_was_used_longest_ago_first(cache: Cache, upkeep: Upkeep) -> None:
    folders = fill(cache)
    old, new = learn(cache, "old", OLD_S), learn(cache, "new", 60.0)
    document = kept_document(cache, "document", 2 * OLD_S)
    upkeep.prune(max_size=upkeep.size() - 1)
    assert old.exists()
    assert document.exists()
    assert not all(folder.exists() for folder in folders.values())
    upkeep.remove(upkeep.artifacts())
    done = upkeep.prune(max_size=upkeep.size() - 500)
    assert (old.exists(), new.exists(), document.exists()) == (False, True, False)
    assert done.catalogue == done.freed == 1002
    assert upkeep.prune(max_size=0).catalogue == 1000


def test_verify_removes_what_is_no_document(cache: Cache, upkeep: Upkeep) -> None:
    good = kept_document(cache, "good", 0.0)
    bad = [kept_document(cache, "cut", 0.0, b'{"artifacts": ['), kept_document(cache, "list", 0.0, b"[]")]
    assert {fault.path for fault in upkeep.verify()} == set(bad)
    assert [path.exists() for path in (good, *bad)] == [True, False, False]
    assert list(upkeep.verify()) == []
