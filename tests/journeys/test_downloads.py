"""Downloads by many processes, processes that are killed, mirrors, tokens, and no network at all."""

from __future__ import annotations

import json
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import repositories as make
from tests.faulty_server import FINE, Fault, FaultySite, faulty
from tests.web import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.commands import Commands, Done

WEIGHTS = random.Random(7).randbytes(3_000_000)
FOLDER = "model/cv/image_classification/com/example/net"
FILE = f"/zoo/{FOLDER}/net.bin"
INDEX = "/zoo/index.json"


@pytest.fixture
def site() -> Iterator[FaultySite]:
    """A repository with one model, whose one file has 3 MB."""
    with faulty() as site:
        document = make.document(make.artifact(files={"parameters": make.item("net.bin", WEIGHTS)}))
        entry = {"path": f"{FOLDER}/metadata.json", "sha256": "", "metadata": document}
        site.contents = {INDEX: json.dumps({"indexVersion": 1, "documents": [entry]}).encode(), FILE: WEIGHTS}
        yield site


def repository(site: FaultySite) -> str:
    return f"{site.url}zoo/"


def downloaded(commands: Commands, site: FaultySite, *arguments: str, **variables: str) -> Done:
    return commands.zoo("download", "net", "--repository", repository(site), *arguments, **variables)


def content(folder: str) -> bytes:
    from pathlib import Path

    return Path(folder.strip(), "net.bin").read_bytes()


def configure(commands: Commands, text: str, *, local: bool = False) -> None:
    """Write a zoo.toml: the user's own, or that of the working directory."""
    folder = commands.cwd if local else commands.folder / "config" / "zoo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zoo.toml").write_text(text)


# many processes ------------------------------------------------------------------------------------------------------


def test_sixteen_processes_that_want_one_model_download_it_once(commands: Commands, site: FaultySite) -> None:
    site.rate = 1.5e6
    command = ("download", "net", "--repository", repository(site))
    processes = [commands.start(*command) for _ in range(16)]
    ended = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 16, [err for _, err in ended]
    assert len({out for out, _ in ended}) == 1
    assert content(ended[0][0]) == WEIGHTS
    assert len(site.of(FILE)) == 1


#: What the processes of the next tests do: fork, fetch, and look whether anything wrong has a final name.
FORKING = """
import contextlib, hashlib, json, os, random, signal, sys, time
from pathlib import Path
import filelock, requests
from zoo_core import ModelZoo
from zoo_core import reception

url, home, digest = sys.argv[1], Path(os.environ["ZOO_HOME"]), sys.argv[2]
reception._SAVE_S = 0.0

def child(prepare=lambda: None):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    with contextlib.suppress(BaseException):
        prepare()
        path = ModelZoo([url], config=False).download("net", progress=False) / "net.bin"
        status = 0 if hashlib.sha256(path.read_bytes()).hexdigest() == digest else 2
    os._exit(status)

def finals():
    found = [path for name in ("blobs", "artifacts") for path in (home / name).rglob("*") if path.is_file()]
    return [path for path in found if not path.name.startswith(".partial-") and not path.parent.name.startswith(".partial-")]

def wrong():
    return [str(path) for path in finals() if hashlib.sha256(path.read_bytes()).hexdigest() != digest]

ModelZoo([url], config=False).search()
"""

KILLED = """
dice, bad, fetched = random.Random(5), [], 0
for _ in range(60):
    pid = child()
    time.sleep(dice.uniform(0, 0.25))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    bad += wrong()
    if finals():
        fetched += 1
        for path in finals():
            path.unlink()
statuses = [os.waitstatus_to_exitcode(os.waitpid(child(), 0)[1])]
left = sorted(path.name for path in (home / "partial").iterdir())
print(json.dumps({"bad": bad + wrong(), "fetched": fetched, "statuses": statuses, "left": left}))
"""

UNLOCKED = """
def unlocked():
    filelock.FileLock.acquire = lambda *_, **__: None
    filelock.FileLock.release = lambda *_, **__: None

pids = []
for _ in range(8):
    pids.append(child(unlocked))
    time.sleep(0.05)
statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
left = sorted(path.name for path in (home / "partial").iterdir())
print(json.dumps({"bad": wrong(), "statuses": statuses, "left": left}))
"""


def forked(commands: Commands, site: FaultySite, code: str) -> Any:
    done = commands.run(FORKING + code, repository(site), make.sha256(WEIGHTS))
    assert done.status == 0, done.err
    return done.json


def test_processes_that_are_killed_at_any_moment_leave_nothing_wrong_and_the_next_one_continues(
    commands: Commands, site: FaultySite
) -> None:
    site.rate = 6e6
    told = forked(commands, site, KILLED)
    assert told["bad"] == []
    assert told["statuses"] == [0]
    assert told["left"] == []
    # What one brought, the next ones did not ask for again.
    assert told["fetched"] >= 2
    assert any(asked.range for asked in site.of(FILE))


def test_where_locks_do_nothing_all_end_with_the_right_file(commands: Commands, site: FaultySite) -> None:
    """The folder of one that is still writing is taken for that of one that is dead."""
    site.rate = 6e6
    told = forked(commands, site, UNLOCKED)
    assert told == {"bad": [], "statuses": [0] * 8, "left": []}


def test_an_interrupted_download_ends_at_once_and_is_continued(commands: Commands, site: FaultySite) -> None:
    site.rate = 1e6
    # Where the tests run in the background of a shell, the signal is ignored, and by what they start as well.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = commands.start("download", "net", "--repository", repository(site))
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while site.sent(FILE) < 500_000 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert time.monotonic() - began < 5
    assert not any(name.startswith(("blobs", "artifacts")) for name in commands.kept())
    site.rate = None
    done = downloaded(commands, site)
    assert content(done.out) == WEIGHTS
    assert site.of(FILE)[-1].range.startswith("bytes=")


def test_a_line_on_standard_error_says_what_comes_and_the_folder_is_all_that_is_on_standard_output(
    commands: Commands, site: FaultySite
) -> None:
    done = downloaded(commands, site)
    assert done.err == "downloading net.bin (3.0 MB)\n"
    assert content(done.out) == WEIGHTS
    assert done.out.count("\n") == 1
    assert downloaded(commands, site, "--quiet").err == ""


# mirrors -------------------------------------------------------------------------------------------------------------

DEAD = "http://127.0.0.1:1/"


@pytest.fixture
def catalogue(commands: Commands, site: FaultySite) -> Path:
    """A catalogue on this machine whose file lies at an address that does not answer."""
    item = make.item(f"{DEAD}files/net.bin", WEIGHTS)
    folder = commands.folder / "catalogue"
    make.publish(folder, make.document(make.artifact(files={"parameters": item})), {})
    site.contents["/m/files/net.bin"] = WEIGHTS
    return folder


def test_a_mirror_stands_for_an_address_that_a_catalogue_names(commands: Commands, site: FaultySite, catalogue: Path) -> None:
    mirror = f"{DEAD}={site.url}m/"
    done = commands.zoo("download", "net", "--repository", catalogue, ZOO_MIRROR=mirror)
    assert (done.status, done.err) == (0, "downloading net.bin (3.0 MB)\n")
    assert content(done.out) == WEIGHTS


@pytest.mark.parametrize("local", [True, False])
def test_so_does_one_of_zoo_toml(commands: Commands, site: FaultySite, catalogue: Path, local: bool) -> None:
    configure(commands, f'[[mirror]]\nof = "{DEAD}"\nurls = ["{site.url}absent/", "{site.url}m/"]', local=local)
    done = commands.zoo("download", "net", "--repository", catalogue)
    assert content(done.out) == WEIGHTS, done.err
    assert len(site.of("/absent/files/net.bin")) == 1


def test_a_mirror_may_be_a_folder_and_needs_no_network(commands: Commands, catalogue: Path) -> None:
    folder = commands.folder / "config" / "zoo" / "stick" / "files"
    folder.mkdir(parents=True)
    (folder / "net.bin").write_bytes(WEIGHTS)
    configure(commands, f'[[mirror]]\nof = "{DEAD}"\nurls = ["stick"]')
    done = commands.without_network().zoo("download", "net", "--repository", catalogue)
    assert content(done.out) == WEIGHTS, done.err


def test_wrong_bytes_of_a_mirror_are_not_taken(commands: Commands, site: FaultySite) -> None:
    site.contents[f"/evil/{FOLDER}/net.bin"] = WEIGHTS[::-1]
    configure(commands, f'[[mirror]]\nof = "{repository(site)}"\nurls = ["{site.url}evil/"]', local=True)
    done = downloaded(commands, site)
    assert content(done.out) == WEIGHTS, done.err
    assert len(site.of(f"/evil/{FOLDER}/net.bin")) == 1


def test_an_index_comes_from_the_users_own_mirror_and_from_no_other(commands: Commands, site: FaultySite) -> None:
    site.contents |= {"/m/index.json": site.contents[INDEX], f"/m/{FOLDER}/net.bin": WEIGHTS}
    text = f'[[mirror]]\nof = "{repository(site)}"\nurls = ["{site.url}m/"]'
    configure(commands, text, local=True)
    assert downloaded(commands, site).status == 0
    assert (len(site.of(INDEX)), len(site.of("/m/index.json")), len(site.of(FILE))) == (1, 0, 0)
    (commands.cwd / "zoo.toml").unlink()
    configure(commands, text)
    site.contents.pop(INDEX)
    assert downloaded(commands, site, "--refresh").status == 0
    assert (len(site.of(INDEX)), len(site.of("/m/index.json"))) == (1, 1)


# tokens --------------------------------------------------------------------------------------------------------------


def test_a_token_of_a_configured_repository_goes_to_it_and_nowhere_else(commands: Commands, site: FaultySite) -> None:
    with faulty() as other:
        other.contents["/net.bin"] = WEIGHTS
        site.faults[FILE] = [Fault(status=302, headers={"Location": f"{other.url}net.bin"})]
        configure(commands, f'[[repository]]\nurl = "{repository(site)}"\nname = "acme"\ntoken_env = "ACME_TOKEN"')
        done = commands.zoo("download", "net", "--repository", "acme", "-v", ACME_TOKEN="s3cret")
        assert content(done.out) == WEIGHTS, done.err
        assert {asked.headers.get("authorization") for asked in site.asked} == {"Bearer s3cret"}
        assert "authorization" not in other.asked[0].headers
    assert "s3cret" not in done.out + done.err


def test_a_refusal_names_the_variable_that_is_not_set(commands: Commands, site: FaultySite) -> None:
    site.faults[INDEX] = [Fault(status=401)]
    configure(commands, f'[[repository]]\nurl = "{repository(site)}"\nname = "acme"\ntoken_env = "ACME_TOKEN"')
    done = commands.zoo("download", "net", "--repository", "acme")
    assert (done.status, len(done.errors)) == (4, 1)
    assert "ACME_TOKEN, which is not set" in done.errors[0]


# no network, and too little space ------------------------------------------------------------------------------------


def test_offline_what_is_missing_is_named_with_the_command_that_fetches_it(commands: Commands, site: FaultySite) -> None:
    assert commands.zoo("search", "--repository", repository(site)).status == 0
    done = downloaded(commands.without_network(), site)
    assert (done.status, len(done.errors)) == (4, 1)
    for text in ("parameters of com.example/net@1.0", str(commands.home), "zoo download com.example/net@1.0", FILE):
        assert text in done.errors[0]
    assert site.of(FILE) == []
    assert downloaded(commands, site).status == 0
    assert content(downloaded(commands.without_network(), site).out) == WEIGHTS


def test_a_file_larger_than_the_configuration_allows_is_refused(commands: Commands, site: FaultySite) -> None:
    configure(commands, "max_file_size = 1_000_000")
    done = downloaded(commands, site)
    assert (done.status, site.of(FILE)) == (5, [])
    assert "3.0 MB were declared, and max_file_size in zoo.toml allows 1.0 MB" in done.errors[0]


def test_a_server_in_trouble_is_one_clear_line(commands: Commands, site: FaultySite) -> None:
    site.faults[FILE] = [Fault(cut=100), Fault(status=503, headers={"Retry-After": "1"}), Fault(cut=100, stall_s=0.1), FINE]
    assert content(downloaded(commands, site).out) == WEIGHTS


def test_a_proxy_of_the_environment_is_asked_for_index_and_files(commands: Commands) -> None:
    far = "http://models.example/zoo/"
    document = make.document(make.artifact(files={"parameters": make.item("net.bin", WEIGHTS)}))
    entry = {"path": f"{FOLDER}/metadata.json", "sha256": "", "metadata": document}
    with serving() as proxy:
        # Whoever asks a proxy gives the whole address.
        proxy.pages[f"{far}index.json"] = json.dumps({"indexVersion": 1, "documents": [entry]}).encode()
        proxy.pages[f"{far}{FOLDER}/net.bin"] = WEIGHTS
        done = commands.zoo("download", "net", "--repository", far, HTTP_PROXY=proxy.url, http_proxy=proxy.url)
    assert done.status == 0, done.err
    assert content(done.out) == WEIGHTS
