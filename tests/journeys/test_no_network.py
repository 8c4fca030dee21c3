"""Without any network: a warm cache answers and loads, what is missing is named, and a dead network is no dead end.

The network is taken away twice: by a namespace of the system without routes, and by the interpreter, which refuses every
connection of every process.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import parameter_files
from tests import repositories as make
from tests.commands import has_namespaces
from tests.installed import ENGINES, any_engine
from tests.web import Site, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.commands import Commands


def weights(*values: float) -> bytes:
    """The parameters of a perceptron with two inputs and two outputs."""
    header = {"0.weight": parameter_files.entry("F32", [2, 2], 0, 16), "0.bias": parameter_files.entry("F32", [2], 16, 24)}
    return parameter_files.safetensors(header, parameter_files.floats(*values))


WEIGHTS = {"net": weights(1, 2, 3, 4, 5, 6), "other": weights(6, 5, 4, 3, 2, 1)}
PLACE = make.location(make.document(application="tabular"))
#: Ways to take the network away.
WAYS = [
    pytest.param(
        "namespace",
        marks=pytest.mark.skipif(not has_namespaces(), reason="`unshare -rn` is not permitted here"),
        id="namespace",
    ),
    pytest.param("refused", id="refused"),
]


def document(artifact_id: str, **fields: Any) -> dict[str, Any]:
    item = make.item("net.safetensors", WEIGHTS[artifact_id])
    artifact = make.artifact(
        arguments={"blockFactory": "mlp", "inputs": 2, "hidden": [], "outputs": 2},
        engines=list(ENGINES),
        files={"parameters": item},
        **fields,
    )
    return make.document(artifact, artifact_id=artifact_id, application="tabular")


def serve(site: Site) -> str:
    documents = [document("net", properties={"colour": "green"}), document("other")]
    index = {"indexVersion": 1, "documents": [{"path": f"{make.location(d)}/metadata.json", "metadata": d} for d in documents]}
    site.pages["/index.json"] = json.dumps(index).encode()
    for content in documents:
        site.pages[f"/{make.location(content)}/net.safetensors"] = WEIGHTS[content["artifactId"]]
    return site.url


def configure(commands: Commands, text: str) -> None:
    folder = commands.folder / "config" / "zoo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zoo.toml").write_text(text)


@pytest.fixture
def warm(commands: Commands) -> str:
    """A repository whose one model was downloaded, and whose server is gone then; gives its address."""
    with serving() as site:
        url = serve(site)
        configure(commands, f'[[repository]]\nurl = "{url}"\nname = "acme"')
        assert commands.zoo("search", "--repository", url).out.count("com.example/") == 2
        done = commands.zoo("download", "com.example/net")
        assert done.status == 0, done.err
    return url


@pytest.fixture
def cut_off(commands: Commands) -> Callable[[str], Commands]:
    def take_away(way: str) -> Commands:
        return commands.in_empty_namespace() if way == "namespace" else commands.with_dead_network()

    return take_away


def age_index(commands: Commands, days: float) -> None:
    """Let all that is known of repositories be as old as that."""
    for path in [commands.home / "index", *(commands.home / "index").rglob("*")]:
        os.utime(path, (time.time() - days * 86_400,) * 2)


def vector(folder: Path) -> str:
    """A file with an array ``float32[1, 2]``. Source: NumPy Enhancement Proposal 1, version 1.0 of the format."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".ljust(117) + b"\n"
    (folder / "x.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header + parameter_files.floats(1, 1))
    return "x.npy"


@pytest.mark.parametrize("offline", ["1", ""], ids=["offline", "not said to be offline"])
@pytest.mark.parametrize("way", WAYS)
def test_with_a_warm_cache_every_verb_works(
    warm: str, commands: Commands, cut_off: Callable[[str], Commands], way: str, offline: str
) -> None:
    without = cut_off(way).given(ZOO_OFFLINE=offline)
    found = without.zoo("search", "green", "--repository", "acme")
    assert (found.status, found.err) == (0, "")
    assert found.out.startswith("com.example/net@1.0")
    assert "colour=green" in found.out
    explained = without.zoo("explain", "net", "--json")
    assert (explained.status, explained.json["records"][0]["cached"]) == (0, True)
    told = without.zoo("info", "com.example/net")
    assert (told.status, told.err) == (0, "")
    assert "to fetch     0 B" in told.out
    done = without.zoo("download", "com.example/net")
    assert (done.status, done.err) == (0, "")
    assert without.zoo("cache", "verify").status == 0
    copied = without.zoo("download", "com.example/net", "--to", "mine")
    assert (commands.cwd / "mine" / "net.safetensors").read_bytes() == WEIGHTS["net"], copied.err


#: In one process, as an engine takes long to import.
_LOAD = """
import sys
import zoo_core
from zoo_core.cli.main import run
engine, x = sys.argv[1:]
print("ended", run(["predict", "com.example/net", x, "--engine", engine, "--json"]))
print("ended", run(["check", "com.example/net", "--engine", engine]))
with zoo_core.load_model("com.example/net", engine=engine) as model:
    print("loaded", model.name)
"""


@pytest.mark.parametrize("offline", ["1", ""], ids=["offline", "not said to be offline"])
@pytest.mark.parametrize("way", WAYS)
def test_with_a_warm_cache_a_model_is_loaded_checked_and_predicts(
    warm: str, commands: Commands, cut_off: Callable[[str], Commands], way: str, offline: str
) -> None:
    engine = any_engine()
    without = cut_off(way).given(ZOO_OFFLINE=offline)
    done = without.run(_LOAD, engine, vector(commands.cwd))
    assert done.status == 0, done.err
    assert [line for line in done.out.splitlines() if line.startswith("ended")] == ["ended 0", "ended 0"]
    assert "8.0" in done.out
    assert "13.0" in done.out
    assert done.out.endswith("loaded net\n")


@pytest.mark.parametrize("way", WAYS)
def test_a_dead_network_falls_back_to_what_is_known_and_says_how_old_that_is(
    warm: str, commands: Commands, cut_off: Callable[[str], Commands], way: str
) -> None:
    age_index(commands, days=3)
    done = cut_off(way).zoo("search", "--repository", "acme")
    assert done.status == 0
    assert done.out.count("com.example/") == 2
    (warning,) = set(done.warnings)
    assert warm in warning
    assert "72" in warning or "3 days" in warning
    # What is cached is used without asking for a younger index, and offline nobody is told of what cannot be helped.
    assert cut_off(way).given(ZOO_OFFLINE="yes").zoo("search", "--repository", "acme").err == ""


@pytest.mark.parametrize("way", WAYS)
def test_offline_a_miss_names_the_artifact_where_it_was_looked_for_and_what_fetches_it(
    warm: str, commands: Commands, cut_off: Callable[[str], Commands], way: str
) -> None:
    lower = commands.folder / "lower"
    lower.mkdir()
    configure(commands, f'cache_layers = ["{lower}"]\n[[repository]]\nurl = "{warm}"\nname = "acme"')
    done = cut_off(way).given(ZOO_OFFLINE="1").zoo("download", "com.example/other")
    assert (done.status, len(done.errors)) == (4, 1)
    (error,) = done.errors
    for words in ("parameters of com.example/other@1.0", f"looked for in {commands.home} and {lower}"):
        assert words in error
    assert error.endswith("it is fetched by: zoo download com.example/other@1.0")
    configure(commands, "")
    named = cut_off(way).given(ZOO_OFFLINE="1").zoo("download", "other", "--repository", warm)
    assert named.errors[0].endswith(f"it is fetched by: zoo download com.example/other@1.0 --repository {warm}")


@pytest.mark.parametrize("way", WAYS)
def test_a_dead_network_is_one_clear_line_for_what_is_missing(
    warm: str, commands: Commands, cut_off: Callable[[str], Commands], way: str
) -> None:
    done = cut_off(way).zoo("download", "com.example/other")
    assert (done.status, len(done.errors)) == (4, 1)
    assert f"{warm}{PLACE.replace('/net', '/other')}/net.safetensors: " in done.errors[0]
    assert "Traceback" not in done.err
    unknown = cut_off(way).given(ZOO_OFFLINE="1").zoo("search", "--repository", "http://127.0.0.1:9/zoo/")
    assert (unknown.status, len(unknown.errors)) == (4, 1)
    assert "offline mode forbids the network" in unknown.errors[0]


@pytest.mark.parametrize("value", ["1", "true", "YES", "On"])
def test_each_word_for_yes_closes_the_network(warm: str, commands: Commands, value: str) -> None:
    with serving() as site:
        done = commands.zoo("search", "--repository", serve(site), ZOO_OFFLINE=value)
        assert done.status == 4
        assert site.requests == []
