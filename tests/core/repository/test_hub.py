"""Models of the Hugging Face hub: its own library asks a server on this machine that speaks its protocol."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import hub as hubs
from tests import parameter_files
from tests import repositories as make
from tests.commands import Commands, Done
from tests.hub import COMMIT, Hub
from tests.installed import each_engine
from tests.web import Answer
from zoo_core import PackageNotInstalledError, RepositoryError
from zoo_core.indexing import write_index
from zoo_core.repository.hub import HubRepository
from zoo_core.transfer import Transfer

pytest.importorskip("huggingface_hub", reason="huggingface_hub reads the hub: pip install 'zoo-core[huggingface]'")

REPOSITORY = "hf://acme/net"
ASKED = "/api/models/acme/net?blobs=true"
FILES = f"/acme/net/resolve/{COMMIT}"
CONFIG = b'{"model_type": "tiny", "architectures": ["TinyNet"]}'
#: What the model computes: the sum and the difference of two values.
SUMS = parameter_files.safetensors(
    {"0.weight": parameter_files.entry("F32", [2, 2], 0, 16), "0.bias": parameter_files.entry("F32", [2], 16, 24)},
    parameter_files.floats(1, 1, 1, -1, 0, 0),
)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hubs.running() as running:
        yield running


@pytest.fixture
def zoo(hub: Hub, tmp_path: Path) -> Any:
    """A function that runs ``zoo`` in a process that knows the hub, and its user's token."""
    commands = Commands(tmp_path)

    def run(*arguments: str, **variables: str) -> Done:
        own = {**hub.environment, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "hf_secret", **variables}
        return commands.zoo(*arguments, "--repository", REPOSITORY, **own)

    return run


@pytest.fixture
def plain(hub: Hub) -> Hub:
    """A model as the hub's own libraries publish it."""
    files = {"README.md": b"# Net", "config.json": CONFIG, "model.safetensors": SUMS}
    hub.publish("acme/net", files, pipeline_tag="image-classification", library_name="tiny", cardData={"license": "mit"})
    return hub


def refused(done: Done) -> str:
    """The one line of an error."""
    assert done.status == 4, done.err
    assert "Traceback" not in done.err
    (line,) = done.errors
    return line


class TestAPlainModel:
    def test_it_is_one_artifact_at_the_commit_with_the_digests_of_the_hub(self, plain, zoo):
        found = zoo("search", "--json")
        assert found.status == 0, found.err
        (record,) = found.json["records"]
        assert record["mrl"] == "model/cv/image_classification/hf.acme/net"
        assert record["version"] == COMMIT
        assert record["properties"] == {"library": "tiny", "model_type": "tiny"}
        assert [licence["id"] for licence in record["licenses"]] == ["mit"]
        assert {item["name"]: (item["size"], item["sha256"]) for item in record["files"]} == {
            "model.safetensors": (len(SUMS), make.sha256(SUMS)),
            "config.json": (len(CONFIG), make.sha256(CONFIG)),
        }

    def test_it_is_listed_without_its_parameters_and_asked_again_only_for_its_commit(self, plain, zoo):
        assert zoo("search").status == 0
        assert plain.paths == [ASKED, f"{FILES}/config.json"]
        assert plain.network.requests == []
        plain.site.requests.clear()
        assert zoo("search", "--refresh").status == 0
        assert set(plain.paths) == {ASKED}
        plain.site.requests.clear()
        assert zoo("search").status == 0
        assert plain.paths == []

    def test_its_token_goes_to_the_hub_and_not_where_that_redirects(self, plain, zoo):
        done = zoo("download", "net")
        assert done.status == 0, done.err
        assert Path(done.out.strip(), "model.safetensors").read_bytes() == SUMS
        assert {headers.get("authorization") for _, headers in plain.site.requests} == {"Bearer hf_secret"}
        assert [headers.get("authorization") for _, headers in plain.network.requests] == [None]

    def test_what_was_listed_is_what_is_downloaded_though_the_branch_moved_on(self, plain, zoo):
        assert zoo("search").status == 0
        plain.publish("acme/net", {"model.safetensors": SUMS[::-1]}, commit="f" * 40)
        done = zoo("download", "net")
        assert Path(done.out.strip(), "model.safetensors").read_bytes() == SUMS

    def test_a_revision_is_asked_for(self, plain, hub, tmp_path):
        hub.publish("acme/net", {"model.safetensors": SUMS}, commit="e" * 40, revision="refs%2Fpr%2F1")
        own = {**hub.environment, "HF_HOME": str(tmp_path / "hf")}
        found = Commands(tmp_path).zoo("search", "--json", "--repository", f"{REPOSITORY}@refs/pr/1", **own)
        assert [record["version"] for record in found.json["records"]] == ["e" * 40]

    def test_parameters_in_several_files_come_with_their_index(self, hub, zoo):
        index = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})
        files = {
            "model.safetensors.index.json": index.encode(),
            "model-00001-of-00002.safetensors": b"first",
            "model-00002-of-00002.safetensors": b"second",
        }
        hub.publish("acme/net", files)
        found = zoo("search", "--json")
        assert {item["key"]: item["name"] for item in found.json["records"][0]["files"]} == {
            "parameters": "model.safetensors.index.json",
            "model-00001-of-00002.safetensors": "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors": "model-00002-of-00002.safetensors",
        }

    def test_a_small_file_that_is_not_what_git_says_is_refused(self, plain, zoo):
        plain.site.pages[f"{FILES}/config.json"] = CONFIG.replace(b"tiny", b"huge")
        done = zoo("search")
        assert done.status == 5
        assert "config.json: expected git:" in done.errors[0]

    def test_parameters_that_are_not_what_the_hub_says_are_refused(self, plain, zoo):
        (path,) = plain.network.pages
        plain.network.pages[path] = SUMS[::-1]
        done = zoo("download", "net")
        assert done.status == 5
        assert "wrong digest for parameters of hf.acme/net" in done.errors[0]

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ({"pytorch_model.bin": b"pickled"}, "no safetensors file"),
            ({"a.safetensors": b"a", "b.safetensors": b"b"}, "several safetensors files, and none is model.safetensors"),
        ],
        ids=["none", "several"],
    )
    def test_without_one_parameter_file_it_says_what_there_is(self, files, said, hub, zoo):
        hub.publish("acme/net", files)
        line = refused(zoo("search"))
        assert f"hf://acme/net: it holds neither a tree with model/.../metadata.json nor one model: {said}" in line


class TestATree:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> dict[str, bytes]:
        """The files of a repository of ours."""
        root = tmp_path / "published"
        make.publish(root, make.document(make.artifact()))
        make.publish(root, make.document(make.artifact(), artifact_id="other"))
        write_index(root)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def test_it_is_listed_by_its_index_and_its_files_are_those_of_the_commit(self, tree, hub, zoo):
        hub.publish("acme/net", tree)
        done = zoo("download", "com.example/other")
        assert done.status == 0, done.err
        assert Path(done.out.strip(), "net.params.bin").read_bytes() == make.WEIGHTS
        folder = "model/cv/image_classification/com/example/other"
        assert hub.paths == [ASKED, f"{FILES}/index.json.gz", f"{FILES}/{folder}/net.params.bin"]

    def test_an_index_that_is_not_what_git_says_is_refused(self, tree, hub, zoo):
        hub.publish("acme/net", tree)
        hub.site.pages[f"{FILES}/index.json.gz"] = tree["index.json.gz"][:-1] + b"x"
        done = zoo("search")
        assert done.status == 5
        assert "index.json.gz: expected git:" in done.errors[0]

    def test_an_index_that_is_packed_on_the_way_is_unpacked(self, tree, hub, zoo, tmp_path):
        files = {path: content for path, content in tree.items() if path != "index.json.gz"}
        files["index.json"] = gzip.decompress(tree["index.json.gz"])
        hub.publish("acme/net", files)
        packed = gzip.compress(files["index.json"])
        hub.site.pages[f"{FILES}/index.json"] = Answer(packed, headers={"Content-Encoding": "gzip"})
        found = zoo("search", "--json")
        assert sorted(record["artifact_id"] for record in found.json["records"]) == ["net", "other"]
        hub.site.pages[f"{FILES}/index.json"] = Answer(packed[:-9], headers={"Content-Encoding": "gzip"})
        assert "index.json is cut off" in refused(zoo("search", ZOO_HOME=str(tmp_path / "empty")))

    def test_a_large_index_is_never_in_memory_as_a_whole(self, tree, hub, monkeypatch):
        monkeypatch.setenv("HF_ENDPOINT", hub.environment["HF_ENDPOINT"])
        index = json.loads(gzip.decompress(tree["index.json.gz"]))
        (entry, *_) = index["documents"]
        large = {**entry["metadata"], "description": "x" * (1 << 20)}
        index["documents"] = [{**entry, "path": f"model/net-{number}/metadata.json", "metadata": large} for number in range(60)]
        content = json.dumps(index).encode()
        hub.publish("acme/net", {**{path: tree[path] for path in tree if "index" not in path}, "index.json": content})
        repository = HubRepository(REPOSITORY, transfer=Transfer())
        tracemalloc.start()
        try:
            with repository.listing() as listing:
                assert sum(len(item.read()) > 1 << 20 for item in listing.entries) == 60
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < len(content) // 2

    def test_without_an_index_its_documents_are_read_one_by_one(self, tree, hub, zoo):
        hub.publish("acme/net", {path: content for path, content in tree.items() if not path.startswith("index.json")})
        found = zoo("search", "--json")
        assert sorted(record["artifact_id"] for record in found.json["records"]) == ["net", "other"]
        assert sum(path.endswith("metadata.json") for path in hub.paths) == 2

    @pytest.mark.parametrize("engine", each_engine())
    def test_a_model_of_it_is_loaded(self, engine, hub, tmp_path):
        artifact = make.artifact(
            arguments={"blockFactory": "mlp", "inputs": 2, "hidden": [], "outputs": 2},
            engines=["PyTorch", "MXNet"],
            files={"parameters": make.item("sums.safetensors", SUMS)},
        )
        document = make.document(artifact, artifact_id="sums", application="tabular")
        folder = "model/tabular/com/example/sums"
        hub.publish("acme/net", {f"{folder}/metadata.json": json.dumps(document).encode(), f"{folder}/sums.safetensors": SUMS})
        code = """
import sys, zoo_core
with zoo_core.load_model("sums", model_urls=[sys.argv[1]], engine=sys.argv[2]) as model, model.new_predictor() as predictor:
    print(predictor.predict([[5.0, 3.0]]))
"""
        own = {**hub.environment, "HF_HOME": str(tmp_path / "hf")}
        done = Commands(tmp_path).run(code, REPOSITORY, engine, **own)
        assert done.status == 0, done.err
        assert "8." in done.out


class TestWhatGoesWrong:
    @pytest.mark.parametrize(
        ("status", "code", "said"),
        [
            (404, "RepoNotFound", "the hub has no such model, or none that may be read without the right HF_TOKEN"),
            (404, "RevisionNotFound", "there is no revision main"),
            (403, "GatedRepo", "its owner asks for consent: give it at http"),
            (500, "", "500"),
        ],
    )
    def test_what_the_hub_refuses_is_one_line(self, status, code, said, hub, zoo):
        hub.refuse("acme/net", status, code)
        done = zoo("search")
        line = refused(done)
        assert line.startswith("error: hf://acme/net: ")
        assert said in line
        assert "hf_secret" not in done.err

    def test_a_hub_in_trouble_is_asked_again(self, plain, zoo):
        good = plain.site.pages[ASKED]
        assert isinstance(good, Answer)
        for path in (ASKED, ASKED.replace("true", "True")):
            plain.site.pages[path] = [Answer(b"{}", 503), good]
        assert zoo("search").status == 0
        assert plain.paths[:2] == [ASKED, ASKED]

    def test_where_the_commit_is_known_it_is_asked_once(self, plain, zoo):
        assert zoo("search").status == 0
        for path in (ASKED, ASKED.replace("true", "True")):
            plain.site.pages[path] = Answer(b"{}", 503)
        del plain.site.requests[:]
        done = zoo("search", "--refresh")
        assert (done.status, done.err.count("using the index of")) == (0, 1)
        assert plain.paths == [ASKED]

    def test_a_hub_that_does_not_answer_is_one_line(self, zoo):
        assert refused(zoo("search", HF_ENDPOINT="http://127.0.0.1:9")).startswith("error: hf://acme/net: ")

    @pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE"])
    def test_offline_the_hub_is_not_asked(self, variable, plain, zoo):
        assert "offline: hf://acme/net is not on this machine" in refused(zoo("search", **{variable: "1"}))
        assert plain.site.requests == []

    @pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE"])
    def test_offline_what_was_downloaded_is_there(self, variable, plain, zoo):
        there = zoo("download", "net")
        plain.site.requests.clear()
        assert zoo("download", "net", **{variable: "1"}).out == there.out
        assert plain.site.requests == []

    @pytest.mark.parametrize(
        "url", ["hf://", "hf://acme/net/file", "hf://acme/net@", "hf://acme/../net", "hf://acme/a--b", "hf://acme/n t"]
    )
    def test_an_address_that_names_no_model_is_refused(self, url):
        with pytest.raises(RepositoryError, match="expected hf://owner/name or hf://owner/name@revision"):
            HubRepository(url, transfer=Transfer())

    def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it(self, monkeypatch):
        monkeypatch.setattr("zoo_core.repository.hub.importlib.util.find_spec", lambda _: None)
        with pytest.raises(PackageNotInstalledError, match=r'pip install "zoo-core\[huggingface\]"$'):
            HubRepository(REPOSITORY, transfer=Transfer())
