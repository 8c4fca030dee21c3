"""Bytes from an http(s) address: one request after the other, tried again where that helps, led nowhere but to the web."""

from __future__ import annotations

import functools
import io
import random
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urljoin, urlsplit

import msgspec

from zoo_core.__about__ import __version__
from zoo_core.credentials import Credentials, origin
from zoo_core.errors import OfflineError, RepositoryError
from zoo_core.mirrors import Mirror, mirrored
from zoo_core.wording import bytes_text, printable, shown_url

if TYPE_CHECKING:
    from concurrent.futures import Future

    import requests

CHUNK = 1 << 20
WEB_SCHEMES = ("http", "https")
MAX_REDIRECTS = 10
#: Of a server that is in trouble, or asks to be left alone for a while. Source: RFC 9110, section 15; RFC 6585, section 4.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Seconds to wait for a connection, and for the next bytes, where there is something to fall back on.
_HURRIED_CONNECT_S, _HURRIED_READ_S = 3.0, 10.0
#: Headers that may follow a redirect to another origin.
_PLAIN_HEADERS = frozenset({"accept", "accept-encoding", "connection", "if-none-match", "if-range", "range", "user-agent"})
#: ``bytes 0-99/1000``, or ``*`` for a size that the server does not know. Source: RFC 9110, section 14.4.
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", re.IGNORECASE)

Authorise = Callable[[str, Mapping[str, str]], Mapping[str, str]]
Pause = Callable[[float], object]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """When a request is tried again.

    Attributes:
        retries: How often, after the first time.
        wait_s: Seconds before the first retry; doubled each time.
        max_wait_s: The longest wait, also where a server asks for more.
    """

    retries: int = 3
    wait_s: float = 0.3
    max_wait_s: float = 30.0

    def wait(self, failures: int, asked_s: float | None = None) -> float:
        """Seconds to wait after so many failures in a row.

        Args:
            failures: One or more.
            asked_s: What the server asked for.
        """
        if asked_s is not None:
            return min(asked_s, self.max_wait_s)
        # Many who failed together must not come back together.
        longest = min(self.max_wait_s, self.wait_s * 2.0 ** min(failures - 1, 30))
        return random.uniform(0.5, 1.0) * longest  # noqa: S311 - nobody guesses it to their advantage


class Stall(msgspec.Struct, frozen=True, kw_only=True):
    """When a body that comes too slowly is given up; each byte in time would be none for a read timeout.

    Attributes:
        window_s: Seconds of waiting over which the bytes are counted.
        least: Bytes that must have come in them.
    """

    window_s: float = 30.0
    least: int = 1 << 14


class RangeError(RepositoryError):
    """What came is not the part of the file that was asked for."""


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """How bytes are fetched.

    Attributes:
        is_offline: Asked at each use; True forbids the network.
        authorise: Gives the headers to send to an address, credentials among them; only to the origin asked.
        credentials: Those of the configured repositories.
        mirrors: Other addresses of the same bytes, in their order.
        connect_s: Seconds to wait for a connection.
        read_s: Seconds to wait for the next bytes.
        connections: How many are used at most for one artifact.
    """

    is_offline: Callable[[], bool] = lambda: False
    authorise: Authorise = lambda _, headers: headers
    credentials: Credentials = Credentials()
    mirrors: tuple[Mirror, ...] = ()
    connect_s: float = 10.0
    read_s: float = 30.0
    stall: Stall = msgspec.field(default_factory=Stall)
    retry: Retry = msgspec.field(default_factory=Retry)
    connections: int = 8

    def hurried(self) -> Transfer:
        """One that asks once and soon gives up, for what can be done without."""
        return msgspec.structs.replace(
            self,
            connect_s=min(self.connect_s, _HURRIED_CONNECT_S),
            read_s=min(self.read_s, _HURRIED_READ_S),
            retry=msgspec.structs.replace(self.retry, retries=0),
        )

    def addresses(self, url: str, *, is_pinned: bool) -> list[str]:
        """Where a file is looked for: in the mirrors of its address, then there.

        Args:
            is_pinned: Whether its document promises its bytes by a full digest.
        """
        return mirrored(url, self.mirrors, is_pinned=is_pinned)

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[requests.Response]:
        """A response whose body has not been read yet.

        Raises:
            OfflineError: The network is forbidden.
            RepositoryError: No connection, a status that is neither 200, 206 nor 304, or a body that breaks off.
        """
        import requests

        with Connections(self, url) as connections, connections.ask(headers or {}) as response:
            try:
                yield response
            except requests.RequestException as error:
                raise RepositoryError(f"{shown_url(url)}: the connection broke: {_reason(error)}", url) from error

    def stream(self, url: str, offset: int = 0) -> BinaryIO:
        """The bytes of an address from an offset on, as a stream that must be closed."""
        with ExitStack() as stack:
            body = stack.enter_context(Connections(self, url)).body(offset)
            stack.callback(body.close)
            if body.start != offset:
                raise RangeError(f"{shown_url(url)}: the server cannot continue at byte {offset}", url)
            return cast("BinaryIO", io.BufferedReader(_Stream(body, stack.pop_all()), CHUNK))


class Connections:
    """One address and the connections to it, which are kept open from one request to the next; for several threads.

    Args:
        retry: When a request is tried again; None: as the transfer says.
        pause: Waits for a number of seconds; may raise, which ends the trying.
    """

    def __init__(self, transfer: Transfer, url: str, *, retry: Retry | None = None, pause: Pause | None = None) -> None:
        self.url = url
        self._transfer, self._retry = transfer, transfer.retry if retry is None else retry
        self._pause = pause
        self._session: requests.Session | None = None

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def body(self, start: int = 0, end: int | None = None, validator: str = "", *, patient: bool = True) -> Body:
        """The bytes of the address from ``start`` on, or all of them where the server decides so; see `Body.start`.

        Args:
            end: The byte after the last one that is wanted; None: all that follow.
            validator: What named the content from which the bytes before ``start`` are: if it has changed, all of it comes.
            patient: Whether to try again what fails.

        Raises:
            OfflineError, RepositoryError: As for `Transfer.open`.
            RangeError: A part came that was not asked for, or that does not say what it is.
        """
        headers = {}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
            if validator:
                headers["If-Range"] = validator
        response = self.ask(headers, patient=patient)
        try:
            return Body(response, self.url, start, end, self._transfer)
        except BaseException:
            response.close()
            raise

    def ask(self, headers: Mapping[str, str], *, patient: bool = True) -> requests.Response:
        """A response whose body has not been read yet, whatever it took to get it.

        Raises:
            OfflineError, RepositoryError: As for `Transfer.open`.
        """
        failures = 0
        retries = self._retry.retries if patient else 0
        while True:
            if self._transfer.is_offline():
                raise OfflineError(
                    f"offline: {shown_url(self.url)} is not on this machine and offline mode forbids the network", self.url
                )
            failures += 1
            error, asked_s = None, None
            try:
                response = self._follow(headers)
                if response.status_code in (200, 206, 304):
                    return response
                error = self._refused(response)
                if response.status_code not in PASSING or failures > retries:
                    raise error
                asked_s = _retry_after(response)
            except _Passing as passing:
                if failures > retries:
                    raise RepositoryError(str(passing), self.url) from passing.__cause__
            (self._pause or time.sleep)(self._retry.wait(failures, asked_s))

    def _follow(self, headers: Mapping[str, str]) -> requests.Response:
        """The response at the end of the redirects, which lead to http(s) only and never from https down to http."""
        url = self.url
        # Identity: a digest is of the bytes as stored, not as compressed on the way.
        plain = {"Accept-Encoding": "identity", "User-Agent": f"zoo/{__version__}", **headers}
        sent = self._signed(plain)
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(url, sent)
            target = self._opened_session.get_redirect_target(response)
            if target is None:
                return response
            response.close()
            url, old = self._resolved(url, target), url
            if origin(url) != origin(old):
                # Whatever else a plugin added may be a credential, whatever it is called.
                sent = {name: value for name, value in sent.items() if name.lower() in _PLAIN_HEADERS}
        raise RepositoryError(f"{shown_url(self.url)}: more than {MAX_REDIRECTS} redirects", self.url)

    def _signed(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Headers with what the address's own origin is to be told of the user."""
        try:
            known = self._transfer.credentials.headers(self.url)
        except ValueError as error:
            raise RepositoryError(f"{shown_url(self.url)}: {error}", self.url) from error
        return self._transfer.authorise(self.url, {**headers, **known})

    def _send(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        from requests import exceptions
        from urllib3.exceptions import HTTPError

        is_signed = any(name.lower() == "authorization" for name in headers)
        try:
            _check_host(url, self.url)
            get = functools.partial(
                self._opened_session.get,
                url,
                headers=dict(headers),
                # requests would put what netrc says in place of the token, and give it to whom a redirect names.
                auth=None if origin(url) == origin(self.url) and not is_signed else _unchanged,
                stream=True,
                allow_redirects=False,
                timeout=(self._transfer.connect_s, self._transfer.read_s),
            )
            return _head_within(3 * self._transfer.connect_s + self._transfer.read_s, get)
        except exceptions.InvalidHeader:
            # Its message shows the value, which may be a token.
            raise RepositoryError(f"{shown_url(self.url)}: a header for it holds what no request may carry", self.url) from None
        except (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError) as error:
            message = f"{shown_url(self.url)}: {_reason(error)}"
            if isinstance(error, exceptions.SSLError) and "CERTIFICATE" in message.upper():
                raise RepositoryError(message, self.url) from error
            raise _Passing(message) from error
        except (exceptions.RequestException, HTTPError, ValueError) as error:
            raise RepositoryError(f"{shown_url(self.url)}: {_reason(error)}", self.url) from error

    def _resolved(self, url: str, target: str) -> str:
        try:
            new = urljoin(url, target)
            origin(new)
        except ValueError:
            new = ""
        scheme = urlsplit(new).scheme
        if scheme not in WEB_SCHEMES or (urlsplit(url).scheme == "https" and scheme == "http"):
            raise RepositoryError(
                f"{shown_url(self.url)}: a redirect to {shown_url(target)} is not followed: "
                "it leads to http or https only, and never from https to http",
                self.url,
            )
        return new

    def _refused(self, response: requests.Response) -> RepositoryError:
        status = response.status_code
        response.close()
        hint = self._transfer.credentials.hint(self.url) if status in (401, 403) else ""
        return RepositoryError(
            f"{shown_url(self.url)}: the server answered {status} {printable(response.reason or '')}".rstrip() + hint,
            self.url,
            status,
        )

    @property
    def _opened_session(self) -> requests.Session:
        if self._session is None:
            self._session = _session(self._transfer.connections)
        return self._session


def _check_host(url: str, asked: str) -> None:
    r"""Refuse an address whose host is one to us, who decide what it is told of the user, and another to requests.

    `https://evil.example\@models.example/` is read by urllib as `models.example`, as RFC 3986 has it, and by urllib3 as
    `evil.example`, as browsers do; and an encoded host is decoded by one of them only.
    """
    place = urlsplit(url).netloc
    host = place.rpartition("@")[2]
    if "\\" in place or any(char.isspace() or char < " " for char in host) or ("%" in host and not host.startswith("[")):
        raise RepositoryError(
            f"{shown_url(asked)}: the host of {shown_url(url)} can be read in two ways; nobody is asked", asked
        )


class _Passing(Exception):  # noqa: N818 - it never leaves this module
    """A failure that may not happen again."""


class Body:
    """What a server sends, as it was sent: unpacking it, which nobody asked for, would change its digest.

    Attributes:
        start: The byte of the file that comes first: the one that was asked for, or 0 where all of it comes.
        total: The size of the whole file; None where the server does not say.
        validator: What names this content in ``If-Range``; "" where the server gives nothing that is strong enough.
        has_ranges: Whether the server says that it can give parts.
        encoding: What it says it has done to the bytes; "" where nothing.
    """

    def __init__(self, response: requests.Response, url: str, start: int, end: int | None, transfer: Transfer) -> None:
        self._response, self._url, self._stall = response, url, transfer.stall
        self._waited_s, self._came = 0.0, 0
        headers = response.headers
        self.validator = _strong(headers.get("ETag", ""))
        self.encoding = headers.get("Content-Encoding", "").strip().lower().replace("identity", "")
        is_part = response.status_code == 206
        self.has_ranges = not self.encoding and (is_part or headers.get("Accept-Ranges", "").strip().lower() == "bytes")
        if is_part:
            self.start, self.total = self._part(start, end)
        else:
            self.start, self.total = 0, _length(headers)

    def read(self, count: int = CHUNK) -> bytes:
        """The next bytes, as soon as there are any; b"" at the end.

        Raises:
            RepositoryError: The connection broke, or almost nothing came for long.
        """
        from urllib3.exceptions import HTTPError

        began = time.monotonic()
        try:
            data: bytes = self._response.raw.read1(count, decode_content=False)
        # The last two come from http.client where a connection is shut down under it.
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            raise RepositoryError(f"{shown_url(self._url)}: the connection broke: {_reason(error)}", self._url) from error
        self._watch(time.monotonic() - began, len(data))
        return data

    def close(self) -> None:
        """Hang up, or leave the connection to the next request where nothing more comes on it."""
        self._response.close()

    def abort(self) -> None:
        """End a `read` that another thread waits in."""
        # It may have been closed meanwhile, which serves as well.
        with suppress(Exception):
            self._response.raw.shutdown()

    def _watch(self, waited_s: float, came: int) -> None:
        self._waited_s += waited_s
        self._came += came
        if self._waited_s < self._stall.window_s:
            return
        if self._came < self._stall.least:
            raise RepositoryError(
                f"{shown_url(self._url)}: the connection broke: only {bytes_text(self._came)} came in {self._waited_s:.0f} s",
                self._url,
            )
        self._waited_s, self._came = 0.0, 0

    def _part(self, start: int, end: int | None) -> tuple[int, int | None]:
        text = self._response.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.fullmatch(text)
        if found is None or self.encoding:
            raise RangeError(
                f"{shown_url(self._url)}: the server sent a part and does not say which ({printable(text)})", self._url
            )
        first, last, total = int(found[1]), int(found[2]), None if found[3] == "*" else int(found[3])
        is_asked = first == start and first <= last and (end is None or last < end) and (total is None or last < total)
        length = _length(self._response.headers)
        if not is_asked or length not in (None, last - first + 1):
            raise RangeError(
                f"{shown_url(self._url)}: the server sent another part than was asked for ({printable(text)})", self._url
            )
        return first, total


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "").strip()
    # Source: RFC 9112, section 6.3: where both are there, the length counts for nothing.
    return int(text) if text.isascii() and text.isdigit() and "Transfer-Encoding" not in headers else None


def _strong(etag: str) -> str:
    """An ETag that ``If-Range`` may carry. Source: RFC 9110, section 13.1.5."""
    text = etag.strip()
    return text if re.fullmatch(r'"[\x21\x23-\x7e]*"', text) else ""


def _session(connections: int) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter

    class OneRequest(requests.Session):
        """Leaves redirects alone, also in that it does not read their bodies."""

        def resolve_redirects(self, *_: Any, **__: Any) -> Generator[requests.Response, None, None]:
            yield from ()

    session = OneRequest()
    for scheme in WEB_SCHEMES:
        session.mount(f"{scheme}://", HTTPAdapter(pool_maxsize=connections))
    return session


def _head_within(seconds: float, get: Callable[[], requests.Response]) -> requests.Response:
    """A response, unless its head takes too long: a server that sends a byte of it now and then ends no read timeout.

    Raises:
        requests.exceptions.ReadTimeout: It did.
    """
    from concurrent.futures import Future

    from requests.exceptions import ReadTimeout

    answer: Future[requests.Response] = Future()

    def ask() -> None:
        try:
            answer.set_result(get())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            answer.set_exception(error)

    threading.Thread(target=ask, name="http-head", daemon=True).start()
    try:
        return answer.result(seconds)
    except BaseException as error:
        # Nobody waits for it any more.
        answer.add_done_callback(_hang_up)
        if isinstance(error, TimeoutError):
            raise ReadTimeout(f"the head of the answer did not come within {seconds:.0f} s") from None
        raise


def _hang_up(answer: Future[requests.Response]) -> None:
    if answer.exception() is None:
        answer.result().close()


def _unchanged(request: Any) -> Any:
    return request


def _retry_after(response: requests.Response) -> float | None:
    """The seconds that a server asks to wait; None where it says nothing that can be understood."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry as Urllib3Retry

    try:
        return Urllib3Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError, OverflowError):
        return None


class _Stream(io.RawIOBase):
    """A body as a stream; what goes wrong on the way is a RepositoryError."""

    def __init__(self, body: Body, held: ExitStack) -> None:
        self._body, self._held = body, held

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._held.close()
        super().close()


def _reason(error: BaseException) -> str:
    """The innermost cause, in one line: the outer ones repeat the address and Python's own names."""
    while error.__cause__ is not None or (error.args and isinstance(error.args[0], BaseException)):
        error = error.__cause__ or error.args[0]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _reason(reason)
    return shown_url(str(error).rpartition(">: ")[2] or type(error).__name__)
