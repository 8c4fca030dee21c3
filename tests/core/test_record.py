"""ModelRecord: one artifact as a search finds it."""

from __future__ import annotations

import json
import pickle

from tests.records import parameters, record, source
from zoo_core import MRL, License, ModelRecord
from zoo_core.artifact import Artifact
from zoo_core.metadata import Metadata
from zoo_core.reference import parse


def test_it_gives_what_its_document_and_its_artifact_say() -> None:
    artifact = Artifact(version="1.0", name="small", engines=("PyTorch",), requires=("acme",), files=(parameters("a", size=3),))
    mrl = MRL(application="cv", group_id="com.example", artifact_id="net")
    metadata = Metadata(
        mrl=mrl, url="u", group_id="com.other", artifact_id="other", description="a net", licenses=(License(id="mit"),)
    )
    found = ModelRecord(metadata=metadata, artifact=artifact, source=source("acme"))
    assert (found.mrl, found.application, found.group_id, found.artifact_id) == (mrl, "cv", "com.example", "net")
    assert (found.version, found.name, found.description, found.engines) == ("1.0", "small", "a net", ("PyTorch",))
    assert (found.requires, found.licenses, found.size) == (("acme",), (License(id="mit"),), 3)
    assert (found.files, found.repository) == ((parameters("a", size=3),), "https://acme.example/")
    assert (found.cached, found.missing) == (False, ())


def test_its_reference_names_it_on_the_command_line() -> None:
    assert record(version="1.0").reference == "com.example/net@1.0"
    assert record(version=None).reference == "com.example/net"


def test_its_reference_and_its_mrl_are_models_that_mean_it() -> None:
    found = record("a/b", version="1.0")
    expected = {"group_id": "com.example", "artifact_id": "a/b"}
    assert parse(found.reference, {"com.example"}.__contains__).fields == {**expected, "version": "1.0"}
    assert parse(str(found.mrl), {"com.example"}.__contains__).fields == {
        **expected, "type": "model", "application": "cv/image_classification",
    }  # fmt: skip


def test_in_json_it_has_the_promised_keys() -> None:
    found = record(
        name="small", properties={"layers": "50"}, engines=("PyTorch",), requires=("acme",), missing=("acme",),
        files=(parameters("a", size=3),), source=source("acme"),
    )  # fmt: skip
    assert json.loads(json.dumps(found.to_dict("engine MXNet"))) == {
        "mrl": "model/cv/image_classification/com.example/net",
        "group_id": "com.example",
        "artifact_id": "net",
        "name": "small",
        "version": "1.0",
        "description": "",
        "application": "cv/image_classification",
        "engines": ["PyTorch"],
        "properties": {"layers": "50"},
        "requires": ["acme"],
        "licenses": [],
        "files": [{"key": "parameters", "name": "net.bin", "uri": "net.bin", "size": 3, "sha256": "a" * 64}],
        "size": 3,
        "repository": "https://acme.example/",
        "cached": False,
        "missing": ["acme"],
        "reason": "engine MXNet",
    }
    assert found.to_dict()["reason"] is None


def test_it_hashes_and_pickles() -> None:
    found = record(properties={"layers": "50"}, arguments={"classes": ["cat", "dog"]})
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(pickle.loads(pickle.dumps(found))) == hash(found)
