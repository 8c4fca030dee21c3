"""What `tests/conftest.py` promises to every test."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from zoo_core.config import home, load_config


def test_no_setting_of_the_person_who_runs_the_tests_is_seen() -> None:
    assert [name for name in os.environ if name.startswith("ZOO_")] == ["ZOO_HOME"]
    assert load_config().files == ()


def test_the_cache_and_the_working_directory_are_new_and_empty() -> None:
    assert not home().exists()
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_connection_beyond_this_machine_fails_the_test(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as attempt, pytest.raises(pytest.fail.Exception, match=address):
        attempt.connect((address, 80))


def test_a_name_of_another_machine_is_not_even_looked_up() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"models\.example"):
        socket.getaddrinfo("models.example", 443)


def test_a_connection_on_this_machine_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
