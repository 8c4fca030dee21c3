"""MRL, Artifact, ArtifactFile, License: the answer to a question."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_core import MRL, Artifact, ArtifactFile, License

ID = st.text(min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("mrl", "text"),
    [
        (
            MRL(application="cv/image_classification", group_id="zoo.pytorch", artifact_id="resnet_v1"),
            "model/cv/image_classification/zoo.pytorch/resnet_v1",
        ),
        (MRL(group_id="com.example", artifact_id="net"), "model/com.example/net"),
        (MRL(type="dataset", application="nlp", group_id="org.example", artifact_id="haiku"), "dataset/nlp/org.example/haiku"),
        (MRL(application="cv", group_id="g", artifact_id="a/b c@1"), "model/cv/g/a%2Fb%20c%401"),
        (MRL(application="cv", group_id="é", artifact_id="100%"), "model/cv/%C3%A9/100%25"),
    ],
    ids=["application", "no application", "data set", "reserved characters", "percent and unicode"],
)
def test_an_mrl_is_written_with_percent_encoded_ids_and_read_back(mrl: MRL, text: str) -> None:
    assert str(mrl) == text
    assert MRL.parse(text) == mrl


@given(kind=st.sampled_from(["model", "dataset"]), application=st.lists(ID, max_size=3), group=ID, artifact=ID)
def test_whatever_the_ids_hold_an_mrl_is_read_back(kind: str, application: list[str], group: str, artifact: str) -> None:
    folders = [part.replace("/", "_") for part in application]
    mrl = MRL(type=kind, application="/".join(folders), group_id=group, artifact_id=artifact)
    assert MRL.parse(str(mrl)) == mrl


@pytest.mark.parametrize("text", ["", "model", "model/a", "cv/g/a", "model//g/a", "model/g/", "/model/g/a", "Model/g/a"])
def test_other_text_is_no_mrl(text: str) -> None:
    assert MRL.parse(text) is None


def test_mrls_compare_hash_sort_and_pickle_by_their_fields() -> None:
    first, second = (MRL(application="cv", group_id="g", artifact_id=name) for name in "ab")
    assert sorted([second, first]) == [first, second]
    assert {first: 1}[MRL(application="cv", group_id="g", artifact_id="a")] == 1
    assert pickle.loads(pickle.dumps(first)) == first


def file(key: str, size: int | None = 1) -> ArtifactFile:
    return ArtifactFile(key=key, name=f"{key}.bin", uri=f"{key}.bin", url=f"https://models.example/{key}.bin", size=size)


def test_an_artifact_is_as_large_as_its_files_together() -> None:
    assert Artifact(files=(file("parameters", 100), file("synset", 23))).size == 123
    assert Artifact().size == 0


def test_the_size_of_an_artifact_is_unknown_if_one_file_does_not_tell() -> None:
    assert Artifact(files=(file("parameters", 100), file("synset", None))).size is None


def test_a_file_is_found_by_the_first_of_several_keys_that_it_has() -> None:
    artifact = Artifact(files=(file("model"), file("parameters"), file("synset")))
    assert artifact.file("parameters", "model") == file("parameters")
    assert artifact.file("code", "model") == file("model")
    assert artifact.file("code") is None


def test_a_file_in_json_has_the_five_promised_keys() -> None:
    found = ArtifactFile(key="parameters", name="net.bin", uri="1.0/net.bin", url="file:///r/1.0/net.bin", size=3, sha256="ab")
    assert found.to_dict() == {"key": "parameters", "name": "net.bin", "uri": "1.0/net.bin", "size": 3, "sha256": "ab"}


def test_a_licence_in_json_has_id_name_and_url() -> None:
    assert License(id="mit", name="MIT").to_dict() == {"id": "mit", "name": "MIT", "url": ""}


@pytest.mark.parametrize("thing", [MRL(group_id="g", artifact_id="a"), file("model"), Artifact(), License(id="mit")])
def test_an_answer_cannot_be_changed(thing: object) -> None:
    with pytest.raises(AttributeError):
        thing.type = thing.version = thing.id = "other"  # type: ignore[attr-defined]
    assert hash(thing) == hash(pickle.loads(pickle.dumps(thing)))


def test_an_archive_without_a_name_is_called_by_its_address() -> None:
    found = ArtifactFile(key="model", name="", uri="../a/my%20net.zip?x=1", url="https://models.example/net.zip", type="dir")
    assert (found.title, file("net").title) == ("my net.zip", "net.bin")
