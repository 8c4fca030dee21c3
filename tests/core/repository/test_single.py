"""The address of one file or archive as a repository of one model."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import archives
from tests import parameter_files as make
from tests.core import toy_engine
from tests.repositories import document, publish, sha256
from tests.web import Answer, Site
from zoo_core import InputError, IntegrityError, ModelNotFoundError, ModelZoo, OfflineError, RepositoryError, ZooWarning
from zoo_core.address import parse_address
from zoo_core.metadata import Metadata
from zoo_core.repository.single import SingleRepository
from zoo_core.transfer import Transfer

WEIGHTS = make.SAFETENSORS
DIGEST = sha256(WEIGHTS)
PACKED = archives.zipped({"net/net.safetensors": WEIGHTS, "net/synset.txt": b"cat\ndog\n"})


@pytest.fixture
def zoo(tmp_path: Path) -> ModelZoo:
    return ModelZoo([], cache=tmp_path / "cache", config=False, plugins=[])


def listed(url: str) -> Metadata:
    (found,) = SingleRepository(parse_address(url), transfer=Transfer()).documents()
    return found


def inside(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# what is listed ------------------------------------------------------------------------------------------------------


def test_its_one_model_is_made_of_the_address_alone(site: Site, zoo: ModelZoo) -> None:
    url = f"{site.url}a/tiny.safetensors?layers=50&dataset=shapes#sha256={DIGEST}"
    (record,) = zoo.search(model_urls=[url])
    (file,) = record.files
    assert (record.artifact_id, record.name, record.version, record.application) == ("tiny", "tiny", None, "")
    assert (dict(record.properties), dict(record.arguments)) == (
        {"layers": "50", "dataset": "shapes"},
        {"layers": 50, "dataset": "shapes"},
    )
    assert (file.key, file.name, file.sha256) == ("model", "tiny.safetensors", DIGEST)
    assert file.url == f"{site.url}a/tiny.safetensors?layers=50&dataset=shapes"
    assert zoo.search(url) == [record]
    assert zoo.info(url).record == record
    assert str(zoo.explain(url)).startswith(record.reference)
    assert site.requests == []


def test_its_properties_are_what_filters_look_at(zoo: ModelZoo) -> None:
    url = "https://models.example/net.zip?layers=50"
    assert len(zoo.search(url, filters={"layers": 50})) == 1
    with pytest.raises(ModelNotFoundError, match=r"layers=18 \(there is: 50\)"):
        zoo.info(url, filters={"layers": 18})


def test_an_archive_is_unpacked_into_the_artifacts_own_folder() -> None:
    (artifact,) = listed("https://models.example/net.tar.gz").artifacts
    assert [(file.name, file.type, file.title) for file in artifact.files] == [("", "dir", "net.tar.gz")]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("https://a.example/net.zip", "https://b.example/net.zip", False),
        ("https://a.example/net.zip", "https://a.example/x/net.zip", False),
        ("https://a.example/net.zip?layers=18", "https://a.example/net.zip?layers=50", False),
        ("https://a.example/net.zip?file-id=1", "https://a.example/net.zip?file-id=2", False),
        ("https://a.example/net.zip?token=one", "https://a.example/net.zip?token=two", True),
        ("https://A.example/net.zip", "https://user@a.example/net.zip", True),
        ("https://a.example/net.zip?Signature=1&Expires=2", "https://a.example/net.zip?Signature=3&Expires=4", True),
    ],
)
def test_every_address_has_a_group_of_its_own(one: str, other: str, is_same: bool) -> None:
    """So that no repository owns what another address holds."""
    assert (listed(one).group_id == listed(other).group_id) is is_same


def test_two_that_are_configured_are_both_found(tmp_path: Path) -> None:
    urls = ["https://a.example/net.zip", "https://a.example/other.zip"]
    assert [record.artifact_id for record in ModelZoo(urls, config=False, plugins=[]).search()] == ["net", "other"]


@pytest.mark.parametrize("name", ["a%2Fb.pt", "%00.pt", ".zip", "a%5Cb.safetensors", "con.pt"])
def test_a_name_that_no_file_may_have_is_an_error(name: str) -> None:
    with pytest.raises(RepositoryError, match="cannot stand for a model"):
        listed(f"https://models.example/{name}")


# what is fetched -----------------------------------------------------------------------------------------------------


def test_it_is_fetched_with_its_query_and_verified(site: Site, zoo: ModelZoo) -> None:
    site.pages["/net.safetensors?layers=50&X-Amz-Signature=0a"] = WEIGHTS
    url = f"{site.url}net.safetensors?layers=50&X-Amz-Signature=0a#sha256={DIGEST}"
    assert inside(zoo.download(url, progress=False)) == {"net.safetensors": WEIGHTS}
    assert site.paths == ["/net.safetensors?layers=50&X-Amz-Signature=0a"]


def test_an_archive_becomes_a_folder(site: Site, zoo: ModelZoo) -> None:
    site.pages["/net.zip"] = PACKED
    folder = zoo.download(f"{site.url}net.zip#sha256={sha256(PACKED)}", progress=False)
    assert inside(folder) == {"net/net.safetensors": WEIGHTS, "net/synset.txt": b"cat\ndog\n"}


def test_a_compressed_file_is_inflated(site: Site, zoo: ModelZoo) -> None:
    packed = gzip.compress(make.PARAMS)
    site.pages["/net-0000.params.gz"] = packed
    url = f"{site.url}net-0000.params.gz#sha256={sha256(packed)}"
    assert inside(zoo.download(url, progress=False)) == {"net-0000.params": make.PARAMS}
    assert [record.engines for record in zoo.search(url)] == [("MXNet",)]


def test_other_bytes_than_the_address_promises_are_refused(site: Site, zoo: ModelZoo) -> None:
    site.pages["/net.safetensors"] = WEIGHTS
    with pytest.raises(IntegrityError, match=f"expected sha256:{'0' * 64}, got sha256:{DIGEST}"):
        zoo.download(f"{site.url}net.safetensors#sha256={'0' * 64}", progress=False)


def test_without_a_digest_whoever_types_it_is_told_which_to_add(site: Site, zoo: ModelZoo) -> None:
    site.pages["/net.safetensors"] = WEIGHTS
    with pytest.warns(ZooWarning, match=f"was not verified; to pin it, add #sha256={DIGEST}"):
        zoo.download(f"{site.url}net.safetensors", progress=False)
    # What was seen once is what it stays.
    assert zoo.download(f"{site.url}net.safetensors", progress=False)
    assert site.paths == ["/net.safetensors"]


@pytest.mark.parametrize("way", ["ModelZoo", "ZOO_REPOSITORIES", "zoo.toml"])
def test_without_a_digest_one_that_is_configured_is_refused(
    way: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.pages["/net.safetensors"], url = WEIGHTS, f"{site.url}net.safetensors"
    match way:
        case "ZOO_REPOSITORIES":
            monkeypatch.setenv("ZOO_REPOSITORIES", url)
        case "zoo.toml":
            Path("zoo.toml").write_text(f'[[repository]]\nurl = "{url}"\nname = "mine"\n')
    zoo = ModelZoo([url] if way == "ModelZoo" else None, cache=tmp_path / "cache", plugins=[])
    with pytest.raises(IntegrityError, match=r"net\.safetensors has no digest at its end, .* add #sha256=<hex> to it"):
        zoo.download(artifact_id="net", progress=False)
    assert site.requests == []


def test_one_that_is_configured_with_its_digest_is_named_as_any_other(site: Site, tmp_path: Path) -> None:
    site.pages["/net.safetensors"] = WEIGHTS
    Path("zoo.toml").write_text(f'[[repository]]\nurl = "{site.url}net.safetensors#sha256={DIGEST}"\nname = "mine"\n')
    zoo = ModelZoo(cache=tmp_path / "cache", plugins=[])
    assert inside(zoo.download("net", model_urls=["mine"], progress=False)) == {"net.safetensors": WEIGHTS}


def test_a_document_in_a_named_tree_gets_nothing_of_what_a_typed_address_may(tmp_path: Path, zoo: ModelZoo) -> None:
    publish(tmp_path / "zoo", document({"version": "1.0", "files": {"parameters": {"uri": "net.params.bin"}}}))
    with pytest.raises(IntegrityError, match=r"has no digest in .*metadata\.json"):
        zoo.download("net", model_urls=[tmp_path / "zoo"], progress=False)


@pytest.mark.parametrize("way", ["safetensors", "zip", "https"])
def test_info_finds_the_engine_that_a_load_would_use(
    way: str, site: Site, zoo: ModelZoo, tmp_path: Path, install: Callable[..., Path]
) -> None:
    """Its document names none, so the file does."""
    pytest.importorskip("numpy")
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)
    header = {"zoo.factory": '{"factory": "scale", "fields": {"width": 1}}', "zoo.engines": '["NotHere", "Toy"]'}
    content = toy_engine.stored({"weight": [2.0]}, header)
    name = "net.zip" if way == "zip" else "net.safetensors"
    content = archives.zipped({"net.safetensors": content}) if way == "zip" else content
    site.pages[f"/{name}"] = content
    (tmp_path / name).write_bytes(content)
    url = f"{site.url if way == 'https' else tmp_path.as_uri() + '/'}{name}#sha256={sha256(content)}"
    zoo.download(url, progress=False)
    (factory,) = [run for run in zoo.info(url).runs if run["what"] == "factory"]
    assert (factory["name"], factory["distribution"], factory["allowed"]) == ("toy.scale", "zoo-toy-engine", True)


def test_what_is_not_there_is_an_error_with_the_servers_answer(site: Site, zoo: ModelZoo) -> None:
    with pytest.raises(RepositoryError, match=r"gone\.zip: the server answered 404"):
        zoo.download(f"{site.url}gone.zip", progress=False)


def test_an_address_of_an_unknown_kind_is_told_which_are_known(site: Site, zoo: ModelZoo) -> None:
    with pytest.raises(RepositoryError, match=r"404.*is no repository.*The address of one file ends in .*\.safetensors"):
        zoo.search(f"{site.url}net.onnx")


def test_offline_the_error_has_the_address_to_fetch(tmp_path: Path) -> None:
    zoo = ModelZoo([], cache=tmp_path / "cache", config=False, plugins=[], offline=True)
    url = f"https://models.example/net.zip#sha256={DIGEST}"
    with pytest.raises(OfflineError, match=f"it is fetched by: zoo download '{url}'"):
        zoo.download(url, progress=False)


def test_a_redirect_leads_to_no_file_of_this_machine(site: Site, zoo: ModelZoo, tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(WEIGHTS)
    site.pages["/net.safetensors"] = Answer(status=302, headers={"Location": (tmp_path / "net.safetensors").as_uri()})
    with pytest.raises(RepositoryError, match=r"a redirect to file:.* is not followed"):
        zoo.download(f"{site.url}net.safetensors", progress=False)


# files of this machine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [str, Path.as_uri, lambda path: path], ids=["text", "address", "path"])
@pytest.mark.filterwarnings("ignore:.*was not verified")
def test_a_file_of_this_machine_is_read_where_it_lies(way: Callable[[Path], str | Path], tmp_path: Path, zoo: ModelZoo) -> None:
    path = tmp_path / "my net.safetensors"
    path.write_bytes(WEIGHTS)
    (record,) = zoo.search(model_urls=[way(path)])
    assert (record.artifact_id, record.size, record.cached) == ("my net", len(WEIGHTS), True)
    assert zoo.info(record).parameters.keys() == {"w", "n", "h"}
    assert inside(zoo.download(record, progress=False)) == {"my net.safetensors": WEIGHTS}


@pytest.mark.filterwarnings("ignore:.*was not verified")
def test_an_archive_of_this_machine_is_told_of_before_and_after_it_is_unpacked(tmp_path: Path, zoo: ModelZoo) -> None:
    (tmp_path / "net.zip").write_bytes(PACKED)
    url = (tmp_path / "net.zip").as_uri()
    before = zoo.info(url)
    folder = zoo.download(url, progress=False)
    assert "net/synset.txt" in inside(folder)
    assert before.parameters == zoo.info(url).parameters != {}


def test_its_digest_counts_there_too(tmp_path: Path, zoo: ModelZoo) -> None:
    (tmp_path / "net.safetensors").write_bytes(WEIGHTS)
    url = (tmp_path / "net.safetensors").as_uri()
    assert zoo.download(f"{url}?layers=50#sha256={DIGEST}", progress=False)
    with pytest.raises(IntegrityError, match="wrong digest"):
        zoo.download(f"{url}#sha256={'0' * 64}", progress=False)


def test_a_folder_may_have_the_ending_of_a_file(tmp_path: Path, zoo: ModelZoo) -> None:
    publish(tmp_path / "zoo.zip", document({"version": "1.0", "files": {}}))
    assert [record.artifact_id for record in zoo.search(model_urls=[tmp_path / "zoo.zip"])] == ["net"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone.zip", "there is no such file"), ("README.md", r"no file of a known kind: one that ends in .*\.safetensors")],
)
def test_what_is_no_model_is_an_error(name: str, reason: str, tmp_path: Path, zoo: ModelZoo) -> None:
    (tmp_path / "README.md").write_text("A net.")
    with pytest.raises(RepositoryError, match=reason):
        zoo.search((tmp_path / name).as_uri())


def test_an_archive_of_several_models_is_a_repository_once_it_is_unpacked(tmp_path: Path, zoo: ModelZoo) -> None:
    for name in ("net", "other"):
        publish(tmp_path / "tree", document({"version": "1.0", "files": {}}, artifact_id=name))
    packed = archives.zipped(inside(tmp_path / "tree"))
    (tmp_path / "tree.zip").write_bytes(packed)
    url = f"{(tmp_path / 'tree.zip').as_uri()}#sha256={sha256(packed)}"
    folder = zoo.download(url, to=tmp_path / "mine", progress=False)
    assert [record.artifact_id for record in zoo.search(model_urls=[folder])] == ["net", "other"]


def test_an_archive_without_a_parameter_file_is_told_when_it_is_loaded(
    tmp_path: Path, zoo: ModelZoo, install: Callable[..., Path]
) -> None:
    pytest.importorskip("numpy")
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)
    packed = archives.zipped({"readme.txt": b"nothing to load"})
    (tmp_path / "tree.zip").write_bytes(packed)
    with pytest.raises(InputError, match="holds no parameter file"):
        zoo.load_model(f"{(tmp_path / 'tree.zip').as_uri()}#sha256={sha256(packed)}")


# arguments -----------------------------------------------------------------------------------------------------------


class TestArguments:
    """call > query of the repository's address > artifact > serving.properties."""

    @pytest.fixture(autouse=True)
    def toy(self, install: Callable[..., Path]) -> None:
        pytest.importorskip("numpy")
        install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)

    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        """A model in an archive, beside which a serving.properties names the factory."""
        members = {
            "net.safetensors": toy_engine.stored({"weight": [2.0]}),
            "serving.properties": b"blockFactory=scale\nwidth=1\ntranslator=toy_numbers\noffset=1\nengine=Toy\nbatch_size=4\n",
        }
        content = archives.zipped(members)
        files = {"model": {"uri": "net.zip", "sha256": sha256(content), "name": ""}}
        for version, arguments in (("1.0", {"offset": 2}), ("0.9", {})):
            (tmp_path / version).mkdir()
            publish(
                tmp_path / version,
                document({"version": version, "files": files, "arguments": arguments}),
                {"net.zip": content},
            )
        return tmp_path

    def predicted(self, zoo: ModelZoo, url: str, **how: object) -> float:
        with zoo.load_model("net", model_urls=[url], **how) as model, model.new_predictor() as predictor:
            return float(predictor.predict("0"))

    def test_each_origin_gives_way_to_the_one_above(self, tree: Path, zoo: ModelZoo) -> None:
        bare, full = (tree / "0.9").as_uri(), (tree / "1.0").as_uri()
        assert self.predicted(zoo, bare) == 2.0 * 1
        assert self.predicted(zoo, full) == 2.0 * 2
        assert self.predicted(zoo, f"{full}?offset=3") == 2.0 * 3
        assert self.predicted(zoo, f"{full}?offset=3", arguments={"offset": 4}) == 2.0 * 4
        assert self.predicted(zoo, f"{bare}?offset=3") == 2.0 * 3

    @pytest.mark.parametrize("way", ["zoo.toml", "ZOO_REPOSITORIES", "package"])
    def test_the_query_counts_wherever_the_address_stands(
        self, way: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Callable[..., Path]
    ) -> None:
        url = f"{(tree / '1.0').as_uri()}?offset=3"
        match way:
            case "zoo.toml":
                Path("zoo.toml").write_text(f'[[repository]]\nurl = "{url}"\n')
            case "ZOO_REPOSITORIES":
                monkeypatch.setenv("ZOO_REPOSITORIES", url)
            case "package":
                entry_points = {"zoo_core.repositories": {"models": "acme_models:repositories"}}
                code = f"def repositories():\n    return [{url!r}]\n"
                install("acme-models", entry_points=entry_points, modules={"acme_models.py": code})
        (record,) = ModelZoo(cache=tmp_path / "cache", plugins=[]).search("net")
        assert dict(record.arguments) == {"offset": 3}

    def test_the_query_is_what_a_search_finds(self, tree: Path, zoo: ModelZoo) -> None:
        (record,) = zoo.search("net", model_urls=[f"{(tree / '1.0').as_uri()}?offset=3&widht=7"])
        assert dict(record.arguments) == {"offset": 3, "widht": 7}

    def test_one_that_nobody_takes_is_told_of(self, tree: Path, zoo: ModelZoo) -> None:
        with pytest.warns(ZooWarning, match="nobody takes the argument 'widht' of the address"):
            self.predicted(zoo, f"{(tree / '1.0').as_uri()}?widht=7")

    def test_in_the_address_of_one_file_it_is_a_property_as_well(self, tmp_path: Path, zoo: ModelZoo) -> None:
        header = {"zoo.factory": '{"factory": "scale", "fields": {"width": 1}}', "zoo.engines": '["Toy"]'}
        header["zoo.translator"] = '{"name": "toy_numbers", "arguments": {"offset": 1}}'
        content = toy_engine.stored({"weight": [2.0]}, header)
        (tmp_path / "net.safetensors").write_bytes(content)
        url = f"{(tmp_path / 'net.safetensors').as_uri()}?layers=50&offset=3#sha256={sha256(content)}"
        with pytest.warns(ZooWarning, match="net: nobody takes the argument 'layers' of the address"):
            assert self.predicted(zoo, url) == 2.0 * 3
        with pytest.warns(ZooWarning, match="nobody takes the argument 'layers' of the address"):
            assert self.predicted(zoo, url, arguments={"offset": 4}) == 2.0 * 4
