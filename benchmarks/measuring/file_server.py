"""A web server for one folder on loopback, with ranges; each connection may be limited. Run as a script, it prints its port.

Arguments: the folder, bytes a second for each connection (0: no limit), seconds before each answer.
"""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STEP = 1 << 16


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    rate = latency_s = 0.0

    def do_HEAD(self) -> None:
        """The head of an answer."""
        self.answer()

    def do_GET(self) -> None:
        """All of an answer."""
        found = self.answer()
        if found is not None:
            # A client that has enough hangs up.
            with suppress(ConnectionError):
                self.send_body(*found)

    def answer(self) -> tuple[Path, int, int] | None:
        """Send the head; gives the file, and the first byte and the one after the last that are asked for."""
        time.sleep(self.latency_s)
        path = self.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return None
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, size) if asked and asked[2] else size
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        headers = {"Content-Length": str(end - start), "Accept-Ranges": "bytes", "ETag": f'"{path.stat().st_mtime_ns:x}"'}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        return path, start, end

    def send_body(self, path: Path, start: int, end: int) -> None:
        """Send bytes of a file, as fast as the limit allows."""
        began, first = time.monotonic(), start
        with path.open("rb") as stream:
            while start < end:
                step = STEP if self.rate else 16 * STEP
                start += os.sendfile(self.connection.fileno(), stream.fileno(), start, min(step, end - start))
                if self.rate:
                    time.sleep(max(0.0, began + (start - first) / self.rate - time.monotonic()))

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""


class Server(ThreadingHTTPServer):
    """Many connections at once."""

    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    Handler.folder, Handler.rate, Handler.latency_s = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
