"""What every test starts from: a clean environment, an empty cache and working directory, no network beyond this machine."""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

import pytest

_OWN_PIP_CONFIG = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "pip", "pip.conf")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests reaches them, and nothing of theirs is written to."""
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ZOO_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    # A test that makes an environment still asks the package index of whoever runs it.
    if "PIP_CONFIG_FILE" not in os.environ and _OWN_PIP_CONFIG.is_file():
        monkeypatch.setenv("PIP_CONFIG_FILE", str(_OWN_PIP_CONFIG))
    # The servers of the tests are on this machine, where no proxy stands between.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("COLUMNS", "160")
    working = home / "working"
    working.mkdir()
    monkeypatch.chdir(working)


def is_here(host: object) -> bool:
    """Whether a host is this machine."""
    if host in (None, "", b"", "localhost", b"localhost"):
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        hosts = [address[0]] if isinstance(address, tuple) else []
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        hosts = [arguments[0]]
    else:
        return
    for host in hosts:
        if not is_here(host):
            # No Exception: what the code under test catches must not hide it.
            pytest.fail(f"a test reached for the network: {host!r}")


# An audit hook sees every socket of the process, whichever library opens it; it cannot be taken away again.
sys.addaudithook(_refuse_network)
