"""A folder, and the resources of an installed package, as a repository."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import repositories as make
from tests.records import source
from tests.web import Site
from zoo_core import MRL, ArtifactFile, Metadata, ModelRecord, OfflineError, RepositoryError
from zoo_core.cache import Cache
from zoo_core.repository.local import FolderRepository, url_path
from zoo_core.repository.package import package_folder, resource_path
from zoo_core.transfer import Transfer


def file(url: str) -> ArtifactFile:
    return ArtifactFile(key="parameters", name="net.bin", uri=url, url=url)


def names(repository: FolderRepository) -> list[str]:
    return [metadata.artifact_id for metadata in repository.documents()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository of two models and a data set."""
    root = tmp_path / "zoo"
    make.publish(root, make.document(make.artifact(), artifact_id="b"))
    make.publish(root, make.document(make.artifact(), artifact_id="a"))
    make.publish(root, make.document(artifact_id="d", resourceType="dataset", application="nlp"), {})
    return root


def test_models_and_data_sets_come_in_the_order_of_their_folders(root: Path) -> None:
    repository = FolderRepository(root)
    assert names(repository) == ["d", "a", "b"]
    assert repository.problems == ()


def test_a_document_knows_its_location_and_its_address(root: Path) -> None:
    metadata = list(FolderRepository(root).documents())[1]
    assert metadata.mrl == MRL(application="cv/image_classification", group_id="com.example", artifact_id="a")
    assert metadata.url == (root / "model/cv/image_classification/com/example/a/metadata.json").as_uri()


def test_it_is_named_by_the_address_of_its_folder(root: Path) -> None:
    assert FolderRepository(root).url == root.as_uri()


def test_a_malformed_document_is_a_problem_and_hides_no_other(root: Path) -> None:
    make.publish(root, make.document(artifact_id="broken", artifacts=3))
    (root / "model/cv/latin").mkdir()
    (root / "model/cv/latin/metadata.json").write_bytes(b"{\xe9}")
    repository = FolderRepository(root)
    assert names(repository) == ["d", "a", "b"]
    assert len(repository.problems) == 2
    assert "broken/metadata.json: $.artifacts: Expected `array" in repository.problems[0]
    assert "latin/metadata.json: $: no JSON" in repository.problems[1]


def test_a_document_that_cannot_be_read_is_a_problem_and_hides_no_other(root: Path) -> None:
    (root / "model/cv/image_classification/com/example/b/metadata.json").unlink()
    (root / "model/cv/image_classification/com/example/b/metadata.json").symlink_to(root / "gone")
    repository = FolderRepository(root)
    assert names(repository) == ["d", "a"]
    (problem,) = repository.problems
    assert problem.endswith("b/metadata.json: No such file or directory")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes there")
def test_nobody_waits_for_a_document_that_is_a_pipe(root: Path) -> None:
    (root / "model/cv/image_classification/com/example/b/metadata.json").unlink()
    os.mkfifo(root / "model/cv/image_classification/com/example/b/metadata.json")
    repository = FolderRepository(root)
    assert names(repository) == ["d", "a"]
    (problem,) = repository.problems
    assert problem.endswith("b/metadata.json: it is no file")


def test_problems_are_those_of_the_last_reading(root: Path) -> None:
    broken = make.publish(root, make.document(artifact_id="broken", artifacts=3))
    repository = FolderRepository(root)
    assert len(names(repository)) == 3
    assert repository.problems
    broken.unlink()
    assert len(names(repository)) == 3
    assert repository.problems == ()


def test_a_folder_that_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    repository = FolderRepository(tmp_path / "nowhere")
    with pytest.raises(RepositoryError, match=f"there is no folder {tmp_path / 'nowhere'}") as caught:
        list(repository.documents())
    assert caught.value.url == (tmp_path / "nowhere").as_uri()


def test_an_empty_folder_holds_no_documents(tmp_path: Path) -> None:
    assert names(FolderRepository(tmp_path)) == []


def test_a_metadata_file_directly_in_the_root_is_no_document(root: Path) -> None:
    (root / "metadata.json").write_text("{}")
    assert names(FolderRepository(root)) == ["d", "a", "b"]


def test_its_fingerprint_changes_when_a_document_does(root: Path) -> None:
    repository = FolderRepository(root)
    before = repository.fingerprint()
    assert repository.fingerprint() == FolderRepository(root).fingerprint() == before
    path = root / "model/cv/image_classification/com/example/a/metadata.json"
    os.utime(path, ns=(0, 1))
    changed = repository.fingerprint()
    make.publish(root, make.document(artifact_id="e"))
    assert len({before, changed, repository.fingerprint()}) == 3


# files ---------------------------------------------------------------------------------------------------------------


def first_file(root: Path, uri: str) -> tuple[FolderRepository, ArtifactFile]:
    make.publish(root, make.document(make.artifact(files={"parameters": make.item(uri, name="net.bin")}), artifact_id="a"), {})
    repository = FolderRepository(root)
    found: Metadata = next(iter(repository.documents()))
    return repository, found.artifacts[0].files[0]


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("net.bin", "model/cv/image_classification/com/example/a/net.bin"),
        ("1.0/net.bin", "model/cv/image_classification/com/example/a/1.0/net.bin"),
        ("../shared.bin", "model/cv/image_classification/com/example/shared.bin"),
        ("../../../../../../files/net.bin", "files/net.bin"),
        ("a%20b.bin", "model/cv/image_classification/com/example/a/a b.bin"),
        ("a b.bin", "model/cv/image_classification/com/example/a/a b.bin"),
    ],
)
def test_a_file_lies_beside_or_below_its_document_inside_the_repository(tmp_path: Path, uri: str, place: str) -> None:
    repository, found = first_file(tmp_path, uri)
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0123456789")
    assert repository.local_path(found) == path
    with repository.open(found) as whole, repository.open(found, 4) as rest:
        assert (whole.read(), rest.read()) == (b"0123456789", b"456789")


@pytest.mark.parametrize("uri", ["../../../../../../../outside.bin", "/etc/passwd", "..%2f" * 7 + "outside.bin"])
def test_a_file_outside_the_repository_is_refused(tmp_path: Path, uri: str) -> None:
    repository, found = first_file(tmp_path / "zoo", uri)
    (tmp_path / "outside.bin").write_bytes(b"secret")
    with pytest.raises(RepositoryError, match=f"leads out of the repository {repository.url}"):
        repository.local_path(found)
    with pytest.raises(RepositoryError, match="leads out"):
        repository.open(found)


@pytest.mark.parametrize("root", ["zoo", "./zoo", "../working/zoo", "zoo/../zoo"])
def test_the_folder_may_be_named_relatively(root: str) -> None:
    repository, found = first_file(Path(root), "net.bin")
    assert repository.local_path(found) == Path.cwd() / "zoo/model/cv/image_classification/com/example/a/net.bin"


def test_the_folder_may_be_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    repository, found = first_file(tmp_path / "link", "net.bin")
    path = repository.local_path(found)
    assert path is not None
    assert path.parent.resolve() == (tmp_path / "real/model/cv/image_classification/com/example/a").resolve()


def test_the_folder_may_have_a_space_and_a_percent_sign_in_its_name(tmp_path: Path) -> None:
    repository, found = first_file(tmp_path / "my zoo 100%", "net.bin")
    assert repository.local_path(found) == tmp_path / "my zoo 100%/model/cv/image_classification/com/example/a/net.bin"
    assert url_path(repository.url) == tmp_path / "my zoo 100%"


def test_a_file_that_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    repository, found = first_file(tmp_path, "net.bin")
    with pytest.raises(RepositoryError, match=r"a/net\.bin: No such file or directory"):
        repository.open(found)


def test_a_file_on_the_web_is_fetched_from_there(tmp_path: Path, site: Site) -> None:
    """The usual catalogue of a third party: documents in a folder or a package, weights on a host."""
    site.pages["/net.bin"] = b"0123456789"
    repository, found = first_file(tmp_path, f"{site.url}net.bin")
    assert repository.local_path(found) is None
    with repository.open(found) as whole, repository.open(found, 4) as rest:
        assert (whole.read(), rest.read()) == (b"0123456789", b"456789")


def test_it_is_fetched_by_the_transfer_of_the_zoo(tmp_path: Path, site: Site) -> None:
    transfer = Transfer(authorise=lambda _, headers: {**headers, "X-Token": "mine"})
    site.pages["/net.bin"] = b"weights"
    with FolderRepository(tmp_path, transfer=transfer).open(file(f"{site.url}net.bin")) as stream:
        assert stream.read() == b"weights"
    assert site.requests[0][1]["x-token"] == "mine"


def test_it_is_downloaded_verified_and_named_as_the_document_says(tmp_path: Path, site: Site) -> None:
    site.pages["/weights/1.bin"] = make.WEIGHTS
    item = make.item(f"{site.url}weights/1.bin", make.WEIGHTS, name="net.bin")
    make.publish(tmp_path / "zoo", make.document(make.artifact(files={"parameters": item})), {})
    repository = FolderRepository(tmp_path / "zoo")
    (metadata,) = repository.documents()
    wanted = ModelRecord(metadata=metadata, artifact=metadata.artifacts[0], source=source("local"))
    path = Cache(tmp_path / "cache").files(wanted, repository)["parameters"]
    assert (path.name, path.read_bytes()) == ("net.bin", make.WEIGHTS)


def test_without_a_transfer_of_its_own_it_heeds_the_environment(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = FolderRepository(tmp_path)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(OfflineError, match="offline mode forbids"):
        repository.open(file(f"{site.url}net.bin"))
    assert site.requests == []


def test_a_file_that_is_neither_here_nor_on_the_web_does_not_lie_in_it(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"ftp://models\.example/net\.bin does not lie in file://"):
        FolderRepository(tmp_path).open(file("ftp://models.example/net.bin"))


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="leads out"):
        FolderRepository(tmp_path).open(file(f"{tmp_path.as_uri()}/a%00b"))


# installed packages --------------------------------------------------------------------------------------------------


@pytest.fixture
def acme(install: Callable[..., Path]) -> Path:
    """A package whose catalogue is a folder, and that must not be imported."""
    folder = install("acme-models", modules={"acme_late/__init__.py": "raise AssertionError('imported')"})
    make.publish(
        folder / "acme_late" / "models", make.document(make.artifact(files={"p": make.item("package://acme_late/w.bin")})), {}
    )
    (folder / "acme_late" / "w.bin").write_bytes(b"weights")
    return folder / "acme_late"


def test_the_resources_of_a_package_are_a_repository_and_nothing_is_imported(acme: Path) -> None:
    repository = FolderRepository.of_package("acme_late.models")
    assert repository.url == "package://acme_late.models"
    (metadata,) = repository.documents()
    found = metadata.artifacts[0].files[0]
    assert repository.local_path(found) == acme / "w.bin"
    with repository.open(found) as stream:
        assert stream.read() == b"weights"
    assert "acme_late" not in sys.modules


@pytest.mark.parametrize(
    "name", ["package_that_is_missing", "package_that_is_missing.models", "acme_late.nothing", "", "zoo_core.errors"]
)
@pytest.mark.usefixtures("acme")
def test_a_package_that_is_missing_or_no_folder_is_an_error(name: str) -> None:
    with pytest.raises(RepositoryError, match=f"package {name}") as caught:
        package_folder(name)
    assert caught.value.url == f"package://{name}"


@pytest.mark.parametrize("name", ["acme_late.\\", "acme_late.C:", "C:"])
@pytest.mark.usefixtures("acme")
def test_a_name_that_is_a_path_is_no_package(name: str) -> None:
    with pytest.raises(RepositoryError, match="that is no import name"):
        package_folder(name)


@pytest.mark.usefixtures("acme")
def test_a_package_fetches_from_the_web_too(site: Site) -> None:
    site.pages["/net.bin"] = b"weights"
    with FolderRepository.of_package("acme_late.models", transfer=Transfer()).open(file(f"{site.url}net.bin")) as stream:
        assert stream.read() == b"weights"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("package://acme_late/w.bin", "w.bin"),
        ("package://acme_late/models/a%20b.bin", "models/a b.bin"),
        ("package://acme_late.models/deep/w.bin", "models/deep/w.bin"),
    ],
)
def test_an_address_in_a_package_is_a_path(acme: Path, url: str, place: str) -> None:
    assert resource_path(url) == acme / place


@pytest.mark.parametrize(
    "url",
    ["package://acme_late", "package://acme_late/", "package:///w.bin", "package://acme_late/../secret", "package://acme_late/%2e%2e/x",
     "package://acme_late/a/..%2f..%2fx", "package://acme_late/..\\..\\x", "package://acme_late/..%5c..%5cx",
     "package://acme_late/C:/x", "package://acme_late/C:x", "package://acme_late/a/C%3ax", "package://acme_late/a%00b"],
)  # fmt: skip
@pytest.mark.usefixtures("acme")
def test_an_address_that_leaves_its_package_is_refused(url: str) -> None:
    with pytest.raises(RepositoryError, match="names no file inside a package"):
        resource_path(url)


def test_an_absolute_path_cannot_stand_for_a_resource(acme: Path) -> None:
    assert resource_path("package://acme_late//etc/passwd") == acme / "etc/passwd"
