"""One file from the first of its addresses that has the right bytes, whatever happens on the way.

Each fault ends in the right file or in one clear error, and never in a wrong file.
"""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests import archives as pack
from tests import repositories as make
from tests.faulty_server import FINE, Fault, FaultySite, faulty
from tests.records import record, source
from zoo_core import reception as reception_module
from zoo_core.artifact import ArtifactFile
from zoo_core.cache import Cache
from zoo_core.errors import CacheError, IntegrityError, RepositoryError
from zoo_core.repository.local import FolderRepository
from zoo_core.transfer import Retry, Stall, Transfer

CONTENT = random.Random(1).randbytes(3_000_000)
PATH = "/net.bin"
#: The retries of the default, without the waiting.
SOON = Retry(retries=3, wait_s=0.01, max_wait_s=0.05)


@pytest.fixture
def site() -> Iterator[FaultySite]:
    with faulty() as site:
        site.contents[PATH] = CONTENT
        yield site


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def file(site: FaultySite, content: bytes = CONTENT, path: str = PATH, **fields: Any) -> ArtifactFile:
    proof = {"sha256": make.sha256(content), "size": len(content)}
    address = {"uri": path, "url": f"{site.url.rstrip('/')}{path}"}
    return ArtifactFile(**{"key": "parameters", "name": "net.bin", **address, **proof, **fields})


def got(cache: Cache, *files: ArtifactFile, progress: Any = None, transfer: Transfer | None = None, **how: Any) -> bytes:
    """The content of the first file, downloaded."""
    used = transfer or Transfer(**{"retry": SOON, "read_s": 0.5, **how})
    repository = FolderRepository(cache.home, transfer=used)
    return next(iter(cache.files(record(files=files), repository, progress=progress).values())).read_bytes()


def finals(cache: Cache) -> list[bytes]:
    """What lies under a final name."""
    return [path.read_bytes() for path in (cache.home / "blobs").rglob("*") if path.is_file()]


def partials(cache: Cache) -> list[Path]:
    """The folders of downloads that are not whole."""
    return sorted((cache.home / "partial").iterdir()) if (cache.home / "partial").is_dir() else []


def forget(cache: Cache) -> None:
    """Delete the content, so that it has to come again."""
    for path in [*(cache.home / "blobs").rglob("*"), *(cache.home / "artifacts").rglob("*")]:
        if path.is_file():
            path.unlink()


# a connection that breaks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 100_000, 2_999_999])
def test_after_a_drop_the_rest_comes_and_no_byte_twice(site: FaultySite, cache: Cache, cut: int) -> None:
    site.faults[PATH] = [Fault(cut=cut), FINE]
    assert got(cache, file(site)) == CONTENT
    first, second = site.of(PATH)
    assert (first.range, second.range) == ("", f"bytes={cut}-")
    assert second.headers["if-range"].startswith('"')
    assert site.sent(PATH) == len(CONTENT)


def test_after_several_drops_too(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=700_000), Fault(cut=10), Fault(cut=800_000), FINE]
    assert got(cache, file(site)) == CONTENT
    assert [asked.range for asked in site.of(PATH)] == ["", "bytes=700000-", "bytes=700010-", "bytes=1500010-"]
    assert site.sent(PATH) == len(CONTENT)


def test_after_a_reset_at_most_what_was_on_its_way_comes_twice(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=1_000_000, resets=True, stall_s=0.1), FINE]
    assert got(cache, file(site)) == CONTENT
    assert site.sent(PATH) - len(CONTENT) < 1_000_000


def test_a_server_that_breaks_off_for_ever_is_given_up_and_what_came_is_kept(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=1000)]
    with pytest.raises(RepositoryError, match=r"net\.bin: the connection broke"):
        got(cache, file(site))
    assert len(site.of(PATH)) == 4
    assert finals(cache) == []
    site.faults[PATH] = [FINE]
    assert got(cache, file(site)) == CONTENT
    assert site.of(PATH)[-1].range == "bytes=4000-"
    assert site.sent(PATH) == len(CONTENT)
    assert partials(cache) == []


def test_a_connection_that_makes_headway_may_break_any_number_of_times(site: FaultySite, cache: Cache) -> None:
    large = random.Random(2).randbytes(9_000_000)
    site.contents[PATH] = large
    site.faults[PATH] = [*[Fault(cut=1_100_000)] * 8, FINE]
    assert got(cache, file(site, large)) == large
    assert site.sent(PATH) == len(large)


def test_the_next_process_continues_where_the_last_one_stopped(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=2_000_000), Fault(status=404)]
    with pytest.raises(RepositoryError, match="404"):
        got(cache, file(site))
    (left,) = partials(cache)
    assert left.name == make.sha256(CONTENT)
    site.faults[PATH] = [FINE]
    assert got(Cache(cache.home), file(site)) == CONTENT
    assert site.sent(PATH) == len(CONTENT)


def test_what_is_whole_and_was_not_named_yet_needs_no_request(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=2_000_000), Fault(status=404)]
    with pytest.raises(RepositoryError):
        got(cache, file(site))
    (left,) = partials(cache)
    (left / "content").write_bytes(CONTENT)
    (left / "state.json").write_text(json.dumps({"total": len(CONTENT), "done": [[0, len(CONTENT)]]}))
    before = len(site.asked)
    assert got(cache, file(site)) == CONTENT
    assert len(site.asked) == before


@pytest.mark.parametrize("damage", [b"", b"{", b'{"done": [[5, 2]]}', b'{"done": [[0, 99999999]]}', b"[]"])
def test_a_damaged_note_of_what_is_here_means_beginning_anew(site: FaultySite, cache: Cache, damage: bytes) -> None:
    site.faults[PATH] = [Fault(cut=2_000_000), Fault(status=404)]
    with pytest.raises(RepositoryError):
        got(cache, file(site))
    (left,) = partials(cache)
    (left / "state.json").write_bytes(damage)
    site.faults[PATH] = [FINE]
    assert got(cache, file(site)) == CONTENT
    assert site.of(PATH)[-1].range == ""


def test_bytes_that_were_damaged_meanwhile_come_again(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=2_000_000), Fault(status=404)]
    with pytest.raises(RepositoryError):
        got(cache, file(site))
    (left,) = partials(cache)
    with (left / "content").open("r+b") as stream:
        stream.write(b"damage")
    site.faults[PATH] = [FINE]
    assert got(cache, file(site)) == CONTENT
    assert [asked.range for asked in site.of(PATH)[-2:]] == ["bytes=2000000-", ""]


# a server that says other things than it does ------------------------------------------------------------------------


def test_a_content_that_changed_meanwhile_comes_from_its_beginning(site: FaultySite, cache: Cache) -> None:
    other = CONTENT[::-1]
    site.faults[PATH] = [Fault(cut=1_000_000, content=other), FINE]
    assert got(cache, file(site)) == CONTENT
    assert len(site.of(PATH)) == 2
    assert site.sent(PATH) == 1_000_000 + len(CONTENT)


def test_a_server_that_changes_its_tag_with_every_answer_is_given_up_or_right(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=1000, etag=f'"{number}"') for number in range(9)]
    with pytest.raises(RepositoryError, match="the connection broke"):
        got(cache, file(site))
    assert finals(cache) == []


@pytest.mark.parametrize(
    "lies",
    [
        "bytes 0-{last}/{total}",
        "bytes {start}-{last}/99",
        "bytes {start}-{last}/99999999",
        "bytes {last}-{start}/{total}",
        "bytes {start}-{start}/{total}",
        "bytes 7-{last}/{total}",
        "bytes */{total}",
        "lines {start}-{last}/{total}",
        "bytes -1-{last}/{total}",
        "",
    ],
)
def test_a_part_that_is_not_what_was_asked_for_is_not_used(site: FaultySite, cache: Cache, lies: str) -> None:
    site.faults[PATH] = [Fault(cut=1_000_000), Fault(lies=lies), FINE]
    assert got(cache, file(site)) == CONTENT
    assert site.of(PATH)[-1].range == ""


def test_a_part_of_other_bytes_than_it_says_is_found_by_the_digest(site: FaultySite, cache: Cache) -> None:
    etag = '"same"'
    site.faults[PATH] = [Fault(cut=1_000_000, etag=etag), Fault(content=bytes(len(CONTENT)), etag=etag), Fault(etag=etag)]
    assert got(cache, file(site)) == CONTENT
    assert [asked.range for asked in site.of(PATH)] == ["", "bytes=1000000-", ""]


def test_a_server_without_ranges_sends_all_of_it_again(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=1_000_000, ranges=False), Fault(ranges=False)]
    assert got(cache, file(site)) == CONTENT
    assert site.sent(PATH) == 1_000_000 + len(CONTENT)


def test_a_server_that_ignores_ranges_and_breaks_off_for_ever_is_given_up(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=1_000_000, ranges=False)]
    with pytest.raises(RepositoryError, match="the connection broke"):
        got(cache, file(site))
    assert len(site.of(PATH)) == 4


def test_wrong_bytes_are_an_error_with_both_digests_and_right_ones_are_taken_the_next_time(
    site: FaultySite, cache: Cache
) -> None:
    site.faults[PATH] = [Fault(content=b"an error page of a proxy"), FINE]
    with pytest.raises(IntegrityError) as caught:
        got(cache, file(site))
    assert caught.value.expected == f"sha256:{make.sha256(CONTENT)}"
    assert (finals(cache), partials(cache)) == ([], [])
    assert got(cache, file(site)) == CONTENT


def test_a_length_that_is_too_small_is_found_by_the_digest(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(headers={"Content-Length": "100"})]
    with pytest.raises(IntegrityError, match="wrong digest"):
        got(cache, file(site))


# bodies without a length ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_body_without_a_length_is_taken_to_its_end(site: FaultySite, cache: Cache, framing: str) -> None:
    site.faults[PATH] = [Fault(framing=framing)]
    assert got(cache, file(site)) == CONTENT


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_one_that_breaks_off_is_continued(site: FaultySite, cache: Cache, framing: str) -> None:
    site.faults[PATH] = [Fault(framing=framing, cut=1_000_000), FINE]
    assert got(cache, file(site)) == CONTENT
    assert site.of(PATH)[1].range == "bytes=1000000-"
    assert site.sent(PATH) == len(CONTENT)


def test_an_empty_file_is_a_file(site: FaultySite, cache: Cache) -> None:
    site.contents["/empty"] = b""
    assert got(cache, file(site, b"", "/empty")) == b""
    site.faults["/empty"] = [Fault(framing="chunked")]
    forget(cache)
    assert got(cache, file(site, b"", "/empty")) == b""


# encodings -----------------------------------------------------------------------------------------------------------

PACKED = gzip.compress(CONTENT[:100_000])
ENCODED = {"Content-Encoding": "gzip"}


def test_a_file_that_is_packed_itself_stays_so_whatever_the_server_calls_it(site: FaultySite, cache: Cache) -> None:
    site.contents["/net.bin.packed"] = PACKED
    site.faults["/net.bin.packed"] = [Fault(headers=ENCODED)]
    assert got(cache, file(site, PACKED, "/net.bin.packed")) == PACKED
    assert site.asked[0].headers["accept-encoding"] == "identity"


def test_a_file_that_a_server_packs_unasked_is_unpacked(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(content=PACKED, headers=ENCODED)]
    assert got(cache, file(site, CONTENT[:100_000])) == CONTENT[:100_000]
    assert partials(cache) == []


def test_a_packed_body_that_breaks_off_comes_from_its_beginning(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(content=PACKED, headers=ENCODED, cut=50_000), Fault(content=PACKED, headers=ENCODED)]
    assert got(cache, file(site, CONTENT[:100_000])) == CONTENT[:100_000]
    assert [asked.range for asked in site.of(PATH)] == ["", ""]


@pytest.mark.parametrize("packed", [gzip.compress(bytes(60_000_000)), PACKED[:-9], b"no gzip"], ids=["bomb", "cut", "other"])
def test_one_that_is_not_the_file_even_so_is_an_error(site: FaultySite, cache: Cache, packed: bytes) -> None:
    site.faults[PATH] = [Fault(content=packed, headers=ENCODED)]
    with pytest.raises(IntegrityError, match="wrong digest"):
        got(cache, file(site, CONTENT[:100_000]))
    assert (finals(cache), partials(cache)) == ([], [])


# a server in trouble, or one that sleeps -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_storm_of_refusals_is_waited_out(site: FaultySite, cache: Cache, status: int) -> None:
    site.faults[PATH] = [Fault(status=status), Fault(status=status, headers={"Retry-After": "1"}), Fault(cut=9), FINE]
    assert got(cache, file(site)) == CONTENT
    assert site.sent(PATH) == len(CONTENT), "what came between the refusals did not come again"


def test_a_storm_that_does_not_end_is_an_error_with_the_status(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(status=503)]
    with pytest.raises(RepositoryError, match="503") as caught:
        got(cache, file(site))
    assert caught.value.status == 503
    assert len(site.of(PATH)) == 4


def test_the_body_of_a_refusal_or_of_a_redirect_is_not_read(site: FaultySite, cache: Cache) -> None:
    site.faults |= {PATH: [Fault(status=503, endless=True), Fault(status=302, endless=True, headers={"Location": "/there"})]}
    site.contents["/there"] = CONTENT
    assert got(cache, file(site)) == CONTENT


def test_redirects_in_a_circle_are_an_error(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(status=302, headers={"Location": PATH})]
    with pytest.raises(RepositoryError, match="more than 10 redirects"):
        got(cache, file(site))


def test_a_silent_server_is_left_and_asked_again(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=1_000_000, stall_s=5.0), FINE]
    began = time.monotonic()
    assert got(cache, file(site), read_s=0.2) == CONTENT
    assert time.monotonic() - began < 4.0
    assert site.sent(PATH) == len(CONTENT)


def test_a_server_that_sends_a_byte_now_and_then_is_left_and_asked_again(site: FaultySite, cache: Cache) -> None:
    """No read ever times out, so the bytes are counted."""
    site.faults[PATH] = [Fault(drip_s=0.05), FINE]
    began = time.monotonic()
    assert got(cache, file(site), stall=Stall(window_s=0.4)) == CONTENT
    assert time.monotonic() - began < 4.0


def test_a_server_whose_answer_never_begins_is_left_and_asked_again(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(head_drip_s=0.05), FINE]
    began = time.monotonic()
    assert got(cache, file(site), connect_s=0.1) == CONTENT
    assert time.monotonic() - began < 4.0


# sizes ---------------------------------------------------------------------------------------------------------------


def test_a_file_far_larger_than_declared_is_refused_before_it_comes(site: FaultySite, cache: Cache) -> None:
    site.contents[PATH] = bytes(40_000_000)
    with pytest.raises(IntegrityError, match=r"40\.0 MB are offered, and 3\.0 MB were declared"):
        got(cache, file(site))
    assert site.sent(PATH) < 30_000_000


def test_one_that_says_nothing_of_its_size_is_cut_off(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(framing="close", endless=True)]
    with pytest.raises(IntegrityError, match=r"more than 13\.0 MB came, and 3\.0 MB were declared"):
        got(cache, file(site))
    assert (finals(cache), partials(cache)) == ([], [])


@pytest.mark.parametrize("size", [3_000_000, None])
def test_the_limit_of_the_configuration_is_kept(site: FaultySite, tmp_path: Path, size: int | None) -> None:
    small = Cache(tmp_path / "small", max_file_size=1_000_000)
    with pytest.raises(IntegrityError, match=r"3\.0 MB (were declared|are offered).*max_file_size"):
        got(small, file(site, size=size))
    assert (finals(small), partials(small), len(site.asked)) == ([], [], 0 if size else 1)
    assert got(Cache(tmp_path / "large", max_file_size=3_000_000), file(site, size=size)) == CONTENT


def test_what_does_not_fit_on_the_disk_is_refused_with_the_numbers(site: FaultySite, cache: Cache) -> None:
    with pytest.raises(CacheError, match=r"too small: 1000000\.0 TB are to come, and .* are free"):
        got(cache, file(site, size=10**18))
    assert site.asked == []


def test_a_wrong_size_in_the_document_does_not_matter(site: FaultySite, cache: Cache) -> None:
    for size in (800_000, 5_000_000):
        assert got(cache, file(site, size=size)) == CONTENT
        forget(cache)


# several addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=404),
        Fault(status=503),
        Fault(content=b"wrong"),
        Fault(cut=1000),
        Fault(cut=0),
        Fault(endless=True, framing="close"),
    ],
    ids=["gone", "in trouble", "wrong", "breaks", "empty", "endless"],
)
def test_the_first_address_with_the_right_bytes_is_enough(site: FaultySite, cache: Cache, fault: Fault) -> None:
    site.faults[PATH] = [fault]
    site.contents["/mirror"] = CONTENT
    wanted = file(site, mirrors=(f"{site.url}absent", f"{site.url}mirror"))
    assert got(cache, wanted) == CONTENT


def test_what_came_from_one_address_is_continued_from_another(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=2_000_000), Fault(status=404)]
    site.contents["/mirror"] = CONTENT
    assert got(cache, file(site, mirrors=(f"{site.url}mirror",))) == CONTENT
    (mirrored,) = site.of("/mirror")
    assert (mirrored.range, "if-range" in mirrored.headers) == ("bytes=2000000-", False)
    assert site.sent(PATH) + site.sent("/mirror") == len(CONTENT)


def test_wrong_bytes_of_one_address_do_not_spoil_those_of_another(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(content=bytes(3_000_000), cut=2_000_000), Fault(status=404)]
    site.contents["/mirror"] = CONTENT
    assert got(cache, file(site, mirrors=(f"{site.url}mirror",))) == CONTENT


def test_where_no_address_has_it_the_error_says_what_each_of_them_did(site: FaultySite, cache: Cache) -> None:
    site.faults |= {PATH: [Fault(status=410)], "/wrong": [Fault(content=b"x")], "/worse": [Fault(content=b"y")]}
    with pytest.raises(RepositoryError, match=r"any of its 2 addresses: .*410 Gone.*wrong digest"):
        got(cache, file(site, mirrors=(f"{site.url}wrong",)))
    with pytest.raises(IntegrityError, match="any of its 2 addresses"):
        got(cache, file(site, path="/wrong", mirrors=(f"{site.url}worse",)))


def test_a_file_that_was_not_copied_with_its_catalogue_comes_from_its_mirror(
    site: FaultySite, cache: Cache, tmp_path: Path
) -> None:
    item = make.item("net.bin", CONTENT, mirrors=[f"{site.url}net.bin"])
    make.publish(tmp_path / "zoo", make.document(make.artifact(files={"parameters": item})), {})
    repository = FolderRepository(tmp_path / "zoo")
    (metadata,) = repository.documents()
    wanted = record(files=metadata.artifacts[0].files)
    assert cache.has(wanted, repository) is False
    assert cache.files(wanted, repository)["parameters"].read_bytes() == CONTENT
    assert cache.has(wanted, repository) is True
    assert cache.files(wanted, repository)["parameters"].name == "net.bin"
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    "weak", [{"sha1": make.sha1(CONTENT)}, {"sha256_prefix": make.sha256(CONTENT)[:8]}], ids=["sha1", "prefix"]
)
def test_a_file_with_a_weaker_digest_is_continued_too(site: FaultySite, cache: Cache, weak: dict[str, str]) -> None:
    site.faults[PATH] = [Fault(cut=2_000_000), Fault(status=404)]
    wanted = file(site, sha256=None, **weak)
    with pytest.raises(RepositoryError):
        got(cache, wanted)
    site.faults[PATH] = [FINE]
    assert got(cache, wanted) == CONTENT
    assert site.sent(PATH) == len(CONTENT)


# without a digest ----------------------------------------------------------------------------------------------------


def unverified(site: FaultySite, cache: Cache) -> bytes:
    bare = file(site, sha256=None)
    trusting = record(files=(bare,), source=source("acme", allow_unverified=True))
    repository = FolderRepository(cache.home, transfer=Transfer(retry=SOON))
    with pytest.warns(UserWarning, match="was not verified"):
        return cache.files(trusting, repository)["parameters"].read_bytes()


def test_bytes_of_two_requests_are_put_together_only_where_the_server_vouches_for_them(site: FaultySite, cache: Cache) -> None:
    site.faults[PATH] = [Fault(cut=1_000_000), FINE]
    assert unverified(site, cache) == CONTENT
    assert site.of(PATH)[1].headers["if-range"].startswith('"')


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_otherwise_all_of_it_comes_again(site: FaultySite, cache: Cache, etag: str) -> None:
    site.faults[PATH] = [Fault(cut=1_000_000, etag=etag, content=bytes(3_000_000)), Fault(etag=etag)]
    assert unverified(site, cache) == CONTENT
    assert site.of(PATH)[1].range == ""


# several connections -------------------------------------------------------------------------------------------------

LARGE = random.Random(3).randbytes(24_000_000)


@pytest.fixture
def slow(site: FaultySite, monkeypatch: pytest.MonkeyPatch) -> FaultySite:
    """A server that gives each connection 5 MB/s."""
    monkeypatch.setattr(reception_module, "PATIENCE_S", 0.05)
    monkeypatch.setattr(reception_module, "LEAST_PIECE", 1 << 20)
    site.contents[PATH], site.rate, site.latency_s = LARGE, 5e6, 0.02
    return site


def test_a_large_file_comes_in_several_connections_and_no_part_twice(slow: FaultySite, cache: Cache) -> None:
    seen: list[tuple[int, int | None, str]] = []
    began = time.monotonic()
    assert got(cache, file(slow, LARGE), progress=lambda *told: seen.append(told)) == LARGE
    assert time.monotonic() - began < 24 / 5 / 2
    first, *others = slow.of(PATH)
    assert first.range == ""
    assert len(others) >= 7
    assert all(other.headers["if-range"] == others[0].headers["if-range"] for other in others)
    # What the first connection had on its way when the others took over its work.
    assert slow.sent(PATH) - len(LARGE) < 6_000_000
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1] == (len(LARGE), len(LARGE), "net.bin")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=404),
        Fault(cut=0),
        Fault(cut=300_000),
        Fault(cut=300_000, resets=True),
        Fault(lies="bytes 0-{last}/{total}"),
        Fault(lies="bytes {start}-{last}/7"),
        Fault(ranges=False),
        Fault(etag='"other"'),
        Fault(content=LARGE[::-1]),
        Fault(content=LARGE[::-1], etag='"0"'),
    ],
    ids=lambda fault: repr(fault)[6:60],
)
def test_whatever_happens_to_further_connections_the_file_is_right(slow: FaultySite, cache: Cache, fault: Fault) -> None:
    slow.faults[PATH] = [FINE, *[fault] * 5, FINE]
    assert got(cache, file(slow, LARGE)) == LARGE


def test_a_server_that_allows_one_connection_serves_all_of_it_on_that(slow: FaultySite, cache: Cache) -> None:
    slow.rate = 2e7
    slow.faults[PATH] = [FINE, Fault(status=429)]
    assert got(cache, file(slow, LARGE)) == LARGE
    assert slow.of(PATH)[0].sent == len(LARGE)


def test_parts_that_lie_about_their_bytes_are_found_and_all_of_it_comes_again(slow: FaultySite, cache: Cache) -> None:
    slow.rate = 2e7
    etag = '"same"'
    slow.faults[PATH] = [Fault(etag=etag), *[Fault(etag=etag, content=LARGE[::-1])] * 8, Fault(etag=etag)]
    assert got(cache, file(slow, LARGE)) == LARGE


def test_a_download_in_several_connections_is_continued_where_it_stopped(slow: FaultySite, cache: Cache) -> None:
    slow.faults[PATH] = [FINE, *[Fault(cut=600_000)] * 4, Fault(status=404)]
    slow.faults[PATH][0] = Fault(cut=3_000_000)
    with pytest.raises(RepositoryError):
        got(cache, file(slow, LARGE))
    before = slow.sent(PATH)
    assert before > 3_000_000
    slow.faults[PATH] = [FINE]
    assert got(cache, file(slow, LARGE)) == LARGE
    assert slow.sent(PATH) - before < len(LARGE) - before + 6_000_000


def test_no_thread_is_left(slow: FaultySite, cache: Cache) -> None:
    got(cache, file(slow, LARGE))
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("zoo-")] == []


def test_what_a_callback_raises_ends_the_download_and_keeps_what_came(slow: FaultySite, cache: Cache) -> None:
    def interrupt(done: int, total: int | None, name: str) -> None:
        if done > 5_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        got(cache, file(slow, LARGE), progress=interrupt)
    assert finals(cache) == []
    (left,) = partials(cache)
    assert left.name == make.sha256(LARGE)
    before = slow.sent(PATH)
    assert got(cache, file(slow, LARGE)) == LARGE
    assert slow.sent(PATH) < before + len(LARGE) - 2_000_000


# several files -------------------------------------------------------------------------------------------------------


def several(site: FaultySite, count: int = 6) -> list[ArtifactFile]:
    site.contents |= {f"/{number}": CONTENT[number:] for number in range(count)}
    return [file(site, CONTENT[number:], f"/{number}", key=f"k{number}", name=f"{number}.bin") for number in range(count)]


def test_several_files_of_an_artifact_come_at_once(site: FaultySite, cache: Cache) -> None:
    site.latency_s = 0.3
    began = time.monotonic()
    got(cache, *several(site))
    assert time.monotonic() - began < 6 * 0.3
    assert sorted(finals(cache)) == sorted(CONTENT[number:] for number in range(6))


def test_equal_files_of_an_artifact_come_once(site: FaultySite, cache: Cache) -> None:
    site.latency_s = 0.1
    got(cache, *[file(site, key=f"k{number}", name=f"{number}.bin") for number in range(4)])
    assert len(site.of(PATH)) == 1


def test_where_one_fails_the_others_end_and_are_continued_the_next_time(site: FaultySite, cache: Cache) -> None:
    files = several(site, 3)
    site.rate = 2e6
    site.faults["/1"] = [Fault(cut=500_000), Fault(status=404)]
    began = time.monotonic()
    with pytest.raises(RepositoryError, match="404"):
        got(cache, *files)
    assert time.monotonic() - began < 1.4
    site.rate, site.faults["/1"] = None, [FINE]
    assert got(cache, *files) == CONTENT
    assert site.sent("/1") == len(CONTENT) - 1
    assert any(asked.range for asked in site.of("/0"))


def test_the_progress_of_several_files_is_told_by_one_at_a_time(site: FaultySite, cache: Cache) -> None:
    busy, overlaps = threading.Lock(), list[str]()

    def told(done: int, total: int | None, name: str) -> None:
        if not busy.acquire(blocking=False):
            overlaps.append(name)
            return
        time.sleep(0.001)
        busy.release()

    got(cache, *several(site), progress=told)
    assert overlaps == []


# every fault at random -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_a_storm_of_all_faults_ends_in_the_right_file_or_in_one_clear_error(
    site: FaultySite, cache: Cache, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception_module, "PATIENCE_S", 0.0)
    monkeypatch.setattr(reception_module, "LEAST_PIECE", 1 << 18)
    monkeypatch.setattr(reception_module, "WORTH_S", 0.0)
    dice = random.Random(seed)
    kinds = [
        FINE,
        Fault(status=503),
        Fault(status=429),
        Fault(status=404),
        Fault(cut=dice.randrange(3_000_000)),
        Fault(cut=dice.randrange(3_000_000), resets=True),
        Fault(cut=dice.randrange(3_000_000), stall_s=0.3),
        Fault(cut=dice.randrange(3_000_000), framing="close"),
        Fault(ranges=False),
        Fault(etag='"other"'),
        Fault(lies="bytes 0-{last}/{total}"),
        Fault(content=CONTENT[::-1]),
        Fault(content=CONTENT[::-1], etag='"same"'),
        Fault(etag='"same"', cut=dice.randrange(3_000_000)),
        Fault(content=b"short"),
        Fault(headers={"Content-Encoding": "gzip"}),
    ]
    site.contents["/mirror"] = CONTENT
    for path in (PATH, "/mirror"):
        site.faults[path] = [dice.choice(kinds) for _ in range(dice.randrange(1, 12))]
    wanted = file(site, mirrors=(f"{site.url}mirror",))
    for _ in range(2):
        with suppress(RepositoryError, IntegrityError):
            assert got(cache, wanted, read_s=0.15) == CONTENT
        assert all(content == CONTENT for content in finals(cache))
    site.faults.clear()
    assert got(cache, wanted) == CONTENT
    assert partials(cache) == []


# archives ------------------------------------------------------------------------------------------------------------


def archives_of(site: FaultySite, tmp_path: Path) -> tuple[list[ArtifactFile], dict[str, bytes]]:
    """Two archives on the server that become folders, and what is in them."""
    trees = {name: {"net.params": CONTENT[start : start + 1_000_000]} for name, start in (("left", 0), ("right", 1_000_000))}
    files = []
    for name, tree in trees.items():
        site.contents[f"/{name}.zip"] = content = pack.zipped(tree)
        files.append(file(site, content, f"/{name}.zip", key=name, name=name, type="dir"))
    return files, {f"{name}/{path}": content for name, tree in trees.items() for path, content in tree.items()}


def test_archives_that_break_off_are_continued_and_unpacked(site: FaultySite, cache: Cache, tmp_path: Path) -> None:
    files, expected = archives_of(site, tmp_path)
    for name in ("left", "right"):
        site.faults[f"/{name}.zip"] = [Fault(cut=400_000), FINE]
    folder = cache.folder(record(files=files), FolderRepository(cache.home, transfer=Transfer(retry=SOON, read_s=0.5)))
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.params")} == expected
    assert sorted(finals(cache)) == sorted(expected.values()), "the archives themselves are not kept"
    assert partials(cache) == []
