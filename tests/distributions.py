"""Distributions as pip leaves them on disk: a module, its metadata and its entry points in a folder on ``sys.path``."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest


def install(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    entry_points: Mapping[str, Mapping[str, str]] | None = None,
    requires: tuple[str, ...] = (),
    modules: Mapping[str, str] | None = None,
) -> Path:
    """Write a distribution.

    Args:
        entry_points: Group -> name -> value.
        requires: PEP 508 requirements.
        modules: Path of a module, such as ``acme/nets.py``, -> its source.
    """
    information = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requires)]
    (information / "METADATA").write_text("\n".join(lines) + "\n\nA toy.\n")
    sections = [
        "\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())])
        for group, entries in (entry_points or {}).items()
    ]
    (information / "entry_points.txt").write_text("\n\n".join(sections) + "\n")
    for path, content in (modules or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(textwrap.dedent(content))
    return folder


def installing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """What a fixture gives: a function that installs distributions into a folder, and forgets their modules in the end."""
    before = set(sys.modules)
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def install_here(name: str, version: str = "1.0", **parts: object) -> Path:
        return install(folder, name, version, **parts)  # type: ignore[arg-type]  # passed on as they are

    yield install_here
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
