"""Object stores that fsspec reaches: in memory with fsspec alone, and a real server of the S3 protocol."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from tests import s3
from tests.records import source
from zoo_core import (
    MRL,
    IntegrityError,
    MetadataError,
    ModelRecord,
    ModelZoo,
    OfflineError,
    PackageNotInstalledError,
    RepositoryError,
    ZooWarning,
)
from zoo_core.cache import Cache
from zoo_core.indexing import write_index
from zoo_core.repository.store import STORES, StoreRepository
from zoo_core.sources import PART
from zoo_core.transfer import Transfer

fsspec = pytest.importorskip("fsspec", reason="fsspec reaches object stores: pip install 'zoo-core[fsspec]'")

NET = make.document(make.artifact())
OTHER = make.document(make.artifact(), artifact_id="other")
FOLDER = "model/cv/image_classification/com/example/net"
FILE = f"{FOLDER}/net.params.bin"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder with two models."""
    make.publish(tmp_path / "published", NET)
    make.publish(tmp_path / "published", OTHER)
    return tmp_path / "published"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def memory() -> Iterator[Any]:
    """The store that lives in this process, empty before and after."""
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def names(repository: StoreRepository) -> list[str]:
    return sorted(metadata.artifact_id for metadata in repository.documents())


def the_file(repository: StoreRepository, artifact_id: str = "net") -> Any:
    found = next(metadata for metadata in repository.documents() if metadata.artifact_id == artifact_id)
    return found.artifacts[0].files[0]


class TestInMemory:
    @pytest.fixture
    def repository(self, memory: Any, published: Path) -> StoreRepository:
        memory.put(str(published), "/models/zoo", recursive=True)
        return StoreRepository("memory://models/zoo", transfer=Transfer())

    def test_it_lists_the_documents_below_its_prefix(self, repository):
        assert names(repository) == ["net", "other"]
        (first, _) = sorted(repository.documents(), key=lambda metadata: metadata.artifact_id)
        assert first.mrl == MRL(application="cv/image_classification", group_id="com.example", artifact_id="net")
        assert first.url == f"memory://models/zoo/{FOLDER}/metadata.json"

    def test_it_opens_a_file_at_any_byte(self, repository):
        file = the_file(repository)
        with repository.open(file) as stream:
            assert stream.read() == make.WEIGHTS
        with repository.open(file, 4) as stream:
            assert stream.read() == make.WEIGHTS[4:]

    def test_its_files_are_downloaded_verified_and_kept(self, repository, tmp_path):
        with ModelZoo([repository], cache=tmp_path / "home") as zoo:
            folder = zoo.download("com.example/net", progress=False)
        assert (folder / "net.params.bin").read_bytes() == make.WEIGHTS

    def test_bytes_that_the_document_does_not_promise_are_refused(self, repository, memory, tmp_path):
        memory.pipe(f"/models/zoo/{FILE}", b"something else of another length")
        with ModelZoo([repository], cache=tmp_path / "home") as zoo, pytest.raises(IntegrityError, match="wrong digest"):
            zoo.download("com.example/net", progress=False)
        assert not list((tmp_path / "home").glob("artifacts/**/net.params.bin"))

    @pytest.mark.parametrize(
        "uri", ["../../../../../../../private.bin", "/private.bin", "//elsewhere/x.bin", "a/%2e%2e/%2e%2e/x.bin"]
    )
    def test_a_file_outside_the_repository_is_not_read(self, uri, memory):
        memory.pipe("/models/private.bin", b"private")
        memory.pipe(f"/models/zoo/{FOLDER}/metadata.json", json.dumps(changed(NET, uri)).encode())
        repository = StoreRepository("memory://models/zoo", transfer=Transfer())
        with pytest.raises(RepositoryError, match="leads out of the repository memory://models/zoo"):
            repository.open(the_file(repository))

    def test_a_file_beside_its_folder_is_read(self, memory):
        memory.pipe("/models/zoo/model/cv/image_classification/com/example/shared.bin", b"shared")
        memory.pipe(f"/models/zoo/{FOLDER}/metadata.json", json.dumps(changed(NET, "../shared.bin")).encode())
        repository = StoreRepository("memory://models/zoo", transfer=Transfer())
        with repository.open(the_file(repository)) as stream:
            assert stream.read() == b"shared"

    @pytest.mark.parametrize(
        "uri", ["file:///etc/passwd", "s3://models/x.bin", "package://json/__init__.py", "memory://x/y.bin"]
    )
    def test_a_document_names_nothing_but_files_of_the_store_and_the_web(self, uri, memory):
        memory.pipe(f"/models/zoo/{FOLDER}/metadata.json", json.dumps(changed(NET, uri)).encode())
        repository = StoreRepository("memory://models/zoo", transfer=Transfer())
        assert names(repository) == []
        assert "expected a relative or http(s) address" in repository.problems[0]

    def test_a_document_that_cannot_be_read_hides_no_other(self, repository, memory):
        memory.pipe("/models/zoo/model/broken/metadata.json", b'{"metadataVersion":')
        memory.pipe("/models/zoo/model/wrong/metadata.json", b'{"metadataVersion": "0.2"}')
        assert names(repository) == ["net", "other"]
        assert [problem.partition(" ")[0] for problem in repository.problems] == [
            "memory://models/zoo/model/broken/metadata.json:",
            "memory://models/zoo/model/wrong/metadata.json:",
        ]

    @pytest.mark.parametrize("name", ["index.json", "index.json.gz"])
    def test_an_index_is_read_instead_of_the_documents(self, name, published, memory):
        write_index(published)
        memory.pipe(f"/models/{name}", (published / name).read_bytes())
        assert names(StoreRepository("memory://models", transfer=Transfer())) == ["net", "other"]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [(b"no gzip", "no index"), (gzip.compress(b"{" + b" " * 9000)[:-9], "is damaged")],
        ids=["no gzip", "cut"],
    )
    def test_an_index_that_is_damaged_is_an_error(self, content, problem, memory):
        memory.pipe("/models/index.json.gz", content)
        with pytest.raises((RepositoryError, MetadataError), match=f"memory://models/index.json.gz.* {problem}"):
            names(StoreRepository("memory://models", transfer=Transfer()))

    def test_its_fingerprint_changes_with_its_documents(self, repository, memory):
        before = repository.fingerprint()
        assert repository.fingerprint() == before
        memory.pipe(f"/models/zoo/{FOLDER}/metadata.json", json.dumps({**NET, "name": "Another"}).encode())
        assert repository.fingerprint() != before

    def test_it_needs_no_network(self, memory, published):
        memory.put(str(published), "/models/zoo", recursive=True)
        assert names(StoreRepository("memory://models/zoo", transfer=Transfer(is_offline=lambda: True))) == ["net", "other"]


def changed(content: dict[str, Any], uri: str) -> dict[str, Any]:
    """A document whose file is elsewhere."""
    return {**content, "artifacts": [make.artifact(files={"parameters": {**make.item("x", make.WEIGHTS), "uri": uri}})]}


@pytest.fixture(scope="module")
def served() -> Iterator[s3.Bucket]:
    with s3.serving() as bucket:
        yield bucket


@pytest.fixture
def bucket(served: s3.Bucket, monkeypatch: pytest.MonkeyPatch) -> s3.Bucket:
    """The server with an empty bucket, and the environment that reaches it."""
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    served.empty()
    served.fault = lambda _: False
    served.requests.clear()
    return served


@pytest.fixture
def opened() -> Callable[..., StoreRepository]:
    """A function that opens a repository anew, as the next process would."""

    def open_(url: str = "s3://models/zoo", *, offline: bool = False) -> StoreRepository:
        return StoreRepository(url, transfer=Transfer(is_offline=lambda: offline))

    return open_


@pytest.fixture
def zoo(tmp_path: Path) -> Callable[..., ModelZoo]:
    """A function that makes a zoo of one repository, with the same cache each time."""

    def made(**how: Any) -> ModelZoo:
        return ModelZoo(["s3://models/zoo"], cache=tmp_path / "cache", config=False, **how)

    return made


class TestS3:
    def test_an_index_is_listed_by_two_requests_and_not_read_again_while_it_stays_the_same(self, bucket, zoo, published):
        write_index(published)
        bucket.upload(published, "zoo/")
        bucket.requests.clear()
        assert len(zoo().search()) == 2
        assert [asked.path for asked in bucket.requests] == ["/models", "/models/zoo/index.json.gz"]
        assert len(zoo(refresh=True).search()) == 2
        assert [asked.path for asked in bucket.requests[2:]] == ["/models"]
        assert len(zoo().search()) == 2
        assert len(bucket.requests) == 3

    def test_without_an_index_each_document_is_read_once_and_then_only_what_changed(self, bucket, zoo, published):
        bucket.upload(published, "zoo/")
        bucket.requests.clear()
        assert len(zoo().search()) == 2
        assert len(bucket.ranges("metadata.json")) == 2
        bucket.put(f"zoo/{FOLDER}-new/metadata.json", json.dumps({**NET, "artifactId": "new"}).encode())
        bucket.requests.clear()
        assert len(zoo(refresh=True).search()) == 3
        assert len(bucket.ranges("metadata.json")) == len(bucket.ranges("net-new/metadata.json")) == 1

    def test_many_documents_are_asked_for_together(self, bucket, opened):
        for number in range(100):
            bucket.put(f"zoo/model/cv/a/n{number}/metadata.json", json.dumps({**NET, "artifactId": f"n{number}"}).encode())
        assert len(names(opened())) == 100

    def test_a_large_file_comes_by_parts_in_several_connections(self, bucket, cache, opened, monkeypatch):
        monkeypatch.setattr("zoo_core.reception.PATIENCE_S", 0.0)
        monkeypatch.setattr("zoo_core.reception.WORTH_S", 0.0)
        content = bytes(range(256)) * (1 << 16)
        record = large(bucket, content)
        (path,) = cache.files(record, opened()).values()
        assert path.read_bytes() == content
        parts = [tuple(map(int, part.removeprefix("bytes=").split("-"))) for part in bucket.ranges("big.bin")]
        # What the first connection had asked for already when it left the rest to others comes twice.
        assert len(content) <= sum(last - first + 1 for first, last in parts) <= len(content) + PART
        assert sum(asked.method == "HEAD" for asked in bucket.requests) > 1

    def test_a_download_that_broke_goes_on_where_it_was(self, bucket, cache, opened):
        content = bytes(range(256)) * (9 << 12)
        record = large(bucket, content)
        bucket.fault = lambda asked: asked.range.startswith("bytes=8388608-")
        with pytest.raises(RepositoryError, match=r"^s3://models/zoo/\S+/big.bin: .*") as raised:
            cache.files(record, opened())
        assert "\n" not in str(raised.value)
        bucket.fault = lambda _: False
        bucket.requests.clear()
        (path,) = cache.files(record, opened()).values()
        assert path.read_bytes() == content
        assert bucket.ranges("big.bin") == [f"bytes=8388608-{len(content) - 1}"]

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("s3://absent/zoo", "s3://absent/zoo: there is nothing: The specified bucket does not exist"),
            ("s3://models/absent", "s3://models/absent: there is nothing: models/absent"),
        ],
    )
    def test_what_is_not_there_is_one_error(self, url, said, bucket, opened):
        with pytest.raises(RepositoryError) as raised:
            names(opened(url))
        assert str(raised.value) == said
        assert raised.value.status == 404

    def test_an_object_that_is_missing_is_named(self, bucket, cache, opened):
        record = large(bucket, None)
        with pytest.raises(RepositoryError, match=r"/big.bin: there is nothing"):
            cache.files(record, opened())

    def test_without_credentials_it_says_how_a_public_bucket_is_read(self, bucket, opened, monkeypatch):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(RepositoryError, match=r"Unable to locate credentials\. .* FSSPEC_S3_ANON=true"):
            names(opened())

    def test_offline_nothing_is_asked(self, bucket, opened, published):
        bucket.upload(published, "zoo/")
        bucket.requests.clear()
        repository = opened(offline=True)
        for asked in (lambda: names(repository), lambda: repository.open(large(bucket, None).files[0])):
            bucket.requests.clear()
            with pytest.raises(OfflineError, match="offline: s3://models/zoo"):
                asked()
            assert bucket.requests == []

    def test_offline_the_last_listing_serves(self, bucket, zoo, published):
        bucket.upload(published, "zoo/")
        assert len(zoo().search()) == 2
        bucket.requests.clear()
        assert len(zoo(offline=True, refresh=True).search()) == 2
        assert bucket.requests == []

    def test_where_the_store_fails_the_last_listing_serves_with_a_warning(self, bucket, zoo, published, monkeypatch):
        bucket.upload(published, "zoo/")
        assert len(zoo().search()) == 2
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.warns(ZooWarning, match=r"s3://models/zoo: .*; using the index of .* seconds? ago"):
            assert len(zoo(refresh=True).search()) == 2


def large(bucket: s3.Bucket, content: bytes | None) -> ModelRecord:
    """A model with one file; None: the file itself is missing."""
    item = make.item("big.bin", content or b"absent")
    document = make.document(make.artifact(files={"parameters": item}))
    bucket.put(f"zoo/{FOLDER}/metadata.json", json.dumps(document).encode())
    if content is not None:
        bucket.put(f"zoo/{FOLDER}/big.bin", content)
    from zoo_core.metadata import Metadata

    metadata = Metadata.from_json(json.dumps(document).encode(), f"s3://models/zoo/{FOLDER}/metadata.json")
    bucket.requests.clear()
    return ModelRecord(metadata=metadata, artifact=metadata.artifacts[0], source=source("models"))


class TestAddresses:
    @pytest.mark.parametrize("url", ["s3://", "memory:///", "memory://a/../b", "memory://a//b", "memory://a::file://b"])
    def test_an_address_without_a_plain_place_is_refused(self, url):
        with pytest.raises(RepositoryError, match=r"expected \w+://bucket or \w+://bucket/prefix"):
            StoreRepository(url, transfer=Transfer())

    def test_an_address_holds_no_credential_and_a_message_does_not_show_it(self):
        with pytest.raises(RepositoryError, match="an address holds no credential") as raised:
            StoreRepository("s3://anna:password@bucket/zoo", transfer=Transfer())
        assert "password" not in str(raised.value)

    @pytest.mark.parametrize("scheme", ["github", "reference", "simplecache", "filecache", "local", "zip", "hdfs", "ftp"])
    def test_nothing_else_that_fsspec_knows_is_a_repository(self, scheme, tmp_path):
        zoo = ModelZoo([], cache=tmp_path)
        with pytest.raises(RepositoryError, match=f"there is no repository kind '{scheme}'; there is: .*file, .*s3"):
            zoo.open_repository(f"{scheme}://somewhere/x")

    def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it(self, monkeypatch):
        monkeypatch.setitem(STORES, "gs", ("no_such_module", "gcsfs"))
        with pytest.raises(PackageNotInstalledError) as raised:
            StoreRepository("gs://bucket/zoo", transfer=Transfer())
        assert str(raised.value) == "gs://bucket/zoo is read by fsspec and gcsfs: pip install gcsfs"
        assert raised.value.missing == ("gcsfs",)


SEARCH = """
import sys
from zoo_core import ModelZoo
ModelZoo([sys.argv[1]]).search()
wrong = {"fsspec", "s3fs", "botocore", "aiohttp", "huggingface_hub"} & set(sys.modules)
sys.exit(f"imported: {wrong}" if wrong else 0)
"""


def test_a_search_elsewhere_imports_none_of_it(published: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SEARCH, str(published)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
