"""The command ``zoo`` in a process of its own, where nothing is cached and nothing is configured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT_S = 300
#: Starts a process in a network of its own: its loopback is down, and there is nothing else.
EMPTY_NAMESPACE = ("unshare", "-rn")


def has_namespaces() -> bool:
    """Whether this machine lets its users have a network of their own."""
    try:
        return subprocess.run([*EMPTY_NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


#: Put first on the path of a process, this makes every use of the network an error that can be recognised.
REFUSE_THE_NETWORK = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"the test refuses the network: {event}{arguments[1:]}")

sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """The lines on standard error that begin an error."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("warning:")]


@dataclass(frozen=True)
class Commands:
    """Starts processes in a folder, with a cache of their own.

    Attributes:
        folder: Holds the working directory and the cache.
        python: The interpreter of the environment that is looked at.
        environment: Further variables.
        prefix: What starts each process, such as a command that takes the network away.
    """

    folder: Path
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """The cache."""
        return self.folder / "home"

    @property
    def cwd(self) -> Path:
        """The working directory."""
        return self.folder / "cwd"

    def zoo(self, *arguments: object, **variables: str) -> Done:
        """Run ``zoo ARGUMENTS``."""
        return self._run([*self._command(), *map(str, arguments)], variables)

    def run(self, code: str, *arguments: object, **variables: str) -> Done:
        """Run Python code, which finds the arguments in ``sys.argv[1:]``."""
        return self._run([self.python, "-c", code, *map(str, arguments)], variables)

    def start(self, *arguments: object, **variables: str) -> subprocess.Popen[str]:
        """Start ``zoo ARGUMENTS`` and do not wait for it."""
        command = [*self.prefix, *self._command(), *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self._cwd(), env=self._env(variables), stdout=pipe, stderr=pipe, text=True)

    def without_network(self) -> Commands:
        """The same, where every connection is refused and ``ZOO_OFFLINE`` is set."""
        return self.with_dead_network().given(ZOO_OFFLINE="1")

    def with_dead_network(self) -> Commands:
        """The same, where every connection is refused by the interpreter."""
        hooks = self.folder / "no-network"
        hooks.mkdir(parents=True, exist_ok=True)
        (hooks / "sitecustomize.py").write_text(REFUSE_THE_NETWORK)
        return self.given(PYTHONPATH=str(hooks))

    def in_empty_namespace(self) -> Commands:
        """The same, in a network of its own without any route, not even to this machine."""
        return replace(self, prefix=EMPTY_NAMESPACE)

    def given(self, **variables: str) -> Commands:
        """The same, with further variables."""
        return replace(self, environment={**self.environment, **variables})

    def kept(self) -> list[str]:
        """What lies in the cache under a final name: contents, artifacts, indexes."""
        return [f"{path.relative_to(self.home)}" for path in sorted(self.home.glob("[abi]*/**/*")) if path.is_file()]

    def _command(self) -> list[str]:
        if self.python == sys.executable:
            found = shutil.which("zoo", path=sysconfig.get_path("scripts"))
            assert found, "zoo-core is installed, and its command is not there"
            return [found]
        # The interpreter of another environment, which sees our packages and has no scripts of theirs.
        return [self.python, "-c", "from zoo_core.cli import main; main()"]

    def _run(self, command: list[str], variables: Mapping[str, str]) -> Done:
        done = subprocess.run(
            [*self.prefix, *command],
            cwd=self._cwd(),
            env=self._env(variables),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def _cwd(self) -> Path:
        self.cwd.mkdir(parents=True, exist_ok=True)
        return self.cwd

    def _env(self, variables: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ZOO_", "XDG_", "PYTHONPATH"))}
        own = {"ZOO_HOME": str(self.home), "XDG_CONFIG_HOME": str(self.folder / "config"), "NO_COLOR": "1"}
        return {**inherited, **own, **self.environment, **variables}
