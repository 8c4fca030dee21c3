"""A zoo with a lock sees what it holds and nothing else; a lock keeps what answers, and asks anew when it is told to."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests import repositories as make
from tests.web import Site
from zoo_core import (
    AmbiguousModelError,
    Criteria,
    CriteriaError,
    IntegrityError,
    ModelNotFoundError,
    ModelZoo,
    RepositoryError,
)
from zoo_core.artifact import ArtifactFile
from zoo_core.indexing import write_index
from zoo_core.locked import lock_line
from zoo_core.lockfile import read_lock
from zoo_core.metadata import Metadata
from zoo_core.repository.base import Repository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "zoo"
    publish(root, "1.0")
    make.publish(root, make.document(make.artifact("1.0"), artifact_id="other"))
    return root


def publish(root: Path, *versions: str, **fields: Any) -> None:
    make.publish(root, make.document(*(make.artifact(version, **fields) for version in versions)))


def zoo(*repositories: Any, lock: Any = False, **keywords: Any) -> ModelZoo:
    return ModelZoo(list(repositories), config=False, plugins=[], lock=lock, **keywords)


@pytest.fixture
def lock(root: Path, tmp_path: Path) -> Path:
    """A lock of ``net`` 1.0, which has a 2.0 by now."""
    zoo(root).lock("net", path=tmp_path / "zoo.lock")
    publish(root, "1.0", "2.0")
    return tmp_path / "zoo.lock"


def references(records: Any) -> list[str]:
    return [record.reference for record in records]


# what is seen ---------------------------------------------------------------------------------------------------------


def test_only_what_is_locked_is_found(root: Path, lock: Path) -> None:
    locked = zoo(root, lock=lock)
    assert references(locked.search()) == ["com.example/net@1.0"]
    explained = locked.explain("net")
    # Where no engine is installed, it is refused for that alone.
    assert references([*explained.accepted, *(refusal.record for refusal in explained.refused)]) == ["com.example/net@1.0"]
    assert locked.info("net").record.version == "1.0"  # type: ignore[union-attr]  # it is no file
    assert [loader.mrl.artifact_id for loader in locked.loaders()] == ["net"]
    assert [repository.url for repository in locked.repositories] == [root.as_uri()]
    assert references(zoo(root).search("net")) == ["com.example/net@2.0", "com.example/net@1.0"]


@pytest.mark.parametrize("ask", ["download", "info", "load_model"])
def test_a_question_without_an_answer_names_the_lock_and_how_to_add_one(root: Path, lock: Path, ask: str) -> None:
    criteria = Criteria(artifact_id="net", version="2.0", filters={"layers": 50})
    with pytest.raises(ModelNotFoundError, match=r"in the lock .*zoo\.lock; to lock another: zoo lock net@2\.0 --filter"):
        getattr(zoo(root, lock=lock), ask)(criteria)


def test_what_was_deleted_from_the_lock_is_gone(root: Path, lock: Path) -> None:
    lock.write_text('{"lockVersion": 1, "models": []}')
    with pytest.raises(ModelNotFoundError, match="none is locked"):
        zoo(root, lock=lock).download("net")


def test_a_repository_may_be_named_among_those_of_the_lock(root: Path, lock: Path) -> None:
    locked = zoo(root, lock=lock)
    for name in (root, str(root), root.as_uri(), f"{root.as_uri()}/", root.as_uri().replace("file:", "FILE:")):
        assert references(locked.search(model_urls=[name])) == ["com.example/net@1.0"]
    with pytest.raises(RepositoryError, match="locks nothing of the repository"):
        locked.search(model_urls=["https://models.example.com/"])


def test_a_lock_asks_for_no_index(root: Path, tmp_path: Path, site: Site) -> None:
    write_index(root)
    for path in root.rglob("*"):
        if path.is_file():
            site.pages[f"/zoo/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    zoo(f"{site.url}zoo/").lock("net", path=tmp_path / "zoo.lock")
    site.requests.clear()
    site.pages = {path: page for path, page in site.pages.items() if not path.startswith("/zoo/index.json")}
    locked = zoo(f"{site.url}zoo/", lock=tmp_path / "zoo.lock", cache=tmp_path / "other")
    assert locked.download("net", progress=False).is_dir()
    assert [path.rpartition("/")[2] for path in site.paths] == ["net.params.bin"]
    assert locked.download("net", progress=False).is_dir()
    assert locked.sync(progress=False).models == ("com.example/net@1.0",)
    assert len(site.paths) == 1


def test_an_address_is_a_question_too(root: Path, tmp_path: Path, site: Site) -> None:
    (root / "model/cv/image_classification/com/example/other/metadata.json").unlink()
    write_index(root)
    for path in root.rglob("*"):
        if path.is_file():
            site.pages[f"/zoo/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    url = f"{site.url}zoo/"
    zoo().lock(url, path=tmp_path / "zoo.lock")
    ((question, pin),) = read_lock(tmp_path / "zoo.lock").entries
    assert (question.criteria, question.repositories, pin.repository) == (Criteria(), (url,), url)
    assert changes(zoo(), lock=tmp_path / "zoo.lock", upgrade=True) == ["com.example/net@1.0 kept"]


def test_other_bytes_in_the_same_place_are_refused(root: Path, lock: Path) -> None:
    place = root / "model/cv/image_classification/com/example/net/net.params.bin"
    place.write_bytes(b"something else")
    with pytest.raises(IntegrityError):
        zoo(root, lock=lock).download("net", progress=False)


def test_the_environment_names_a_lock_too_and_false_none(root: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_LOCK", str(lock))
    monkeypatch.setenv("ZOO_REPOSITORIES", root.as_uri())

    def found(**keywords: Any) -> list[str]:
        return references(ModelZoo(plugins=[], **keywords).search("net", group_id="com.example"))

    assert found() == ["com.example/net@1.0"]
    assert found(lock=False) == ["com.example/net@2.0", "com.example/net@1.0"]
    assert references(ModelZoo([root], config=False, plugins=[]).search("net"))[0] == "com.example/net@2.0"


def test_a_lock_in_the_working_directory_changes_nothing(root: Path) -> None:
    zoo(root).lock("other")
    assert Path("zoo.lock").is_file()
    assert references(zoo(root).search("net")) == ["com.example/net@1.0"]


def test_verbs_about_a_lock_need_one_and_locking_needs_none(root: Path, lock: Path, tmp_path: Path) -> None:
    for ask in (zoo(root).sync, lambda: zoo(root).mirror(tmp_path / "m")):
        with pytest.raises(CriteriaError, match="this zoo has no lock"):
            ask()
    with pytest.raises(CriteriaError, match="lock=False"):
        zoo(root, lock=lock).lock("net")


# what is kept and what is asked anew ----------------------------------------------------------------------------------


def changes(zoo: ModelZoo, *models: Any, lock: Path, **keywords: Any) -> list[str]:
    return [str(change) for change in zoo.lock(*models, path=lock, **keywords).changes]


def test_a_pin_stays_while_it_answers(root: Path, lock: Path) -> None:
    assert changes(zoo(root), "net", lock=lock) == ["com.example/net@1.0 kept"]
    assert changes(zoo(root), "com.example/net@>=1", lock=lock) == ["com.example/net@1.0 kept"]
    assert len(read_lock(lock).pins) == 1
    assert [question.criteria.version for question, _ in read_lock(lock).entries] == [None, ">=1"]


def test_what_no_pin_answers_is_added(root: Path, lock: Path) -> None:
    assert changes(zoo(root), "net@2.0", "other", lock=lock) == ["com.example/net@2.0 added", "com.example/other@1.0 added"]
    assert references(pin.record for pin in read_lock(lock).pins) == [
        "com.example/net@1.0", "com.example/net@2.0", "com.example/other@1.0",
    ]  # fmt: skip


def test_an_upgrade_of_a_model_leaves_the_others_as_they_are(root: Path, lock: Path) -> None:
    changes(zoo(root), "other", lock=lock)
    make.publish(root, make.document(make.artifact("1.0"), make.artifact("3.0"), artifact_id="other"))
    # However the model was asked for when it was locked.
    assert changes(zoo(root), "com.example/net", lock=lock, upgrade=True) == ["com.example/net 1.0 -> 2.0"]
    assert references(pin.record for pin in read_lock(lock).pins) == ["com.example/net@2.0", "com.example/other@1.0"]
    assert changes(zoo(root), lock=lock, upgrade=True) == ["com.example/net@2.0 kept", "com.example/other 1.0 -> 3.0"]


def test_a_question_that_somebody_edited_is_asked_anew(root: Path, lock: Path) -> None:
    content = json.loads(lock.read_text())
    content["models"][0]["asked"] = [{"artifact_id": "net", "version": ">=2"}]
    lock.write_text(json.dumps(content))
    assert changes(zoo(root), lock=lock) == ["com.example/net 1.0 -> 2.0"]


def test_other_files_under_the_same_version_are_told(root: Path, lock: Path) -> None:
    files = {"parameters": make.item("net.params.bin", b"others")}
    make.publish(root, make.document(make.artifact("1.0", files=files)), {"net.params.bin": b"others"})
    assert changes(zoo(root), lock=lock) == ["com.example/net@1.0 kept"]
    told = changes(zoo(root), lock=lock, upgrade=True)
    assert told == ["com.example/net@1.0 has other files or another document than before"]


def test_different_models_are_not_chosen_from(root: Path, tmp_path: Path) -> None:
    with pytest.raises(AmbiguousModelError):
        zoo(root).lock(path=tmp_path / "zoo.lock", application="cv")
    assert not (tmp_path / "zoo.lock").exists()


def test_a_record_is_a_question_by_its_ids(root: Path, tmp_path: Path) -> None:
    publish(root, "1.0", "2.0")
    record = zoo(root).search("net@1.0")[0]
    assert changes(zoo(root), record, lock=tmp_path / "zoo.lock") == ["com.example/net@1.0 added"]
    assert changes(zoo(root), lock=tmp_path / "zoo.lock", upgrade=True) == ["com.example/net@1.0 kept"]


@pytest.mark.parametrize(
    ("criteria", "line"),
    [
        (Criteria(artifact_id="net"), "zoo lock net -o zoo.lock"),
        (Criteria(artifact_id="net", group_id="com.example", version="1.0"), "zoo lock com.example/net@1.0 -o zoo.lock"),
        (Criteria(application="cv", engine="PyTorch"), "zoo lock --application cv --engine PyTorch -o zoo.lock"),
        (Criteria(group_id="a", version=">=1"), "zoo lock --group a --version '>=1' -o zoo.lock"),
        (Criteria(artifact_id="a b; rm"), "zoo lock 'a b; rm' -o zoo.lock"),
    ],
)
def test_the_command_that_locks_is_quoted_for_a_shell(criteria: Criteria, line: str) -> None:
    assert lock_line(criteria, Path("zoo.lock")) == line


# repositories of plugins, and what an address says --------------------------------------------------------------------


class Plugin(Repository):
    """What a plugin brings: an address that nothing else opens, and files that only it opens."""

    def __init__(self, url: str = "demo://x", base: str = "demo://x/") -> None:
        self.url, self._base = url, base

    def documents(self) -> Iterator[Metadata]:
        yield Metadata.from_json(json.dumps(make.document(make.artifact())).encode(), f"{self._base}metadata.json")

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        return io.BytesIO(make.WEIGHTS[offset:])

    def fingerprint(self) -> str:
        return "1"


@pytest.mark.parametrize(
    ("base", "why"), [("demo://x/", "no repository kind 'demo'"), ("https://models.invalid/x/", "offline mode forbids")]
)
def test_what_only_a_plugin_opens_is_fetched_by_it_under_a_lock_too(tmp_path: Path, base: str, why: str) -> None:
    zoo(Plugin(base=base)).lock("net", path=tmp_path / "zoo.lock")
    locked = zoo(Plugin(base=base), lock=tmp_path / "zoo.lock")
    assert locked.sync(progress=False).models == ("com.example/net@1.0",)
    with pytest.raises(RepositoryError, match=why):
        # Without the plugin the address means nothing.
        zoo(lock=tmp_path / "zoo.lock", cache=tmp_path / "other", offline=True).download("net")


@pytest.mark.parametrize(
    ("url", "base"), [("https://models.invalid/x/", "https://models.invalid/x/"), ("demo://x", "file:///srv/models/")]
)
def test_what_a_plugin_opens_under_an_address_of_another_kind_is_not_locked(tmp_path: Path, url: str, base: str) -> None:
    with pytest.raises(RepositoryError, match="cannot be locked: only the code of a plugin opens"):
        zoo(Plugin(url, base)).lock("net", path=tmp_path / "zoo.lock")
    assert not (tmp_path / "zoo.lock").exists()


@pytest.mark.parametrize("parameter", ["token=s3cret", "access-token=s3cret", "X-Amz-Signature=s3cret", "sig=s3cret"])
def test_an_address_with_a_secret_is_not_locked(tmp_path: Path, site: Site, parameter: str) -> None:
    site.pages[f"/net.safetensors?{parameter}"] = make.WEIGHTS
    url = f"{site.url}net.safetensors?{parameter}#sha256={make.sha256(make.WEIGHTS)}"
    for ask in (lambda: zoo().lock(url, path=tmp_path / "zoo.lock"), lambda: zoo(url).lock("net", path=tmp_path / "zoo.lock")):
        with pytest.raises(CriteriaError, match=r"a lock is given to others.*token_env") as refused:
            ask()
        assert "s3cret" not in str(refused.value)
    assert not (tmp_path / "zoo.lock").exists()
    assert site.paths == []


def test_what_is_forgotten_meanwhile_is_no_part_of_the_question(root: Path, tmp_path: Path) -> None:
    opened = zoo(root)
    fresh = opened._asked

    def asked(*arguments: Any) -> Any:
        question = fresh(*arguments)
        # As another thread does.
        opened.refresh()
        return question

    opened._asked = asked  # type: ignore[method-assign]
    opened.lock("net", path=tmp_path / "zoo.lock")
    assert [question.repositories for question, _ in read_lock(tmp_path / "zoo.lock").entries] == [()]


def test_of_two_locks_at_the_same_time_both_answers_are_kept(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "zoo.lock"
    models = [f"many{number}" for number in range(6)]
    for model in models:
        make.publish(root, make.document(make.artifact(), artifact_id=model))
    with ThreadPoolExecutor(len(models)) as threads:
        list(threads.map(lambda model: zoo(root).lock(model, path=path), models))
    assert sorted(pin.record.artifact_id for pin in read_lock(path).pins) == models
    assert sorted(entry.name for entry in tmp_path.iterdir() if "lock" in entry.name) == ["zoo.lock"]
