"""The command: what it prints where, and the status it ends with. Run in this process, on repositories made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.repositories import WEIGHTS, artifact, document, item, publish, sha256
from zoo_core import __version__
from zoo_core.cli.main import VERBS, run
from zoo_core.cli.output import Output

Zoo = Callable[..., "Done"]


class Done:
    """How a call of the command ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def zoo(capfd: pytest.CaptureFixture[str]) -> Zoo:
    """Calls the command."""

    def call(*arguments: object) -> Done:
        status = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Done(status, out, err)

    return call


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models, one of them in two versions; the only repository that is asked for."""
    root = tmp_path / "repository"
    net = document(
        artifact("1.0", properties={"layers": "18"}, engines=["PyTorch", "MXNet"], name="net18"),
        artifact("2.0", properties={"layers": "50"}, engines=["PyTorch"], name="net50"),
        description="A net for cats",
        licenses={"mit": {"name": "MIT", "url": "https://example.com/mit"}},
    )
    publish(root, net)
    publish(root, document(artifact("0.1", requires=["no-such-package==1.0"]), artifact_id="other"))
    monkeypatch.setenv("ZOO_REPOSITORIES", root.as_uri())
    return root


@pytest.fixture(autouse=True)
def nothing_installed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogues of the plugins that happen to be installed are not asked, and no engine is found."""
    if "installed" not in request.keywords:
        from zoo_core.entry_points import InstalledEntryPoints

        entries = [entry for entry in InstalledEntryPoints.scan().entries if entry.distribution == "zoo-core"]
        monkeypatch.setattr(InstalledEntryPoints, "scan", lambda: InstalledEntryPoints(tuple(entries)))


# search --------------------------------------------------------------------------------------------------------------


def test_search_prints_a_line_a_model_that_begins_with_its_reference(zoo: Zoo, repository: Path) -> None:
    done = zoo("search")
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()] == [
        "com.example/net@2.0", "com.example/net@1.0", "com.example/other@0.1",
    ]  # fmt: skip
    assert "PyTorch, MXNet" in done.out
    assert "layers=50" in done.out


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["cats"], ["2.0", "1.0"]),
        (["CATS 50"], ["2.0"]),
        (["dogs"], []),
        (["--filter", "layers=18"], ["1.0"]),
        (["--engine", "mxnet", "--artifact", "net"], ["1.0"]),
        (["--artifact", "net", "--version", "<2"], ["1.0"]),
        (["--artifact", "net", "--version", "[1.0,2.0)"], ["1.0"]),
        (["--application", "cv", "--limit", "1"], ["2.0"]),
        (["--sort", "version"], ["0.1", "1.0", "2.0"]),
        (["--sort", "layers", "--artifact", "net"], ["1.0", "2.0"]),
    ],
)
def test_search_finds(zoo: Zoo, repository: Path, arguments: list[str], found: list[str]) -> None:
    done = zoo("search", *arguments)
    assert [line.split()[0].rpartition("@")[2] for line in done.out.splitlines()] == found


def test_search_in_json_is_one_document_with_every_field(zoo: Zoo, repository: Path) -> None:
    done = zoo("--json", "search", "--filter", "layers=18")
    (record,) = done.json["records"]
    assert done.json["messages"] == []
    assert done.err == ""
    assert record == {
        "mrl": "model/cv/image_classification/com.example/net",
        "group_id": "com.example",
        "artifact_id": "net",
        "name": "net18",
        "version": "1.0",
        "description": "A net for cats",
        "application": "cv/image_classification",
        "engines": ["PyTorch", "MXNet"],
        "properties": {"layers": "18"},
        "requires": [],
        "licenses": [{"id": "mit", "name": "MIT", "url": "https://example.com/mit"}],
        "files": [
            {
                "key": "parameters", "name": "net.params.bin", "uri": "net.params.bin",
                "size": len(WEIGHTS), "sha256": sha256(WEIGHTS),
            },
        ],
        "size": len(WEIGHTS),
        "repository": repository.as_uri(),
        "cached": True,
        "missing": ["zoo-pytorch"],
        "reason": None,
    }  # fmt: skip


def test_a_search_without_hits_ends_well_and_says_why_on_standard_error(zoo: Zoo, repository: Path) -> None:
    done = zoo("search", "--filter", "layer=18")
    assert (done.status, done.out) == (0, "")
    assert "filter key `layer`: did you mean `layers`?" in done.err


def test_the_mrl_that_search_prints_is_a_model(zoo: Zoo, repository: Path) -> None:
    mrl = zoo("search", "--json", "--filter", "layers=18").json["records"][0]["mrl"]
    assert zoo("info", mrl, "--json").json["record"]["artifact_id"] == "net"


def test_a_repository_that_cannot_be_read_hides_no_other(zoo: Zoo, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_REPOSITORIES", f"/nowhere {repository.as_uri()}")
    done = zoo("search", "--artifact", "net")
    assert len(done.out.splitlines()) == 2
    assert "repository /nowhere could not be read" in done.err


# explain -------------------------------------------------------------------------------------------------------------


def test_explain_answers_for_a_load(zoo: Zoo, repository: Path) -> None:
    done = zoo("explain", "net")
    assert done.status == 0
    assert "engine PyTorch is not installed: pip install zoo-pytorch" in done.err


def test_explain_gives_each_record_its_reason_in_json(zoo: Zoo, repository: Path) -> None:
    records = zoo("explain", "other", "--json").json["records"]
    reasons = {record["artifact_id"]: record["reason"] for record in records}
    assert reasons["other"].startswith("no engine is installed")
    assert reasons["net"] == "artifact_id=other (this is net)"


# info ----------------------------------------------------------------------------------------------------------------


def test_info_tells_what_a_load_costs_and_runs(zoo: Zoo, repository: Path) -> None:
    done = zoo("info", "net@1.0")
    assert done.status == 0
    assert "licence      MIT" in done.out
    assert f"sha256:{sha256(WEIGHTS)}" in done.out
    assert "to fetch     0 B" in done.out
    assert "missing      pip install zoo-pytorch" in done.out


def test_info_of_what_is_not_there_names_the_nearest(zoo: Zoo, repository: Path) -> None:
    done = zoo("info", "net@3")
    assert done.status == 3
    assert done.err.startswith("error: no model matches")
    assert "version 3 (there is: 1.0, 2.0)" in done.err.splitlines()[0]


def test_different_models_are_ambiguous_and_the_deciding_option_is_named(zoo: Zoo, repository: Path) -> None:
    done = zoo("info", "--group", "com.example")
    assert done.status == 3
    assert "com.example/net, com.example/other" in done.err
    assert "--artifact" in done.err


# download and index --------------------------------------------------------------------------------------------------


def test_download_prints_one_folder_with_the_files(zoo: Zoo, repository: Path) -> None:
    done = zoo("download", "net@1.0")
    folder = Path(done.out.strip())
    assert done.status == 0
    assert [path.name for path in folder.iterdir()] == ["net.params.bin"]
    assert (folder / "net.params.bin").read_bytes() == WEIGHTS
    assert not (folder / "net.params.bin").is_symlink()


def test_download_to_a_folder_gives_files_that_may_be_edited(zoo: Zoo, repository: Path, tmp_path: Path) -> None:
    done = zoo("download", "net@1.0", "--to", tmp_path / "mine", "--json")
    path = Path(done.json["path"]) / "net.params.bin"
    assert path == tmp_path / "mine" / "net.params.bin"
    assert path.stat().st_mode & 0o200


def test_download_takes_what_cannot_be_loaded_here(zoo: Zoo, repository: Path) -> None:
    assert zoo("download", "other").status == 0


def test_a_wrong_digest_leaves_nothing(zoo: Zoo, repository: Path, tmp_path: Path) -> None:
    file = item("net.params.bin", b"something else")
    publish(repository, document(artifact(files={"parameters": file}), artifact_id="broken"))
    done = zoo("download", "broken", "--to", tmp_path / "mine")
    assert done.status == 5
    assert f"expected sha256:{sha256(b'something else')}, got sha256:{sha256(WEIGHTS)}" in done.err
    assert not (tmp_path / "mine").exists()


def test_index_fills_in_digests_and_writes_an_index(zoo: Zoo, repository: Path) -> None:
    path = publish(repository, document(artifact(files={"parameters": item("net.params.bin")}), artifact_id="new"))
    done = zoo("index", repository)
    assert done.status == 0
    assert "filled in: model/cv/image_classification/com/example/new/metadata.json: parameters" in done.err
    written = json.loads(path.read_text())["artifacts"][0]["files"]["parameters"]
    assert written == {"uri": "net.params.bin", "sha256": sha256(WEIGHTS), "size": len(WEIGHTS)}
    index = json.loads((repository / "index.json").read_text())
    assert [entry["path"].split("/")[-2] for entry in index["documents"]] == ["net", "new", "other"]


# options and errors --------------------------------------------------------------------------------------------------


def test_version(zoo: Zoo) -> None:
    assert zoo("--version").out == f"zoo {__version__}\n"


def test_without_a_verb_the_help_is_printed(zoo: Zoo) -> None:
    done = zoo()
    assert done.status == 0
    assert all(verb in done.out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(zoo: Zoo, verb: str) -> None:
    done = zoo(verb, "--help")
    assert done.status == 0
    assert done.out.startswith(f"Usage: zoo {verb}")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["serch"], 2, "there is no verb 'serch' (did you mean search?)"),
        (["search", "--filtr", "a=b"], 2, "--filtr"),
        (["search", "--filter", "a"], 2, "expected KEY=VALUE"),
        (["search", "--filter", "a=1", "--filter", "a=2"], 2, "given twice"),
        (["search", "--application", "cv/clasification"], 2, "unknown application"),
        (["search", "--version", "[1.0"], 2, "version '[1.0'"),
        (["search", "--sort", "colour"], 2, "--sort 'colour'"),
        (["search", "--repository", "./nowhere"], 4, "there is no such folder"),
        (["search", "--repository", "gopher://example.com"], 4, "repository kind 'gopher'"),
        (["search", "--config", "./nowhere.toml"], 2, "does not exist"),
        (["info", "./net.safetensors"], 2, "there is no such file"),
        (["explain", "./net.safetensors"], 2, "names a file"),
        (["info", "nothing"], 3, "no model matches"),
        (["predict"], 2, "name a model"),
        (["predict", "net"], 2, "at least one INPUT"),
        (["predict", "net", "./nowhere.png"], 2, "there is no such file"),
        (["index", "./nowhere"], 4, "there is no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_and_a_status(zoo: Zoo, repository: Path, arguments: list[str], status: int, message: str) -> None:
    done = zoo(*arguments)
    assert done.status == status
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert done.err.startswith("error: ")
    assert message in done.err


def test_an_error_in_json_is_a_document_too(zoo: Zoo, repository: Path) -> None:
    done = zoo("info", "nothing", "--json")
    error = done.json["error"]
    assert (error["type"], error["exit_code"]) == ("ModelNotFoundError", 3)
    assert "nothing" in error["message"]
    assert done.err.startswith("error: ")


def test_a_missing_engine_is_an_error_of_its_own(zoo: Zoo, repository: Path) -> None:
    done = zoo("predict", "net@1.0", __file__)
    assert done.status == 8
    assert done.err.startswith("error: no engine for")
    assert "pip install zoo-mxnet or pip install zoo-pytorch" in done.err


def test_more_with_v_and_never_a_traceback(zoo: Zoo, repository: Path) -> None:
    done = zoo("-v", "info", "nothing")
    assert done.err.count("\n") > 1
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "arguments", [["--json", "search"], ["search", "--json"], ["search", "--quiet", "--json", "--offline"]]
)
def test_common_options_stand_before_or_after_the_verb(zoo: Zoo, repository: Path, arguments: list[str]) -> None:
    assert len(zoo(*arguments).json["records"]) == 3


def test_foreign_control_characters_do_not_reach_the_terminal(zoo: Zoo, repository: Path) -> None:
    publish(repository, document(artifact(properties={"colour": "\x1b[31mred"}), artifact_id="evil"))
    done = zoo("search", "--artifact", "evil")
    assert "\x1b" not in done.out
    assert r"colour=\x1b[31mred" in done.out


def test_an_interrupt_ends_with_130(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo_core.zoo.ModelZoo.search", interrupted)
    assert zoo("search").status == 130


def test_a_closed_pipe_ends_quietly(repository: Path) -> None:
    script = Path(sysconfig.get_path("scripts"), "zoo")
    command = f"{sys.executable} {script} search --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{", "")


@pytest.mark.parametrize("statement", ["from zoo_core.cli.main import run; run(['search'])", "import zoo_core"])
def test_listing_imports_nothing_heavy(repository: Path, statement: str) -> None:
    code = f"{statement}; import sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not loaded & {"torch", "mxnet", "requests", "rich", "numpy", "PIL", "zoo_pytorch", "zoo_mxnet"}


# what a terminal sees ------------------------------------------------------------------------------------------------


def on_a_terminal(*arguments: str) -> bytes:
    """What the command writes to a terminal, where nothing is filtered out."""
    pty = pytest.importorskip("pty", reason="needs a system with terminals")
    reader, writer = pty.openpty()
    script = Path(sysconfig.get_path("scripts"), "zoo")
    process = subprocess.Popen([sys.executable, script, *arguments], stdout=writer, stderr=writer, stdin=subprocess.DEVNULL)
    os.close(writer)
    seen = b""
    with suppress(OSError):  # how a terminal says that nobody writes to it any more
        while chunk := os.read(reader, 1 << 16):
            seen += chunk
    os.close(reader)
    process.wait(60)
    return seen


HOSTILE = "\x1b]0;owned\x07\x9b31m"


@pytest.mark.parametrize(
    "arguments",
    [["search"], ["search", "--json"], ["explain"], ["info", "evil"], ["info", "evil@9"], ["download", "evil"]],
    ids=" ".join,
)
def test_nothing_foreign_commands_a_terminal(repository: Path, arguments: list[str]) -> None:
    file = item("net.params.bin", b"other")
    evil = artifact(HOSTILE, name=HOSTILE, properties={HOSTILE: HOSTILE}, files={"parameters": file})
    texts = {"description": HOSTILE, "name": HOSTILE, "licenses": {"x": {"name": HOSTILE}}}
    publish(repository, document(evil, artifact_id="evil", **texts))
    publish(repository, document(artifact_id=f"bad{HOSTILE}", name=["no text"]), folder="model/cv/com/example/bad")

    seen = on_a_terminal(*arguments, "--repository", str(repository))

    assert b"owned" in seen
    for commanding in (b"\x1b]", b"\x07", "\x9b".encode()):
        assert commanding not in seen


def test_json_has_no_word_for_what_is_no_number(capfd: pytest.CaptureFixture[str]) -> None:
    Output(is_json=True).document({"a": [float("nan"), float("inf"), 1.5]})
    assert json.loads(capfd.readouterr().out, parse_constant=pytest.fail) == {"a": [None, None, 1.5]}


def test_the_standard_options_are_in_every_help(zoo: Zoo) -> None:
    for arguments in (["--help"], ["search", "--help"]):
        assert "--offline" in zoo(*arguments).out


def test_an_option_without_its_value_is_an_error(zoo: Zoo) -> None:
    done = zoo("search", "--config")
    assert (done.status, done.err) == (2, "error: --config needs a value: --config FILE\n")


def test_output_that_cannot_be_written_is_one_line(repository: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    script = Path(sysconfig.get_path("scripts"), "zoo")
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, script, "search", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr
