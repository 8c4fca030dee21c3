"""A real web server on this machine with every fault that a download meets, and a count of what it sent."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STEP = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with the answer to one request; by default nothing.

    Attributes:
        status: Answer with it, without a body.
        headers: Sent too, or instead; a None leaves one out.
        cut: Break off after so many bytes of the body.
        resets: Break off by a reset and not in good order.
        stall_s: Be silent for so long where the body breaks off.
        drip_s: Wait so long after each byte of the body.
        head_drip_s: Wait so long after each byte of the head.
        ranges: Understand ``Range``, and say so.
        content: Send this and not what lies at the path.
        etag: Instead of the digest of the content.
        framing: ``length``, ``chunked``, or ``close``: the end of the connection is that of the body.
        lies: What ``Content-Range`` says instead, with ``{start}``, ``{end}`` and ``{total}``; "" leaves it out.
        endless: Send zeros for ever.
    """

    status: int = 0
    headers: Mapping[str, str | None] = field(default_factory=dict)
    cut: int | None = None
    resets: bool = False
    stall_s: float = 0.0
    drip_s: float = 0.0
    head_drip_s: float = 0.0
    ranges: bool = True
    content: bytes | None = None
    etag: str | None = None
    framing: str = "length"
    lies: str | None = None
    endless: bool = False


FINE = Fault()


@dataclass
class Asked:
    """A request and what was sent for it."""

    path: str
    headers: dict[str, str]
    sent: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def range(self) -> str:
        return self.headers.get("range", "")


@dataclass
class FaultySite:
    """The server.

    Attributes:
        url: Its root, with a slash at the end.
        contents: What lies at a path.
        faults: Path -> what happens to its requests, one after the other; the last one happens to all further ones.
        asked: The requests, in the order in which they came.
        rate: Bytes a second that each connection gets; None: all at once.
        latency_s: Seconds before each answer.
    """

    url: str
    contents: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    rate: float | None = None
    latency_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, path: str) -> list[Asked]:
        """The requests for a path."""
        with self.lock:
            return [asked for asked in self.asked if asked.path == path]

    def sent(self, path: str) -> int:
        """Bytes of bodies that were sent for a path."""
        return sum(asked.sent for asked in self.of(path))

    def fault(self, path: str) -> Fault:
        """What happens to the next request for a path."""
        with self.lock:
            faults = self.faults.get(path, [])
            return faults.pop(0) if len(faults) > 1 else faults[0] if faults else FINE


class Server(ThreadingHTTPServer):
    """The sockets of a site."""

    daemon_threads = True
    # Connections that are kept open would be waited for.
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.site = FaultySite(f"http://127.0.0.1:{self.server_port}/")
        self.stopped = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what many tests are about."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        site, asked = self.server.site, Asked(self.path, {name.lower(): value for name, value in self.headers.items()})
        with site.lock:
            site.asked.append(asked)
        self.rest(site.latency_s)
        fault = site.fault(self.path)
        for byte in b"HTTP/1.1 200 " * 100 if fault.head_drip_s else b"":
            self.wfile.write(bytes([byte]))
            self.rest(fault.head_drip_s)
        body = self.answer(asked, fault)
        for piece in pieces(body, fault):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if fault.framing == "chunked" else piece)
            asked.sent += len(piece)
            self.rest(fault.drip_s)
            if site.rate:
                self.rest(max(0.0, asked.began + asked.sent / site.rate - time.monotonic()))
        self.finish_body(fault)

    def answer(self, asked: Asked, fault: Fault) -> bytes:
        """Send the head, and give the body."""
        content = fault.content if fault.content is not None else self.server.site.contents.get(self.path)
        if content is None or fault.status:
            self.send_head(fault.status or 404, {"Content-Length": None if fault.endless else "0", **fault.headers})
            return b""
        etag = fault.etag if fault.etag is not None else f'"{sha256(content).hexdigest()[:16]}"'
        status, body, headers = 200, content, {"ETag": etag}
        if fault.ranges:
            headers["Accept-Ranges"] = "bytes"
            if asked.range and asked.headers.get("if-range", etag) == etag:
                status, body, headers["Content-Range"] = part(content, asked.range, fault.lies)
        frames = {"length": {"Content-Length": str(len(body))}, "chunked": {"Transfer-Encoding": "chunked"}}
        self.send_head(status, {**headers, **frames.get(fault.framing, {"Connection": "close"}), **fault.headers})
        return body

    def send_head(self, status: int, headers: Mapping[str, str | None]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def finish_body(self, fault: Fault) -> None:
        if fault.cut is not None:
            self.rest(fault.stall_s)
            self.close_connection = True
            if fault.resets:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
        elif fault.framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")
        elif fault.framing == "close":
            self.close_connection = True

    def rest(self, seconds: float) -> None:
        """Wait, but not longer than the server is there."""
        if seconds and self.server.stopped.wait(seconds):
            raise ConnectionAbortedError

    def log_message(self, format: str, *arguments: object) -> None:
        """Tests look at `FaultySite.asked`."""


@contextmanager
def faulty() -> Iterator[FaultySite]:
    """Run the server while the block runs."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.site
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


def pieces(body: bytes, fault: Fault) -> Iterator[bytes]:
    """What is sent of a body, piece by piece."""
    while fault.endless:
        yield bytes(STEP)
    step = 1 if fault.drip_s else STEP
    whole = body[: fault.cut]
    for position in range(0, len(whole), step):
        yield whole[position : position + step]


def part(content: bytes, asked: str, lies: str | None) -> tuple[int, bytes, str]:
    """Status, bytes and ``Content-Range`` of a part."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    assert found, asked
    start, end = int(found[1]), min(int(found[2]) + 1, len(content)) if found[2] else len(content)
    if start >= len(content):
        return 416, b"", f"bytes */{len(content)}"
    text = "bytes {start}-{last}/{total}" if lies is None else lies
    return 206, content[start:end], text.format(start=start, last=end - 1, total=len(content))
