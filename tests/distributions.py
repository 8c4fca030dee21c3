"""Distributions as pip leaves them on disk: a module, its metadata and its entry points in a folder on ``sys.path``."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path


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
