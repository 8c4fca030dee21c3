"""Bytes from an http(s) address."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.web import Answer, Site, serving
from zoo_core import OfflineError, RepositoryError, __version__
from zoo_core.transfer import Retry, Transfer

ONCE = Retry(retries=0)
AT_ONCE = Retry(retries=2, wait_s=0.0)


def body(transfer: Transfer, url: str, offset: int = 0) -> bytes:
    with transfer.stream(url, offset) as stream:
        return stream.read()


def content(transfer: Transfer, url: str) -> bytes:
    with transfer.open(url) as response:
        return response.content


def test_the_bytes_come_as_they_are_stored(site: Site) -> None:
    content = bytes(range(256)) * 5000
    site.pages["/net.bin"] = content
    assert body(Transfer(retry=ONCE), f"{site.url}net.bin") == content
    ((_, headers),) = site.requests
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"] == f"zoo/{__version__}"
    assert "range" not in headers


def test_a_compressed_file_is_not_unpacked_on_the_way(site: Site) -> None:
    """A digest is of the bytes as transferred."""
    content = gzip.compress(b"x" * 1000)
    site.pages["/net.bin.gz"] = Answer(content, headers={"Content-Encoding": "gzip"})
    assert body(Transfer(retry=ONCE), f"{site.url}net.bin.gz") == content


def test_a_stream_can_begin_in_the_middle(site: Site) -> None:
    site.pages["/net.bin"] = b"0123456789"
    assert body(Transfer(retry=ONCE), f"{site.url}net.bin", 4) == b"456789"
    assert site.requests[0][1]["range"] == "bytes=4-"


def test_a_server_that_knows_no_ranges_is_an_error_and_not_a_wrong_file(site: Site) -> None:
    site.pages["/net.bin"] = Answer(b"0123456789", ranges=False)
    with pytest.raises(RepositoryError, match="the server cannot continue at byte 4"):
        body(Transfer(retry=ONCE), f"{site.url}net.bin", 4)


@pytest.mark.parametrize(
    ("status", "text"), [(404, "404 Not Found"), (403, "403 Forbidden"), (410, "410 Gone"), (500, "500 Internal")]
)
def test_a_refusal_is_an_error_with_address_and_status(site: Site, status: int, text: str) -> None:
    site.pages["/net.bin"] = Answer(b"secret page", status)
    with pytest.raises(RepositoryError, match=f"{site.url}net.bin: the server answered {text}") as caught:
        body(Transfer(retry=ONCE), f"{site.url}net.bin")
    assert caught.value.url == f"{site.url}net.bin"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(site: Site, status: int) -> None:
    site.pages["/net.bin"] = [Answer(status=status), Answer(status=status), Answer(b"at last")]
    assert body(Transfer(retry=AT_ONCE), f"{site.url}net.bin") == b"at last"
    assert len(site.requests) == 3


def test_a_server_that_stays_in_trouble_is_given_up(site: Site) -> None:
    site.pages["/net.bin"] = Answer(status=503)
    with pytest.raises(RepositoryError, match="503"):
        body(Transfer(retry=AT_ONCE), f"{site.url}net.bin")
    assert len(site.requests) == 3


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were to be waited; nobody waits."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: waited.append(seconds) if seconds else None)
    return waited


@pytest.mark.parametrize(
    ("asked", "waited"), [("2", [2.0]), ("86400", [30.0]), ("Fri, 31 Dec 2999 23:59:59 GMT", [30.0]), ("soon", [])]
)
def test_a_server_decides_how_long_to_wait_but_not_for_ever(
    site: Site, waits: list[float], asked: str, waited: list[float]
) -> None:
    site.pages["/net.bin"] = [Answer(status=503, headers={"Retry-After": asked}), Answer(b"at last")]
    assert body(Transfer(retry=Retry(retries=2, wait_s=0.0)), f"{site.url}net.bin") == b"at last"
    assert waits == waited


def test_what_is_not_there_is_not_asked_for_again(site: Site) -> None:
    with pytest.raises(RepositoryError, match="404"):
        body(Transfer(retry=AT_ONCE), f"{site.url}net.bin")
    assert len(site.requests) == 1


def test_offline_nothing_is_asked(site: Site) -> None:
    is_offline = True
    transfer = Transfer(is_offline=lambda: is_offline, retry=ONCE)
    site.pages["/net.bin"] = b"x"
    with pytest.raises(OfflineError, match=f"offline: {site.url}net.bin is not on this machine and offline mode forbids"):
        body(transfer, f"{site.url}net.bin")
    assert site.requests == []
    is_offline = False
    assert body(transfer, f"{site.url}net.bin") == b"x"


def test_a_server_that_does_not_answer_is_an_error_in_plain_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RepositoryError) as caught:
        body(Transfer(retry=ONCE), f"http://127.0.0.1:{port}/net.bin")
    assert str(caught.value).startswith(f"http://127.0.0.1:{port}/net.bin: ")
    assert "onnection refused" in str(caught.value)
    assert "HTTPConnectionPool" not in str(caught.value)


def test_a_server_that_falls_silent_is_an_error(site: Site) -> None:
    site.pages["/net.bin"] = Answer(b"x", wait_s=0.5)
    with pytest.raises(RepositoryError, match="timed out"):
        body(Transfer(retry=ONCE, read_s=0.05), f"{site.url}net.bin")


@pytest.mark.parametrize("how", ["stream", "content"])
def test_a_body_that_is_cut_is_an_error_and_not_a_short_file(site: Site, how: str) -> None:
    site.pages["/net.bin"] = Answer(b"0123456789" * 1000, cut=5000)
    read = body if how == "stream" else content
    with pytest.raises(RepositoryError, match=f"{site.url}net.bin: the connection broke"):
        read(Transfer(retry=ONCE), f"{site.url}net.bin")


@pytest.mark.parametrize("url", ["http://", "http://[half", "http:///net.bin", "ftp://models.example/net.bin"])
def test_an_address_that_cannot_be_asked_is_an_error(url: str) -> None:
    with pytest.raises(RepositoryError):
        body(Transfer(retry=ONCE), url)


def with_password(url: str) -> str:
    return url.replace("http://", "http://anna:s3cret@")


def test_a_password_in_an_address_is_in_no_message(site: Site) -> None:
    site.pages |= {"/net.bin": Answer(b"0123456789" * 1000, cut=5000), "/moved.bin": redirect("ftp://anna:s3cret@x.example/")}
    offline = Transfer(is_offline=lambda: True)
    online = Transfer(retry=ONCE)
    dead = "http://anna:s3cret@127.0.0.1:1/"
    asked = [(online, f"{with_password(site.url)}{name}.bin") for name in ("net", "moved", "missing")]
    for transfer, url in [*asked, (offline, with_password(site.url)), (online, dead), (online, "ftp://anna:s3cret@x.example/")]:
        with pytest.raises(RepositoryError) as caught:
            body(transfer, url)
        assert "s3cret" not in str(caught.value)
        assert "://***@" in str(caught.value)


def test_a_stream_that_is_closed_hangs_up_also_twice(site: Site) -> None:
    site.pages["/net.bin"] = b"0123456789"
    stream = Transfer(retry=ONCE).stream(f"{site.url}net.bin")
    assert stream.read(3) == b"012"
    stream.close()
    stream.close()
    assert stream.closed


# redirects -----------------------------------------------------------------------------------------------------------


def redirect(target: str) -> Answer:
    return Answer(status=302, headers={"Location": target})


def test_a_redirect_is_followed(site: Site) -> None:
    site.pages |= {"/old.bin": redirect("/new.bin"), "/new.bin": b"moved"}
    assert body(Transfer(retry=ONCE), f"{site.url}old.bin") == b"moved"
    assert site.paths == ["/old.bin", "/new.bin"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/net.bin", "data:,x"])
def test_a_redirect_leads_to_the_web_only(site: Site, target: str) -> None:
    site.pages["/net.bin"] = redirect(target)
    with pytest.raises(RepositoryError, match=f"{site.url}net.bin: "):
        body(Transfer(retry=ONCE), f"{site.url}net.bin")


def test_redirects_in_a_circle_are_an_error(site: Site) -> None:
    site.pages["/net.bin"] = redirect("/net.bin")
    with pytest.raises(RepositoryError, match="redirect"):
        body(Transfer(retry=ONCE), f"{site.url}net.bin")
    assert len(site.requests) == 11


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server that speaks https, with a certificate that is trusted until the test ends."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("a certificate is made by openssl, which is not here")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    subprocess.run(
        [openssl, "req", "-x509", *kind, *name, "-keyout", key, "-out", certificate], capture_output=True, check=True
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    security = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    security.load_cert_chain(certificate, key)
    with serving(security) as site:
        yield site


def test_no_redirect_leads_from_https_down_to_http(secure: Site, site: Site) -> None:
    secure.pages |= {"/net.bin": redirect(f"{site.url}net.bin"), "/old.bin": redirect("/new.bin"), "/new.bin": b"secure"}
    site.pages["/net.bin"] = b"anybody's"
    assert body(Transfer(retry=ONCE), f"{secure.url}old.bin") == b"secure"
    with pytest.raises(RepositoryError, match="never from https to http"):
        body(Transfer(retry=ONCE), f"{secure.url}net.bin")
    assert site.requests == []


def test_a_certificate_that_nobody_trusts_is_an_error_at_once(secure: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(RepositoryError, match=r"(?i)certificate"):
        body(Transfer(), f"{secure.url}net.bin")
    assert secure.requests == []


CREDENTIALS = {"Authorization": "Bearer secret", "X-Api-Key": "secret", "Private-Token": "secret", "X-Our-Own": "secret"}


def signed(url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    return {**headers, **CREDENTIALS}


def test_credentials_are_sent_to_the_origin_that_was_asked(site: Site) -> None:
    site.pages |= {"/old.bin": redirect("/new.bin"), "/new.bin": b"moved"}
    assert body(Transfer(retry=ONCE, authorise=signed), f"{site.url}old.bin") == b"moved"
    for _, headers in site.requests:
        assert {name: headers.get(name.lower()) for name in CREDENTIALS} == CREDENTIALS


def test_credentials_are_never_sent_to_another_origin_whatever_they_are_called(site: Site) -> None:
    with serving() as other:
        site.pages["/net.bin"] = redirect(f"{other.url}net.bin")
        other.pages["/net.bin"] = b"elsewhere"
        assert body(Transfer(retry=ONCE, authorise=signed), f"{site.url}net.bin", 3) == b"ewhere"
        ((_, headers),) = other.requests
    assert [name for name in CREDENTIALS if name.lower() in headers] == []
    assert "secret" not in str(headers)
    assert (headers["range"], headers["accept-encoding"]) == ("bytes=3-", "identity")


def test_whoever_authorises_sees_the_address_and_the_headers(site: Site) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    def watching(url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        seen.append((url, dict(headers)))
        return headers

    site.pages["/net.bin"] = b"0123"
    body(Transfer(retry=ONCE, authorise=watching), f"{site.url}net.bin", 2)
    ((url, headers),) = seen
    assert (url, headers["Range"]) == (f"{site.url}net.bin", "bytes=2-")


def test_one_that_is_hurried_asks_once_and_waits_for_seconds_only() -> None:
    hurried = Transfer().hurried()
    assert (hurried.retry.retries, hurried.connect_s <= 3, hurried.read_s <= 10) == (0, True, True)
    # Whoever waits for less already waits no longer for it.
    assert Transfer(connect_s=0.5, read_s=0.5).hurried().connect_s == 0.5
