"""A repository gives the same answers whether its documents are in memory or in a file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import repositories as make
from zoo_core import Criteria, ModelRecord, ModelZoo, Repository
from zoo_core.artifact import ArtifactFile
from zoo_core.free_text import searchable
from zoo_core.index import building, terms
from zoo_core.metadata import Metadata

GROUPS = ("com.example", "org.other", "com")
IDS = ("net", "resnet", "ResNet-50", "distilbert", "a/b", "n\u00e4t", "\u0130x", "\u4e2d\u6587\u5b57")
APPLICATIONS = ("cv/image_classification", "cv/object_detection", "image_classification", "nlp/fill_mask", "own/task", "")
WORDS = (
    "bert",
    "BERT",
    "net",
    "im",
    "layers=50",
    "cv",
    "\u4e2d\u6587\u5b57",
    '"',
    "a'b",
    "resnet-50",
    "AND",
    "*",
    "\u03a3\u03a3\u03a3",
    "\u0130x",
    "\0bert",
)


@st.composite
def artifacts(draw: st.DrawFn) -> dict[str, Any]:
    keys = {
        "layers": st.sampled_from(["18", "50", 50]),
        "dataset": st.sampled_from(["imagenet", "\u03a3\u03a3\u03a3 coco", 'x"y']),
    }
    return make.artifact(
        draw(st.sampled_from(["1.0", "1.0.0", "2.0", None])),
        name=draw(st.sampled_from(["", "small", "BERT"])),
        properties=draw(st.fixed_dictionaries({}, optional=keys)),
        arguments=draw(st.sampled_from([{}, {"inputType": "Image"}, {"output_type": "text"}])),
        engines=draw(st.sampled_from([[], ["PyTorch"], ["MXNet", "PyTorch"]])),
    )


@st.composite
def documents(draw: st.DrawFn) -> Metadata:
    """One document, whose folder may say other ids than it does."""
    group, name = draw(st.sampled_from(GROUPS)), draw(st.sampled_from(IDS))
    application = draw(st.sampled_from(APPLICATIONS))
    content = make.document(
        *draw(st.lists(artifacts(), max_size=3)),
        group_id=draw(st.sampled_from([group, "com.inside"])),
        artifact_id=draw(st.sampled_from([name, "inside"])),
        application=draw(st.sampled_from([application, "nlp"])),
        description=draw(
            st.sampled_from(["", "Trained on ImageNet", "DistilBERT, a'b", "x\0y \ud800".encode("utf-8", "ignore").decode()])
        ),
    )
    kind = draw(st.sampled_from(["model", "model", "model", "dataset"]))
    parts = [kind, *filter(None, application.split("/")), *group.split("."), *name.split("/"), "metadata.json"]
    return Metadata.from_json(json.dumps(content).encode(), "https://models.example/metadata.json", path="/".join(parts))


class Few(Repository):
    def __init__(self, name: str, given: Iterable[Metadata], *, is_remote: bool) -> None:
        self.url, self.given, self.is_remote = f"acme://{name}", list(given), is_remote

    def documents(self) -> Iterable[Metadata]:
        return self.given

    def open(self, file: ArtifactFile, offset: int = 0) -> Any:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return "1"


def optional(values: Iterable[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, None, *values])


criteria = st.fixed_dictionaries(
    {},
    optional={
        "application": st.sampled_from(["cv", "cv/image_classification", "nlp", "undefined"]),
        "engine": st.sampled_from(["PyTorch", "mxnet"]),
        "group_id": st.sampled_from([*GROUPS, "com.inside"]),
        "artifact_id": st.sampled_from([*IDS, "inside", "resnt"]),
        "version": st.sampled_from(["1.0", ">=1,<2"]),
        "artifact_name": st.sampled_from(["", "small"]),
        "filters": st.sampled_from([{"layers": 50}, {"layers": 50, "dataset": 'x"y'}, {"layer": 50}]),
        "input_type": st.sampled_from(["image", "text"]),
        "output_type": st.sampled_from(["text", "Classifications"]),
        "type": st.just("dataset"),
    },
)


def seen(records: Iterable[ModelRecord]) -> list[tuple[Any, ...]]:
    return [(str(record.mrl), record.version, record.name, record.position, record.source.name, record) for record in records]


@pytest.mark.parametrize("nearby", [200, 2])
@settings(max_examples=25, deadline=None)
@given(
    held=st.lists(st.lists(documents(), max_size=6), min_size=1, max_size=2),
    asked=st.lists(criteria, min_size=1, max_size=4),
    words=st.lists(st.sampled_from(WORDS), max_size=2),
)
def test_every_question_has_the_same_answer(
    nearby: int, held: list[list[Metadata]], asked: list[dict[str, Any]], words: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("zoo_core.holdings.NEARBY", nearby)

        def zoo(*, is_remote: bool) -> ModelZoo:
            repositories = [Few(str(number), given, is_remote=is_remote) for number, given in enumerate(held)]
            return ModelZoo(repositories, cache=Path(folder, str(is_remote)), config=False, plugins=[])

        # The second time the file is found, not made.
        for memory, file in [(zoo(is_remote=False), zoo(is_remote=True)) for _ in range(2)]:
            for fields in asked:
                assert seen(file.search(**fields)) == seen(memory.search(**fields))
                text = " ".join(words)
                assert seen(file.search(text=text, **fields)) == seen(memory.search(text=text, **fields))
                whole, near = memory.explain(**fields), file.explain(**fields)
                assert seen(near.accepted) == seen(whole.accepted)
                # Each refusal that is given is the same, and each that is not is counted.
                reasons = [(id_of(item.record), item.field) for item in whole.refused]
                assert {(id_of(item.record), item.field) for item in near.refused} <= set(reasons)
                assert len(near.refused) + near.unseen == len(reasons)
                assert near.unseen == 0 or nearby == 2


def id_of(record: ModelRecord) -> tuple[Any, ...]:
    return (str(record.mrl), record.version, record.name, record.position, record.source.name)


@settings(deadline=None)
@given(st.lists(documents(), min_size=1, max_size=1), criteria)
def test_a_document_that_answers_has_every_term_of_the_question(held: list[Metadata], fields: dict[str, Any]) -> None:
    zoo = ModelZoo([Few("only", held, is_remote=False)], config=False, plugins=[])
    if zoo.search(**fields):
        found = terms.terms_of(held[0])
        assert all(found & set(group) for group in terms.asked(Criteria(**fields)))


@settings(deadline=None)
@given(st.text(), st.text(), st.data())
def test_a_text_has_all_trigrams_of_every_part_of_it(description: str, name: str, data: st.DataObject) -> None:
    document = make.document(make.artifact(properties={"name": name}), description=description)
    metadata = Metadata.from_json(json.dumps(document).encode(), "https://models.example/metadata.json")
    text = searchable(metadata, metadata.artifacts)
    start = data.draw(st.integers(0, len(text)))
    part = text[start : data.draw(st.integers(start, len(text)))].split()
    indexed = terms.text_of(metadata)
    assert all(gram in indexed for gram in terms.grams(part))


@pytest.mark.parametrize(
    "words", ['"', '""" OR', "NEAR(a b)", "text:net", "(net", "-net", "net*", "\0", "\ud800abc", "a" * 10_000, "{}"]
)
def test_whatever_is_asked_is_text_and_no_question_to_sqlite(words: str, tmp_path: Path) -> None:
    content = make.document(make.artifact(), description=f"what is {words} here".encode("utf-8", "ignore").decode())
    given_ = [Metadata.from_json(json.dumps(content).encode(), "https://models.example/metadata.json")]
    zoo, memory = (
        ModelZoo([Few("one", given_, is_remote=is_remote)], cache=tmp_path, config=False, plugins=[])
        for is_remote in (True, False)
    )
    assert len(zoo.search(text=words)) == len(memory.search(text=words))
    assert zoo.search(artifact_id=words) == zoo.explain(artifact_id=words).accepted == []


def test_without_fts5_everything_is_read_for_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "TEXT_TABLES", "CREATE VIRTUAL TABLE {name} USING no_such_module(text)")
    held = [
        Metadata.from_json(
            json.dumps(make.document(make.artifact(), artifact_id=name)).encode(), f"https://models.example/{name}"
        )
        for name in ("distilbert", "resnet")
    ]
    for _ in range(2):
        zoo = ModelZoo([Few("one", held, is_remote=True)], cache=tmp_path, config=False, plugins=[])
        assert [record.artifact_id for record in zoo.search(text="bert")] == ["distilbert"]
        assert zoo.explain("resnt").refused[0].record.artifact_id == "resnet"


def test_better_hits_come_first_whatever_repository_they_are_in(tmp_path: Path) -> None:
    def one(artifact_id: str, **fields: Any) -> Metadata:
        artifact = make.artifact(properties=fields.pop("properties", {}))
        content = make.document(artifact, artifact_id=artifact_id, group_id="org.acme", **fields)
        return Metadata.from_json(json.dumps(content).encode(), f"https://models.example/{artifact_id}/metadata.json")

    file = [
        one("described", description="as good as bert"),
        one("with-properties", properties={"base": "bert"}),
        one("distilbert"),
        one("bert"),
    ]
    memory = [one("albert"), one("bert-large"), one("tiny", name="Small Bert")]
    repositories = [Few("file", file, is_remote=True), Few("memory", memory, is_remote=False)]
    found = ModelZoo(repositories, cache=tmp_path, config=False, plugins=[]).search(text="BERT", group_id="org.acme")
    names = [record.artifact_id for record in found]
    # What belongs to another repository's group is not shown at all.
    assert names == ["bert", "distilbert", "with-properties", "described"]
    named = ModelZoo([], cache=tmp_path, config=False, plugins=[])
    found = [record.artifact_id for record in named.search(text="BERT", model_urls=repositories)]
    assert found == ["bert", "bert-large", "tiny", "distilbert", "albert", "with-properties", "described"]
