"""A repository of Deep Java Library's format, as it is: listed, searched, explained, downloaded and unpacked.

The documents of DJL itself, where a checkout has them beside it, and invented ones of the same shapes anywhere. Their files are
small ones made here: everything else in the documents stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Commands
from tests.djl import DOCUMENTS, Served, served
from tests.installed import needs
from tests.web import Site, serving
from zoo_core import Criteria, ModelNotFoundError, ModelRecord, ModelZoo

REAL = Path(__file__).parents[3] / "shared" / "data" / "djl-repository"


def real_documents() -> dict[str, dict[str, Any]]:
    paths = sorted(REAL.rglob("metadata.json"))
    return {path.parent.relative_to(REAL).as_posix(): json.loads(path.read_bytes()) for path in paths}


@pytest.fixture(params=["invented", "real"])
def documents(request: pytest.FixtureRequest) -> Mapping[str, Mapping[str, Any]]:
    if request.param == "invented":
        return DOCUMENTS
    if not REAL.is_dir():
        pytest.skip("DJL's documents are not beside this checkout, in ../shared/data/djl-repository")
    return real_documents()


@pytest.fixture
def repository(documents: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Site, Served]]:
    with serving() as site:
        yield site, served(site, documents)


def everything(zoo: ModelZoo) -> list[ModelRecord]:
    return [*zoo.search(), *zoo.search(Criteria(type="dataset"))]


def inside(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(record: ModelRecord, made: Served) -> dict[str, bytes]:
    """The files of an artifact's folder, by the rules of the format."""
    found: dict[str, bytes] = {}
    for file in record.files:
        for name, content in made.files[file.url].items():
            found["/".join(part for part in (file.name, name) if part)] = content
    return found


def test_every_artifact_is_listed_from_a_folder_and_from_a_server(
    documents: Mapping[str, Mapping[str, Any]], repository: tuple[Site, Served], tmp_path: Path
) -> None:
    site, made = repository
    for folder, document in made.documents.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "metadata.json").write_text(json.dumps(document))
    zoo = ModelZoo([site.url], config=False)
    count = sum(len(document["artifacts"]) for document in documents.values())
    assert len(everything(zoo)) == len(everything(ModelZoo([tmp_path], config=False))) == count
    assert all(record.metadata.artifacts for record in everything(zoo))
    assert [problem for place in zoo.repositories for problem in place.problems] == []
    assert not any(record.cached for record in everything(zoo))


def test_an_artifact_is_found_by_its_folder_and_by_its_own_ids(repository: tuple[Site, Served]) -> None:
    site, made = repository
    zoo = ModelZoo([site.url], config=False)
    for folder, document in made.documents.items():
        kind, group = document["resourceType"], document["groupId"]
        for artifact_id in {document["artifactId"], folder.rpartition(f"/{group.replace('.', '/')}/")[2]}:
            found = zoo.search(Criteria(type=kind, group_id=group, artifact_id=artifact_id))
            assert len(found) == len(document["artifacts"]), (folder, artifact_id)
            assert {record.metadata.artifact_id for record in found} == {document["artifactId"]}


def test_filters_versions_and_applications_choose(repository: tuple[Site, Served]) -> None:
    site, made = repository
    zoo = ModelZoo([site.url], config=False)
    for document in made.documents.values():
        for artifact in document["artifacts"]:
            fields = {"group_id": document["groupId"], "artifact_id": document["artifactId"], "type": document["resourceType"]}
            wanted = Criteria(
                **fields,
                version=f"[{artifact['version']}]",
                artifact_name=artifact.get("name"),
                filters=artifact.get("properties") or {},
            )
            assert [record.version for record in zoo.search(wanted)] == [artifact["version"]]
            with pytest.raises(ModelNotFoundError, match=r"no model matches.*nearest is"):
                zoo.info(Criteria(**fields, filters={"lairs": "1"}))
    pictures = zoo.search(application="image_classification")
    assert pictures == zoo.search(application="cv/image_classification") != []
    assert {record.application for record in pictures} == {"cv/image_classification"}
    assert zoo.search(application="cv", engine="mxnet")


def test_every_artifact_is_downloaded_verified_and_unpacked_as_the_format_says(
    repository: tuple[Site, Served], tmp_path: Path
) -> None:
    site, made = repository
    zoo = ModelZoo([site.url], config=False, cache=tmp_path / "cache")
    records = everything(zoo)
    for record in records:
        assert inside(zoo.download(record, progress=False)) == expected(record, made), record.reference
    asked = len(site.requests)
    again = ModelZoo([site.url], config=False, cache=tmp_path / "cache", offline=True)
    for record in everything(again):
        assert record.cached is True
        mine = again.download(record, to=tmp_path / "mine" / str(records.index(record) if record in records else id(record)))
        assert inside(mine) == expected(record, made)
    assert len(site.requests) == asked


def test_nothing_is_kept_of_a_file_whose_sha1_is_another(repository: tuple[Site, Served], commands: Commands) -> None:
    site, _ = repository
    for path, page in list(site.pages.items()):
        if path != "/index.json" and isinstance(page, bytes):
            site.pages[path] = page[:-1] + bytes([page[-1] ^ 1])
    records = commands.zoo("search", "--repository", site.url, "--json").json["records"]
    for record in records[:2]:
        done = commands.zoo(
            "download", record["mrl"], "--version", f"[{record['version']}]", "--repository", site.url, *_name(record)
        )
        assert done.status == 5, done.err
        assert "expected sha1:" in done.errors[0]
    assert [path for path in commands.kept() if not path.startswith("index")] == []


def _name(record: Mapping[str, Any]) -> list[str]:
    return [text for key, value in record["properties"].items() for text in ("--filter", f"{key}={value}")]


def test_an_artifact_of_an_engine_that_is_not_installed_is_told_of_and_downloaded_all_the_same(
    commands: Commands,
) -> None:
    with serving() as site:
        made = served(site, DOCUMENTS)
        repository = ["--repository", site.url]
        (record,) = commands.zoo("search", "--artifact", "writer", *repository, "--json").json["records"]
        assert (record["engines"], record["missing"]) == (["OnnxRuntime"], ["zoo-onnxruntime"])
        explained = commands.zoo("explain", "writer", *repository)
        assert "pip install zoo-onnxruntime" in explained.out + explained.err
        done = commands.zoo("download", "writer", *repository)
        assert done.status == 0, done.err
        address = next(url for url in made.files if "writer" in url)
        assert inside(Path(done.out.strip())) == {"writer.onnx": made.files[address][""]}
        (commands.cwd / "x.npy").write_bytes(b"")
        done = commands.zoo("predict", "writer", "x.npy", *repository)
        assert (done.status, "pip install zoo-onnxruntime" in done.errors[0]) == (8, True)


#: Trace a network, or load every model of a repository that runs in PyTorch and run it on a picture's array.
TRACE = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from torch import nn
torch.jit.trace(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), torch.zeros(1, 3, 8, 8)).save(sys.argv[1])
"""
LOAD = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import zoo_core as zoo

found = {}
with zoo.ModelZoo([sys.argv[1]], config=False) as models:
    for record in models.search(engine="PyTorch"):
        with models.load_model(record) as model, model.new_predictor() as predictor:
            names = sorted(model.files)
            found[f"{record.reference} {record.name}"] = [predictor.predict(np.ones((1, 3, 8, 8), "f")).tolist(), names]
print(json.dumps(found))
"""


@needs("zoo-pytorch")
def test_programs_are_loaded_from_archives_and_from_files(
    documents: Mapping[str, Mapping[str, Any]], commands: Commands, site: Site
) -> None:
    done = commands.run(TRACE, commands.folder / "net.pt")
    assert done.status == 0, done.err
    made = served(site, documents, (commands.folder / "net.pt").read_bytes())
    done = commands.run(LOAD, site.url)
    assert done.status == 0, done.err
    expected = [
        artifact
        for document in made.documents.values()
        if "torch" in document["groupId"] and document["resourceType"] == "model"
        for artifact in document["artifacts"]
    ]
    assert len(done.json) == len(expected) > 4
    for outputs, names in done.json.values():
        assert (outputs, "model" in names) == ([[1.0, 1.0, 1.0]], True)
    # What lies beside a program in its archive is there for a translator.
    assert sum("synset" in names for _, names in done.json.values()) > 2


def test_several_archives_in_one_folder_and_a_snapshot_below_its_release(commands: Commands) -> None:
    with serving() as site:
        served(site, DOCUMENTS)
        zoo = ModelZoo([site.url], config=False, cache=commands.home)
        photos = zoo.download(Criteria(type="dataset", artifact_id="photos"), progress=False)
        assert sorted(inside(photos)) == [
            "all-notes.txt", "all/all.bin", "train-notes.txt", "train/train.bin", "val-notes.txt", "val/val.bin",
        ]  # fmt: skip
        versions = [record.version for record in zoo.search(artifact_id="Mood/Large")]
        assert versions == ["0.9", "1.0-SNAPSHOT"]
        assert zoo.download(artifact_id="Mood/Large", progress=False).parent.name == "0.9"
        assert "mood" in inside(zoo.download(artifact_id="Mood/Large", version="1.0-SNAPSHOT", progress=False)).popitem()[0]
