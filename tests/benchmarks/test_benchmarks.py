"""Every benchmark runs to its end and prints what it promises; quick runs, whose figures are not looked at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.installed import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.packaging, needs("zoo-pytorch", "zoo-mxnet")]

FOLDER = Path(__file__).parents[2] / "benchmarks"
#: It has no option: its size is set as a user of its functions could.
DOWNLOAD = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
import download
download.SIZE, download.ROUNDS, download.SLOW_ROUNDS = 1_000_000, 1, 1
download.main()
"""
#: Its sizes are its arguments; the rounds are set as above.
CATALOGUE = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
import catalogue
catalogue.ROUNDS = 1
catalogue.SMALL, catalogue.LARGE = 20, 40
sys.argv[1:] = ["20", "40"]
catalogue.main()
"""
COMMANDS = {
    "load": [FOLDER / "load.py", "--quick"],
    "load_combined": [FOLDER / "load_combined.py", "--quick"],
    "startup": [FOLDER / "startup.py", "--quick"],
    "download": ["-c", DOWNLOAD],
    "catalogue": ["-c", CATALOGUE],
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """What a benchmark prints; all run beside one another, since nobody looks at the figures."""
    folder = tmp_path_factory.mktemp("benchmarks")
    # As nox starts them; and no setting of the person who runs the tests reaches them.
    own = {"PYTHONSAFEPATH": "1", "ZOO_HOME": str(folder / "cache"), "XDG_CONFIG_HOME": str(folder / "config")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZOO_")} | own
    running = {}
    for name, arguments in COMMANDS.items():
        with (folder / name).open("w") as stream:
            running[name] = subprocess.Popen(
                [sys.executable, *arguments], stdout=stream, stderr=subprocess.STDOUT, cwd=folder, env=environment
            )

    def text(name: str) -> str:
        code = running[name].wait(timeout=300)
        content = (folder / name).read_text()
        assert code == 0, content
        return content

    yield text
    for process in running.values():
        process.kill()
        process.wait()


def goals(text: str) -> list[str]:
    return re.findall(r"goal.*: [\d.]+x, (?:met|MISSED)$", text, re.MULTILINE)


def rows(text: str) -> list[str]:
    """The names in a table of loading."""
    return re.findall(r"^  (\S.*?) +(?:-?[\d.]+ ms +){4}(?:-?\d+ *){3}$", text, re.MULTILINE)


def test_starting_is_measured_beside_the_floor_and_the_peers_that_are_installed(printed: Callable[[str], str]) -> None:
    text = printed("startup")
    assert "a quick run" in text
    names = re.findall(r"^(\S.*?) +[\d.]+ ms +[\d.]+x", text, re.MULTILINE)
    assert {"python -c pass", "zoo --version", "zoo search", "import torch", "import mxnet"} <= set(names)
    assert len(re.findall(r"goal \d+x: (?:met|MISSED)$", text, re.MULTILINE)) == 2


def test_loading_is_measured_beside_peer_and_floor_in_both_engines(printed: Callable[[str], str]) -> None:
    text = printed("load")
    assert "a quick run" in text
    resnet = ["zoo, file", "zoo, repository", "constructor and copy", "floor"]
    vit = ["zoo, file", "constructor and copy", "floor"]
    assert rows(text) == [*resnet, *vit, "zoo, file", "zoo, repository", "Gluon's load_parameters", "floor"]
    assert len(goals(text)) == 4 + 4 + 1


def test_every_kind_of_program_is_measured_beside_its_peer(printed: Callable[[str], str]) -> None:
    text = printed("load_combined")
    peers = ["floor, no program", "torch.export.load", "torch.jit.load", "SymbolBlock.imports"]
    assert rows(text) == [name for peer in peers for name in ("zoo, one file", peer)]
    assert "ResNet-50, batch 1: " in text
    assert "EfficientNet-Lite0, batch 1: " in text
    assert len(goals(text)) == 4 + 2


def test_downloads_are_measured_beside_requests(printed: Callable[[str], str]) -> None:
    text = printed("download")
    assert len(re.findall(r"^  (?:zoo|requests) .* s  \(median .*x of requests$", text, re.MULTILINE)) == 4
    assert "goal: zoo at most" in text
    assert "goal: zoo at least" in text


def test_questions_to_a_catalogue_are_measured_beside_the_floor_and_one_that_reads_all(printed: Callable[[str], str]) -> None:
    text = printed("catalogue")
    for name in (
        "first listing",
        "one document changed",
        "peer: msgspec, all of it",
        "by id",
        "by words",
        "not found, far off",
    ):
        assert len(re.findall(rf"^  {name} +\d+ ms +\d+ MB", text, re.MULTILINE)) == 2, name
    assert len(re.findall(r"^  floor +.* ms .* 1\.0x of the floor$", text, re.MULTILINE)) == 2
    assert len(re.findall(r"x (?:met|MISSED)$", text, re.MULTILINE)) == 6


def test_a_case_that_there_is_not_is_refused_with_those_there_are() -> None:
    done = subprocess.run([sys.executable, FOLDER / "load.py", "vgg"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("error: no case is named vgg; there are resnet, vit, mxnet\n")
