"""A lock from one machine to another: later versions, wrong bytes, dead hosts, missing packages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests import repositories as make
from tests.commands import Commands
from tests.faulty_server import FaultySite, faulty
from tests.published import FOLDER, INDEX, NEW, OLD, locked, only_file, publish, published, repository, taken, write_index

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def site() -> Iterator[FaultySite]:
    with published() as site:
        yield site


def configure(commands: Commands, text: str) -> None:
    folder = commands.folder / "config" / "zoo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zoo.toml").write_text(text)


# from one machine to another ------------------------------------------------------------------------------------------


def test_what_was_locked_is_what_another_machine_gets_though_a_higher_version_was_published(
    here: Commands, there: Commands, site: FaultySite
) -> None:
    lock = taken(locked(here, site), there)
    publish(site, {"1.0": OLD, "2.0": NEW})
    done = there.zoo("sync")
    assert (done.status, done.out) == (0, "com.example/net@1.0\n"), done.err
    assert only_file(there.zoo("--lock", "zoo.lock", "download", "net")) == OLD
    assert only_file(there.zoo("download", "net", ZOO_LOCK=str(lock))) == OLD
    # No index was needed for any of it, and without the lock there is the newer one.
    assert [asked.path for asked in site.asked if asked.path == INDEX] == [INDEX]
    assert only_file(there.zoo("download", "net", "--repository", repository(site))) == NEW


def test_a_lock_is_used_only_where_it_is_named(here: Commands, site: FaultySite) -> None:
    locked(here, site)
    publish(site, {"1.0": OLD, "2.0": NEW})
    done = here.zoo("search", "--artifact", "net", "--repository", repository(site), "--refresh", "--json")
    assert [record["version"] for record in done.json["records"]] == ["2.0", "1.0"]
    done = here.zoo("search", "--lock", "zoo.lock", "--json")
    assert [record["version"] for record in done.json["records"]] == ["1.0"]


def test_a_second_sync_asks_nobody(here: Commands, there: Commands, site: FaultySite) -> None:
    taken(locked(here, site), there)
    assert there.zoo("sync").status == 0
    asked = len(site.asked)
    assert there.zoo("sync").status == 0
    assert there.without_network().zoo("sync").status == 0
    assert len(site.asked) == asked


def test_offline_a_sync_says_what_is_not_here(here: Commands, there: Commands, site: FaultySite) -> None:
    taken(locked(here, site), there)
    done = there.zoo("sync", "--offline")
    assert (done.status, len(done.errors)) == (4, 1)
    assert "com.example/net@1.0" in done.errors[0]
    assert "zoo sync --lock" in done.errors[0]
    done = there.zoo("--lock", "zoo.lock", "--offline", "download", "net")
    assert (done.status, len(done.errors)) == (4, 1)
    assert done.errors[0].endswith(f"with one: zoo sync --lock {there.cwd / 'zoo.lock'}")


def test_other_bytes_are_not_taken_and_nothing_of_them_is_kept(here: Commands, there: Commands, site: FaultySite) -> None:
    taken(locked(here, site), there)
    site.contents[f"/zoo/{FOLDER}/net-1.0.bin"] = NEW
    done = there.zoo("sync")
    assert (done.status, len(done.errors)) == (5, 1)
    assert f"expected sha256:{make.sha256(OLD)}, got sha256:{make.sha256(NEW)}" in done.errors[0]
    assert there.kept() == []


def test_where_the_host_is_gone_a_mirror_has_it(here: Commands, there: Commands, site: FaultySite) -> None:
    taken(locked(here, site), there)
    site.contents.pop(f"/zoo/{FOLDER}/net-1.0.bin")
    assert there.zoo("sync").status == 4
    with faulty() as other:
        other.contents[f"/m/{FOLDER}/net-1.0.bin"] = OLD
        configure(there, f'[[mirror]]\nof = "{repository(site)}"\nurls = ["{other.url}m/"]')
        assert there.zoo("sync").status == 0
    assert only_file(there.zoo("--lock", "zoo.lock", "download", "net")) == OLD


def test_what_can_be_fetched_comes_though_another_model_fails(here: Commands, there: Commands, site: FaultySite) -> None:
    site.contents["/zoo/gone.bin"] = NEW
    item = {"parameters": make.item("../../../../../../gone.bin", NEW)}
    write_index(
        site,
        [
            make.document(make.artifact(files=item), artifact_id="gone"),
            make.document(make.artifact("1.0", files={"parameters": make.item("net-1.0.bin", OLD)})),
        ],
    )
    assert here.zoo("lock", "gone", "net", "--repository", repository(site)).status == 0
    taken(here.cwd / "zoo.lock", there)
    site.contents.pop("/zoo/gone.bin")
    done = there.zoo("sync")
    assert (done.status, len(done.errors)) == (4, 1)
    assert "gone.bin" in done.errors[0]
    assert only_file(there.zoo("--lock", "zoo.lock", "--offline", "download", "net")) == OLD


def test_a_question_that_no_locked_model_answers_names_the_lock_and_the_command(here: Commands, site: FaultySite) -> None:
    lock = locked(here, site)
    for question in (["net@2.0"], ["other"]):
        done = here.zoo("--lock", "zoo.lock", "download", *question)
        assert (done.status, len(done.errors)) == (3, 1)
        assert f"in the lock {lock}; to lock another: zoo lock {question[0]} -o {lock}" in done.errors[0]
    done = here.zoo("--lock", "zoo.lock", "download", "net", "--repository", f"{site.url}other/")
    assert (done.status, len(done.errors)) == (4, 1)
    assert "locks nothing of the repository" in done.errors[0]
    assert here.zoo("--lock", "zoo.lock", "download", "net", "--repository", repository(site)).status == 0


# making a lock --------------------------------------------------------------------------------------------------------


def test_a_lock_keeps_its_pins_until_it_is_told_to_upgrade(here: Commands, site: FaultySite) -> None:
    lock = locked(here, site)
    first = lock.read_bytes()
    publish(site, {"1.0": OLD, "2.0": NEW})
    again = ("lock", "net", "--repository", repository(site), "--refresh")
    assert here.zoo(*again).out == "com.example/net@1.0 kept\n"
    assert here.zoo("lock", "--refresh").out == "com.example/net@1.0 kept\n"
    assert lock.read_bytes() == first
    assert here.zoo(*again, "--upgrade").out == "com.example/net 1.0 -> 2.0\n"
    assert here.zoo("lock", "--upgrade", "--refresh").out == "com.example/net@2.0 kept\n"
    assert here.zoo("--lock", "zoo.lock", "search", "--json").json["records"][0]["version"] == "2.0"


def test_upgrading_without_a_model_asks_every_question_of_the_lock_anew(here: Commands, site: FaultySite) -> None:
    locked(here, site, "--version", "<2")
    locked(here, site)
    publish(site, {"1.0": OLD, "1.5": b"between", "2.0": NEW})
    done = here.zoo("lock", "--upgrade", "--refresh", "--json")
    assert done.status == 0, done.err
    told = done.json
    assert told["path"] == str(here.cwd / "zoo.lock")
    assert [(item["model"], item["change"], item["before"]) for item in told["models"]] == [
        ("com.example/net@1.5", "changed", "1.0"), ("com.example/net@2.0", "changed", "1.0"),
    ]  # fmt: skip


def test_a_document_without_a_sha256_costs_one_download_which_is_said(
    here: Commands, there: Commands, site: FaultySite
) -> None:
    publish(site, {"1.0": OLD}, sha256=None, sha1Hash=make.sha1(OLD))
    done = here.zoo("lock", "net", "--repository", repository(site))
    assert done.status == 0, done.err
    assert "fetched to learn the sha256, which the document does not give: parameters of com.example/net@1.0" in done.err
    text = json.loads((here.cwd / "zoo.lock").read_text())
    file = text["models"][0]["metadata"]["artifacts"][0]["files"]["parameters"]
    assert file["sha256"] == make.sha256(OLD)
    taken(here.cwd / "zoo.lock", there)
    assert there.zoo("sync").status == 0
    # A stranger's weak digest does not get through either.
    publish(site, {"1.0": OLD}, sha256=None, sha1Hash=make.sha1(NEW))
    assert here.zoo("lock", "--upgrade", "--refresh").status == 5


def test_without_a_model_there_must_be_a_lock(here: Commands) -> None:
    done = here.zoo("lock")
    assert (done.status, len(done.errors)) == (2, 1)
    for verb in (["sync"], ["mirror", "m"]):
        done = here.zoo(*verb)
        assert (done.status, len(done.errors)) == (2, 1)
        assert "zoo.lock does not exist" in done.errors[0]


# packages -------------------------------------------------------------------------------------------------------------


def test_missing_packages_are_named_after_all_files_came(here: Commands, there: Commands, site: FaultySite) -> None:
    document = make.document(
        make.artifact(
            "1.0", files={"parameters": make.item("net-1.0.bin", OLD)}, engines=["Future"], requires=["acme-nets>=1.2"]
        )
    )
    write_index(site, [document])
    taken(locked(here, site), there)
    done = there.zoo("sync")
    assert (done.status, len(done.errors)) == (8, 1)
    assert done.errors[0].endswith('pip install "acme-nets>=1.2" zoo-future')
    assert only_file(there.zoo("--lock", "zoo.lock", "--offline", "download", "net")) == OLD


def test_packages_of_another_version_are_told(here: Commands, there: Commands, site: FaultySite) -> None:
    lock = taken(locked(here, site), there)
    content = json.loads(lock.read_text())
    content["models"][0]["packages"] = {"zoo-core": "0.0.1"}
    lock.write_text(json.dumps(content))
    done = there.zoo("sync", "--json")
    assert done.status == 0
    assert done.json["others"] == ["zoo-core==0.0.1"]
    assert done.json["install"] == 'pip install "zoo-core==0.0.1"'
