"""A mirror: a repository with exactly what a lock holds, beside whatever else lies in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import archives
from tests import repositories as make
from zoo_core import CriteriaError, MetadataError, ModelZoo


def zoo(*repositories: Any, lock: Any = False) -> ModelZoo:
    return ModelZoo(list(repositories), config=False, plugins=[], lock=lock)


def mirrored(root: Path, folder: Path, *models: str) -> list[Any]:
    """The records of a mirror of models of a repository."""
    lock = folder.with_name("zoo.lock")
    zoo(root).lock(*models, path=lock)
    zoo(root, lock=lock).mirror(folder, progress=False)
    return zoo(folder).search()


def test_files_that_two_models_share_lie_in_it_once(tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    for name in ("one", "two"):
        make.publish(root, make.document(make.artifact(), artifact_id=name))
    records = mirrored(root, tmp_path / "m", "one", "two")
    assert [record.artifact_id for record in records] == ["one", "two"]
    assert len(list((tmp_path / "m" / "files").rglob("*.bin"))) == 1


def test_archives_stay_what_they_are_and_unpack_as_before(tmp_path: Path) -> None:
    packed = {"zip": archives.zipped({"a/b.txt": b"inside"}), "tar": archives.tarred({"c.txt": b"too"})}
    files = {kind: make.item(f"net.{kind}", content, name="") for kind, content in packed.items()}
    content = {f"net.{kind}": data for kind, data in packed.items()}
    make.publish(tmp_path / "zoo", make.document(make.artifact(files=files)), content)
    mirrored(tmp_path / "zoo", tmp_path / "m", "net")
    folder = zoo(tmp_path / "m").download("net", progress=False)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == ["a/b.txt", "c.txt"]


def test_sizes_that_a_document_leaves_out_or_has_wrong_are_right_in_a_mirror(tmp_path: Path) -> None:
    item = make.item("net.params.bin", make.WEIGHTS, size=3)
    make.publish(tmp_path / "zoo", make.document(make.artifact(files={"parameters": item})))
    (record,) = mirrored(tmp_path / "zoo", tmp_path / "m", "net")
    assert record.size == len(make.WEIGHTS)


def test_versions_of_one_model_are_one_document(tmp_path: Path) -> None:
    make.publish(tmp_path / "zoo", make.document(make.artifact("1.0"), make.artifact("2.0"), make.artifact("3.0")))
    records = mirrored(tmp_path / "zoo", tmp_path / "m", "net@1.0", "net@3.0")
    assert [record.version for record in records] == ["3.0", "1.0"]


def test_a_document_is_found_by_its_folder_and_by_its_own_ids(tmp_path: Path) -> None:
    """As eight of DJL's are, which say other ids than their folders."""
    folder = "model/cv/image_classification/com/example/other"
    make.publish(tmp_path / "zoo", make.document(make.artifact(), artifact_id="net"), folder=folder)
    (record,) = mirrored(tmp_path / "zoo", tmp_path / "m", "net")
    assert (record.mrl.artifact_id, record.metadata.artifact_id) == ("other", "net")
    assert record.mrl == zoo(tmp_path / "zoo").search()[0].mrl


def test_a_name_that_some_system_forbids_is_replaced(tmp_path: Path) -> None:
    item = make.item("net%3A1.params.bin", make.WEIGHTS, name="net.bin")
    make.publish(tmp_path / "zoo", make.document(make.artifact(files={"parameters": item})), {"net:1.params.bin": make.WEIGHTS})
    mirrored(tmp_path / "zoo", tmp_path / "m", "net")
    assert [path.name for path in (tmp_path / "m" / "files").rglob("*") if path.is_file()] == ["file"]
    assert (zoo(tmp_path / "m").download("net", progress=False) / "net.bin").read_bytes() == make.WEIGHTS


def test_an_id_that_can_be_no_folder_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    make.publish(root, make.document(make.artifact()))
    zoo(root).lock("net", path=tmp_path / "zoo.lock")
    content = json.loads((tmp_path / "zoo.lock").read_text())
    content["models"][0]["mrl"] = "model/cv/image_classification/com.example/net%3A1"
    (tmp_path / "zoo.lock").write_text(json.dumps(content))
    with pytest.raises(MetadataError, match="cannot be mirrored"):
        zoo(root, lock=tmp_path / "zoo.lock").mirror(tmp_path / "m", progress=False)


@pytest.mark.parametrize(
    "manifest",
    [
        {"mirrorVersion": 1, "paths": ["../mine.txt", "/mine.txt", "files/../../mine.txt", "mine.txt", "model/../../mine.txt"]},
        {"mirrorVersion": 1, "paths": "mine.txt"},
        {"mirrorVersion": 2, "paths": ["files/a/b"]},
        {"paths": [1, None]},
        [],
        "no JSON" * 3,
    ],
    ids=["leading out", "a text", "a later version", "no version", "a list", "words"],
)
def test_what_a_stranger_says_is_the_mirrors_own_deletes_nothing_of_others(tmp_path: Path, manifest: Any) -> None:
    make.publish(tmp_path / "zoo", make.document(make.artifact()))
    folder = tmp_path / "m"
    (folder / "files" / "a").mkdir(parents=True)
    for path in (tmp_path / "mine.txt", folder / "mine.txt", folder / "files" / "a" / "b"):
        path.write_text("mine")
    (folder / "zoo-mirror.json").write_text(json.dumps(manifest))
    mirrored(tmp_path / "zoo", folder, "net")
    for path in (tmp_path / "mine.txt", folder / "mine.txt", folder / "files" / "a" / "b"):
        assert path.read_text() == "mine"


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    make.publish(tmp_path / "zoo", make.document(make.artifact()))
    folder, outside = tmp_path / "m", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    try:
        (folder / "files").symlink_to(outside, target_is_directory=True)
    except OSError:
        pytest.skip("needs symbolic links")
    with pytest.raises(CriteriaError, match="leads out of the mirror's folder"):
        mirrored(tmp_path / "zoo", folder, "net")
    assert list(outside.iterdir()) == []


def test_an_empty_lock_is_nothing_to_mirror(tmp_path: Path) -> None:
    (tmp_path / "zoo.lock").write_text('{"lockVersion": 1, "models": []}')
    with pytest.raises(CriteriaError, match="locks no model"):
        zoo(lock=tmp_path / "zoo.lock").mirror(tmp_path / "m")


def test_what_the_address_of_a_repository_says_of_its_models_is_in_their_documents(tmp_path: Path) -> None:
    make.publish(tmp_path / "zoo", make.document(make.artifact(arguments={"classes": 10, "layers": [1, 2]})))
    url = f"{(tmp_path / 'zoo').as_uri()}?classes=5"
    zoo(url).lock("net", path=tmp_path / "zoo.lock")
    zoo(url, lock=tmp_path / "zoo.lock").mirror(tmp_path / "m", progress=False)
    (record,) = zoo(tmp_path / "m").search()
    assert record.arguments == {"classes": 5, "layers": [1, 2]}


def locked_from_two(tmp_path: Path, other: bytes) -> Path:
    """A lock of one version of one model from two repositories; the second one has other bytes."""
    for name, content in (("one", make.WEIGHTS), ("two", other)):
        files = {"parameters": make.item("net.params.bin", content)}
        make.publish(tmp_path / name, make.document(make.artifact(files=files)), {"net.params.bin": content})
        zoo().lock("net", path=tmp_path / "zoo.lock", model_urls=[tmp_path / name])
    return tmp_path / "zoo.lock"


def test_one_version_from_two_repositories_is_no_mirror_where_they_differ(tmp_path: Path) -> None:
    opened = zoo(tmp_path / "one", tmp_path / "two", lock=locked_from_two(tmp_path, b"others"))
    with pytest.raises(CriteriaError, match=r"has com\.example/net@1\.0 twice, and not the same, from file:"):
        opened.mirror(tmp_path / "m", progress=False)
    assert not (tmp_path / "m").exists()


def test_one_version_that_two_repositories_have_alike_is_mirrored_once(tmp_path: Path) -> None:
    opened = zoo(tmp_path / "one", tmp_path / "two", lock=locked_from_two(tmp_path, make.WEIGHTS))
    assert opened.mirror(tmp_path / "m", progress=False).files == 1
    assert len(zoo(tmp_path / "m").search()) == 1
