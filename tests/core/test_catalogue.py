"""What the repositories hold: when they are asked, what is known of them, and that a file answers as memory does."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import repositories as make
from tests.commands import Commands
from tests.web import Answer, Site, serving
from zoo_core import ModelNotFoundError, ModelZoo, OfflineError, Repository, RepositoryError, ZooWarning
from zoo_core import catalogue as catalogue_module
from zoo_core.cli.main import run
from zoo_core.index import database as database_module
from zoo_core.index import shelf as shelf_module
from zoo_core.index.damaged import DamagedIndexError
from zoo_core.metadata import Metadata
from zoo_core.repository.local import FolderRepository
from zoo_core.transfer import Retry
from zoo_core.upkeep import Upkeep

HOUR_S, DAY_S = 3600.0, 86_400.0
NET = make.document(make.artifact("1.0"))
OTHER = make.document(make.artifact("1.0"), artifact_id="other")
NET_FILE = "/zoo/model/cv/image_classification/com/example/net/net.params.bin"


def index(*documents: dict[str, Any]) -> bytes:
    entries = [{"path": f"{make.location(content)}/metadata.json", "sha256": "", "metadata": content} for content in documents]
    return json.dumps({"indexVersion": 1, "documents": entries}).encode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The cache."""
    return tmp_path / "cache"


@pytest.fixture
def opened(site: Site, home: Path) -> Callable[..., ModelZoo]:
    """A function that makes a zoo of the site, as the next process would."""

    def made(**keywords: Any) -> ModelZoo:
        return ModelZoo([f"{site.url}zoo/"], cache=home, config=False, plugins=[], **keywords)

    return made


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path / "commands")


def references(zoo: ModelZoo, *what: Any, **fields: Any) -> list[str]:
    return [record.reference for record in zoo.search(*what, **fields)]


def stored(home: Path) -> list[Path]:
    return sorted(path for path in home.glob("index/*.sqlite") if not path.name.startswith("."))


def age(home: Path, seconds: float) -> None:
    """Make what is known look older."""
    for path in (home / "index").iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the documents that were parsed."""
    paths: list[str] = []
    original = Metadata.from_json.__func__  # type: ignore[attr-defined]  # a class method

    def counted(cls: type[Metadata], content: bytes, url: str, *, path: str | None = None) -> Metadata:
        paths.append(path or "")
        return original(cls, content, url, path=path)  # type: ignore[no-any-return]

    monkeypatch.setattr(Metadata, "from_json", classmethod(counted))
    return paths


# how old what is known may be ----------------------------------------------------------------------------------------


def test_a_repository_is_listed_by_one_request(site: Site, home: Path, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    assert references(opened()) == ["com.example/net@1.0", "com.example/other@1.0"]
    assert site.paths == ["/zoo/index.json"]
    assert len(stored(home)) == 1


def test_a_young_index_is_used_without_asking(site: Site, home: Path, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    references(opened())
    age(home, DAY_S - 100)
    site.pages["/zoo/index.json"] = index(OTHER)
    assert references(opened()) == ["com.example/net@1.0"]
    assert len(site.requests) == 1


def test_an_old_one_is_revalidated_by_one_conditional_request_and_is_young_again(
    site: Site, home: Path, opened: Callable[..., ModelZoo], parsed: list[str]
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    references(opened())
    age(home, DAY_S + 100)
    before = stored(home)[0].stat().st_mtime_ns
    del parsed[:]
    for _ in range(3):
        assert references(opened(), "net") == ["com.example/net@1.0"]
    first, second = (headers for _, headers in site.requests)
    assert "if-none-match" not in first
    assert second["if-none-match"].startswith('"')
    # Nothing is written but that it was confirmed; what is parsed is what is shown.
    assert stored(home)[0].stat().st_mtime_ns == before
    assert len(parsed) == 3


def test_refresh_asks_at_once(site: Site, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    references(opened())
    site.pages["/zoo/index.json"] = index(OTHER)
    assert references(opened(refresh=True)) == ["com.example/other@1.0"]
    assert references(opened()) == ["com.example/other@1.0"]
    assert len(site.requests) == 2


def test_only_what_changed_is_parsed_again(
    site: Site, home: Path, opened: Callable[..., ModelZoo], parsed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [make.document(make.artifact(), artifact_id=f"net-{number:03}") for number in range(200)]
    site.pages["/zoo/index.json"] = index(*documents)
    assert len(references(opened())) == 200
    changed = make.document(make.artifact("2.0"), artifact_id="net-007", description="retrained")
    new = make.document(make.artifact(), artifact_id="net-0065")
    site.pages["/zoo/index.json"] = index(*documents[:7], new, changed, *documents[8:150])
    zoo = opened(refresh=True)
    del parsed[:]
    zoo._catalogue.revalidate()
    # The changed one and the new one; and what was there of the removed ones, so that it can be taken out.
    kept = {f"model/cv/image_classification/com/example/net-{number:03}/metadata.json" for number in range(150)}
    assert [path for path in parsed if path in kept - {kept_path("net-007")}] == []
    assert parsed.count(kept_path("net-0065")) == 1
    found = references(zoo)
    assert found[6:9] == ["com.example/net-006@1.0", "com.example/net-0065@1.0", "com.example/net-007@2.0"]
    assert len(found) == 151
    assert references(zoo, text="retrained") == ["com.example/net-007@2.0"]
    assert references(zoo, "net-180") == []
    assert references(zoo, text="net-180") == []


def kept_path(artifact_id: str) -> str:
    return f"model/cv/image_classification/com/example/{artifact_id}/metadata.json"


def test_documents_may_change_their_order(site: Site, opened: Callable[..., ModelZoo], parsed: list[str]) -> None:
    documents = [make.document(make.artifact(), artifact_id=name) for name in "abcdef"]
    site.pages["/zoo/index.json"] = index(*documents)
    references(opened())
    del parsed[:]
    site.pages["/zoo/index.json"] = index(*reversed(documents))
    zoo = opened(refresh=True)
    zoo._catalogue.revalidate()
    assert parsed == []
    assert references(zoo) == [f"com.example/{name}@1.0" for name in "fedcba"]


def test_a_malformed_document_is_a_message_and_hides_no_other(site: Site, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(NET, make.document(artifact_id="broken", artifacts=3), OTHER, NET)
    for zoo in (opened(), opened()):
        assert references(zoo) == ["com.example/net@1.0", "com.example/other@1.0"]
        broken, twice = zoo.messages()
        assert "broken/metadata.json: $.artifacts: Expected `array" in broken
        assert "net/metadata.json is listed twice; the first counts" in twice


def test_a_thousand_malformed_documents_are_counted(site: Site, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(*(make.document(artifact_id=f"n{number}", artifacts=3) for number in range(1000)))
    *messages, last = opened().messages()
    assert len(messages) == 100
    assert last == "... and 900 more documents could not be read"


# where the network fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Answer(status=400), "400"),
        (Answer(status=404), "404"),
        (Answer(b"<html>log in to this network</html>"), "no index"),
        (Answer(index(NET)[:-2] + b"x"), "no index"),
    ],
    ids=["in trouble", "gone", "captive portal", "broken at the end"],
)
def test_where_the_index_cannot_be_had_the_known_one_is_used_with_a_warning_that_says_its_age(
    site: Site, home: Path, opened: Callable[..., ModelZoo], failure: Answer, reason: str
) -> None:
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    references(opened())
    age(home, 2 * HOUR_S)
    site.pages["/zoo/index.json"] = failure
    zoo = opened(refresh=True)
    with pytest.warns(ZooWarning, match=f"{reason}.*using the index of 2 hours ago"):
        assert references(zoo) == ["com.example/net@1.0", "com.example/other@1.0"]
    # Said once, and asked once.
    assert references(zoo, "net") == ["com.example/net@1.0"]


def test_a_dead_server_does_not_hide_what_is_known(home: Path) -> None:
    with serving() as site:
        site.pages["/index.json"] = index(NET)
        assert references(ModelZoo([site.url], cache=home, config=False, plugins=[])) == ["com.example/net@1.0"]
    zoo = ModelZoo([site.url], cache=home, config=False, plugins=[], refresh=True)
    zoo._opened  # noqa: B018 - made before it is changed
    with pytest.warns(ZooWarning, match=f"{site.url}index.json: .*onnection refused.*; using the index of .* seconds? ago"):
        assert references(zoo) == ["com.example/net@1.0"]


def test_where_an_index_is_known_a_server_in_trouble_is_asked_once_and_without_one_again_and_again(
    site: Site, home: Path, opened: Callable[..., ModelZoo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Retry, "wait", lambda *_: 0.0)
    site.pages["/zoo/index.json"] = Answer(status=503)
    assert opened().messages()
    assert site.paths == ["/zoo/index.json"] * (1 + Retry().retries)
    site.pages["/zoo/index.json"] = index(NET)
    references(opened())
    site.pages["/zoo/index.json"] = Answer(status=503)
    del site.requests[:]
    with pytest.warns(ZooWarning, match="503.*using the index of"):
        assert references(opened(refresh=True)) == ["com.example/net@1.0"]
    assert site.paths == ["/zoo/index.json"]


def test_repositories_that_calls_name_are_asked_once_by_a_zoo_and_warned_of_once(site: Site, home: Path) -> None:
    url = f"{site.url}zoo/"
    site.pages["/zoo/index.json"] = index(NET)
    references(ModelZoo([], cache=home, config=False, plugins=[]), model_urls=[url])
    age(home, 2 * DAY_S)
    del site.requests[:]
    site.pages["/zoo/index.json"] = Answer(status=404)
    zoo = ModelZoo([], cache=home, config=False, plugins=[])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            assert references(zoo, model_urls=[url]) == ["com.example/net@1.0"]
            assert zoo.messages([url]) == []
            assert zoo.explain("nets", model_urls=url).accepted == []
    assert [str(item.message).rpartition("; ")[2] for item in caught] == ["using the index of 2 days ago"]
    assert site.paths.count("/zoo/index.json") == 1
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    zoo.refresh()
    assert references(zoo, model_urls=[url]) == ["com.example/net@1.0", "com.example/other@1.0"]


def test_the_messages_of_named_repositories_are_those_of_the_call_before(site: Site, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "folder"
    make.publish(folder, NET)
    zoo = ModelZoo([], cache=home, config=False, plugins=[])
    site.pages["/zoo/index.json"] = Answer(b"no index")
    named = [f"{site.url}zoo/", str(folder)]
    assert references(zoo, model_urls=named) == ["com.example/net@1.0"]
    asked = len(site.requests)
    assert "no index" in zoo.messages(named)[0]
    assert len(site.requests) == asked
    # A folder is looked at by each call all the same.
    make.publish(folder, OTHER)
    assert references(zoo, model_urls=[folder]) == ["com.example/net@1.0", "com.example/other@1.0"]


def test_a_search_on_the_command_line_asks_and_warns_once(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    assert run(["search", "--repository", f"{site.url}zoo/"]) == 0
    age(Path(os.environ["ZOO_HOME"]), 2 * DAY_S)
    site.pages["/zoo/index.json"] = Answer(b"<html>log in</html>")
    capfd.readouterr()
    for more in ([], ["--artifact", "nothing"]):
        del site.requests[:]
        run(["search", "--repository", f"{site.url}zoo/", *more])
        assert capfd.readouterr().err.count("using the index of 2 days ago") == 1
        assert site.paths == ["/zoo/index.json"]


def test_offline_the_known_index_is_used_in_silence(site: Site, home: Path, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    references(opened())
    age(home, 10 * DAY_S)
    assert references(opened(offline=True)) == ["com.example/net@1.0"]
    assert len(site.requests) == 1


def test_pruning_by_age_leaves_an_offline_user_the_index_that_is_used(
    site: Site, home: Path, opened: Callable[..., ModelZoo]
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    references(opened())
    age(home, 100 * DAY_S)
    assert references(opened(offline=True)) == ["com.example/net@1.0"]
    (note,) = (home / "index").glob("*.used")
    written = note.stat().st_mtime_ns
    references(opened(offline=True))
    assert note.stat().st_mtime_ns == written
    assert Upkeep(home).prune(older_than_s=30 * DAY_S).catalogue == 0
    assert references(opened(offline=True)) == ["com.example/net@1.0"]
    # Nobody asks for long.
    age(home, 40 * DAY_S)
    assert Upkeep(home).prune(older_than_s=30 * DAY_S).catalogue > 0
    assert not list((home / "index").iterdir())
    assert references(opened()) == ["com.example/net@1.0"]


def test_offline_and_unknown_is_a_message_that_says_so(site: Site, opened: Callable[..., ModelZoo]) -> None:
    zoo = opened(offline=True)
    assert references(zoo) == []
    assert "offline mode forbids the network" in zoo.messages()[0]
    with pytest.raises(OfflineError):
        zoo.download("net")
    assert site.requests == []


# who is asked for a model that is here -------------------------------------------------------------------------------


@pytest.fixture
def cached(site: Site, home: Path, opened: Callable[..., ModelZoo]) -> Path:
    """The folder of a model that was downloaded; what is known of its repository is old since then."""
    site.pages |= {"/zoo/index.json": index(NET, OTHER), NET_FILE: make.WEIGHTS}
    folder = opened().download("net", progress=False)
    age(home, 100 * DAY_S)
    del site.requests[:]
    return folder


def test_a_model_that_is_here_asks_nobody_and_hashes_nothing(
    site: Site, cached: Path, opened: Callable[..., ModelZoo], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("zoo_core.store", "zoo_core.cache"):
        monkeypatch.setattr(f"{module}.digest_file", lambda path: pytest.fail(f"{path} was hashed"))
    for what in ("net", "com.example/net", "net@1.0"):
        assert opened().download(what, progress=False) == cached
    assert site.requests == []


def test_a_model_that_is_not_here_asks_once(site: Site, cached: Path, home: Path, opened: Callable[..., ModelZoo]) -> None:
    weights = b"other parameters"
    large = make.document(make.artifact(files={"parameters": make.item("net.params.bin", weights)}), artifact_id="large")
    site.pages |= {"/zoo/index.json": index(NET, large), NET_FILE.replace("/net/", "/large/"): weights}
    opened().download("large", progress=False)
    assert site.paths == ["/zoo/index.json", NET_FILE.replace("/net/", "/large/")]
    age(home, 100 * DAY_S)
    assert opened().download("large", progress=False).is_dir()
    assert len(site.requests) == 2
    assert "if-none-match" in site.requests[0][1]


def test_a_model_that_is_not_known_asks_whether_there_is_one_now(
    site: Site, cached: Path, opened: Callable[..., ModelZoo]
) -> None:
    new = make.document(make.artifact(), artifact_id="new", group_id="org.new")
    site.pages["/zoo/index.json"] = index(NET, OTHER, new)
    site.pages["/zoo/model/cv/image_classification/org/new/new/net.params.bin"] = make.WEIGHTS
    # That `org.new` is a group is told by the index that comes now.
    assert opened().download("org.new/new", progress=False).is_dir()
    assert site.paths == ["/zoo/index.json"]


def test_a_version_that_is_not_here_asks(site: Site, cached: Path, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(make.document(make.artifact("2.0"), make.artifact("1.0")))
    assert opened().download("net@2.0", progress=False) != cached
    assert site.paths == ["/zoo/index.json"]


def test_refresh_asks_for_a_model_that_is_here(site: Site, cached: Path, opened: Callable[..., ModelZoo]) -> None:
    assert opened(refresh=True).download("net", progress=False) == cached
    assert site.paths == ["/zoo/index.json"]


def test_a_record_in_hand_asks_nobody(site: Site, cached: Path, opened: Callable[..., ModelZoo]) -> None:
    (record,) = opened(offline=True).search("net")
    assert opened().download(record, progress=False) == cached
    assert site.requests == []


def test_a_repository_that_was_never_asked_is_asked_before_what_comes_after_it(
    site: Site, cached: Path, home: Path, opened: Callable[..., ModelZoo]
) -> None:
    """It may own the group."""
    site.pages["/first/index.json"] = index(make.document(make.artifact("3.0")))
    zoo = ModelZoo([f"{site.url}first/", f"{site.url}zoo/"], cache=home, config=False, plugins=[])
    assert zoo.info("net").record.version == "3.0"
    assert site.paths == ["/first/index.json", "/zoo/index.json"]


def test_nobody_who_asks_nobody_waits_for_a_repository_that_is_asked(
    site: Site, cached: Path, opened: Callable[..., ModelZoo]
) -> None:
    zoo = opened()
    assert zoo.download("net", progress=False) == cached
    assert site.requests == []
    site.pages["/zoo/index.json"] = Answer(index(NET), wait_s=3.0)
    asking = threading.Thread(target=zoo.search)
    asking.start()
    while not site.requests:
        time.sleep(0.01)
    began = time.monotonic()
    assert zoo.download("net", progress=False) == cached
    assert zoo.messages() == []
    assert time.monotonic() - began < 2.0
    # Whoever wants what is up to date waits for the one answer.
    assert references(zoo) == ["com.example/net@1.0"]
    asking.join()
    assert site.paths == ["/zoo/index.json"]


# a zoo that lives long -----------------------------------------------------------------------------------------------


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that lets seconds pass."""
    passed, monotonic = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed[0])

    def wait(seconds: float) -> None:
        passed[0] += seconds

    return wait


def test_a_zoo_that_lives_long_asks_again_when_what_it_knows_is_old(
    site: Site, opened: Callable[..., ModelZoo], later: Callable[[float], None]
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    zoo = opened()
    assert references(zoo) == ["com.example/net@1.0"]
    site.pages["/zoo/index.json"] = index(OTHER)
    later(DAY_S - 100)
    assert references(zoo) == ["com.example/net@1.0"]
    assert len(site.requests) == 1
    later(200)
    assert references(zoo) == references(zoo) == ["com.example/other@1.0"]
    assert len(site.requests) == 2
    later(2 * DAY_S)
    assert references(zoo) == ["com.example/other@1.0"]
    assert len(site.requests) == 3


def test_a_repository_that_failed_is_left_alone_for_a_minute(
    site: Site, opened: Callable[..., ModelZoo], later: Callable[[float], None]
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    zoo = opened()
    references(zoo)
    later(2 * DAY_S)
    site.pages["/zoo/index.json"] = Answer(status=400)
    with pytest.warns(ZooWarning, match="400.*using the index of 2 days ago"):
        references(zoo)
    later(50)
    assert references(zoo) == ["com.example/net@1.0"]
    assert len(site.requests) == 2
    site.pages["/zoo/index.json"] = index(OTHER)
    later(20)
    assert references(zoo) == ["com.example/other@1.0"]


def test_a_repository_of_which_nothing_is_known_is_asked_again_after_a_minute(
    site: Site, opened: Callable[..., ModelZoo], later: Callable[[float], None]
) -> None:
    site.pages["/zoo/index.json"] = Answer(status=400)
    zoo = opened()
    assert references(zoo) == references(zoo) == []
    assert "400" in zoo.messages()[0]
    assert len(site.requests) == 1
    site.pages["/zoo/index.json"] = index(NET)
    later(70)
    assert references(zoo) == ["com.example/net@1.0"]
    assert zoo.messages() == []


# the files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "schema"])
def test_a_damaged_file_is_made_anew(site: Site, home: Path, opened: Callable[..., ModelZoo], damage: str) -> None:
    site.pages["/zoo/index.json"] = index(*(make.document(make.artifact(), artifact_id=f"net-{n}") for n in range(300)))
    references(opened())
    (path,) = stored(home)
    content = path.read_bytes()
    if damage == "schema":
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE about SET value = replace(value, '\"schema\":1', '\"schema\":0')")
        connection.close()
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 3], "other": b"x" * 9000}[damage])
    assert references(opened(), "net-7") == ["com.example/net-7@1.0"]
    assert len(references(opened())) == 300
    assert len(site.requests) == 2


def test_a_file_that_is_damaged_in_the_middle_is_made_anew_while_it_is_read(
    site: Site, home: Path, opened: Callable[..., ModelZoo]
) -> None:
    site.pages["/zoo/index.json"] = index(*(make.document(make.artifact(), artifact_id=f"net-{n}") for n in range(300)))
    references(opened())
    (path,) = stored(home)
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    assert len(references(opened())) == 300
    assert len(references(opened())) == 300
    assert len(site.requests) == 2


def test_verify_names_a_damaged_file_and_removes_it(site: Site, home: Path, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(*(make.document(make.artifact(), artifact_id=f"net-{n}") for n in range(300)))
    references(opened())
    (path,) = stored(home)
    assert list(Upkeep(home).verify()) == []
    content = bytearray(path.read_bytes())
    content[12288:16384] = b"\xff" * 4096
    path.write_bytes(content)
    (fault,) = Upkeep(home).verify()
    assert fault.path == path
    assert "is removed; it is made anew when it is next used" in fault.what
    assert stored(home) == []
    assert len(references(opened())) == 300


def test_what_another_version_of_zoo_made_is_used_and_made_anew_when_it_is_old(
    site: Site, home: Path, opened: Callable[..., ModelZoo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may read documents in another way."""
    site.pages["/zoo/index.json"] = index(NET)
    references(opened())
    for module in ("building", "shelf"):
        monkeypatch.setattr(f"zoo_core.index.{module}.__version__", "99.0")
    assert references(opened()) == ["com.example/net@1.0"]
    assert len(site.requests) == 1
    age(home, 2 * DAY_S)
    references(opened())
    assert "if-none-match" not in site.requests[1][1]
    age(home, 2 * DAY_S)
    references(opened())
    assert "if-none-match" in site.requests[2][1]


@pytest.mark.parametrize("kind", ["a file", "read-only"])
def test_a_cache_that_cannot_be_written_means_asking_again(
    site: Site, tmp_path: Path, opened: Callable[..., ModelZoo], home: Path, kind: str
) -> None:
    if kind == "a file":
        home.write_text("in the way")
    else:
        home.mkdir()
        home.chmod(0o500)
        if os.access(home, os.W_OK):
            pytest.skip("this user may write everywhere")
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    for _ in range(2):
        zoo = opened()
        assert references(zoo, text="net") == ["com.example/net@1.0"]
        assert references(zoo) == ["com.example/net@1.0", "com.example/other@1.0"]
        assert zoo.messages() == []
    assert len(site.requests) == 2


@pytest.mark.skipif(os.name == "nt", reason="the size of files cannot be bounded")
def test_where_a_file_does_not_fit_on_the_disk_the_answers_are_the_same_and_what_was_there_stays(
    site: Site, home: Path, opened: Callable[..., ModelZoo], commands: Commands
) -> None:
    site.pages["/zoo/index.json"] = index(NET)
    references(opened())
    before = stored(home)[0].read_bytes()
    site.pages["/zoo/index.json"] = index(*(make.document(make.artifact(), artifact_id=f"net-{n}") for n in range(300)))
    code = (
        "import resource, signal, sys, zoo_core; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "zoo = zoo_core.ModelZoo([sys.argv[1]], cache=sys.argv[2], config=False, refresh=True);"
        "print(len(zoo.search(text='net')), len(zoo.search('net-7')))"
    )
    done = commands.run(code, f"{site.url}zoo/", home)
    assert done.out == "300 1\n", done.err
    assert stored(home)[0].read_bytes() == before


def test_a_lower_cache_is_read_and_never_written(site: Site, tmp_path: Path, home: Path) -> None:
    lower = tmp_path / "lower"
    config = tmp_path / "zoo.toml"
    config.write_text(f"cache_layers = [{str(lower)!r}]\n")
    site.pages["/zoo/index.json"] = index(NET)
    references(ModelZoo([f"{site.url}zoo/"], cache=lower, config=False, plugins=[]))
    before = {path: path.stat().st_mtime_ns for path in lower.rglob("*")}

    def over() -> ModelZoo:
        return ModelZoo([f"{site.url}zoo/"], cache=home, config=config, plugins=[])

    assert references(over()) == ["com.example/net@1.0"]
    assert len(site.requests) == 1
    age(lower, 2 * DAY_S)
    before = {path: path.stat().st_mtime_ns for path in lower.rglob("*")}
    for _ in range(2):
        assert references(over()) == ["com.example/net@1.0"]
    # Confirmed once, in the cache above, where nothing is copied to.
    assert len(site.requests) == 2
    assert stored(home) == []
    site.pages["/zoo/index.json"] = index(NET, OTHER)
    age(home, 2 * DAY_S)
    assert len(references(over())) == len(references(over())) == 2
    assert len(stored(home)) == 1
    assert {path: path.stat().st_mtime_ns for path in lower.rglob("*")} == before


def test_many_threads_and_two_zoos_ask_at_once(site: Site, opened: Callable[..., ModelZoo]) -> None:
    site.pages["/zoo/index.json"] = index(*(make.document(make.artifact(), artifact_id=f"net-{n}") for n in range(50)))
    zoos = [opened(), opened()]
    found: list[int] = []
    threads = [threading.Thread(target=lambda zoo=zoo: found.append(len(references(zoo)))) for zoo in zoos * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [50] * 16
    assert len(site.requests) <= 2


#: A process that asks a repository anew.
_REFRESH = """
import sys
from zoo_core import ModelZoo
ModelZoo([sys.argv[1]], cache=sys.argv[2], config=False, plugins=[], refresh=True).search()
"""


def test_a_process_that_is_killed_while_it_refreshes_leaves_what_was_there(
    site: Site, home: Path, opened: Callable[..., ModelZoo]
) -> None:
    few = [make.document(make.artifact(), artifact_id=f"net-{number}") for number in range(1000)]
    site.pages["/zoo/index.json"] = index(*few)
    references(opened(), "net-1")
    for turn in range(6):
        few = [*few, make.document(make.artifact(), artifact_id=f"more-{turn}")]
        site.pages["/zoo/index.json"] = index(*few)
        process = subprocess.Popen([sys.executable, "-c", _REFRESH, f"{site.url}zoo/", str(home)])
        # From before it asks until after it has all.
        time.sleep(0.15 + turn * 0.1)
        process.kill()
        process.wait()
        assert len(references(opened(offline=True))) >= 1000
        assert database_module.Database.open(stored(home)[0]).check() == []
    assert len(references(opened(refresh=True))) == 1006


def test_two_processes_refresh_at_once(site: Site, home: Path, opened: Callable[..., ModelZoo]) -> None:
    many = [make.document(make.artifact(), artifact_id=f"net-{number}") for number in range(500)]
    site.pages["/zoo/index.json"] = index(*many)
    command = [sys.executable, "-c", _REFRESH, f"{site.url}zoo/", str(home)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert len(references(opened(offline=True))) == 500
    assert [path.name for path in (home / "index").iterdir() if path.name.startswith(".")] == []


def test_a_password_in_an_address_gets_into_no_file(site: Site, home: Path) -> None:
    site.pages["/zoo/index.json"] = index(NET, make.document(artifact_id="broken", artifacts=3))
    address = site.url.replace("://", "://anna:s3cret@") + "zoo/"
    zoo = ModelZoo([address], cache=home, config=False, plugins=[])
    assert references(zoo) == ["com.example/net@1.0"]
    assert "s3cret" not in "".join(zoo.messages())
    site.pages[NET_FILE] = make.WEIGHTS
    with pytest.warns(ZooWarning, match=r"\$\.artifacts"):
        zoo.download("net", progress=False)
    assert [path for path in home.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()] == []


def test_a_search_in_installed_packages_and_small_folders_needs_no_sqlite(tmp_path: Path, commands: Commands) -> None:
    fill(tmp_path / "zoo", 3)
    code = (
        "import sys, zoo_core; found = zoo_core.ModelZoo([sys.argv[1]]).search('net-1'); zoo_core.search();"
        "print(len(found), {'sqlite3', 'requests'} & set(sys.modules))"
    )
    done = commands.run(code, tmp_path / "zoo")
    assert done.out == "1 set()\n", done.err


# repositories on this machine ----------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many documents a repository may have without a file, made small."""
    monkeypatch.setattr(catalogue_module, "FEW", 5)
    return 5


def fill(root: Path, count: int) -> None:
    for number in range(count):
        make.publish(root, make.document(make.artifact(), artifact_id=f"net-{number}"))


def test_nothing_is_written_for_a_small_folder(tmp_path: Path, home: Path, few: int) -> None:
    fill(tmp_path / "zoo", few)
    assert len(references(ModelZoo([tmp_path / "zoo"], cache=home, config=False, plugins=[]))) == few
    assert not home.exists()


def test_of_a_large_folder_only_what_changed_is_read_again(tmp_path: Path, home: Path, few: int, parsed: list[str]) -> None:
    root = tmp_path / "zoo"
    fill(root, 20)

    def asked(*what: str) -> list[str]:
        del parsed[:]
        return references(ModelZoo([root], cache=home, config=False, plugins=[]), *what)

    assert len(asked()) == 20
    assert asked("net-3") == ["com.example/net-3@1.0"]
    assert parsed == ["model/cv/image_classification/com/example/net-3/metadata.json"]
    path = make.publish(root, make.document(make.artifact("2.0"), artifact_id="net-3"))
    os.utime(path, ns=(1, 1))
    shutil.rmtree(root / "model/cv/image_classification/com/example/net-4")
    make.publish(root, make.document(make.artifact("1.0"), artifact_id="net-new"))
    (root / "model/cv/image_classification/com/example/net-5/metadata.json").write_text("{")
    assert asked("net-3") == ["com.example/net-3@2.0"]
    assert {text.split("/")[-2] for text in parsed} == {"net-3", "net-4", "net-5", "net-new"}
    zoo = ModelZoo([root], cache=home, config=False, plugins=[])
    assert len(references(zoo)) == 19
    assert "net-5/metadata.json" in zoo.messages()[0]
    shutil.rmtree(root)
    assert "there is no folder" in ModelZoo([root], cache=home, config=False, plugins=[]).messages()[0]


def test_a_folder_that_was_large_is_read_right(tmp_path: Path, home: Path, few: int) -> None:
    root = tmp_path / "zoo"
    fill(root, 20)
    assert len(references(ModelZoo([root], cache=home, config=False, plugins=[]))) == 20
    shutil.rmtree(root)
    fill(root, 2)
    assert len(references(ModelZoo([root], cache=home, config=False, plugins=[]))) == 2


class Own(Repository):
    """A plugin's own repository, whose documents have one address."""

    url = "acme://models"
    listed = 0

    def __init__(self, count: int) -> None:
        self.count = count

    def documents(self) -> Any:
        Own.listed += 1
        for number in range(self.count):
            content = make.document(make.artifact(arguments={"shape": [1, None]}), artifact_id=f"own-{number % 50}")
            yield Metadata.from_json(json.dumps(content).encode(), "https://acme.example/all.json")

    def open(self, file: Any, offset: int = 0) -> Any:
        raise RepositoryError("nothing here", self.url)

    def fingerprint(self) -> str:
        return str(self.count)


def test_a_plugins_own_large_repository_is_listed_only_when_its_fingerprint_changes(home: Path, few: int) -> None:
    Own.listed = 0
    assert len(ModelZoo([Own(60)], cache=home, config=False, plugins=[]).search()) == 60
    before = Own.listed
    zoo = ModelZoo([Own(60)], cache=home, config=False, plugins=[])
    found = zoo.search("own-7")
    assert [record.arguments for record in found] == [{"shape": [1, None]}] * 2
    assert Own.listed == before
    assert len(ModelZoo([Own(61)], cache=home, config=False, plugins=[]).search()) == 61


class Far(Own):
    is_remote = True
    url = "acme://far"
    fails = False
    asked = 0

    def fingerprint(self) -> str:
        Far.asked += 1
        if Far.fails:
            raise ConnectionError("no route")
        return super().fingerprint()


def test_a_plugins_own_remote_repository_is_asked_as_rarely(home: Path) -> None:
    Far.fails, Far.asked = False, 0

    def zoo(**keywords: Any) -> ModelZoo:
        return ModelZoo([Far(3)], cache=home, config=False, plugins=[], **keywords)

    assert len(references(zoo())) == len(references(zoo())) == 3
    assert Far.asked == 1
    age(home, 3 * HOUR_S)
    Far.fails = True
    with pytest.warns(ZooWarning, match="acme://far raised ConnectionError: no route; using the index of 3 hours ago"):
        assert len(references(zoo(refresh=True))) == 3


class Twin(Repository):
    """One of several objects that say one address."""

    url = "acme://twin"

    def __init__(self, name: str, *, count: int = 1, is_remote: bool = False) -> None:
        self.name, self.count, self.is_remote = name, count, is_remote

    def documents(self) -> Any:
        for number in range(self.count):
            # The version is its own; the ids are the other one's too.
            artifact = make.artifact(f"{number}.0-{self.name}", files={"parameters": make.item("net.bin", self.name.encode())})
            yield Metadata.from_json(json.dumps(make.document(artifact)).encode(), f"acme://twin/{self.name}/{number}")

    def open(self, file: Any, offset: int = 0) -> Any:
        return io.BytesIO(self.name.encode()[offset:])

    def fingerprint(self) -> str:
        return "the same"


@pytest.mark.parametrize(("count", "is_remote"), [(1, False), (20, False), (3, True)], ids=["few", "many", "remote"])
def test_two_repository_objects_that_say_one_address_are_two_repositories(
    home: Path, few: int, count: int, is_remote: bool
) -> None:
    def zoo(*names: str) -> ModelZoo:
        twins = [Twin(name, count=count, is_remote=is_remote) for name in names]
        return ModelZoo(twins, cache=home, config=False, plugins=[])

    for names in (("one", "two"), ("two", "one")):
        with zoo(*names) as both:
            found = both.search()
            assert sorted({record.version.partition("-")[2] for record in found if record.version}) == ["one", "two"]
            assert len(found) == 2 * count
            for record in found:
                folder = both.download(record, progress=False)
                assert (folder / "net.bin").read_text() == str(record.version).partition("-")[2]
    # Which of them a file is of could not be told by the next process.
    assert stored(home) == []
    shutil.rmtree(home)


def test_one_repository_object_that_is_given_twice_is_one(home: Path, few: int) -> None:
    twin = Twin("one", count=20)
    zoo = ModelZoo([twin, twin], cache=home, config=False, plugins=[])
    assert zoo.download(f"net@{zoo.search()[0].version}", progress=False).is_dir()
    assert len(stored(home)) == 1


def test_each_lock_of_a_repository_has_its_own_artifacts(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "zoo"
    fill(root, 2)
    own: dict[str, Any] = {"cache": home, "config": False, "plugins": []}
    for name in ("net-0", "net-1"):
        ModelZoo([root], **own).lock(name, path=tmp_path / f"{name}.lock")
    monkeypatch.setattr(catalogue_module, "FEW", 0)
    first, second = (ModelZoo(lock=tmp_path / f"{name}.lock", **own) for name in ("net-0", "net-1"))
    assert references(first) == ["com.example/net-0@1.0"]
    assert references(second) == ["com.example/net-1@1.0"]
    assert references(first) == ["com.example/net-0@1.0"]
    assert stored(home) == []


@pytest.mark.skipif(os.name == "nt", reason="a file that is open cannot be renamed")
def test_a_process_reads_what_it_wrote_itself_whatever_another_puts_in_its_place(
    tmp_path: Path, home: Path, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "zoo"
    fill(root, 20)
    atomic_path = shelf_module.atomic_path

    @contextmanager
    def overtaken(path: Path) -> Iterator[Path]:
        with atomic_path(path) as partial:
            yield partial
        path.unlink()
        path.write_bytes(b"another one")

    monkeypatch.setattr(shelf_module, "atomic_path", overtaken)
    assert len(references(ModelZoo([root], cache=home, config=False, plugins=[]))) == 20


def test_a_file_that_several_threads_find_damaged_is_made_anew_once(
    tmp_path: Path, home: Path, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "zoo", 20)
    zoo = ModelZoo([tmp_path / "zoo"], cache=home, config=False, plugins=[])
    (seen,) = zoo._catalogue._all
    monkeypatch.setattr(seen.holding, "candidates", lambda *_: (_ for _ in ()).throw(DamagedIndexError("not a database")))
    made: list[str] = []
    current = shelf_module.Shelf.current
    monkeypatch.setattr(shelf_module.Shelf, "current", lambda *given: (made.append(given[1]), current(*given))[1])
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(references(zoo)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 4
    assert len(made) == 1


def test_a_repository_in_a_subclass_gives_its_own_documents(tmp_path: Path, home: Path, few: int) -> None:
    class Half(FolderRepository):
        def documents(self) -> Any:
            return (item for number, item in enumerate(super().documents()) if number % 2)

    fill(tmp_path, 20)
    assert len(ModelZoo([Half(tmp_path)], cache=home, config=False, plugins=[]).search()) == 10


# reasons -------------------------------------------------------------------------------------------------------------


def test_the_reasons_from_a_large_repository_are_the_nearest_and_say_how_many_more_there_are(
    site: Site, opened: Callable[..., ModelZoo]
) -> None:
    documents = [
        make.document(
            make.artifact(properties={"layers": "50", "serial": str(n)}), artifact_id=f"resnet-{n:04}", group_id=f"g{n % 7}"
        )
        for n in range(1500)
    ]
    site.pages["/zoo/index.json"] = index(*documents)
    zoo = opened()
    with pytest.raises(ModelNotFoundError, match="did you mean resnet-0777") as caught:
        zoo.download("resnt-0777")
    assert str(caught.value).count("\n") < 12
    assert caught.value.explanation is not None
    shown = len(caught.value.explanation.refused)
    assert 0 < shown <= 250
    assert caught.value.explanation.unseen == 1500 - shown
    assert "more" in caught.value.explanation.reasons()[-1]

    with pytest.raises(ModelNotFoundError, match=r"layers=18 \(there is: 50\)"):
        zoo.download("resnet-0777", filters={"layers": 18})
    with pytest.raises(ModelNotFoundError, match=r"filter key `layer`: did you mean `layers`"):
        zoo.download("resnet-0777", filters={"layer": 50})
    with pytest.raises(ModelNotFoundError, match=r"group_id=g99"):
        zoo.download("resnet-0777", group_id="g99")
    with pytest.raises(ModelNotFoundError, match=r"version 9"):
        zoo.download("resnet-0777@9")
    with pytest.raises(ModelNotFoundError, match=r"application=nlp"):
        zoo.download("resnet-0777", application="nlp")
    with pytest.raises(ModelNotFoundError):
        zoo.download("zzzzzz")


def test_groups_are_owned_across_repositories_in_memory_and_in_files(site: Site, tmp_path: Path, home: Path) -> None:
    site.pages["/zoo/index.json"] = index(make.document(make.artifact("9.0")), OTHER)
    make.publish(tmp_path / "mine", NET)
    zoo = ModelZoo([tmp_path / "mine", f"{site.url}zoo/"], cache=home, config=False, plugins=[])
    assert references(zoo) == ["com.example/net@1.0"]
    refused = {str(item) for item in zoo.explain("net").refused}
    assert any("belongs to" in text for text in refused)
    turned = ModelZoo([f"{site.url}zoo/", tmp_path / "mine"], cache=home, config=False, plugins=[])
    assert references(turned) == ["com.example/net@9.0", "com.example/other@1.0"]
