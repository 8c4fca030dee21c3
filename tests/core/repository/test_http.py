"""An HTTP(S) tree, listed by one request."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from tests.records import source
from tests.web import Answer, Site
from zoo_core import MRL, IntegrityError, MetadataError, ModelRecord, OfflineError, RepositoryError
from zoo_core.cache import Cache
from zoo_core.repository.http import HttpRepository
from zoo_core.transfer import Retry, Transfer


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
def repository(site: Site) -> Callable[..., HttpRepository]:
    """A function that opens the site anew, as the next process would."""

    def opened(*, offline: bool = False, url: str = "", **fields: Any) -> HttpRepository:
        transfer = Transfer(is_offline=lambda: offline, retry=Retry(retries=0), read_s=2.0)
        return HttpRepository(url or f"{site.url}zoo/", transfer=transfer, **fields)

    return opened


def names(repository: HttpRepository) -> list[str]:
    return [metadata.artifact_id for metadata in repository.documents()]


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
        (b"<html>not found</html>", r"no index: \$: expected an object, found '<'"),
        (b"", r"no index: \$: expected an object, found ''"),
        (b"[]", r"no index: \$: expected an object, found '\['"),
        (b"{}", r"no index: \$: it has no `indexVersion`"),
        (b'{"indexVersion": 2, "documents": []}', r"\$\.indexVersion: expected 1, found 2"),
        (b'{"documents": [], "indexVersion": {}}', r"\$\.indexVersion: expected 1, found {}"),
        (b'{"indexVersion": 1}', r"no index: \$: it has no `documents`"),
        (b'{"indexVersion": 1, "documents": {}}', r"no index: \$\.documents: expected an array, found '{'"),
        (b'{"indexVersion": 1, "documents": [3]}', r"no index: \$\.documents\[0\]: expected an object, found '3'"),
        (b'{"indexVersion": 1, "documents": [{"path": "x"}]}', r"no index: \$\.documents\[0\]: .*metadata"),
        (b'{"indexVersion": 1, "documents": [{"path": 3, "metadata": {}}]}', r"no index: \$\.documents\[0\]: .*path"),
        (b'{"indexVersion": 1, "documents": [] ] }', r"no index: \$: expected a comma or }, found '\]'"),
        (b'{"indexVersion": 1, "documents": []} x', r"no index: \$: something follows it"),
        (b'{"indexVersion": 1, "documents": [', r"no index: \$\.documents\[0\]: expected an object, found ''"),
        (b'{"indexVersion": 1, "documents": [{"path": "\xff"}]}', r"no index: \$: no UTF-8"),
        (b'{"indexVersion": 1, "documents": ' + b"[" * 100_000, "no index"),
        (
            b'{"indexVersion": 1, "documents": [{"path": ' + b"[" * 100_000,
            r"no index: \$\.documents\[0\]: it is nested too deeply",
        ),
        (b'{"a": ' + b'{"a": ' * 100_000, r"no index: \$\.a: it is nested too deeply"),
    ],
    ids=[
        *("html", "empty", "array", "other json", "newer", "odd version", "no documents", "object", "number", "no metadata"),
        *("no path", "bracket", "more", "unfinished", "latin", "nested", "nested entry", "nested member"),
    ],
)
def test_what_is_no_index_is_an_error_that_names_the_field(
    site: Site, repository: Callable[..., HttpRepository], content: bytes, message: str
) -> None:
    site.pages["/zoo/index.json"] = content
    with pytest.raises(MetadataError, match=f"{site.url}zoo/index.json: {message}"):
        names(repository())


def test_members_that_are_unknown_are_skipped(site: Site, repository: Callable[..., HttpRepository]) -> None:
    extra = {"generator": {"name": "other", "versions": [1, 2.5e10, None, True, "\u2028"]}}
    site.pages["/zoo/index.json"] = index(NET, **extra)
    assert names(repository()) == ["net"]
    content = {"documents": [{"future": {"x": [{}]}, **entry(OTHER)}], **extra, "indexVersion": 1}
    site.pages["/zoo/index.json"] = json.dumps(content, indent=2).encode()
    assert names(repository()) == ["other"]


def test_an_index_that_is_longer_than_what_is_read_at_once_is_whole(
    site: Site, repository: Callable[..., HttpRepository], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Characters of several bytes, and numbers, end up on both sides of where it is cut."""
    documents = [
        make.document(make.artifact(f"{n}.0"), artifact_id=f"n\u00e4ts-{n}", description="\u4e2d" * n) for n in range(60)
    ]
    content = {"indexVersion": 1, "documents": [entry(document) for document in documents]}
    site.pages["/zoo/index.json"] = json.dumps(content, ensure_ascii=False).encode()
    for window in (1, 7, 100, 5000):
        monkeypatch.setattr("zoo_core.repository.stream._WINDOW", window)
        assert names(repository()) == [f"n\u00e4ts-{n}" for n in range(60)]


def test_a_document_that_is_too_large_is_refused(
    site: Site, repository: Callable[..., HttpRepository], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo_core.repository.stream.MAX_DOCUMENT", 1000)
    monkeypatch.setattr("zoo_core.repository.stream._BESIDE", 1000)
    monkeypatch.setattr("zoo_core.repository.stream._WINDOW", 100)
    site.pages["/zoo/index.json"] = index(NET, make.document(make.artifact(), artifact_id="large", description="x" * 2500))
    with pytest.raises(MetadataError, match=r"\$\.documents\[1\]: it is larger than 2\.0 kB"):
        names(repository())


# how it comes --------------------------------------------------------------------------------------------------------


def test_an_index_may_be_compressed_on_the_way(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = Answer(gzip.compress(index(NET)), headers={"Content-Encoding": "gzip"})
    assert names(repository()) == ["net"]
    assert site.requests[0][1]["accept-encoding"] == "gzip"


def test_an_encoding_that_nobody_asked_for_is_refused(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = Answer(index(NET), headers={"Content-Encoding": "br"})
    with pytest.raises(RepositoryError, match=r"index\.json: the server sent br where gzip or plain bytes were asked for"):
        names(repository())


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}], ids=["as a file", "as an encoding"])
def test_where_there_is_only_a_compressed_one_it_is_taken(
    site: Site, repository: Callable[..., HttpRepository], headers: dict[str, str]
) -> None:
    site.pages["/zoo/index.json.gz"] = Answer(gzip.compress(index(NET)), headers=headers)
    assert names(repository()) == ["net"]
    assert site.paths == ["/zoo/index.json", "/zoo/index.json.gz"]


def test_which_name_it_has_is_remembered(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json.gz"] = gzip.compress(index(NET), mtime=0)
    listing = repository().listing()
    assert listing is not None
    listing.close()
    del site.requests[:]
    assert repository().listing(listing.state) is None
    assert site.paths == ["/zoo/index.json.gz"]
    del site.pages["/zoo/index.json.gz"]
    site.pages["/zoo/index.json"] = index(OTHER)
    found = repository().listing(listing.state)
    assert found is not None
    with found:
        assert [item.path for item in found.entries] == ["model/cv/image_classification/com/example/other/metadata.json"]


def test_a_server_that_knows_no_tags_is_told_the_time_of_the_known_one(
    site: Site, repository: Callable[..., HttpRepository]
) -> None:
    when = "Wed, 21 Oct 2015 07:28:00 GMT"
    site.pages["/zoo/index.json"] = Answer(index(NET), headers={"ETag": "", "Last-Modified": when})
    listing = repository().listing()
    assert listing is not None
    listing.close()
    # It came again, for nothing, and is the known one all the same.
    assert repository().listing(listing.state) is None
    assert [headers.get("if-modified-since") for _, headers in site.requests] == [None, when]


def test_a_tag_is_never_sent_to_another_address(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages |= {"/zoo/index.json": index(NET), "/other/index.json": index(NET)}
    listing = repository().listing()
    assert listing is not None
    listing.close()
    moved = repository(url=f"{site.url}other/").listing(listing.state)
    assert moved is not None
    moved.close()
    assert "if-none-match" not in site.requests[1][1]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "compressed"])
def test_an_index_that_is_too_large_is_refused(
    site: Site, repository: Callable[..., HttpRepository], pack: Callable[[bytes], bytes]
) -> None:
    """A few kilobytes could become as many gigabytes."""
    site.pages["/zoo/index.json"] = pack(index(*(make.document(artifact_id=f"net-{number}") for number in range(100))))
    with pytest.raises(
        RepositoryError, match=r"index\.json: more than 5\.0 kB came; `max_index_size` in zoo\.toml allows more"
    ):
        names(repository(max_index_size=5000))


def test_a_compressed_index_that_is_damaged_is_an_error(site: Site, repository: Callable[..., HttpRepository]) -> None:
    packed = gzip.compress(index(NET))
    for broken in (packed[:-20], packed[:40] + b"\0" + packed[41:]):
        site.pages["/zoo/index.json"] = broken
        with pytest.raises((RepositoryError, MetadataError), match=r"index\.json: no index|index\.json is damaged"):
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


# where the network fails ---------------------------------------------------------------------------------------------


def test_a_body_that_is_cut_is_an_error(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = Answer(index(NET), cut=20)
    with pytest.raises(RepositoryError, match=f"{site.url}zoo/index.json: the connection broke"):
        names(repository())


def test_offline_is_an_error_that_says_so(site: Site, repository: Callable[..., HttpRepository]) -> None:
    with pytest.raises(OfflineError, match="offline mode forbids the network"):
        names(repository(offline=True))
    assert site.requests == []


def test_its_fingerprint_changes_with_its_index(site: Site, repository: Callable[..., HttpRepository]) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    before = repository().fingerprint()
    assert repository().fingerprint() == before
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    assert repository().fingerprint() != before


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
    assert cache.files(wanted(repository()), repository())["parameters"] == path
    assert site.paths == ["/zoo/index.json", PLACE, "/zoo/index.json"]


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
