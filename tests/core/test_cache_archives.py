"""Artifacts with archives among their files: one folder with what is in them."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import tarfile
import threading
from pathlib import Path
from typing import BinaryIO

import filelock
import pytest

from tests import archives as pack
from tests import repositories as make
from tests.memory import LABELS, URL, WEIGHTS, Memory, file, model
from tests.records import source
from tests.windows import refuse_as_windows_does
from zoo_core import (
    ArtifactFile,
    CacheError,
    IntegrityError,
    MetadataError,
    ModelRecord,
    RepositoryError,
    UnsafeArchiveError,
    ZooWarning,
)  # fmt: skip
from zoo_core import cache as cache_module
from zoo_core import contents as contents_module
from zoo_core import store as store_module
from zoo_core.cache import Cache
from zoo_core.folders import copy_folder
from zoo_core.repository.local import FolderRepository
from zoo_core.unpack import Limits

TREE = {"net.params": WEIGHTS, "deep/config.json": b"{}"}
ZIP, TGZ, TAR, GZ = pack.zipped(TREE), pack.tarred(TREE, mode="w:gz"), pack.tarred(TREE), gzip.compress(WEIGHTS)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def packed(key: str, uri: str, content: bytes, **fields: object) -> ArtifactFile:
    """A file of an artifact as a document gives it: an archive of many is a folder."""
    name = uri.rpartition("/")[2].partition(".")[0]
    kind = "dir" if uri.endswith((".zip", ".mar", ".tgz", ".tar.gz", ".tar")) else "file"
    return file(key, content, **{"uri": uri, "url": f"{URL}{uri}", "name": name, "type": kind, **fields})


def unpacked_once(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The archives that are unpacked, one entry a time."""
    seen: list[Path] = []
    original = contents_module.unpack

    def counting(archive: Path, *arguments: object, **keywords: object) -> object:
        seen.append(archive)
        return original(archive, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(contents_module, "unpack", counting)
    return seen


def inside(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def leftovers(cache: Cache) -> list[Path]:
    return list(cache.home.rglob(".partial-*"))


# what comes of each kind ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "content"), [("net.zip", ZIP), ("net.mar", ZIP), ("net.tgz", TGZ), ("net.tar.gz", TGZ), ("net.tar", TAR)]
)
def test_an_archive_becomes_a_folder_of_its_name(cache: Cache, uri: str, content: bytes) -> None:
    wanted, remote = model(packed("model", uri, content)), Memory(model=content)
    found = cache.files(wanted, remote)["model"]
    assert found.name == "net"
    assert inside(found) == TREE
    assert inside(cache.folder(wanted, remote)) == {f"net/{name}": data for name, data in TREE.items()}


def test_without_a_name_its_members_lie_in_the_artifacts_folder_itself(cache: Cache) -> None:
    wanted = model(packed("model", "net.zip", ZIP, name=""), file("synset", LABELS))
    remote = Memory(model=ZIP, synset=LABELS)
    found, folder = cache.files(wanted, remote), cache.folder(wanted, remote)
    assert found == {"model": folder, "synset": folder / "synset.bin"}
    assert inside(folder) == {**TREE, "synset.bin": LABELS}


def test_several_archives_without_names_share_one_folder(cache: Cache) -> None:
    """As COCO's training, validation and annotations do; what is equal in both may stand in both."""
    first = pack.zipped({"train/1.jpg": b"1", "README": b"read me"})
    second = pack.tarred({"val/2.jpg": b"2", "README": b"read me", "train/3.jpg": b"3"})
    wanted = model(packed("train", "train.zip", first, name=""), packed("val", "val.tar", second, name=""))
    folder = cache.folder(wanted, Memory(train=first, val=second))
    assert inside(folder) == {"train/1.jpg": b"1", "train/3.jpg": b"3", "val/2.jpg": b"2", "README": b"read me"}


def test_a_compressed_file_is_inflated(cache: Cache) -> None:
    wanted, remote = model(packed("parameters", "net.params.gz", GZ, name="net.params")), Memory(parameters=GZ)
    path = cache.files(wanted, remote)["parameters"]
    assert (path.name, path.read_bytes()) == ("net.params", WEIGHTS)
    assert inside(cache.folder(wanted, remote)) == {"net.params": WEIGHTS}


def test_the_first_entry_of_an_archive_that_is_said_to_be_one_file(cache: Cache) -> None:
    wanted = model(packed("parameters", "net.zip", ZIP, name="net.params", type="file"))
    assert inside(cache.folder(wanted, Memory(parameters=ZIP))) == {"net.params": WEIGHTS}


def test_a_tar_file_that_is_said_to_be_one_file_stays_what_it_is(cache: Cache) -> None:
    wanted = model(packed("data", "shard.tar", TAR, name="shard.tar", type="file"))
    assert inside(cache.folder(wanted, Memory(data=TAR))) == {"shard.tar": TAR}


def test_folders_without_files_are_there(cache: Cache) -> None:
    content = pack.tarred(TREE, more=[pack.member("assets", tarfile.DIRTYPE)])
    wanted, remote = model(packed("model", "net.tar", content)), Memory(model=content)
    found = cache.files(wanted, remote)["model"]
    assert (found / "assets").is_dir()
    assert cache.files(wanted, remote)["model"] == found


@pytest.mark.parametrize("name", ["net", ""])
def test_an_empty_archive_is_an_empty_folder(cache: Cache, name: str) -> None:
    content = pack.zipped({})
    wanted = model(packed("model", "net.zip", content, name=name))
    assert list(cache.files(wanted, Memory(model=content))["model"].iterdir()) == []
    assert cache.files(wanted, Memory())["model"].is_dir()


def test_what_is_to_become_a_folder_and_is_no_archive_is_the_documents_fault(cache: Cache) -> None:
    for uri in ("net.bin", "net.params.gz"):
        remote = Memory(model=WEIGHTS)
        with pytest.raises(MetadataError, match=r"is to become a folder, and .* is none of \.zip"):
            cache.files(model(packed("model", uri, WEIGHTS, type="dir")), remote)
        assert remote.opened == []


def test_code_comes_in_no_archive(cache: Cache) -> None:
    remote = Memory(code=GZ)
    with pytest.raises(IntegrityError, match="code needs a full sha256 in its document, of the file itself"):
        cache.files(model(packed("code", "block_factory.py.gz", GZ)), remote)
    assert remote.opened == []


# once, and then never again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weak",
    [{}, {"sha256": None, "sha1": make.sha1(ZIP)}, {"sha256": None, "sha256_prefix": make.sha256(ZIP)[:8]}],
    ids=["sha256", "sha1", "prefix"],
)
def test_an_archive_is_fetched_and_unpacked_once_and_then_not_kept(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, weak: dict[str, object]
) -> None:
    seen = unpacked_once(monkeypatch)
    wanted, remote = model(packed("model", "net.zip", ZIP, **weak)), Memory(model=ZIP)
    folders = [Cache(cache.home).folder(wanted, remote) for _ in range(3)]
    assert len(set(folders)) == 1
    assert (remote.opened, len(seen)) == (["model"], 1)
    digests = {path.name for path in (cache.home / "blobs").rglob("*") if path.is_file()}
    assert digests == {make.sha256(content) for content in TREE.values()}
    assert leftovers(cache) == []


def test_a_second_load_hashes_nothing_and_asks_nobody(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, remote = model(packed("model", "net.zip", ZIP), packed("parameters", "p.gz", GZ)), Memory(model=ZIP, parameters=GZ)
    first = cache.files(wanted, remote)

    def refused(path: Path) -> None:
        raise AssertionError(f"{path} was hashed")

    for module in (cache_module, store_module):
        monkeypatch.setattr(module, "digest_file", refused)
    assert Cache(cache.home).files(wanted, Memory()) == first


def test_equal_files_of_two_archives_are_stored_once(cache: Cache) -> None:
    other = pack.tarred({"renamed.params": WEIGHTS})
    one = cache.files(model(packed("model", "net.zip", ZIP)), Memory(model=ZIP))["model"]
    two = cache.files(model(packed("model", "new.tar", other), version="2"), Memory(model=other))["model"]
    assert (one / "net.params").samefile(two / "renamed.params")


def test_whether_a_model_is_here_is_known_without_its_archive(cache: Cache) -> None:
    wanted, remote = (
        model(packed("model", "net.zip", ZIP), packed("parameters", "p.gz", GZ)),
        Memory(model=ZIP, parameters=GZ),
    )
    assert (cache.has(wanted, remote), cache.local(wanted, remote)) == (False, {})
    found = cache.files(wanted, remote)
    assert cache.has(wanted, remote) is True
    assert cache.local(wanted, None) == found


def test_before_its_folder_is_made_an_archive_of_many_has_no_path_of_its_own(cache: Cache) -> None:
    wanted, remote = model(packed("model", "net.zip", ZIP), file("synset", LABELS)), Memory(model=ZIP, synset=LABELS)
    cache.files(model(packed("model", "net.zip", ZIP), version="0.9"), remote)
    assert cache.local(wanted, remote) == {}


def test_an_interrupted_unpacking_begins_again_without_the_network(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, remote = model(packed("model", "net.zip", ZIP)), Memory(model=ZIP)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(contents_module, "unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.files(wanted, remote)
    assert leftovers(cache) == []
    assert cache.has(wanted, remote) is True
    assert list(cache.local(wanted, remote)) == ["model"]
    assert inside(cache.files(wanted, remote)["model"]) == TREE
    assert remote.opened == ["model"]


# what is wrong leaves nothing ----------------------------------------------------------------------------------------


def everything(cache: Cache) -> list[Path]:
    return [path for name in ("artifacts", "blobs", "unpacked") for path in (cache.home / name).rglob("*") if path.is_file()]


def test_a_hostile_member_leaves_nothing_of_the_others(cache: Cache, tmp_path: Path) -> None:
    content = pack.tarred({**TREE, "../../../evil": b"evil"}, mode="w:gz")
    wanted, remote = model(packed("model", "net.tgz", content)), Memory(model=content)
    with pytest.raises(UnsafeArchiveError) as caught:
        cache.files(wanted, remote)
    text = str(caught.value)
    assert text.startswith(f"model of com.example/net@1.0 ({URL}net.tgz): member '../../../evil' leads out of its folder")
    assert everything(cache) == []
    assert leftovers(cache) == []
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_damaged_archive_leaves_nothing(cache: Cache) -> None:
    content = ZIP[:100]
    with pytest.raises(IntegrityError, match="the archive cannot be read"):
        cache.files(model(packed("model", "net.zip", content)), Memory(model=content))
    assert everything(cache) == []


def test_a_wrong_digest_is_told_before_anything_is_unpacked(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = unpacked_once(monkeypatch)
    with pytest.raises(IntegrityError, match="wrong digest for model"):
        cache.files(model(packed("model", "net.zip", ZIP)), Memory(model=TGZ))
    assert (seen, everything(cache)) == ([], [])


def test_limits_of_the_user_count(tmp_path: Path) -> None:
    for number, limits in enumerate((Limits(max_members=1), Limits(max_size=10))):
        cache = Cache(tmp_path / str(number), limits=limits)
        with pytest.raises(UnsafeArchiveError, match=r"zoo\.toml"):
            cache.files(model(packed("model", "net.zip", ZIP)), Memory(model=ZIP))


@pytest.mark.parametrize(
    ("first", "second"),
    [({"a": b"1"}, {"a": b"2"}), ({"a": b"1"}, {"A": b"1"}), ({"a": b"1"}, {"a/b": b"2"}), ({"a/b": b"1"}, {"a": b"2"})],
    ids=["content", "case", "file and folder", "folder and file"],
)
def test_two_archives_that_want_different_things_at_one_place_are_refused(
    cache: Cache, first: dict[str, bytes], second: dict[str, bytes]
) -> None:
    contents = {"one": pack.zipped(first), "two": pack.zipped(second)}
    wanted = model(*(packed(key, f"{key}.zip", content, name="") for key, content in contents.items()))
    with pytest.raises(UnsafeArchiveError, match=r"the files of com\.example/net@1\.0 together: member"):
        cache.files(wanted, Memory(**contents))


def test_an_archive_does_not_replace_a_file_of_the_artifact(cache: Cache) -> None:
    content = pack.zipped({"parameters.bin": b"other"})
    wanted = model(file(), packed("model", "net.zip", content, name=""))
    with pytest.raises(UnsafeArchiveError, match="together"):
        cache.files(wanted, Memory(parameters=WEIGHTS, model=content))


def test_an_unverified_archive_is_unpacked_where_the_user_allows_it(cache: Cache) -> None:
    wanted = model(packed("model", "net.zip", ZIP, sha256=None, size=None), source=source("acme", allow_unverified=True))
    with pytest.warns(ZooWarning, match=f"to pin it, add #sha256={make.sha256(ZIP)}"):
        found = cache.files(wanted, Memory(model=ZIP))
    assert inside(found["model"]) == TREE


# what happens behind our back ----------------------------------------------------------------------------------------


def blob_of(cache: Cache, content: bytes) -> Path:
    digest = make.sha256(content)
    return cache.home / "blobs" / "sha256" / digest[:2] / digest


@pytest.mark.parametrize("change", ["deleted", "damaged"])
def test_a_content_that_was_lost_is_unpacked_again(cache: Cache, change: str) -> None:
    wanted, remote = model(packed("model", "net.zip", ZIP)), Memory(model=ZIP)
    folder = cache.files(wanted, remote)["model"]
    blob = blob_of(cache, WEIGHTS)
    if change == "deleted":
        blob.unlink()
        (folder / "net.params").unlink()
    else:
        blob.chmod(0o644)
        blob.write_bytes(b"damaged")
    assert inside(cache.files(wanted, remote)["model"]) == TREE
    assert remote.opened == ["model", "model"]


def test_a_file_that_its_folder_lost_is_put_back(cache: Cache) -> None:
    wanted, remote = model(packed("model", "net.zip", ZIP)), Memory(model=ZIP)
    folder = cache.files(wanted, remote)["model"]
    (folder / "deep" / "config.json").unlink()
    (folder / "deep").rmdir()
    assert inside(cache.files(wanted, remote)["model"]) == TREE
    assert remote.opened == ["model"]


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"[]", b"{", b'{"files": [{"path": "a", "sha256": "x", "size": 1, "mtime_ns": 1}]}',
        b'{"files": [], "folders": ["../../evil"]}', b'{"files": [], "folders": ["/evil"]}', b'{"files": 3}', b"\xff",
    ],
)  # fmt: skip
def test_a_note_that_is_damaged_or_leads_out_only_means_unpacking_anew(cache: Cache, damage: bytes) -> None:
    wanted, remote = model(packed("model", "net.zip", ZIP)), Memory(model=ZIP)
    found = cache.files(wanted, remote)["model"]
    (note,) = (cache.home / "unpacked").iterdir()
    note.write_bytes(damage)
    assert (cache.has(wanted, remote), cache.files(wanted, remote)["model"]) == (False, found)
    assert json.loads(note.read_bytes())["files"][0]["path"] == "net.params"


def test_a_note_cannot_name_a_place_outside(cache: Cache, tmp_path: Path) -> None:
    wanted, remote = model(packed("model", "net.zip", ZIP)), Memory(model=ZIP)
    cache.files(wanted, remote)
    (note,) = (cache.home / "unpacked").iterdir()
    note.write_text(note.read_text().replace("net.params", "../../../../../../../evil"))
    cache.files(wanted, remote)
    assert not list(tmp_path.rglob("evil"))


def test_a_content_that_disappears_before_its_folder_is_made_is_had_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who makes room may take it for one that nobody needs."""
    wanted, remote = model(packed("model", "net.zip", ZIP)), Memory(model=ZIP)
    original, taken = os.link, [blob_of(cache, WEIGHTS)]

    def robbed(source: Path, target: Path) -> None:
        if Path(source) in taken and "artifacts" in str(target):
            taken.clear()
            Path(source).unlink()
        original(source, target)

    monkeypatch.setattr(os, "link", robbed)
    assert inside(cache.files(wanted, remote)["model"]) == TREE
    assert remote.opened == ["model", "model"]
    assert leftovers(cache) == []


def test_but_not_for_ever(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, remote = model(file()), Memory(parameters=WEIGHTS)

    def no_links(source: Path, target: Path) -> None:
        if "artifacts" in str(target):
            Path(source).unlink(missing_ok=True)
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(CacheError):
        cache.files(wanted, remote)
    assert remote.opened == ["parameters"] * 5


def test_everything_works_where_read_only_files_can_be_neither_replaced_nor_deleted(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_as_windows_does(monkeypatch)
    wanted, remote = model(packed("model", "net.zip", ZIP), packed("parameters", "p.gz", GZ)), Memory(model=ZIP, parameters=GZ)
    folder = cache.folder(wanted, remote)
    assert inside(folder) == {**{f"net/{name}": data for name, data in TREE.items()}, "p": WEIGHTS}
    assert leftovers(cache) == []


# several at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locks", [True, False], ids=["with locks", "without locks"])
def test_many_who_want_one_archive_get_one_folder(cache: Cache, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
    def broken(*_: object, **__: object) -> None:
        raise NotImplementedError

    if not locks:
        monkeypatch.setattr(filelock.FileLock, "acquire", broken)
    remote, wanted = Memory(model=ZIP), model(packed("model", "net.zip", ZIP))
    barrier, found = threading.Barrier(6), list[Path]()

    def load() -> None:
        barrier.wait()
        found.append(Cache(cache.home).files(wanted, remote)["model"])

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1
    assert inside(found[0]) == TREE
    assert leftovers(cache) == []
    if locks:
        assert remote.opened == ["model"]


def test_an_archive_that_somebody_else_unpacks_and_deletes_meanwhile_is_not_needed(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each moment: as it gets its name, before it is opened, and while it is read."""
    wanted, remote = model(packed("model", "net.zip", ZIP)), Memory(model=ZIP)
    original = store_module.make_read_only
    taken: list[Path] = []

    def overtaken(path: Path) -> None:
        if path.name == make.sha256(ZIP) and not taken:
            taken.append(path)
            Cache(cache.home).files(wanted, Memory(model=ZIP))
        original(path)

    def no_locks(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(filelock.FileLock, "acquire", no_locks)
    monkeypatch.setattr(store_module, "make_read_only", overtaken)
    assert inside(cache.files(wanted, remote)["model"]) == TREE
    assert len(taken) == 1

    shutil.rmtree(cache.home)
    unpack = contents_module.unpack

    def too_late(archive: Path, *arguments: object, **keywords: object) -> object:
        if len(taken) == 1:
            taken.append(archive)
            archive.unlink()
        return unpack(archive, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(contents_module, "unpack", too_late)
    assert inside(cache.files(wanted, remote)["model"]) == TREE
    assert len(taken) == 2
    assert remote.opened == ["model"] * 3


# local archives ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository on disk whose model is an archive."""
    files = {"model": make.item("net.zip", ZIP, name=""), "synset": make.item("synset.txt", LABELS)}
    make.publish(tmp_path / "zoo", make.document(make.artifact(files=files)), {"net.zip": ZIP, "synset.txt": LABELS})
    return tmp_path / "zoo"


def local_record(repository: FolderRepository) -> ModelRecord:
    (metadata,) = repository.documents()
    return ModelRecord(metadata=metadata, artifact=metadata.artifacts[0], source=source("local"))


def test_a_local_archive_is_unpacked_into_the_cache_and_stays_where_it_is(cache: Cache, folder: Path) -> None:
    repository = FolderRepository(folder)
    wanted = local_record(repository)
    assert cache.has(wanted, repository) is True
    original = folder / "model/cv/image_classification/com/example/net/net.zip"
    assert cache.local(wanted, repository)["model"] == original
    found = cache.files(wanted, repository)
    assert found["synset"] == original.with_name("synset.txt")
    assert inside(found["model"]) == TREE
    assert original.read_bytes() == ZIP
    assert cache.local(wanted, repository) == found
    assert inside(cache.folder(wanted, repository)) == {**TREE, "synset.txt": LABELS}


def test_a_local_archive_is_unpacked_once(cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, repository = unpacked_once(monkeypatch), FolderRepository(folder)
    wanted = local_record(repository)
    for _ in range(3):
        Cache(cache.home).files(wanted, repository)
    assert len(seen) == 1


def test_a_local_archive_that_changed_is_not_the_one_that_was_promised(cache: Cache, folder: Path) -> None:
    repository = FolderRepository(folder)
    wanted = local_record(repository)
    cache.files(wanted, repository)
    path = folder / "model/cv/image_classification/com/example/net/net.zip"
    before = path.stat()
    path.write_bytes(bytes(len(ZIP)))
    with pytest.raises(IntegrityError, match="wrong digest"):
        cache.files(wanted, repository)
    # Nor where only its bytes did: it is hashed before it is unpacked, whatever is known of it.
    path.write_bytes(ZIP)
    other = Cache(cache.home.with_name("other"))
    other.files(wanted, repository)
    (note,) = (other.home / "unpacked").iterdir()
    note.unlink()
    kept = path.stat()
    path.write_bytes(bytes(len(ZIP)))
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    with pytest.raises(IntegrityError, match="wrong digest"):
        other.files(wanted, repository)
    assert before.st_size == kept.st_size


# copies --------------------------------------------------------------------------------------------------------------


def test_copies_have_folders_too_and_may_be_edited(cache: Cache, tmp_path: Path) -> None:
    content = pack.tarred(TREE, more=[pack.member("assets/empty", tarfile.DIRTYPE)])
    wanted = model(packed("model", "net.tar", content))
    mine = copy_folder(cache.folder(wanted, Memory(model=content)), tmp_path / "mine")
    assert inside(mine) == {f"net/{name}": data for name, data in TREE.items()}
    assert (mine / "net/assets/empty").is_dir()
    (mine / "net/deep/config.json").write_bytes(b"edited")


# caches below --------------------------------------------------------------------------------------------------------


class Nowhere(Memory):
    """A repository that is never reached."""

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        raise RepositoryError("there is no network")


@pytest.fixture
def layer(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "layer")


def wanted_and_remote() -> tuple[ModelRecord, Memory]:
    files = (
        packed("model", "net.zip", ZIP, name=""),
        file("synset", LABELS),
        packed("more", "p.gz", GZ, sha256=None, sha1=make.sha1(GZ)),
    )
    return model(*files), Memory(model=ZIP, synset=LABELS, more=GZ)


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_nlink, path.stat().st_size) for path in [folder, *folder.rglob("*")]
    }


def test_what_a_lower_cache_has_is_read_there_and_nothing_is_written(cache: Cache, layer: Cache, tmp_path: Path) -> None:
    wanted, remote = wanted_and_remote()
    made, before = layer.files(wanted, remote), snapshot(layer.home)
    over = Cache(tmp_path / "over", layers=[cache.home, layer.home])
    assert over.has(wanted, Nowhere()) is True
    assert over.files(wanted, Nowhere()) == over.local(wanted, Nowhere()) == made
    assert over.folder(wanted, Nowhere()) == made["model"]
    assert snapshot(layer.home) == before
    assert not over.home.exists()
    assert not cache.home.exists()


def test_what_a_lower_cache_has_only_a_part_of_is_copied(layer: Cache, tmp_path: Path) -> None:
    wanted, remote = wanted_and_remote()
    layer.files(model(*wanted.files[:2]), remote)
    before = snapshot(layer.home)
    over = Cache(tmp_path / "over", layers=[layer.home])
    remote.opened.clear()
    found = over.files(wanted, remote)
    assert remote.opened == ["more"]
    assert all(path.is_relative_to(over.home) for path in found.values())
    assert inside(found["model"]) == {**TREE, "synset.bin": LABELS, "p": WEIGHTS}
    assert snapshot(layer.home) == before


def test_a_damaged_lower_cache_is_passed_over(layer: Cache, tmp_path: Path) -> None:
    wanted, remote = wanted_and_remote()
    layer.files(wanted, remote)
    for path in (layer.home / "blobs").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"damaged")
    found = Cache(tmp_path / "over", layers=[layer.home]).files(wanted, remote)
    assert inside(found["model"]) == {**TREE, "synset.bin": LABELS, "p": WEIGHTS}
    assert found["model"].is_relative_to(tmp_path / "over")


def test_a_lower_cache_that_was_copied_is_hashed_once(layer: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy has other times, and what is found cannot be noted there."""
    wanted, remote = model(file()), Memory(parameters=WEIGHTS)
    made = layer.files(wanted, remote)["parameters"]
    for path in layer.home.rglob("*"):
        if path.is_file():
            os.utime(path, (1, 1))
    hashed: list[Path] = []
    original = store_module.digest_file
    monkeypatch.setattr(store_module, "digest_file", lambda path: hashed.append(path) or original(path))
    for _ in range(3):
        assert Cache(tmp_path / "over", layers=[layer.home]).files(wanted, Nowhere())["parameters"] == made
    assert len(hashed) == 1


def test_a_cache_that_is_moved_keeps_what_it_knows(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, remote = wanted_and_remote()
    cache.files(wanted, remote)
    cache.home.rename(tmp_path / "moved")
    monkeypatch.setattr(store_module, "digest_file", lambda path: pytest.fail(f"{path} was hashed"))
    assert inside(Cache(tmp_path / "moved").files(wanted, Nowhere())["model"]) == {**TREE, "synset.bin": LABELS, "p": WEIGHTS}


def test_the_index_of_a_lower_cache_is_known(cache: Cache, layer: Cache) -> None:
    layer.known_index(URL).write(b"index", '"v1"')
    over = Cache(cache.home, layers=[layer.home])
    assert (over.known_index(URL).read() or ())[:2] == (b"index", '"v1"')
    over.known_index(URL).write(b"newer", '"v2"')
    assert (over.known_index(URL).read() or ())[:2] == (b"newer", '"v2"')
    assert (layer.known_index(URL).read() or ())[:2] == (b"index", '"v1"')
