"""A lock file is a stranger's word: it reaches no file that its user did not name, and nothing is trusted for what it says."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import parameter_files
from tests import repositories as make
from tests.core import toy_engine
from tests.web import Site, serving
from zoo_core import (
    Criteria,
    IntegrityError,
    MetadataError,
    ModelNotFoundError,
    ModelZoo,
    RepositoryError,
    UntrustedCodeError,
    ZooError,
)
from zoo_core.indexing import write_index

np = pytest.importorskip("numpy")

PROGRAM = parameter_files.TORCHSCRIPT
EVIL = parameter_files.PT2
CODE = b"""
from dataclasses import dataclass
from tests.core.toy_engine import Scale
from zoo_core import BlockFactory

@dataclass(frozen=True, kw_only=True)
class Net(BlockFactory):
    def new_block(self, model, model_path, arguments):
        return Scale(1)
"""
TENSORS = toy_engine.stored({"weight": [1.0]}, {"zoo.engines": '["Toy"]'})


@pytest.fixture(autouse=True)
def toy(install: Callable[..., Path]) -> None:
    """An engine that takes every program that reaches it."""
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a program."""
    return published(tmp_path / "zoo", PROGRAM)


def published(root: Path, content: bytes, **proof: Any) -> Path:
    item = {"uri": "net.pt", **proof} if proof else make.item("net.pt", content)
    make.publish(root, make.document(make.artifact(files={"parameters": item}, engines=["Toy"])), {"net.pt": content})
    return root


def serve(site: Site, root: Path) -> str:
    """What a folder holds, on the web."""
    write_index(root)
    for path in root.rglob("*"):
        if path.is_file():
            site.pages[f"/zoo/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return f"{site.url}zoo/"


def zoo(*repositories: Any, lock: Any = False, **keywords: Any) -> ModelZoo:
    return ModelZoo(list(repositories), config=False, plugins=[], lock=lock, **keywords)


def lock_of(tmp_path: Path, *repositories: Any) -> Path:
    zoo(*repositories).lock("net", path=tmp_path / "zoo.lock")
    return tmp_path / "zoo.lock"


def edited(lock: Path, change: Callable[[Any], object]) -> Path:
    """The lock as a stranger changed it."""
    content = json.loads(lock.read_text())
    change(content["models"][0])
    path = lock.with_name("evil.lock")
    path.write_text(json.dumps(content))
    return path


def file_of(model: Any) -> Any:
    return model["metadata"]["artifacts"][0]["files"]["parameters"]


def runs(zoo: ModelZoo, **how: Any) -> bool:
    """Whether the program of a lock runs; what `info` says of it is the same."""
    told = all(run["allowed"] for run in zoo.info("net").runs if run["kind"] in ("program", "unknown"))
    try:
        zoo.load_model("net", progress=False, **how).close()
    except UntrustedCodeError:
        assert told is False
        return False
    return True


# programs -------------------------------------------------------------------------------------------------------------


def test_a_program_runs_where_the_repository_is_configured_and_has_what_the_lock_says(root: Path, tmp_path: Path) -> None:
    lock = lock_of(tmp_path, root)
    assert runs(zoo(root, lock=lock))


def test_it_does_not_where_the_repository_is_not_configured(root: Path, tmp_path: Path, site: Site) -> None:
    lock = lock_of(tmp_path, serve(site, root))
    assert not runs(zoo(lock=lock))
    zoo(lock=lock).load_model("net", trust_programs=True, progress=False).close()


def test_a_lock_that_claims_a_configured_repository_for_other_bytes_is_not_believed(
    root: Path, tmp_path: Path, site: Site
) -> None:
    site.pages["/evil.pt"] = EVIL
    evil = {"uri": f"{site.url}evil.pt", "sha256": make.sha256(EVIL), "size": len(EVIL)}
    lock = edited(lock_of(tmp_path, root), lambda model: file_of(model).update(evil))
    assert not runs(zoo(root, lock=lock))
    # They are in the cache now, whatever the lock says of where they are from.
    assert not runs(zoo(root, lock=lock))


def test_nor_one_that_claims_an_installed_package(tmp_path: Path, install: Callable[..., Path], site: Site) -> None:
    folder = install("acme-models", entry_points={"zoo_core.repositories": {"acme": "acme_models"}})
    published(folder / "acme_models", PROGRAM)
    (folder / "acme_models" / "__init__.py").write_text("")
    ModelZoo(config=False, plugins=[]).lock("net", path=tmp_path / "zoo.lock")

    def with_lock(path: Path) -> ModelZoo:
        return ModelZoo(config=False, plugins=[], lock=path)

    assert runs(with_lock(tmp_path / "zoo.lock"))
    site.pages["/evil.pt"] = EVIL
    evil = {"uri": f"{site.url}evil.pt", "sha256": make.sha256(EVIL), "size": len(EVIL)}
    assert not runs(with_lock(edited(tmp_path / "zoo.lock", lambda model: file_of(model).update(evil))))


@pytest.mark.parametrize("proof", ["sha256", "sha1Hash"])
def test_a_configured_repository_on_the_web_is_asked_only_where_a_program_is_to_run(
    tmp_path: Path, site: Site, proof: str
) -> None:
    digest = {"sha256": make.sha256, "sha1Hash": make.sha1}[proof](PROGRAM)
    url = serve(site, published(tmp_path / "zoo", PROGRAM, **{proof: digest}))
    lock = lock_of(tmp_path, url)
    assert runs(zoo(url, lock=lock, cache=tmp_path / "other"))
    # Without an index nobody vouches for the lock.
    site.pages = {path: page for path, page in site.pages.items() if not path.startswith("/zoo/index.json")}
    assert not runs(zoo(url, lock=lock, cache=tmp_path / "third"))


def test_a_sha1_that_only_the_lock_names_vouches_for_nothing(tmp_path: Path, site: Site) -> None:
    url = serve(site, published(tmp_path / "zoo", PROGRAM, sha1Hash=make.sha1(PROGRAM)))
    site.pages["/evil.pt"] = EVIL
    evil = {"uri": f"{site.url}evil.pt", "sha256": make.sha256(EVIL)}
    lock = edited(lock_of(tmp_path, url), lambda model: file_of(model).update(evil))
    assert not runs(zoo(url, lock=lock))


def test_a_listing_vouches_by_the_document_that_it_leaves_out(tmp_path: Path, site: Site) -> None:
    """As those of Deep Java Library do, which list models without their files."""
    place = "/model/nlp/fill_mask/ai/djl/huggingface/pytorch/"
    listing = json.dumps({"a/one": {"result": "success", "sha1": "1"}}).encode()
    artifact = make.artifact("0.0.1", files={"parameters": make.item("net.pt", PROGRAM)}, name="one", engines=["Toy"])
    ids = {"artifact_id": "a/one", "group_id": "ai.djl.huggingface.pytorch", "application": "nlp/fill_mask"}
    document = make.document(artifact, **ids)
    site.pages[f"{place}models.json.gz"] = gzip.compress(listing)
    site.pages[f"{place}a/one/metadata.json"] = json.dumps(document).encode()
    site.pages[f"{place}a/one/net.pt"], site.pages["/evil.pt"] = PROGRAM, EVIL
    lock = tmp_path / "zoo.lock"
    zoo(site.url).lock(Criteria(artifact_id="a/one"), path=lock)
    zoo(site.url, lock=lock).load_model(Criteria(artifact_id="a/one"), progress=False).close()
    evil = {"uri": f"{site.url}evil.pt", "sha256": make.sha256(EVIL), "size": len(EVIL)}
    for path, own in ((lock, ()), (edited(lock, lambda model: file_of(model).update(evil)), (site.url,))):
        with pytest.raises(UntrustedCodeError):
            zoo(*own, lock=path).load_model(Criteria(artifact_id="a/one"), progress=False)


def test_a_password_in_the_address_of_a_repository_keeps_it_from_nothing(root: Path, tmp_path: Path, site: Site) -> None:
    url = serve(site, root).replace("://", "://anna:s3cret@")
    lock = lock_of(tmp_path, url)
    assert "s3cret" not in lock.read_text()
    assert runs(zoo(url, lock=lock))


def test_the_repositories_of_a_locked_zoo_bring_no_trust_to_another_one(root: Path, tmp_path: Path, site: Site) -> None:
    lock = lock_of(tmp_path, serve(site, root))
    other = zoo(*zoo(lock=lock).repositories)
    with pytest.raises(UntrustedCodeError):
        other.load_model("net", progress=False)


# code -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def carrier(tmp_path: Path, site: Site) -> str:
    """A repository on the web whose model carries code."""
    files = {"parameters": make.item("net.safetensors", TENSORS), "code": make.item("block_factory.py", CODE)}
    content = {"net.safetensors": TENSORS, "block_factory.py": CODE}
    make.publish(tmp_path / "zoo", make.document(make.artifact(files=files, engines=["Toy"])), content)
    return serve(site, tmp_path / "zoo")


def test_code_is_trusted_by_the_address_that_has_it_and_not_by_the_one_that_a_lock_names(
    carrier: str, tmp_path: Path, site: Site
) -> None:
    lock = lock_of(tmp_path, carrier)
    zoo(carrier, lock=lock).load_model("net", trust_code=[carrier], progress=False).close()
    evil = CODE + b"\nraise SystemExit('evil code ran')\n"
    site.pages["/evil.py"] = evil
    item = {"uri": f"{site.url}evil.py", "sha256": make.sha256(evil), "size": len(evil)}
    forged = edited(lock, lambda model: model["metadata"]["artifacts"][0]["files"]["code"].update(item))
    for repositories in ((carrier,), ()):
        with pytest.raises(UntrustedCodeError):
            zoo(*repositories, lock=forged).load_model("net", trust_code=[carrier], progress=False)


def test_arguments_that_a_lock_adds_make_it_another_artifact(carrier: str, tmp_path: Path) -> None:
    lock = lock_of(tmp_path, carrier)
    forged = edited(lock, lambda model: model["metadata"]["artifacts"][0].update(arguments={"noteworthy": 1}))
    with pytest.raises(UntrustedCodeError):
        zoo(carrier, lock=forged).load_model("net", trust_code=[carrier], progress=False)


# files of this machine ------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "private" / "model" / "cv" / "secret.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(PROGRAM)
    return path


def test_a_lock_reads_no_file_of_a_folder_that_its_user_did_not_name(root: Path, tmp_path: Path, secret: Path) -> None:
    def claim(model: Any) -> None:
        file_of(model).update(uri=secret.as_uri())
        model["repository"].update(url=(tmp_path / "private").as_uri())

    lock = edited(lock_of(tmp_path, root), claim)
    # Not by the lock, not by another repository that is configured, and not by what came with the project.
    Path("zoo.toml").write_text(f'[[repository]]\nurl = "{tmp_path / "private"}"')
    for opened in (zoo(lock=lock), zoo(root, lock=lock), ModelZoo(plugins=[], lock=lock)):
        for ask in (opened.download, opened.load_model):
            with pytest.raises(RepositoryError, match="lies in no folder that your own configuration or this call names"):
                ask("net", progress=False)
        with pytest.raises(RepositoryError):
            opened.sync(progress=False)
        with pytest.raises(RepositoryError):
            opened.mirror(tmp_path / "mirror", progress=False)
    assert zoo(tmp_path / "private", lock=lock).download("net", progress=False).is_dir()
    assert zoo(lock=lock).download("net", model_urls=[tmp_path / "private"], progress=False).is_dir()


@pytest.mark.parametrize(
    "uri",
    ["package://acme_models/../secret", "package://acme_models/%2e%2e/secret", "package://../secret", "package://acme_models/"],
)
def test_a_lock_leaves_no_package(root: Path, tmp_path: Path, install: Callable[..., Path], uri: str) -> None:
    folder = install("acme-models", modules={"acme_models/__init__.py": ""})
    (folder / "secret").write_bytes(PROGRAM)
    lock = edited(lock_of(tmp_path, root), lambda model: file_of(model).update(uri=uri))
    with pytest.raises(ZooError):
        zoo(lock=lock).download("net", progress=False)


def test_a_package_with_other_bytes_than_were_locked_is_an_error_that_says_so(
    tmp_path: Path, install: Callable[..., Path]
) -> None:
    entry_points = {"zoo_core.repositories": {"acme": "acme_models"}}
    folder = install("acme-models", "1.3", entry_points=entry_points, modules={"acme_models/__init__.py": ""})
    published(folder / "acme_models", PROGRAM)
    ModelZoo(config=False, plugins=[]).lock("net", path=tmp_path / "zoo.lock")
    published(folder / "acme_models", EVIL)
    opened = ModelZoo(config=False, plugins=[], lock=tmp_path / "zoo.lock")
    for ask in (lambda: opened.download("net", progress=False), lambda: opened.sync(progress=False)):
        with pytest.raises(IntegrityError, match=r"pins the bytes of a package .* pip install \"acme-models==1\.3\""):
            ask()


def test_a_lock_that_is_upgraded_asks_no_folder_that_only_it_names(root: Path, tmp_path: Path) -> None:
    zoo().lock("net", path=tmp_path / "zoo.lock", model_urls=[root])
    lock = tmp_path / "zoo.lock"
    with pytest.raises(RepositoryError, match="your own configuration does not name; to ask it: zoo lock net"):
        zoo().lock(path=lock, upgrade=True)
    assert zoo().lock("net", path=lock, upgrade=True, model_urls=[root]).changes[0].change == "kept"
    assert zoo(root).lock(path=lock, upgrade=True).changes[0].change == "kept"


@pytest.mark.parametrize("spelt", ["FILE://{}", " file://{}", "\tfile://{}", "fi\tle://{}", "c://../../..{}"])
def test_nor_one_in_another_spelling(root: Path, tmp_path: Path, spelt: str) -> None:
    zoo().lock("net", path=tmp_path / "zoo.lock", model_urls=[root])
    Path("c:").mkdir()
    url = spelt.format(root.as_posix())
    lock = edited(tmp_path / "zoo.lock", lambda model: model["asked"][0].update(repositories=[url]))
    with pytest.raises(MetadataError, match="expected an absolute address"):
        zoo().lock(path=lock, upgrade=True)


# other artifacts ------------------------------------------------------------------------------------------------------


def test_a_record_that_is_not_locked_is_no_way_around_the_lock(root: Path, tmp_path: Path) -> None:
    lock = lock_of(tmp_path, root)
    record = zoo(root).search("net")[0]
    assert zoo(root, lock=lock).download(record, progress=False).is_dir()
    published(root, EVIL)
    (other,) = zoo(root).search("net")
    with pytest.raises(ModelNotFoundError, match="is not locked in"):
        zoo(root, lock=lock).download(other, progress=False)


def test_a_token_goes_to_its_own_repository_and_to_no_host_that_a_lock_names(
    root: Path, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(site, root)
    lock = lock_of(tmp_path, url)
    (tmp_path / "mine.toml").write_text(f'[[repository]]\nurl = "{url}"\ntoken_env = "ACME_TOKEN"')
    monkeypatch.setenv("ACME_TOKEN", "s3cret")
    with serving() as other:
        other.pages["/net.pt"] = PROGRAM
        forged = edited(lock, lambda model: file_of(model).update(uri=f"{other.url}net.pt"))
        for number, path in enumerate((lock, forged)):
            opened = ModelZoo(config=tmp_path / "mine.toml", plugins=[], lock=path, cache=tmp_path / f"cache{number}")
            assert opened.download("net", progress=False).is_dir()
        assert site.requests[-1][1]["authorization"] == "Bearer s3cret"
        assert [headers.get("authorization") for _, headers in other.requests] == [None]
    assert "s3cret" not in lock.read_text()
