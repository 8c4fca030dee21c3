"""An HTTP(S) tree, listed by one request."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from tests.records import source
from tests.web import Answer, Site, serving
from zoo_core import MRL, IntegrityError, MetadataError, ModelRecord, OfflineError, RepositoryError, ZooWarning
from zoo_core.cache import Cache
from zoo_core.repository.http import HttpRepository
from zoo_core.transfer import Retry, Transfer

ONE_DAY_S, NEVER_KNOWN_S = 86_400.0, 0.0


def entry(content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"path": f"{make.location(content)}/metadata.json", "sha256": "", "metadata": content, **fields}


def index(*documents: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"indexVersion": 1, "documents": [entry(content) for content in documents], **fields}).encode()


NET = make.document(make.artifact())
OTHER = make.document(make.artifact(), artifact_id="other")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def repository(site: Site, cache: Cache) -> Callable[..., HttpRepository]:
    """A function that opens the site anew, as the next process would."""

    def opened(max_age_s: float = NEVER_KNOWN_S, *, offline: bool = False, url: str = "") -> HttpRepository:
        transfer = Transfer(is_offline=lambda: offline, retry=Retry(retries=0), read_s=2.0)
        address = url or f"{site.url}zoo/"
        return HttpRepository(address, transfer=transfer, known=cache.known_index(address), max_age_s=max_age_s)

    return opened


def names(repository: HttpRepository) -> list[str]:
    return [metadata.artifact_id for metadata in repository.documents()]


def age(cache: Cache, seconds: float) -> None:
    """Make the known index look older."""
    (stored,) = (cache.home / "index").iterdir()
    then = stored.stat().st_mtime - seconds
    os.utime(stored, (then, then))


# the documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_it_is_listed_by_one_request(site: Site, repository: Callable[..., HttpRepository], slash: str) -> None:
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    assert names(repository(url=f"{site.url}zoo{slash}")) == ["net", "other"]
    assert site.paths == ["/zoo/index.json"]


def test_a_document_lies_where_the_index_says(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    (metadata,) = repository().documents()
    folder = f"{site.url}zoo/model/cv/image_classification/com/example/net/"
    assert metadata.mrl == MRL(application="cv/image_classification", group_id="com.example", artifact_id="net")
    assert metadata.url == f"{folder}metadata.json"
    assert metadata.artifacts[0].files[0].url == f"{folder}net.params.bin"


def test_an_id_with_reserved_characters_keeps_its_place(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = index(make.document(make.artifact(), artifact_id="a b#c?d"))
    (metadata,) = repository().documents()
    assert metadata.mrl.artifact_id == "a b#c?d"
    assert metadata.artifacts[0].files[0].url.endswith("/com/example/a%20b%23c%3Fd/net.params.bin")


def test_a_malformed_document_is_a_problem_and_hides_no_other(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = index(NET, make.document(artifact_id="broken", artifacts=3), OTHER)
    opened = repository()
    assert names(opened) == ["net", "other"]
    (problem,) = opened.problems
    assert "broken/metadata.json: $.artifacts: Expected `array" in problem


def test_a_document_on_the_web_reaches_no_local_file(site: Site, repository: Callable[..., HttpRepository]) -> None:
    hostile = make.document(make.artifact(files={"parameters": make.item("file:///etc/passwd")}), artifact_id="hostile")
    site.pages["/zoo/index.json"] = index(hostile, NET)
    opened = repository()
    assert names(opened) == ["net"]
    assert "$.artifacts[0].files.parameters.uri: expected a relative or http(s) address" in opened.problems[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>not found</html>", "no index"),
        (b"", "no index"),
        (b"{}", "no index: .*indexVersion"),
        (b'{"indexVersion": 2, "documents": []}', r"\$\.indexVersion: expected 1, found 2"),
        (b'{"indexVersion": 1}', "no index: .*documents"),
        (b'{"indexVersion": 1, "documents": [{"path": "x"}]}', "no index: .*metadata"),
        (b'{"indexVersion": 1, "documents": ' + b"[" * 100_000, "no index"),
    ],
    ids=["html", "empty", "other json", "newer", "no documents", "no metadata", "nested"],
)
def test_what_is_no_index_is_an_error_and_is_not_kept(
    site: Site, cache: Cache, repository: Callable[..., HttpRepository], content: bytes, message: str
) -> None:
    site.pages["/zoo/index.json"] = content
    with pytest.raises(MetadataError, match=f"{site.url}zoo/index.json: {message}"):
        names(repository())
    assert cache.known_index(f"{site.url}zoo/").read() is None


def test_an_index_that_is_compressed_unasked_is_refused(site: Site, repository: Callable[..., HttpRepository]) -> None:
    """A few kilobytes could become as many gigabytes."""
    site.pages["/zoo/index.json"] = Answer(gzip.compress(index(NET)), headers={"Content-Encoding": "gzip"})
    with pytest.raises(RepositoryError, match=r"index\.json: the server sent gzip where plain bytes were asked for"):
        names(repository())


def test_an_index_that_is_too_large_is_refused(
    site: Site, repository: Callable[..., HttpRepository], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo_core.repository.http.MAX_INDEX", 100)
    site.pages["/zoo/index.json"] = index(NET)
    with pytest.raises(RepositoryError, match=r"index\.json: more than 100 B came"):
        names(repository())


@pytest.mark.parametrize(
    "page", [b"no index", Answer(status=404), b'{"indexVersion": 2, "documents": []}'], ids=["html", "absent", "newer"]
)
def test_a_password_in_the_address_is_in_no_message(
    site: Site, repository: Callable[..., HttpRepository], page: bytes | Answer
) -> None:
    site.pages["/zoo/index.json"] = page
    with pytest.raises((RepositoryError, MetadataError)) as caught:
        names(repository(url=site.url.replace("://", "://anna:s3cret@") + "zoo"))
    assert "s3cret" not in str(caught.value)


def test_a_password_in_the_address_is_in_no_problem(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = index(NET, make.document(artifact_id="broken", artifacts=3))
    opened = repository(url=site.url.replace("://", "://anna:s3cret@") + "zoo")
    assert names(opened) == ["net"]
    assert "s3cret" not in opened.problems[0]


def test_a_site_without_an_index_is_a_clear_error(site: Site, repository: Callable[..., HttpRepository]) -> None:
    with pytest.raises(RepositoryError, match=f"{site.url}zoo/index.json: the server answered 404 Not Found"):
        names(repository())


# how old the index may be --------------------------------------------------------------------------------------------


def test_a_young_index_is_used_without_asking(site: Site, cache: Cache, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    names(repository(ONE_DAY_S))
    age(cache, ONE_DAY_S - 100)
    site.pages["/zoo/index.json"] = index(OTHER)
    assert names(repository(ONE_DAY_S)) == ["net"]
    assert len(site.requests) == 1


def test_an_old_index_is_revalidated_by_one_conditional_request(
    site: Site, cache: Cache, repository: Callable[..., HttpRepository]
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    names(repository(ONE_DAY_S))
    age(cache, ONE_DAY_S + 100)
    assert names(repository(ONE_DAY_S)) == ["net"]
    first, second = (headers for _, headers in site.requests)
    assert "if-none-match" not in first
    assert second["if-none-match"].startswith('"')


def test_an_index_that_did_not_change_is_young_again(
    site: Site, cache: Cache, repository: Callable[..., HttpRepository]
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    names(repository(ONE_DAY_S))
    age(cache, ONE_DAY_S + 100)
    for _ in range(3):
        assert names(repository(ONE_DAY_S)) == ["net"]
    assert len(site.requests) == 2


def test_an_index_that_changed_replaces_the_known_one(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    before = repository().fingerprint()
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    assert names(repository()) == ["net", "other"]
    assert names(repository(ONE_DAY_S)) == ["net", "other"]
    assert repository(ONE_DAY_S).fingerprint() != before


def test_an_index_without_an_etag_is_asked_for_anew(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = Answer(index(NET), headers={"ETag": ""})
    assert names(repository()) == names(repository()) == ["net"]
    assert all("if-none-match" not in headers for _, headers in site.requests)


# the known index, where the network fails ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Answer(status=500), "500"),
        (Answer(status=404), "404"),
        (Answer(index(NET), cut=20, headers={"ETag": "other"}), "the connection broke"),
        (Answer(b"<html>log in to this network</html>"), "no index"),
    ],
    ids=["in trouble", "gone", "cut", "captive portal"],
)
def test_where_the_index_cannot_be_had_the_known_one_is_used_with_a_warning_that_says_its_age(
    site: Site, cache: Cache, repository: Callable[..., HttpRepository], failure: Answer, reason: str
) -> None:
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    names(repository())
    age(cache, 2 * 3600)
    site.pages["/zoo/index.json"] = failure
    with pytest.warns(ZooWarning, match=f"{reason}.*using the index of 2.0 hours ago"):
        assert names(repository()) == ["net", "other"]


def test_a_dead_server_does_not_hide_what_is_known(cache: Cache) -> None:
    def opened(url: str) -> HttpRepository:
        return HttpRepository(url, transfer=Transfer(retry=Retry(retries=0)), known=cache.known_index(url), max_age_s=0.0)

    with serving() as site:
        site.pages["/index.json"] = index(NET)
        assert names(opened(site.url)) == ["net"]
    with pytest.warns(ZooWarning, match=f"{site.url}index.json: .*onnection refused.*; using the index of 0.0 hours ago"):
        assert names(opened(site.url)) == ["net"]


def test_where_nothing_is_known_the_failure_is_the_error(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = Answer(index(NET), cut=20)
    with pytest.raises(RepositoryError, match=f"{site.url}zoo/index.json: the connection broke"):
        names(repository())


def test_offline_the_known_index_is_used_in_silence(
    site: Site, cache: Cache, repository: Callable[..., HttpRepository]
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    names(repository())
    age(cache, 10 * ONE_DAY_S)
    assert names(repository(offline=True)) == ["net"]
    assert len(site.requests) == 1


def test_offline_and_unknown_is_an_error_that_says_so(site: Site, repository: Callable[..., HttpRepository]) -> None:
    with pytest.raises(OfflineError, match="offline mode forbids the network"):
        names(repository(offline=True))
    assert site.requests == []


# its files -----------------------------------------------------------------------------------------------------------

PLACE = "/zoo/model/cv/image_classification/com/example/net/net.params.bin"


def wanted(repository: HttpRepository) -> ModelRecord:
    (metadata,) = repository.documents()
    return ModelRecord(metadata=metadata, artifact=metadata.artifacts[0], source=source("site"))


def left(cache: Cache) -> list[Path]:
    return [path for path in (cache.home / "blobs").rglob("*") if path.is_file()]


def test_a_file_is_downloaded_verified_and_kept(site: Site, cache: Cache, repository: Callable[..., HttpRepository]) -> None:
    site.pages |= {"/zoo/index.json": index(NET), PLACE: make.WEIGHTS}
    opened = repository()
    path = cache.files(wanted(opened), opened)["parameters"]
    assert path.read_bytes() == make.WEIGHTS
    assert cache.files(wanted(repository(ONE_DAY_S)), repository())["parameters"] == path
    assert site.paths == ["/zoo/index.json", PLACE]


def test_a_file_may_have_moved(site: Site, cache: Cache, repository: Callable[..., HttpRepository]) -> None:
    moved = Answer(status=307, headers={"Location": "/elsewhere.bin"})
    site.pages |= {"/zoo/index.json": index(NET), PLACE: moved, "/elsewhere.bin": make.WEIGHTS}
    opened = repository()
    assert cache.files(wanted(opened), opened)["parameters"].read_bytes() == make.WEIGHTS


def test_a_body_that_is_cut_is_an_error_and_leaves_nothing(
    site: Site, cache: Cache, repository: Callable[..., HttpRepository]
) -> None:
    site.pages |= {"/zoo/index.json": index(NET), PLACE: Answer(make.WEIGHTS, cut=10)}
    opened = repository()
    with pytest.raises(RepositoryError, match=r"net\.params\.bin: the connection broke"):
        cache.files(wanted(opened), opened)
    assert left(cache) == []
    site.pages[PLACE] = make.WEIGHTS
    assert cache.files(wanted(opened), opened)["parameters"].read_bytes() == make.WEIGHTS


def test_a_body_that_was_changed_is_an_error_and_leaves_nothing(
    site: Site, cache: Cache, repository: Callable[..., HttpRepository]
) -> None:
    site.pages |= {"/zoo/index.json": index(NET), PLACE: make.WEIGHTS[::-1]}
    opened = repository()
    with pytest.raises(IntegrityError, match=f"from {site.url}"):
        cache.files(wanted(opened), opened)
    assert left(cache) == []


def test_a_file_that_is_missing_is_an_error_with_its_address(
    site: Site, cache: Cache, repository: Callable[..., HttpRepository]
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    opened = repository()
    with pytest.raises(RepositoryError, match=f"{PLACE}: the server answered 404 Not Found"):
        cache.files(wanted(opened), opened)


def test_a_stream_can_begin_in_the_middle(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages |= {"/zoo/index.json": index(NET), PLACE: b"0123456789"}
    opened = repository()
    with opened.open(wanted(opened).files[0], 7) as stream:
        assert stream.read() == b"789"
