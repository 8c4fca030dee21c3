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

from tests import archives, parameter_files
from tests.core import toy_engine
from tests.core.toy_engine import Numbers, Scale, ScaleFactory, stored
from tests.repositories import WEIGHTS, artifact, document, item, publish, sha256
from zoo_core import Model, __version__
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
    """The catalogues of the plugins that happen to be installed are not asked, and no engine is found but the toy one."""
    if "installed" not in request.keywords:
        from zoo_core.entry_points import InstalledEntryPoints

        scan, kept = InstalledEntryPoints.scan, ("zoo-core", "zoo-toy-engine")
        monkeypatch.setattr(
            InstalledEntryPoints,
            "scan",
            lambda: InstalledEntryPoints(tuple(entry for entry in scan().entries if entry.distribution in kept)),
        )


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


def test_a_weak_digest_is_called_so(zoo: Zoo, repository: Path) -> None:
    files = {"parameters": {"uri": "net.params.bin", "sha256Prefix": sha256(WEIGHTS)[:8]}}
    publish(repository, document(artifact(files=files), artifact_id="weak"))
    (line,) = [line for line in zoo("search", "--repository", repository).out.splitlines() if "weak" in line]
    assert line.endswith("(weak digest)")
    assert f"sha256:{sha256(WEIGHTS)[:8]}... (weak digest)" in zoo("info", "weak", "--repository", repository).out
    (line,) = [line for line in zoo("search", "net", "--repository", repository).out.splitlines() if "/net@1.0" in line]
    assert "weak" not in line


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


def test_a_search_in_a_folder_that_is_no_repository_says_so(zoo: Zoo, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = zoo("search", "--repository", tmp_path / "empty")
    assert (done.status, done.out) == (0, "")
    message = f"{tmp_path / 'empty'} holds no model/<application>/<group id>/<artifact id>/metadata.json"
    assert done.err.splitlines()[-2:] == ["nothing matches", message]
    assert message in zoo("index", tmp_path / "empty").err
    # One that only has nothing of the name asked for is a repository.
    assert "holds no" not in zoo("search", "elephant", "--repository", repository).err


@pytest.mark.parametrize("verb", ["info", "predict", "check"])
def test_who_forgets_the_dot_before_a_folder_is_told_to_write_it(
    zoo: Zoo, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    (tmp_path / "work" / "dl").mkdir(parents=True)
    (tmp_path / "work" / "x.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "work")
    inputs = ["x.png"] if verb == "predict" else []
    done = zoo(verb, "dl", *inputs)
    assert (done.status, done.err.splitlines()[-1].endswith("; there is a folder ./dl here: write ./dl")) == (3, True)
    assert "write ./" not in zoo(verb, "dll", *inputs).err


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


def test_artifacts_of_one_version_are_told_apart_by_their_names(zoo: Zoo, repository: Path) -> None:
    variants = [artifact("1.0", name=name, properties={"layers": "50"}) for name in ("one", "two", "three")]
    publish(repository, document(*variants, artifact_id="several"))
    lines = zoo("explain", "several", "--application", "nlp").err.splitlines()[1:4]
    assert [line.split()[:2] for line in lines] == [["com.example/several@1.0", name] for name in ("one", "two", "three")]
    told = zoo("info", "several").out.splitlines()
    assert "variant      one, first of 3 (others: two, three; --artifact-name chooses)" in told
    assert zoo("info", "several", "--json").json["others"] == ["two", "three"]
    assert "variant      two" in zoo("info", "several", "--artifact-name", "two").out.splitlines()
    assert zoo("explain", "several", "--artifact-name", "twoo").err.count("did you mean") == 1


def test_info_leaves_out_what_there_is_not(zoo: Zoo, repository: Path) -> None:
    told = zoo("info", "other").out
    assert [word for word in ("about", "variant") if word in told] == []


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


def test_a_mirror_is_written_into_no_file(zoo: Zoo, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = zoo("mirror", tmp_path / "file")
    assert (done.status, done.err) == (2, f"error: {tmp_path / 'file'} is a file; name a folder\n")


def test_an_interrupt_ends_with_130(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo_core.zoo.ModelZoo.search", interrupted)
    assert zoo("search").status == 130


def test_an_interrupt_while_the_command_itself_is_imported_ends_with_130_too() -> None:
    code = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from zoo_core.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


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


# a file in a model's place -------------------------------------------------------------------------------------------


@pytest.fixture
def toy(install: Callable[..., Path]) -> None:
    """An engine, installed as a plugin."""
    pytest.importorskip("numpy")
    install("zoo-toy-engine", "1.4.2", entry_points=toy_engine.ENTRY_POINTS)


@pytest.fixture
def scale(toy: None, tmp_path: Path) -> Path:
    """A model in one file, with golden outputs and a translator."""
    import numpy as np

    path = tmp_path / "scale.safetensors"
    block = Scale(3, np.array([2.0, 3.0, -1.0], np.float32), zoo_factory=ScaleFactory(width=3))
    Model(block, translator=Numbers(offset=0.5)).save(path, golden=np.array([[1.0, 2.0, 3.0]], np.float32))
    return path


def spoilt(path: Path) -> Path:
    """The same model, computing something else."""
    content = path.read_bytes()
    weights = parameter_files.floats(2, 3, -1)
    assert content.count(weights) == 1
    path.write_bytes(content.replace(weights, parameter_files.floats(2, 3.5, -1)))
    return path


def test_info_of_a_file_shows_its_header_its_cost_what_it_runs_and_its_tree(zoo: Zoo, scale: Path) -> None:
    done = zoo("info", scale)
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"file         {scale}",
        "format       safetensors",
        "factory      scale(width=3)",
        "engines      Toy",
        "translator   toy_numbers(offset=0.5)",
        "golden       outputs to check, within rtol 1e-05, atol 1e-06",
        "requires     zoo-toy-engine>=1.4",
        f"written with zoo-core {__version__}, zoo-toy-engine 1.4.2",
        "input        input  float32[*, 3]",
        "output       output_0  float32[*, 3]",
        f"on disk      {scale.stat().st_size} B",
        "in memory    12 B",
        "parameters   1 tensors, 3 values",
        "runs         code: factory toy.scale of zoo-toy-engine 1.4.2 (allowed)",
        "runs         code: translator toy_numbers of zoo-toy-engine 1.4.2 (allowed)",
        "runs         data: parameters scale (allowed)",
        "  weight  float32[3]",
    ]


def test_info_of_a_file_in_json_is_one_document(zoo: Zoo, scale: Path) -> None:
    found = zoo("info", scale, "--json").json
    assert list(found) == ["record", "name", "others", "format", "header", "parameters", "files", "cost", "runs"]
    assert (found["record"], found["name"], found["format"]) == (None, "scale", "safetensors")
    assert found["parameters"] == {"weight": {"dtype": "float32", "shape": [3], "bytes": 12}}
    assert [run["kind"] for run in found["runs"]] == ["code", "code", "data"]


def test_a_folder_and_an_archive_may_stand_in_a_models_place_too(zoo: Zoo, scale: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "scale.safetensors").write_bytes(scale.read_bytes())
    (tmp_path / "net.tgz").write_bytes(archives.tarred({"net/scale.safetensors": scale.read_bytes()}, mode="w:gz"))
    for place in (folder, tmp_path / "net.tgz"):
        assert zoo("info", place, "--json").json["name"] == "scale"
        assert zoo("check", place).status == 0


@pytest.mark.parametrize("key", ["zoo.factory", "zoo.engines", "zoo.translator", "zoo.golden", "zoo.requires", "zoo.signature"])
@pytest.mark.parametrize("text", ["", "{", "3", "null", "[3]", '{"a": 1}', '"x"', "[" * 100_000], ids=lambda text: text[:9])
def test_a_malformed_entry_is_shown_as_it_stands(zoo: Zoo, toy: None, tmp_path: Path, key: str, text: str) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(stored({"weight": [1.0]}, {key: text}))
    done = zoo("info", path, "--engine", "toy")
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    assert done.status == 0
    assert f"{key:<12} {shown}".rstrip() in done.out.splitlines()


FORGED = "x\nruns         data: parameters net (allowed)\r\n\x1b[2J\u202e"


@pytest.mark.parametrize(
    "header",
    [
        {"zoo.factory": json.dumps({"factory": FORGED, "fields": {FORGED: FORGED}})},
        {"zoo.translator": json.dumps({"name": FORGED, "arguments": {FORGED: [FORGED]}})},
        {"zoo.engines": json.dumps(["Toy", FORGED])},
        {"zoo.requires": json.dumps([FORGED])},
        {"zoo.written_with": json.dumps({FORGED: FORGED})},
        {"zoo.signature": json.dumps({"inputs": [{"name": FORGED, "dtype": FORGED, "shape": [FORGED]}], "outputs": []})},
        {"zoo.golden": FORGED},
        {FORGED: FORGED},
    ],
    ids=lambda header: repr(next(iter(header)))[:20],
)
def test_nothing_foreign_begins_a_line_of_its_own(zoo: Zoo, toy: None, tmp_path: Path, header: dict[str, str]) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(stored({"weight": [1.0]}, header))
    done = zoo("info", path, "--engine", "toy")
    assert sum(line.startswith("runs         data:") for line in done.out.splitlines()) == 1
    assert not {"\x1b", "\r", "\u202e"} & set(done.out)
    assert "\\x1b[2J" in done.out or "u001b" in done.out


def test_a_foreign_name_of_a_tensor_begins_none_either(zoo: Zoo, toy: None, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(stored({FORGED: [1.0], f"a.{FORGED}": [1.0], "_extra_state": [1.0]}))
    done = zoo("info", path, "--engine", "toy")
    assert not any(line.startswith("runs         data:") for line in done.out.splitlines())
    assert "\x1b" not in done.out


def test_the_tree_is_drawn_as_deep_as_fits_and_all_of_it_with_v(zoo: Zoo, toy: None, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(stored({f"layers.{layer}.{leaf}": [1.0] for layer in range(30) for leaf in ("weight", "bias")}))
    assert "    0  2 tensors, 8 B" in zoo("info", path).out.splitlines()
    assert "      weight  float32[1]" in zoo("info", path, "-v").out.splitlines()


@pytest.mark.parametrize("kind", ["torch.aten", "torch.export", "torchscript", "mxnet.symbol"])
def test_a_program_is_shown_with_what_it_makes_of_the_mode(zoo: Zoo, toy: None, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(parameter_files.with_program(parameter_files.PROGRAMS[kind], "body._extra_state"))
    (line,) = (line for line in zoo("info", path).out.splitlines() if kind in line)
    assert line.startswith(
        f"runs         {'data' if kind == 'torch.aten' else 'program'}: {kind} body._extra_state (allowed); "
    )


# check ---------------------------------------------------------------------------------------------------------------


def test_check_of_what_agrees_ends_well(zoo: Zoo, scale: Path) -> None:
    done = zoo("check", scale)
    assert (done.status, done.err) == (0, "")
    assert done.out == "output_0  ok  largest difference 0  relative 0  Toy on cpu\n"
    assert zoo("check", scale, "--json").json == {
        "engine": "Toy",
        "device": "cpu",
        "outputs": [{"name": "output_0", "max_abs": 0.0, "max_rel": 0.0, "ok": True}],
    }


def test_check_of_what_differs_says_how_far_and_ends_with_5(zoo: Zoo, scale: Path) -> None:
    done = zoo("check", spoilt(scale))
    assert done.status == 5
    assert done.out == "output_0  differs  largest difference 1  relative 0.167  Toy on cpu\n"
    beyond = "is beyond the tolerance that its author gave (rtol 1e-05, atol 1e-06)"
    assert done.err == f"error: output_0 of scale in Toy on cpu {beyond}\n"


def test_check_of_what_differs_is_one_document_in_json_and_a_line_beside_it(zoo: Zoo, scale: Path) -> None:
    done = zoo("check", spoilt(scale), "--json")
    assert done.status == 5
    assert [(item["name"], item["max_abs"], item["ok"]) for item in done.json["outputs"]] == [("output_0", 1.0, False)]
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_a_difference_without_bound_has_a_word_and_null_in_json(zoo: Zoo, scale: Path) -> None:
    content = scale.read_bytes()
    golden = parameter_files.floats(2, 6, -3)
    scale.write_bytes(content.replace(golden, parameter_files.floats(2, float("nan"), -3)))
    assert "differs  largest difference unbounded" in zoo("check", scale).out
    assert zoo("check", scale, "--json").json["outputs"][0]["max_abs"] is None


def test_without_golden_outputs_there_is_nothing_to_compare_and_that_is_no_error(zoo: Zoo, toy: None, tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    path.write_bytes(stored({"weight": [1.0]}, {"zoo.factory": '{"factory": "scale"}', "zoo.engines": '["Toy"]'}))
    done = zoo("check", path)
    assert (done.status, done.out) == (0, "")
    assert done.err == "bare carries no golden outputs, so there is nothing to compare\n"
    assert zoo("check", path, "--json").json == {"engine": "Toy", "device": "cpu", "outputs": []}


def test_check_takes_a_model_with_select_too(zoo: Zoo, scale: Path, tmp_path: Path) -> None:
    files = {"parameters": item("scale.safetensors", scale.read_bytes())}
    publish(tmp_path / "zoo", document(artifact(files=files, engines=["Toy"])), {"scale.safetensors": scale.read_bytes()})
    assert zoo("check", "net", "--repository", tmp_path / "zoo", "--engine", "toy").status == 0


# options of a load ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["info", "check", "predict"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--application", "cv"),
        ("--group", "g"),
        ("--artifact", "a"),
        ("--version", "1"),
        ("--filter", "a=1"),
        ("--repository", "."),
    ],
)
def test_a_file_leaves_no_room_for_what_chooses_among_models(zoo: Zoo, scale: Path, verb: str, option: str, value: str) -> None:
    done = zoo(verb, scale, *([scale] if verb == "predict" else []), option, value)
    if verb == "predict" and option == "--artifact":
        assert done.status != 0  # with --artifact every argument is an INPUT
        return
    assert (done.status, done.out) == (2, "")
    assert done.err == f"error: {scale} is one file: {option} cannot choose among others\n"


def test_argument_option_and_not_strict_reach_the_load(zoo: Zoo, scale: Path, tmp_path: Path) -> None:
    text = tmp_path / "in.txt"
    text.write_text("1 1 1")
    assert zoo("check", scale, "--argument", "widht=3").err.startswith("error: nobody takes the argument 'widht'")
    assert zoo("check", scale, "--option", "sped=3").err.startswith("error: engine Toy has no option 'sped'")
    path = tmp_path / "more.safetensors"
    header = {"zoo.factory": '{"factory": "scale"}', "zoo.engines": '["Toy"]'}
    path.write_bytes(stored({"weight": [1.0], "bias": [1.0]}, header))
    assert zoo("check", path).status == 5
    done = zoo("check", path, "--not-strict")
    assert (done.status, done.err.splitlines()[0]) == (0, "warning: more: loaded what fits; unexpected bias")


def test_trust_programs_reaches_the_load(zoo: Zoo, toy: None, tmp_path: Path) -> None:
    content = parameter_files.PT2
    files = {"parameters": item("net.bin", content)}
    publish(tmp_path / "zoo", document(artifact(files=files, engines=["Toy"])), {"net.bin": content})
    done = zoo("check", "net", "--repository", tmp_path / "zoo")
    assert done.status == 6
    assert done.err.startswith("error: com.example/net@1.0 holds a program (torch.export) from file://")
    assert done.err.endswith("trust_programs=True (--trust-programs)\n")
    assert zoo("check", "net", "--repository", tmp_path / "zoo", "--trust-programs").status == 0


CARRIED = b"""
from dataclasses import dataclass
from pathlib import Path
from tests.core.toy_engine import Scale
from zoo_core import BlockFactory

@dataclass(frozen=True, kw_only=True)
class Carried(BlockFactory):
    def new_block(self, model, model_path, arguments):
        return Scale(1)
"""


@pytest.fixture
def carrying(toy: None, tmp_path: Path) -> Path:
    """A folder with parameters and code."""
    folder = tmp_path / "carrying"
    folder.mkdir()
    (folder / "net.safetensors").write_bytes(stored({"weight": [1.0]}, {"zoo.engines": '["Toy"]'}))
    (folder / "block_factory.py").write_bytes(CARRIED)
    return folder


def test_carried_code_needs_trust_that_its_error_says(zoo: Zoo, carrying: Path) -> None:
    done = zoo("check", carrying)
    assert (done.status, done.out) == (6, "")
    assert f"Read it: {carrying / 'block_factory.py'}. " in done.err
    assert done.err.endswith(f"(--trust-code sha256:{sha256(CARRIED)})\n")
    word = done.err.rpartition("--trust-code ")[2].rstrip(")\n")
    assert zoo("check", carrying, "--trust-code", word).status == 0
    assert zoo("check", carrying, "--trust-code", "dist:acme", "--trust-code", word).status == 0
    assert zoo("check", carrying, "--trust-code", f"sha256:{'0' * 64}").status == 6
    short = zoo("check", carrying, "--trust-code", word[:-1])
    assert short.status == 1
    assert "is no digest: sha256: and 64 hexadecimal digits" in short.err


def test_code_is_trusted_by_a_configuration_that_is_named_and_not_by_one_that_lies_about(
    zoo: Zoo, carrying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(f'trust_code = ["sha256:{sha256(CARRIED)}"]')
    assert zoo("check", carrying, "--config", config).status == 0
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("zoo.toml").write_text(config.read_text())
    done = zoo("check", carrying)
    assert done.status == 2
    assert "`trust_code` counts only in your own configuration" in done.err


def test_an_argument_is_json_where_it_is_some(zoo: Zoo, scale: Path) -> None:
    from zoo_core.address import value_of

    assert [value_of(text) for text in ("3", "[1, 2]", "true", "cat", "", "[" * 100_000)] == [
        3,
        [1, 2],
        True,
        "cat",
        "",
        "[" * 100_000,
    ]


@pytest.mark.parametrize("given", ["file", "folder", "zip"])
def test_info_of_a_file_imports_no_engine_and_no_numpy(scale: Path, tmp_path: Path, given: str) -> None:
    place = {"file": scale, "folder": tmp_path / "alone", "zip": tmp_path / "net.zip"}[given]
    if given == "folder":
        place.mkdir()
        (place / "scale.safetensors").write_bytes(scale.read_bytes())
    if given == "zip":
        place.write_bytes(archives.zipped({"scale.safetensors": scale.read_bytes()}))
    code = f"from zoo_core.cli.main import run; run(['info', {str(place)!r}]); import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "weight  float32[3]" in done.stdout
    assert not loaded & {"torch", "mxnet", "requests", "rich", "numpy", "PIL", "zoo_pytorch", "zoo_mxnet", "tests"}


def test_a_search_imports_nothing_that_only_a_load_needs(repository: Path) -> None:
    code = "from zoo_core.cli.main import run; run(['search']); import sys; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    needless = ("material", "bundle", "carried", "trust", "golden", "resolution", "loader", "description", "how", "model")
    assert not {f"zoo_core.{name}" for name in needless} & set(done.stderr.split())
    assert not any(name.startswith("zoo_core.parameters") for name in done.stderr.split())
