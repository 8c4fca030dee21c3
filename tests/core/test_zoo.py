"""ModelZoo: the verbs, on explicit repositories."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import parameter_files
from tests import repositories as make
from tests.core import toy_engine, toys
from tests.web import Site
from zoo_core import (
    AmbiguousModelError,
    Criteria,
    CriteriaError,
    EngineNotInstalledError,
    IntegrityError,
    ModelNotFoundError,
    ModelZoo,
    OfflineError,
    PackageNotInstalledError,
    PluginError,
    RepositoryError,
    ZooWarning,
    hookimpl,
)
from zoo_core.indexing import write_index


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository: net in three versions, and another model for an engine that nobody has."""
    root = tmp_path / "zoo"
    arguments = {"properties": {"layers": "50", "dataset": "shapes"}, "engines": ["Toy"]}
    net = make.document(
        make.artifact("1.0", **arguments), make.artifact("2.0", **arguments), make.artifact("2.1a1", **arguments),
        description="A very small network", licenses={"mit": {"name": "MIT"}},
    )  # fmt: skip
    make.publish(root, net)
    make.publish(root, make.document(make.artifact(engines=["Future"]), artifact_id="other", application="nlp/fill_mask"))
    return root


@pytest.fixture
def zoo(root: Path) -> ModelZoo:
    return ModelZoo([root], config=False, plugins=[])


@pytest.fixture
def toy(install: Callable[..., Path]) -> None:
    """An engine, installed as a plugin."""
    install("zoo-toy-engine", entry_points=toy_engine.ENTRY_POINTS)


def references(records: Any) -> list[str]:
    return [record.reference for record in records]


# search --------------------------------------------------------------------------------------------------------------


def test_a_search_for_anything_lists_every_artifact_in_order(zoo: ModelZoo) -> None:
    assert references(zoo.search()) == [
        "com.example/net@2.0", "com.example/net@1.0", "com.example/net@2.1a1", "com.example/other@1.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "question",
    [
        lambda zoo: zoo.search(Criteria(artifact_id="net", version="1.0")),
        lambda zoo: zoo.search(artifact_id="net", version="1.0"),
        lambda zoo: zoo.search(Criteria(artifact_id="other"), artifact_id="net", version="1.0"),
        lambda zoo: zoo.search("net@1.0"),
        lambda zoo: zoo.search("com.example/net", version="1.0"),
        lambda zoo: zoo.search("model/cv/image_classification/com.example/net@1.0"),
        lambda zoo: zoo.search("zoo://com.example/net/1.0?layers=50"),
    ],
    ids=["criteria", "keywords", "both", "text", "text and keyword", "mrl", "address"],
)
def test_a_question_is_criteria_keywords_or_text(zoo: ModelZoo, question: Callable[[ModelZoo], Any]) -> None:
    assert references(question(zoo)) == ["com.example/net@1.0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("small", 3),
        ("SMALL network", 3),
        ("layers=50", 3),
        ("small layers=18", 0),
        ("fill_mask", 1),
        ("com.example", 4),
        ("", 4),
    ],
)
def test_words_must_all_occur_somewhere(zoo: ModelZoo, text: str, expected: int) -> None:
    assert len(zoo.search(text=text)) == expected


def test_a_search_reads_nothing_but_documents(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in root.rglob("*.bin"):
        path.unlink()
    assert len(ModelZoo([root], config=False).search()) == 4
    assert not Path(os.environ["ZOO_HOME"]).exists()


def test_a_record_says_what_is_here_and_what_is_missing(zoo: ModelZoo) -> None:
    record = zoo.search("other")[0]
    assert (record.cached, record.missing) == (True, ("zoo-future",))


def test_what_a_model_requires_is_missing_until_it_is_installed(root: Path, install: Callable[..., Path]) -> None:
    make.publish(root, make.document(make.artifact(requires=["acme-nets>=2"]), artifact_id="needy"))
    assert ModelZoo([root], config=False).search("needy")[0].missing == ("acme-nets>=2",)
    install("acme-nets", "2.0")
    assert ModelZoo([root], config=False).search("needy")[0].missing == ()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda zoo: zoo.search(artifact="net"), TypeError, "unknown keyword 'artifact' .did you mean artifact_id"),
        (lambda zoo: zoo.search(5), TypeError, "expected Criteria, a ModelRecord or text, not int"),
        (lambda zoo: zoo.search("./net"), CriteriaError, r"'\./net' is a path: give it as model_path='\./net'"),
        (lambda zoo: zoo.search("net.safetensors"), CriteriaError, "is a path"),
        (lambda zoo: zoo.search(zoo.search("other")[0], version="2"), CriteriaError, "a record is one artifact already"),
        (lambda zoo: zoo.load_model("net", model_path="x.pt"), CriteriaError, "model_path= names one file"),
        (lambda zoo: zoo.load_model(model_path="x.pt", version="1"), CriteriaError, "model_path= names one file"),
        (lambda zoo: zoo.load_model("net", devise="cpu"), TypeError, "unknown keyword 'devise'"),
    ],
    ids=["keyword", "number", "path", "suffix", "record", "both", "path and field", "how"],
)
def test_a_wrong_question_is_an_error(
    zoo: ModelZoo, call: Callable[[ModelZoo], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(zoo)


def test_a_file_in_the_working_directory_is_never_looked_at(zoo: ModelZoo) -> None:
    Path("net").write_bytes(b"something else")
    assert references(zoo.search("net@1.0")) == ["com.example/net@1.0"]


# repositories --------------------------------------------------------------------------------------------------------


def test_the_repositories_given_are_the_only_ones(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.publish(tmp_path / "second", make.document(make.artifact(), artifact_id="second"))
    monkeypatch.setenv("ZOO_REPOSITORIES", str(tmp_path / "second"))
    assert "com.example/second@1.0" not in references(ModelZoo([root]).search())
    assert references(ModelZoo([]).search()) == []


@pytest.mark.parametrize("kind", ["path", "text", "address", "relative", "object"])
def test_a_repository_is_a_folder_an_address_or_an_object(root: Path, kind: str) -> None:
    given = {
        "path": root,
        "text": str(root),
        "address": root.as_uri(),
        "relative": os.path.relpath(root),
        "object": ModelZoo([], config=False).open_repository(root),
    }[kind]
    zoo = ModelZoo([given], config=False)
    assert len(zoo.search()) == 4
    assert zoo.download("net").is_dir()


def test_one_repository_alone_is_a_mistake(root: Path) -> None:
    with pytest.raises(TypeError, match="expected a list of URLs, folders or Repository objects"):
        ModelZoo(str(root))


def test_a_call_may_ask_other_repositories_alone(zoo: ModelZoo, tmp_path: Path) -> None:
    make.publish(tmp_path / "second", make.document(make.artifact("9.0")))
    assert references(zoo.search(model_urls=[tmp_path / "second"])) == ["com.example/net@9.0"]
    assert references(zoo.search(model_urls=str(tmp_path / "second"))) == ["com.example/net@9.0"]
    assert references(zoo.search((tmp_path / "second").as_uri())) == ["com.example/net@9.0"]
    assert "com.example/net@9.0" not in references(zoo.search())


def test_the_first_repository_owns_its_groups(root: Path, tmp_path: Path) -> None:
    """A higher version number in an added repository replaces nothing."""
    make.publish(tmp_path / "second", make.document(make.artifact("9.0", engines=["Toy"])))
    zoo = ModelZoo([root, tmp_path / "second"], config=False)
    assert "com.example/net@9.0" not in references(zoo.search("net"))
    (refusal,) = (item for item in zoo.explain("net").refused if item.record.version == "9.0")
    assert str(refusal) == f"group com.example belongs to {root}; to choose this one: --repository {tmp_path / 'second'}"


def test_a_repository_that_cannot_be_read_is_a_message_and_hides_no_other(root: Path, tmp_path: Path) -> None:
    make.publish(root, make.document(artifact_id="broken", artifacts=3))
    zoo = ModelZoo([tmp_path / "nowhere", root], config=False)
    assert len(zoo.search()) == 4
    first, second = zoo.messages()
    assert first.startswith(f"repository {tmp_path / 'nowhere'} could not be read: ")
    assert "broken/metadata.json: $.artifacts" in second
    assert zoo.explain("net").messages == [first, second]


def test_a_choice_made_without_a_repository_that_could_not_be_read_is_a_warning(root: Path, tmp_path: Path) -> None:
    with pytest.warns(ZooWarning, match="repository .*nowhere could not be read"):
        ModelZoo([tmp_path / "nowhere", root], config=False).download("net")


@pytest.mark.parametrize("url", ["gopher://models.example/", "nowhere"])
def test_a_repository_of_no_known_kind_is_an_error(zoo: ModelZoo, url: str) -> None:
    with pytest.raises(RepositoryError, match=url.partition(":")[0]):
        zoo.open_repository(url)


def test_what_was_read_is_kept_until_it_is_refreshed(zoo: ModelZoo, root: Path) -> None:
    assert len(zoo.search()) == 4
    make.publish(root, make.document(make.artifact(), artifact_id="new"))
    assert len(zoo.search()) == 4
    zoo.refresh()
    assert len(zoo.search()) == 5


def test_repositories_are_given_back_in_their_order(root: Path, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    zoo = ModelZoo([root, tmp_path / "second"], config=False)
    assert [repository.url for repository in zoo.repositories] == [root.as_uri(), (tmp_path / "second").as_uri()]


def test_two_zoos_know_nothing_of_one_another(root: Path, tmp_path: Path) -> None:
    make.publish(tmp_path / "second", make.document(make.artifact(), artifact_id="second"))
    first, second = ModelZoo([root], config=False), ModelZoo([tmp_path / "second"], config=False)
    assert len(first.search()) == 4
    assert references(second.search()) == ["com.example/second@1.0"]


def test_many_threads_may_ask_at_once(root: Path) -> None:
    zoo, found, barrier = ModelZoo([root], config=False), [], threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(references(zoo.search()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [references(ModelZoo([root], config=False).search())] * 8


# explain and the errors ----------------------------------------------------------------------------------------------


def test_explain_answers_for_a_load(zoo: ModelZoo) -> None:
    found = zoo.explain("other")
    assert found.accepted == []
    assert str(found.refused[0]) == "engine Future is not installed: pip install zoo-future"


def test_a_document_without_a_digest_is_refused_alike_by_explain_info_and_load(
    tmp_path: Path, toy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the load refuses it before it imports an engine."""
    files = {"parameters": make.item("net.safetensors"), "synset": make.item("synset.txt")}
    net = make.document(make.artifact(engines=["Toy"], files=files))
    make.publish(tmp_path / "bare", net, {"net.safetensors": parameter_files.SAFETENSORS, "synset.txt": b"cat\n"})
    zoo = ModelZoo([tmp_path / "bare"], config=False, plugins=[])
    (refused,) = zoo.explain("net").refused
    assert refused.field == "files"
    assert re.search(r"net\.safetensors has no digest in .*`zoo index`.*allow_unverified = true", str(refused))
    runs = [run for run in zoo.info("net").runs if run["kind"] == "data"]
    assert [(run["what"], run["allowed"], "allow_unverified = true" in run["allow_with"]) for run in runs] == [
        ("parameters", False, True), ("file", False, True),
    ]  # fmt: skip
    monkeypatch.setattr("zoo_core.engines.Engines.get", lambda *_: pytest.fail("an engine was imported"))
    with pytest.raises(IntegrityError, match=r"has no digest in .*allow_unverified = true"):
        zoo.load_model("net")


def test_what_may_be_taken_without_a_digest_is_allowed(tmp_path: Path, toy: None) -> None:
    net = make.document(make.artifact(engines=["Toy"], files={"parameters": make.item("net.safetensors")}))
    make.publish(tmp_path / "bare", net, {"net.safetensors": parameter_files.SAFETENSORS})
    Path("zoo.toml").write_text(f'[[repository]]\nurl = "{(tmp_path / "bare").as_uri()}"\nallow_unverified = true\n')
    zoo = ModelZoo(config="zoo.toml", plugins=[])
    assert references(zoo.explain("net").accepted) == ["com.example/net@1.0"]
    assert all(run["allowed"] for run in zoo.info("net").runs)


def test_nothing_found_shows_the_nearest_misses_and_keeps_the_explanation(zoo: ModelZoo) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        zoo.download("net", filters={"layer": 50})
    first, *others = str(caught.value).splitlines()
    assert first == (
        "no model matches (artifact_id='net', filters={'layer': '50'}). "
        "The nearest is com.example/net@1.0: filter key `layer`: did you mean `layers`?"
    )
    assert others
    assert caught.value.explanation is not None
    assert len(caught.value.explanation.refused) == 4


def test_nothing_at_all_says_what_to_install() -> None:
    with pytest.raises(ModelNotFoundError, match="no repository holds any model: pip install zoo-pytorch"):
        ModelZoo([], config=False).download("net")


def test_a_missing_engine_is_an_error_of_its_own_that_ends_in_the_remedy(zoo: ModelZoo) -> None:
    with pytest.raises(EngineNotInstalledError) as caught:
        zoo.load_model("other")
    assert caught.value.missing == ("zoo-future",)
    assert str(caught.value).splitlines()[0].endswith("pip install zoo-future")


def test_an_engine_in_which_a_model_does_not_run_is_not_to_be_installed(zoo: ModelZoo) -> None:
    with pytest.raises(ModelNotFoundError, match=r"engine Future \(runs in: Toy\)"):
        zoo.load_model("net", engine="Future")


@pytest.mark.usefixtures("toy")
def test_a_missing_package_is_an_error_of_its_own_that_ends_in_the_remedy(root: Path) -> None:
    make.publish(root, make.document(make.artifact(engines=["Toy"], requires=["acme-nets>=2"]), artifact_id="needy"))
    with pytest.raises(PackageNotInstalledError, match='are missing: pip install "acme-nets>=2"') as caught:
        ModelZoo([root], config=False).load_model("needy")
    assert (type(caught.value), caught.value.missing) == (PackageNotInstalledError, ("acme-nets>=2",))


def test_what_is_missing_does_not_stop_a_download(zoo: ModelZoo) -> None:
    assert (zoo.download("other") / "net.params.bin").read_bytes() == make.WEIGHTS


def test_between_different_models_nothing_is_chosen(zoo: ModelZoo) -> None:
    with pytest.raises(AmbiguousModelError, match=r"2 different models match: com\.example/net, com\.example/other"):
        zoo.download(group_id="com.example")


# info ----------------------------------------------------------------------------------------------------------------


def test_info_tells_what_a_load_costs(zoo: ModelZoo) -> None:
    info = zoo.info("other")
    assert info.record.reference == "com.example/other@1.0"
    assert info.files == info.record.files
    assert dict(info.cost) == {
        "download_bytes": 0,
        "disk_bytes": len(make.WEIGHTS),
        "memory_bytes": len(make.WEIGHTS),
        "missing": ["zoo-future"],
    }


def test_info_tells_what_a_load_would_run(root: Path) -> None:
    files = {"parameters": make.item("net.params.bin", make.WEIGHTS), "code": make.item("block_factory.py", b"import os")}
    arguments = {"blockFactory": "unknown", "translatorFactory": "image_classification"}
    make.publish(root, make.document(make.artifact(files=files, arguments=arguments), artifact_id="mixed"))
    runs = {run["what"]: run for run in ModelZoo([root], config=False).info("mixed").runs}
    assert (runs["factory"]["allowed"], runs["factory"]["distribution"]) == (False, None)
    translator = runs["translator"]
    assert (translator["kind"], translator["distribution"], translator["allowed"]) == ("code", "zoo-core", True)
    assert (runs["parameters"]["kind"], runs["parameters"]["allowed"]) == ("unknown", False)
    assert runs["carried code"]["sha256"] == make.sha256(b"import os")
    trust = f"--trust-code sha256:{make.sha256(b'import os')}"
    assert (runs["carried code"]["allowed"], runs["carried code"]["allow_with"]) == (False, trust)


def test_info_of_a_local_parameter_file_shows_its_header_and_its_tensors(root: Path) -> None:
    content = parameter_files.safetensors(
        {"__metadata__": {"zoo.format": "1"}, "w": parameter_files.entry("F32", [2, 3], 0, 24)}, bytes(24)
    )
    make.publish(
        root, make.document(make.artifact(files={"parameters": make.item("w.safetensors", content)}), artifact_id="w"),
        {"w.safetensors": content},
    )  # fmt: skip
    info = ModelZoo([root], config=False).info("w")
    assert dict(info.header) == {"zoo.format": "1"}
    assert {name: dict(value) for name, value in info.parameters.items()} == {
        "w": {"dtype": "float32", "shape": [2, 3], "bytes": 24}
    }
    assert (info.cost["memory_bytes"], info.runs[-1]["kind"], info.runs[-1]["allowed"]) == (24, "data", True)


# download ------------------------------------------------------------------------------------------------------------


def test_a_download_is_one_folder_with_the_files(zoo: ModelZoo) -> None:
    folder = zoo.download("net")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"net.params.bin": make.WEIGHTS}
    assert folder.is_relative_to(os.environ["ZOO_HOME"])


def test_a_download_takes_the_highest_release_unless_said_otherwise(zoo: ModelZoo) -> None:
    assert [zoo.download(text).parent.name for text in ("net", "net@1.0", "net@>=2.1a1")] == ["2.0", "1.0", "2.1a1"]


def test_a_download_to_a_folder_gives_copies_to_edit(zoo: ModelZoo, tmp_path: Path) -> None:
    folder = zoo.download("net", to=tmp_path / "mine")
    assert folder == tmp_path / "mine"
    (folder / "net.params.bin").write_bytes(b"edited")
    assert (zoo.download("net") / "net.params.bin").read_bytes() == make.WEIGHTS


def test_a_record_that_was_found_is_exactly_that_artifact(zoo: ModelZoo, tmp_path: Path) -> None:
    make.publish(tmp_path / "second", make.document(make.artifact("9.0")))
    old = zoo.search("net@1.0")[0]
    (elsewhere,) = zoo.search(model_urls=[tmp_path / "second"])
    assert zoo.download(old).parent.name == "1.0"
    assert zoo.download(elsewhere).parent.name == "9.0"


def test_the_cache_may_be_named(root: Path, tmp_path: Path) -> None:
    zoo = ModelZoo([root], cache=tmp_path / "elsewhere", config=False)
    assert zoo.download("net").is_relative_to(tmp_path / "elsewhere")
    assert not Path(os.environ["ZOO_HOME"]).exists()


def test_a_file_that_is_not_what_its_document_promises_is_refused(zoo: ModelZoo, root: Path) -> None:
    (path,) = root.rglob("net/net.params.bin")
    path.write_bytes(b"changed")
    with pytest.raises(IntegrityError, match=f"from {path}"):
        zoo.download("net")


# the network ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(site: Site, root: Path) -> Site:
    """The repository on the web."""
    write_index(root)
    site.pages |= {f"/{path.relative_to(root).as_posix()}": path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return site


def test_a_model_on_the_web_is_listed_by_one_request_and_fetched_by_one(served: Site) -> None:
    zoo = ModelZoo([served.url], config=False)
    (record,) = zoo.search("net@2.0")
    assert (record.cached, len(served.requests)) == (False, 1)
    assert (zoo.download(record) / "net.params.bin").read_bytes() == make.WEIGHTS
    assert zoo.search("net@2.0")[0].cached is True
    assert len(served.requests) == 2


def test_what_is_known_and_here_asks_nobody(served: Site) -> None:
    ModelZoo([served.url], config=False).download("net")
    before = len(served.requests)
    ModelZoo([served.url], config=False).download("net")
    assert len(served.requests) == before


def test_a_refresh_asks_again(served: Site) -> None:
    ModelZoo([served.url], config=False).search()
    ModelZoo([served.url], config=False, refresh=True).search()
    assert served.paths == ["/index.json", "/index.json"]
    assert "if-none-match" in served.requests[1][1]


def test_offline_reaches_every_path_to_the_network_and_is_read_at_call_time(
    served: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = ModelZoo([served.url], config=False)
    zoo.search()
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert len(zoo.search()) == 4
    with pytest.raises(OfflineError, match=r"net\.params\.bin is not on this machine"):
        zoo.download("net")
    monkeypatch.delenv("ZOO_OFFLINE")
    assert zoo.download("net").is_dir()
    assert zoo.download("net").is_dir()
    assert served.paths == ["/index.json", "/model/cv/image_classification/com/example/net/net.params.bin"]


def test_the_call_may_forbid_the_network_by_itself(served: Site) -> None:
    zoo = ModelZoo([served.url], config=False, offline=True)
    assert zoo.search() == []
    assert "offline mode forbids the network" in zoo.messages()[0]
    assert served.requests == []


# hooks ---------------------------------------------------------------------------------------------------------------


class Vetoing:
    @hookimpl
    def zoo_veto_candidate(self, record: Any) -> str | None:
        return "not this one" if record.version == "2.0" else None


class Reversing:
    @hookimpl
    def zoo_order_candidates(self, records: Any) -> list[Any]:
        return list(reversed(records))


class Raising:
    @hookimpl
    def zoo_veto_candidate(self, record: Any) -> str | None:
        raise KeyError("lost")


class Authorising:
    @hookimpl
    def zoo_authorise_request(self, url: str, headers: Any) -> Any:
        return {**headers, "Authorization": "Bearer secret"}


class Misspelt:
    @hookimpl
    def zoo_veto_candidates(self, record: Any) -> None:
        """There is no such hook."""


class Remembering:
    def __init__(self) -> None:
        self.paths: list[Path] = []

    @hookimpl
    def zoo_downloaded(self, path: Path) -> None:
        self.paths.append(path)


@pytest.mark.usefixtures("toy")
def test_a_plugin_may_veto_a_candidate_with_its_reason(root: Path) -> None:
    zoo = ModelZoo([root], config=False, plugins=[Vetoing()])
    assert references(zoo.search("net")) == ["com.example/net@1.0", "com.example/net@2.1a1"]
    nearest = zoo.explain("net").refused[0]
    assert (nearest.record.version, str(nearest)) == ("2.0", "not this one")


def test_a_plugin_may_order_the_candidates(root: Path) -> None:
    zoo = ModelZoo([root], config=False, plugins=[Reversing()])
    assert zoo.download("net").parent.name == "2.1a1"


def test_a_veto_that_raises_must_not_be_lost(root: Path) -> None:
    with pytest.raises(PluginError, match="hook zoo_veto_candidate of Raising raised KeyError: 'lost'"):
        ModelZoo([root], config=False, plugins=[Raising()]).search()


def test_a_plugin_may_authorise_a_request(served: Site) -> None:
    ModelZoo([served.url], config=False, plugins=[Authorising()]).search()
    assert served.requests[0][1]["authorization"] == "Bearer secret"


def test_a_misspelt_hook_is_an_error_with_the_near_names(root: Path) -> None:
    with pytest.raises(
        PluginError, match=r"Misspelt: there is no hook 'zoo_veto_candidates' \(did you mean zoo_veto_candidate"
    ):
        ModelZoo([root], config=False, plugins=[Misspelt()]).search()


def test_a_plugin_sees_where_a_download_lies(root: Path) -> None:
    remembering = Remembering()
    folder = ModelZoo([root], config=False, plugins=[remembering]).download("net")
    assert remembering.paths == [folder]


# plugins and factories -----------------------------------------------------------------------------------------------


def test_plugins_lists_every_registered_name_with_its_state(install: Callable[..., Path]) -> None:
    install(
        "toy-nets", "1.2.3", entry_points={**toys.ENTRY_POINTS, "zoo_core.repositories": {"toy": "toy_nets_missing.models"}}
    )
    found = {
        record.name: record for record in ModelZoo([], config=False, plugins=[]).plugins() if record.distribution == "toy-nets"
    }
    assert (found["pytorch.toy_net"].status, found["pytorch.toy_net"].error) == ("ok", None)
    assert (found["toy"].status, found["MXNet"].status) == ("broken", "broken")
    assert "toy_nets_missing" in str(found["toy"].error)
    assert found["toy"].to_dict() == {
        "group": "zoo_core.repositories",
        "name": "toy",
        "value": "toy_nets_missing.models",
        "distribution": "toy-nets",
        "version": "1.2.3",
        "status": "broken",
        "error": found["toy"].error,
    }


def test_a_factory_is_had_by_its_name(install: Callable[..., Path]) -> None:
    install("toy-nets", "1.2.3", entry_points=toys.ENTRY_POINTS)
    zoo = ModelZoo([], config=False)
    assert zoo.block_factory("toy_net", engine="PyTorch", layers=3) == toys.ToyNet(layers=3)
    assert zoo.block_factory("toy-nets:pytorch.toy_net", layers="3") == toys.ToyNet(layers=3)


def test_a_zoo_is_a_context_manager(zoo: ModelZoo) -> None:
    with zoo as same:
        assert same is zoo
