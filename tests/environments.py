"""Fresh environments, and small real distributions that pip installs into them."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.commands import Commands

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Environment:
    """A virtual environment that sees the packages of this one, and into which more are installed by pip."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Environment:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        lines = [f"import site; site.addsitedir({path!r})\n" for path in sorted(outer)]
        scheme = {"base": str(folder), "platbase": str(folder)}
        Path(sysconfig.get_path("purelib", "venv", scheme), "outer.pth").write_text("".join(lines))
        return cls(folder)

    @property
    def python(self) -> str:
        scripts = sysconfig.get_path("scripts", "venv", {"base": str(self.folder)})
        return f"{scripts}/python"

    def install(self, *wheels: Path, dependencies: bool = True) -> None:
        """Install wheels; what they depend on must be there already, and is checked unless ``dependencies`` is False."""
        self._pip("install", "--no-index", "--no-compile", *([] if dependencies else ["--no-deps"]), *map(str, wheels))

    def uninstall(self, distribution: str) -> None:
        self._pip("uninstall", "--yes", distribution)

    def commands(self, folder: Path) -> Commands:
        """The command ``zoo`` of this environment."""
        return Commands(folder, self.python)

    def _pip(self, verb: str, *arguments: str) -> None:
        options = ["--python", self.python, "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", *options, verb, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A distribution with one module, as small as one can be.

    Attributes:
        code: Of the module, which has the distribution's name.
        entry_points: Group -> name -> value.
        requires: As in its metadata.
    """

    name: str
    code: str
    entry_points: Mapping[str, Mapping[str, str]]
    version: str = "1.2"
    requires: tuple[str, ...] = ("zoo-core>=0.1",)

    def wheel(self, folder: Path) -> Path:
        """Build its wheel. Source: the binary distribution format, packaging.python.org."""
        module = self.name.replace("-", "_")
        info = f"{module}-{self.version}.dist-info"
        requires = "".join(f"Requires-Dist: {text}\n" for text in self.requires)
        groups = (f"[{group}]\n{_lines(names)}" for group, names in self.entry_points.items())
        files = {
            f"{module}.py": self.code,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n{requires}",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": "\n".join(groups),
        }
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        path = folder / f"{module}-{self.version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**files, f"{info}/RECORD": record}.items():
                archive.writestr(name, content)
        return path


def _lines(names: Mapping[str, str]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in names.items())
