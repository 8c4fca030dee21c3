"""The network, closed to foreign code while a verb of a zoo runs that is offline.

Our own requests are not made then. What a plugin's repository, a factory or a library of theirs does is not ours to leave out:
the interpreter tells of each connection before it is made (PEP 578), and those of such a verb end in an `OfflineError`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from zoo_core.errors import OfflineError
from zoo_core.wording import printable

#: Event of the interpreter -> the position of the address or of the host in its arguments.
_EVENTS = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
#: Whether a verb runs that is offline, in this thread or in one that fetches its files. Other threads are not concerned.
_is_closed: ContextVar[bool] = ContextVar("zoo_core.offline", default=False)


@contextmanager
def closed_network(is_offline: bool) -> Iterator[None]:
    """Let no code reach the network while the block runs, if that is forbidden.

    Raises:
        OfflineError: Where a connection would be made, this machine's own sockets apart.
    """
    if not is_offline:
        yield
        return
    _listen()
    token = _is_closed.set(True)
    try:
        yield
    finally:
        _is_closed.reset(token)


@functools.cache
def _listen() -> None:
    # It cannot be taken away again, so it is there only in processes that were offline once.
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    position = _EVENTS.get(event)
    if position is None or not _is_closed.get():
        return
    address = arguments[position]
    host = address[0] if isinstance(address, tuple) else address
    # The address of a socket of this machine is a path; without a host, a name is looked up for a server of one's own.
    if host is None or (position and not isinstance(address, tuple)):
        return
    raise OfflineError(f"offline: a connection to {printable(str(host))} was refused, as offline mode forbids the network")
