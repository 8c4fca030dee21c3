"""A real web server on this machine, with pages that a test sets and a log of what was asked."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """What the server says to one request.

    Attributes:
        cut: Close the connection after that many bytes of the body.
        wait_s: Say nothing for so long.
        ranges: Understand ``Range: bytes=N-`` and ``bytes=N-M``, and ``If-Range``.
    """

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    wait_s: float = 0.0
    ranges: bool = True


@dataclass
class Site:
    """The server.

    Attributes:
        url: Its root, with a slash at the end.
        pages: Path -> the body, an answer, or answers for one request after the other, the last one for all further ones.
        requests: The path and the headers, in lower case, of each request.
    """

    url: str
    pages: dict[str, bytes | Answer | list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]

    def answer(self, path: str) -> Answer:
        page = self.pages.get(path, Answer(b"nothing here", 404))
        if isinstance(page, list):
            return page.pop(0) if len(page) > 1 else page[0]
        return Answer(page) if isinstance(page, bytes) else page


def part(content: bytes, asked: str) -> tuple[int, bytes, str]:
    """Status, bytes and ``Content-Range`` for a ``Range`` of the form ``bytes=N-`` or ``bytes=N-M``."""
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last) + 1, len(content)) if last else len(content)
    if start >= len(content):
        return 416, b"", f"bytes */{len(content)}"
    return 206, content[start:end], f"bytes {start}-{end - 1}/{len(content)}"


@contextmanager
def serving(security: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Run a server while the block runs, by https where there is what makes that secure."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {name.lower(): value for name, value in self.headers.items()}
            site.requests.append((self.path, asked))
            self.respond(site.answer(self.path), asked)

        def respond(self, answer: Answer, asked: dict[str, str]) -> None:
            time.sleep(answer.wait_s)
            etag = f'"{hashlib.sha256(answer.content).hexdigest()[:12]}"'
            if answer.status == 200 and asked.get("if-none-match") == etag:
                self.send_response(304)
                self.send_header("ETag", etag)
                self.end_headers()
                return
            status, content, headers = answer.status, answer.content, {"ETag": etag}
            if status == 200 and answer.ranges and "range" in asked and asked.get("if-range", etag) == etag:
                status, content, headers["Content-Range"] = part(content, asked["range"])
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: answer.cut])
            self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:
            """Tests look at `Site.requests`."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if security is not None:
            server.socket = security.wrap_socket(server.socket, server_side=True)
        site = Site(f"{'http' if security is None else 'https'}://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
