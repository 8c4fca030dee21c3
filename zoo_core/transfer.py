"""Bytes from an http(s) address."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

import msgspec

from zoo_core.__about__ import __version__
from zoo_core.errors import OfflineError, RepositoryError
from zoo_core.wording import bytes_text, printable, shown_url

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 20
WEB_SCHEMES = ("http", "https")
#: Headers that may follow a redirect to another origin.
_PLAIN_HEADERS = frozenset({"accept", "accept-encoding", "connection", "if-none-match", "if-range", "range", "user-agent"})

Authorise = Callable[[str, Mapping[str, str]], Mapping[str, str]]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """When a request is tried again.

    Attributes:
        retries: How often, after the first time.
        wait_s: Seconds before the first retry; doubled each time.
        max_wait_s: The longest wait that a server can ask for.
    """

    retries: int = 3
    wait_s: float = 0.3
    max_wait_s: float = 30.0


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """How bytes are fetched.

    Attributes:
        is_offline: Asked at each use; True forbids the network.
        authorise: Gives the headers to send to an address, credentials among them; only to the origin asked.
        connect_s: Seconds to wait for a connection.
        read_s: Seconds to wait for the next bytes.
    """

    is_offline: Callable[[], bool] = lambda: False
    authorise: Authorise = lambda _, headers: headers
    connect_s: float = 10.0
    read_s: float = 30.0
    retry: Retry = msgspec.field(default_factory=Retry)

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[requests.Response]:
        """A response whose body has not been read yet.

        Raises:
            OfflineError: The network is forbidden.
            RepositoryError: No connection, a status that is neither 200, 206 nor 304, or a body that breaks off.
        """
        if self.is_offline():
            raise OfflineError(f"offline: {shown_url(url)} is not on this machine and offline mode forbids the network", url)
        # requests costs some 80 ms to import; a search in installed packages never needs it.
        import requests

        with _session(self.retry) as session:
            try:
                # Identity: a digest is of the bytes as stored, not as compressed on the way.
                wanted = {"Accept-Encoding": "identity", "User-Agent": f"zoo/{__version__}", **(headers or {})}
                response = session.get(
                    url, headers=dict(self.authorise(url, wanted)), stream=True, timeout=(self.connect_s, self.read_s)
                )
            except (requests.RequestException, ValueError) as error:
                raise RepositoryError(f"{shown_url(url)}: {_reason(error)}", url) from error
            with response:
                if response.status_code not in (200, 206, 304):
                    raise RepositoryError(
                        f"{shown_url(url)}: the server answered {response.status_code} {response.reason}",
                        url,
                        response.status_code,
                    )
                try:
                    yield response
                except requests.RequestException as error:
                    raise RepositoryError(f"{shown_url(url)}: the connection broke: {_reason(error)}", url) from error

    def stream(self, url: str, offset: int = 0) -> BinaryIO:
        """The bytes of an address from an offset on, as a stream that must be closed."""
        with ExitStack() as stack:
            response = stack.enter_context(self.open(url, {"Range": f"bytes={offset}-"} if offset else None))
            if offset and response.status_code != 206:
                raise RepositoryError(f"{shown_url(url)}: the server cannot continue at byte {offset}", url)
            return cast("BinaryIO", io.BufferedReader(_Body(response, url, stack.pop_all()), CHUNK))


def bounded_body(response: requests.Response, url: str, limit: int) -> bytes:
    """The body of a response, as it was sent: unpacking it, which nobody asked for, could make much of little.

    Raises:
        RepositoryError: It is larger than a limit in bytes, it is encoded, or it breaks off.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise RepositoryError(f"{shown_url(url)}: the server sent {printable(encoding)} where plain bytes were asked for", url)
    content = bytearray()
    while chunk := _read(response, url, CHUNK):
        content += chunk
        if len(content) > limit:
            raise RepositoryError(f"{shown_url(url)}: more than {bytes_text(limit)} came", url)
    return bytes(content)


def _session(retry: Retry) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry as Urllib3Retry

    class GuardedRedirects(requests.Session):
        """Follows redirects to http(s) only, never from https down to http, and takes no credential to another origin."""

        def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
            super().rebuild_auth(prepared_request, response)
            new, old = urlsplit(prepared_request.url), urlsplit(response.request.url)
            if new.scheme not in WEB_SCHEMES or (old.scheme == "https" and new.scheme == "http"):
                raise requests.exceptions.InvalidSchema(f"a redirect to {prepared_request.url} is not followed")
            if new.netloc != old.netloc:
                # Whatever else a plugin added may be a credential, whatever it is called.
                for name in [name for name in prepared_request.headers if name.lower() not in _PLAIN_HEADERS]:
                    del prepared_request.headers[name]

    class PatientWithinBounds(Urllib3Retry):
        """Waits as long as a server asks, up to a bound; what is no time is not heeded."""

        def get_retry_after(self, response: Any) -> float | None:
            try:
                asked = super().get_retry_after(response)
            except (InvalidHeader, ValueError, OverflowError):
                return None
            return None if asked is None else min(asked, retry.max_wait_s)

    retries = PatientWithinBounds(
        total=retry.retries,
        backoff_factor=retry.wait_s,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "HEAD"),
        raise_on_status=False,
    )
    session = GuardedRedirects()
    session.max_redirects = 10
    for scheme in WEB_SCHEMES:
        session.mount(f"{scheme}://", HTTPAdapter(max_retries=retries))
    return session


class _Body(io.RawIOBase):
    """A response's body as a stream; what goes wrong on the way is a RepositoryError."""

    def __init__(self, response: requests.Response, url: str, held: ExitStack) -> None:
        self._response, self._url, self._held = response, url, held

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = _read(self._response, self._url, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._held.close()
        super().close()


def _read(response: requests.Response, url: str, count: int) -> bytes:
    """The next bytes of a body as they were sent."""
    from urllib3.exceptions import HTTPError

    try:
        data: bytes = response.raw.read(count, decode_content=False)
    except (HTTPError, OSError) as error:
        raise RepositoryError(f"{shown_url(url)}: the connection broke: {_reason(error)}", url) from error
    return data


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line: the outer ones repeat the address and Python's own names."""
    while error.__cause__ is not None or (error.args and isinstance(error.args[0], BaseException)):
        error = error.__cause__ or error.args[0]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _reason(reason)
    return shown_url(str(error).rpartition(">: ")[2] or type(error).__name__)
