"""Offline, no code that a verb calls reaches the network, whoever wrote it; everything else goes on as before."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests import repositories as make
from tests.web import Site
from zoo_core import ArtifactFile, Metadata, ModelZoo, Repository, hookimpl
from zoo_core.entry_points import REPOSITORIES
from zoo_core.errors import OfflineError, PluginError
from zoo_core.offline import closed_network


def by_urllib(url: str) -> bytes:
    content: bytes = urllib.request.urlopen(url).read()
    return content


def by_requests(url: str) -> bytes:
    import requests

    return requests.get(url, timeout=10).content


def by_name(url: str) -> bytes:
    socket.getaddrinfo("localhost", 443)
    return b""


def by_datagram(url: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"?", ("127.0.0.1", 9))
    return b""


class Asking(Repository):
    """A plugin's repository with a way of its own to the network."""

    def __init__(self, site: Site, ask: Callable[[str], bytes]) -> None:
        self.url, self._site, self._ask = "acme://models", site, ask

    def documents(self) -> Iterator[Metadata]:
        yield Metadata.from_json(self._ask(f"{self._site.url}metadata.json") or b"{}", f"{self._site.url}metadata.json")

    def open(self, file: ArtifactFile, offset: int = 0) -> BinaryIO:
        raise NotImplementedError

    def fingerprint(self) -> str:
        return ""


@pytest.fixture
def served(site: Site) -> Site:
    import json

    site.pages["/metadata.json"] = json.dumps(make.document(make.artifact())).encode()
    return site


@pytest.mark.parametrize("ask", [by_urllib, by_requests, by_name, by_datagram], ids=lambda ask: ask.__name__)
def test_a_plugins_repository_reaches_nobody(served: Site, ask: Callable[[str], bytes]) -> None:
    zoo = ModelZoo([Asking(served, ask)], config=False, plugins=[], offline=True)
    assert zoo.search() == []
    (message,) = zoo.messages()
    assert "offline: a connection to" in message
    assert "offline mode forbids the network" in message
    assert served.requests == []
    with pytest.raises(OfflineError):
        zoo.download("net")


def test_it_is_told_to_whoever_names_it_alone(served: Site) -> None:
    with pytest.raises(OfflineError, match="offline mode forbids the network"):
        ModelZoo(config=False, plugins=[], offline=True).search(model_urls=[Asking(served, by_urllib)])  # type: ignore[list-item]


def test_the_environment_is_read_when_a_verb_is_called(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = ModelZoo([Asking(served, by_urllib)], plugins=[])
    monkeypatch.setenv("ZOO_OFFLINE", "on")
    assert zoo.search() == []
    monkeypatch.setenv("ZOO_OFFLINE", "off")
    zoo.refresh()
    assert [record.reference for record in zoo.search()] == ["com.example/net@1.0"]
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    zoo.refresh()
    assert zoo.search() == []
    assert len(served.requests) == 1


def test_the_function_of_an_entry_point_reaches_nobody(
    served: Site, install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"""
    import urllib.request

    def get():
        return [urllib.request.urlopen("{served.url}metadata.json").read().decode()]
    """
    install("acme", entry_points={REPOSITORIES: {"acme": "acme_models:get"}}, modules={"acme_models.py": code})
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    zoo = ModelZoo(plugins=[])
    zoo.search(application="audio")
    assert [message for message in zoo.messages() if "acme" in message and "offline: a connection to" in message]
    assert served.requests == []


def test_nor_does_a_hook(served: Site, tmp_path: Path) -> None:
    make.publish(tmp_path / "zoo", make.document(make.artifact()))

    class Curious:
        @hookimpl
        def zoo_veto_candidate(self, criteria: Any, record: Any) -> str:
            return by_urllib(served.url).decode()

    zoo = ModelZoo([tmp_path / "zoo"], config=False, plugins=[Curious()], offline=True)
    with pytest.raises((OfflineError, PluginError), match="offline mode forbids the network"):
        zoo.search()
    assert served.requests == []


def test_a_misspelt_value_is_an_error_of_every_verb_and_never_means_online(
    served: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "ture")
    zoo = ModelZoo([Asking(served, by_urllib)], plugins=[])
    for verb in (zoo.search, zoo.explain, zoo.plugins):
        with pytest.raises(ValueError, match="ZOO_OFFLINE='ture'"):
            verb()
    assert served.requests == []


def test_other_threads_and_what_comes_after_are_not_concerned(served: Site) -> None:
    inside, done, found = threading.Event(), threading.Event(), list[bytes]()

    def other() -> None:
        inside.wait(10)
        found.append(by_urllib(f"{served.url}metadata.json"))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with closed_network(True):
        inside.set()
        assert done.wait(10)
        with pytest.raises(OfflineError):
            by_urllib(served.url)
    thread.join()
    assert found[0].startswith(b"{")
    assert by_urllib(f"{served.url}metadata.json") == found[0]


def test_sockets_of_this_machine_stay_open(tmp_path: Path) -> None:
    with closed_network(True):
        first, second = socket.socketpair()
        with first, second:
            first.sendall(b"1")
            assert second.recv(1) == b"1"
        if hasattr(socket, "AF_UNIX"):
            # The path of such a socket has 100 characters at most.
            with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
                client.connect("nobody")
        socket.getaddrinfo(None, 80)
