"""From a bucket to a prediction, by the command in a process of its own, against a real server of the S3 protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import parameter_files, s3
from tests import repositories as make
from tests.installed import ENGINES, each_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.commands import Commands

pytest.importorskip("fsspec", reason="fsspec reaches object stores: pip install 'zoo-core[fsspec]'")

#: What the model computes: the sum and the difference of two values.
WEIGHTS = parameter_files.safetensors(
    {"0.weight": parameter_files.entry("F32", [2, 2], 0, 16), "0.bias": parameter_files.entry("F32", [2], 16, 24)},
    parameter_files.floats(1, 1, 1, -1, 0, 0),
)
FILE = "zoo/model/tabular/com/example/sums/sums.safetensors"
REPOSITORY = "s3://models/zoo"
LOAD = """
import sys, zoo_core
with zoo_core.load_model("sums", model_urls=[sys.argv[1]], engine=sys.argv[2]) as model:
    with model.new_predictor() as predictor:
        print(predictor.predict([[5.0, 3.0]]))
"""


@pytest.fixture(scope="module")
def served() -> Iterator[s3.Bucket]:
    with s3.serving() as bucket:
        yield bucket


@pytest.fixture
def bucket(served: s3.Bucket, commands: Commands) -> s3.Bucket:
    """A bucket into which a folder was copied that ``zoo index`` had completed."""
    root = commands.folder / "repository"
    artifact = make.artifact(
        arguments={"blockFactory": "mlp", "inputs": 2, "hidden": [], "outputs": 2},
        engines=list(ENGINES),
        files={"parameters": {"uri": "sums.safetensors"}},
    )
    make.publish(root, make.document(artifact, artifact_id="sums", application="tabular"), {"sums.safetensors": WEIGHTS})
    indexed = commands.zoo("index", root)
    assert indexed.status == 0, indexed.err
    served.empty()
    served.upload(root, "zoo/")
    served.requests.clear()
    return served


def test_a_bucket_is_searched_downloaded_and_then_needed_no_more(bucket: s3.Bucket, commands: Commands) -> None:
    found = commands.zoo("search", "--repository", REPOSITORY, "--json", **bucket.environment)
    assert found.status == 0, found.err
    assert [(record["artifact_id"], record["size"]) for record in found.json["records"]] == [("sums", len(WEIGHTS))]
    downloaded = commands.zoo("download", "sums", "--repository", REPOSITORY, **bucket.environment)
    assert downloaded.status == 0, downloaded.err
    bucket.requests.clear()
    again = commands.without_network().zoo("download", "sums", "--repository", REPOSITORY, **bucket.environment)
    assert (again.status, again.out) == (0, downloaded.out)
    assert bucket.requests == []


@pytest.mark.parametrize("engine", each_engine())
def test_a_model_of_a_bucket_is_loaded(engine: str, bucket: s3.Bucket, commands: Commands) -> None:
    loaded = commands.run(LOAD, REPOSITORY, engine, **bucket.environment)
    assert loaded.status == 0, loaded.err
    assert "8." in loaded.out
    assert "2." in loaded.out


def test_bytes_that_were_changed_in_the_bucket_are_refused(bucket: s3.Bucket, commands: Commands) -> None:
    bucket.put(FILE, WEIGHTS[::-1])
    refused = commands.zoo("download", "sums", "--repository", REPOSITORY, **bucket.environment)
    assert refused.status == 5
    assert [line.partition(": expected")[0] for line in refused.errors] == [
        "error: wrong digest for parameters of com.example/sums@1.0"
    ]


@pytest.mark.parametrize(
    ("repository", "variables", "said"),
    [
        ("s3://absent/zoo", {}, "The specified bucket does not exist"),
        ("s3://models/absent", {}, "s3://models/absent: there is nothing"),
        (REPOSITORY, {"AWS_SECRET_ACCESS_KEY": "", "AWS_ACCESS_KEY_ID": ""}, "FSSPEC_S3_ANON=true"),
        (REPOSITORY, {"ZOO_OFFLINE": "1"}, "offline: s3://models/zoo is not on this machine"),
    ],
    ids=["no bucket", "no prefix", "no credentials", "offline"],
)
def test_a_bucket_that_cannot_be_read_is_one_clear_error(
    repository: str, variables: dict[str, str], said: str, bucket: s3.Bucket, commands: Commands
) -> None:
    done = commands.zoo("search", "--repository", repository, **{**bucket.environment, **variables})
    assert done.status == 4
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert "Traceback" not in done.err
    assert s3.CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in done.err


def test_a_public_bucket_is_read_by_nobody_in_particular(bucket: s3.Bucket, commands: Commands) -> None:
    nobody = {**bucket.environment, "AWS_SECRET_ACCESS_KEY": "", "AWS_ACCESS_KEY_ID": "", "FSSPEC_S3_ANON": "true"}
    found = commands.zoo("search", "--repository", REPOSITORY, **nobody)
    assert found.status == 0, found.err
    assert not any(asked.is_signed for asked in bucket.requests)
