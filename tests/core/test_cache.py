"""Artifacts to verified local files."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

import filelock
import pytest

from tests import repositories as make
from tests.memory import LABELS, URL, WEIGHTS, Memory, file, model
from tests.records import source
from tests.windows import refuse_as_windows_does
from zoo_core import ArtifactFile, CacheError, IntegrityError, ModelRecord, Repository, RepositoryError, ZooWarning
from zoo_core import cache as cache_module
from zoo_core import downloads as downloads_module
from zoo_core import reception as reception_module
from zoo_core import store as store_module
from zoo_core.cache import Cache
from zoo_core.folders import copy_folder
from zoo_core.repository.local import FolderRepository


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read to be hashed, one entry a time."""
    read: list[Path] = []
    original = store_module.digest_file

    def counting(path: Path) -> store_module.Digests:
        read.append(path)
        return original(path)

    for module in (cache_module, store_module):
        monkeypatch.setattr(module, "digest_file", counting)
    return read


def everything(folder: Path) -> list[Path]:
    """The files below a folder, what a broken download may have left behind among them; locks and notes are not content."""
    notes = {"locks", "checked", "leases", "folders", "unpacked"}
    return [path for path in folder.rglob("*") if path.is_file() and not notes & set(path.parts)]


def is_read_only(path: Path) -> bool:
    return not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


# downloads -----------------------------------------------------------------------------------------------------------


def blob_of(cache: Cache, content: bytes = WEIGHTS) -> Path:
    digest = make.sha256(content)
    return cache.home / "blobs" / "sha256" / digest[:2] / digest


def test_a_file_is_stored_under_its_digest_and_under_its_own_name_read_only(cache: Cache) -> None:
    path = cache.files(model(), Memory(parameters=WEIGHTS))["parameters"]
    assert path.name == "parameters.bin"
    assert path.read_bytes() == WEIGHTS
    assert is_read_only(path)
    assert path.samefile(blob_of(cache))
    assert sorted(everything(cache.home)) == sorted([path, blob_of(cache)])


def test_what_is_here_is_not_fetched_again(cache: Cache) -> None:
    remote = Memory(parameters=WEIGHTS)
    first, second = cache.files(model(), remote), cache.files(model(), remote)
    assert (first, remote.opened) == (second, ["parameters"])


def test_equal_content_is_stored_once_wherever_it_comes_from(cache: Cache) -> None:
    first, second = Memory(parameters=WEIGHTS), Memory(parameters=WEIGHTS)
    paths = [cache.files(model(group_id=group), remote)["parameters"] for group, remote in (("g.a", first), ("g.b", second))]
    assert paths[0].samefile(paths[1])
    assert second.opened == []


def test_files_come_by_their_keys_in_the_documents_order(cache: Cache) -> None:
    found = cache.files(model(file("synset", LABELS), file()), Memory(parameters=WEIGHTS, synset=LABELS))
    assert {key: path.read_bytes() for key, path in found.items()} == {"synset": LABELS, "parameters": WEIGHTS}
    assert list(found) == ["synset", "parameters"]


def test_progress_is_told_bytes_done_bytes_in_all_and_the_name(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception_module, "CHUNK", 300)
    seen: list[tuple[int, int | None, str]] = []
    cache.files(model(), Memory(parameters=WEIGHTS), progress=lambda *told: seen.append(told))
    assert seen == [(300, 700, "parameters.bin"), (600, 700, "parameters.bin"), (700, 700, "parameters.bin")]


def test_whether_a_model_is_here_is_known_without_reading_anything(cache: Cache) -> None:
    remote, wanted = Memory(parameters=WEIGHTS, synset=LABELS), model(file(), file("synset", LABELS))
    assert (cache.has(wanted, remote), cache.local(wanted, remote)) == (False, {})
    cache.files(model(file()), remote)
    assert (cache.has(wanted, remote), list(cache.local(wanted, remote))) == (False, ["parameters"])
    cache.files(wanted, remote)
    assert cache.has(wanted, remote) is True
    assert cache.has(wanted, None) is True
    assert remote.opened == ["parameters", "synset"]


# what is wrong leaves nothing ----------------------------------------------------------------------------------------


def test_a_wrong_digest_says_what_was_expected_what_came_and_from_where_and_leaves_nothing(cache: Cache) -> None:
    with pytest.raises(IntegrityError) as caught:
        cache.files(model(), Memory(parameters=b"other"))
    error = caught.value
    assert error.expected == f"sha256:{make.sha256(WEIGHTS)}"
    assert error.found == f"sha256:{make.sha256(b'other')}"
    assert error.url == f"{URL}parameters.bin"
    assert all(text in str(error) for text in (error.expected, error.found, error.url, "parameters of com.example/net@1.0"))
    assert everything(cache.home) == []


class Breaking(Memory):
    """Its connection breaks in the middle."""

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        class Body(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                raise RepositoryError("the connection broke")

        return Body()


def test_a_broken_connection_leaves_nothing(cache: Cache) -> None:
    with pytest.raises(RepositoryError, match="the connection broke"):
        cache.files(model(), Breaking())
    assert everything(cache.home) == []


def test_what_came_before_a_fault_is_kept_for_the_next_time(cache: Cache) -> None:
    wanted, remote = model(file(), file("synset", LABELS)), Memory(parameters=WEIGHTS, synset=b"wrong")
    with pytest.raises(IntegrityError):
        cache.files(wanted, remote)
    remote.contents["synset"] = LABELS
    cache.files(wanted, remote)
    assert remote.opened == ["parameters", "synset", "synset"]


def test_a_body_far_larger_than_declared_is_cut_off(cache: Cache) -> None:
    """Published sizes are sometimes wrong, so several times as much is read before it is refused."""
    large = bytes(5 << 20)
    with pytest.raises(IntegrityError, match=r"more than 1\.0 MB came, and 10 B were declared"):
        cache.files(model(file(content=large, size=10)), Memory(parameters=large))
    assert everything(cache.home) == []


def test_a_body_of_undeclared_size_is_bounded_too(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads_module, "MAX_UNDECLARED", 500)
    with pytest.raises(IntegrityError, match=r"more than 500 B came, and no size was declared"):
        cache.files(model(file(size=None)), Memory(parameters=WEIGHTS))
    assert everything(cache.home) == []


@pytest.mark.parametrize("size", [1, 10**9])
def test_a_wrong_size_alone_is_no_error(cache: Cache, size: int) -> None:
    assert cache.files(model(file(size=size)), Memory(parameters=WEIGHTS))["parameters"].read_bytes() == WEIGHTS


def test_what_a_user_hides_in_an_address_is_in_no_message(cache: Cache) -> None:
    secret = file(url="https://anna:s3cret@models.example/net.bin")
    with pytest.raises(IntegrityError, match=r"from https://\*\*\*@models\.example") as caught:
        cache.files(model(secret), Memory(parameters=b"other"))
    assert "s3cret" not in str(caught.value)
    trusting = source("acme", allow_unverified=True)
    bare = file(content=None, url=secret.url)
    with pytest.warns(ZooWarning, match=r"https://\*\*\*@models") as warned:
        cache.files(model(bare, source=trusting), Memory(parameters=WEIGHTS))
    assert "s3cret" not in str(warned[0].message)
    with pytest.raises(IntegrityError, match="has no digest") as caught:
        cache.files(model(bare), Memory(parameters=WEIGHTS))
    assert "s3cret" not in str(caught.value)


# weaker digests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weak",
    [{"sha1": make.sha1(WEIGHTS)}, {"sha256_prefix": make.sha256(WEIGHTS)[:8]}, {"sha256_prefix": make.sha256(WEIGHTS)}],
    ids=["sha1", "prefix", "long prefix"],
)
def test_a_weak_digest_is_checked_and_the_full_one_kept(cache: Cache, weak: dict[str, str]) -> None:
    remote, wanted = Memory(parameters=WEIGHTS), model(file(content=None, **weak))
    assert cache.has(wanted, remote) is False
    path = cache.files(wanted, remote)["parameters"]
    assert path.samefile(blob_of(cache))
    assert (cache.files(wanted, remote)["parameters"], remote.opened) == (path, ["parameters"])
    assert cache.has(wanted, remote) is True


@pytest.mark.parametrize(
    ("weak", "expected", "found"),
    [
        ({"sha1": "0" * 40}, f"sha1:{'0' * 40}", f"sha1:{make.sha1(WEIGHTS)}"),
        ({"sha256_prefix": "00000000"}, "sha256:00000000", f"sha256:{make.sha256(WEIGHTS)[:8]}"),
    ],
    ids=["sha1", "prefix"],
)
def test_a_wrong_weak_digest_leaves_nothing(cache: Cache, weak: dict[str, str], expected: str, found: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        cache.files(model(file(content=None, **weak)), Memory(parameters=WEIGHTS))
    assert (caught.value.expected, caught.value.found) == (expected, found)
    assert everything(cache.home) == []


@pytest.mark.parametrize(
    "weak", [{"sha1": make.sha1(WEIGHTS)}, {"sha256_prefix": make.sha256(WEIGHTS)[:8]}], ids=["sha1", "prefix"]
)
def test_what_came_first_is_meant_ever_after_though_other_bytes_may_have_the_weak_digest_too(
    cache: Cache, weak: dict[str, str]
) -> None:
    remote, wanted = Memory(parameters=WEIGHTS), model(file(content=None, **weak))
    cache.files(wanted, remote)
    blob_of(cache).unlink()
    # As if these were the second bytes of that digest: the first ones had another.
    (note,) = (cache.home / "digests").iterdir()
    note.write_text(make.sha256(WEIGHTS)[:8] + "0" * 56)
    with pytest.raises(IntegrityError) as caught:
        cache.files(wanted, remote)
    assert caught.value.expected == f"sha256:{note.read_text()}"
    assert caught.value.found == f"sha256:{make.sha256(WEIGHTS)}"


@pytest.mark.parametrize("text", ["", "../../../x", "0" * 64, "F" * 64, "\u00e9"])
def test_a_damaged_note_of_it_is_none(cache: Cache, text: str) -> None:
    remote, wanted = Memory(parameters=WEIGHTS), model(file(content=None, sha256_prefix=make.sha256(WEIGHTS)[:8]))
    cache.files(wanted, remote)
    (note,) = (cache.home / "digests").iterdir()
    note.write_text(text, "utf-8")
    assert cache.files(wanted, remote)["parameters"].read_bytes() == WEIGHTS
    assert note.read_text() == make.sha256(WEIGHTS)


def test_the_full_digest_decides_where_there_are_several(cache: Cache) -> None:
    wanted = model(file(sha1="0" * 40, sha256_prefix="00000000"))
    assert cache.files(wanted, Memory(parameters=WEIGHTS))["parameters"].read_bytes() == WEIGHTS


def test_a_file_without_any_digest_is_refused(cache: Cache) -> None:
    with pytest.raises(IntegrityError, match=r"parameters\.bin has no digest in .*metadata\.json.*`zoo index`"):
        cache.files(model(file(content=None)), Memory(parameters=WEIGHTS))
    assert everything(cache.home) == []


def test_it_is_taken_with_a_warning_where_the_user_allows_it_and_must_stay_the_same(cache: Cache) -> None:
    trusting = source("acme", allow_unverified=True)
    wanted, remote = model(file(content=None), source=trusting), Memory(parameters=WEIGHTS)
    with pytest.warns(ZooWarning, match=f"parameters.bin was not verified; to pin it, add #sha256={make.sha256(WEIGHTS)}"):
        cache.files(wanted, remote)
    blob_of(cache).unlink()
    remote.contents["parameters"] = b"replaced"
    with pytest.raises(IntegrityError) as caught:
        cache.files(wanted, remote)
    assert caught.value.expected == f"sha256:{make.sha256(WEIGHTS)}"


def test_code_needs_a_full_digest_before_anything_is_fetched(cache: Cache) -> None:
    remote = Memory(parameters=WEIGHTS, code=b"import os")
    with pytest.raises(IntegrityError, match="code needs a full sha256"):
        cache.files(model(file(), file("code", None, sha1=make.sha1(b"import os"))), remote)
    assert remote.opened == []


# files that are local already ----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository on disk with one model."""
    content = make.document(make.artifact(files={"parameters": make.item("net.bin", WEIGHTS)}))
    make.publish(tmp_path / "zoo", content, {"net.bin": WEIGHTS})
    return tmp_path / "zoo"


def local_record(repository: Repository) -> ModelRecord:
    (metadata,) = repository.documents()
    return ModelRecord(metadata=metadata, artifact=metadata.artifacts[0], source=source("local"))


def test_a_local_file_is_read_where_it_lies(cache: Cache, folder: Path) -> None:
    repository = FolderRepository(folder)
    wanted = local_record(repository)
    assert cache.has(wanted, repository) is True
    path = cache.files(wanted, repository)["parameters"]
    assert path == folder / "model/cv/image_classification/com/example/net/net.bin"
    assert not (cache.home / "blobs").exists()


def test_a_local_file_is_hashed_once(cache: Cache, folder: Path, hashed: list[Path]) -> None:
    repository = FolderRepository(folder)
    wanted = local_record(repository)
    for _ in range(3):
        path = cache.files(wanted, repository)["parameters"]
    Cache(cache.home).files(wanted, repository)
    assert hashed == [path]


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_local_file_that_changed_is_hashed_again(cache: Cache, folder: Path, hashed: list[Path], change: str) -> None:
    repository = FolderRepository(folder)
    wanted = local_record(repository)
    path = cache.files(wanted, repository)["parameters"]
    before = path.stat()
    path.write_bytes(WEIGHTS + b"more" if change == "size" else bytes(len(WEIGHTS)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + (0 if change == "size" else 1)))
    with pytest.raises(IntegrityError, match=str(path)):
        cache.files(wanted, repository)
    assert hashed == [path, path]


def test_a_document_that_promises_another_digest_is_not_satisfied_by_an_earlier_check(cache: Cache, folder: Path) -> None:
    repository = FolderRepository(folder)
    cache.files(local_record(repository), repository)
    make.publish(folder, make.document(make.artifact(files={"parameters": make.item("net.bin", b"other")})), {})
    with pytest.raises(IntegrityError) as caught:
        cache.files(local_record(repository), repository)
    assert caught.value.expected == f"sha256:{make.sha256(b'other')}"


def test_a_local_file_that_is_missing_is_an_error_that_names_it(cache: Cache, folder: Path) -> None:
    repository = FolderRepository(folder)
    wanted = local_record(repository)
    (folder / "model/cv/image_classification/com/example/net/net.bin").unlink()
    assert cache.has(wanted, repository) is False
    with pytest.raises(RepositoryError, match=r"net\.bin: No such file"):
        cache.files(wanted, repository)


def test_a_damaged_note_of_an_earlier_check_only_means_hashing_again(cache: Cache, folder: Path, hashed: list[Path]) -> None:
    repository = FolderRepository(folder)
    wanted = local_record(repository)
    cache.files(wanted, repository)
    (note,) = (cache.home / "checked").iterdir()
    assert json.loads(note.read_bytes())["sha256"] == make.sha256(WEIGHTS)
    for damage in (b"", b"[]", b"{", b'{"size": 700}'):
        note.chmod(0o644)
        note.write_bytes(damage)
        cache.files(wanted, repository)
    assert len(hashed) == 5


def test_a_copy_for_an_artifacts_folder_is_made_on_request_and_the_original_stays(cache: Cache, folder: Path) -> None:
    repository = FolderRepository(folder)
    original = folder / "model/cv/image_classification/com/example/net/net.bin"
    before = original.stat()
    copy = cache.files(local_record(repository), repository, keep=True)["parameters"]
    assert copy.read_bytes() == WEIGHTS
    assert copy.stat().st_ino != before.st_ino
    assert (original.stat().st_mode, original.stat().st_nlink) == (before.st_mode, 1)


def test_a_file_that_was_changed_with_its_size_and_time_kept_is_checked_anew(cache: Cache, folder: Path) -> None:
    """Otherwise what was noted of it would stand in the way for ever."""
    repository = FolderRepository(folder)
    other = bytes(len(WEIGHTS))
    cache.files(local_record(repository), repository)
    path = folder / "model/cv/image_classification/com/example/net/net.bin"
    before = path.stat()
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(IntegrityError, match=f"got sha256:{make.sha256(other)}"):
        cache.folder(local_record(repository), repository)
    path.write_bytes(WEIGHTS)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (cache.folder(local_record(repository), repository) / "net.bin").read_bytes() == WEIGHTS


def test_a_weakly_pinned_file_that_was_changed_so_is_kept_as_it_is_now(cache: Cache, folder: Path) -> None:
    repository = FolderRepository(folder)
    path = folder / "model/cv/image_classification/com/example/net/net.bin"
    item = make.item("net.bin", sha1Hash=make.sha1(LABELS * 4))
    make.publish(folder, make.document(make.artifact(files={"parameters": item})), {"net.bin": LABELS * 4})
    wanted = local_record(repository)
    cache.files(wanted, repository)
    (note,) = (cache.home / "checked").iterdir()
    note.write_text(note.read_text().replace(make.sha256(LABELS * 4), make.sha256(WEIGHTS)))
    assert (cache.folder(wanted, repository) / "net.bin").read_bytes() == path.read_bytes()


# an artifact's folder ------------------------------------------------------------------------------------------------


def test_an_artifacts_folder_has_plain_read_only_files_under_their_own_names(cache: Cache) -> None:
    folder = cache.folder(model(file(), file("synset", LABELS)), Memory(parameters=WEIGHTS, synset=LABELS))
    found = sorted(folder.iterdir())
    assert [(path.name, path.read_bytes()) for path in found] == [("parameters.bin", WEIGHTS), ("synset.bin", LABELS)]
    assert not any(path.is_symlink() for path in found)
    assert all(is_read_only(path) for path in found)


def test_it_is_made_once_and_shares_its_bytes_with_the_blobs(cache: Cache) -> None:
    wanted, remote = model(), Memory(parameters=WEIGHTS)
    first, second = cache.folder(wanted, remote), cache.folder(wanted, remote)
    assert first == second
    assert (first / "parameters.bin").samefile(blob_of(cache))


def test_without_hard_links_it_has_read_only_copies(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "this file system knows no hard links")

    monkeypatch.setattr(os, "link", no_links)
    copy = cache.folder(model(), Memory(parameters=WEIGHTS)) / "parameters.bin"
    assert (copy.read_bytes(), copy.stat().st_nlink, is_read_only(copy)) == (WEIGHTS, 1, True)


def test_other_content_under_the_same_ids_has_a_folder_of_its_own(cache: Cache) -> None:
    """A version that was published again must not be mixed with what is open now."""
    old = cache.folder(model(), Memory(parameters=WEIGHTS))
    new = cache.folder(model(file(content=b"new")), Memory(parameters=b"new"))
    assert old != new
    assert (old / "parameters.bin").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "ids",
    [
        {"group_id": "../../evil"},
        {"group_id": ".."},
        {"artifact_id": "a/../../../b"},
        {"artifact_id": "."},
        {"version": "../1.0"},
        {"name": "/etc/passwd"},
        {"name": "..\\..\\evil"},
        {"name": "x" * 5000},
        {"artifact_id": "nul\0byte"},
        {"artifact_id": "猫"},
        {"artifact_id": "CON"},
        {"version": "nul.txt"},
        {"group_id": "com1"},
        {"name": "aux .b"},
        {"version": "1.0."},
        {"version": "1.0 "},
    ],
    ids=str,
)
def test_whatever_the_ids_are_the_folder_lies_in_the_cache(cache: Cache, ids: dict[str, str]) -> None:
    folder = cache.folder(model(**ids), Memory(parameters=WEIGHTS))
    inside = folder.resolve().relative_to((cache.home / "artifacts").resolve())
    assert len(inside.parts) == 4
    assert not any(PureWindowsPath(part).is_reserved() or part.endswith((".", " ")) for part in inside.parts)
    assert [path.name for path in folder.iterdir()] == ["parameters.bin"]


def test_a_folder_that_another_process_made_meanwhile_is_used(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, remote = model(), Memory(parameters=WEIGHTS)
    original = Path.rename

    def too_late(self: Path, target: Path) -> Path:
        if "artifacts" not in target.parts:
            return original(self, target)
        target.mkdir()
        (target / "parameters.bin").write_bytes(WEIGHTS)
        return original(self, target)

    monkeypatch.setattr(Path, "rename", too_late)
    folder = cache.folder(wanted, remote)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / "parameters.bin").read_bytes() == WEIGHTS


def test_copies_in_a_folder_of_ones_own_may_be_edited(cache: Cache, tmp_path: Path) -> None:
    wanted, remote = model(file(), file("synset", LABELS)), Memory(parameters=WEIGHTS, synset=LABELS)
    original = cache.folder(wanted, remote)
    mine = copy_folder(original, tmp_path / "deep" / "mine")
    assert mine == tmp_path / "deep" / "mine"
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == {"parameters.bin": WEIGHTS, "synset.bin": LABELS}
    assert not any(is_read_only(path) for path in mine.iterdir())
    (mine / "synset.bin").write_bytes(b"eel\n")
    assert (original / "synset.bin").read_bytes() == LABELS
    copy_folder(original, mine)
    assert (mine / "synset.bin").read_bytes() == LABELS


def test_a_copy_that_cannot_be_written_is_a_cache_error_that_names_the_folder(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file stands in the way")
    with pytest.raises(CacheError, match=f"{tmp_path / 'mine'} cannot be written"):
        copy_folder(cache.folder(model(), Memory(parameters=WEIGHTS)), tmp_path / "mine")


def test_the_content_is_in_the_folders_name_with_128_bits(cache: Cache) -> None:
    """Anybody can claim ids, and must not find other content that gets the same folder."""
    folder = cache.folder(model(), Memory(parameters=WEIGHTS))
    assert len(folder.name.rpartition("-")[2]) == 32


def test_a_folder_that_is_ready_is_never_touched_by_one_who_saw_it_unready(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two who make one folder, the second must not take it away from under whoever got it from the first."""
    wanted, remote = model(), Memory(parameters=WEIGHTS)
    original, made, held = Path.stat, list[tuple[int, int]](), list[int]()

    def seen_too_early(self: Path, **keywords: bool) -> os.stat_result:
        try:
            return original(self, **keywords)
        except FileNotFoundError:
            if self.name == "parameters.bin" and not made:
                made.append((0, 0))
                ready = Cache(cache.home).folder(wanted, remote)
                # While it is open no other folder gets its number.
                held.append(os.open(ready, os.O_RDONLY))
                made[:] = [(original(ready).st_ino, original(ready / self.name).st_ino)]
            raise

    monkeypatch.setattr(Path, "stat", seen_too_early)
    folder = cache.folder(wanted, remote)
    try:
        assert [(original(folder).st_ino, original(folder / "parameters.bin").st_ino)] == made
    finally:
        os.close(held[0])


def test_what_a_folder_lacks_is_put_into_it_and_the_rest_stays(cache: Cache) -> None:
    wanted, remote = model(file(), file("synset", LABELS)), Memory(parameters=WEIGHTS, synset=LABELS)
    folder = cache.folder(wanted, remote)
    before = (folder.stat().st_ino, (folder / "synset.bin").stat().st_ino)
    (folder / "parameters.bin").unlink()
    assert cache.folder(wanted, remote) == folder
    assert (folder / "parameters.bin").read_bytes() == WEIGHTS
    assert (folder.stat().st_ino, (folder / "synset.bin").stat().st_ino) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_file_of_a_folder_that_was_replaced_by_one_of_the_same_size_is_noticed(cache: Cache) -> None:
    remote = Memory(parameters=WEIGHTS)
    path = cache.files(model(), remote)["parameters"]
    path.unlink()
    path.write_bytes(bytes(len(WEIGHTS)))
    assert cache.files(model(), remote)["parameters"].read_bytes() == WEIGHTS
    assert remote.opened == ["parameters"]


def test_a_file_has_the_name_of_the_document_whatever_its_key_is(cache: Cache) -> None:
    """A tokenizer, and a loader that looks for parameters by their suffix, go by names."""
    wanted = model(file("vocabulary", LABELS, name="vocab.model"), file("weights", name="net.safetensors"))
    found = cache.files(wanted, Memory(vocabulary=LABELS, weights=WEIGHTS))
    assert {key: path.name for key, path in found.items()} == {"vocabulary": "vocab.model", "weights": "net.safetensors"}
    assert len({path.parent for path in found.values()}) == 1
    assert cache.local(wanted, None) == found


class Mixed(Memory):
    """One of its files lies on this machine."""

    def __init__(self, local: Path, **files: bytes) -> None:
        super().__init__(**files)
        self.place = local

    def local_path(self, file: ArtifactFile) -> Path | None:
        return self.place if file.key == "synset" else None


def test_the_folder_of_an_artifact_that_is_partly_local_holds_what_was_downloaded(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(LABELS)
    wanted, mixed = model(file(), file("synset", LABELS)), Mixed(tmp_path / "labels.txt", parameters=WEIGHTS)
    found = cache.files(wanted, mixed)
    assert found["synset"] == tmp_path / "labels.txt"
    assert found["parameters"].read_bytes() == WEIGHTS
    assert list(found["parameters"].parent.iterdir()) == [found["parameters"]]
    assert found["parameters"].name == "parameters.bin"
    assert cache.local(wanted, mixed) == found
    assert sorted(path.name for path in cache.folder(wanted, mixed).iterdir()) == ["parameters.bin", "synset.bin"]


def test_everything_works_where_read_only_files_can_be_neither_replaced_nor_deleted(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_as_windows_does(monkeypatch)
    remote = Memory(parameters=WEIGHTS)
    path = cache.files(model(), remote)["parameters"]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    path.chmod(0o444)
    assert cache.files(model(), remote)["parameters"].read_bytes() == WEIGHTS
    assert is_read_only(path)
    assert not list(cache.home.rglob(".partial-*"))


# a cache that cannot be written --------------------------------------------------------------------------------------


@pytest.fixture
def unwritable(tmp_path: Path) -> Cache:
    """Tests may run as root, whom no permission stops; so a file stands where the folder should be."""
    (tmp_path / "blocked").write_text("")
    return Cache(tmp_path / "blocked" / "cache")


def test_a_download_into_an_unwritable_cache_is_an_error_with_the_remedy(unwritable: Cache) -> None:
    with pytest.raises(
        CacheError, match=f"the cache folder {unwritable.home} cannot be written: .*Set ZOO_HOME to another folder"
    ):
        unwritable.files(model(), Memory(parameters=WEIGHTS))


def test_a_local_file_needs_no_writable_cache(unwritable: Cache, folder: Path, hashed: list[Path]) -> None:
    repository = FolderRepository(folder)
    wanted = local_record(repository)
    for _ in range(2):
        assert unwritable.files(wanted, repository)["parameters"].read_bytes() == WEIGHTS
    assert len(hashed) == 2


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_what_is_in_a_read_only_cache_is_read_without_writing_or_locking(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    wanted, remote = model(file(content=None, sha1=make.sha1(WEIGHTS))), Memory(parameters=WEIGHTS)
    made = cache.folder(wanted, remote)

    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    for name in ("open", "mkdir", "rename", "replace", "unlink", "chmod"):
        monkeypatch.setattr(os, name, refused)
    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    assert (cache.folder(wanted, remote), remote.opened) == (made, ["parameters"])


def test_a_full_disk_is_told_and_leaves_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match="No space left on device; the disk is full"):
        cache.files(model(), Memory(parameters=WEIGHTS))
    assert everything(cache.home) == []


# several at once -----------------------------------------------------------------------------------------------------


class Slow(Memory):
    """It takes so long that the others arrive meanwhile."""

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        opened = super().open(file, offset)
        time.sleep(0.1)
        return opened


def all_at_once(action: Callable[[], Path], count: int = 6) -> list[Path]:
    barrier, found = threading.Barrier(count), list[Path]()

    def run() -> None:
        barrier.wait()
        found.append(action())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_many_who_want_one_model_download_it_once(cache: Cache) -> None:
    remote = Slow(parameters=WEIGHTS)
    found = all_at_once(lambda: Cache(cache.home).folder(model(), remote))
    assert len(found) == 6
    assert len(set(found)) == 1
    assert remote.opened == ["parameters"]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "no locks"), NotImplementedError(), filelock.Timeout("lock")], ids=repr
)
def test_nothing_depends_on_locks(cache: Cache, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """They do nothing on some network file systems."""

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", broken)
    remote = Slow(parameters=WEIGHTS)
    found = all_at_once(lambda: cache.folder(model(), remote))
    assert len(found) == 6
    assert len(set(found)) == 1
    assert (found[0] / "parameters.bin").read_bytes() == WEIGHTS
    assert sorted(path.read_bytes() for path in everything(cache.home)) == [WEIGHTS, WEIGHTS]


class Overtaken(Memory):
    """While it is being read, another process downloads the same file."""

    def __init__(self, other: Callable[[], Path], **files: bytes) -> None:
        super().__init__(**files)
        self.other, self.made = other, list[Path]()

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        self.made.append(self.other() / file.name)
        return super().open(file, offset)


def test_a_content_that_another_process_brought_meanwhile_stays(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are linked to it, and would differ from what comes later."""

    def no_locks(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    other = Cache(cache.home)
    remote = Overtaken(lambda: other.folder(model(), Memory(parameters=WEIGHTS)), parameters=WEIGHTS)
    path = cache.files(model(), remote)["parameters"]
    assert path.samefile(remote.made[0])
    assert path.samefile(blob_of(cache))
    assert path.stat().st_nlink == 2


# what happens to the cache behind our back ---------------------------------------------------------------------------


def test_a_blob_that_was_damaged_is_fetched_again(cache: Cache) -> None:
    remote = Memory(parameters=WEIGHTS)
    blob = cache.files(model(), remote)["parameters"]
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")

    again = cache.files(model(), remote)["parameters"]

    assert again.read_bytes() == WEIGHTS
    assert remote.opened == ["parameters", "parameters"]


def test_a_blob_whose_time_changed_is_hashed_and_kept(cache: Cache) -> None:
    remote = Memory(parameters=WEIGHTS)
    path = cache.files(model(), remote)["parameters"]
    os.utime(path, (1, 1))

    assert cache.files(model(), remote)["parameters"] == path
    assert remote.opened == ["parameters"]


def test_a_second_load_hashes_nothing(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Memory(parameters=WEIGHTS)
    cache.files(model(), remote)

    def refused(path: Path) -> None:
        raise AssertionError(f"{path} was hashed")

    for module in (cache_module, store_module):
        monkeypatch.setattr(module, "digest_file", refused)
    assert cache.files(model(), remote)["parameters"].read_bytes() == WEIGHTS


def test_an_artifact_folder_that_lost_a_file_is_made_anew(cache: Cache) -> None:
    remote = Memory(parameters=WEIGHTS)
    folder = cache.folder(model(), remote)
    (folder / "parameters.bin").unlink()

    assert cache.folder(model(), remote) == folder
    assert (folder / "parameters.bin").read_bytes() == WEIGHTS


# the index of a remote repository ------------------------------------------------------------------------------------


def test_a_known_index_is_kept_with_its_etag_and_its_age(cache: Cache) -> None:
    known = cache.known_index(URL)
    assert known.read() is None
    known.write(b"line 1\nline 2", '"v1"')
    (stored,) = (cache.home / "index").iterdir()
    os.utime(stored, (time.time() - 100, time.time() - 100))
    content, etag, age_s = cache.known_index(URL).read() or (b"", "", 0.0)
    assert (content, etag) == (b"line 1\nline 2", '"v1"')
    assert 99 < age_s < 160
    assert cache.known_index("https://other.example/").read() is None


def test_an_index_from_the_future_is_new_and_not_of_negative_age(cache: Cache) -> None:
    known = cache.known_index(URL)
    known.write(b"x", "")
    (stored,) = (cache.home / "index").iterdir()
    os.utime(stored, (time.time() + 100, time.time() + 100))
    assert known.read() == (b"x", "", 0.0)


def test_an_etag_with_a_line_break_cannot_reach_into_the_content(cache: Cache) -> None:
    known = cache.known_index(URL)
    known.write(b"x", '"a\nb"')
    assert (known.read() or ())[:2] == (b"x", '"ab"')


def test_an_index_that_cannot_be_kept_only_means_asking_again(unwritable: Cache) -> None:
    known = unwritable.known_index(URL)
    known.write(b"x", "")
    assert known.read() is None
