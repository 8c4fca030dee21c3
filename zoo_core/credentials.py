"""Whose token goes to which address: only to the origin of the repository that it was given for.

The configuration names environment variables, never secrets, and they are read when a request is made.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from zoo_core.errors import CriteriaError

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What a repository asks for.

    Attributes:
        url: The repository.
        token_env: The variable that holds the token, or the password.
        username_env: The variable that holds the user's name; "": the token is sent alone, as a bearer token.
    """

    url: str
    token_env: str
    username_env: str = ""

    @property
    def header(self) -> str:
        """The value of ``Authorization``; "" where a variable is not set.

        Raises:
            CriteriaError: A variable holds what no header may hold.
        """
        if self.unset:
            return ""
        token = _secret(self.token_env)
        if not self.username_env:
            return f"Bearer {token}"
        return "Basic " + base64.b64encode(f"{_secret(self.username_env)}:{token}".encode()).decode()

    @property
    def unset(self) -> list[str]:
        """The variables that are not set."""
        return [name for name in (self.username_env, self.token_env) if name and not os.environ.get(name, "").strip()]


class Credentials(msgspec.Struct, frozen=True):
    """The credentials of all repositories."""

    known: Sequence[Credential] = ()

    def headers(self, url: str) -> dict[str, str]:
        """What is to be sent with a request to an address.

        Raises:
            CriteriaError: A variable holds what no header may hold.
        """
        credential = self._of(url)
        value = credential.header if credential else ""
        return {"Authorization": value} if value else {}

    def hint(self, url: str) -> str:
        """What to set where an address was refused; "" where nothing is known."""
        credential = self._of(url)
        unset = credential.unset if credential else []
        return f"; its token is read from {' and '.join(unset)}, which is not set" if unset else ""

    def _of(self, url: str) -> Credential | None:
        """The credential of the repository that an address lies in; else that of the only repository of its origin."""
        here = [credential for credential in self.known if origin(credential.url) == origin(url)]
        inside = [credential for credential in here if _is_below(url, credential.url)]
        if inside:
            return max(inside, key=lambda credential: len(credential.url))
        return here[0] if len(here) == 1 else None


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what a browser takes for one place.

    >>> origin("https://Models.Example/zoo/") == origin("https://anna@models.example:443/")
    True
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _is_below(url: str, root: str) -> bool:
    path, folder = urlsplit(url).path, urlsplit(root).path.rstrip("/")
    return path == folder or path.startswith(f"{folder}/")


def _secret(name: str) -> str:
    """The content of a variable; a message about it must not show it."""
    value = os.environ[name].strip()
    if not (value.isascii() and value.isprintable()):
        raise CriteriaError(f"environment variable {name} holds characters that no request may carry")
    return value
