"""A third party publishes a package, and ``pip install`` is all that a user does; nothing of core and plugins knows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.environments import Environment
from tests.installed import needs

if TYPE_CHECKING:
    from tests.commands import Commands

pytestmark = [pytest.mark.packaging, needs("zoo-pytorch", "hatchling")]

SOURCE = Path(__file__).parents[2] / "examples" / "zoo-toy"
ORANGE = "#ff8800"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the example, built from a copy, so that nothing of the build is left in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(SOURCE, folder / "source")
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return next(folder.glob("zoo_toy-*.whl"))


@pytest.fixture(scope="module")
def toy(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """A fresh environment with the package installed, and a file with a colour in the working directory."""
    folder = tmp_path_factory.mktemp("toy")
    environment = Environment.make(folder / "environment")
    environment.install(wheel)
    commands = environment.commands(folder)
    commands.cwd.mkdir()
    (commands.cwd / "sunset.txt").write_text(f"{ORANGE}\n")
    return commands


def test_a_search_finds_its_model(toy):
    (record,) = toy.zoo("search", "colour", "--json").json["records"]
    assert (record["group_id"], record["artifact_id"], record["version"]) == ("com.example.toy", "toy_colours", "1.0.0")
    assert record["engines"] == ["PyTorch"]
    assert record["repository"] == "package://zoo_toy.catalogue"


def test_a_search_imports_nothing_of_it(toy):
    code = """
import json, sys
import zoo_core as zoo
(record,) = zoo.search(group_id="com.example.toy")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    done = toy.run(code)
    assert done.status == 0, done.err
    assert {"zoo_core", "json"} <= set(done.json)
    assert {"zoo_toy", "zoo_pytorch", "torch", "numpy"}.isdisjoint(done.json)


def test_its_model_is_explained_as_one_that_a_load_would_take(toy):
    done = toy.zoo("explain", "toy_colours", "--filter", "classes=8")
    assert done.out.splitlines()[0].split() == ["com.example.toy/toy_colours@1.0.0", "accepted"]


def test_a_misspelt_filter_on_its_model_is_answered_with_what_there_is(toy):
    done = toy.zoo("predict", "toy_colours", "sunset.txt", "--filter", "clases=8")
    assert done.status == 3
    assert "filter key `clases`: did you mean `classes`?" in done.err


def test_its_names_are_listed_with_its_distribution_and_version(toy):
    listed = toy.zoo("plugins", "--json").json["plugins"]
    own = {item["name"]: item["status"] for item in listed if (item["distribution"], item["version"]) == ("zoo-toy", "0.1.0")}
    assert own == {"pytorch.toy_net": "ok", "toy_colour": "ok", "zoo-toy": "ok"}


def test_the_command_predicts_with_it(toy):
    done = toy.without_network().zoo("predict", "toy_colours", "sunset.txt", "--json")
    assert done.status == 0, done.err
    assert done.json["engine"] == "PyTorch"
    best, second, *_ = done.json["results"][0]["classes"]
    assert (best["index"], best["name"], second["name"]) == (3, "orange", "red")
    assert best["probability"] == pytest.approx(0.95156, abs=1e-5)


def test_what_is_predicted_is_what_its_parameters_say(toy):
    """The network once more, written in NumPy over the parameter file."""
    code = """
import json
import numpy as np
import zoo_core as zoo

with zoo.load_model("toy_colours") as model, model.new_predictor() as predictor:
    found = predictor.predict_batch(["#ff8800", (0.1, 0.1, 0.9), "sunset.txt"])
    stored = zoo.read_parameters(model.files["parameters"])
colours = np.array([[1, 0x88 / 255, 0], [0.1, 0.1, 0.9], [1, 0x88 / 255, 0]])
logits = -stored["sharpness"] * ((colours[:, None] - stored["typical"]) ** 2).sum(2)
expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
by_index = [[one.probability for one in sorted(each, key=lambda one: one.index)] for each in found]
print(json.dumps({"names": [each[0].name for each in found], "difference": np.abs(by_index - expected).max()}))
"""
    done = toy.run(code)
    assert done.status == 0, done.err
    assert done.json["names"] == ["orange", "blue", "orange"]
    assert done.json["difference"] < 1e-6


def test_a_file_saved_from_it_is_enough_where_its_package_is_installed(toy):
    save = """
import zoo_core as zoo
with zoo.load_model("toy_colours") as model:
    zoo.Model(model.block, translator=model.translator).save("saved.safetensors")
"""
    assert toy.run(save).status == 0
    done = toy.zoo("predict", "saved.safetensors", "sunset.txt", "--json")
    assert done.status == 0, done.err
    assert done.json["results"][0]["classes"][0]["name"] == "orange"


def test_uninstalling_makes_it_vanish(wheel, tmp_path):
    environment = Environment.make(tmp_path / "environment")
    environment.install(wheel)
    commands = environment.commands(tmp_path)
    assert commands.zoo("search", "--group", "com.example.toy", "--json").json["records"]
    commands.run('import zoo_core as zoo; zoo.load_model("toy_colours").save("left.safetensors")')

    environment.uninstall("zoo-toy")

    assert commands.zoo("search", "colour", "--json").json["records"] == []
    assert "zoo-toy" not in commands.zoo("plugins").out
    (commands.cwd / "sunset.txt").write_text(ORANGE)
    gone = commands.zoo("predict", "toy_colours", "sunset.txt")
    assert gone.status == 3
    assert len(gone.errors) == 1
    # A file that somebody kept says what would read it.
    kept = commands.zoo("predict", "left.safetensors", "sunset.txt")
    assert kept.status == 8
    assert kept.err.rstrip().endswith('pip install "zoo-toy>=0.1"')
