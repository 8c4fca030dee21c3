"""zoo.lock as a document: equal locks have equal bytes, and whatever a stranger writes into one ends in one clear error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from zoo_core import Criteria, CriteriaError, MetadataError, ModelZoo
from zoo_core.lockfile import MAX_MODELS, Lock, parse_lock, public_address, read_lock
from zoo_core.metadata import MAX_FILES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "zoo"
    make.publish(root, make.document(make.artifact("1.0"), make.artifact("2.0"), licenses={"mit": {"name": "MIT"}}))
    make.publish(root, make.document(make.artifact("1.0", properties={"b": "2", "a": "1"}), artifact_id="other"))
    return root


@pytest.fixture
def content(root: Path, tmp_path: Path) -> Any:
    """A lock of two models, as JSON."""
    zoo(root).lock("net", "other", path=tmp_path / "zoo.lock")
    return json.loads((tmp_path / "zoo.lock").read_text())


def zoo(root: Path) -> ModelZoo:
    return ModelZoo([root], config=False, plugins=[])


def file_of(content: Any) -> Any:
    return content["models"][0]["metadata"]["artifacts"][0]["files"]["parameters"]


# what a lock says -----------------------------------------------------------------------------------------------------


def test_a_lock_holds_the_question_and_all_that_fetching_the_answer_takes(content: Any, root: Path) -> None:
    net = content["models"][0]
    place = root / "model/cv/image_classification/com/example/net"
    assert content["lockVersion"] == 1
    assert net["asked"] == [{"artifact_id": "net"}]
    assert net["mrl"] == "model/cv/image_classification/com.example/net"
    assert net["repository"] == {"url": root.as_uri(), "distribution": ""}
    assert list(net["metadata"]["licenses"]) == ["mit"]
    assert [artifact["version"] for artifact in net["metadata"]["artifacts"]] == ["2.0"]
    assert file_of(content) == {
        "uri": (place / "net.params.bin").as_uri(), "name": "net.params.bin", "type": "file",
        "size": len(make.WEIGHTS), "sha256": make.sha256(make.WEIGHTS),
    }  # fmt: skip


def test_models_stand_in_the_order_in_which_they_were_asked(root: Path, tmp_path: Path) -> None:
    report = zoo(root).lock("other", "net", path=tmp_path / "other.lock")
    assert [pin.record.artifact_id for pin in report.lock.pins] == ["other", "net"]


def test_equal_locks_have_equal_bytes_and_what_is_read_is_what_was_written(root: Path, tmp_path: Path, content: Any) -> None:
    first, second = tmp_path / "zoo.lock", tmp_path / "again.lock"
    zoo(root).lock("net", "other", path=second)
    assert first.read_bytes() == second.read_bytes()
    lock = read_lock(first)
    assert lock.to_json() == first.read_bytes()
    assert lock.write() is False
    assert [question.criteria for question, _ in lock.entries] == [Criteria(artifact_id="net"), Criteria(artifact_id="other")]


def test_a_lock_is_written_whole_or_not_at_all(root: Path, tmp_path: Path, content: Any) -> None:
    before = (tmp_path / "zoo.lock").read_bytes()
    with pytest.raises(Exception, match="no model matches"):
        zoo(root).lock("net@1.0", "nothing", path=tmp_path / "zoo.lock")
    assert (tmp_path / "zoo.lock").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".partial")] == []


def test_a_lock_shows_no_character_that_a_terminal_obeys(root: Path, tmp_path: Path) -> None:
    make.publish(root, make.document(make.artifact("3.0"), description="\x1b[31m\u202eevil"))
    zoo(root).lock("net", path=tmp_path / "zoo.lock")
    text = (tmp_path / "zoo.lock").read_text()
    assert text.isascii()
    assert all(line.isprintable() for line in text.splitlines())
    assert read_lock(tmp_path / "zoo.lock").pins[0].metadata.description == "\x1b[31m\u202eevil"


def test_questions_of_every_kind_come_back(root: Path, tmp_path: Path) -> None:
    make.publish(root, make.document(make.artifact("1.0", properties={"layers": "50"}, engines=["Toy"]), artifact_id="deep"))
    asked: dict[str, Any] = {"application": "cv", "filters": {"layers": 50}, "version": ">=1", "engine": "toy"}
    zoo(root).lock(path=tmp_path / "zoo.lock", **asked)
    ((question, pin),) = read_lock(tmp_path / "zoo.lock").entries
    assert question.criteria == Criteria(**asked)
    assert pin.record.artifact_id == "deep"


def test_a_user_and_a_password_in_an_address_are_not_written(tmp_path: Path) -> None:
    assert public_address("https://anna:s3cret@models.example.com/zoo/a@b") == "https://models.example.com/zoo/a@b"


@pytest.mark.parametrize("url", ["az://container@account/zoo", "abfs://c@account.dfs.core.windows.net/zoo", "hf://net@main"])
def test_what_other_kinds_have_before_an_at_is_no_user(content: Any, tmp_path: Path, url: str) -> None:
    assert public_address(url) == url
    model(content)["repository"].update(url=url)
    assert parse_lock(json.dumps(content).encode(), tmp_path / "zoo.lock").pins[0].repository == url


# what a stranger may write --------------------------------------------------------------------------------------------


def model(content: Any) -> Any:
    return content["models"][0]


def document(content: Any) -> Any:
    return model(content)["metadata"]


DEEP = '{"lockVersion": 1, "models": ' + "[" * 100_000 + "]" * 100_000 + "}"

#: What is done to a good lock -> the field that the error names.
HOSTILE: dict[str, tuple[Any, str]] = {
    "later version": (lambda c: c.update(lockVersion=2), "$.lockVersion: expected 1, found 2"),
    "version that is true": (lambda c: c.update(lockVersion=True), "$.lockVersion"),
    "no version": (lambda c: c.pop("lockVersion"), "$.lockVersion"),
    "no models": (lambda c: c.pop("models"), "`models`"),
    "unknown field": (lambda c: c.update(trust_code=["sha256:" + "0" * 64]), "trust_code"),
    "unknown field of a model": (lambda c: model(c).update(is_configured=True), "is_configured"),
    "too many models": (lambda c: c.update(models=c["models"] * MAX_MODELS), "$.models: expected at most"),
    "mrl that leads out": (lambda c: model(c).update(mrl="model/cv/../.."), "$.models[0].m"),
    "mrl that is none": (lambda c: model(c).update(mrl="/etc/passwd"), "$.models[0].mrl"),
    "mrl with a control character": (lambda c: model(c).update(mrl="model/cv/\x1b[31m/net"), "$.models[0].mrl"),
    "endless mrl": (lambda c: model(c).update(mrl="model/" + "a/" * 5000 + "b"), "$.models[0].mrl"),
    "repository without an address": (lambda c: model(c)["repository"].update(url="net"), "$.models[0].repository.url"),
    "repository on another machine": (
        lambda c: model(c)["repository"].update(url="file://server/share"), "$.models[0].repository.url",
    ),
    "distribution that is an option": (
        lambda c: model(c)["repository"].update(distribution="--index-url=x"), "$.models[0].repository.distribution",
    ),
    "package that is a command": (lambda c: model(c).update(packages={"a; rm -rf /": "1"}), "$.models[0].packages"),
    "package version that is a command": (lambda c: model(c).update(packages={"a": "1 $(id)"}), "$.models[0].packages"),
    "package that is an address": (lambda c: model(c).update(packages={"https://e.vil/a.whl": None}), "$.models[0].packages"),
    "no artifact": (lambda c: document(c).update(artifacts=[]), "$.models[0].metadata.artifacts: expected one"),
    "two artifacts": (lambda c: document(c).update(artifacts=document(c)["artifacts"] * 2), "$.models[0].metadata.artifacts"),
    "no document": (lambda c: model(c).update(metadata=[]), "$.models[0].metadata"),
    "group that is missing": (lambda c: document(c).pop("groupId"), "$.models[0].metadata.groupId"),
    "file without a digest": (lambda c: file_of(c).pop("sha256"), "files.parameters.sha256: expected 64"),
    "digest that is short": (lambda c: file_of(c).update(sha256="ab" * 8), "files.parameters.sha256"),
    "size below nothing": (lambda c: file_of(c).update(size=-1), "files.parameters.size"),
    "name that leads out": (lambda c: file_of(c).update(name="../../.bashrc"), "files.parameters.name"),
    "name that is a device": (lambda c: file_of(c).update(name="NUL"), "files.parameters.name"),
    "relative address": (lambda c: file_of(c).update(uri="../../secret"), "files.parameters.uri: expected an absolute"),
    "address of a program": (lambda c: file_of(c).update(uri="javascript:alert(1)"), "files.parameters.uri"),
    "address of another kind": (lambda c: file_of(c).update(uri="ftp://example.com/x"), "files.parameters.uri"),
    "address with a control character": (lambda c: file_of(c).update(uri="https://a.example/\x1b[31m"), "files.parameters.uri"),
    "address with a line break": (lambda c: file_of(c).update(uri="https://a.example/\nx"), "files.parameters.uri"),
    "address with a password": (lambda c: file_of(c).update(uri="https://a:b@a.example/x"), "files.parameters.uri"),
    "address without a host": (lambda c: file_of(c).update(uri="https:///x"), "files.parameters.uri"),
    "address with half a bracket": (lambda c: file_of(c).update(uri="http://[/x"), "files.parameters.uri"),
    "mirror of another kind": (lambda c: file_of(c).update(mirrors=["gopher://example.com/"]), "files.parameters.mirrors"),
    "too many mirrors": (lambda c: file_of(c).update(mirrors=["https://a.example/x"] * 101), "files.parameters.mirrors"),
    "too many files": (
        lambda c: document(c)["artifacts"][0].update(files={f"f{n}": file_of(c) for n in range(MAX_FILES + 1)}),
        "$.models[0].metadata.artifacts[0].files: expected at most",
    ),
    "deep arguments": (
        lambda c: document(c)["artifacts"][0].update(arguments={"deep": json.loads("[" * 700 + "]" * 700)}),
        "$.models[0].metadata",
    ),
    "criterion that is none": (lambda c: model(c).update(asked=[{"trust_programs": True}]), "$.models[0].asked[0]"),
    "criterion that is a list": (lambda c: model(c).update(asked=[{"artifact_id": ["net"]}]), "$.models[0].asked[0]"),
    "version range that is none": (lambda c: model(c).update(asked=[{"version": "[1"}]), "$.models[0].asked[0]"),
    "repositories that are a text": (lambda c: model(c).update(asked=[{"repositories": "abc"}]), "asked[0].repositories"),
    "repository whose scheme is in capitals": (
        lambda c: model(c).update(asked=[{"repositories": ["FILE:///etc"]}]), "asked[0].repositories",
    ),
    "repository behind a blank": (
        lambda c: model(c).update(asked=[{"repositories": [" file:///etc"]}]), "asked[0].repositories",
    ),
    "repository that a drive names": (
        lambda c: model(c).update(asked=[{"repositories": ["c://../../etc"]}]), "asked[0].repositories",
    ),
    "store with a password": (
        lambda c: model(c)["repository"].update(url="s3://a:b@bucket/zoo"), "$.models[0].repository.url",
    ),
    "repository by a path": (lambda c: model(c).update(asked=[{"repositories": ["/etc"]}]), "asked[0].repositories"),
    "too many questions": (lambda c: model(c).update(asked=[{}] * 101), "$.models[0].asked: expected at most"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_lock_is_refused_with_file_and_field(content: Any, tmp_path: Path, name: str) -> None:
    change, field = HOSTILE[name]
    change(content)
    path = tmp_path / "evil.lock"
    path.write_text(json.dumps(content))
    with pytest.raises(MetadataError) as refused:
        ModelZoo(config=False, lock=path, plugins=[]).search()
    message = str(refused.value)
    assert message.startswith(f"{path}: $")
    assert field in message
    assert message.isprintable()
    assert len(message) < 1000
    assert refused.value.exit_code == 5


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", '{"lockVersion": 1', "\xff\xfe", DEEP, '{"lockVersion": 1, "models": [1]}', '{"lockVersion": "1"}'],
    ids=["empty", "null", "list", "brace", "cut", "latin-1", "deep", "number", "text version"],
)
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "evil.lock"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(MetadataError, match=r"evil\.lock: \$"):
        read_lock(path)


def test_a_lock_without_end_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.lock"
    with path.open("wb") as stream:
        stream.truncate(33 << 20)
    with pytest.raises(MetadataError, match="at most"):
        read_lock(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.lock")
    with pytest.raises(CriteriaError, match="does not exist"):
        read_lock(tmp_path / "pipe.lock")


def test_a_lock_that_is_missing_is_named_with_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(CriteriaError, match=r"nowhere\.lock does not exist; `zoo lock MODEL"):
        ModelZoo(config=False, lock=tmp_path / "nowhere.lock").search()


def test_an_empty_lock_holds_nothing(tmp_path: Path) -> None:
    lock = parse_lock(b'{"lockVersion": 1, "models": []}', tmp_path / "zoo.lock")
    assert lock == Lock(path=tmp_path / "zoo.lock")
