"""Whose token goes to which address."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.web import Answer, Site, serving
from zoo_core.credentials import Credential, Credentials, origin
from zoo_core.errors import CriteriaError, RepositoryError
from zoo_core.transfer import Retry, Transfer

BEARER = {"Authorization": "Bearer s3cret"}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", " s3cret\n")
    monkeypatch.setenv("ACME_USER", "anna")


@pytest.fixture
def other() -> Iterator[Site]:
    with serving() as site:
        yield site


def known(*urls: str, **fields: str) -> Credentials:
    return Credentials([Credential(url=url, token_env="ACME_TOKEN", **fields) for url in urls])


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/zoo/net.bin",
        "https://models.example/zoo",
        "https://models.example/elsewhere/net.bin",
        "https://MODELS.example:443/zoo/net.bin",
    ],
)
def test_a_token_goes_to_the_origin_of_its_repository(url: str) -> None:
    assert known("https://models.example/zoo/").headers(url) == BEARER


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/zoo/net.bin",
        "https://models.example:444/zoo/net.bin",
        "https://models.example.org/zoo/net.bin",
        "https://evil.example/https://models.example/zoo/",
        "https://models.example@evil.example/zoo/net.bin",
        "file:///zoo/net.bin",
    ],
)
def test_it_goes_to_no_other(url: str) -> None:
    assert known("https://models.example/zoo/").headers(url) == {}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}\\@models.example/net.bin",
        "http://127.0.0.1:{port}%2f@models.example\\/net.bin",
        "http://127.0.0.1%3a{port}/net.bin",
        "http://127.0.0.%31:{port}/net.bin",
        "http://127.0.0.1 :{port}/net.bin",
    ],
)
def test_an_address_whose_host_can_be_read_in_two_ways_is_not_asked(site: Site, url: str) -> None:
    """What it is told of the user is decided by one reader, and whom it is sent to by another."""
    site.pages["/net.bin"] = b"1"
    with pytest.raises(RepositoryError, match="can be read in two ways"):
        fetched(url.format(port=site.url.rpartition(":")[2].rstrip("/")), known("http://models.example/"))
    site.pages["/go"] = redirect("http://models.example\\@evil.example/")
    with pytest.raises(RepositoryError, match="can be read in two ways"):
        fetched(f"{site.url}go", known(site.url))
    assert [path for path, _ in site.requests] == ["/go"]


def test_of_two_repositories_on_one_host_each_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B_TOKEN", "other")
    both = Credentials(
        [
            Credential(url="https://host.example/a", token_env="ACME_TOKEN"),
            Credential(url="https://host.example/a/b/", token_env="B_TOKEN"),
        ]
    )
    assert both.headers("https://host.example/a/net.bin") == BEARER
    assert both.headers("https://host.example/a/b/net.bin") == {"Authorization": "Bearer other"}
    assert both.headers("https://host.example/ab/net.bin") == {}


def test_with_a_user_it_is_a_password() -> None:
    # Base64 of `anna:s3cret`; source: RFC 7617, section 2.
    assert known("https://a.example", username_env="ACME_USER").headers("https://a.example/x") == {
        "Authorization": "Basic YW5uYTpzM2NyZXQ="
    }


def test_a_variable_that_is_not_set_is_named_where_the_server_refuses(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_TOKEN")
    site.pages["/net.bin"] = Answer(status=401)
    with pytest.raises(RepositoryError, match="401 Unauthorized; its token is read from ACME_TOKEN, which is not set"):
        fetched(f"{site.url}net.bin", known(site.url))
    assert "authorization" not in site.requests[0][1]


def fetched(url: str, credentials: Credentials, transfer: Transfer | None = None) -> bytes:
    with Transfer(retry=Retry(retries=0), credentials=credentials).stream(url) as stream:
        return stream.read()


def test_a_token_is_sent_and_stays_with_its_origin(site: Site, other: Site) -> None:
    site.pages |= {"/a": Answer(status=302, headers={"Location": "/b"}), "/b": redirect(f"{other.url}c")}
    other.pages |= {"/c": redirect(f"{site.url}d")}
    site.pages["/d"] = b"found"
    assert fetched(f"{site.url}a", known(site.url)) == b"found"
    assert [headers.get("authorization") for _, headers in site.requests] == ["Bearer s3cret", "Bearer s3cret", None]
    assert "authorization" not in other.requests[0][1]


def redirect(url: str) -> Answer:
    return Answer(status=302, headers={"Location": url})


def netrc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "netrc").write_text("machine 127.0.0.1 login anna password fromnetrc\n")
    monkeypatch.setenv("NETRC", str(folder / "netrc"))


def test_netrc_is_read(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc(tmp_path, monkeypatch)
    site.pages["/net.bin"] = b"x"
    fetched(f"{site.url}net.bin", Credentials())
    assert site.requests[0][1]["authorization"].startswith("Basic ")


def test_a_token_wins_over_netrc(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc(tmp_path, monkeypatch)
    site.pages["/net.bin"] = b"x"
    fetched(f"{site.url}net.bin", known(site.url))
    assert site.requests[0][1]["authorization"] == "Bearer s3cret"


def test_whoever_authorises_has_the_last_word(site: Site) -> None:
    def signed(url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        return {**headers, "Authorization": "Bearer plugin"}

    site.pages["/net.bin"] = b"x"
    with Transfer(credentials=known(site.url), authorise=signed).stream(f"{site.url}net.bin") as stream:
        stream.read()
    assert site.requests[0][1]["authorization"] == "Bearer plugin"


@pytest.mark.parametrize("value", ["s3cret\r\nX-Evil: 1", "s3crét", "s3cret\0"])
def test_what_no_header_may_hold_is_an_error_that_does_not_show_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    if "\0" not in value:
        monkeypatch.setenv("ACME_TOKEN", value)
        with pytest.raises(CriteriaError, match="ACME_TOKEN holds characters") as refused:
            known(site.url).headers(site.url)
        assert "s3cr" not in str(refused.value)

    def signed(url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        return {**headers, "X-Token": value}

    with pytest.raises(RepositoryError) as caught:
        Transfer(retry=Retry(retries=0), authorise=signed).stream(f"{site.url}net.bin")
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cr" not in str(error)
        error = error.__cause__


def test_a_token_is_in_no_log_and_in_no_message(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = known(site.url)
    for path in ("net.bin", "missing"):
        site.pages["/net.bin"] = Answer(b"x" * 1000, cut=10)
        with pytest.raises(RepositoryError) as caught:
            fetched(f"{site.url}{path}", credentials)
        assert "s3cret" not in str(caught.value)
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(credentials)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("http://a.example") == origin("http://A.example:80/x?y") != origin("https://a.example")
