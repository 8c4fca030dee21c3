"""The index of a repository on disk."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from tests.web import Site
from zoo_core import MetadataError, RepositoryError
from zoo_core.indexing import write_index
from zoo_core.repository.http import HttpRepository
from zoo_core.repository.local import FolderRepository
from zoo_core.transfer import Transfer


def bare(**fields: Any) -> dict[str, Any]:
    """A document whose parameter file has neither digest nor size unless they are given."""
    return make.document(make.artifact(files={"parameters": make.item("net.params.bin", **fields)}))


def test_it_lists_every_document_with_its_path_its_digest_and_its_content(tmp_path: Path) -> None:
    first, second = make.document(make.artifact(), artifact_id="a"), make.document(make.artifact(), artifact_id="b")
    path = make.publish(tmp_path, second)
    make.publish(tmp_path, first)
    written = write_index(tmp_path)
    assert (written.path, written.documents, written.filled) == (tmp_path / "index.json", 2, ())
    index = json.loads((tmp_path / "index.json").read_bytes())
    assert index["indexVersion"] == 1
    assert [entry["path"] for entry in index["documents"]] == [
        f"{make.location(item)}/metadata.json" for item in (first, second)
    ]
    assert [entry["metadata"] for entry in index["documents"]] == [first, second]
    assert index["documents"][1]["sha256"] == make.sha256(path.read_bytes())


def test_the_compressed_one_is_the_same_and_its_bytes_depend_on_the_content_only(tmp_path: Path) -> None:
    make.publish(tmp_path, make.document(make.artifact()))
    write_index(tmp_path)
    first = (tmp_path / "index.json.gz").read_bytes()
    write_index(tmp_path)
    assert (tmp_path / "index.json.gz").read_bytes() == first
    # The time of writing, which would change with every second. Source: RFC 1952, section 2.3.
    assert first[4:8] == bytes(4)
    assert gzip.decompress(first) == (tmp_path / "index.json").read_bytes()


def test_a_missing_digest_and_size_are_filled_in(tmp_path: Path) -> None:
    path = make.publish(tmp_path, bare())
    written = write_index(tmp_path)
    place = "model/cv/image_classification/com/example/net/metadata.json"
    assert written.filled == (f"{place}: parameters",)
    (item,) = json.loads(path.read_bytes())["artifacts"][0]["files"].values()
    assert item == {"uri": "net.params.bin", "sha256": make.sha256(make.WEIGHTS), "size": len(make.WEIGHTS)}
    assert json.loads((tmp_path / "index.json").read_bytes())["documents"][0]["metadata"] == json.loads(path.read_bytes())
    assert write_index(tmp_path).filled == ()


def test_everything_else_in_the_document_stays_as_it_is(tmp_path: Path) -> None:
    content = {**bare(colour="red"), "website": "https://é.example/", "ours": {"x": [1, None]}}
    path = make.publish(tmp_path, content)
    write_index(tmp_path)
    after = json.loads(path.read_bytes())
    file = after["artifacts"][0]["files"]["parameters"]
    del file["sha256"], file["size"]
    assert after == content
    assert list(after) == list(content)


def test_a_complete_document_is_not_written_at_all(tmp_path: Path) -> None:
    path = make.publish(tmp_path, make.document(make.artifact()))
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
    write_index(tmp_path)
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_wrong_size_stays_as_it_is(tmp_path: Path) -> None:
    """Sizes are for progress; some published ones are wrong."""
    path = make.publish(tmp_path, bare(size=1))
    write_index(tmp_path)
    assert json.loads(path.read_bytes())["artifacts"][0]["files"]["parameters"]["size"] == 1


@pytest.mark.parametrize(
    ("field", "good", "wrong"),
    [
        ("sha256", make.sha256(make.WEIGHTS), "0" * 64),
        ("sha1Hash", make.sha1(make.WEIGHTS).upper(), "0" * 40),
        ("sha256Prefix", make.sha256(make.WEIGHTS)[:8], "0" * 8),
    ],
    ids=["sha256", "sha1", "prefix"],
)
def test_a_digest_that_is_there_already_is_compared(tmp_path: Path, field: str, good: str, wrong: str) -> None:
    """Otherwise a damaged file would get a full digest of its own."""
    path = make.publish(tmp_path / "good", bare(**{field: good}))
    write_index(tmp_path / "good")
    assert json.loads(path.read_bytes())["artifacts"][0]["files"]["parameters"]["sha256"] == make.sha256(make.WEIGHTS)

    path = make.publish(tmp_path / "wrong", bare(**{field: wrong}))
    before = path.read_bytes()
    with pytest.raises(
        MetadataError, match=rf"\$\.artifacts\[0\]\.files\.parameters\.{field}: {wrong} is not that of "
    ) as caught:
        write_index(tmp_path / "wrong")
    assert caught.value.field == f"$.artifacts[0].files.parameters.{field}"
    assert path.read_bytes() == before
    assert not (tmp_path / "wrong" / "index.json").exists()


def test_a_file_on_the_network_is_left_as_it_is(tmp_path: Path) -> None:
    content = make.document(make.artifact(files={"parameters": make.item("https://models.example/net.bin")}))
    path = make.publish(tmp_path, content, {})
    assert write_index(tmp_path).filled == ()
    assert json.loads(path.read_bytes()) == content


def test_a_file_that_is_missing_is_told_with_the_document_the_field_and_the_remedy(tmp_path: Path) -> None:
    path = make.publish(tmp_path, bare(), {})
    with pytest.raises(RepositoryError) as caught:
        write_index(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{path}: $.artifacts[0].files.parameters.uri: net.params.bin names ")
    assert f"{path.parent / 'net.params.bin'}, and there is no such file: put it there, or give the whole address" in message
    assert not (tmp_path / "index.json").exists()


def test_a_malformed_document_is_an_error_and_no_index_is_written(tmp_path: Path) -> None:
    make.publish(tmp_path, make.document(artifacts=3))
    with pytest.raises(MetadataError, match=r"\$\.artifacts: Expected `array"):
        write_index(tmp_path)
    assert not (tmp_path / "index.json").exists()


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_that_is_no_repository_is_an_error(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepositoryError, match=folder):
        write_index(tmp_path / folder)


def test_served_it_lists_what_the_folder_holds(tmp_path: Path, site: Site) -> None:
    make.publish(tmp_path, bare())
    make.publish(tmp_path, make.document(make.artifact(), artifact_id="a b"))
    write_index(tmp_path)
    site.pages["/index.json"] = (tmp_path / "index.json").read_bytes()
    remote = HttpRepository(site.url, transfer=Transfer())

    def listed(repository: FolderRepository | HttpRepository) -> list[tuple[Any, ...]]:
        return [
            (metadata.mrl, artifact.version, [(file.key, file.name, file.sha256, file.size) for file in artifact.files])
            for metadata in repository.documents()
            for artifact in metadata.artifacts
        ]

    assert listed(remote) == listed(FolderRepository(tmp_path))
    assert len(listed(remote)) == 2
