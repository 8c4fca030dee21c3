"""A real server of the S3 protocol on this machine, with a log of what was asked and the faults of a network before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

#: What the libraries of a store look for, so that nothing of the person who runs the tests is found.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-no-message-shows",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


@dataclass(frozen=True)
class Asked:
    """A request: its method, the path of the object, the query, the range, and whether it says who asks."""

    method: str
    path: str
    query: str
    range: str
    is_signed: bool


@dataclass
class Bucket:
    """The server with one bucket in it.

    Attributes:
        endpoint: Its address.
        fault: Asked for each request; True breaks its answer off in the middle of the body.
    """

    endpoint: str
    name: str = "models"
    requests: list[Asked] = field(default_factory=list)
    fault: Callable[[Asked], bool] = lambda _: False

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=content, ACL="public-read")

    def empty(self) -> None:
        client = self._client
        for item in client.list_objects_v2(Bucket=self.name).get("Contents", []):
            client.delete_object(Bucket=self.name, Key=item["Key"])

    def upload(self, folder: Path, prefix: str = "") -> None:
        """Copy a folder into it, as ``aws s3 sync`` would."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(prefix + path.relative_to(folder).as_posix(), path.read_bytes())

    def ranges(self, end: str) -> list[str]:
        """The parts that were asked for of the object whose key ends so."""
        return [asked.range for asked in self.requests if asked.method == "GET" and asked.path.endswith(end)]

    @property
    def _client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )


@contextmanager
def serving() -> Iterator[Bucket]:
    """Run the server while the block runs."""
    pytest.importorskip("s3fs", reason="s3fs reaches S3: pip install s3fs")
    server_of = pytest.importorskip("moto.server", reason="moto serves S3: pip install 'moto[server]'")
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        # Where a body breaks off, the connection has to end too.
        protocol_version = "HTTP/1.0"

        def log(self, type: str, message: str, *arguments: Any) -> None:
            """Tests look at `Bucket.requests`."""

    application = server_of.DomainDispatcherApplication(server_of.create_backend_app)

    def faulty(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = Asked(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("QUERY_STRING", ""),
            environ.get("HTTP_RANGE", ""),
            "HTTP_AUTHORIZATION" in environ,
        )
        bucket.requests.append(asked)
        answer = application(environ, start_response)
        if not bucket.fault(asked):
            return answer
        content = b"".join(answer)
        return [content[: len(content) // 2]]

    server = make_server("127.0.0.1", 0, faulty, threaded=True, request_handler=Quiet)
    bucket = Bucket(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        bucket._client.create_bucket(Bucket=bucket.name)
        bucket.requests.clear()
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
