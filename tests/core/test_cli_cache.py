"""``zoo cache``: what it prints, and the status it ends with."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.memory import LABELS, WEIGHTS, Memory, file, model
from zoo_core import lease as lease_module
from zoo_core.cache import Cache
from zoo_core.cli.cache import byte_count, seconds
from zoo_core.cli.main import run
from zoo_core.errors import CriteriaError
from zoo_core.upkeep import GRACE_S
from zoo_core.wording import bytes_text

Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture
def zoo(capfd: pytest.CaptureFixture[str]) -> Zoo:
    def call(*arguments: object) -> tuple[int, str, str]:
        status = run([str(argument) for argument in arguments])
        return (status, *capfd.readouterr())

    return call


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two versions of one model, the older one used ten days ago; no process uses them."""
    monkeypatch.setattr(lease_module._ProcessLease, "add", lambda *_: None)
    cache = Cache(Path(os.environ["ZOO_HOME"]))
    cache.folder(model(file(), version="1.0", name="net\x1b[31m"), Memory(parameters=WEIGHTS))
    (owner,) = (cache.home / "folders").iterdir()
    os.utime(owner, (time.time() - 10 * 86_400 - 60, time.time() - 10 * 86_400 - 60))
    cache.folder(model(file("synset", LABELS), version="2.0"), Memory(synset=LABELS))
    return cache.home


def test_dir_prints_the_folder(zoo: Zoo) -> None:
    home = os.environ["ZOO_HOME"]
    assert zoo("cache", "dir") == (0, f"{home}\n", "")
    status, out, _ = zoo("cache", "dir", "--json")
    assert (status, json.loads(out)) == (0, {"path": home})


def test_without_a_verb_it_says_which_there_are(zoo: Zoo) -> None:
    status, out, _ = zoo("cache")
    assert status == 0
    assert all(verb in out for verb in ("dir", "ls", "prune", "rm", "verify"))
    error = "error: there is no command 'lss' (did you mean ls?). Commands: dir, ls, prune, rm, verify (zoo cache --help)\n"
    assert zoo("cache", "lss") == (2, "", error)


def test_ls_lists_what_is_there_the_last_used_first(zoo: Zoo, home: Path) -> None:
    status, out, err = zoo("cache", "ls")
    assert status == 0
    first, second = out.splitlines()
    assert first.split("  ")[0] == "com.example/net@2.0"
    assert re.search(r"used \d+ seconds? ago", first)
    assert "com.example/net@1.0" in second
    assert "net\\x1b[31m" in second
    assert "700 B" in second
    assert "used 10 days ago" in second
    assert err.startswith("2 artifacts, ")
    assert err.endswith(f"on the disk, in {home}\n")


def test_ls_as_json(zoo: Zoo, home: Path) -> None:
    status, out, err = zoo("--json", "cache", "ls")
    found = json.loads(out)
    assert (status, err, found["path"]) == (0, "", str(home))
    assert found["size"] > len(WEIGHTS) + len(LABELS)
    first, second = found["artifacts"]
    assert set(first) == {
        "reference", "mrl", "group_id", "artifact_id", "version", "name", "repository",
        "path", "files", "size", "last_use", "age_s", "in_use",
    }  # fmt: skip
    assert (second["version"], second["size"], second["files"], second["in_use"]) == ("1.0", 700, 1, False)
    assert 864_000 < second["age_s"] < 865_000
    assert Path(second["path"]).is_dir()


def partly(home: Path, name: str, age_s: float, **state: object) -> Path:
    """What came of a download that broke off so long ago."""
    folder = home / "partial" / name
    folder.mkdir(parents=True)
    (folder / "content").write_bytes(b"1" * 1500)
    (folder / "state.json").write_text(json.dumps({"done": [[0, 1500]], **state}))
    for path in (folder / "content", folder / "state.json", folder):
        os.utime(path, (time.time() - age_s,) * 2)
    return folder


def test_ls_shows_downloads_that_are_not_whole_with_what_came_and_when(zoo: Zoo, home: Path) -> None:
    before = json.loads(zoo("cache", "ls", "--json")[1])["size"]
    url = "https://anna:secret@models.example/net\x1b.bin"
    older = partly(home, "0" * 64, 3 * 3600 + 60, url=url, total=3_000_000)
    partly(home, f"{'1' * 64}.0123", 70)
    (home / "partial" / "empty").mkdir()
    status, out, err = zoo("cache", "ls")
    assert status == 0
    new, old = out.splitlines()[2:]
    assert new.split("  ")[0] == "unfinished"
    assert "1.5 kB" in new
    assert "last byte 1 minute ago" in new
    assert new.endswith(f"{'1' * 64}.0123")
    assert "1.5 kB of 3.0 MB" in old
    assert "last byte 3 hours ago" in old
    assert old.endswith("https://***@models.example/net\\x1b.bin")
    assert err.startswith("2 artifacts, 2 unfinished downloads, ")
    assert "secret" not in out
    found = json.loads(zoo("cache", "ls", "--json")[1])
    assert found["size"] >= before + 3000
    assert [item["size"] for item in found["unfinished"]] == [1500, 1500]
    assert found["unfinished"][1]["path"] == str(older)
    assert (found["unfinished"][1]["total"], found["unfinished"][0]["total"]) == (3_000_000, None)
    assert 10_800 < found["unfinished"][1]["age_s"] < 10_900
    assert "secret" not in json.dumps(found)


def test_prune_removes_those_that_nobody_continues_and_verify_leaves_them(
    zoo: Zoo, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = partly(home, "0" * 64, 0)
    assert zoo("cache", "verify")[0] == 0
    assert zoo("cache", "prune") == (0, "", "0 B freed\n")
    later = time.time() + GRACE_S + 60
    monkeypatch.setattr(time, "time", lambda: later)
    status, _, err = zoo("cache", "prune")
    assert (status, err) == (0, f"{bytes_text(1500 + 20)} freed\n")
    assert not folder.exists()


def test_rm_removes_a_version_or_all_of_them(zoo: Zoo, home: Path) -> None:
    assert zoo("cache", "rm", "net@1.0") == (0, "removed com.example/net@1.0 net\\x1b[31m\n", "700 B freed\n")
    status, out, err = zoo("cache", "rm", "net", "--json")
    found = json.loads(out)
    assert (status, err, found["freed"], found["in_use"]) == (0, "", len(LABELS), [])
    assert [item["version"] for item in found["removed"]] == ["2.0"]
    status, out, err = zoo("cache", "rm", "net")
    assert (status, out) == (3, "")
    assert err == f"error: net is not in the cache {home}. In it: nothing\n"


def test_rm_of_nothing_is_wrong_usage(zoo: Zoo) -> None:
    assert zoo("cache", "rm") == (2, "", "error: Missing argument 'MODEL...'. (zoo cache rm --help)\n")


def test_what_is_in_use_is_not_removed_and_the_status_says_so(zoo: Zoo, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("ZOO_HOME", str(home))
    Cache(home).files(model(file(), version="1.0", name="net\x1b[31m"), Memory())
    status, out, err = zoo("cache", "rm", "net")
    assert (status, out) == (7, "removed com.example/net@2.0\n")
    assert err == "8 B freed\nerror: not removed, as running processes use it: com.example/net@1.0\n"
    status, out, err = zoo("cache", "prune", "--max-size", "0")
    assert (status, out) == (0, "")
    assert err == "0 B freed\nkept, as running processes use it: com.example/net@1.0\n"
    assert "in use" in zoo("cache", "ls")[1]


def test_prune_removes_by_age_and_by_size(zoo: Zoo, home: Path) -> None:
    assert zoo("cache", "prune") == (0, "", "0 B freed\n")
    assert zoo("cache", "prune", "--older-than", "11d") == (0, "", "0 B freed\n")
    status, out, _ = zoo("cache", "prune", "--older-than", "9d", "--json")
    assert (status, [item["version"] for item in json.loads(out)["removed"]]) == (0, ["1.0"])
    assert zoo("cache", "prune", "--max-size", "1GB") == (0, "", "0 B freed\n")
    assert zoo("cache", "prune", "--max-size=0") == (0, "removed com.example/net@2.0\n", "8 B freed\n")
    assert list((home / "blobs" / "sha256").rglob("*.*")) == []


def test_what_is_known_of_repositories_is_a_line_of_ls_and_goes_by_age(zoo: Zoo, home: Path) -> None:
    path = home / "index" / "0.sqlite"
    path.parent.mkdir()
    path.write_bytes(bytes(3000))
    os.utime(path, (time.time() - 90 * 86_400, time.time() - 90 * 86_400))
    assert zoo("cache", "ls")[1].splitlines()[-1].split("  ") == ["catalogue", "3.0 kB", "what is known of repositories"]
    assert json.loads(zoo("--json", "cache", "ls")[1])["catalogue"] == 3000
    status, out, err = zoo("cache", "prune", "--older-than", "80d")
    assert (status, out, err) == (0, "removed 3.0 kB of the catalogue\n", "3.0 kB freed\n")
    assert json.loads(zoo("--json", "cache", "prune")[1])["catalogue"] == 0


def test_verify_ends_with_5_where_something_is_damaged(zoo: Zoo, home: Path) -> None:
    assert zoo("cache", "verify") == (0, f"{home}: all files are what they were when they arrived\n", "")
    assert json.loads(zoo("cache", "verify", "--json")[1]) == {"path": str(home), "faults": []}
    blob = next(path for path in (home / "blobs").rglob("*") if path.is_file() and path.read_bytes() == WEIGHTS)
    blob.chmod(0o644)
    blob.write_bytes(b"damaged")
    status, out, err = zoo("cache", "verify")
    assert (status, out) == (5, "")
    assert err.startswith(
        f"error: {blob} is damaged; it is fetched again when it is next used (expected sha256:{blob.name}, found"
    )
    status, out, _ = zoo("cache", "verify", "--json")
    (fault,) = json.loads(out)["faults"]
    assert (status, fault["path"], fault["expected"]) == (5, str(blob), f"sha256:{blob.name}")


@pytest.mark.parametrize(
    ("text", "found"), [("30d", 2_592_000), ("12h", 43_200), ("1.5 m", 90), ("2W", 1_209_600), ("0", 0), ("5s", 5)]
)
def test_ages(text: str, found: float) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("20GB", 20 * 10**9),
        ("2GiB", 2**31),
        ("500 MB", 5 * 10**8),
        ("1.5kb", 1500),
        ("7", 7),
        ("0", 0),
        ("1TB", 10**12),
        ("9b", 9),
    ],
)
def test_sizes(text: str, found: int) -> None:
    assert byte_count(text) == found


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1y", "1e3d", "9" * 30 + "d", "\u0663d"])
def test_what_is_no_age_is_told_with_examples(text: str, zoo: Zoo) -> None:
    with pytest.raises(CriteriaError, match="expected an age such as 30d"):
        seconds(text)
    assert zoo("cache", "prune", f"--older-than={text}")[0] == 2


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1XB", "1ib", "1 0GB", "1e3", "\u0663GB"])
def test_what_is_no_size_is_told_with_examples(text: str, zoo: Zoo) -> None:
    with pytest.raises(CriteriaError, match="expected a size such as 20GB"):
        byte_count(text)
    assert zoo("cache", "prune", f"--max-size={text}")[0] == 2
