"""DJL's listings of imported models: all their names by a few requests, and a document only of the one that is wanted."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from tests.web import Answer, Site, serving
from zoo_core import MetadataError, ModelNotFoundError, ModelZoo, OfflineError, RepositoryError, ZooWarning
from zoo_core.repository import djl
from zoo_core.repository.http import HttpRepository
from zoo_core.transfer import Retry, Transfer

GROUP = "ai.djl.huggingface.pytorch"
FILL_MASK = "/model/nlp/fill_mask/ai/djl/huggingface/pytorch"
ANSWERS = "/model/nlp/question_answer/ai/djl/huggingface/pytorch"
#: Of the shape that DJL's importer writes, with invented names.
MODELS = {
    "acme/tiny-bert": {"result": "success", "application": "nlp/fill_mask", "sha1": "a" * 40, "size": 1000, "downloads": 99},
    "big-bert": {"result": "success", "application": "nlp/fill_mask", "sha1": "b" * 40, "size": 2000, "cpu_only": True},
    "odd-bert": {"result": "failed", "application": "nlp/fill_mask", "sha1": "c" * 40, "size": -1, "reason": "no tokenizer"},
    "../../climber": {"result": "success"},
}
ARCHIVE = make.item("0.0.1/tiny-bert.bin", make.WEIGHTS)


def packed(models: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(models).encode())


def document(**fields: Any) -> bytes:
    """The document of one of the models, as the importer writes it."""
    artifact = make.artifact("0.0.1", name="tiny-bert", properties={"en": "true"}, files={"model": ARCHIVE}, **fields)
    return json.dumps(
        make.document(artifact, group_id=GROUP, artifact_id="acme/tiny-bert", application="nlp/fill_mask")
    ).encode()


@pytest.fixture
def site() -> Iterator[Site]:
    """A repository with two of the listings, and the document of one model."""
    with serving() as site:
        site.pages = {
            f"{FILL_MASK}/models.json.gz": packed(MODELS),
            f"{ANSWERS}/models.json.gz": packed({"acme/sage": {"result": "success", "requires": "[0.30.0,)"}}),
            f"{FILL_MASK}/acme/tiny-bert/metadata.json": document(),
            f"{FILL_MASK}/acme/tiny-bert/0.0.1/tiny-bert.bin": make.WEIGHTS,
        }
        yield site


@pytest.fixture
def zoo(site: Site, tmp_path: Path) -> Any:
    """A function that makes a zoo of the repository, with the same cache each time."""
    return lambda **how: ModelZoo([site.url], cache=tmp_path / "cache", config=False, **how)


def names(zoo: ModelZoo, **fields: Any) -> list[str]:
    return sorted(record.artifact_id for record in zoo.search(**fields))


def test_models_are_listed_without_a_request_for_each(site, zoo):
    assert names(zoo()) == ["acme/sage", "acme/tiny-bert", "big-bert"]
    assert not any(path.endswith("metadata.json") for path in site.paths)
    asked = len(site.paths)
    assert asked == 2 + sum(len(tasks) for _, tasks in djl.GROUPS.values())
    assert names(zoo()) == ["acme/sage", "acme/tiny-bert", "big-bert"]
    assert len(site.paths) == asked


def test_listings_that_have_not_changed_are_not_sent_again(site, zoo):
    assert len(names(zoo())) == 3
    site.requests.clear()
    assert len(names(zoo(refresh=True))) == 3
    asked = {path for path, headers in site.requests if "if-none-match" in headers}
    assert asked == {f"{FILL_MASK}/models.json.gz", f"{ANSWERS}/models.json.gz"}


def test_what_could_not_be_imported_is_not_listed_and_no_name_leads_out_of_its_folder(zoo):
    found = names(zoo())
    assert "odd-bert" not in found
    assert "../../climber" not in found


def test_a_listed_model_says_what_the_listing_says(zoo):
    (record,) = zoo().search(artifact_id="big-bert")
    assert (record.group_id, record.application, record.version) == (GROUP, "nlp/fill_mask", "0.0.1")
    assert record.engines == ("PyTorch",)
    assert record.size is None
    assert not record.cached


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"application": "nlp/question_answer"}, ["acme/sage"]),
        ({"group_id": GROUP, "artifact_id": "acme/tiny-bert"}, ["acme/tiny-bert"]),
        ({"text": "tiny"}, ["acme/tiny-bert"]),
        ({"engine": "MXNet"}, []),
    ],
)
def test_listed_models_are_searched(fields, expected, zoo):
    assert names(zoo(), **fields) == expected


def test_the_document_of_a_model_is_read_when_it_is_wanted_and_then_kept(site, zoo):
    folder = zoo().download("acme/tiny-bert", progress=False)
    assert (folder / "tiny-bert.bin").read_bytes() == make.WEIGHTS
    assert [path for path in site.paths if path.endswith("metadata.json")] == [f"{FILL_MASK}/acme/tiny-bert/metadata.json"]
    site.requests.clear()
    assert zoo().download("acme/tiny-bert", progress=False) == folder
    assert site.paths == []


def test_once_it_was_read_a_search_knows_all_of_it(zoo):
    zoo().info("acme/tiny-bert")
    (record,) = zoo().search(artifact_id="acme/tiny-bert")
    assert dict(record.properties) == {"en": "true"}
    assert record.size == len(make.WEIGHTS)
    assert not record.cached


def test_offline_a_model_that_was_downloaded_is_there_and_another_is_not(site, zoo):
    folder = zoo().download("acme/tiny-bert", progress=False)
    site.requests.clear()
    offline = zoo(offline=True)
    assert offline.download("acme/tiny-bert", progress=False) == folder
    assert [record.cached for record in offline.search(artifact_id="acme/tiny-bert")] == [True]
    with pytest.raises(OfflineError, match=r"big-bert/metadata.json is not on this machine"):
        offline.download("big-bert", progress=False)
    assert site.paths == []


def test_a_model_that_was_imported_anew_is_read_anew(site, zoo):
    zoo().info("acme/tiny-bert")
    site.pages[f"{FILL_MASK}/models.json.gz"] = packed({"acme/tiny-bert": {"result": "success", "sha1": "d" * 40}})
    site.requests.clear()
    assert names(zoo(refresh=True)) == ["acme/sage", "acme/tiny-bert"]
    zoo().info("acme/tiny-bert")
    assert sum(path.endswith("metadata.json") for path in site.paths) == 1


@pytest.fixture
def kept(zoo, tmp_path):
    """The file in which the document of a model is kept that was downloaded."""
    zoo().download("acme/tiny-bert", progress=False)
    (path,) = (tmp_path / "cache" / "documents").iterdir()
    return path


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"metadataVersion": "0.2", "artifacts": []}'])
def test_a_damaged_document_is_read_anew_and_ends_no_search(content, site, zoo, kept):
    whole = kept.read_bytes()
    kept.chmod(0o644)
    kept.write_bytes(content)
    assert names(zoo()) == ["acme/sage", "acme/tiny-bert", "big-bert"]
    assert not kept.exists()
    site.requests.clear()
    assert zoo().download("acme/tiny-bert", progress=False).is_dir()
    assert site.paths == [f"{FILL_MASK}/acme/tiny-bert/metadata.json"]
    assert kept.read_bytes() == whole


def test_a_document_that_was_published_anew_is_read_anew_by_whoever_asks_anew(site, zoo, kept):
    weights = b"better parameters"
    site.pages[f"{FILL_MASK}/acme/tiny-bert/0.0.1/new.bin"] = weights
    artifact = make.artifact("0.0.1", name="tiny-bert", files={"model": make.item("0.0.1/new.bin", weights)})
    content = make.document(artifact, group_id=GROUP, artifact_id="acme/tiny-bert", application="nlp/fill_mask")
    site.pages[f"{FILL_MASK}/acme/tiny-bert/metadata.json"] = json.dumps(content).encode()
    assert [path.name for path in zoo().download("acme/tiny-bert", progress=False).iterdir()] == ["tiny-bert.bin"]
    fresh = zoo(refresh=True)
    site.requests.clear()
    for _ in range(2):
        assert [path.name for path in fresh.download("acme/tiny-bert", progress=False).iterdir()] == ["new.bin"]
    # Once for each time that the repository was asked.
    assert site.paths.count(f"{FILL_MASK}/acme/tiny-bert/metadata.json") == 1
    assert [path.name for path in zoo().download("acme/tiny-bert", progress=False).iterdir()] == ["new.bin"]


def test_a_zoo_that_lives_long_reads_it_anew_each_time_that_it_asks_the_repository(site, zoo, kept, monkeypatch):
    monotonic, place = time.monotonic, f"{FILL_MASK}/acme/tiny-bert/metadata.json"
    long = zoo(refresh=True)
    site.requests.clear()
    for turn in range(3):
        monkeypatch.setattr(time, "monotonic", lambda turn=turn: monotonic() + 100 * turn)
        for _ in range(2):
            long.info("acme/tiny-bert")
        assert site.paths.count(place) == turn + 1


def test_where_it_cannot_be_read_anew_the_one_that_was_read_earlier_is_used(site, zoo, kept):
    site.pages[f"{FILL_MASK}/acme/tiny-bert/metadata.json"] = Answer(b"", 403)
    with pytest.warns(ZooWarning, match=r"403.*using the document that was read earlier"):
        folder = zoo(refresh=True).download("acme/tiny-bert", progress=False)
    assert (folder / "tiny-bert.bin").read_bytes() == make.WEIGHTS
    (record,) = zoo().search(artifact_id="acme/tiny-bert")
    site.requests.clear()
    # A record is its own answer.
    assert zoo(refresh=True).download(record, progress=False) == folder
    assert site.paths == []


def test_a_search_opens_only_the_documents_that_are_here(site, zoo, kept, monkeypatch):
    site.pages[f"{FILL_MASK}/models.json.gz"] = packed({**MODELS, **{f"a/m{number}": {} for number in range(500)}})
    opened = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (opened.append(path), read(path))[1])
    assert len(names(zoo(refresh=True))) == 503
    assert [path for path in opened if path.parent.name == "documents"] == [kept]


def test_what_its_document_asks_for_counts_as_it_does_elsewhere(site, zoo):
    site.pages[f"{FILL_MASK}/acme/tiny-bert/metadata.json"] = document(engines=["MXNet"])
    with pytest.raises(ModelNotFoundError, match="MXNet"):
        zoo().info("acme/tiny-bert", engine="PyTorch")


def test_the_folder_of_one_model_is_a_repository_of_that_model(site, tmp_path):
    folder = "model/cv/image_classification/org/example/torch/tinynet"
    shared = make.item("../names.txt", b"cat dog", name="names.txt")
    content = make.document(
        make.artifact(files={"parameters": make.item("net.bin", make.WEIGHTS), "names": shared}),
        group_id="org.example.torch",
        artifact_id="another name",
    )
    site.pages |= {
        f"/{folder}/metadata.json": json.dumps(content).encode(),
        f"/{folder}/net.bin": make.WEIGHTS,
        "/model/cv/image_classification/org/example/torch/names.txt": b"cat dog",
    }
    with ModelZoo([site.url + folder], cache=tmp_path, config=False, refresh=True) as zoo:
        (record,) = zoo.search()
        assert str(record.mrl) == "model/cv/image_classification/org.example.torch/tinynet"
        assert (zoo.download(record, progress=False) / "names.txt").read_bytes() == b"cat dog"
    site.requests.clear()
    with ModelZoo([site.url + folder], cache=tmp_path, config=False, refresh=True) as zoo:
        assert len(zoo.search()) == 1
    assert [path for path, headers in site.requests if "if-none-match" in headers] == [f"/{folder}/metadata.json"]


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"{", MetadataError, "no JSON"),
        (json.dumps(make.document(group_id=GROUP)).encode(), MetadataError, r"\$.artifacts: expected one, found none"),
        (Answer(b"", 404), RepositoryError, "404"),
        (b" " * (17 << 20), RepositoryError, "more than 16.8 MB came"),
    ],
    ids=["malformed", "empty", "missing", "large"],
)
def test_a_document_that_cannot_be_read_is_one_error(content, error, said, site, zoo):
    site.pages[f"{FILL_MASK}/acme/tiny-bert/metadata.json"] = content
    with pytest.raises(error, match=said) as raised:
        zoo().download("acme/tiny-bert", progress=False)
    assert "tiny-bert/metadata.json" in str(raised.value)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"[]", MetadataError),
        (gzip.compress(b'{"a": 1}'), MetadataError),
        (packed(MODELS)[:-4], RepositoryError),
        (Answer(b"", 500), RepositoryError),
        (gzip.compress(b" " * (65 << 20)), RepositoryError),
    ],
    ids=["list", "numbers", "cut", "error of the server", "large"],
)
def test_a_listing_that_cannot_be_read_is_an_error(content, error, site):
    site.pages[f"{ANSWERS}/models.json.gz"] = content
    repository = HttpRepository(site.url, transfer=Transfer(retry=Retry(retries=0)))
    with pytest.raises(error, match="question_answer"):
        list(repository.documents())


def test_where_there_is_neither_an_index_nor_a_listing_it_says_what_its_owner_does(site):
    site.pages = {}
    repository = HttpRepository(site.url, transfer=Transfer(retry=Retry(retries=0)))
    with pytest.raises(RepositoryError, match=r"index.json: .*404.* its owner has not run `zoo index` on it"):
        list(repository.documents())
