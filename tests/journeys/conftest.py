"""What the journeys start from: a command in a process of its own, and a server on loopback."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """The command ``zoo``, with an empty cache."""
    return Commands(tmp_path)


class Server:
    """Serves a folder on loopback and remembers what it was asked for."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked = root, []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self, directory=str(root)))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    asked: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, server_of_test: Server, *arguments: Any, **keywords: Any) -> None:
        self._of_test = server_of_test
        super().__init__(*arguments, **keywords)

    def do_GET(self) -> None:
        self._of_test.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing: what was asked is kept."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the folder ``served``, which is empty."""
    root = tmp_path / "served"
    root.mkdir()
    started = Server(root)
    yield started
    started.close()
